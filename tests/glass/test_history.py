"""Records become intervals and wake-ups."""

import dataclasses

from glassloop.glass.history import History, Interval, Lane, build_history
from glassloop.glass.layout import Cause, Phase, Running, State
from glassloop.glass.reader import take_snapshot
from glassloop.glass.recording import Chunk, read_ring

from .support import START_NS, MakePage, SyntheticPage

MS = 1_000_000
Shown = list[tuple[str, float, float]]


def history_of(page: SyntheticPage) -> History:
    with page.open() as opened:
        return build_history(read_ring(opened))


def shown(history: History, task_id: int) -> Shown:
    """A lane's intervals in ms since the page was made."""
    (lane,) = [lane for lane in history.lanes if lane.task_id == task_id]
    return [
        (one.state.name, (one.start_ns - START_NS) / MS, (one.end_ns - START_NS) / MS)
        for one in lane.intervals
    ]


def at_ms(page: SyntheticPage, ms: float) -> None:
    """The page's last sign of life."""
    page.set_live(phase=Phase.POLLING, now_ticks=page.at(ms), now_ns=START_NS + round(ms * MS))


def test_two_sleeps(synthetic: SyntheticPage) -> None:
    sleep = synthetic.asyncio_site("tasks", "sleep")
    for task in (1, 2):
        synthetic.set_task(
            task, task, created_ticks=synthetic.at(0), state=State.DONE, since_ticks=synthetic.at(22)
        )
    synthetic.step(1, 1, 1, State.WAITING, sleep)
    synthetic.step(2, 2, 1, State.WAITING, sleep)
    synthetic.wake(1, 20, Running.HANDLE)
    synthetic.wake(2, 20, Running.HANDLE)
    synthetic.step(1, 20, 1, State.DONE)
    synthetic.step(2, 21, 1, State.DONE)
    at_ms(synthetic, 30)
    history = history_of(synthetic)
    assert shown(history, 1) == [("RUNNING", 1, 2), ("WAITING", 2, 20), ("RUNNING", 20, 21), ("DONE", 21, 21)]
    assert shown(history, 2) == [
        ("RUNNING", 2, 3),
        ("WAITING", 3, 20),
        ("READY", 20, 21),
        ("RUNNING", 21, 22),
        ("DONE", 22, 22),
    ]
    assert all(lane.is_done for lane in history.lanes)
    assert history.wait_text(history.lanes[0].intervals[1].site) == "a sleep to end"
    assert history.start_ns == START_NS + MS and history.length_ns == 29 * MS


def test_a_yielding_task_is_ready_between_its_steps(synthetic: SyntheticPage) -> None:
    synthetic.step(1, 0, 1, State.READY)
    synthetic.step(1, 4, 1, State.READY)
    at_ms(synthetic, 8)
    assert shown(history_of(synthetic), 1) == [
        ("RUNNING", 0, 1),
        ("READY", 1, 4),
        ("RUNNING", 4, 5),
        ("READY", 5, 8),
    ]


def test_a_wake_up_in_another_task_s_step_comes_before_that_step_s_record(synthetic: SyntheticPage) -> None:
    synthetic.step(2, 0, 1, State.WAITING)
    synthetic.wake(2, 3, Running.TASK, 1)
    synthetic.step(1, 2, 4, State.WAITING)
    synthetic.step(2, 6, 1, State.DONE)
    at_ms(synthetic, 9)
    history = history_of(synthetic)
    assert shown(history, 2) == [
        ("RUNNING", 0, 1),
        ("WAITING", 1, 3),
        ("READY", 3, 6),
        ("RUNNING", 6, 7),
        ("DONE", 7, 7),
    ]
    (wake,) = list(history.wakeups())
    assert (wake.by, wake.by_id, wake.cause) == (Running.TASK, 1, Cause.FUTURE_DONE)


def test_a_task_that_is_first_seen_when_it_is_woken_was_waiting(synthetic: SyntheticPage) -> None:
    synthetic.call(0, 1, fd=5)
    synthetic.wake(1, 6, Running.SOURCE, 6)
    synthetic.step(1, 7, 1, State.DONE)
    at_ms(synthetic, 9)
    history = history_of(synthetic)
    assert shown(history, 1) == [("WAITING", 0, 6), ("READY", 6, 7), ("RUNNING", 7, 8), ("DONE", 8, 8)]
    assert [(call.fd, call.running) for call in history.calls] == [(5, Running.SOURCE)]


