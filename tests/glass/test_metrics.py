"""loop.metrics() and glassloop.tasks(): numbers of programs whose numbers are known."""

import asyncio
import dataclasses
import itertools
import math
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

import glassloop
from glassloop._core import native_status
from glassloop.glass import layout
from glassloop.glass.histogram import Histogram, bucket_of
from glassloop.glass.reasons import WaitKind
from glassloop.metrics import Distribution

needs_page = pytest.mark.skipif(
    os.environ.get("GLASSLOOP_PAGE") == "0", reason="pages are turned off in this run"
)
needs_own_tasks = pytest.mark.skipif(
    native_status()[0] != "native",
    reason="asyncio's own tasks, which this run uses, have no place in the page",
)
PATIENCE_S = 20.0


def on_a_loop(test: Callable[[glassloop.EventLoop], Awaitable[None]]) -> Callable[[], None]:
    """Run a coroutine function as a test, with its loop as the argument."""

    def run() -> None:
        loop = glassloop.new_event_loop()
        try:
            task = loop.create_task(_called(test, loop), name="main")
            loop.run_until_complete(task)
        finally:
            loop.close()

    run.__name__, run.__module__ = test.__name__, test.__module__
    return run


async def _called(test: Callable[[glassloop.EventLoop], Awaitable[None]], loop: glassloop.EventLoop) -> None:
    await test(loop)


def block(seconds: float) -> None:
    """Keep the loop from its work."""
    time.sleep(seconds)


