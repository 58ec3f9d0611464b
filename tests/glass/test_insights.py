"""Each insight: a page in which it holds, and one much like it in which it does not."""

from collections.abc import Callable

import pytest

from glassloop.glass.answers import parse_answer
from glassloop.glass.insights import INSIGHTS, Evidence, Finding, find_insights
from glassloop.glass.layout import Awaited, Phase, Running, State
from glassloop.glass.raw import RECORD, RawRecord
from glassloop.glass.reader import take_snapshot

from .support import START_NS, MakePage, SyntheticPage

MS = 1_000_000
Fill = Callable[[SyntheticPage], None]


def findings(page: SyntheticPage, threads: int = 0) -> list[Finding]:
    with page.open() as opened:
        snapshot = take_snapshot(opened)._replace(process_threads=threads)
        _, data, _ = opened.records()
    records = tuple(RawRecord._make(one) for one in RECORD.iter_unpack(data))
    return find_insights(Evidence(snapshot, records, parse_answer(page.answer)))


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


def reader_spin(page: SyntheticPage) -> None:
    for number in range(600):
        page.call(number, 0.5, kind=Running.FOREIGN)
    page.answer = b"#0\n!ready\t7\t/app/a.py\t3\tlook\n"


def busy_reader(page: SyntheticPage) -> None:
    for number in range(510):
        page.call(number, 0.5, kind=Running.FOREIGN)
        page.wake(1, number + 0.2, Running.FOREIGN)
    page.answer = b"#0\n!ready\t7\t/app/a.py\t3\tlook\n"


def many_callbacks(page: SyntheticPage) -> None:
    reader_spin(page)
    page.answer = b"#0\n"


def jobs(page: SyntheticPage) -> None:
    for slot in range(1, 13):
        page.waits(slot, slot, "futures", "wrap_future")
    now(page, 3000, timers=1)


def few_jobs(page: SyntheticPage) -> None:
    for slot in range(1, 3):
        page.waits(slot, slot, "futures", "wrap_future")
    now(page, 3000, timers=1)


def own_executor(page: SyntheticPage) -> None:
    few_jobs(page)
    page.waits(3, 3, "futures", "wrap_future", since_ticks=page.at(1000))
    page.answer = b"#0\n!executor\tthreads\t2\tof\t2\tqueued\t1\n"


def own_executor_with_room(page: SyntheticPage) -> None:
    own_executor(page)
    page.answer = b"#0\n!executor\tthreads\t1\tof\t2\tqueued\t1\n"


def held_lock(page: SyntheticPage) -> None:
    long_lock(page)
    page.waits(3, 3, "streams", "StreamReader._wait_for_data", name="reader")
    page.answer = (
        b"#1\n/app/a.py\t7\tuse\n!waits\t0xa\tLock at 0xa\n#2\n/app/a.py\t7\tuse\n!waits\t0xb\tLock at 0xb\n"
        b"#3\n/app/a.py\t9\tfetch\n!holds\tsure\t0xa\tLock at 0xa\t/app/a.py\t9\tfetch\n"
    )


def held_lock_by_guess(page: SyntheticPage) -> None:
    held_lock(page)
    page.answer = page.answer.replace(b"sure", b"maybe")


def lock_of_nobody(page: SyntheticPage) -> None:
    held_lock(page)
    page.answer = page.answer.replace(b"!holds", b"!heaves")


def lock_ring(page: SyntheticPage) -> None:
    for slot, name in ((1, "one"), (2, "two")):
        page.waits(slot, slot, "locks", "Lock.acquire", name=name)
    now(page, 3000, timers=1)
    page.answer = (
        b"#1\n/app/a.py\t7\tuse\n!waits\t0xa\tLock at 0xa\n"
        b"!holds\tsure\t0xb\tLock at 0xb\t/app/a.py\t7\tuse\n"
        b"#2\n/app/a.py\t7\tuse\n!waits\t0xb\tLock at 0xb\n"
        b"!holds\tmaybe\t0xa\tLock at 0xa\t/app/a.py\t7\tuse\n"
    )


def lock_chain(page: SyntheticPage) -> None:
    lock_ring(page)
    page.answer = page.answer.replace(b"!holds\tmaybe", b"!heaves")


def lock_ring_that_moves(page: SyntheticPage) -> None:
    lock_ring(page)
    page.set_task(1, 1, since_ticks=page.at(2990))


