"""Futures: states, callbacks, texts, awaiting, wrapping, and the report of forgotten errors."""

import asyncio
import concurrent.futures
import contextvars
import functools
import gc
from collections.abc import Callable
from typing import Any

import pytest

from .support import Context, Loop, LoopFactory, Run, noop, run_turns, turns

Make = Callable[[], asyncio.Future[Any]]


@pytest.fixture(params=["create_future", "asyncio.Future"])
def make(request: pytest.FixtureRequest, loop: Loop) -> Make:
    """Make futures of the loop under test: its own kind, and the stock kind."""
    if request.param == "create_future":
        return loop.create_future
    return functools.partial(asyncio.Future, loop=loop)


def test_the_type(make: Make, loop: Loop) -> None:
    future = make()
    assert isinstance(future, asyncio.Future)
    assert asyncio.isfuture(future)
    assert type(future).__name__ == "Future"
    assert future.get_loop() is loop
    assert asyncio.ensure_future(future, loop=loop) is future


def test_states(make: Make) -> None:
    future = make()
    assert not future.done() and not future.cancelled()
    with pytest.raises(asyncio.InvalidStateError, match=r"^Result is not set\.$"):
        future.result()
    with pytest.raises(asyncio.InvalidStateError, match=r"^Exception is not set\.$"):
        future.exception()
    future.set_result(42)
    assert future.done() and not future.cancelled()
    assert future.result() == 42
    assert future.exception() is None
    assert future.cancel() is False


def test_the_state_is_set_once(make: Make) -> None:
    for method, *args in (("set_result", 1), ("set_exception", ValueError()), ("cancel",)):
        future = make()
        getattr(future, str(method))(*args)
        with pytest.raises(asyncio.InvalidStateError):
            future.set_result(2)
        with pytest.raises(asyncio.InvalidStateError):
            future.set_exception(LookupError())
        if not future.cancelled():
            future.exception()


def test_the_text_of_a_second_result(make: Make) -> None:
    future = make()
    future.set_result(1)
    with pytest.raises(asyncio.InvalidStateError, match="invalid state"):
        future.set_result(2)


def test_exceptions(make: Make) -> None:
    exc = LookupError("lost")
    future = make()
    future.set_exception(exc)
    assert future.exception() is exc
    with pytest.raises(LookupError) as info:
        future.result()
    assert info.value is exc
    future = make()
    future.set_exception(LookupError)
    assert type(future.exception()) is LookupError


def test_exceptions_that_cannot_be_set(make: Make) -> None:
    future: Any = make()
    with pytest.raises(TypeError, match="invalid exception object"):
        future.set_exception(42)
    for exc in (StopIteration, StopIteration()):
        future = make()
        # Refused by older Pythons, replaced by newer ones.
        try:
            future.set_exception(exc)
        except TypeError as refused:
            told: BaseException = refused
        else:
            told = future.exception() or AssertionError()
            assert type(told) is RuntimeError
        assert "StopIteration interacts badly with generators" in str(told)


def test_cancelling(make: Make) -> None:
    future = make()
    assert future.cancel("stop") is True
    assert future.done() and future.cancelled()
    with pytest.raises(asyncio.CancelledError, match="stop"):
        future.result()
    with pytest.raises(asyncio.CancelledError):
        future.exception()
    assert future.cancel() is False


def test_callbacks_run_in_order_in_the_next_turn(make: Make, loop: Loop) -> None:
    trace: list[str] = []
    future = make()
    for name in ("one", "two", "three"):
        future.add_done_callback(lambda done, name=name: trace.append(f"{name} {done is future}"))  # type: ignore[misc]
    loop.call_soon(trace.append, "before")
    future.set_result(None)
    loop.call_soon(trace.append, "after")
    assert trace == []
    run_turns(loop)
    assert trace == ["before", "one True", "two True", "three True", "after"]


@pytest.mark.parametrize("how", ["result", "exception", "cancel"])
def test_callbacks_of_every_end(make: Make, loop: Loop, how: str) -> None:
    trace: list[str] = []
    future = make()
    future.add_done_callback(lambda _: trace.append("called"))
    if how == "result":
        future.set_result(None)
    elif how == "exception":
        future.set_exception(LookupError())
        future.exception()
    else:
        future.cancel()
    run_turns(loop)
    assert trace == ["called"]


