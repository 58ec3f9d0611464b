"""A small language of asyncio programs, and an interpreter that writes down all that happens, in order.

A program is the bodies of its first tasks; a body is a list of instructions; an instruction is a tuple of its
name and operands. Futures, locks, queues, events and tasks are shared and named by small numbers.
"""

import asyncio
import contextvars
from typing import Any

from hypothesis import strategies as st

Instruction = tuple[Any, ...]
Body = list[Instruction]
TraceEntry = tuple[Any, ...]

FUTURES = LOCKS = QUEUES = EVENTS = 3
# No program makes more tasks: one that spawns in a shielded loop would never end.
MAX_TASKS = 60

variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)


class Failure(Exception):
    """What programs raise."""


class OrderedSet(dict[Any, None]):
    """As much of a set as a task group needs, in the order of adding."""

    def add(self, item: object) -> None:
        self[item] = None

    def discard(self, item: object) -> None:
        self.pop(item, None)


class OrderedTaskGroup(asyncio.TaskGroup):
    """A task group that cancels its tasks in the order of their making; asyncio's set has any order."""

    def __init__(self) -> None:
        super().__init__()
        assert self._tasks == set()
        self._tasks: Any = OrderedSet()


class Interpreter:
    """One run of one program on one loop. What happened is in ``trace``."""

    def __init__(self, loop: Any, bodies: list[Body]) -> None:
        self.loop = loop
        self.bodies = bodies
        self.trace: list[TraceEntry] = []
        self.futures = [loop.create_future() for _ in range(FUTURES)]
        self.old_futures: list[asyncio.Future[Any]] = []
        self.locks = [asyncio.Lock() for _ in range(LOCKS)]
        self.semaphore = asyncio.Semaphore(2)
        self.queues: list[asyncio.Queue[int]] = [asyncio.Queue(maxsize=size) for size in range(QUEUES)]
        self.events = [asyncio.Event() for _ in range(EVENTS)]
        self.condition = asyncio.Condition()
        self.tasks: list[asyncio.Task[Any]] = []
        self.handles: list[asyncio.Handle] = []
        self.others: list[asyncio.Future[Any]] = []

    def note(self, *what: object) -> None:
        """Write down what happened, in which turn and when."""
        self.trace.append((self.loop.turn, self.loop.now, *what))

    def run(self) -> list[TraceEntry]:
        """Run the program until it is idle, cancel what waits for ever, and return the trace."""
        self.loop.set_exception_handler(self.on_exception)
        for body in self.bodies:
            self.spawn(body)
        self.run_until_idle()
        for round_ in range(20):
            waiting = [index for index, task in enumerate(self.tasks) if not task.done()]
            if not waiting:
                break
            self.note("cancelled from outside", round_, waiting)
            for index in waiting:
                self.tasks[index].cancel("the end")
            self.run_until_idle()
        for index, task in enumerate(self.tasks):
            self.note("ended", index, self.outcome(task))
        for future in [*self.others, *self.futures, *self.old_futures]:
            self.outcome(future)
        return self.trace

    def run_until_idle(self) -> None:
        self.loop.run_until_idle()
        while self.loop.daemon_runs:
            self.note("stopped")
            self.loop.run_until_idle()

    def on_exception(self, _loop: object, context: dict[str, Any]) -> None:
        # What nobody retrieved is told by destructors, whose moment is no part of the contract.
        if "never retrieved" not in context["message"]:
            self.note("exception handler", repr(context.get("exception")), sorted(context))

    @staticmethod
    def outcome(future: asyncio.Future[Any]) -> str:
        """What became of a future, as text."""
        if not future.done():
            return "pending"
        if future.cancelled():
            return "cancelled"
        return repr(future.exception() or future.result())

    # -- tasks ----------------------------------------------------------------------------------

    def spawn(self, body: Body, group: asyncio.TaskGroup | None = None) -> asyncio.Task[Any] | None:
        """Make a task of this body; None when there are enough."""
        if len(self.tasks) >= MAX_TASKS:
            return None
        index = len(self.tasks)
        make = self.loop.create_task if group is None else group.create_task
        task: asyncio.Task[Any] = make(self.main(index, body), name=f"task {index}")
        if task not in self.tasks:
            self.tasks.append(task)
        task.add_done_callback(lambda done: self.note("done", index, done is task, self.outcome(task)))
        return task

    async def main(self, index: int, body: Body) -> int:
        self.note(index, "starts", variable.get())
        try:
            await self.execute(index, body)
        except asyncio.CancelledError as exc:
            self.note(index, "is cancelled", exc.args, self.tasks[index].cancelling())
            raise
        except Exception as exc:
            self.note(index, "fails", repr(exc))
            raise
        self.note(index, "returns", variable.get())
        return index

    async def execute(self, index: int, body: Body) -> None:
        for position, (name, *operands) in enumerate(body):
            result = await getattr(self, f"do_{name}")(index, *operands)
            self.note(index, position, name, result)

    def child(self, index: int, number: int) -> asyncio.Task[Any] | None:
        """A task that was made after this one: so nobody waits in a circle."""
        later = self.tasks[index + 1 :]
        return later[number % len(later)] if later else None

    # -- instructions ---------------------------------------------------------------------------

    async def do_sleep(self, _index: int, delay: int) -> None:
        await asyncio.sleep(delay)

    async def do_spawn(self, index: int, body: Body) -> str | None:
        task = self.spawn(body)
        return None if task is None else task.get_name()

    async def do_cancel_task(self, _index: int, number: int) -> bool:
        return bool(self.tasks[number % len(self.tasks)].cancel(f"message {number}"))

    async def do_uncancel(self, index: int) -> int:
        return self.tasks[index].uncancel()

    async def do_await_task(self, index: int, number: int) -> object:
        task = self.child(index, number)
        return task and await task

    async def do_await_itself(self, index: int) -> object:
        return await self.tasks[index]

    async def do_shield_task(self, index: int, number: int) -> object:
        task = self.child(index, number)
        return task and await asyncio.shield(task)

    async def do_await_future(self, _index: int, number: int) -> object:
        return await self.futures[number]

    async def do_shield_future(self, _index: int, number: int) -> object:
        return await asyncio.shield(self.futures[number])

    async def do_set(self, index: int, number: int) -> None:
        self.futures[number].set_result(index)

    async def do_fail(self, _index: int, number: int) -> None:
        self.futures[number].set_exception(Failure(number))

    async def do_cancel_future(self, _index: int, number: int) -> bool:
        return bool(self.futures[number].cancel("message"))

    async def do_renew(self, _index: int, number: int) -> None:
        self.old_futures.append(self.futures[number])
        self.futures[number] = self.loop.create_future()

    async def do_watch_future(self, index: int, number: int) -> None:
        future = self.futures[number]
        future.add_done_callback(lambda done: self.note(index, "sees", number, self.outcome(done)))

    async def do_gather(self, index: int, numbers: list[int], return_exceptions: bool) -> object:
        children = [task for number in numbers if (task := self.child(index, number)) is not None]
        gathered = asyncio.gather(*children, self.futures[0], return_exceptions=return_exceptions)
        self.others.append(gathered)
        return repr(await gathered)

    async def do_wait(self, index: int, numbers: list[int], delay: int | None, when: str) -> object:
        children = {task for number in numbers if (task := self.child(index, number)) is not None}
        if not children:
            return None
        done, pending = await asyncio.wait(children, timeout=delay, return_when=when)
        return [sorted(self.tasks.index(task) for task in tasks) for tasks in (done, pending)]

    async def do_wait_for(self, _index: int, number: int, delay: int) -> object:
        return await asyncio.wait_for(self.futures[number], delay)

    async def do_timeout(self, index: int, delay: int, body: Body) -> bool:
        async with asyncio.timeout(delay) as scope:
            await self.execute(index, body)
        return scope.expired()

    async def do_task_group(self, index: int, bodies: list[Body]) -> object:
        try:
            async with OrderedTaskGroup() as group:
                for body in bodies:
                    self.spawn(body, group)
        except ExceptionGroup as exc:
            return repr(exc)
        return None

    async def do_lock(self, index: int, number: int, body: Body) -> None:
        async with self.locks[number]:
            await self.execute(index, body)

    async def do_semaphore(self, index: int, body: Body) -> None:
        async with self.semaphore:
            await self.execute(index, body)

    async def do_notify(self, _index: int) -> None:
        async with self.condition:
            self.condition.notify()

    async def do_wait_notified(self, _index: int) -> object:
        async with self.condition:
            return await self.condition.wait()

    async def do_put(self, index: int, number: int) -> None:
        await self.queues[number].put(index)

    async def do_get(self, _index: int, number: int) -> int:
        return await self.queues[number].get()

    async def do_event(self, _index: int, number: int, what: str) -> object:
        if what == "wait":
            return await self.events[number].wait()
        getattr(self.events[number], what)()
        return None

    async def do_call_soon(self, index: int) -> None:
        self.handles.append(self.loop.call_soon(self.note, index, "called soon"))

    async def do_call_soon_threadsafe(self, index: int) -> None:
        self.handles.append(self.loop.call_soon_threadsafe(self.note, index, "called from a thread"))

    async def do_call_later(self, index: int, delay: int) -> None:
        self.handles.append(self.loop.call_later(delay, self.note, index, "called later", delay))

    async def do_cancel_handle(self, _index: int, number: int) -> object:
        if not self.handles:
            return None
        handle = self.handles[number % len(self.handles)]
        handle.cancel()
        return handle.cancelled()

    async def do_callback_raises(self, index: int) -> None:
        async def fail() -> None:  # its send() raises StopIteration into the loop's own code
            raise Failure(index)

        self.loop.call_soon(fail().send, None)

    async def do_callback_spawns(self, _index: int, body: Body) -> None:
        self.loop.call_soon(self.spawn, body)

    async def do_callback_cancels(self, _index: int, number: int) -> None:
        self.loop.call_soon(self.tasks[number % len(self.tasks)].cancel)

    async def do_stop(self, _index: int) -> None:
        self.loop.stop()

    async def do_raise(self, index: int) -> None:
        raise Failure(index)

    async def do_catch(self, index: int, body: Body, cancels_too: bool) -> object:
        try:
            await self.execute(index, body)
        except (Failure, RuntimeError, TimeoutError) as exc:
            return repr(exc)
        except asyncio.CancelledError as exc:
            if not cancels_too:
                raise
            return repr(exc)
        return None

    async def do_finally(self, index: int, body: Body, last: Body) -> None:
        try:
            await self.execute(index, body)
        finally:
            await self.execute(index, last)

    async def do_set_variable(self, _index: int, value: int) -> None:
        variable.set(value)

    async def do_look_around(self, index: int) -> object:
        current = asyncio.current_task()
        running = sorted(self.tasks.index(task) for task in asyncio.all_tasks() if task in self.tasks)
        return current is self.tasks[index], running, variable.get()

    async def do_yield_nonsense(self, _index: int, thing: object) -> object:
        class Nonsense:
            def __await__(self) -> Any:
                return (yield thing)

        return await Nonsense()


