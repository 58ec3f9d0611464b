"""What recordings know beyond the records: the names of tasks that are gone, and how much is missing."""

from glassloop.glass.history import build_history
from glassloop.glass.layout import Cause, Kind, Running, State
from glassloop.glass.recording import read_ring

from .support import MakePage, SyntheticPage


def gone(
    page: SyntheticPage, task: int, made_ms: float, *, name: str = "", site: int = 0, parent: int = 0
) -> None:
    """The record that tells what a task was that is done."""
    subject = (page.add_string(name) if name else 0) | parent << 32
    page.add_record(page.at(made_ms), Kind.NAME, 0, 0, 0, site, task, subject)


def test_tasks_that_are_gone_have_their_names(synthetic: SyntheticPage) -> None:
    page = synthetic
    fetch = page.add_site("fetch", "/app/main.py", 3)
    page.step(1, 0, 10, State.WAITING)
    page.step(2, 20, 5, State.DONE)
    gone(page, 2, 5, name="second", site=fetch, parent=1)
    page.step(3, 30, 5, State.DONE)
    gone(page, 3, 28, site=fetch)
    with page.open() as opened:
        history = build_history(read_ring(opened))
    first, second, third = history.lanes
    assert (first.name, second.name, third.name) == ("Task-1", "second", "Task-3")
    assert (first.function, second.function) == ("", "fetch")
    made = second.wakeups[0]
    assert (made.cause, made.by, made.by_id) == (Cause.CREATED, Running.TASK, 1)
    ready = second.intervals[0]
    assert ready.state is State.READY and ready.length_ns == 15_000_000, "from when it was made"
    assert second.is_done


def test_a_name_does_not_move_the_beginning(synthetic: SyntheticPage) -> None:
    gone(synthetic, 9, 0, name="early")
    synthetic.step(1, 50, 10, State.WAITING)
    with synthetic.open() as opened:
        recording = read_ring(opened)
    assert recording.start_ns == recording.snapshot.clock.to_ns(synthetic.at(50))


def test_a_name_that_lies_nowhere(synthetic: SyntheticPage) -> None:
    synthetic.step(1, 0, 10, State.DONE)
    synthetic.add_record(synthetic.at(0), Kind.NAME, 0, 0, 0, 4_000_000_000, 1, 0xFFFFFFFF)
    with synthetic.open() as opened:
        (lane,) = build_history(read_ring(opened)).lanes
    assert lane.name == "?" and lane.function == ""


def test_what_overran_is_said(make_page: MakePage) -> None:
    page = make_page(records=64)
    for number in range(100):
        page.step(1, number, 0.5, State.READY)
    with page.open() as opened:
        recording = read_ring(opened)
    (sentence,) = recording.what_is_missing()
    assert sentence == "the ring holds the newest 63 of 100 records: the first 37 ms are missing"
    assert recording.overran == 37 and build_history(recording).cut_ns == 37_000_000


def test_nothing_is_missing(synthetic: SyntheticPage) -> None:
    synthetic.step(1, 0, 10, State.WAITING)
    with synthetic.open() as opened:
        assert not list(read_ring(opened).what_is_missing())
