"""Starting, stopping and closing a loop: run_forever, run_until_complete, stop, close, Runner."""

import asyncio
import contextlib
import gc
import signal
import socket
import sys
import threading
import warnings
import weakref
from typing import Any

import pytest

from .support import Context, Loop, LoopFactory, Run, noop, open_descriptors, run_turns


def test_the_loop_is_asyncios(loop: Loop) -> None:
    assert isinstance(loop, asyncio.AbstractEventLoop)
    assert isinstance(loop, asyncio.BaseEventLoop)
    assert isinstance(loop, asyncio.SelectorEventLoop)


def test_states(loop: Loop) -> None:
    seen: list[tuple[bool, bool]] = []

    def look() -> None:
        seen.append((loop.is_running(), loop.is_closed()))
        assert asyncio.get_running_loop() is loop
        loop.stop()

    assert (loop.is_running(), loop.is_closed()) == (False, False)
    loop.call_soon(look)
    loop.run_forever()
    assert seen == [(True, False)]
    assert (loop.is_running(), loop.is_closed()) == (False, False)
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.get_running_loop()
    loop.close()
    assert (loop.is_running(), loop.is_closed()) == (False, True)
    loop.close()


def test_the_text_of_a_loop(loop: Loop) -> None:
    name = type(loop).__name__
    assert repr(loop) == f"<{name} running=False closed=False debug=False>"
    loop.set_debug(True)
    texts: list[str] = []
    loop.call_soon(lambda: texts.append(repr(loop)))
    run_turns(loop)
    assert texts == [f"<{name} running=True closed=False debug=True>"]
    loop.close()
    assert repr(loop) == f"<{name} running=False closed=True debug=True>"


def test_stop_finishes_the_turn(loop: Loop) -> None:
    trace: list[str] = []

    def first() -> None:
        trace.append("first")
        loop.stop()
        loop.stop()
        loop.call_soon(trace.append, "next turn")

    loop.call_soon(first)
    loop.call_soon(trace.append, "same turn")
    loop.call_later(-1, trace.append, "timer")
    loop.run_forever()
    assert trace == ["first", "same turn", "timer"]
    run_turns(loop)
    assert trace == ["first", "same turn", "timer", "next turn"]


def test_stop_before_the_start_runs_one_turn(loop: Loop) -> None:
    trace: list[str] = []
    loop.call_soon(lambda: loop.call_soon(trace.append, "next"))
    loop.call_soon(trace.append, "first")
    loop.stop()
    loop.run_forever()
    assert trace == ["first"]
    loop.stop()
    loop.run_forever()
    assert trace == ["first", "next"]


def test_run_forever_again_and_again(loop: Loop) -> None:
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        loop.stop()

    for expected in range(1, 50):
        loop.call_soon(step)
        loop.run_forever()
        assert count == expected


def test_stop_from_another_thread(loop: Loop) -> None:
    thread = threading.Thread(daemon=True, target=lambda: loop.call_soon_threadsafe(loop.stop))
    loop.call_soon(thread.start)
    loop.run_forever()
    thread.join()


def test_run_until_complete_returns_and_raises(loop: Loop) -> None:
    async def value() -> int:
        await asyncio.sleep(0)
        return 42

    async def error() -> None:
        await asyncio.sleep(0)
        raise LookupError("lost")

    assert loop.run_until_complete(value()) == 42
    with pytest.raises(LookupError, match="lost"):
        loop.run_until_complete(error())
    future = loop.create_future()
    loop.call_soon(future.set_result, "done")
    assert loop.run_until_complete(future) == "done"
    assert loop.run_until_complete(future) == "done"
    task = loop.create_task(value())
    assert loop.run_until_complete(task) == 42


def test_run_until_complete_of_a_cancelled_future(loop: Loop) -> None:
    future = loop.create_future()
    future.cancel("no more")
    with pytest.raises(asyncio.CancelledError, match="no more"):
        loop.run_until_complete(future)


def test_run_until_complete_of_an_awaitable(loop: Loop) -> None:
    class Later:
        def __await__(self) -> Any:
            yield from asyncio.sleep(0).__await__()
            return "awaited"

    assert loop.run_until_complete(Later()) == "awaited"


def test_run_until_complete_of_nonsense(loop: Loop) -> None:
    runner: Any = loop
    with pytest.raises(TypeError, match="An asyncio.Future, a coroutine or an awaitable is required"):
        runner.run_until_complete(42)


