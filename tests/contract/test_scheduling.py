"""The order in which callbacks run: call_soon, call_later, call_at, call_soon_threadsafe, and turns."""

import asyncio
import contextvars
import functools
import socket
import threading
import time
from typing import Any

import pytest

from .support import Loop, LoopFactory, Run, run_turns


def test_call_soon_runs_in_order(loop: Loop) -> None:
    trace: list[int] = []
    for number in range(1000):
        loop.call_soon(trace.append, number)
    run_turns(loop)
    assert trace == list(range(1000))


def test_arguments_are_passed_on(loop: Loop) -> None:
    got: list[tuple[object, ...]] = []

    def callback(*args: object) -> None:
        got.append(args)

    loop.call_soon(callback)
    loop.call_soon(callback, 1)
    loop.call_soon(callback, 1, "two", None)
    loop.call_soon(callback, *range(20))
    loop.call_soon_threadsafe(callback, 4, 5)
    loop.call_at(loop.time() - 2, callback, 6)
    loop.call_later(-1, callback, 7, 8)
    loop.call_soon(functools.partial(callback, 9, 10), 11)
    run_turns(loop)
    assert got == [(), (1,), (1, "two", None), tuple(range(20)), (4, 5), (9, 10, 11), (6,), (7, 8)]


def test_unknown_keywords_are_refused(loop: Loop) -> None:
    scheduler: Any = loop
    for method, args in (
        ("call_soon", (print,)),
        ("call_soon_threadsafe", (print,)),
        ("call_later", (1, print)),
        ("call_at", (1, print)),
    ):
        with pytest.raises(TypeError, match="unexpected keyword argument"):
            getattr(scheduler, method)(*args, colour=1)
        with pytest.raises(TypeError):
            getattr(scheduler, method)()


def test_the_callback_may_be_given_by_keyword(loop: Loop) -> None:
    scheduler: Any = loop
    trace: list[str] = []
    scheduler.call_soon(callback=lambda: trace.append("soon"))
    scheduler.call_soon_threadsafe(callback=lambda: trace.append("threadsafe"))
    scheduler.call_later(delay=-2, callback=lambda: trace.append("later"))
    scheduler.call_at(when=loop.time() - 1, callback=lambda: trace.append("at"))
    run_turns(loop)
    assert trace == ["soon", "threadsafe", "later", "at"]


def test_a_turn_runs_only_what_was_ready_when_it_began(loop: Loop) -> None:
    trace: list[str] = []

    def again(count: int) -> None:
        trace.append(f"again {count}")
        if count < 3:
            loop.call_soon(again, count + 1)

    loop.call_soon(again, 0)
    loop.call_soon(trace.append, "other")
    for turn in range(5):
        trace.append(f"turn {turn}")
        run_turns(loop)
    assert trace == [
        "turn 0", "again 0", "other", "turn 1", "again 1", "turn 2", "again 2", "turn 3", "again 3", "turn 4",
    ]  # fmt: skip


