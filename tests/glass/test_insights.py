"""Each insight: a page in which it holds, and one much like it in which it does not."""

import dataclasses
from collections.abc import Callable

import pytest

from glassloop.glass.insights import INSIGHTS, Evidence, Finding, find_insights
from glassloop.glass.layout import Awaited, Cause, Phase, Running, State
from glassloop.glass.raw import RECORD, RawRecord
from glassloop.glass.reader import take_snapshot

from .support import START_NS, MakePage, SyntheticPage

MS = 1_000_000
Fill = Callable[[SyntheticPage], None]


def findings(page: SyntheticPage, threads: int = 0) -> list[Finding]:
    with page.open() as opened:
        snapshot = dataclasses.replace(take_snapshot(opened), process_threads=threads)
        _, data, _ = opened.records()
    return find_insights(Evidence(snapshot, tuple(RawRecord._make(one) for one in RECORD.iter_unpack(data))))


def names(page: SyntheticPage, threads: int = 0) -> list[str]:
    return [finding.insight for finding in findings(page, threads)]


def now(page: SyntheticPage, ms: float, **live: int) -> None:
    page.set_live(phase=Phase.POLLING, now_ticks=page.at(ms), now_ns=START_NS + round(ms * MS), **live)


def block(page: SyntheticPage) -> None:
    page.add_block(0, 500, b"/usr/lib/python3.13/time.py\t1\tx\n/app/a.py\t7\tparse\n", ended=1, task=4)


def block_that_lasts(page: SyntheticPage) -> None:
    page.add_block(0, 500, b"/app/a.py\t7\tparse\n", task=4)


def long_steps(page: SyntheticPage) -> None:
    page.set_task(1, 1, cpu_ticks=900 * MS, steps=10)
    now(page, 1000)


def short_steps(page: SyntheticPage) -> None:
    page.set_task(1, 1, cpu_ticks=900 * MS, steps=10_000)
    now(page, 1000)


def spin(page: SyntheticPage) -> None:
    page.set_task(1, 3, name="spinner")
    for number in range(600):
        page.step(3, number, 0.5, State.READY)


def spin_with_waits(page: SyntheticPage) -> None:
    page.set_task(1, 3)
    for number in range(600):
        page.step(3, number, 0.5, State.READY if number % 2 else State.WAITING)


def fd_spin(page: SyntheticPage) -> None:
    for number in range(600):
        page.call(number, 0.5, fd=9)


def busy_socket(page: SyntheticPage) -> None:
    for number in range(500):
        page.call(number, 0.5, fd=9)
        page.wake(1, number + 0.2, Running.SOURCE, 10)


def jobs(page: SyntheticPage) -> None:
    for slot in range(1, 13):
        page.waits(slot, slot, "futures", "wrap_future")
    now(page, 3000, timers=1)


def few_jobs(page: SyntheticPage) -> None:
    for slot in range(1, 3):
        page.waits(slot, slot, "futures", "wrap_future")
    now(page, 3000, timers=1)


def long_lock(page: SyntheticPage) -> None:
    page.waits(1, 1, "locks", "Lock.acquire")
    page.waits(2, 2, "locks", "Lock.acquire", since_ticks=page.at(2900))
    now(page, 3000, timers=1)


def short_lock(page: SyntheticPage) -> None:
    page.waits(1, 1, "locks", "Lock.acquire", since_ticks=page.at(2900))
    now(page, 3000, timers=1)


def ring(page: SyntheticPage) -> None:
    for slot, awaited in ((1, 2), (2, 3), (3, 1), (4, 1)):
        page.set_task(slot, slot, awaited=Awaited.TASK, subject=awaited, name=f"t{slot}")
    now(page, 1, timers=1)


def chain(page: SyntheticPage) -> None:
    for slot, awaited in ((1, 2), (2, 3), (3, 99), (4, 1)):
        page.set_task(slot, slot, awaited=Awaited.TASK, subject=awaited)
    now(page, 1, timers=1)


def two_locks(page: SyntheticPage) -> None:
    page.waits(1, 1, "locks", "Lock.acquire", name="a")
    page.waits(2, 2, "locks", "Lock.acquire", name="b")
    page.set_task(3, 3, awaited=Awaited.TASK, subject=1)
    now(page, 3000, fds=0)


