"""The tasks of a page by columns; a row that is made alone equals the row among all."""

import os

import pytest

from glassloop.glass import layout
from glassloop.glass.layout import Awaited, Phase, Running, State
from glassloop.glass.page import Page
from glassloop.glass.reader import take_snapshot
from glassloop.glass.task_table import TaskTable

from .support import MakePage, SyntheticPage

MS = 1_000_000


def table_of(page: SyntheticPage) -> TaskTable:
    with page.open() as opened:
        return take_snapshot(opened).table


@pytest.fixture
def varied(make_page: MakePage) -> SyntheticPage:
    """Tasks of all states, some slots free, some names given."""
    page = make_page(tasks=128)
    work = page.add_site("work", "/app/main.py", 3)
    lock = page.asyncio_site("locks", "Lock.acquire")
    for slot in range(1, 100):
        page.set_task(
            slot,
            0 if slot % 7 == 0 else 1000 + slot,
            name=f"näme {slot}" if slot % 3 else "",
            state=slot % 4,
            awaited=Awaited.TASK if slot % 5 == 0 else Awaited.FUTURE,
            subject=slot if slot % 5 == 0 else 0,
            site=lock if slot % 2 else 0,
            deadline_ns=slot if slot % 11 == 0 else 0,
            coroutine=work,
            creator=5000,
            since_ticks=page.at(slot),
            cpu_ticks=slot * 1000,
            steps=slot,
            wakeups=2 * slot,
            cause=slot % 9,
            cause_kind=slot % 6,
        )
    page.set_live(phase=Phase.RUNNING, running_kind=Running.TASK, running_slot=10, step_ticks=page.at(50))
    return page


def test_a_row_made_alone_equals_the_row_among_all(varied: SyntheticPage) -> None:
    table = table_of(varied)
    assert len(table) == 99 - 14 == len(table.views)
    for index, view in enumerate(table.views):
        assert table.select([index]).views == (view,)
        assert table.find(view.id) == index
    backwards = list(range(len(table)))[::-1]
    assert table.select(backwards).views == table.views[::-1]


def test_columns_agree_with_the_rows(varied: SyntheticPage) -> None:
    table = table_of(varied)
    views = table.views
    assert table.column("id") == [view.id for view in views]
    assert table.column("steps") == [view.steps for view in views]
    assert list(table.states) == [view.state for view in views]
    assert table.reasons == [view.reason for view in views]
    assert table.names == [view.name for view in views]
    assert table.coroutines == [view.coroutine for view in views]
    for state in State:
        assert table.count(state) == sum(view.state is state for view in views)


def test_the_task_that_runs_is_patched_in_the_columns_too(varied: SyntheticPage) -> None:
    table = table_of(varied)
    index = table.slots.index(10)
    assert table.states[index] == State.RUNNING and table.views[index].state is State.RUNNING
    assert table.column("since_ticks")[index] == varied.at(50)


def test_a_step_that_a_block_tells_of_began_with_the_block(synthetic: SyntheticPage) -> None:
    synthetic.set_task(1, 7)
    synthetic.add_block(30, 700, b"a.py\t1\tf\n", task=7)
    synthetic.set_live(running_kind=Running.TASK, running_slot=1, step_ticks=synthetic.at(10))
    (task,) = table_of(synthetic).views
    assert task.state_ns == 670 * MS


@pytest.mark.parametrize("ticks", [0, 2**63, 2**64 - 1])
def test_impossible_times_of_the_step_that_runs(synthetic: SyntheticPage, ticks: int) -> None:
    synthetic.set_task(1, 7, cpu_ticks=2**64 - 1, since_ticks=2**64 - 1)
    synthetic.set_live(running_kind=Running.TASK, running_slot=1, step_ticks=ticks, full_until=2**64 - 1)
    (task,) = table_of(synthetic).views
    assert task.state is State.RUNNING and task.state_ns >= 0


def test_a_task_that_is_not_there(varied: SyntheticPage) -> None:
    assert table_of(varied).find(4711) is None


def test_more_tasks_than_are_copied_at_once(make_page: MakePage) -> None:
    """Whole stretches of slots are copied; free and half-written ones are left out wherever they lie."""
    page = make_page(tasks=10_000)
    size, sequences = layout.TASK.size, {4096: 3, 4097: 1}
    for slot in (1, 5, 4095, 4096, 4097, 4098, 8192, 9998):
        page.set_task(slot, slot, sequence=sequences.get(slot, 2), name=f"task {slot}")
    page.set_live(slots_used=9999)
    table = table_of(page)
    assert table.column("id") == [1, 5, 4095, 4098, 8192, 9998]
    assert table.names == [f"task {slot}" for slot in table.slots]
    page.write("tasks", (4).to_bytes(4, "little"), 4096 * size)
    assert 4096 in table_of(page).slots


def test_a_slot_that_is_good_at_the_second_look(
    synthetic: SyntheticPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slot that was written while many were copied is copied again by itself."""
    synthetic.set_task(1, 7, name="seven")
    synthetic.set_task(2, 8, name="eight")
    read = Page.read

    def read_and_write(page: Page, offset: int, size: int) -> bytes:
        data = read(page, offset, size)
        if offset == synthetic.sections["tasks"].offset + layout.TASK.size and size == 2 * layout.TASK.size:
            sequence = int.from_bytes(data[:4], "little") + 2
            os.pwrite(synthetic.fd, sequence.to_bytes(4, "little"), offset)
        return data

    monkeypatch.setattr(Page, "read", read_and_write)
    assert sorted(zip(table_of(synthetic).slots, table_of(synthetic).names, strict=True)) == [
        (1, "seven"),
        (2, "eight"),
    ]
