"""ReadyQueue: first in, first out, over every growth and every turn of the ring; nothing lost or kept."""

import asyncio
import gc
import random
import sys
import weakref
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest

import glassloop
from glassloop._core.handle import Handle
from glassloop._core.ready import ReadyQueue

from .allocation import run_turn

CAPACITY = 64  # of a new ring


@pytest.fixture
def loop() -> Iterator[glassloop.EventLoop]:
    loop = glassloop.EventLoop()
    yield loop
    loop.close()


@pytest.mark.parametrize("count", [0, 1, CAPACITY - 1, CAPACITY, CAPACITY + 1, 1000])
def test_it_holds_what_was_appended_in_order(loop: glassloop.EventLoop, count: int) -> None:
    queue = ReadyQueue()
    handles = [Handle(print, (number,), loop) for number in range(count)]
    for handle in handles:
        queue.append(handle)
    assert len(queue) == count
    assert list(queue) == handles
    queue.clear()
    assert len(queue) == 0 and list(queue) == []


def test_it_agrees_with_a_deque_over_any_history(loop: glassloop.EventLoop) -> None:
    """Callbacks that make others ready, at random: the ring wraps around and grows while it is not empty."""
    chance = random.Random(1)
    model: deque[int] = deque()
    ran: list[int] = []
    made = 0

    def run(number: int) -> None:
        nonlocal made
        ran.append(number)
        assert number == model.popleft()
        # From 0 to 4 new ones for each that ran, and fewer the more there are.
        for _ in range(chance.randrange(5 if len(model) < 300 else 2)):
            if made < 20_000:
                model.append(made)
                loop.call_soon(run, made)
                made += 1

    for _ in range(20):
        model.append(made)
        loop.call_soon(run, made)
        made += 1
    while model:
        run_turn(loop)
    assert ran == list(range(made)) and made == 20_000


def test_it_owns_one_reference_to_each_entry(loop: glassloop.EventLoop) -> None:
    queue = ReadyQueue()
    handle = Handle(print, (), loop)
    before = sys.getrefcount(handle)
    for _ in range(CAPACITY + 1):
        queue.append(handle)
    assert sys.getrefcount(handle) == before + CAPACITY + 1
    queue.clear()
    assert sys.getrefcount(handle) == before
    queue.append(handle)
    del queue
    assert sys.getrefcount(handle) == before


def test_a_handle_that_ran_is_not_kept(loop: glassloop.EventLoop) -> None:
    handle: Any = loop.call_soon(list)
    reference = weakref.ref(handle)
    run_turn(loop)
    del handle
    assert reference() is None


def test_a_destructor_may_make_something_ready_while_the_queue_is_cleared(loop: glassloop.EventLoop) -> None:
    class Reschedules:
        def __del__(self) -> None:
            queue.append(late)

        def __call__(self) -> None: ...

    queue = ReadyQueue()
    late = Handle(print, (), loop)
    for _ in range(3):
        queue.append(Handle(Reschedules(), (), loop))
    queue.clear()
    queue.clear()
    assert len(queue) == 0


def test_a_foreign_handle_runs_and_can_be_cancelled(loop: glassloop.EventLoop) -> None:
    """asyncio's own handles, which inherited code appends to ``loop._ready``."""
    ran: list[str] = []
    runs = asyncio.Handle(ran.append, ("ran",), loop, None)
    cancelled = asyncio.Handle(ran.append, ("cancelled",), loop, None)
    loop._ready.append(runs)
    loop._ready.append(cancelled)
    cancelled.cancel()
    run_turn(loop)
    assert ran == ["ran"]


def test_the_collector_sees_through_it() -> None:
    """A loop that nobody holds goes away, though a ready handle refers to it."""
    loop = glassloop.EventLoop()
    loop.call_soon(loop.stop)
    loop.call_later(1000, loop.stop)
    reference = weakref.ref(loop)
    with pytest.warns(ResourceWarning, match="unclosed event loop"):
        del loop
        gc.collect()
    gc.collect()  # the warning named the loop, and so held it
    assert reference() is None


def test_loop_ready_can_be_replaced(loop: glassloop.EventLoop) -> None:
    """asyncio's own tests, and some programs, assign to ``loop._ready``."""
    ran: list[int] = []
    loop.call_soon(ran.append, 0)
    loop._ready = [Handle(ran.append, (1,), loop), Handle(ran.append, (2,), loop)]
    run_turn(loop)
    assert ran == [1, 2]
