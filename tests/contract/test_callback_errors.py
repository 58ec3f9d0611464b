"""What happens to an exception that a callback raises: handlers, contexts, texts, and the way out."""

import asyncio
import contextvars
import logging
import socket
import sys
from typing import Any

import pytest

from .support import Context, Loop, run_turns


def fail() -> None:
    raise ValueError("from a callback")


LINE = fail.__code__.co_firstlineno


def test_an_exception_reaches_the_handler(loop: Loop, errors: list[Context]) -> None:
    handle = loop.call_soon(fail)
    run_turns(loop)
    (context,) = errors
    assert set(context) == {"message", "exception", "handle"}
    assert context["message"] == f"Exception in callback fail() at {__file__}:{LINE}"
    assert isinstance(context["exception"], ValueError)
    assert context["handle"] is handle


def test_every_kind_of_callback_reports(loop: Loop, errors: list[Context]) -> None:
    near, far = socket.socketpair()
    with near, far:
        far.send(b"x")
        handles = [loop.call_soon(fail), loop.call_soon_threadsafe(fail), loop.call_later(-1, fail)]
        loop.add_reader(near, fail)
        run_turns(loop)
        loop.remove_reader(near)
    assert len(errors) == 4
    assert [errors[0]["handle"], errors[1]["handle"], errors[3]["handle"]] == handles
    assert isinstance(errors[2]["handle"], asyncio.Handle)
    assert {error["message"] for error in errors} == {f"Exception in callback fail() at {__file__}:{LINE}"}


def test_the_rest_of_the_turn_runs(loop: Loop, errors: list[Context]) -> None:
    trace: list[int] = []
    for number in range(5):
        loop.call_soon(trace.append, number)
        loop.call_soon(fail)
    run_turns(loop)
    assert trace == [0, 1, 2, 3, 4]
    assert len(errors) == 5


def test_the_traceback_leads_to_the_callback(loop: Loop, errors: list[Context]) -> None:
    loop.call_soon(fail)
    run_turns(loop)
    traceback = errors[0]["exception"].__traceback__
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    assert traceback.tb_frame.f_code is fail.__code__


def test_a_generator_exit_is_an_ordinary_error(loop: Loop, errors: list[Context]) -> None:
    def leave() -> None:
        raise GeneratorExit

    def cancelled() -> None:
        raise asyncio.CancelledError

    loop.call_soon(leave)
    loop.call_soon(cancelled)
    run_turns(loop)
    assert [type(error["exception"]) for error in errors] == [GeneratorExit, asyncio.CancelledError]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_exit_and_interrupt_leave_the_loop(loop: Loop, kind: type[BaseException]) -> None:
    trace: list[str] = []

    def leave() -> None:
        raise kind("out")

    loop.call_soon(trace.append, "before")
    loop.call_soon(leave)
    loop.call_soon(trace.append, "after")
    loop.call_later(-1, trace.append, "timer")
    with pytest.raises(kind, match="out"):
        loop.run_forever()
    assert trace == ["before"]
    assert not loop.is_running()
    # What had not run yet is kept, in its order.
    loop.call_soon(trace.append, "new")
    run_turns(loop)
    assert trace == ["before", "after", "timer", "new"]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_exit_and_interrupt_leave_from_a_reader_and_a_timer(loop: Loop, kind: type[BaseException]) -> None:
    def leave() -> None:
        raise kind("out")

    near, far = socket.socketpair()
    with near, far:
        far.send(b"x")
        loop.add_reader(near, leave)
        with pytest.raises(kind):
            loop.run_forever()
        loop.remove_reader(near)
    loop.call_later(0.001, leave)
    with pytest.raises(kind):
        loop.run_forever()
    run_turns(loop)


def test_stop_is_forgotten_when_an_interrupt_leaves(loop: Loop) -> None:
    def leave() -> None:
        raise KeyboardInterrupt

    trace: list[str] = []
    loop.call_soon(loop.stop)
    loop.call_soon(leave)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    loop.call_soon(loop.call_soon, loop.call_soon, trace.append, "ran on")
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    assert trace == ["ran on"]