def test_removing_callbacks(make: Make, loop: Loop) -> None:
    trace: list[str] = []
    future = make()

    def gone(_future: object) -> None:
        trace.append("gone")

    def kept(_future: object) -> None:
        trace.append("kept")

    for callback in (gone, kept, gone, kept, gone):
        future.add_done_callback(callback)
    assert future.remove_done_callback(gone) == 3
    assert future.remove_done_callback(gone) == 0
    assert future.remove_done_callback(noop) == 0
    future.set_result(None)
    assert future.remove_done_callback(kept) == 0
    run_turns(loop)
    assert trace == ["kept", "kept"]


def test_removing_the_first_of_two(make: Make, loop: Loop) -> None:
    trace: list[str] = []
    future = make()
    first, second = (lambda _: trace.append("first")), (lambda _: trace.append("second"))
    future.add_done_callback(first)
    future.add_done_callback(second)
    assert future.remove_done_callback(first) == 1
    future.add_done_callback(first)
    future.set_result(None)
    run_turns(loop)
    assert trace == ["second", "first"]


def test_callbacks_run_in_their_context(make: Make, loop: Loop) -> None:
    colour = contextvars.ContextVar("colour", default="none")
    seen: list[str] = []
    future = make()
    given = contextvars.copy_context()
    given.run(colour.set, "given")
    colour.set("red")
    future.add_done_callback(lambda _: seen.append(colour.get()))
    future.add_done_callback(lambda _: seen.append(colour.get()), context=given)
    colour.set("blue")
    future.set_result(None)
    future.add_done_callback(lambda _: seen.append(colour.get()))
    run_turns(loop)
    assert seen == ["red", "given", "blue"]


def test_texts(make: Make) -> None:
    def callback(_future: object) -> None: ...

    place = f"test_texts.<locals>.callback() at {__file__}:{callback.__code__.co_firstlineno}"
    future = make()
    assert repr(future) == "<Future pending>"
    future.add_done_callback(callback)
    assert repr(future) == f"<Future pending cb=[{place}]>"
    future.add_done_callback(callback)
    assert repr(future) == f"<Future pending cb=[{place}, {place}]>"
    future.add_done_callback(callback)
    assert repr(future) == f"<Future pending cb=[{place}, <1 more>, {place}]>"
    future.set_result("x" * 100)
    assert repr(future) == "<Future finished result='xxxxxxxxxxxx...xxxxxxxxxxxxx'>"
    future = make()
    future.set_exception(LookupError("lost"))
    assert repr(future) == "<Future finished exception=LookupError('lost')>"
    future.exception()
    future = make()
    future.cancel("stop")
    assert repr(future) == "<Future cancelled>"


def test_a_future_in_its_own_result_has_a_text(make: Make) -> None:
    future = make()
    future.set_result(future)
    assert "..." in repr(future)


def test_awaiting(make: Make, loop: Loop) -> None:
    async def main() -> None:
        future = make()
        loop.call_soon(future.set_result, "later")
        assert await future == "later"
        assert await future == "later"
        future = make()
        future.set_exception(LookupError("lost"))
        for _ in range(2):
            with pytest.raises(LookupError, match="lost"):
                await future

    loop.run_until_complete(main())


def test_the_iterator_of_a_future(make: Make, loop: Loop) -> None:
    future = make()
    for iterator in (iter(future), future.__await__()):
        assert next(iterator) is future
        blocking: Any = future
        assert blocking._asyncio_future_blocking is True
        blocking._asyncio_future_blocking = False
    future.set_result("done")
    iterator = future.__await__()
    with pytest.raises(StopIteration) as info:
        next(iterator)
    assert info.value.value == "done"


def test_the_iterator_resumed_too_early(make: Make) -> None:
    future = make()
    iterator = future.__await__()
    next(iterator)
    with pytest.raises(RuntimeError, match="await wasn't used with future"):
        next(iterator)


