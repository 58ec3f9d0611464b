"""The order in which tasks wake up: programs that write a trace, and the trace that asyncio gives."""

import asyncio
import functools
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from .support import Run, turns

Trace = list[str]


def note(trace: Trace, text: str, _future: object) -> None:
    """Write a line of the trace, as a done callback."""
    trace.append(text)


async def steps(trace: Trace) -> None:
    async def child(name: str) -> None:
        for number in range(3):
            trace.append(f"{name}{number}")
            await asyncio.sleep(0)

    await asyncio.gather(child("a"), child("b"), child("c"))
    trace.append("end")


async def waiters_of_one_future(trace: Trace) -> None:
    future = asyncio.get_running_loop().create_future()

    async def child(name: str) -> None:
        trace.append(f"{name}-waits")
        await future
        trace.append(f"{name}-woke")

    tasks = [asyncio.create_task(child(name)) for name in "ab"]
    await asyncio.sleep(0)
    future.add_done_callback(lambda _: trace.append("callback-1"))
    tasks.append(asyncio.create_task(child("c")))
    await asyncio.sleep(0)
    future.add_done_callback(lambda _: trace.append("callback-2"))
    future.set_result(None)
    future.add_done_callback(lambda _: trace.append("callback-late"))
    asyncio.get_running_loop().call_soon(trace.append, "soon")
    trace.append("set")
    await asyncio.gather(*tasks)
    trace.append("end")


async def chain(trace: Trace) -> None:
    async def link(name: str, before: Awaitable[Any] | None) -> None:
        trace.append(f"{name}-starts")
        if before is not None:
            await before
        else:
            await asyncio.sleep(0)
        trace.append(f"{name}-ends")

    first = asyncio.create_task(link("a", None))
    second = asyncio.create_task(link("b", first))
    third = asyncio.create_task(link("c", second))
    for turn in range(5):
        await asyncio.sleep(0)
        trace.append(f"turn{turn}")
    await third
    trace.append("end")


async def callbacks_between_tasks(trace: Trace) -> None:
    loop = asyncio.get_running_loop()

    async def child(name: str) -> None:
        trace.append(name)
        loop.call_soon(trace.append, f"{name}-soon")
        await asyncio.sleep(0)
        trace.append(f"{name}-again")

    tasks = []
    for name in "abc":
        loop.call_soon(trace.append, f"before-{name}")
        tasks.append(asyncio.create_task(child(name)))
        loop.call_soon_threadsafe(trace.append, f"after-{name}")
    await asyncio.wait(tasks)
    trace.append("end")


async def ping_pong(trace: Trace) -> None:
    loop = asyncio.get_running_loop()
    futures = [loop.create_future() for _ in range(6)]

    async def player(name: str, mine: int) -> None:
        for number in range(mine, 6, 2):
            await futures[number]
            trace.append(f"{name}{number}")
            if number < 5:
                futures[number + 1].set_result(None)

    async def spectator() -> None:
        for number in range(8):
            trace.append(f"s{number}")
            await asyncio.sleep(0)

    tasks = [asyncio.create_task(player("ping", 0)), asyncio.create_task(player("pong", 1))]
    tasks.append(asyncio.create_task(spectator()))
    await asyncio.sleep(0)
    futures[0].set_result(None)
    await asyncio.gather(*tasks)


async def done_future(trace: Trace) -> None:
    future = asyncio.get_running_loop().create_future()
    future.set_result(None)

    async def child(name: str) -> None:
        trace.append(f"{name}1")
        await future
        trace.append(f"{name}2")
        await asyncio.sleep(0)
        trace.append(f"{name}3")

    await asyncio.gather(child("a"), child("b"))


