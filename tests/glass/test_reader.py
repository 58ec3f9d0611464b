"""A page's bytes become a snapshot: states, times, reasons, what runs, what is stuck."""

import pytest

from glassloop.glass.errors import BadPageError
from glassloop.glass.layout import Awaited, Cause, Phase, Running, State
from glassloop.glass.model import Snapshot
from glassloop.glass.reader import take_snapshot
from glassloop.glass.reasons import WaitKind
from glassloop.glass.wait_groups import group_waits

from .support import START_NS, START_TICKS, MakePage, SyntheticPage

MS = 1_000_000


def look(page: SyntheticPage) -> Snapshot:
    with page.open() as opened:
        return take_snapshot(opened)


def test_who_it_is(synthetic: SyntheticPage) -> None:
    snapshot = look(synthetic)
    assert snapshot.command == ("python", "app.py", "--fast")
    assert snapshot.thread_name == "MainThread" and snapshot.python.startswith("3.")
    assert snapshot.slow_ns == 100 * MS and not snapshot.alive
    assert snapshot.tasks == () and snapshot.stuck is None


def test_a_waiting_task(synthetic: SyntheticPage) -> None:
    work = synthetic.add_site("work", "/home/me/app.py", 12)
    synthetic.waits(
        1,
        7,
        "locks",
        "Lock.acquire",
        name="fetcher",
        coroutine=work,
        creator=work,
        since_ticks=synthetic.at(30),
        cpu_ticks=2 * MS,
        steps=3,
        wakeups=2,
        parent=4,
        cause=Cause.FUTURE_DONE,
        cause_kind=Running.SOURCE,
        cause_subject=9,
    )
    synthetic.set_live(phase=Phase.POLLING, now_ticks=synthetic.at(50), now_ns=START_NS + 50 * MS)
    (task,) = look(synthetic).tasks
    assert (task.id, task.name, task.state, task.parent_id) == (7, "fetcher", State.WAITING, 4)
    assert task.reason is not None and task.reason.kind is WaitKind.LOCK
    assert task.since_ns == START_NS + 30 * MS and task.state_ns == 20 * MS and task.age_ns == 50 * MS
    assert (task.cpu_ns, task.steps, task.wakeups) == (2 * MS, 3, 2)
    assert (task.cause, task.cause_running, task.cause_id) == (Cause.FUTURE_DONE, Running.SOURCE, 9)
    assert str(task.coroutine) == "app.py:12 work" and task.label == "fetcher (work)"


def test_a_task_without_a_name_has_the_one_that_asyncio_would_make(synthetic: SyntheticPage) -> None:
    synthetic.set_task(1, 12)
    assert [task.name for task in look(synthetic).tasks] == ["Task-12"]


def test_a_free_slot_is_no_task(synthetic: SyntheticPage) -> None:
    synthetic.set_task(1, 1)
    synthetic.set_task(2, 0)
    synthetic.set_task(3, 3)
    assert [task.id for task in look(synthetic).tasks] == [1, 3]


def test_the_running_task_runs_whatever_its_slot_says(synthetic: SyntheticPage) -> None:
    synthetic.waits(1, 7, "tasks", "sleep", cpu_ticks=5 * MS)
    synthetic.set_task(2, 8, state=State.READY)
    synthetic.set_live(
        running_kind=Running.TASK,
        running_slot=1,
        step_ticks=synthetic.at(40),
        now_ticks=synthetic.at(60),
        now_ns=START_NS + 60 * MS,
    )
    snapshot = look(synthetic)
    task = snapshot.by_id()[7]
    assert task.state is State.RUNNING and task.reason is None
    assert task.state_ns == 20 * MS and task.cpu_ns == 5 * MS
    assert snapshot.running_id == 7 and snapshot.step_ns == 20 * MS and snapshot.stuck is None
    assert snapshot.counts() == {State.READY: 1, State.RUNNING: 1, State.WAITING: 0, State.DONE: 0}


