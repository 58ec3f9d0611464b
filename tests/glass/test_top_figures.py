"""What `glassloop top` computes, on pages that the test writes: rates, list, history, descriptors, texts."""

import os
import select
import socket

import pytest
from rich.cells import cell_len

from glassloop.glass.histogram import Histogram, bucket_of
from glassloop.glass.layout import Awaited, Cause, Phase, Running, State
from glassloop.top.cells import fit, fit_path, percent, rate
from glassloop.top.descriptors import list_descriptors, names_of, watched
from glassloop.top.distribution import draw_values
from glassloop.top.lines import DescriptorLines, TaskLines
from glassloop.top.look import Look, LoopSource
from glassloop.top.loops import LoopFinder
from glassloop.top.rates import Rates
from glassloop.top.task_history import RAN, READY, RUNNING, WAITING, TaskHistory
from glassloop.top.task_list import Order, Query, TaskList

from .support import START_NS, MakePage, SyntheticPage

MS = 1_000_000


class Watched:
    """A page, looked at as top does: time goes on between the looks."""

    def __init__(self, page: SyntheticPage) -> None:
        self.page = page
        self.source = LoopSource(page.open(), 1.0)
        self.last: Look | None = None

    def look(self, ms: float) -> Rates:
        """Look at this time."""
        self.page.set_live(phase=Phase.POLLING, now_ticks=self.page.at(ms), now_ns=START_NS + round(ms * MS))
        look = self.source.look()
        rates = Rates(look, self.last)
        self.last = look
        return rates


def test_shares_and_wakeups_between_two_looks(synthetic: SyntheticPage) -> None:
    synthetic.set_task(1, 1, cpu_ticks=50 * MS, wakeups=10)
    synthetic.set_task(2, 2)
    top = Watched(synthetic)
    top.look(100)
    synthetic.wake(1, 110)
    synthetic.step(1, 150, 30, State.WAITING)
    synthetic.set_task(1, 1, cpu_ticks=80 * MS, wakeups=11, since_ticks=synthetic.at(180))
    rates = top.look(200)
    assert rates.busy == pytest.approx([0.3, 0])
    assert rates.ready == pytest.approx([0.4, 0])
    assert rates.waiting == pytest.approx([0.3, 1])
    assert rates.wakeups == pytest.approx([10, 0])


def test_the_first_look_tells_of_the_whole_life(synthetic: SyntheticPage) -> None:
    synthetic.set_task(1, 1, cpu_ticks=50 * MS, wakeups=10, created_ticks=synthetic.at(100))
    rates = Watched(synthetic).look(300)
    assert rates.busy == pytest.approx([0.25]) and rates.wakeups == pytest.approx([50])


def test_ready_since_before_the_last_look_and_still(synthetic: SyntheticPage) -> None:
    synthetic.set_task(1, 1, state=State.READY, since_ticks=synthetic.at(50))
    top = Watched(synthetic)
    top.look(100)
    assert top.look(200).ready == pytest.approx([1.0])


def test_ready_at_the_last_look_and_run_since(synthetic: SyntheticPage) -> None:
    synthetic.set_task(1, 1, state=State.READY, since_ticks=synthetic.at(50))
    top = Watched(synthetic)
    top.look(100)
    synthetic.step(1, 140, 0.5, State.READY)
    synthetic.step(1, 160.5, 0.5, State.WAITING)
    synthetic.set_task(1, 1, state=State.WAITING, since_ticks=synthetic.at(161))
    assert top.look(200).ready == pytest.approx([0.6])


def test_records_that_were_overwritten_are_not_guessed(make_page: MakePage) -> None:
    page = make_page(records=16)
    page.set_task(1, 1)
    top = Watched(page)
    top.look(0)
    for number in range(40):
        page.wake(1, 60 + number)
        page.step(1, 60.25 + number, 0.25, State.WAITING)
    rates = top.look(100)
    assert top.last is not None and top.last.lost > 0 and top.last.since_ns > START_NS + 60 * MS
    assert 0.1 < rates.ready[0] < 0.4, "a quarter of the time that the records cover"


