"""Methods of the loop that a subclass or a test has replaced: the loop's own calls go through them too."""

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from .support import Loop, LoopFactory, Run, noop, run_turns, turns

Override = Callable[[Loop, str, Callable[..., Any]], Loop]


def _in_a_subclass(loop: Any, name: str, replacement: Callable[..., Any]) -> Any:
    """Make a loop of the same kind whose class has the method."""

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        return replacement(getattr(super(kind, self), name), *args, **kwargs)

    kind: Any = type("Loop", (type(loop),), {name: method})
    made = kind(type(loop._selector)())
    loop.close()
    return made


def _in_the_instance(loop: Any, name: str, replacement: Callable[..., Any]) -> Any:
    original = getattr(loop, name)
    setattr(loop, name, lambda *args, **kwargs: replacement(original, *args, **kwargs))
    return loop


@pytest.fixture(params=[_in_a_subclass, _in_the_instance])
def override(request: pytest.FixtureRequest) -> Override:
    """Replace a method of a loop by one that is given the original as its first argument."""
    replace: Override = request.param
    return replace


def test_call_later_goes_through_call_at(loop: Loop, override: Override) -> None:
    calls: list[Any] = []

    def call_at(original: Any, when: float, callback: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append((callback, args, kwargs))
        return original(when - 1000, callback, *args, **kwargs)

    loop = override(loop, "call_at", call_at)
    trace: list[object] = []
    context = contextvars.copy_context()
    before = loop.time()
    handle = loop.call_later(1000, trace.append, "later", context=context)
    assert before <= handle.when() <= loop.time()
    run_turns(loop, 2)
    assert trace == ["later"]
    assert calls == [(trace.append, ("later",), {"context": context})]
    loop.call_later(2000, noop)
    assert calls[1:] == [(noop, (), {"context": None})]
    loop.close()


def test_call_later_returns_what_call_at_returns(loop: Loop, override: Override) -> None:
    handle = mock.Mock(_source_traceback=None)
    loop = override(loop, "call_at", lambda _original, *args, **kwargs: handle)
    assert loop.call_later(0, noop, 1, 2) is handle
    loop.close()


def test_sleep_goes_through_call_at(loop: Loop, override: Override) -> None:
    loop = override(loop, "call_at", lambda original, when, *args, **kwargs: original(0, *args, **kwargs))
    loop.run_until_complete(asyncio.sleep(1000))
    loop.close()


def test_call_at_replaced_for_a_while(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with mock.patch.object(loop, "call_at") as call_at:
            assert loop.call_later(1, noop) is call_at.return_value
        handle = loop.call_later(1, noop)
        assert isinstance(handle, asyncio.TimerHandle)
        handle.cancel()

    run(main())


def test_time_replaced_for_a_while(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        fired: list[str] = []
        loop.call_later(1000, fired.append, "early")
        late = loop.call_later(5000, fired.append, "late")
        with mock.patch.object(loop, "time", return_value=now + 2000):
            assert loop.call_later(10, noop).when() == now + 2010
            await turns(3)
        assert fired == ["early"]
        late.cancel()

    run(main())


def test_futures_and_tasks_go_through_call_soon(loop: Loop, override: Override) -> None:
    called: list[Any] = []

    def call_soon(original: Any, callback: Any, *args: Any, **kwargs: Any) -> Any:
        assert callable(callback)
        called.append(callback)
        return original(callback, *args, **kwargs)

    loop = override(loop, "call_soon", call_soon)

    async def main() -> None:
        future = loop.create_future()
        future.add_done_callback(noop)
        task = loop.create_task(wait(future))
        await turns(2)
        called.clear()
        future.set_result(None)
        assert called[0] is noop
        assert len(called) == 2
        await task
        failing = loop.create_future()
        failing.add_done_callback(noop)
        called.clear()
        failing.set_exception(ValueError())
        assert called == [noop]
        assert isinstance(failing.exception(), ValueError)
        cancelled = loop.create_future()
        cancelled.add_done_callback(noop)
        called.clear()
        cancelled.cancel()
        assert called == [noop]

    loop.run_until_complete(main())
    loop.close()


async def wait(future: Any) -> Any:
    return await future


def test_call_soon_replaced_while_tasks_wait(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        tasks = [asyncio.create_task(wait(future)) for _ in range(3)]
        await turns(2)
        with mock.patch.object(loop, "call_soon", wraps=loop.call_soon) as call_soon:
            future.set_result("done")
            assert call_soon.call_count == 3
            assert all(callable(call.args[0]) for call in call_soon.call_args_list)
        assert await asyncio.gather(*tasks) == ["done"] * 3

    run(main())


# What follows is of CPython's test_futures since 3.14: a call_soon() that changes the future it is about.


class ReachedError(Exception):
    """call_soon() was called."""


def test_call_soon_sees_the_future_without_its_first_callback(loop_factory: LoopFactory) -> None:
    def call_soon(callback: Any, *args: object, **kwargs: object) -> None:
        seen.append((callback, future.remove_done_callback(callback)))

    loop: Any = loop_factory()
    future = loop.create_future()
    future.add_done_callback(noop)
    seen: list[Any] = []
    loop.call_soon = call_soon
    future.set_result(None)
    del loop.call_soon
    assert seen[0][0] is noop


def test_call_soon_that_drops_the_other_callbacks(loop_factory: LoopFactory) -> None:
    def call_soon(callback: Any, *args: object, **kwargs: object) -> None:
        seen.append(callback)
        for other in callbacks:
            future.remove_done_callback(other)

    loop: Any = loop_factory()
    loop.call_soon = call_soon
    future: asyncio.Future[str] = asyncio.Future(loop=loop)
    callbacks: list[Any] = [str, int, noop, noop]
    for callback in callbacks:
        future.add_done_callback(callback)
    seen: list[object] = []
    future.set_result("boom")
    del loop.call_soon
    assert seen[0] is str
    assert not future._callbacks


def test_call_soon_that_raises(loop_factory: LoopFactory) -> None:
    def call_soon(*args: object, **kwargs: object) -> None:
        raise ReachedError

    loop: Any = loop_factory()
    future = loop.create_future()
    future.add_done_callback(noop)
    loop.call_soon = call_soon
    with pytest.raises(ReachedError):
        future.set_result(1)
    del loop.call_soon
    assert future.result() == 1
    assert not future._callbacks