async def cancels(trace: Trace) -> None:
    loop = asyncio.get_running_loop()

    async def child(name: str) -> None:
        try:
            await loop.create_future()
        except asyncio.CancelledError:
            trace.append(f"{name}-cancelled")
            await asyncio.sleep(0)
            trace.append(f"{name}-cleaned")
            raise

    tasks = {name: asyncio.create_task(child(name)) for name in "abc"}
    for name, task in tasks.items():
        task.add_done_callback(functools.partial(note, trace, f"{name}-done"))
    await asyncio.sleep(0)
    loop.call_soon(trace.append, "soon")
    for name in "cab":
        tasks[name].cancel()
    loop.call_soon(trace.append, "soon-2")
    trace.append("cancelled-all")
    await asyncio.wait(tasks.values())
    trace.append("end")


async def cancel_and_result(trace: Trace) -> None:
    loop = asyncio.get_running_loop()
    first, second = loop.create_future(), loop.create_future()

    async def child(name: str, future: asyncio.Future[None]) -> None:
        try:
            await future
            trace.append(f"{name}-result")
        except asyncio.CancelledError:
            trace.append(f"{name}-cancelled")

    one, two = asyncio.create_task(child("one", first)), asyncio.create_task(child("two", second))
    await asyncio.sleep(0)
    first.set_result(None)
    one.cancel()
    two.cancel()
    if not second.done():
        second.set_result(None)
    await turns(2)
    trace.append("end")


async def locks(trace: Trace) -> None:
    lock = asyncio.Lock()

    async def child(name: str) -> None:
        for number in range(2):
            async with lock:
                trace.append(f"{name}{number}-in")
                await asyncio.sleep(0)
                trace.append(f"{name}{number}-out")

    await asyncio.gather(child("a"), child("b"), child("c"))


async def queues(trace: Trace) -> None:
    queue: asyncio.Queue[int] = asyncio.Queue(maxsize=1)

    async def producer(name: str) -> None:
        for number in range(2):
            await queue.put(number)
            trace.append(f"{name}-put{number}")

    async def consumer(name: str) -> None:
        for _ in range(2):
            number = await queue.get()
            trace.append(f"{name}-got{number}")

    await asyncio.gather(producer("p"), consumer("c"), producer("q"), consumer("d"))


async def events(trace: Trace) -> None:
    event = asyncio.Event()

    async def child(name: str) -> None:
        await event.wait()
        trace.append(f"{name}-1")
        await asyncio.sleep(0)
        trace.append(f"{name}-2")

    tasks = [asyncio.create_task(child(name)) for name in "abc"]
    await asyncio.sleep(0)
    event.set()
    tasks.append(asyncio.create_task(child("d")))
    trace.append("set")
    await asyncio.wait(tasks)


async def semaphores(trace: Trace) -> None:
    semaphore = asyncio.Semaphore(2)

    async def child(name: str) -> None:
        async with semaphore:
            trace.append(f"{name}-in")
            await asyncio.sleep(0)
            trace.append(f"{name}-out")

    await asyncio.gather(*(child(name) for name in "abcde"))


async def conditions(trace: Trace) -> None:
    condition = asyncio.Condition()

    async def child(name: str) -> None:
        async with condition:
            trace.append(f"{name}-waits")
            await condition.wait()
            trace.append(f"{name}-woke")

    tasks = [asyncio.create_task(child(name)) for name in "abc"]
    await turns(2)
    async with condition:
        condition.notify(2)
        trace.append("notified")
    await turns(4)
    trace.append("all")
    async with condition:
        condition.notify_all()
    await asyncio.wait(tasks)


async def groups(trace: Trace) -> None:
    async def child(name: str, turns_: int, fails: bool = False) -> None:
        try:
            for number in range(turns_):
                trace.append(f"{name}{number}")
                await asyncio.sleep(0)
            if fails:
                trace.append(f"{name}-fails")
                raise LookupError(name)
        except asyncio.CancelledError:
            trace.append(f"{name}-cancelled")
            raise

    try:
        async with asyncio.TaskGroup() as group:
            for name, count, fails in (("a", 1, False), ("b", 2, True), ("c", 9, False), ("d", 9, False)):
                task = group.create_task(child(name, count, fails))
                task.add_done_callback(functools.partial(note, trace, f"{name}-done"))
            trace.append("body")
    except* LookupError:
        trace.append("caught")