def test_a_task_made_in_the_time_shown_was_ready_from_then_on(synthetic: SyntheticPage) -> None:
    synthetic.step(1, 0, 1, State.WAITING)
    synthetic.set_task(1, 2, created_ticks=synthetic.at(3), since_ticks=synthetic.at(6), parent=1)
    synthetic.step(2, 5, 1, State.WAITING)
    at_ms(synthetic, 9)
    history = history_of(synthetic)
    assert shown(history, 2) == [("READY", 3, 5), ("RUNNING", 5, 6), ("WAITING", 6, 9)]
    (wake,) = list(history.wakeups())
    assert (wake.cause, wake.by_id, wake.at_ns) == (Cause.CREATED, 1, START_NS + 3 * MS)


def test_a_task_without_records_is_in_the_state_of_its_slot(synthetic: SyntheticPage) -> None:
    lock = synthetic.asyncio_site("locks", "Lock.acquire")
    synthetic.call(0, 1)
    synthetic.set_task(
        1, 9, site=lock, awaited=1, since_ticks=synthetic.at(-50), created_ticks=synthetic.at(-99)
    )
    at_ms(synthetic, 10)
    history = history_of(synthetic)
    assert shown(history, 9) == [("WAITING", 0, 10)]
    assert history.wait_text(history.lanes[0].intervals[0].site) == "a lock"


def test_the_step_that_is_not_over(synthetic: SyntheticPage) -> None:
    synthetic.step(1, 0, 1, State.READY)
    synthetic.set_task(1, 1, state=State.READY, since_ticks=synthetic.at(1))
    synthetic.set_live(running_kind=Running.TASK, running_slot=1, step_ticks=synthetic.at(4))
    synthetic.set_live(now_ticks=synthetic.at(9), now_ns=START_NS + 9 * MS)
    assert shown(history_of(synthetic), 1) == [("RUNNING", 0, 1), ("READY", 1, 4), ("RUNNING", 4, 9)]


def test_a_step_whose_length_does_not_fit_ends_where_the_next_begins(synthetic: SyntheticPage) -> None:
    synthetic.step(1, 0, 9000, State.WAITING)
    synthetic.step(2, 9000, 1, State.DONE)
    at_ms(synthetic, 9005)
    assert shown(history_of(synthetic), 1) == [("RUNNING", 0, 9000), ("WAITING", 9000, 9005)]


def test_nothing_is_claimed_of_the_time_of_lost_records(synthetic: SyntheticPage) -> None:
    synthetic.step(1, 0, 1, State.WAITING)
    synthetic.step(1, 8, 1, State.WAITING)
    at_ms(synthetic, 10)
    with synthetic.open() as page:
        recording = read_ring(page)
        (whole,) = recording.chunks
        half = len(whole.data) // 2
        recording.chunks = [Chunk(0, whole.data[:half]), Chunk(3, whole.data[half:])]
        history = build_history(recording)
    assert shown(history, 1) == [("RUNNING", 0, 1), ("RUNNING", 8, 9), ("WAITING", 9, 10)]
    assert history.lost == 3 and recording.lost == 3


def test_only_the_time_that_was_asked_for_shows(synthetic: SyntheticPage) -> None:
    synthetic.step(1, 0, 10, State.WAITING)
    synthetic.wake(1, 15)
    synthetic.step(1, 20, 10, State.WAITING)
    at_ms(synthetic, 40)
    with synthetic.open() as page:
        whole = read_ring(page)
        part = dataclasses.replace(whole, start_ns=START_NS + 5 * MS, end_ns=START_NS + 25 * MS)
        history = build_history(part)
    assert shown(history, 1) == [
        ("RUNNING", 5, 10),
        ("WAITING", 10, 15),
        ("READY", 15, 20),
        ("RUNNING", 20, 25),
    ]


def test_the_ring_overwrites_the_oldest(make_page: MakePage) -> None:
    page = make_page(records=16)
    for number in range(40):
        page.step(1, number, 0.5, State.READY)
    at_ms(page, 41)
    with page.open() as opened:
        first, data, end = opened.records()
        # One less than the ring holds: the place of the one that may be being written is not trusted.
        assert (first, len(data) // 32, end) == (25, 15, 40)
        assert opened.records(38)[0] == 38 and opened.records(40) == (40, b"", 40)
        assert opened.records(0)[0] == 25
        assert take_snapshot(opened).record_count == 40
    assert len(shown(history_of(page), 1)) == 30


def test_totals() -> None:
    lane = Lane(
        1,
        "a",
        "f",
        [Interval(State.RUNNING, 0, 5), Interval(State.READY, 5, 7), Interval(State.RUNNING, 7, 8)],
    )
    assert lane.total_ns(State.RUNNING) == 6 and lane.total_ns(State.READY) == 2 and not lane.is_done