def test_a_step_that_is_timed_counts_before_it_is_over(synthetic: SyntheticPage) -> None:
    synthetic.set_task(1, 7, cpu_ticks=5 * MS)
    synthetic.set_live(running_kind=Running.TASK, running_slot=1, full_until=synthetic.at(100))
    synthetic.set_live(step_ticks=synthetic.at(40), now_ticks=synthetic.at(60), now_ns=START_NS + 60 * MS)
    assert look(synthetic).tasks[0].cpu_ns == 25 * MS


def test_a_slot_is_not_running_while_a_callback_is(synthetic: SyntheticPage) -> None:
    synthetic.set_task(1, 7, state=State.READY)
    synthetic.set_live(running_kind=Running.HANDLE, running_slot=1)
    assert look(synthetic).tasks[0].state is State.READY


def test_stuck_by_a_block_that_is_not_over(synthetic: SyntheticPage) -> None:
    synthetic.set_task(1, 7, name="hog")
    stack = (
        b"/usr/lib/python3.13/re/__init__.py\t170\tmatch\n/app/main.py\t33\tparse\n/app/main.py\t40\tmain\n"
    )
    synthetic.add_block(10, 700, stack, task=7)
    synthetic.set_live(running_kind=Running.TASK, running_slot=1, step_ticks=synthetic.at(10))
    stuck = look(synthetic).stuck
    assert stuck is not None and stuck.for_ns == 690 * MS
    assert stuck.who == "task hog" and [frame.line for frame in stuck.frames] == [170, 33, 40]
    assert str(stuck.line) == "/app/main.py:33 parse"


@pytest.mark.parametrize("ended", [0, 1])
def test_a_block_of_another_step_stops_nothing(synthetic: SyntheticPage, ended: int) -> None:
    synthetic.add_block(10, 700, b"a.py\t1\tf\n", ended=ended)
    synthetic.set_live(step_ticks=synthetic.at(800), now_ticks=synthetic.at(801), now_ns=START_NS + 801 * MS)
    snapshot = look(synthetic)
    assert snapshot.stuck is None and len(snapshot.blocks) == 1 and snapshot.blocks[0].length_ns == 690 * MS


def test_stuck_without_a_stack_once_the_limit_is_over(synthetic: SyntheticPage) -> None:
    synthetic.set_live(running_kind=Running.SOURCE, running_fd=8, step_ticks=synthetic.at(20))
    synthetic.set_live(now_ticks=synthetic.at(400), now_ns=START_NS + 400 * MS)
    stuck = look(synthetic).stuck
    assert stuck is not None and stuck.for_ns == 380 * MS
    assert stuck.fd == 7 and stuck.who == "the handler of file descriptor 7" and stuck.line is None


def test_a_loop_that_polls_is_not_stuck(synthetic: SyntheticPage) -> None:
    synthetic.set_live(phase=Phase.POLLING, now_ticks=synthetic.at(5000), now_ns=START_NS + 5000 * MS)
    snapshot = look(synthetic)
    assert snapshot.stuck is None and snapshot.step_ns == 0


def test_ticks_are_converted_by_the_slope_where_the_readings_lie_apart(synthetic: SyntheticPage) -> None:
    # The measured rate is 10 % off. A slope of 2 ns a tick would be too far from it to be believed.
    synthetic.set_header(ticks_per_us=1100.0)
    synthetic.set_live(now_ticks=START_TICKS + 100 * MS, now_ns=START_NS + 100 * MS)
    assert look(synthetic).clock.length_ns(1000) == 1000
    synthetic.set_live(now_ticks=START_TICKS + 100 * MS, now_ns=START_NS + 200 * MS)
    assert look(synthetic).clock.length_ns(1100) == 1000
    synthetic.set_live(now_ticks=START_TICKS + 5 * MS, now_ns=START_NS + 5 * MS)
    assert look(synthetic).clock.length_ns(1100) == 1000


def test_a_clock_goes_both_ways(synthetic: SyntheticPage) -> None:
    clock = look(synthetic).clock
    assert clock.to_ticks(clock.to_ns(START_TICKS + 12345)) == START_TICKS + 12345