async def shields(trace: Trace) -> None:
    async def child() -> None:
        trace.append("child-1")
        await turns(3)
        trace.append("child-2")

    async def outer(task: asyncio.Task[None]) -> None:
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            trace.append("outer-cancelled")

    inner = asyncio.create_task(child())
    waiter = asyncio.create_task(outer(inner))
    await asyncio.sleep(0)
    waiter.cancel()
    await waiter
    trace.append("waiter-done")
    await inner
    trace.append("inner-done")


async def expired_timers(trace: Trace) -> None:
    loop = asyncio.get_running_loop()
    now = loop.time()

    async def child(name: str) -> None:
        trace.append(name)
        await asyncio.sleep(0)
        trace.append(f"{name}-again")

    loop.call_at(now - 2, trace.append, "timer-2")
    loop.call_at(now - 3, trace.append, "timer-1")
    task = asyncio.create_task(child("task"))
    loop.call_soon(trace.append, "soon")
    loop.call_at(now - 1, trace.append, "timer-3")
    await asyncio.sleep(0)
    trace.append("main")
    await task
    trace.append("end")


async def timeouts(trace: Trace) -> None:
    loop = asyncio.get_running_loop()
    loop.call_soon(trace.append, "soon")
    try:
        async with asyncio.timeout(-1):
            trace.append("body")
            await loop.create_future()
    except TimeoutError:
        trace.append("timeout")
    try:
        await asyncio.wait_for(loop.create_future(), 0)
    except TimeoutError:
        trace.append("wait_for")
    trace.append("end")


async def readers(trace: Trace) -> None:
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        woken = loop.create_future()

        def readable() -> None:
            trace.append("reader")
            near.recv(10)
            woken.set_result(None)
            loop.call_soon(trace.append, "soon-from-reader")

        async def child() -> None:
            await woken
            trace.append("child")

        loop.add_reader(near, readable)
        task = asyncio.create_task(child())
        await turns(2)
        far.send(b"x")
        await task
        trace.append("end")
        loop.remove_reader(near)


async def socket_results(trace: Trace) -> None:
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    with near, far:

        async def child() -> None:
            data = await loop.sock_recv(near, 10)
            trace.append(f"got-{data.decode()}")

        task = asyncio.create_task(child())
        await turns(2)
        await loop.sock_sendall(far, b"x")
        trace.append("sent")
        await task
        far.send(b"y")
        trace.append(f"ready-{(await loop.sock_recv(near, 10)).decode()}")


async def tasks_that_make_tasks(trace: Trace) -> None:
    async def child(name: str) -> None:
        trace.append(name)
        if len(name) < 3:
            tasks = [asyncio.create_task(child(name + letter)) for letter in "xy"]
            await asyncio.gather(*tasks)
        trace.append(f"{name}.")

    await child("r")


async def gather_with_errors(trace: Trace) -> None:
    async def child(name: str, count: int) -> str:
        try:
            await turns(count)
            if name == "bad":
                raise LookupError
            trace.append(f"{name}-ends")
            return name
        except asyncio.CancelledError:
            trace.append(f"{name}-cancelled")
            raise

    try:
        await asyncio.gather(child("quick", 1), child("bad", 2), child("slow", 4))
    except LookupError:
        trace.append("error")
    await turns(4)
    results = await asyncio.gather(
        child("quick", 1), child("bad", 2), child("slow", 4), return_exceptions=True
    )
    trace.append(",".join(type(result).__name__ for result in results))


