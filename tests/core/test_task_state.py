"""A task's state and cause: each transition, and none without a cause."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

import glassloop
from glassloop._core import native_status

from .allocation import run_turn

pytestmark = pytest.mark.skipif(
    native_status()[0] != "native", reason="asyncio's own tasks, which this run uses, have no such state"
)


@pytest.fixture(params=[False, True], ids=["plain", "debug"])
def loop(request: pytest.FixtureRequest) -> Iterator[glassloop.EventLoop]:
    loop = glassloop.EventLoop()
    loop.set_debug(request.param)
    yield loop
    loop.close()


def state(task: Any) -> tuple[str, str]:
    return task.run_state, task.cause


def test_created_waiting_ready_done(loop: glassloop.EventLoop) -> None:
    future: asyncio.Future[str] = loop.create_future()
    seen: list[tuple[str, str]] = []

    async def main() -> None:
        seen.append(state(asyncio.current_task()))
        await future
        seen.append(state(asyncio.current_task()))

    task = loop.create_task(main())
    assert state(task) == ("READY", "CREATED")
    run_turn(loop)
    assert state(task) == ("WAITING", "CREATED")
    future.set_result("now")
    assert state(task) == ("READY", "FUTURE_DONE")
    run_turn(loop)
    assert state(task) == ("DONE", "FUTURE_DONE")
    assert seen == [("RUNNING", "CREATED"), ("RUNNING", "FUTURE_DONE")]


@pytest.mark.parametrize("how", ["result", "exception", "cancel"])
def test_whatever_ends_the_future_makes_its_task_ready(loop: glassloop.EventLoop, how: str) -> None:
    future: asyncio.Future[None] = loop.create_future()

    async def main() -> None:
        with contextlib.suppress(ZeroDivisionError, asyncio.CancelledError):
            await future

    task = loop.create_task(main())
    run_turn(loop)
    if how == "result":
        future.set_result(None)
    elif how == "exception":
        future.set_exception(ZeroDivisionError())
    else:
        future.cancel()
    assert state(task) == ("READY", "FUTURE_DONE")
    run_turn(loop)
    assert state(task) == ("DONE", "FUTURE_DONE")


def test_cancelling_a_waiting_task_makes_it_ready_by_its_future(loop: glassloop.EventLoop) -> None:
    future: asyncio.Future[None] = loop.create_future()

    async def main() -> None:
        await future

    task = loop.create_task(main())
    run_turn(loop)
    task.cancel()
    assert state(task) == ("READY", "FUTURE_DONE")
    run_turn(loop)
    assert state(task) == ("DONE", "FUTURE_DONE") and task.cancelled()


def test_cancelling_a_ready_task_changes_nothing_yet(loop: glassloop.EventLoop) -> None:
    async def main() -> None: ...

    task = loop.create_task(main())
    task.cancel()
    assert state(task) == ("READY", "CREATED")
    run_turn(loop)
    assert state(task) == ("DONE", "CREATED") and task.cancelled()


def test_a_bare_yield(loop: glassloop.EventLoop) -> None:
    async def main() -> None:
        await asyncio.sleep(0)

    task = loop.create_task(main())
    run_turn(loop)
    assert state(task) == ("READY", "YIELDED")
    run_turn(loop)
    assert state(task) == ("DONE", "YIELDED")


def test_awaiting_nonsense(loop: glassloop.EventLoop) -> None:
    class Nonsense:
        def __await__(self) -> Any:
            yield 42

    async def main() -> None:
        with contextlib.suppress(RuntimeError):
            await Nonsense()
        await asyncio.sleep(0)

    task = loop.create_task(main())
    run_turn(loop)
    assert state(task) == ("READY", "THROWN")
    run_turn(loop)
    assert state(task) == ("READY", "YIELDED")
    run_turn(loop)
    assert state(task) == ("DONE", "YIELDED")


@pytest.mark.parametrize("error", [ValueError, asyncio.CancelledError])
def test_a_task_that_raises_is_done(loop: glassloop.EventLoop, error: type[BaseException]) -> None:
    async def main() -> None:
        raise error

    task = loop.create_task(main())
    run_turn(loop)
    assert state(task) == ("DONE", "CREATED")
    assert task.cancelled() or task.exception()


@pytest.mark.parametrize("kind", ["ours", "asyncio's", "pure Python", "task"])
def test_waiting_for_any_kind_of_future(loop: glassloop.EventLoop, kind: str) -> None:
    gate: asyncio.Future[None] = loop.create_future()

    async def wait_at_the_gate() -> None:
        await gate

    make: dict[str, Any] = {
        "ours": loop.create_future,
        "asyncio's": lambda: asyncio.Future(loop=loop),
        "pure Python": lambda: asyncio.futures._PyFuture(loop=loop),  # type: ignore[attr-defined]
        "task": lambda: loop.create_task(wait_at_the_gate()),
    }
    future = make[kind]()

    async def main() -> None:
        await future

    task = loop.create_task(main())
    run_turn(loop)
    assert state(task) == ("WAITING", "CREATED")
    assert task._fut_waiter is future  # type: ignore[attr-defined]
    if kind == "task":
        gate.set_result(None)
        run_turn(loop)
    else:
        future.set_result(None)
    assert state(task) == ("READY", "FUTURE_DONE")
    run_turn(loop)
    assert state(task) == ("DONE", "FUTURE_DONE")


def test_waiting_for_a_future_that_is_done_already(loop: glassloop.EventLoop) -> None:
    """Only hand-made awaitables yield one: an ordinary ``await`` does not stop at it."""
    future: asyncio.Future[None] = loop.create_future()
    future.set_result(None)

    class YieldsIt:
        def __await__(self) -> Any:
            future._asyncio_future_blocking = True
            yield future

    async def main() -> None:
        await YieldsIt()

    task = loop.create_task(main())
    run_turn(loop)
    assert state(task) == ("READY", "FUTURE_DONE")
    run_turn(loop)
    assert state(task) == ("DONE", "FUTURE_DONE")


def test_a_sleeping_task_waits(loop: glassloop.EventLoop) -> None:
    async def main() -> None:
        await asyncio.sleep(1000)

    task = loop.create_task(main())
    run_turn(loop)
    assert state(task) == ("WAITING", "CREATED")
    task.cancel()
    run_turn(loop)
    assert state(task) == ("DONE", "FUTURE_DONE")


def test_a_task_that_runs_the_whole_loop_s_life(loop: glassloop.EventLoop) -> None:
    """Each observation of many tasks is one of the allowed pairs and agrees with asyncio's fields."""
    futures: list[asyncio.Future[None]] = [loop.create_future() for _ in range(5)]

    async def main(number: int) -> None:
        for turn in range(number % 4):
            await asyncio.sleep(0)
            if turn == 1:
                await futures[number % 5]

    tasks: list[Any] = [loop.create_task(main(number)) for number in range(40)]
    for turn in range(8):
        if turn >= 3:
            futures[turn - 3].set_result(None)
        for task in tasks:
            if task.done():
                assert task.run_state == "DONE"
            elif task._fut_waiter is not None and not task._fut_waiter.done():
                assert task.run_state == "WAITING"
            else:
                assert task.run_state == "READY"
        run_turn(loop)
    run_turn(loop)
    assert {task.run_state for task in tasks} == {"DONE"}


def test_a_task_is_in_the_ready_queue_exactly_while_it_is_ready(loop: glassloop.EventLoop) -> None:
    future: asyncio.Future[None] = loop.create_future()

    async def main() -> None:
        await asyncio.sleep(0)
        await future

    task = loop.create_task(main())
    for expected in ("READY", "READY", "WAITING", "WAITING"):
        assert task.run_state == expected  # type: ignore[attr-defined]
        assert list(loop._ready).count(task) == (expected == "READY")
        run_turn(loop)
    future.set_result(None)
    assert list(loop._ready).count(task) == 1
    run_turn(loop)
    assert list(loop._ready).count(task) == 0


def test_a_finished_unreferenced_task_is_freed_at_once(loop: glassloop.EventLoop) -> None:
    import gc
    import weakref

    async def main() -> None: ...

    gc.disable()
    try:
        task = loop.create_task(main())
        reference = weakref.ref(task)
        del task
        run_turn(loop)
        assert reference() is None
    finally:
        gc.enable()