def test_the_iterator_takes_an_error(make: Make) -> None:
    iterator: Any = make().__await__()
    next(iterator)
    with pytest.raises(LookupError, match="thrown"):
        iterator.throw(LookupError("thrown"))
    iterator.close()
    iterator = make().__await__()
    next(iterator)
    iterator.close()


def test_a_forgotten_exception(make: Make, errors: list[Context]) -> None:
    future: Any = make()
    future.set_exception(LookupError("forgotten"))
    assert future._log_traceback is True
    text = repr(future)
    del future
    gc.collect()
    (context,) = errors
    assert context["message"] == "Future exception was never retrieved"
    assert isinstance(context["exception"], LookupError)
    assert repr(context["future"]) == text


def test_the_forgotten_flag_is_only_taken_down(make: Make) -> None:
    future: Any = make()
    with pytest.raises(ValueError, match="_log_traceback can only be set to False"):
        future._log_traceback = True
    future._log_traceback = False


def test_a_result_set_from_a_callback_of_another(make: Make, loop: Loop) -> None:
    first, second = make(), make()
    first.add_done_callback(lambda done: second.set_result(done.result() + 1))
    loop.call_soon(first.set_result, 1)
    assert loop.run_until_complete(second) == 2


def test_a_callback_that_removes_others(make: Make, loop: Loop) -> None:
    # All callbacks are scheduled when the future ends, so it is too late.
    trace: list[str] = []
    future = make()

    def victim(_future: object) -> None:
        trace.append("victim")

    def remover(_future: object) -> None:
        trace.append(f"removed {future.remove_done_callback(victim)}")

    future.add_done_callback(remover)
    future.add_done_callback(victim)
    future.set_result(None)
    run_turns(loop)
    assert trace == ["removed 0", "victim"]


def test_a_comparison_that_changes_the_callbacks(make: Make, loop: Loop) -> None:
    future = make()
    future.add_done_callback(noop)
    for _ in range(60):
        future.add_done_callback(print)

    class Nasty:
        def __eq__(self, other: object) -> bool:
            future.remove_done_callback(print)
            return False

        def __hash__(self) -> int:
            return 1

        def __call__(self, _future: object) -> None: ...

    assert future.remove_done_callback(Nasty()) == 0
    assert "noop" in repr(future) and "print" not in repr(future)
    future.set_result(None)
    run_turns(loop)


def test_private_fields_that_libraries_read(make: Make, loop: Loop) -> None:
    future: Any = make()
    assert future._state == "PENDING"
    assert future._loop is loop
    assert future._result is None and future._exception is None
    assert future._callbacks is None
    assert future._asyncio_future_blocking is False
    future.add_done_callback(noop)
    callbacks: Any = future._callbacks
    assert [entry[0] for entry in callbacks] == [noop]
    future.set_result(1)
    assert future._state == "FINISHED" and future._result == 1
    cancelled: Any = make()
    cancelled.cancel("m")
    assert cancelled._state == "CANCELLED" and cancelled._cancel_message == "m"


def test_wrap_future(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        source: concurrent.futures.Future[str] = concurrent.futures.Future()
        future = asyncio.wrap_future(source)
        assert future.get_loop() is loop
        source.set_result("wrapped")
        assert await future == "wrapped"
        source = concurrent.futures.Future()
        future = asyncio.wrap_future(source)
        future.cancel()
        await turns(2)
        assert source.cancelled()
        failed: concurrent.futures.Future[str] = concurrent.futures.Future()
        failed.set_exception(LookupError("lost"))
        with pytest.raises(LookupError, match="lost"):
            await asyncio.wrap_future(failed)

    run(main())


def test_a_future_without_a_loop(run: Run) -> None:
    async def main() -> None:
        future: asyncio.Future[int] = asyncio.Future()
        assert future.get_loop() is asyncio.get_running_loop()

    run(main())


def test_a_future_of_a_closed_loop(loop_factory: LoopFactory) -> None:
    loop = loop_factory()
    future = loop.create_future()
    plain = loop.create_future()
    future.add_done_callback(noop)
    loop.close()
    plain.set_result(1)
    assert plain.result() == 1
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        future.set_result(1)