async def as_completed(trace: Trace) -> None:
    async def child(name: str, count: int) -> str:
        await turns(count)
        return name

    for next_done in asyncio.as_completed(
        [asyncio.create_task(child(n, c)) for n, c in (("a", 3), ("b", 1), ("c", 2))]
    ):
        trace.append(await next_done)


async def async_generators(trace: Trace) -> None:
    async def numbers(name: str) -> Any:
        try:
            for number in range(10):
                trace.append(f"{name}{number}")
                await asyncio.sleep(0)
                yield number
        finally:
            trace.append(f"{name}-closing")
            await asyncio.sleep(0)
            trace.append(f"{name}-closed")

    async def child(name: str) -> None:
        generator = numbers(name)
        async for number in generator:
            if number == 1:
                break
        await generator.aclose()
        trace.append(f"{name}-end")

    await asyncio.gather(child("a"), child("b"))


EXPECTED: dict[Callable[[Trace], Any], str] = {
    steps: "a0 b0 c0 a1 b1 c1 a2 b2 c2 end",
    waiters_of_one_future: (
        "a-waits b-waits c-waits set a-woke b-woke callback-1 c-woke callback-2 callback-late soon end"
    ),
    chain: "a-starts b-starts c-starts turn0 a-ends turn1 b-ends turn2 c-ends turn3 turn4 end",
    callbacks_between_tasks: (
        "before-a a after-a before-b b after-b before-c c after-c a-soon a-again b-soon b-again "
        "c-soon c-again end"
    ),
    ping_pong: "s0 s1 ping0 s2 pong1 s3 ping2 s4 pong3 s5 ping4 s6 pong5 s7",
    done_future: "a1 a2 b1 b2 a3 b3",
    cancels: (
        "cancelled-all soon c-cancelled a-cancelled b-cancelled soon-2 c-cleaned a-cleaned "
        "b-cleaned c-done a-done b-done end"
    ),
    cancel_and_result: "one-cancelled two-cancelled end",
    locks: "a0-in a0-out b0-in b0-out c0-in c0-out a1-in a1-out b1-in b1-out c1-in c1-out",
    queues: "p-put0 c-got0 q-put0 d-got0 p-put1 c-got1 q-put1 d-got1",
    events: "set a-1 b-1 c-1 d-1 a-2 b-2 c-2 d-2",
    semaphores: "a-in b-in a-out b-out c-in d-in c-out d-out e-in e-out",
    conditions: "a-waits b-waits c-waits notified a-woke b-woke all c-woke",
    groups: (
        "body a0 b0 c0 d0 b1 c1 d1 a-done b-fails c2 d2 b-done c-cancelled d-cancelled c-done d-done caught"
    ),
    shields: "child-1 outer-cancelled waiter-done child-2 inner-done",
    expired_timers: "task soon main timer-1 timer-2 timer-3 task-again end",
    timeouts: "body soon timeout wait_for end",
    readers: "reader child soon-from-reader end",
    socket_results: "sent got-x ready-y",
    tasks_that_make_tasks: "r rx ry rxx rxx. rxy rxy. ryx ryx. ryy ryy. rx. ry. r.",
    gather_with_errors: "quick-ends error slow-ends quick-ends slow-ends str,LookupError,str",
    as_completed: "b c a",
    async_generators: "a0 b0 a1 b1 a-closing b-closing a-closed a-end b-closed b-end",
}


@pytest.mark.parametrize("program", EXPECTED, ids=lambda program: program.__name__)
def test_the_trace(run: Run, program: Callable[[Trace], Any]) -> None:
    trace: Trace = []
    run(program(trace))
    assert " ".join(trace) == EXPECTED[program]


@pytest.mark.parametrize("program", EXPECTED, ids=lambda program: program.__name__)
def test_the_trace_in_debug_mode(run: Run, program: Callable[[Trace], Any]) -> None:
    trace: Trace = []
    run(program(trace), debug=True)
    assert " ".join(trace) == EXPECTED[program]
