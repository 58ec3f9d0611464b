"""The contexts of callbacks: kept without a copy until somebody asks, and nobody can tell."""

import contextvars
import gc
import weakref
from collections.abc import Iterator

import pytest

import glassloop

VARIABLE: contextvars.ContextVar[object] = contextvars.ContextVar("variable", default="unset")


@pytest.fixture
def loop() -> glassloop.EventLoop:
    return glassloop.EventLoop()


def run_once(loop: glassloop.EventLoop) -> None:
    loop.call_soon(loop.stop)
    loop.run_forever()


@pytest.fixture(autouse=True)
def closed(loop: glassloop.EventLoop) -> Iterator[None]:
    yield
    loop.close()


def test_a_callback_sees_the_context_as_it_was_when_it_was_scheduled(loop: glassloop.EventLoop) -> None:
    seen: list[object] = []

    def schedule() -> None:
        for value in range(3):
            VARIABLE.set(value)
            loop.call_soon(lambda: seen.append(VARIABLE.get()))
            loop.call_later(0, lambda: seen.append(VARIABLE.get()))
            loop.call_soon_threadsafe(lambda: seen.append(VARIABLE.get()))
        VARIABLE.set("afterwards")

    contextvars.copy_context().run(schedule)
    while len(seen) < 9:
        run_once(loop)
    assert sorted(seen, key=str) == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert VARIABLE.get() == "unset"


def test_what_a_callback_sets_is_its_own(loop: glassloop.EventLoop) -> None:
    seen: list[object] = []

    def change(value: int) -> None:
        seen.append(VARIABLE.get())
        VARIABLE.set(value)
        loop.call_soon(lambda: seen.append(VARIABLE.get()))

    for value in range(3):
        loop.call_soon(change, value)
    run_once(loop)
    run_once(loop)
    assert seen == ["unset", "unset", "unset", 0, 1, 2]


def test_a_token_keeps_its_context(loop: glassloop.EventLoop) -> None:
    """A Token knows the context in which it was made, which must serve no other callback from then on."""
    tokens: list[contextvars.Token[object]] = []
    refused: list[bool] = []

    def reset_a_foreign_token() -> None:
        with pytest.raises(ValueError, match="different Context"):
            VARIABLE.reset(tokens[0])
        refused.append(True)

    loop.call_soon(lambda: tokens.append(VARIABLE.set("mine")))
    loop.call_soon(reset_a_foreign_token)
    run_once(loop)
    loop.call_soon(reset_a_foreign_token)
    run_once(loop)
    assert refused == [True, True]


def test_get_context_is_the_context_that_the_callback_runs_in(loop: glassloop.EventLoop) -> None:
    VARIABLE.set("before")
    early = loop.call_soon(VARIABLE.set, "early")
    context = early.get_context()
    assert isinstance(context, contextvars.Context)
    assert early.get_context() is context
    assert context[VARIABLE] == "before"

    late = loop.call_soon(VARIABLE.set, "late")
    during: list[contextvars.Context] = []
    asked: list[object] = []

    def ask() -> None:
        VARIABLE.set("inside")
        during.append(itself.get_context())
        with pytest.raises(RuntimeError, match="already entered"):
            during[0].run(int)
        asked.append(during[0][VARIABLE])

    itself = loop.call_soon(ask)
    run_once(loop)
    assert context[VARIABLE] == "early"
    assert late.get_context()[VARIABLE] == "late"
    assert asked == ["inside"]
    assert itself.get_context() is during[0]
    VARIABLE.set("unset")


def test_a_given_context_is_used_as_it_is(loop: glassloop.EventLoop) -> None:
    context = contextvars.copy_context()
    handle = loop.call_soon(VARIABLE.set, "given", context=context)
    assert handle.get_context() is context
    run_once(loop)
    assert context[VARIABLE] == "given"
    assert handle.get_context() is context


def test_a_value_dies_with_the_last_callback_that_sees_it(loop: glassloop.EventLoop) -> None:
    class Value:
        pass

    def schedule() -> weakref.ref[Value]:
        value = Value()
        VARIABLE.set(value)
        loop.call_soon(VARIABLE.get)
        return weakref.ref(value)

    seen = contextvars.Context().run(schedule)
    assert seen() is not None
    run_once(loop)
    assert seen() is None


def test_a_callback_that_runs_callbacks(loop: glassloop.EventLoop) -> None:
    """A loop within a callback, as in a thread's or in nested programs: each has a context of its own."""
    seen: list[object] = []

    def outer() -> None:
        VARIABLE.set("outer")

        def inner() -> None:
            seen.append(VARIABLE.get())
            VARIABLE.set("inner")

        handle = loop.call_soon(inner)
        handle._run()
        handle.cancel()
        seen.append(VARIABLE.get())

    loop.call_soon(outer)
    run_once(loop)
    assert seen == ["outer", "outer"]
    assert VARIABLE.get() == "unset"


def test_handles_that_nobody_else_holds_are_part_of_the_loop_for_the_collector() -> None:
    """A loop that was never closed, with a callback that refers to it, is garbage once nobody holds it."""

    class Program:
        def __init__(self, keep: bool) -> None:
            self.loop = glassloop.EventLoop()
            handle = self.loop.call_soon(self.called)
            if keep:
                self.handle = handle
                self.handle.get_context().run(VARIABLE.set, self)

        def called(self) -> None:
            pass

    program = Program(keep=False)
    watched = weakref.ref(program)
    del program
    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        gc.collect()
    assert watched() is None


@pytest.mark.parametrize("when", ["ran", "cleared", "raised"])
def test_a_handle_that_is_held_is_collected_once_it_left_the_loop(
    loop: glassloop.EventLoop, when: str
) -> None:
    class Program:
        def __init__(self) -> None:
            self.handle = loop.call_soon(self.called)

        def called(self) -> None:
            if when == "raised":
                raise ValueError

    loop.set_exception_handler(lambda _loop, _context: None)
    watched = weakref.ref(Program())
    if when == "cleared":
        loop.close()
    else:
        run_once(loop)
    gc.collect()
    assert watched() is None