def test_tasks_that_came_and_went_between_the_looks(synthetic: SyntheticPage) -> None:
    synthetic.set_task(1, 1, wakeups=100)
    synthetic.set_task(2, 2, wakeups=7)
    top = Watched(synthetic)
    top.look(100)
    synthetic.set_task(1, 3, wakeups=5, created_ticks=synthetic.at(150))
    synthetic.set_task(2, 2, wakeups=9)
    assert top.look(200).wakeups == pytest.approx([100, 20])


@pytest.fixture
def tasks(synthetic: SyntheticPage) -> Rates:
    """Four tasks of which each column has another order."""
    main = synthetic.add_site("main", "/app/main.py", 1)
    fetch = synthetic.add_site("fetch", "/app/web.py", 9)
    lock, sleep = synthetic.asyncio_site("locks", "Lock.acquire"), synthetic.asyncio_site("tasks", "sleep")
    for slot, name, since, cpu, fields in (
        (1, "Task-10", 30, 5, {"site": lock, "awaited": Awaited.FUTURE, "steps": 4}),
        (2, "Task-9", 10, 80, {"site": sleep, "awaited": Awaited.FUTURE, "steps": 1}),
        (3, "alpha", 20, 1, {"state": State.READY, "steps": 9, "wakeups": 3}),
        (4, "Beta", 40, 20, {"state": State.DONE, "steps": 2, "coroutine": main}),
    ):
        values = {"coroutine": fetch, "since_ticks": synthetic.at(since), "cpu_ticks": cpu * MS} | fields
        synthetic.set_task(slot, slot, name=name, **values)
    return Watched(synthetic).look(100)


@pytest.mark.parametrize(
    ("order", "ids"),
    [
        (Order.NAME, [3, 4, 2, 1]),
        (Order.STATE, [3, 1, 2, 4]),
        (Order.FOR, [2, 3, 1, 4]),
        (Order.BUSY, [2, 4, 1, 3]),
        (Order.READY, [3, 1, 2, 4]),
        (Order.WAITING, [1, 4, 2, 3]),
        (Order.WAKEUPS, [3, 1, 2, 4]),
        (Order.CPU, [2, 4, 1, 3]),
        (Order.STEPS, [3, 1, 4, 2]),
        (Order.COROUTINE, [1, 2, 3, 4]),
        (Order.REASON, [1, 2, 3, 4]),
    ],
    ids=str,
)
def test_each_order(tasks: Rates, order: Order, ids: list[int]) -> None:
    found = TaskList(tasks, Query(order))
    assert [found.task_id(place) for place in range(4)] == ids
    assert [found.find(task_id) for task_id in ids] == [0, 1, 2, 3]
    turned = TaskList(tasks, Query(order, is_reversed=True))
    assert found.row(0).task.state in {turned.row(3).task.state, State.WAITING}
    assert len(turned) == 4


@pytest.mark.parametrize(
    ("words", "ids"),
    [
        (("task",), [2, 1]),
        (("lock",), [1]),
        (("ready",), [3]),
        (("fetch", "a"), [2, 1, 3]),
        (("web.py", "sleep"), [2]),
        (("nothing",), []),
    ],
    ids=str,
)
def test_a_filter(tasks: Rates, words: tuple[str, ...], ids: list[int]) -> None:
    found = TaskList(tasks, Query(words=words))
    assert [found.task_id(place) for place in range(len(found))] == ids and found.total == 4
    assert found.find(4) is None


@pytest.mark.parametrize("width", [40, 80, 100, 120, 200])
def test_lines_fill_the_width(tasks: Rates, width: int) -> None:
    lines = TaskLines(TaskList(tasks, Query()))
    if width >= 80:
        assert cell_len(lines.heading(width).plain) == width
        assert {cell_len(lines.line(index, width).plain) for index in range(4)} == {width}
    assert "▼BUSY" in lines.heading(width).plain


