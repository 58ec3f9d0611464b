"""Callbacks and timers, calls from other threads, and the making of loops."""

import asyncio
import random
import statistics
import threading
import time

from benchmarks.questions import Summary
from benchmarks.workload import Loop, Table, check

_BURST = 1000
_LONG_S = 60  # a timer that never comes due
_SHORT_SLEEP_NS = 1_500_000

CALLBACKS = Table()


# Callbacks and timers


@CALLBACKS.add("call_soon chain", count=150_000, target_ratio=4.2)
def call_soon_chain(loop: Loop, count: int) -> float:
    left = count
    call_soon = loop.call_soon

    def step() -> None:
        nonlocal left
        left -= 1
        if left:
            call_soon(step)
        else:
            loop.stop()

    call_soon(step)
    began = time.thread_time_ns()
    loop.run_forever()
    elapsed = time.thread_time_ns() - began
    check(left == 0, "the chain runs to its end")
    return elapsed / count


@CALLBACKS.add("call_soon burst of 1000", count=150_000, target_ratio=1.8)
def call_soon_burst(loop: Loop, count: int) -> float:
    bursts = max(count // _BURST, 1)
    called = 0
    left = bursts
    call_soon = loop.call_soon

    def callback(amount: int) -> None:
        nonlocal called
        called += amount

    def burst() -> None:
        nonlocal left
        if left == 0:
            loop.stop()
            return
        left -= 1
        for _ in range(_BURST):
            call_soon(callback, 1)
        call_soon(burst)

    call_soon(burst)
    began = time.thread_time_ns()
    loop.run_forever()
    elapsed = time.thread_time_ns() - began
    check(called == bursts * _BURST, "every callback runs once")
    return elapsed / (bursts * _BURST)


@CALLBACKS.add("call_later + cancel", count=100_000, target_ratio=6.0)
def call_later_cancel(loop: Loop, count: int) -> float:
    fired: list[int] = []

    async def main() -> float:
        call_later = loop.call_later
        began = time.thread_time_ns()
        for number in range(count):
            call_later(_LONG_S, fired.append, number).cancel()
        elapsed = time.thread_time_ns() - began
        await asyncio.sleep(0)
        return elapsed / count

    result = loop.run_until_complete(main())
    check(not fired, "a cancelled timer does not fire")
    return result


@CALLBACKS.add(
    "100k concurrent sleeps, each (CPU of the process)", count=100_000, target_ratio=1.9, repeats=1
)
def concurrent_sleeps(loop: Loop, count: int) -> float:
    generator = random.Random(1)
    delays = [0.05 + generator.random() * 0.3 for _ in range(count)]
    woken = 0

    async def sleep(delay: float) -> None:
        nonlocal woken
        await asyncio.sleep(delay)
        woken += 1

    async def main() -> float:
        began = time.process_time_ns()
        for task in [loop.create_task(sleep(delay)) for delay in delays]:
            await task
        return (time.process_time_ns() - began) / count

    result = loop.run_until_complete(main())
    check(woken == count, "every sleep ends")
    return result


@CALLBACKS.add(
    "a 1.5 ms sleep, median lateness",
    unit="ms",
    count=200,
    target_value=0.1,
    repeats=1,
    summary=Summary.MEDIAN,
)
def lateness(loop: Loop, count: int) -> float:
    # An early end is as wrong as a late one of the same size, and counts as one.
    async def main() -> float:
        off_ns = []
        for _ in range(max(count, 11)):
            began = time.perf_counter_ns()
            await asyncio.sleep(_SHORT_SLEEP_NS / 1e9)
            off_ns.append(abs(time.perf_counter_ns() - began - _SHORT_SLEEP_NS))
        return statistics.median(off_ns) / 1e6

    return loop.run_until_complete(main())


# Other threads


@CALLBACKS.add(
    "call_soon_threadsafe flood",
    unit="wall µs per call",
    count=50_000,
    target_ratio=2.4,
    summary=Summary.MEDIAN,
)
def threadsafe_flood(loop: Loop, count: int) -> float:
    received = 0

    def receive() -> None:
        nonlocal received
        received += 1
        if received == count:
            loop.stop()

    def flood() -> None:
        call_soon_threadsafe = loop.call_soon_threadsafe
        for _ in range(count):
            call_soon_threadsafe(receive)

    thread = threading.Thread(target=flood)
    loop.call_soon(thread.start)
    began = time.perf_counter_ns()
    loop.run_forever()
    elapsed = time.perf_counter_ns() - began
    thread.join()
    check(received == count, "every call from the other thread arrives once")
    return elapsed / 1e3 / count


@CALLBACKS.add(
    "call_soon_threadsafe round trip", unit="wall µs per call", count=3_000, summary=Summary.MEDIAN
)
def threadsafe_round_trip(loop: Loop, count: int) -> float:
    elapsed = 0.0

    def travel() -> None:
        nonlocal elapsed
        arrived = threading.Semaphore(0)
        began = time.perf_counter_ns()
        for _ in range(count):
            loop.call_soon_threadsafe(arrived.release)
            arrived.acquire()
        elapsed = time.perf_counter_ns() - began
        loop.call_soon_threadsafe(loop.stop)

    thread = threading.Thread(target=travel)
    loop.call_soon(thread.start)
    loop.run_forever()
    thread.join()
    return elapsed / 1e3 / count


# Loops


@CALLBACKS.add("loop made and closed", unit="CPU µs", count=300, target_ratio=2.4)
def make_and_close(loop: Loop, count: int) -> float:
    make = type(loop)
    began = time.thread_time_ns()
    for _ in range(count):
        make().close()
    return (time.thread_time_ns() - began) / 1e3 / count
