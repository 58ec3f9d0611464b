"""Random programs: what the page records is what asyncio, traced from its own Python code, does."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import glassloop
from glassloop._core import native_status
from glassloop.glass import finder
from glassloop.glass.layout import Awaited, Cause, Kind, Running, State
from glassloop.glass.page import Page
from glassloop.glass.raw import RECORD, RawRecord
from glassloop.glass.reader import take_snapshot

pytestmark = [
    pytest.mark.skipif(os.environ.get("GLASSLOOP_PAGE") == "0", reason="pages are turned off in this run"),
    pytest.mark.skipif(
        native_status()[0] != "native", reason="asyncio's own tasks have no place in the page"
    ),
]
EVER = 2**64 - 1
TURNS = 60
FUTURES = LOCKS = 2
MOST_TASKS = 20

Op = tuple[str, int]
# One event: ("wake", task, who woke it, or None) or ("step", task, the state after it).
Event = tuple[str, str, Any]
# What a task is in at the end: state, cause, steps, wake-ups, the task that it awaits.
End = tuple[State, Cause, int, int, str]

ops: st.SearchStrategy[Op] = st.one_of(
    st.tuples(
        st.sampled_from(
            ["await", "set", "set soon", "event", "lock", "spawn", "join", "cancel", "get", "put"]
        ),
        st.integers(0, 1),
    ),
    st.tuples(st.sampled_from(["yield", "gather", "timeout"]), st.just(0)),
)
programs = st.lists(st.lists(ops, max_size=6), min_size=1, max_size=4)


class Interpreter:
    """Runs a program on whatever loop it is given. Tasks are named by the order of their making."""

    def __init__(self, loop: asyncio.AbstractEventLoop, bodies: list[list[Op]]) -> None:
        self.loop = loop
        self.bodies = bodies
        self.futures = [loop.create_future() for _ in range(FUTURES)]
        self.events = [asyncio.Event() for _ in range(FUTURES)]
        self.locks = [asyncio.Lock() for _ in range(LOCKS)]
        self.queues: list[asyncio.Queue[int]] = [asyncio.Queue(1) for _ in range(2)]
        self.tasks: list[asyncio.Task[None]] = []

    def spawn(self, body: list[Op]) -> "asyncio.Task[None]":
        task = self.loop.create_task(self.run(body), name=f"t{len(self.tasks)}")
        self.tasks.append(task)
        return task

    def finish(self, number: int) -> None:
        if not self.futures[number].done():
            self.futures[number].set_result(None)

    async def run(self, body: list[Op]) -> None:
        for place, (op, number) in enumerate(body):
            # Tasks that await each other in a ring cannot be cancelled, neither asyncio's nor ours: only
            # those of the beginning join others, and those only what was made before them.
            rest = [one for one in body[place + 1 :] if one[0] != "join"]
            match op:
                case "yield":
                    await asyncio.sleep(0)
                case "await":
                    await asyncio.wait([self.futures[number]])
                case "set":
                    self.finish(number)
                case "set soon":
                    self.loop.call_soon(self.finish, number)
                case "event":
                    if self.events[number].is_set():
                        self.events[number].clear()
                        await self.events[number].wait()
                    else:
                        self.events[number].set()
                case "lock":
                    async with self.locks[number]:
                        await self.run(body[place + 1 :])
                    return
                case "spawn" if len(self.tasks) < MOST_TASKS:
                    self.spawn(rest)
                case "join":
                    current = asyncio.current_task()
                    assert current is not None
                    if number < int(current.get_name()[1:]):
                        await self.tasks[number]
                case "cancel":
                    self.tasks[-1 - number % len(self.tasks)].cancel()
                case "get":
                    await self.queues[number].get()
                case "put":
                    await self.queues[number].put(place)
                case "gather" if len(self.tasks) < MOST_TASKS:
                    await asyncio.gather(self.spawn(rest), self.spawn([]), return_exceptions=True)
                case "timeout":
                    async with asyncio.timeout(3600):
                        await self.futures[number]
                case _:  # there are tasks enough
                    pass


@contextmanager
def running(loop: asyncio.AbstractEventLoop, bodies: list[list[Op]]) -> Iterator[Interpreter]:
    """The program, turn after turn, until nothing moves; cancelled and closed afterwards."""
    asyncio.set_event_loop(loop)  # Python 3.11 looks it up for asyncio.wait's futures
    loop.set_exception_handler(lambda *_: None)
    interpreter = Interpreter(loop, bodies)
    for body in bodies:
        interpreter.spawn(body)
    turn(loop, TURNS)
    try:
        yield interpreter
    finally:
        while any(not task.done() for task in interpreter.tasks):
            for task in interpreter.tasks:
                task.cancel()
            turn(loop, 5)
        for task in interpreter.tasks:
            if not task.cancelled():
                task.exception()
        asyncio.set_event_loop(None)
        loop.close()


def turn(loop: asyncio.AbstractEventLoop, count: int) -> None:
    for _ in range(count):
        loop.call_soon(loop.stop)
        loop.run_forever()


class TracingLoop(asyncio.SelectorEventLoop):
    """asyncio with its tasks in Python: what makes a task ready, and each step, pass through call_soon."""

    def __init__(self) -> None:
        super().__init__()
        self.trace: list[Event] = []
        self.causes: dict[str, Cause] = {}
        self.ready: set[str] = set()
        self.set_task_factory(lambda loop, coro, **options: asyncio.tasks._PyTask(coro, loop=loop, **options))  # type: ignore[attr-defined]

    def call_soon(self, callback: Callable[..., Any], *args: Any, **options: Any) -> Any:  # type: ignore[override]
        task = getattr(callback, "__self__", None)
        if not isinstance(task, asyncio.tasks._PyTask):  # type: ignore[attr-defined]
            return super().call_soon(callback, *args, **options)
        current = asyncio.current_task(self)
        if callback.__name__ == "__wakeup":
            self.trace.append(("wake", task.get_name(), current.get_name() if current else None))
            cause = Cause.FUTURE_DONE
        else:
            cause = Cause.YIELDED if current is task else Cause.CREATED

        def step(*arguments: Any) -> None:
            name = task.get_name()
            self.causes[name] = cause
            self.ready.discard(name)
            callback(*arguments)
            state = State.DONE if task.done() else State.READY if name in self.ready else State.WAITING
            self.trace.append(("step", name, state))

        self.ready.add(task.get_name())

        return super().call_soon(step, *args, **options)


@contextmanager
def knowing_python_tasks() -> Iterator[None]:
    """From 3.14 on C's current_task() does not know Python's tasks: the program is to ask Python's."""
    with pytest.MonkeyPatch.context() as patch:
        if sys.version_info >= (3, 14):
            for module in (asyncio, asyncio.tasks):
                patch.setattr(module, "current_task", asyncio.tasks._py_current_task)  # type: ignore[attr-defined]
        yield


