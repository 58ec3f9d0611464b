"""TimerHeap and TimerHandle: deadline order, ties in the order of making, cancelled timers gone at once."""

import gc
import math
import random
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import glassloop
from glassloop._core.timers import TimerHandle, TimerHeap

from .allocation import run_turn


class FixedTimeLoop(glassloop.EventLoop):
    """A loop whose time is what the test says."""

    now = 0.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def loop() -> Iterator[FixedTimeLoop]:
    loop = FixedTimeLoop()
    yield loop
    loop.close()


operations = st.lists(
    st.one_of(
        st.tuples(st.just("make"), st.integers(0, 8)),
        st.tuples(st.just("cancel"), st.integers(0, 1000)),
        st.tuples(st.just("pass"), st.integers(0, 4)),
    ),
    max_size=300,
)


@given(operations)
@settings(deadline=None, derandomize=True, max_examples=150, database=None)
def test_it_agrees_with_a_sorted_list(steps: list[tuple[str, int]]) -> None:
    loop = FixedTimeLoop()
    model: list[tuple[float, int, TimerHandle]] = []
    ran: list[int] = []
    made = 0
    for what, number in steps:
        if what == "make":
            when = loop.now + number
            model.append((when, made, loop.call_at(when, ran.append, made)))
            model.sort(key=lambda entry: entry[:2])
            made += 1
        elif what == "cancel" and model:
            model.pop(number % len(model))[2].cancel()
        elif what == "pass":
            loop.now += number
            due = [order for when, order, _ in model if when <= loop.now]
            model = [entry for entry in model if entry[0] > loop.now]
            ran.clear()
            run_turn(loop)
            assert ran == due
        assert [timer for _, _, timer in model] == list(loop._scheduled)
    loop.close()


def test_many_timers_fire_in_deadline_order_and_ties_in_order_of_making(loop: FixedTimeLoop) -> None:
    chance = random.Random(2)
    ran: list[tuple[int, int]] = []
    deadlines = [chance.randrange(100) for _ in range(5000)]
    for order, deadline in enumerate(deadlines):
        loop.call_at(deadline, ran.append, (deadline, order))
    loop.now = 100.0
    run_turn(loop)
    assert ran == sorted((deadline, order) for order, deadline in enumerate(deadlines))


def test_a_timer_never_fires_early(loop: FixedTimeLoop) -> None:
    ran: list[float] = []
    loop.now = 1.0
    deadline = math.nextafter(2.0, 3.0)
    loop.call_at(deadline, lambda: ran.append(loop.now))
    loop.call_soon(setattr, loop, "now", 2.0)
    run_turn(loop)
    run_turn(loop)
    assert ran == []
    loop.now = deadline
    run_turn(loop)
    assert ran == [deadline]


def test_a_cancelled_timer_leaves_the_heap_at_once_and_holds_nothing(loop: FixedTimeLoop) -> None:
    class Thing:
        def method(self) -> None: ...

    thing: Any = Thing()
    reference = weakref.ref(thing)
    timers = [loop.call_later(delay, thing.method) for delay in (3, 1, 2)]
    del thing
    for left, timer in zip((2, 1, 0), timers, strict=True):
        assert timer._scheduled
        timer.cancel()
        assert not timer._scheduled
        assert len(loop._scheduled) == left
        timer.cancel()
    assert reference() is None


def test_a_timer_is_freed_when_it_has_run(loop: FixedTimeLoop) -> None:
    references = [weakref.ref(loop.call_later(0, list)) for _ in range(100)]
    run_turn(loop)
    assert [reference() for reference in references] == [None] * 100


def test_a_timer_may_cancel_those_that_are_due_with_it(loop: FixedTimeLoop) -> None:
    ran: list[str] = []
    later: list[TimerHandle] = []

    def first() -> None:
        ran.append("first")
        for timer in later:
            timer.cancel()

    loop.call_at(0, first)
    later += [loop.call_at(0, ran.append, "due with it"), loop.call_at(5, ran.append, "due later")]
    run_turn(loop)
    loop.now = 9.0
    run_turn(loop)
    assert ran == ["first"] and len(loop._scheduled) == 0


@pytest.mark.parametrize("deadline", [math.inf, -math.inf, -1.0, 0, 1e300])
def test_extreme_deadlines(loop: FixedTimeLoop, deadline: float) -> None:
    ran: list[float] = []
    loop.call_at(deadline, ran.append, deadline)
    run_turn(loop)
    assert ran == ([deadline] if deadline <= loop.now else [])


def test_a_deadline_that_is_not_a_number_does_no_harm(loop: FixedTimeLoop) -> None:
    timers = [loop.call_at(deadline, list) for deadline in (5.0, math.nan, 3.0, math.nan, 4.0)]
    for timer in timers:
        timer.cancel()
    assert len(loop._scheduled) == 0


@pytest.mark.parametrize("bad", ["soon", object(), [1]])
def test_a_deadline_that_is_no_number_is_refused(loop: FixedTimeLoop, bad: Any) -> None:
    with pytest.raises(TypeError):
        loop.call_at(bad, list)
    with pytest.raises(TypeError):
        loop.call_later(bad, list)
    assert len(loop._scheduled) == 0


def test_a_destructor_may_make_timers_while_the_heap_is_cleared(loop: FixedTimeLoop) -> None:
    class MakesAnother:
        def __call__(self) -> None: ...

        def __del__(self) -> None:
            loop.call_later(1, list)

    for _ in range(5):
        loop.call_later(1, MakesAnother())
    loop._scheduled = []
    assert all(timer._callback is list for timer in loop._scheduled)


def test_the_collector_sees_through_the_heap() -> None:
    heap_of: list[weakref.ref[glassloop.EventLoop]] = []

    def abandon() -> None:
        loop = glassloop.EventLoop()
        loop.call_later(1000, loop.stop)
        heap_of.append(weakref.ref(loop))

    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        abandon()
        gc.collect()
    gc.collect()  # the warning named the loop, and so held it
    assert heap_of[0]() is None


def test_an_empty_heap() -> None:
    heap = TimerHeap()
    assert len(heap) == 0 and list(heap) == []
    heap.clear()


def test_closing_the_loop_forgets_every_timer() -> None:
    class Thing:
        def method(self) -> None: ...

    loop, thing = glassloop.EventLoop(), Thing()
    reference = weakref.ref(thing)
    handle = loop.call_later(1000, thing.method)
    del thing
    loop.close()
    assert not handle._scheduled
    handle.cancel()
    del handle
    assert reference() is None
