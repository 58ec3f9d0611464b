"""Task factories and classes of one's own: what the loop passes to them, and that they run on it."""

import asyncio
import contextvars
import sys
from collections.abc import Generator
from typing import Any

import pytest

from .support import Loop, Run, turns

# Before Python 3.13.3 a factory got a context only where one was given, and never the name.
PASSES_ALL_KEYWORDS = sys.version_info >= (3, 14)


async def value(result: Any = 42) -> Any:
    await asyncio.sleep(0)
    return result


def test_set_and_get(loop: Loop) -> None:
    def factory(loop: Loop, coro: Any, **kwargs: Any) -> Any:
        return asyncio.Task(coro, loop=loop, **kwargs)

    assert loop.get_task_factory() is None
    loop.set_task_factory(factory)
    assert loop.get_task_factory() is factory
    loop.set_task_factory(None)
    assert loop.get_task_factory() is None
    setter: Any = loop
    with pytest.raises(TypeError, match="task factory must be a callable or None"):
        setter.set_task_factory("hello")


def test_a_factory_makes_the_tasks(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        calls: list[tuple[Any, Any, dict[str, Any]]] = []

        class MyTask(asyncio.Task[Any]): ...

        def factory(loop: Loop, coro: Any, **kwargs: Any) -> Any:
            calls.append((loop, coro, kwargs))
            return MyTask(coro, loop=loop, **kwargs)

        loop.set_task_factory(factory)
        coroutine = value()
        task = asyncio.create_task(coroutine)
        assert type(task) is MyTask
        assert calls[0][:2] == (loop, coroutine)
        assert await task == 42
        assert type(asyncio.ensure_future(value(), loop=loop)) is MyTask
        async with asyncio.TaskGroup() as group:
            assert type(group.create_task(value())) is MyTask
        await asyncio.gather(value(), value())
        assert len(calls) == 5
        loop.set_task_factory(None)
        assert type(asyncio.create_task(value())) is not MyTask
        await turns(3)

    run(main())


def test_what_a_factory_is_given(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        got: list[dict[str, Any]] = []

        def factory(loop: Loop, coro: Any, **kwargs: Any) -> Any:
            got.append(kwargs)
            return asyncio.Task(coro, loop=loop, **kwargs)

        loop.set_task_factory(factory)
        context = contextvars.copy_context()
        plain = loop.create_task(value())
        with_context = loop.create_task(value(), context=context)
        named = loop.create_task(value(), name="given")
        assert named.get_name() == "given"
        assert got[1]["context"] is context
        if PASSES_ALL_KEYWORDS:
            assert got == [{}, {"context": context}, {"name": "given"}]
        elif sys.version_info < (3, 13):
            assert got == [{}, {"context": context}, {}]
        await asyncio.gather(plain, with_context, named)

    run(main())


@pytest.mark.skipif(PASSES_ALL_KEYWORDS, reason="a factory must take **kwargs since Python 3.14")
def test_an_old_factory_without_a_context(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        def factory(loop: Loop, coro: Any) -> Any:
            return asyncio.Task(coro, loop=loop)

        setter: Any = loop
        setter.set_task_factory(factory)
        task = asyncio.create_task(value(), name="given")
        assert task.get_name() == "given"
        assert await task == 42

    run(main())


@pytest.mark.skipif(sys.version_info[:2] == (3, 13), reason="Python 3.13 sets the name of whatever it gets")
def test_a_factory_may_return_a_future_like_thing(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        def factory(loop: Loop, coro: Any, **kwargs: Any) -> Any:
            coro.close()
            future = loop.create_future()
            future.set_result("made by the factory")
            return future

        loop.set_task_factory(factory)
        assert await loop.create_task(value()) == "made by the factory"
        loop.set_task_factory(None)

    run(main())


class LoggingTask(asyncio.Task[Any]):
    """A task in Python that overrides what people override."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.note: list[str] = ["made"]

    def cancel(self, msg: Any = None) -> bool:
        self.note.append("cancel")
        return super().cancel(msg)

    def add_done_callback(self, fn: Any, /, *, context: Any = None) -> None:
        self.note.append("callback")
        super().add_done_callback(fn, context=context)


def test_a_subclass_of_task(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        task = LoggingTask(value("done"), loop=loop, name="mine")
        assert task in asyncio.all_tasks()
        assert repr(task).startswith("<LoggingTask pending name='mine' coro=<value() running at ")
        assert await task == "done"
        assert task.note[0] == "made"
        assert task not in asyncio.all_tasks()
        slow = LoggingTask(asyncio.sleep(1000), loop=loop)
        await asyncio.sleep(0)
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow
        assert "cancel" in slow.note

    run(main())


def test_current_task_in_a_subclass(run: Run) -> None:
    async def main() -> None:
        async def child() -> Any:
            await asyncio.sleep(0)
            return asyncio.current_task()

        task = LoggingTask(child(), loop=asyncio.get_running_loop())
        assert await task is task

    run(main())


def test_a_subclass_of_the_loops_own_task(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        kind: Any = type(asyncio.current_task())

        class MyTask(kind):  # type: ignore[misc]
            def get_name(self) -> str:
                return f"my {super().get_name()}"

        async def child() -> Any:
            await asyncio.sleep(0)
            return asyncio.current_task()

        task = MyTask(child(), loop=loop, name="task")
        task.colour = "red"
        assert await task is task
        assert task.get_name() == "my task"
        assert task.colour == "red"

    run(main())


def test_a_subclass_of_future(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for base in (asyncio.Future, type(loop.create_future())):

            class MyFuture(base):  # type: ignore[misc, valid-type]
                def result(self) -> Any:
                    return ("mine", super().result())

            future = MyFuture(loop=loop)
            loop.call_soon(future.set_result, 1)
            assert await asyncio.wait_for(future, 10) is not None
            assert future.result() == ("mine", 1)
            waiting = MyFuture(loop=loop)

            async def child(future: Any) -> Any:
                return await future

            task = asyncio.create_task(child(waiting))
            await asyncio.sleep(0)
            assert repr(waiting) == "<MyFuture pending cb=[Task.task_wakeup()]>"
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert waiting.cancelled()

    run(main())


def test_a_subclass_of_future_with_its_own_callbacks(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        trace: list[str] = []

        class MyFuture(asyncio.Future[Any]):
            def add_done_callback(self, fn: Any, /, *, context: Any = None) -> None:
                trace.append("add")
                super().add_done_callback(fn, context=context)

        future = MyFuture(loop=loop)
        loop.call_soon(future.set_result, 5)
        assert await future == 5
        assert trace == ["add"]

    run(main())


class GeneratorCoroutine:
    """A coroutine in plain Python, as compiled modules make them: it has send, throw and close."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def send(self, _value: object) -> None:
        self.steps -= 1
        if self.steps < 0:
            raise StopIteration("ended")

    def throw(self, *args: Any) -> None:
        raise args[0] if isinstance(args[0], BaseException) else args[0]()

    def close(self) -> None: ...

    def __await__(self) -> Generator[Any, Any, Any]:
        yield


def test_a_coroutine_of_another_kind(run: Run) -> None:
    import collections.abc

    collections.abc.Coroutine.register(GeneratorCoroutine)

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        assert asyncio.iscoroutine(GeneratorCoroutine(0))
        assert await loop.create_task(GeneratorCoroutine(3)) == "ended"
        task = loop.create_task(GeneratorCoroutine(1000))
        await turns(2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert repr(task).startswith("<Task cancelled name='Task-")

    run(main())


def test_the_pure_python_task_runs_on_the_loop(run: Run) -> None:
    # Debuggers and tests use it; the C classes are what asyncio exports.
    python_task: Any = asyncio.tasks._PyTask  # type: ignore[attr-defined]
    python_future: Any = asyncio.futures._PyFuture  # type: ignore[attr-defined]

    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def child() -> str:
            future = python_future(loop=loop)
            loop.call_soon(future.set_result, "x")
            text = await future
            await asyncio.sleep(0)
            assert await asyncio.create_task(value(1)) == 1
            return str(text)

        assert await python_task(child(), loop=loop) == "x"
        future = python_future(loop=loop)
        loop.call_soon(future.set_result, "y")
        assert await future == "y"

    run(main())
