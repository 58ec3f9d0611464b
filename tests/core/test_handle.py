"""Handle: what runs, in which context, and what misuse does. The interface itself is in tests/contract."""

import asyncio
import contextvars
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

import glassloop
from glassloop._core.handle import Handle

from .allocation import run_turn

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="default")


@pytest.fixture
def errors() -> list[dict[str, Any]]:
    return []


@pytest.fixture
def loop(errors: list[dict[str, Any]]) -> Iterator[glassloop.EventLoop]:
    loop = glassloop.EventLoop()
    loop.set_exception_handler(lambda _loop, context: errors.append(context))
    yield loop
    loop.close()


def test_it_calls_with_its_arguments_in_its_context(loop: glassloop.EventLoop) -> None:
    context = contextvars.copy_context()
    context.run(variable.set, "of the handle")
    seen: list[tuple[str, tuple[object, ...]]] = []
    Handle(lambda *args: seen.append((variable.get(), args)), (1, 2), loop, context)._run()
    assert seen == [("of the handle", (1, 2))]
    assert variable.get() == "default"


def test_running_a_cancelled_handle_by_hand_does_no_harm(
    loop: glassloop.EventLoop, errors: list[dict[str, Any]]
) -> None:
    """asyncio calls None and reports the TypeError; here it simply does not run."""
    ran: list[int] = []
    for handle in (loop.call_soon(ran.append, 1), loop.call_later(0, ran.append, 1)):
        handle.cancel()
        handle._run()
    run_turn(loop)
    assert ran == []


def test_a_handle_without_init_does_no_harm(loop: glassloop.EventLoop, errors: list[dict[str, Any]]) -> None:
    """Python can make one; nothing may crash."""
    for type_ in (type(loop.call_soon(list)), type(loop.call_later(1, list))):
        handle: Any = type_.__new__(type_)
        handle._run()
        handle.cancel()
        assert handle.cancelled()
        assert handle._callback is None


@pytest.mark.parametrize("context", ["text", 42, object()])
def test_a_context_that_is_none_is_reported(
    loop: glassloop.EventLoop, errors: list[dict[str, Any]], context: Any
) -> None:
    ran: list[int] = []
    loop.call_soon(ran.append, 1, context=context)
    loop.call_soon(ran.append, 2)
    run_turn(loop)
    assert ran == [2] and len(errors) == 1


def test_a_callback_may_cancel_its_own_handle(
    loop: glassloop.EventLoop, errors: list[dict[str, Any]]
) -> None:
    handles: list[asyncio.Handle] = []

    def callback(argument: object) -> None:
        handles[0].cancel()
        gc.collect()
        assert argument == ["kept alive by the call"]

    handles.append(loop.call_soon(callback, ["kept alive by the call"]))
    run_turn(loop)
    assert errors == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_what_must_end_the_program_leaves_the_loop(
    loop: glassloop.EventLoop, errors: list[dict[str, Any]], error: type[BaseException]
) -> None:
    ran: list[str] = []

    def fail() -> None:
        raise error

    loop.call_soon(fail)
    loop.call_soon(ran.append, "after")
    with pytest.raises(error):
        loop.run_forever()
    assert ran == [] and errors == []
    run_turn(loop)
    assert ran == ["after"]


def test_other_errors_go_to_the_exception_handler(
    loop: glassloop.EventLoop, errors: list[dict[str, Any]]
) -> None:
    class Strange(BaseException):
        pass

    def fail(error: BaseException) -> None:
        raise error

    raised = [ValueError("one"), Strange("two"), asyncio.CancelledError("three"), GeneratorExit()]
    for error in raised:
        loop.call_soon(fail, error)
    run_turn(loop)
    assert [context["exception"] for context in errors] == raised
    assert all(isinstance(context["handle"], asyncio.Handle) for context in errors)


def test_a_handle_in_a_cycle_is_collected(loop: glassloop.EventLoop) -> None:
    class Holder:
        handle: asyncio.Handle

        def method(self) -> None: ...

    references: list[weakref.ref[Any]] = []
    for make in (loop.call_soon, lambda callback: loop.call_later(0, callback)):
        holder = Holder()
        holder.handle = make(holder.method)
        references += [weakref.ref(holder), weakref.ref(holder.handle)]
        del holder
    run_turn(loop)
    gc.collect()
    assert [reference() for reference in references] == [None] * 4


def test_a_recycled_handle_is_as_new(loop: glassloop.EventLoop) -> None:
    """Handles come from a free list: nothing of the last life may show."""
    loop.set_debug(False)
    for make in (loop.call_soon, lambda *args: loop.call_later(0, *args)):
        for _ in range(10):
            old = make(print, "never")
            old.cancel()
            del old
            run_turn(loop)
            handle = make(list)
            assert not handle.cancelled()
            assert handle._source_traceback is None
            run_turn(loop)