def test_run_until_complete_of_a_future_of_another_loop(loop_factory: LoopFactory) -> None:
    here, there = loop_factory(), loop_factory()
    future = there.create_future()
    with pytest.raises(ValueError, match="belongs to a different loop"):
        here.run_until_complete(future)


def test_stop_before_the_future_is_done(loop: Loop) -> None:
    future = loop.create_future()
    loop.call_soon(loop.stop)
    with pytest.raises(RuntimeError, match=r"^Event loop stopped before Future completed\.$"):
        loop.run_until_complete(future)
    assert not future.done()
    loop.call_soon(future.set_result, 1)
    assert loop.run_until_complete(future) == 1


def test_the_root_done_callback_is_asyncios(loop: Loop) -> None:
    # Libraries find the root task by this callback's name.
    names: list[str] = []

    async def main() -> None:
        task: Any = asyncio.current_task()
        names.extend(
            getattr(callback, "__qualname__", "") + "@" + getattr(callback, "__module__", "")
            for callback, _context in task._callbacks
        )

    loop.run_until_complete(main())
    assert names == ["_run_until_complete_cb@asyncio.base_events"]


def test_callbacks_left_over_run_next_time(loop: Loop) -> None:
    trace: list[str] = []

    async def main() -> None:
        loop.call_soon(loop.call_soon, loop.call_soon, trace.append, "late")

    loop.run_until_complete(main())
    run_turns(loop, 5)
    assert trace == ["late"]


def test_a_loop_does_not_run_inside_itself(loop: Loop) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="^This event loop is already running$"):
            loop.run_forever()
        assert asyncio.get_running_loop() is loop
        assert loop.is_running()
        coroutine = asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="^This event loop is already running$"):
            loop.run_until_complete(coroutine)
        coroutine.close()
        with pytest.raises(RuntimeError, match="^Cannot close a running event loop$"):
            loop.close()
        with pytest.raises(RuntimeError, match="cannot be called from a running event loop"):
            asyncio.run(coroutine)
        await asyncio.sleep(0)

    loop.run_until_complete(main())


def test_a_loop_does_not_run_inside_another(loop_factory: LoopFactory) -> None:
    outer, inner = loop_factory(), loop_factory()

    async def main() -> None:
        with pytest.raises(RuntimeError, match="^Cannot run the event loop while another loop is running$"):
            inner.run_forever()
        assert not inner.is_running()
        assert asyncio.get_running_loop() is outer
        coroutine = asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="^Cannot run the event loop while another loop is running$"):
            inner.run_until_complete(coroutine)
        coroutine.close()
        assert not inner.is_running()
        assert asyncio.get_running_loop() is outer

    outer.run_until_complete(main())
    inner.run_until_complete(asyncio.sleep(0))


def test_a_closed_loop_does_not_run(loop_factory: LoopFactory) -> None:
    loop = loop_factory()
    loop.close()
    with pytest.raises(RuntimeError, match="^Event loop is closed$"):
        loop.run_forever()
    coroutine = asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="^Event loop is closed$"):
        loop.run_until_complete(coroutine)
    with pytest.raises(RuntimeError, match="^Event loop is closed$"):
        loop.create_task(coroutine)
    coroutine.close()


def test_a_loop_is_reused_after_an_error_in_run_until_complete(loop: Loop) -> None:
    async def interrupt() -> None:
        raise KeyboardInterrupt

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(interrupt())
        assert not loop.is_running()
        loop.run_until_complete(asyncio.sleep(0))


def test_two_loops_in_turn(loop_factory: LoopFactory) -> None:
    first, second = loop_factory(), loop_factory()
    trace: list[int] = []
    for number in range(4):
        loop = (first, second)[number % 2]
        loop.call_soon(trace.append, number)
        run_turns(loop)
    assert trace == [0, 1, 2, 3]


def test_an_unclosed_loop_warns(loop_factory: LoopFactory) -> None:
    kind = type(loop_factory())

    def lose_a_loop() -> None:
        kind()
        gc.collect()

    with pytest.warns(ResourceWarning, match=f"unclosed event loop <{kind.__name__} running=False"):
        lose_a_loop()