def two_locks_and_a_timer(page: SyntheticPage) -> None:
    two_locks(page)
    page.set_live(timers=1)


def two_locks_and_a_sleeper(page: SyntheticPage) -> None:
    two_locks(page)
    page.waits(4, 4, "tasks", "sleep")


def orphan(page: SyntheticPage) -> None:
    site = page.add_site("connect", "/app/db.py", 4)
    page.set_task(1, 5, awaited=Awaited.FUTURE, site=site, parent=2)
    now(page, 90_000, timers=1)


def awaited_task(page: SyntheticPage) -> None:
    orphan(page)
    page.set_task(2, 6, awaited=Awaited.TASK, subject=5)


def starving(page: SyntheticPage) -> None:
    page.set_task(1, 1, state=State.READY, since_ticks=page.at(100))
    page.set_task(2, 2, state=State.READY, since_ticks=page.at(480))
    now(page, 500)


def fresh_ready(page: SyntheticPage) -> None:
    page.set_task(1, 1, state=State.READY, since_ticks=page.at(480))
    now(page, 500)


def cancelled(page: SyntheticPage) -> None:
    page.waits(1, 1, "tasks", "sleep", cause=Cause.THROWN)
    now(page, 5000, timers=1)


def sleeping(page: SyntheticPage) -> None:
    page.waits(1, 1, "tasks", "sleep", cause=Cause.FUTURE_DONE)
    now(page, 5000, timers=1)


def unseen(page: SyntheticPage) -> None:
    page.set_live(tasks_unseen=3)


def nothing(page: SyntheticPage) -> None:
    pass


CASES = [
    ("blocked the loop", block, block_that_lasts, "at /app/a.py:7 parse"),
    ("seldom yields", long_steps, short_steps, "90 ms a step over 10 steps"),
    ("wakes itself", spin, spin_with_waits, "task spinner spins: 600 of its last 600"),
    ("descriptor never read", fd_spin, busy_socket, "file descriptor 9 is always ready"),
    (
        "executor full",
        jobs,
        few_jobs,
        "12 tasks wait for jobs and the process has 4 other threads, so at least 8",
    ),
    ("long wait for a lock", long_lock, short_lock, "2 tasks wait for a lock"),
    ("wait cycle", ring, chain, "t1 awaits t2 awaits t3 awaits t1"),
    ("deadlock", two_locks, two_locks_and_a_timer, "a for a lock; b for a lock"),
    ("deadlock", two_locks, two_locks_and_a_sleeper, "by itself: no timer, no I/O"),
    ("forgotten", orphan, awaited_task, "a future made in db.py:4 connect"),
    ("starvation", starving, fresh_ready, "1 task is ready and not run, the longest, Task-1, since 400 ms"),
    ("cancelled yet running", cancelled, sleeping, "was cancelled 5 s ago and still waits for a sleep"),
    ("tasks unseen", unseen, nothing, "3 tasks had no slot"),
]


@pytest.mark.parametrize(
    ("name", "holds", "holds_not", "words"), CASES, ids=[case[1].__name__ for case in CASES]
)
def test_insight(make_page: MakePage, name: str, holds: Fill, holds_not: Fill, words: str) -> None:
    page = make_page(records=1024)
    holds(page)
    (finding,) = [finding for finding in findings(page, threads=5) if finding.insight == name]
    assert words in finding.sentence
    other = make_page(records=1024)
    holds_not(other)
    assert name not in names(other, threads=5)


def test_each_insight_has_its_test() -> None:
    assert {insight.name for insight in INSIGHTS} == {case[0] for case in CASES}


def test_where_a_descriptor_is_watched_there_is_no_deadlock(make_page: MakePage) -> None:
    page = make_page()
    two_locks(page)
    page.set_live(fds=1)
    assert "deadlock" not in names(page)


def test_the_severe_come_first(make_page: MakePage) -> None:
    page = make_page()
    block(page)
    two_locks(page)
    found = findings(page)
    assert found[0].severe and not found[-1].severe and len(found) >= 3


def test_a_ring_is_told_once(make_page: MakePage) -> None:
    page = make_page()
    ring(page)
    assert names(page).count("wait cycle") == 1
