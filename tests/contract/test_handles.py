"""Handle and TimerHandle: their type, interface, text, comparison and cancelling."""

import asyncio
import contextvars
import functools
import gc
import re
import sys
import weakref
from typing import Any

import pytest

from .support import Loop, noop, run_turns

FILE = re.escape(__file__)


def callback(*_args: object, **_kwargs: object) -> None:
    """Do nothing, at a known line."""


LINE = callback.__code__.co_firstlineno
# From 3.13 on, arguments are shown in debug mode only, for they may be secret.
SHOWS_ARGUMENTS = sys.version_info < (3, 13)


def test_the_types(loop: Loop) -> None:
    soon = loop.call_soon(callback)
    threadsafe = loop.call_soon_threadsafe(callback)
    later = loop.call_later(1000, callback)
    at = loop.call_at(1000, callback)
    assert isinstance(soon, asyncio.Handle) and not isinstance(soon, asyncio.TimerHandle)
    assert isinstance(threadsafe, asyncio.Handle) and not isinstance(threadsafe, asyncio.TimerHandle)
    assert isinstance(later, asyncio.TimerHandle)
    assert isinstance(at, asyncio.TimerHandle)
    assert type(soon).__name__ == "Handle"
    assert type(later).__name__ == "TimerHandle"


def test_cancelled_says_whether_it_is(loop: Loop) -> None:
    for handle in (
        loop.call_soon(callback),
        loop.call_soon_threadsafe(callback),
        loop.call_later(1000, callback),
        loop.call_at(1000, callback),
    ):
        assert handle.cancelled() is False
        handle.cancel()
        assert handle.cancelled() is True
        handle.cancel()
        assert handle.cancelled() is True


def test_a_cancelled_handle_does_not_run(loop: Loop) -> None:
    trace: list[str] = []
    handles = [
        loop.call_soon(trace.append, "soon"),
        loop.call_soon_threadsafe(trace.append, "threadsafe"),
        loop.call_later(-1, trace.append, "later"),
    ]
    loop.call_soon(trace.append, "kept")
    for handle in handles:
        handle.cancel()
    run_turns(loop)
    assert trace == ["kept"]


def test_a_callback_cancels_its_neighbour(loop: Loop) -> None:
    trace: list[str] = []
    handles: list[asyncio.Handle] = []

    def cancel_all() -> None:
        for handle in handles:
            handle.cancel()

    loop.call_soon(cancel_all)
    handles.append(loop.call_soon(trace.append, "soon"))
    handles.append(loop.call_later(-1, trace.append, "timer of the same turn"))
    run_turns(loop)
    assert trace == []


def test_a_callback_cancels_itself(loop: Loop) -> None:
    handles: list[asyncio.Handle] = []

    def cancel(number: int) -> None:
        handles[number].cancel()

    handles.append(loop.call_soon(cancel, 0))
    handles.append(loop.call_later(-1, cancel, 1))
    run_turns(loop)
    assert all(handle.cancelled() for handle in handles)


def test_cancelling_after_the_run_is_harmless(loop: Loop) -> None:
    trace: list[str] = []
    soon = loop.call_soon(trace.append, "soon")
    later = loop.call_later(-1, trace.append, "later")
    run_turns(loop)
    assert not soon.cancelled() and not later.cancelled()
    soon.cancel()
    later.cancel()
    assert soon.cancelled() and later.cancelled()
    run_turns(loop)
    assert trace == ["soon", "later"]


def test_cancelling_frees_the_callback_and_its_arguments(loop: Loop, no_gc: None) -> None:
    class Thing:
        def method(self, _argument: object) -> None: ...

    for schedule in (loop.call_soon, loop.call_soon_threadsafe, functools.partial(loop.call_later, 1000)):
        thing, argument = Thing(), Thing()
        refs = [weakref.ref(thing), weakref.ref(argument)]
        handle = schedule(thing.method, argument)
        del thing, argument
        assert all(ref() for ref in refs)
        handle.cancel()
        assert not any(ref() for ref in refs)


def test_running_frees_the_callback(loop: Loop, no_gc: None) -> None:
    class Thing:
        def __call__(self) -> None: ...

    refs = []
    for schedule in (loop.call_soon, loop.call_soon_threadsafe, functools.partial(loop.call_later, -1)):
        thing = Thing()
        refs.append(weakref.ref(thing))
        schedule(thing)
        del thing
    run_turns(loop)
    run_turns(loop)
    assert not any(ref() for ref in refs)


def test_many_cancelled_timers_leave_the_rest_in_order(loop: Loop) -> None:
    trace: list[int] = []
    base = loop.time() - 10
    handles = [loop.call_at(base + number * 1e-3, trace.append, number) for number in range(1000)]
    far = [loop.call_later(1000, trace.append, -1) for _ in range(1000)]
    for handle in far:
        handle.cancel()
    for number, handle in enumerate(handles):
        if number % 10:
            handle.cancel()
    run_turns(loop, 2)
    assert trace == list(range(0, 1000, 10))


def test_when(loop: Loop) -> None:
    assert loop.call_at(12345.5, callback).when() == 12345.5
    assert loop.call_at(12345, callback).when() == 12345