def test_the_default_handler_logs(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    loop.set_exception_handler(None)
    handle = loop.call_soon(fail)
    with caplog.at_level(logging.ERROR, logger="asyncio"):
        run_turns(loop)
    (record,) = caplog.records
    assert record.name == "asyncio"
    assert record.getMessage() == f"Exception in callback fail() at {__file__}:{LINE}\nhandle: {handle!r}"
    assert record.exc_info and isinstance(record.exc_info[1], ValueError)


def test_call_exception_handler_by_hand(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    loop.set_exception_handler(None)
    with caplog.at_level(logging.ERROR, logger="asyncio"):
        loop.call_exception_handler({"message": "something", "colour": "red", "exception": None})
        loop.call_exception_handler({})
    assert caplog.records[0].getMessage() == "something\ncolour: 'red'"
    assert caplog.records[1].getMessage() == "Unhandled exception in event loop"


def test_set_and_get_exception_handler(loop: Loop) -> None:
    def handler(_loop: Loop, _context: Context) -> None: ...

    loop.set_exception_handler(handler)
    assert loop.get_exception_handler() is handler
    loop.set_exception_handler(None)
    assert loop.get_exception_handler() is None
    setter: Any = loop
    with pytest.raises(TypeError, match="A callable object or None is expected, got 'hello'"):
        setter.set_exception_handler("hello")


def test_the_handler_gets_the_loop(loop: Loop) -> None:
    got: list[Loop] = []
    loop.set_exception_handler(lambda where, _context: got.append(where))
    loop.call_soon(fail)
    run_turns(loop)
    assert got == [loop]


def test_an_error_in_the_handler_is_logged(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    def bad_handler(_loop: Loop, _context: Context) -> None:
        raise LookupError("in the handler")

    trace: list[str] = []
    loop.set_exception_handler(bad_handler)
    loop.call_soon(fail)
    loop.call_soon(trace.append, "goes on")
    with caplog.at_level(logging.ERROR, logger="asyncio"):
        run_turns(loop)
    assert caplog.records[0].getMessage().startswith("Unhandled error in exception handler")
    assert trace == ["goes on"]


def test_an_interrupt_in_the_handler_leaves(loop: Loop) -> None:
    def bad_handler(_loop: Loop, _context: Context) -> None:
        raise KeyboardInterrupt

    loop.set_exception_handler(bad_handler)
    loop.call_soon(fail)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()


@pytest.mark.skipif(
    sys.version_info < (3, 12), reason="handlers run in the context of the handle since Python 3.12"
)
def test_the_handler_runs_in_the_context_of_the_handle(loop: Loop) -> None:
    colour: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")
    seen: list[str] = []
    loop.set_exception_handler(lambda _loop, _context: seen.append(colour.get()))
    colour.set("red")
    loop.call_soon(fail)
    colour.set("blue")
    run_turns(loop)
    assert seen == ["red"]


def test_an_overridden_handler_method_is_used(loop: Loop) -> None:
    seen: list[Context] = []
    target: Any = loop
    target.call_exception_handler = seen.append
    loop.call_soon(fail)
    run_turns(loop)
    assert isinstance(seen[0]["exception"], ValueError)


def test_debug_mode_adds_the_source(loop: Loop, errors: list[Context]) -> None:
    loop.set_debug(True)
    line = sys._getframe().f_lineno + 1
    loop.call_soon(fail)
    run_turns(loop)
    assert set(errors[0]) == {"message", "exception", "handle", "source_traceback"}
    frame = errors[0]["source_traceback"][-1]
    assert (frame.filename, frame.lineno) == (__file__, line)


def test_a_callback_that_cannot_be_called(loop: Loop, errors: list[Context]) -> None:
    target: Any = loop
    target.call_soon(42)
    run_turns(loop)
    assert isinstance(errors[0]["exception"], TypeError)
    assert errors[0]["message"].startswith("Exception in callback 42()")


def test_a_callback_with_the_wrong_arguments(loop: Loop, errors: list[Context]) -> None:
    loop.call_soon(fail, 1, 2)  # type: ignore[arg-type]
    run_turns(loop)
    assert isinstance(errors[0]["exception"], TypeError)


def test_the_error_context_does_not_leak_into_the_next_callback(loop: Loop, errors: list[Context]) -> None:
    seen: list[object] = []
    loop.call_soon(fail)
    loop.call_soon(lambda: seen.append(sys.exc_info()[1]))
    run_turns(loop)
    assert seen == [None]
    assert errors[0]["exception"].__context__ is None