def test_busy_and_idle_count_what_is_not_over(synthetic: SyntheticPage) -> None:
    synthetic.set_live(busy_ticks=100 * MS, idle_ticks=300 * MS, step_ticks=synthetic.at(500))
    synthetic.set_live(now_ticks=synthetic.at(400), now_ns=START_NS + 400 * MS)
    snapshot = look(synthetic)
    assert (snapshot.busy_ns, snapshot.idle_ns) == (200 * MS, 300 * MS)
    assert snapshot.utilization == 0.4


def test_histograms_in_ns(synthetic: SyntheticPage) -> None:
    synthetic.count("delay", *[1000] * 10)
    synthetic.count("step", 64)
    snapshot = look(synthetic)
    assert 900 < snapshot.quantile_ns(snapshot.delay_histogram, 0.99) < 1300
    assert snapshot.step_histogram.total == 1 and snapshot.batch_histogram.total == 0


def test_waits_are_grouped_the_longest_first(synthetic: SyntheticPage) -> None:
    for slot, since in ((1, 50), (2, 10), (3, 30)):
        synthetic.waits(slot, slot, "queues", "Queue.get", since_ticks=synthetic.at(since))
    synthetic.waits(4, 4, "tasks", "sleep", since_ticks=synthetic.at(5))
    groups = group_waits(look(synthetic).table)
    assert [(group.kind, len(group.tasks)) for group in groups] == [
        (WaitKind.TIMER, 1),
        (WaitKind.QUEUE_GET, 3),
    ]
    assert [task.id for task in groups[1].tasks] == [2, 3, 1]


def test_unknown_numbers_are_no_error(synthetic: SyntheticPage) -> None:
    synthetic.set_task(1, 7, state=200, cause=99, awaited=77, cause_kind=50, site=5000, coroutine=8000)
    synthetic.set_live(phase=9, running_kind=1234)
    (task,) = look(synthetic).tasks
    assert task.state is State.WAITING and task.coroutine is None


def test_half_written_slots_are_left_out(make_page: MakePage) -> None:
    page = make_page(tasks=256)
    for slot in range(1, 200):
        page.set_task(slot, slot, sequence=3 if slot % 50 == 0 else 2)
    snapshot = look(page)
    assert len(snapshot.tasks) == 196 and snapshot.tasks_torn == 3


def test_all_slots_half_written_end_in_time(make_page: MakePage) -> None:
    page = make_page(tasks=3000)
    for slot in range(1, 3000):
        page.set_task(slot, slot, sequence=1)
    assert look(page).tasks == ()


def test_texts_are_clean(synthetic: SyntheticPage) -> None:
    site = synthetic.add_site(b"\x1b[31mevil\x07", b"/tmp/\x9b2Jx\xff.py", 1)
    synthetic.set_task(1, 7, name=b"\x1b]0;pwned\x07name", coroutine=site, site=site, awaited=Awaited.FUTURE)
    synthetic.set_header(command=b"\x1b[2Jrm\0-rf", thread_name=b"\x1bcMain", python=b"3\x1b[1m.13 x")
    synthetic.add_block(0, 200, b"/a\x1b[31m.py\t3\tf\x07\nno line\n\t\t\n", name=b"\x1b[0m")
    snapshot = look(synthetic)
    (task,) = snapshot.tasks
    texts = [task.name, task.label, str(task.coroutine), task.reason.text if task.reason else ""]
    texts += [*snapshot.command, snapshot.thread_name, snapshot.python, str(snapshot.blocks[0].frames[0])]
    assert all(text.isprintable() for text in texts), texts
    assert task.name == "name" and snapshot.command == ("rm", "-rf")


def test_a_string_that_ends_outside_is_cut(synthetic: SyntheticPage) -> None:
    site = synthetic.add_site("f", "x.py")
    synthetic.write("strings", (60000).to_bytes(2, "little"), 2)
    synthetic.set_task(1, 7, coroutine=site)
    assert look(synthetic).tasks[0].coroutine is not None


@pytest.mark.parametrize("rate", [0.0, -5.0, float("nan"), float("inf"), 1e-9, 1e12])
def test_an_impossible_clock_is_damage(synthetic: SyntheticPage, rate: float) -> None:
    synthetic.set_header(ticks_per_us=rate)
    with pytest.raises(BadPageError, match="no clock"):
        look(synthetic)