def _instruction(name: str, *operands: st.SearchStrategy[Any]) -> st.SearchStrategy[Instruction]:
    return st.tuples(st.just(name), *operands)


_number = st.integers(0, 5)
_delay = st.integers(0, 3)
_shared = st.integers(0, FUTURES - 1)
_numbers = st.lists(_number, max_size=3)

_simple = st.one_of(
    _instruction("sleep", _delay),
    _instruction("sleep", st.just(0)),
    _instruction("cancel_task", _number),
    _instruction("uncancel"),
    _instruction("await_task", _number),
    _instruction("await_itself"),
    _instruction("shield_task", _number),
    _instruction("await_future", _shared),
    _instruction("shield_future", _shared),
    _instruction("set", _shared),
    _instruction("fail", _shared),
    _instruction("cancel_future", _shared),
    _instruction("renew", _shared),
    _instruction("watch_future", _shared),
    _instruction("gather", _numbers, st.booleans()),
    _instruction(
        "wait",
        _numbers,
        st.none() | _delay,
        st.sampled_from([asyncio.ALL_COMPLETED, asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION]),
    ),
    _instruction("wait_for", _shared, _delay),
    _instruction("notify"),
    _instruction("wait_notified"),
    _instruction("put", _shared),
    _instruction("get", _shared),
    _instruction("event", _shared, st.sampled_from(["set", "clear", "wait", "wait"])),
    _instruction("call_soon"),
    _instruction("call_soon_threadsafe"),
    _instruction("call_later", _delay),
    _instruction("cancel_handle", _number),
    _instruction("callback_raises"),
    _instruction("callback_cancels", _number),
    _instruction("stop"),
    _instruction("raise"),
    _instruction("set_variable", _number),
    _instruction("look_around"),
    _instruction("yield_nonsense", st.none() | st.integers(0, 1)),
)


def _nested(inner: st.SearchStrategy[Instruction]) -> st.SearchStrategy[Instruction]:
    body = st.lists(inner, max_size=4)
    return st.one_of(
        _instruction("spawn", body),
        _instruction("callback_spawns", body),
        _instruction("task_group", st.lists(body, min_size=1, max_size=3)),
        _instruction("timeout", _delay, body),
        _instruction("lock", _shared, body),
        _instruction("semaphore", body),
        _instruction("catch", body, st.booleans()),
        _instruction("finally", body, st.lists(_simple, max_size=2)),
    )


bodies: st.SearchStrategy[Body] = st.lists(st.recursive(_simple, _nested, max_leaves=12), max_size=8)
programs: st.SearchStrategy[list[Body]] = st.lists(bodies, min_size=1, max_size=4)
