"""The clock: monotonic, the system's, and replaceable by overriding ``loop.time()``."""

import asyncio
import time
from typing import Any

import pytest

import glassloop
from glassloop._core.clock import Clock, MethodClock


def test_it_is_the_monotonic_clock() -> None:
    clock = Clock()
    for _ in range(1000):
        before = time.monotonic()
        now = clock.now()
        after = time.monotonic()
        assert before <= now <= after


def test_the_loop_tells_its_time() -> None:
    loop = glassloop.EventLoop()
    before = time.monotonic()
    assert before <= loop.time() <= time.monotonic()
    loop.close()


def test_a_method_clock_asks_its_method() -> None:
    times = iter([1.0, 2, 3.5])
    clock = MethodClock(lambda: next(times))
    assert [clock.now() for _ in range(3)] == [1.0, 2.0, 3.5]
    with pytest.raises(StopIteration):
        clock.now()


def test_a_method_clock_refuses_what_is_no_number() -> None:
    text: Any = "noon"
    with pytest.raises(TypeError):
        MethodClock(lambda: text).now()


class OverriddenTime(glassloop.EventLoop):
    now = 0.0

    def time(self) -> float:
        return self.now


def test_timers_follow_a_subclass_s_time() -> None:
    loop = OverriddenTime()
    ran: list[str] = []
    loop.call_later(1000, ran.append, "a thousand seconds later")
    loop.call_soon(setattr, loop, "now", 1000.0)
    loop.call_soon(loop.stop)
    loop.run_forever()
    loop.stop()
    loop.run_forever()
    assert ran == ["a thousand seconds later"]
    loop.close()


def test_timers_follow_a_time_that_was_set_on_the_instance() -> None:
    loop = glassloop.EventLoop()
    now = 50.0
    loop.time = lambda: now  # type: ignore[method-assign]
    handle: list[asyncio.TimerHandle] = []

    async def main() -> None:
        nonlocal now
        handle.append(loop.call_later(7, done.set_result, None))
        now = 57.0
        await done

    done: asyncio.Future[None] = loop.create_future()
    loop.run_until_complete(main())
    assert handle[0].when() == 57.0
    loop.close()


def test_an_error_in_an_overridden_time_leaves_the_loop_usable() -> None:
    class FailingTime(glassloop.EventLoop):
        fails = False

        def time(self) -> float:
            if self.fails:
                raise ZeroDivisionError
            return 1.0

    loop = FailingTime()
    ran: list[str] = []
    loop.call_at(0.5, ran.append, "due")
    loop.fails = True
    loop.stop()
    with pytest.raises(ZeroDivisionError):
        loop.run_forever()
    loop.fails = False
    loop.stop()
    loop.run_forever()
    assert ran == ["due"]
    loop.close()