def test_a_handle_keeps_its_loop_context_and_callback(loop: Loop) -> None:
    context = contextvars.copy_context()
    soon: Any = loop.call_soon(callback, 1, 2, context=context)
    later: Any = loop.call_later(1000, callback, 3, context=context)
    for handle, args in ((soon, (1, 2)), (later, (3,))):
        assert handle._callback is callback
        assert handle._args == args
        assert handle._loop is loop
        assert handle._context is context
        assert handle._cancelled is False
        handle.cancel()
        assert handle._cancelled is True
        assert handle._callback is None
        assert handle._args is None


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Handle.get_context() is new in Python 3.12")
def test_get_context(loop: Loop) -> None:
    context = contextvars.copy_context()
    soon: Any = loop.call_soon(callback, context=context)
    later: Any = loop.call_later(1000, callback, context=context)
    assert soon.get_context() is context
    assert later.get_context() is context
    other: Any = loop.call_soon(callback)
    assert isinstance(other.get_context(), contextvars.Context)


def test_handles_take_weak_references(loop: Loop, no_gc: None) -> None:
    soon = loop.call_soon(callback)
    later = loop.call_later(-1, callback)
    refs: list[weakref.ref[Any]] = [weakref.ref(soon), weakref.ref(later)]
    run_turns(loop)
    del soon, later
    run_turns(loop)
    assert not any(ref() for ref in refs)


def test_the_text_of_a_handle(loop: Loop) -> None:
    handle = loop.call_soon(callback)
    assert repr(handle) == f"<Handle callback() at {__file__}:{LINE}>"
    handle.cancel()
    assert repr(handle) == "<Handle cancelled>"


def test_the_text_of_a_handle_with_arguments(loop: Loop) -> None:
    handle = loop.call_soon(callback, 1, "two")
    arguments = "(1, 'two')" if SHOWS_ARGUMENTS else "()"
    assert repr(handle) == f"<Handle callback{arguments} at {__file__}:{LINE}>"


def test_the_text_of_a_timer_handle(loop: Loop) -> None:
    handle = loop.call_at(123.5, callback)
    assert repr(handle) == f"<TimerHandle when=123.5 callback() at {__file__}:{LINE}>"
    handle.cancel()
    assert repr(handle) == "<TimerHandle cancelled when=123.5>"


def test_the_text_in_debug_mode(loop: Loop) -> None:
    loop.set_debug(True)
    line = sys._getframe().f_lineno
    handle = loop.call_soon(callback, 1)
    later = loop.call_at(123.5, callback, 2)
    threadsafe = loop.call_soon_threadsafe(callback, 3)
    text = f"callback(1) at {__file__}:{LINE} created at {__file__}:{line + 1}"
    assert repr(handle) == f"<Handle {text}>"
    assert f"created at {__file__}:{line + 2}>" in repr(later)
    assert re.fullmatch(rf"<\w*Handle callback\(3\) at .*created at {FILE}:{line + 3}>", repr(threadsafe))
    handle.cancel()
    # A cancelled handle forgets its callback but not its text, for the log.
    assert repr(handle) == f"<Handle cancelled {text}>"
    assert handle.cancelled()


def test_the_text_of_other_callables(loop: Loop) -> None:
    class Thing:
        def method(self) -> None: ...

        def __call__(self) -> None: ...

    partial = functools.partial(callback, 1, key=2)
    functions: list[Any] = [Thing().method, Thing(), partial, print, len, lambda: None]
    for function in functions:
        mine = loop.call_soon(function, 5)
        stock = asyncio.Handle(function, (5,), loop)
        assert repr(mine) == repr(stock)
        mine.cancel()


def test_timer_handles_compare_by_deadline(loop: Loop) -> None:
    early = loop.call_at(10.0, callback)
    late = loop.call_at(20.0, callback)
    twin = loop.call_at(10.0, callback)
    other = loop.call_at(10.0, noop)
    assert early < late and early <= late and late > early and late >= early
    assert early == twin and early <= twin and early >= twin
    assert early != other and not early < other and not early > other
    assert early != late
    twin.cancel()
    assert early != twin
    assert hash(early) == hash(10.0)
    assert sorted([late, early], key=lambda handle: handle) == [early, late]
    with pytest.raises(TypeError):
        _ = early < 3  # type: ignore[operator]
    assert early != 3


def test_handles_compare_by_identity(loop: Loop) -> None:
    first, second = loop.call_soon(callback), loop.call_soon(callback)
    assert first != second
    assert len({first, second}) == 2


def test_a_stock_handle_can_be_made_and_run(loop: Loop) -> None:
    trace: list[str] = []
    handle: Any = asyncio.Handle(trace.append, ("ran",), loop)
    handle._run()
    assert trace == ["ran"]
    timer: Any = asyncio.TimerHandle(5.0, trace.append, ("timer",), loop)
    timer._run()
    assert trace == ["ran", "timer"]
    timer.cancel()
    handle.cancel()


def test_handles_that_refer_to_themselves_are_collected(loop: Loop) -> None:
    class Holder:
        handle: asyncio.Handle

    refs = []
    for schedule in (loop.call_soon, functools.partial(loop.call_later, 1000)):
        holder = Holder()
        holder.handle = schedule(callback, holder)
        refs.append(weakref.ref(holder))
        holder.handle.cancel()
        del holder
    run_turns(loop)
    gc.collect()
    assert not any(ref() for ref in refs)