def test_a_callback_that_reschedules_itself_does_not_starve_readers(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        near, far = socket.socketpair()
        with near, far:
            near.setblocking(False)
            readable = loop.create_future()
            spins = 0

            def spin() -> None:
                nonlocal spins
                spins += 1
                if not readable.done():
                    loop.call_soon(spin)

            def ready() -> None:
                if not readable.done():
                    readable.set_result(None)

            loop.add_reader(near, ready)
            loop.call_soon(spin)
            far.send(b"x")
            await readable
            loop.remove_reader(near)
            assert spins

    run(main())


def test_a_turn_runs_what_was_ready_then_sockets_then_timers(loop: Loop) -> None:
    trace: list[str] = []
    near, far = socket.socketpair()
    with near, far:
        far.send(b"x")

        def readable() -> None:
            trace.append("reader")
            near.recv(1)

        loop.call_at(loop.time() - 1, trace.append, "timer")
        loop.add_reader(near, readable)
        loop.call_soon(trace.append, "soon")
        run_turns(loop)
        loop.remove_reader(near)
    assert trace == ["soon", "reader", "timer"]


def test_threadsafe_and_plain_calls_share_one_queue(loop: Loop) -> None:
    trace: list[int] = []
    for number in range(10):
        (loop.call_soon_threadsafe if number % 2 else loop.call_soon)(trace.append, number)
    run_turns(loop)
    assert trace == list(range(10))


def test_calls_from_one_thread_run_in_its_order(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        trace: list[int] = []

        def work() -> None:
            for number in range(1000):
                loop.call_soon_threadsafe(trace.append, number)
            loop.call_soon_threadsafe(done.set_result, None)

        thread = threading.Thread(daemon=True, target=work)
        thread.start()
        await done
        thread.join()
        assert trace == list(range(1000))

    run(main())


def test_a_threadsafe_call_wakes_a_sleeping_loop(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        thread = threading.Thread(
            daemon=True, target=loop.call_soon_threadsafe, args=(done.set_result, "woken")
        )
        loop.call_soon(thread.start)
        assert await done == "woken"
        thread.join()

    run(main())


def test_timers_run_in_order_of_their_deadlines(loop: Loop) -> None:
    trace: list[int] = []
    now = loop.time()
    order = [(number * 37) % 101 for number in range(101)]
    for number in order:
        loop.call_at(now - 200 + number, trace.append, number)
    run_turns(loop)
    assert trace == sorted(order)


def test_near_deadlines_are_not_confused(loop: Loop) -> None:
    trace: list[int] = []
    base = loop.time() - 1
    for number in reversed(range(50)):
        loop.call_at(base + number * 1e-6, trace.append, number)
    run_turns(loop)
    assert trace == list(range(50))


def test_equal_deadlines_run_in_order_of_making(loop: Loop) -> None:
    trace: list[int] = []
    deadline = loop.time() - 1
    for number in range(100):
        loop.call_at(deadline, trace.append, number)
    run_turns(loop)
    assert trace == list(range(100))


def test_timers_in_mixed_numbers(loop: Loop) -> None:
    trace: list[str] = []
    whole = int(loop.time())
    loop.call_at(whole - 3, trace.append, "int")
    loop.call_at(float(whole - 2), trace.append, "float")
    loop.call_at(True, trace.append, "bool")
    loop.call_at(float("-inf"), trace.append, "minus infinity")
    never = loop.call_at(float("inf"), trace.append, "never")
    run_turns(loop)
    assert trace == ["minus infinity", "bool", "int", "float"]
    assert never.when() == float("inf")
    never.cancel()


def test_a_timer_never_runs_early(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        resolution = time.get_clock_info("monotonic").resolution
        early: list[tuple[float, float]] = []
        left = 200
        done = loop.create_future()

        def check(deadline: float) -> None:
            nonlocal left
            now = loop.time()
            if now < deadline - resolution:
                early.append((now, deadline))
            left -= 1
            if not left:
                done.set_result(None)

        start = loop.time()
        for number in range(200):
            deadline = start + number * 0.000_237
            loop.call_at(deadline, check, deadline)
        await done
        assert not early

    run(main())


def test_timers_that_wait_run_in_order_of_their_deadlines(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        trace: list[int] = []
        start = loop.time() + 0.01
        for number in reversed(range(40)):
            loop.call_at(start + number * 0.000_3, trace.append, number)
        await asyncio.sleep(0.06)
        while len(trace) < 40:
            await asyncio.sleep(0.01)
        assert trace == list(range(40))

    run(main())


def test_a_timer_made_by_a_timer_waits_for_the_next_turn(loop: Loop) -> None:
    trace: list[str] = []

    def first() -> None:
        trace.append("first")
        loop.call_at(loop.time() - 100, trace.append, "second")
        loop.call_soon(trace.append, "soon")

    loop.call_later(0, first)
    run_turns(loop)
    assert trace == ["first"]
    run_turns(loop)
    assert trace == ["first", "soon", "second"]


def test_call_later_of_nothing_waits_its_turn(loop: Loop) -> None:
    trace: list[str] = []
    loop.call_later(0, trace.append, "later")
    loop.call_soon(trace.append, "soon")
    run_turns(loop)
    assert trace == ["soon", "later"]


def test_call_later_counts_from_now(loop: Loop) -> None:
    before = loop.time()
    handle = loop.call_later(50, print)
    after = loop.time()
    assert before + 50 <= handle.when() <= after + 50
    handle.cancel()


def test_a_timer_needs_a_time(loop: Loop) -> None:
    scheduler: Any = loop
    with pytest.raises(TypeError, match="delay must not be None"):
        scheduler.call_later(None, print)
    with pytest.raises(TypeError, match="when cannot be None"):
        scheduler.call_at(None, print)
    with pytest.raises(TypeError):
        scheduler.call_later("soon", print)


def test_time_is_the_monotonic_clock(loop: Loop) -> None:
    before = time.monotonic()
    now = loop.time()
    assert isinstance(now, float)
    assert before <= now <= time.monotonic()


def test_time_moves_within_a_callback(loop: Loop) -> None:
    times: list[float] = []

    def spin() -> None:
        times.append(loop.time())
        end = time.monotonic() + 0.002
        while time.monotonic() < end:
            pass
        times.append(loop.time())

    loop.call_soon(spin)
    run_turns(loop)
    assert times[1] - times[0] >= 0.002 - 1e-6


def test_a_far_timer_does_not_overflow_the_poll(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        far = [loop.call_later(delay, print) for delay in (1e6, 1e9, 1e12, 1e300, float("inf"))]
        await asyncio.sleep(0.001)
        for handle in far:
            handle.cancel()

    run(main())


def test_callbacks_run_in_the_context_of_their_making(loop: Loop) -> None:
    colour = contextvars.ContextVar("colour", default="none")
    trace: list[str] = []

    def note() -> None:
        trace.append(colour.get())
        colour.set("changed by a callback")

    colour.set("red")
    loop.call_soon(note)
    loop.call_soon_threadsafe(note)
    loop.call_later(-1, note)
    colour.set("blue")
    loop.call_soon(note)
    run_turns(loop)
    assert trace == ["red", "red", "blue", "red"]
    assert colour.get() == "blue"


def test_callbacks_run_in_a_given_context(loop: Loop) -> None:
    colour: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")
    context = contextvars.copy_context()
    trace: list[str] = []

    def note(name: str) -> None:
        trace.append(colour.get())
        colour.set(name)

    loop.call_soon(note, "soon", context=context)
    loop.call_soon_threadsafe(note, "threadsafe", context=context)
    loop.call_later(-2, note, "later", context=context)
    loop.call_at(loop.time() - 1, note, "at", context=context)
    run_turns(loop)
    assert trace == ["none", "soon", "threadsafe", "later"]
    assert context[colour] == "at"
    assert colour.get() == "none"


def test_a_bad_context_is_an_error(loop: Loop, errors: list[Any]) -> None:
    scheduler: Any = loop
    try:
        scheduler.call_soon(print, context="not a context")
        run_turns(loop)
    except (TypeError, AttributeError):
        return
    assert isinstance(errors[0]["exception"], (AttributeError, TypeError))


def test_a_closed_loop_takes_no_calls(loop_factory: LoopFactory) -> None:
    loop = loop_factory()
    loop.close()
    for call in (
        lambda: loop.call_soon(print),
        lambda: loop.call_soon_threadsafe(print),
        lambda: loop.call_later(1, print),
        lambda: loop.call_at(1, print),
        lambda: loop.run_in_executor(None, print),
    ):
        with pytest.raises(RuntimeError, match="^Event loop is closed$"):
            call()


def test_what_was_scheduled_is_dropped_by_close(loop_factory: LoopFactory) -> None:
    trace: list[str] = []
    loop = loop_factory()
    loop.call_soon(trace.append, "soon")
    loop.call_later(-1, trace.append, "later")
    loop.close()
    assert not trace