def test_a_closed_loop_is_freed_without_the_collector(loop_factory: LoopFactory, no_gc: None) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(0.001)
        await loop.run_in_executor(None, noop)
        await loop.shutdown_default_executor()
        loop.call_later(1000, noop)
        loop.call_soon_threadsafe(noop)
        loop.add_signal_handler(signal.SIGUSR1, noop)
        near, far = socket.socketpair()
        with near, far:
            loop.add_reader(near, noop)
            loop.remove_reader(near)

    kind = type(loop_factory())
    loop = kind()
    loop.run_until_complete(main())
    loop.close()
    ref = weakref.ref(loop)
    del loop
    assert ref() is None


def test_a_loop_leaves_no_descriptor_open(loop_factory: LoopFactory) -> None:
    kind = type(loop_factory())
    kind().close()
    before = open_descriptors()
    for _ in range(5):
        loop = kind()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
    assert open_descriptors() == before


def test_a_loop_has_attributes_and_can_be_subclassed(loop_factory: LoopFactory) -> None:
    kind: Any = type(loop_factory())

    class MyLoop(kind):  # type: ignore[misc]
        def time(self) -> float:
            return float(super().time()) + 1000.0

    loop = MyLoop()
    with contextlib.closing(loop):
        loop.note = "mine"
        assert loop.note == "mine"
        assert loop.call_later(1, noop).when() > 1000.0
        assert loop.run_until_complete(asyncio.sleep(0, "slept")) == "slept"


def test_an_overridden_call_soon_is_used_by_futures(loop_factory: LoopFactory) -> None:
    kind: Any = type(loop_factory())
    seen: list[object] = []

    class MyLoop(kind):  # type: ignore[misc]
        def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
            seen.append(callback)
            handle = super().call_soon(callback, *args, context=context)
            assert isinstance(handle, asyncio.Handle)
            return handle

    loop = MyLoop()
    with contextlib.closing(loop):
        future = loop.create_future()
        future.add_done_callback(noop)
        future.set_result(None)
        loop.run_until_complete(future)
    assert noop in seen


def test_loops_hash_and_compare_by_identity(loop_factory: LoopFactory) -> None:
    first, second = loop_factory(), loop_factory()
    assert first != second
    assert {first: 1, second: 2}[second] == 2
    assert weakref.ref(first)() is first


def test_async_generator_hooks_are_restored(loop: Loop) -> None:
    before = sys.get_asyncgen_hooks()
    inside: list[Any] = []
    loop.call_soon(lambda: inside.append(sys.get_asyncgen_hooks()))
    run_turns(loop)
    assert sys.get_asyncgen_hooks() == before
    assert inside[0].firstiter is not None and inside[0].finalizer is not None


def test_runner(loop_factory: LoopFactory) -> None:
    async def main() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        first = runner.run(main())
        assert runner.get_loop() is first
        assert runner.run(main()) is first
    assert first.is_closed()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio.run(loop_factory=) is new in Python 3.12")
def test_asyncio_run_with_a_loop_factory(loop_factory: LoopFactory) -> None:
    async def main() -> str:
        return type(asyncio.get_running_loop()).__name__

    run: Any = asyncio.run
    assert run(main(), loop_factory=loop_factory) == type(loop_factory()).__name__


def test_run_cancels_what_is_left(run: Run) -> None:
    trace: list[str] = []

    async def child() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            trace.append("child ended")

    async def main() -> None:
        task = asyncio.create_task(child())
        trace.append(task.get_name()[:4])
        await asyncio.sleep(0)

    run(main())
    assert trace == ["Task", "child ended"]


def test_run_reports_errors_while_cancelling(run: Run, errors: list[Context]) -> None:
    async def child() -> None:
        try:
            await asyncio.sleep(1000)
        finally:
            raise ValueError("in finally")

    async def main() -> None:
        main.task = asyncio.create_task(child())  # type: ignore[attr-defined]
        await asyncio.sleep(0)

    run(main())
    assert [error["message"] for error in errors] == ["unhandled exception during asyncio.run() shutdown"]


def test_unittest_isolated_test_case(loop_factory: LoopFactory) -> None:
    import unittest

    if sys.version_info < (3, 13):
        pytest.skip("IsolatedAsyncioTestCase.loop_factory is new in Python 3.13")
    loops: list[str] = []

    class Case(unittest.IsolatedAsyncioTestCase):
        async def asyncSetUp(self) -> None:
            await asyncio.sleep(0)

        async def test_it(self) -> None:
            loops.append(type(asyncio.get_running_loop()).__name__)

    Case.loop_factory = staticmethod(loop_factory)
    result = unittest.TestResult()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Case("test_it").run(result)
    assert result.wasSuccessful(), result.errors
    assert loops == [type(loop_factory()).__name__]