def run_program(source: str, **environment: str) -> str:
    """Run a program and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", "import asyncio, glassloop, time\n" + textwrap.dedent(source)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        block(0.002)


# -- what is counted --------------------------------------------------------------------------------


@needs_page
@needs_own_tasks
@on_a_loop
async def test_tasks_by_state(loop: glassloop.EventLoop) -> None:
    event = asyncio.Event()
    waiting = [loop.create_task(event.wait()) for _ in range(30)]
    await asyncio.sleep(0)
    ready = [loop.create_task(asyncio.sleep(0)) for _ in range(7)]
    metrics = loop.metrics()
    assert (metrics.tasks_ready, metrics.tasks_running, metrics.tasks_waiting) == (7, 1, 30)
    assert (metrics.tasks, metrics.tasks_made, metrics.tasks_done, metrics.tasks_unseen) == (38, 38, 0, 0)
    event.set()
    metrics = loop.metrics()
    assert (metrics.tasks_ready, metrics.tasks_running, metrics.tasks_waiting) == (37, 1, 0)
    await asyncio.gather(*waiting, *ready)
    metrics = loop.metrics()
    assert (metrics.tasks_ready, metrics.tasks_running, metrics.tasks_waiting) == (0, 1, 0)
    assert (metrics.tasks_made, metrics.tasks_done) == (38, 37)


@needs_page
@on_a_loop
async def test_turns_and_steps(loop: glassloop.EventLoop) -> None:
    await asyncio.sleep(0)
    before = loop.metrics()
    for _ in range(100):
        await asyncio.sleep(0)
    passed = loop.metrics().since(before)
    assert (passed.turns, passed.steps, passed.batch.count) == (100, 100, 100)
    assert passed.batch.p50 == passed.batch.p999 == 1.0 and passed.batch.sum == 100.0


@needs_page
@on_a_loop
async def test_batches(loop: glassloop.EventLoop) -> None:
    async def spin() -> None:
        for _ in range(50):
            await asyncio.sleep(0)

    others = [loop.create_task(spin()) for _ in range(2)]
    await asyncio.sleep(0)
    before = loop.metrics()
    for _ in range(40):
        await asyncio.sleep(0)
    now = loop.metrics()
    passed = now.since(before)
    assert now.ready == 3 and passed.batch.count == 40 and passed.steps == 120
    assert passed.batch.p50 == passed.batch.quantile(0.01) == 3.0 and passed.batch.sum == 120.0
    await asyncio.gather(*others)


@needs_page
@on_a_loop
async def test_timers_and_descriptors(loop: glassloop.EventLoop) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        loop.add_reader(ours, lambda: None)
        loop.add_reader(theirs, lambda: None)
        timers = [loop.call_later(100, lambda: None) for _ in range(3)]
        own = loop.metrics().fds
        await asyncio.sleep(0.001)
        metrics = loop.metrics()
        assert (metrics.timers, metrics.fds) == (3, 2 + own)
        loop.remove_reader(ours)
        timers.pop().cancel()
        await asyncio.sleep(0.001)
        metrics = loop.metrics()
        assert (metrics.timers, metrics.fds) == (2, 1 + own)
        loop.remove_reader(theirs)
        for timer in timers:
            timer.cancel()


@needs_page
@on_a_loop
async def test_busy_and_idle_time(loop: glassloop.EventLoop) -> None:
    before = loop.metrics()
    start_s = time.monotonic()
    block(0.05)
    await asyncio.sleep(0.05)
    passed = loop.metrics().since(before)
    elapsed_s = time.monotonic() - start_s
    assert passed.busy_s > 0.049 and passed.idle_s > 0.045
    # Nothing is counted twice, as far as a clock that was measured in 2 ms tells.
    assert passed.busy_s + passed.idle_s < 1.05 * elapsed_s
    assert passed.utilization == passed.busy_s / (passed.busy_s + passed.idle_s)


@needs_page
def test_a_loop_that_never_waits_was_busy_all_the_same() -> None:
    loop = glassloop.new_event_loop()
    for _ in range(2):
        loop.call_soon(time.sleep, 0.05)
        loop.call_soon(loop.stop)
        loop.run_forever()
    metrics = loop.metrics()
    assert metrics.phase == "stopped" and metrics.busy_s > 0.099 and metrics.turn_age_s == 0
    assert metrics.utilization > 0.9
    time.sleep(0.05)  # while it does not run it is neither busy nor idle
    assert loop.metrics().busy_s == pytest.approx(metrics.busy_s, rel=0.01)
    loop.close()


def test_of_nothing_there_is_no_share() -> None:
    assert Distribution(Histogram.empty(), 1.0).p99 is None


@needs_page
@needs_own_tasks
def test_blocks() -> None:
    assert (
        run_program(
            """
            async def main():
                loop = asyncio.get_running_loop()
                for length in (0.15, 0.4, 0.15):
                    time.sleep(length)
                    await asyncio.sleep(0.001)
                metrics = loop.metrics()
                print(metrics.blocks, 0.3 < metrics.longest_block_s)
            glassloop.run(main())
            """,
            GLASSLOOP_SLOW_MS="20",
        )
        == "3 True\n"
    )


# -- what is timed ----------------------------------------------------------------------------------


@pytest.mark.skipif(
    bool(os.environ.get("GLASSLOOP_PAGE")), reason="the page is not the usual one in this run"
)
@on_a_loop
async def test_timing_begins_when_somebody_asks(loop: glassloop.EventLoop) -> None:
    for _ in range(10):
        await asyncio.sleep(0)
    metrics = loop.metrics(timing_s=0)
    assert metrics.step_time.p50 is None and metrics.scheduling_delay.p999 is None
    await asyncio.sleep(0)
    metrics = loop.metrics(timing_s=math.inf)
    assert metrics.step_time.count == metrics.scheduling_delay.count == metrics.records == 0
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert loop.metrics().step_time.count == 1


@needs_page
@needs_own_tasks
@on_a_loop
async def test_every_step_is_timed(loop: glassloop.EventLoop) -> None:
    loop.metrics(timing_s=math.inf)
    await asyncio.sleep(0)
    before = loop.metrics()
    for _ in range(1000):
        await asyncio.sleep(0)
    passed = loop.metrics().since(before)
    assert passed.step_time.count == passed.scheduling_delay.count == passed.steps == 1000
    for timed in (passed.step_time, passed.scheduling_delay):
        assert timed.p50 is not None and timed.p99 is not None and timed.p999 is not None
        assert 0 < timed.p50 <= timed.p99 <= timed.p999 and timed.sum > 0


@needs_page
@needs_own_tasks
@on_a_loop
async def test_a_long_step_delays_who_is_ready(loop: glassloop.EventLoop) -> None:
    loop.metrics(timing_s=math.inf)
    await asyncio.sleep(0)
    before = loop.metrics()
    others = [loop.create_task(asyncio.sleep(0)) for _ in range(9)]
    block(0.05)
    await asyncio.sleep(0)
    passed = loop.metrics().since(before)
    longest_step, longest_delay = passed.step_time.quantile(1.0), passed.scheduling_delay.quantile(1.0)
    assert longest_step is not None and longest_step > 0.05 * 0.87
    assert longest_delay is not None and longest_delay > 0.05 * 0.87
    assert passed.step_time.up_to([0.04]) == [passed.step_time.count - 1]
    assert passed.scheduling_delay.up_to([0.04]) == [passed.scheduling_delay.count - 9]
    assert (await asyncio.gather(*others)) == [None] * 9


@needs_page
def test_a_page_that_is_full_from_the_beginning() -> None:
    program = """
        async def main():
            for _ in range(100):
                await asyncio.sleep(0)
            metrics = asyncio.get_running_loop().metrics(timing_s=0)
            print(metrics.step_time.count == metrics.steps == metrics.turns - 1)
        glassloop.run(main())
        """
    assert run_program(program, GLASSLOOP_PAGE="full") == "True\n"


# -- who asks, and when -----------------------------------------------------------------------------


@needs_page
@needs_own_tasks
def test_another_thread_asks_while_the_loop_is_stuck_and_while_it_waits() -> None:
    loop = glassloop.new_event_loop()
    stuck, go_on, end = threading.Event(), threading.Event(), asyncio.Event()

    async def main() -> None:
        stuck.set()
        go_on.wait()
        await end.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()), name="the loop's")
    thread.start()
    stuck.wait()
    block(0.02)
    metrics = loop.metrics()
    assert metrics.thread_name == "the loop's" and metrics.phase == "running"
    assert metrics.tasks_running == 1 and metrics.turn_age_s > 0.019 and metrics.busy_s > 0.019
    (task,) = glassloop.tasks(loop)
    assert task.state == "RUNNING"
    go_on.set()
    until(lambda: loop.metrics().phase == "polling")
    metrics = loop.metrics()
    assert (metrics.tasks_waiting, metrics.ready, metrics.turn_age_s) == (1, 0, 0)
    later = loop.metrics()
    assert later.idle_s >= metrics.idle_s and later.busy_s == pytest.approx(metrics.busy_s, rel=0.01)
    loop.call_soon_threadsafe(end.set)
    thread.join()
    loop.close()


@needs_page
def test_counters_do_not_fall_while_threads_ask() -> None:
    """The loop turns as fast as it can meanwhile: a reader that mixed two moments would see it."""
    loop = glassloop.new_event_loop()

    async def turn() -> None:
        for _ in range(3000):
            await asyncio.sleep(0.00001)

    async def main() -> None:
        await asyncio.gather(turn(), turn())

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()))
    thread.start()
    until(lambda: not _raises(loop.metrics))
    seen = []
    while thread.is_alive():
        seen.append(loop.metrics(timing_s=0))
    thread.join()
    loop.close()
    for earlier, later in itertools.pairwise(seen):
        assert later.turns >= earlier.turns and later.steps >= earlier.steps
        elapsed_s = later.time_s - earlier.time_s
        # The clock's rate is measured ever better: that moves sums by parts in a thousand.
        slack_s = 0.002 * (later.busy_s + later.idle_s) + 0.001
        assert -slack_s < later.busy_s - earlier.busy_s < elapsed_s + slack_s
        assert -slack_s < later.idle_s - earlier.idle_s < elapsed_s + slack_s


def _raises(function: Callable[[], object]) -> bool:
    try:
        function()
    except glassloop.NoMetricsError:
        return True
    return False


def test_a_loop_without_numbers() -> None:
    loop = glassloop.new_event_loop()
    with pytest.raises(glassloop.NoMetricsError):
        loop.metrics()
    loop.close()
    with pytest.raises(glassloop.NoMetricsError, match="closed"):
        loop.metrics()


def test_a_page_that_is_turned_off() -> None:
    program = """
        async def main():
            await asyncio.sleep(0)
            for ask in (asyncio.get_running_loop().metrics, glassloop.tasks):
                try:
                    ask()
                except glassloop.NoMetricsError as error:
                    print(error)
        glassloop.run(main())
        """
    printed = run_program(program, GLASSLOOP_PAGE="0", GLASSLOOP_TASKS="native")
    assert printed.count("GLASSLOOP_PAGE=0 turns the loop's page off") == 2


@needs_page
def test_asyncio_s_own_tasks() -> None:
    program = """
        async def main():
            await asyncio.sleep(0.001)
            metrics = asyncio.get_running_loop().metrics()
            print(metrics.turns > 0, metrics.steps > 0, metrics.idle_s > 0, metrics.tasks)
            try:
                glassloop.tasks()
            except glassloop.NoMetricsError as error:
                print(error)
        glassloop.run(main())
        """
    lines = run_program(program, GLASSLOOP_TASKS="stock").splitlines()
    assert lines[0] == "True True True 0"
    assert lines[1].startswith("asyncio's own tasks are in use, which the page does not know: ")


@needs_page
@pytest.mark.parametrize("tasks", ["", "stock"])
def test_the_child_of_a_fork_has_numbers_of_its_own(tasks: str) -> None:
    program = """
        import os
        async def main():
            for _ in range(50):
                await asyncio.sleep(0)
            loop = asyncio.get_running_loop()
            if os.fork() == 0:
                try:
                    loop.metrics()
                except glassloop.NoMetricsError:
                    print("none yet", flush=True)
                own = glassloop.new_event_loop()
                own.call_soon(own.stop)
                own.run_forever()
                print(own.metrics().turns, flush=True)
                os._exit(0)
            os.wait()
            print(loop.metrics().turns >= 50)
        glassloop.run(main())
        """
    assert run_program(program, GLASSLOOP_TASKS=tasks) == "none yet\n1\nTrue\n"


@needs_page
@on_a_loop
async def test_metrics_are_values(loop: glassloop.EventLoop) -> None:
    metrics = loop.metrics()
    assert isinstance(metrics, glassloop.LoopMetrics)
    with pytest.raises(dataclasses.FrozenInstanceError):
        metrics.turns = 0  # type: ignore[misc]
    assert metrics.since(metrics).turns == 0 and metrics.since(metrics).time_s == metrics.time_s
    assert len(repr(metrics)) < 1500


# -- tasks ------------------------------------------------------------------------------------------


@needs_page
@needs_own_tasks
@on_a_loop
async def test_what_tasks_do(loop: glassloop.EventLoop) -> None:
    event, lock = asyncio.Event(), asyncio.Lock()

    async def wait_for_event() -> None:
        await event.wait()
        await lock.acquire()

    async def wait_for(task: asyncio.Task[None]) -> None:
        await task

    await lock.acquire()
    waits = loop.create_task(wait_for_event(), name="waits")
    follows = loop.create_task(wait_for(waits), name="follows")
    sleeps = loop.create_task(asyncio.sleep(100), name="sleeps")
    await asyncio.sleep(0)
    event.set()
    await asyncio.sleep(0.01)
    fresh = loop.create_task(asyncio.sleep(0), name="fresh")
    found = {info.name: info for info in glassloop.tasks()}
    main = asyncio.current_task()
    assert {name: info.task for name, info in found.items()} == {
        "main": main,
        "waits": waits,
        "follows": follows,
        "sleeps": sleeps,
        "fresh": fresh,
    }
    assert {name: info.state for name, info in found.items()} == {
        "main": "RUNNING",
        "waits": "WAITING",
        "follows": "WAITING",
        "sleeps": "WAITING",
        "fresh": "READY",
    }
    waiting = found["waits"]
    assert (waiting.wait_kind, waiting.waits_for, waiting.steps, waiting.wakeups) == (
        WaitKind.LOCK,
        "a lock",
        2,
        1,
    )
    assert (waiting.cause, waiting.woken_by, waiting.waker) == ("FUTURE_DONE", "task main", main)
    assert waiting.parent is main and waiting.awaited is None and waiting.deadline is None
    assert waiting.coroutine is not None and waiting.coroutine.name.endswith("wait_for_event")
    assert waiting.state_s > 0.009 and waiting.since < loop.time() and waiting.age_s >= waiting.state_s
    assert found["follows"].awaited is waits and found["follows"].wait_kind is WaitKind.TASK
    assert found["sleeps"].wait_kind is WaitKind.TIMER
    deadline = found["sleeps"].deadline
    assert deadline is not None and 99 < deadline - loop.time() < 100
    assert (found["fresh"].cause, found["fresh"].steps, found["fresh"].waits_for) == ("CREATED", 0, "")
    assert str(waiting).startswith("waits: waiting for a lock, for 0.")
    for task in (waits, follows, sleeps):
        task.cancel()
    await asyncio.gather(waits, follows, sleeps, fresh, return_exceptions=True)
    assert [info.name for info in glassloop.tasks()] == ["main"]


@needs_page
@needs_own_tasks
@on_a_loop
async def test_the_cpu_time_of_a_task(loop: glassloop.EventLoop) -> None:
    async def hog() -> None:
        block(0.03)
        await asyncio.sleep(100)

    loop.metrics(timing_s=math.inf)
    await asyncio.sleep(0)
    task = loop.create_task(hog(), name="hog")
    await asyncio.sleep(0)
    (info,) = [info for info in glassloop.tasks() if info.name == "hog"]
    assert 0.029 < info.cpu_s <= info.age_s
    task.cancel()


def test_tasks_of_no_loop() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        glassloop.tasks()

    async def main() -> None:
        with pytest.raises(glassloop.NoMetricsError, match="no loop of glassloop's"):
            glassloop.tasks()

    loop = asyncio.SelectorEventLoop()
    loop.run_until_complete(main())
    loop.close()


# -- distributions ----------------------------------------------------------------------------------


def counted(values: list[int]) -> Histogram:
    counts = [0] * layout.BUCKETS
    for value in values:
        counts[bucket_of(value)] += 1
    return Histogram(tuple(counts))


@given(st.lists(st.integers(0, 2**50), min_size=1), st.floats(0, 1))
def test_what_is_read_off_is_near_what_went_in(values: list[int], share: float) -> None:
    distribution = Distribution(counted(values), 0.5)
    values.sort()
    truth = 0.5 * values[max(0, math.ceil(share * len(values)) - 1)]
    read = distribution.quantile(share)
    assert read == pytest.approx(truth, rel=0.125, abs=0)
    assert distribution.sum == pytest.approx(0.5 * sum(values), rel=0.125)
    assert distribution.count == len(values)


@given(st.lists(st.integers(0, 2**40)), st.lists(st.integers(0, 2**41), unique=True))
def test_counts_up_to_a_bound(values: list[int], bounds: list[int]) -> None:
    bounds.sort()
    found = Distribution(counted(values), 1.0).up_to([float(bound) for bound in bounds])
    assert found == sorted(found) and len(found) == len(bounds)
    for bound, count in zip(bounds, found, strict=True):
        assert sum(1 for value in values if value < 0.8 * bound) <= count
        assert count <= sum(1 for value in values if value <= 1.25 * bound)


def test_small_numbers_are_exact() -> None:
    distribution = Distribution(counted([0, 1, 1, 2, 3]), 1.0)
    assert distribution.up_to([0, 1, 2, 3]) == [1, 3, 4, 5] and distribution.sum == 7