def test_a_tasks_history(synthetic: SyntheticPage) -> None:
    synthetic.set_task(1, 1, name="one", since_ticks=synthetic.at(0))
    synthetic.set_task(2, 2, name="two")
    lock = synthetic.asyncio_site("locks", "Lock.acquire")
    top = Watched(synthetic)
    history = TaskHistory(1)
    history.add(top.look(100).look)
    synthetic.wake(1, 120, Running.TASK, 2)
    synthetic.step(1, 140, 20, State.WAITING, site=lock)
    synthetic.wake(2, 170)
    history.add(top.look(200).look)
    assert [event.text for event in history.events] == [
        "waits for something unknown",
        "woken: what it awaited is done, by task two",
        "ran 20 ms, then waits for a lock",
    ]
    assert history.draw(10, 100 * MS) == 2 * WAITING + 2 * READY + 2 * RUNNING + 4 * WAITING
    synthetic.wake(1, 210, Running.SOURCE, 8, cause=Cause.THROWN)
    synthetic.step(1, 210, 0.001, State.DONE)
    synthetic.set_task(1, 0)
    history.add(top.look(300).look)
    assert history.is_gone and history.events[-2].text.endswith("by descriptor 7")
    assert history.events[-1].text == "ran 1 µs, then ended"
    assert history.draw(4, 200 * MS)[2] == RAN
    assert history.task is not None and history.task.name == "one"


def test_a_history_of_a_task_that_was_never_seen(synthetic: SyntheticPage) -> None:
    history = TaskHistory(99)
    history.add(Watched(synthetic).look(100).look)
    assert history.task is None and history.is_gone and history.draw(5, MS) == "     "


def test_descriptors_by_what_their_handlers_cost(synthetic: SyntheticPage) -> None:
    top = Watched(synthetic)
    top.look(0)
    for number in range(10):
        synthetic.call(number * 10, 1, fd=5)
        synthetic.wake(1, number * 10 + 0.5, Running.SOURCE, 6)
    synthetic.call(95, 3, fd=9)
    rates = top.look(100)
    found = list_descriptors(rates.look, rates)
    assert [one.fd for one in found] == [5, 9]
    assert found[0].events == pytest.approx(100) and found[0].wakes == pytest.approx(100)
    assert found[0].busy == pytest.approx(0.1) and found[1].busy == pytest.approx(0.03)
    assert "100" in DescriptorLines(found).line(0, 80).plain


def test_what_a_process_watches() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("::1", 0), family=10) as six:
        epoll = select.epoll()
        epoll.register(server.fileno(), select.EPOLLIN | select.EPOLLOUT)
        found = watched(os.getpid())
        number = epoll.fileno()
        names = names_of(os.getpid(), [server.fileno(), six.fileno(), number, 999_999])
        epoll.close()
        assert found[server.fileno()] == "rw"
        assert names[server.fileno()] == f"TCP listens on 127.0.0.1:{server.getsockname()[1]}"
        assert names[six.fileno()] == f"TCP listens on [::1]:{six.getsockname()[1]}"
        assert names[number] == "[eventpoll]" and 999_999 not in names
    assert watched(4_194_999) == {}


def test_a_picture_of_values() -> None:
    counts = [0] * 256
    for value, count in ((100, 50), (1000, 100), (1_000_000, 1)):
        counts[bucket_of(value)] += count
    lines = list(draw_values(Histogram(tuple(counts)), lambda value: f"{value:.0f}", 80, 3))
    assert len(lines) == 4 and "█" in lines[0] and "▁" in lines[2]
    assert all(len(line) <= 80 for line in lines)
    assert list(draw_values(Histogram.empty(), str, 80, 3)) == []


@pytest.mark.parametrize("text", ["", "abc", "a" * 50, "日本語の名前です", "é́x", "🙂" * 20])
def test_texts_fit(text: str) -> None:
    for width in range(1, 20):
        assert cell_len(fit(text, width)) == width == cell_len(fit(text, width, right=True))
        assert cell_len(fit_path(text, width)) == width


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "·"), (0.001, "<.01"), (0.25, "0.25"), (12.34, "12.3"), (999.4, "999"), (1200, "1.2k")]
    + [(999_600, "1M"), (45_600_000, "45.6M"), (2e9, "2G")],
)
def test_rates_in_five_columns(value: float, text: str) -> None:
    assert rate(value) == text and len(text) <= 5


def test_shares() -> None:
    assert [percent(part) for part in (0, 0.001, 0.5, 1)] == ["·", "<1%", "50%", "100%"]


def test_loops_of_a_process_that_is_gone() -> None:
    rows, errors = LoopFinder(4_194_999).look()
    assert rows == [] and errors == ["there is no process 4194999"]
