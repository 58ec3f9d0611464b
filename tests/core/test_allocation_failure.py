"""Memory runs out at each allocation in turn: a MemoryError, nothing lost, and the loop goes on."""

import asyncio
import gc
import operator
import os
import selectors
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import glassloop

from .allocation import Attempts, all_from_one_on, fails_at, one_by_one, run_fails_at, run_turn
from .own_tasks import needs_own_tasks

CAPACITY = 64  # of a new ready queue, a new timer heap and a new poller table


@pytest.fixture
def loop() -> Iterator[glassloop.EventLoop]:
    loop = glassloop.EventLoop()
    # A hook that makes glassloop's error reports themselves fail would only hide what we look for.
    loop.set_exception_handler(lambda _loop, context: None)
    yield loop
    loop.close()


@pytest.fixture(params=["one allocation fails", "all from one on fail"])
def attempts(request: pytest.FixtureRequest) -> Attempts:
    """Each way of failing, in turn, until the test has had enough."""
    return one_by_one() if request.param.startswith("one") else all_from_one_on()


@pytest.fixture
def single_attempts() -> Attempts:
    """For what asyncio's own code, or CPython 3.11's interpreter, cleans up after: that must have memory."""
    return one_by_one()


def test_making_a_callback_ready(loop: glassloop.EventLoop, attempts: Attempts) -> None:
    ran: list[int] = []
    for number in range(CAPACITY):
        loop.call_soon(ran.append, number)
    failures = 0
    for start, stop in attempts:
        if not fails_at(start, stop, loop.call_soon, ran.append, CAPACITY):
            break
        failures += 1
        assert len(loop._ready) == CAPACITY
    assert failures > 0 and len(loop._ready) == CAPACITY + 1
    run_turn(loop)
    assert ran == list(range(CAPACITY + 1))


def test_setting_a_timer(loop: glassloop.EventLoop, attempts: Attempts) -> None:
    ran: list[int] = []
    for number in range(CAPACITY):
        loop.call_at(number, ran.append, number)
    failures = 0
    for start, stop in attempts:
        if not fails_at(start, stop, loop.call_at, CAPACITY, ran.append, CAPACITY):
            break
        failures += 1
        assert len(loop._scheduled) == CAPACITY
    assert failures > 0 and len(loop._scheduled) == CAPACITY + 1
    run_turn(loop)
    assert ran == list(range(CAPACITY + 1))


def test_firing_timers_into_a_full_ready_queue(single_attempts: Attempts) -> None:
    failures = 0
    for start, stop in single_attempts:
        loop = glassloop.EventLoop()  # whose ready queue has not grown yet
        run_turn(loop)  # its page is there: without memory for that, a loop runs without one
        ran = bytearray(CAPACITY + 3)  # so that the callbacks themselves need no memory
        for number in range(CAPACITY):
            loop.call_soon(operator.setitem, ran, number, 1)
        for number in range(CAPACITY, CAPACITY + 3):
            loop.call_at(0, operator.setitem, ran, number, 1)
        failed = run_fails_at(start, stop, loop)
        failures += failed is not None
        for _ in range(3):
            run_turn(loop)
        loop.close()
        assert bytes(ran) == bytes([1]) * (CAPACITY + 3), f"callbacks were lost at allocation {start}"
        if start > 60:  # the first few are the page's, without which a loop runs, too
            break
    assert failures > 0


IN_C = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="CPython 3.11's own C code needs memory on its way to call_soon()"
)


@needs_own_tasks
@pytest.mark.parametrize(
    "how", ["set_result", pytest.param("set_exception", marks=IN_C), pytest.param("cancel", marks=IN_C)]
)
def test_waking_tasks_into_a_full_ready_queue(
    loop: glassloop.EventLoop, attempts: Attempts, how: str
) -> None:
    """A task that waits for a future which is done must not wait on for ever."""
    woken: list[int] = []

    async def wait(number: int, future: asyncio.Future[None]) -> None:
        try:
            await future
        except (ZeroDivisionError, asyncio.CancelledError):
            pass
        woken.append(number)

    operation: dict[str, tuple[Any, ...]] = {
        "set_result": (None,),
        "set_exception": (ZeroDivisionError(),),
        "cancel": (),
    }
    failures = 0
    for start, stop in attempts:
        woken.clear()
        # The ring has grown when it was filled before: a new loop has a new one.
        fresh = glassloop.EventLoop()
        fresh.set_exception_handler(lambda _loop, context: None)
        future: asyncio.Future[None] = fresh.create_future()
        tasks = [fresh.create_task(wait(number, future)) for number in range(3)]
        run_turn(fresh)
        for _ in range(CAPACITY - 1):
            fresh.call_soon(list)
        error = fails_at(start, stop, getattr(future, how), *operation[how])
        failures += error is not None
        if not future.done():
            getattr(future, how)(*operation[how])
        for _ in range(3):
            run_turn(fresh)
        lost = [task for task in tasks if not task.done()]
        for task in lost:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        fresh.close()
        assert not lost, (
            f"after {error!r} at allocation {start}, {len(lost)} tasks wait for a future that is done"
        )
        if not error:
            break
    assert sorted(woken) == [0, 1, 2], f"after {failures} failures"


