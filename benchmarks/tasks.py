"""Tasks and futures: what a switch, a creation, a wait and a parked task cost."""

import asyncio
import gc
import os
import time
from collections.abc import Callable

from benchmarks import processes
from benchmarks.questions import Summary
from benchmarks.workload import Coroutines, Loop, Table, Workload, check, yield_once

_TASKS = 100
_GROUP = 10
_CONTENDERS = 50
_LONG_S = 60  # a time-out that is never reached

TASKS = Table()


# Switches between tasks


def _run_as_tasks(loop: Loop, coroutines: Coroutines, count: int) -> float:
    async def main() -> float:
        tasks = [loop.create_task(coroutine) for coroutine in coroutines]
        began = time.thread_time_ns()
        for task in tasks:
            await task
        return (time.thread_time_ns() - began) / count

    return loop.run_until_complete(main())


def _yielding(count: int) -> Coroutines:
    async def yielding() -> None:
        for _ in range(count // _TASKS):
            await yield_once()

    return [yielding() for _ in range(_TASKS)]


def _sleeping_zero(count: int) -> Coroutines:
    async def sleeping() -> None:
        sleep = asyncio.sleep
        for _ in range(count // _TASKS):
            await sleep(0)

    return [sleeping() for _ in range(_TASKS)]


@TASKS.add("bare yield, 100 tasks", count=200_000, target_ratio=2.8, coroutines=_yielding)
def bare_yield(loop: Loop, count: int) -> float:
    return _run_as_tasks(loop, _yielding(count), count)


@TASKS.add("asyncio.sleep(0), 100 tasks", count=150_000, target_ratio=2.0, coroutines=_sleeping_zero)
def sleep_zero(loop: Loop, count: int) -> float:
    return _run_as_tasks(loop, _sleeping_zero(count), count)


def measure_limit(workload: Workload, count: int, drive: Callable[[Coroutines], int]) -> float:
    """Step a workload's coroutines from C, without any loop, and return the CPU time of a step in ns."""
    assert workload.coroutines is not None
    coroutines = workload.coroutines(count)
    gc.collect()
    began = time.thread_time_ns()
    steps = drive(coroutines)
    elapsed = time.thread_time_ns() - began
    check(
        steps == count // _TASKS * _TASKS + _TASKS, "each coroutine steps once per yield, and once to return"
    )
    return elapsed / count


# Futures and tasks


@TASKS.add("futures ping-pong", count=60_000, target_ratio=3.0)
def ping_pong(loop: Loop, count: int) -> float:
    futures: list[asyncio.Future[int] | None] = [None, None]
    turns = 0

    def answer(player: int, value: int) -> None:
        future = futures[player]
        if future is not None and not future.done():
            future.set_result(value)

    async def play(me: int) -> None:
        nonlocal turns
        for _ in range(count // 2):
            mine = futures[me] = loop.create_future()
            answer(1 - me, me)
            answered_by = await mine
            turns += answered_by == 1 - me
        answer(1 - me, me)

    async def main() -> float:
        began = time.thread_time_ns()
        players = [loop.create_task(play(0)), loop.create_task(play(1))]
        for player in players:
            await player
        return (time.thread_time_ns() - began) / count

    result = loop.run_until_complete(main())
    check(turns == count // 2 * 2, f"{turns} turns of {count} were answered by the other player")
    return result


@TASKS.add("create_task + await", count=40_000, target_ratio=4.0)
def create_task_await(loop: Loop, count: int) -> float:
    async def child(number: int) -> int:
        return number

    async def main() -> float:
        create_task = loop.create_task
        total = 0
        began = time.thread_time_ns()
        for number in range(count):
            total += await create_task(child(number))
        elapsed = time.thread_time_ns() - began
        check(total == count * (count - 1) // 2, "every task gives its own result")
        return elapsed / count

    return loop.run_until_complete(main())


@TASKS.add("gather of 10k, per child", count=10_000, target_ratio=1.7)
def gather(loop: Loop, count: int) -> float:
    async def child(number: int) -> int:
        await yield_once()
        return number

    async def main() -> float:
        children = [child(number) for number in range(count)]
        began = time.thread_time_ns()
        results = await asyncio.gather(*children)
        elapsed = time.thread_time_ns() - began
        check(results == list(range(count)), "gather gives the results in order")
        return elapsed / count

    return loop.run_until_complete(main())


@TASKS.add("TaskGroup child, groups of 10", count=20_000, target_ratio=2.4)
def task_group(loop: Loop, count: int) -> float:
    finished = 0

    async def child() -> None:
        nonlocal finished
        await yield_once()
        finished += 1

    async def main() -> float:
        began = time.thread_time_ns()
        for _ in range(count // _GROUP):
            async with asyncio.TaskGroup() as group:
                for _ in range(_GROUP):
                    group.create_task(child())
        return (time.thread_time_ns() - began) / count

    result = loop.run_until_complete(main())
    check(finished == count // _GROUP * _GROUP, "a TaskGroup ends after all its children")
    return result


# Time-outs and synchronisation


@TASKS.add("timeout()", count=20_000, target_ratio=1.8)
def timeout(loop: Loop, count: int) -> float:
    async def main() -> float:
        began = time.thread_time_ns()
        for _ in range(count):
            async with asyncio.timeout(_LONG_S):
                await yield_once()
        return (time.thread_time_ns() - began) / count

    return loop.run_until_complete(main())


@TASKS.add("wait_for of a coroutine", count=15_000, target_ratio=1.8)
def wait_for(loop: Loop, count: int) -> float:
    async def child(number: int) -> int:
        await yield_once()
        return number

    async def main() -> float:
        total = 0
        began = time.thread_time_ns()
        for number in range(count):
            total += await asyncio.wait_for(child(number), _LONG_S)
        elapsed = time.thread_time_ns() - began
        check(total == count * (count - 1) // 2, "wait_for gives the result of what it waited for")
        return elapsed / count

    return loop.run_until_complete(main())


@TASKS.add("Lock, 50 tasks", count=20_000, target_ratio=1.6)
def lock(loop: Loop, count: int) -> float:
    entered = 0

    async def contend(shared: asyncio.Lock) -> None:
        nonlocal entered
        for _ in range(count // _CONTENDERS):
            async with shared:
                before = entered
                await yield_once()
                entered = before + 1  # loses counts if a second task is inside

    async def main() -> float:
        shared = asyncio.Lock()
        contenders = [loop.create_task(contend(shared)) for _ in range(_CONTENDERS)]
        began = time.thread_time_ns()
        for contender in contenders:
            await contender
        return (time.thread_time_ns() - began) / count

    result = loop.run_until_complete(main())
    check(entered == count // _CONTENDERS * _CONTENDERS, "only one task is inside a Lock")
    return result


@TASKS.add("Queue(1), per item", count=20_000)
def queue_of_one(loop: Loop, count: int) -> float:
    async def produce(queue: asyncio.Queue[int]) -> None:
        for number in range(count):
            await queue.put(number)

    async def consume(queue: asyncio.Queue[int]) -> bool:
        in_order = True
        for number in range(count):
            in_order = in_order and await queue.get() == number
        return in_order

    async def main() -> float:
        queue: asyncio.Queue[int] = asyncio.Queue(1)
        began = time.thread_time_ns()
        producer, consumer = loop.create_task(produce(queue)), loop.create_task(consume(queue))
        await producer
        in_order = await consumer
        elapsed = time.thread_time_ns() - began
        check(in_order, "items leave a Queue in the order in which they came")
        return elapsed / count

    return loop.run_until_complete(main())


# Memory


@TASKS.add(
    "parked task, with its coroutine and future",
    unit="bytes",
    count=100_000,
    target_value=720,
    repeats=1,
    summary=Summary.MEDIAN,
)
def parked_task(loop: Loop, count: int) -> float:
    futures: list[asyncio.Future[None]] = []
    ended = 0

    async def park() -> None:
        nonlocal ended
        future = loop.create_future()
        futures.append(future)
        await future
        ended += 1

    async def main() -> float:
        gc.collect()
        before = processes.user_bytes(os.getpid())
        tasks = [loop.create_task(park()) for _ in range(count)]
        await asyncio.sleep(0)
        gc.collect()
        used = processes.user_bytes(os.getpid()) - before
        for future in futures:
            future.set_result(None)
        for task in tasks:
            await task
        return used / count

    result = loop.run_until_complete(main())
    check(ended == count, "every parked task ends after its future is done")
    return result