def traced(bodies: list[list[Op]]) -> tuple[list[Event], dict[str, End]]:
    """What asyncio does."""
    loop = TracingLoop()
    with knowing_python_tasks(), running(loop, bodies) as interpreter:
        trace = list(loop.trace)
        ends = {}
        for task in interpreter.tasks:
            if not task.done():
                name = task.get_name()
                steps = sum(1 for kind, who, _ in trace if kind == "step" and who == name)
                wakes = sum(1 for kind, who, _ in trace if kind == "wake" and who == name)
                awaited: Any = task._fut_waiter  # type: ignore[attr-defined]
                waits_for = awaited.get_name() if isinstance(awaited, asyncio.tasks._PyTask) else ""  # type: ignore[attr-defined]
                ends[name] = (State.WAITING, loop.causes[name], steps, wakes, waits_for)
    return trace, ends


def page_of_running_loop() -> Page:
    """The page of the one loop of this process that is not closed."""
    pages = finder.find_pages(os.getpid(), writable=True)
    found = [
        page
        for page in pages
        if take_snapshot(page, with_tasks=False, with_blocks=False).phase.name != "CLOSED"
    ]
    for page in pages:
        if page not in found:
            page.close()
    (page,) = found
    return page


def recorded(bodies: list[list[Op]]) -> tuple[list[Event], dict[str, End]]:
    """What the page says of the same program."""
    loop = glassloop.new_event_loop()
    turn(loop, 1)  # from now on it has its page
    with page_of_running_loop() as page:
        page.ask_for_records(EVER)
        turn(loop, 1)
        first = page.live().records
        with running(loop, bodies) as interpreter:
            names = {task._page_id: task.get_name() for task in interpreter.tasks}  # type: ignore[attr-defined]
            _, data, _ = page.records(first)
            snapshot = take_snapshot(page, with_blocks=False)
    trace: list[Event] = []
    for fields in RECORD.iter_unpack(data):
        one = RawRecord._make(fields)
        if one.kind == Kind.WAKE:
            assert one.cause == Cause.FUTURE_DONE
            by = names[one.subject] if one.cause_kind == Running.TASK else None
            trace.append(("wake", names[one.task], by))
        elif one.kind == Kind.STEP:
            trace.append(("step", names[one.task], State(one.state)))
    ends = {
        task.name: (task.state, task.cause, task.steps, task.wakeups, names.get(task.awaited_id, ""))
        for task in snapshot.tasks
    }
    return trace, ends


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(bodies=programs)
def test_the_page_says_what_asyncio_does(bodies: list[list[Op]]) -> None:
    expected_trace, expected_ends = traced(bodies)
    trace, ends = recorded(bodies)
    assert trace == expected_trace
    assert ends == expected_ends


def test_the_comparison_sees_something() -> None:
    bodies = [
        [("await", 0), ("yield", 0)],
        [("yield", 0), ("set", 0)],
        [("join", 0)],
        [("event", 0), ("event", 0)],
    ]
    trace, ends = recorded(bodies)
    assert ("wake", "t2", "t0") in trace and ("step", "t0", State.READY) in trace
    assert ends == {"t3": (State.WAITING, Cause.CREATED, 1, 0, "")}
    assert Awaited.TASK and (trace, ends) == traced(bodies)