def semaphore_of_two(page: SyntheticPage) -> None:
    lock_ring(page)
    page.set_task(3, 3)
    page.answer += (
        b"#3\n!holds\tsure\t0xb\tLock at 0xb\t/app/a.py\t7\tuse\n"
        b"!holds\tmaybe\t0xa\tLock at 0xa\t/app/a.py\t7\tuse\n"
    )


def gather_ring(page: SyntheticPage) -> None:
    page.waits(1, 1, "tasks", "gather", name="parent")
    page.set_task(2, 2, awaited=Awaited.TASK, subject=1, name="child")
    now(page, 3000, timers=1)
    page.answer = b"#1\n/app/a.py\t7\tmain\n!awaits\t3,2\n"


def gather_tree(page: SyntheticPage) -> None:
    gather_ring(page)
    page.set_task(2, 2, awaited=Awaited.TASK, subject=3)
    page.set_task(3, 3)


def lost(page: SyntheticPage) -> None:
    site = page.add_site("fetch", "/app/a.py", 7)
    page.set_task(1, 1, awaited=Awaited.FUTURE, site=site)
    now(page, 10, timers=1)
    page.answer = b"#1\n/app/a.py\t9\tfetch\n!lost\n"


def not_lost(page: SyntheticPage) -> None:
    lost(page)
    page.answer = b"#1\n/app/a.py\t9\tfetch\n"


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
    page.waits(1, 1, "tasks", "sleep")
    now(page, 5000, timers=1)
    page.answer = b"#1\n!cancelling\t1\n"


def sleeping(page: SyntheticPage) -> None:
    page.waits(1, 1, "tasks", "sleep")
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
        "descriptor never read",
        reader_spin,
        busy_reader,
        "file descriptor 7 is always ready and its handler, /app/a.py:3 look, takes nothing off it",
    ),
    ("descriptor never read", reader_spin, many_callbacks, "600 callbacks ran of late, and woke nobody"),
    (
        "executor full",
        jobs,
        few_jobs,
        "has 3 threads that could do jobs, and at least 9 jobs wait for one, the longest for about 3 s",
    ),
    (
        "executor full",
        own_executor,
        own_executor_with_room,
        "all its 2 threads are busy and 1 job waits for one, the longest for about 2 s",
    ),
    (
        "long wait for a lock",
        held_lock,
        short_lock,
        (
            "1 task waits for Lock at 0xa at /app/a.py:7 use, Task-1 for 3 s: held by reader at "
            "/app/a.py:9 fetch, which itself waits for data from a stream"
        ),
    ),
    ("long wait for a lock", held_lock_by_guess, short_lock, "3 s: held, it seems, by reader at /app/a.py:9"),
    ("long wait for a lock", lock_of_nobody, short_lock, "no task of this loop is seen to hold it"),
    (
        "wait cycle",
        lock_ring,
        lock_chain,
        (
            "one at /app/a.py:7 use waits for Lock at 0xa, held, it seems, by two; "
            "two at /app/a.py:7 use waits for Lock at 0xb, held by one"
        ),
    ),
    ("wait cycle", lock_ring, lock_ring_that_moves, "held by one"),
    ("wait cycle", lock_ring, semaphore_of_two, "held by one"),
    ("wait cycle", gather_ring, gather_tree, "parent at /app/a.py:7 main awaits child; child awaits parent"),
    ("lost future", lost, not_lost, "waits at /app/a.py:9 fetch for a future made in a.py:7 fetch, to which"),
    ("long wait for a lock", long_lock, short_lock, "2 tasks wait for a lock"),
    ("wait cycle", ring, chain, "t1 awaits t2 awaits t3 awaits t1"),
    ("deadlock", two_locks, two_locks_and_a_timer, "a for a lock; b for a lock"),
    ("deadlock", two_locks, two_locks_and_a_sleeper, "by itself: no timer, no I/O"),
    ("forgotten", orphan, awaited_task, "a future made in db.py:4 connect"),
    ("starvation", starving, fresh_ready, "1 task is ready and not run, the longest, Task-1, since 400 ms"),
    ("cancelled yet running", cancelled, sleeping, "was cancelled and yet has waited 5 s for a sleep"),
    ("tasks unseen", unseen, nothing, "3 tasks had no slot"),
]


@pytest.mark.parametrize(
    ("name", "holds", "holds_not", "words"),
    CASES,
    ids=[f"{case[1].__name__}-{case[2].__name__}" for case in CASES],
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