def test_making_a_future(loop: glassloop.EventLoop, attempts: Attempts) -> None:
    gc.collect()
    kept = [loop.create_future() for _ in range(600)]  # more than the free list has
    failures = 0
    for start, stop in attempts:
        if not fails_at(start, stop, loop.create_future):
            break
        failures += 1
    assert failures > 0 and not any(future.done() for future in kept)
    loop.create_future().set_result(None)


@needs_own_tasks
def test_making_a_task(loop: glassloop.EventLoop, attempts: Attempts) -> None:
    ran: list[int] = []

    async def main(number: int) -> None:
        ran.append(number)

    tasks = [loop.create_task(main(number)) for number in range(CAPACITY)]
    made = CAPACITY
    failures = 0
    for start, stop in attempts:
        coro = main(made)
        error = fails_at(start, stop, loop.create_task, coro)
        if not error:
            made += 1
            break
        failures += 1
        coro.close()
        assert len(loop._ready) == CAPACITY
        assert len(asyncio.all_tasks(loop)) == CAPACITY
    assert failures > 0
    run_turn(loop)
    assert ran == list(range(made)) and all(task.done() for task in tasks)
    assert asyncio.all_tasks(loop) == set()


@needs_own_tasks  # CPython's own task crashes there, on asyncio's loop as on ours
def test_parking_a_task(single_attempts: Attempts) -> None:
    """A step that runs out of memory ends with an error, or goes on; its loop goes on in any case."""
    failures = 0
    for start, stop in single_attempts:
        loop = glassloop.EventLoop()
        reports: list[object] = []
        loop.set_exception_handler(lambda _loop, context, reports=reports: reports.append(context))  # type: ignore[misc]
        future: asyncio.Future[None] = loop.create_future()

        async def main(future: asyncio.Future[None] = future) -> None:
            await asyncio.sleep(0)
            await future
            await asyncio.sleep(0)

        others = [loop.create_task(main()) for _ in range(2)]
        run_turn(loop)
        error = run_fails_at(start, stop, loop)
        future.set_result(None)
        for _ in range(5):
            run_turn(loop)
        stuck = [task for task in others if not task.done()]
        for task in stuck:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        for task in others:
            if task.done() and not task.cancelled():
                task.exception()
        assert len(loop._ready) == 0
        loop.close()
        assert not stuck or reports, f"a task was lost without a word at allocation {start}"
        failures += (
            error is not None or bool(reports) or any(task.exception() for task in others if task.done())
        )
        if start > 60:
            break
    assert failures > 0


def test_growing_the_poller_s_table(loop: glassloop.EventLoop, single_attempts: Attempts) -> None:
    """Watching a descriptor beyond the table: it is as it was, and what is watched is still reported."""
    near, far = socket.socketpair()
    seen: list[str] = []
    loop.add_reader(near, seen.append, "low")
    high = 2 * CAPACITY
    os.dup2(near.fileno(), high)
    failures = 0
    try:
        for start, stop in single_attempts:
            if not fails_at(start, stop, loop._selector.register, high, selectors.EVENT_READ):
                break
            failures += 1
            assert high not in loop._selector.get_map()
        assert failures > 0
        loop._selector.unregister(high)
        loop.add_reader(high, seen.append, "high")
        far.send(b"x")
        run_turn(loop)
        run_turn(loop)
        assert set(seen) == {"low", "high"}
    finally:
        loop.remove_reader(high)
        loop.remove_reader(near)
        os.close(high)
        near.close()
        far.close()
