"""What a task can await: futures of every kind, tasks, awaitables, and what it must not."""

import asyncio
from collections.abc import Generator
from typing import Any

import pytest

from .support import Loop, LoopFactory, Run, run_turns, turns


async def value(result: Any = 42) -> Any:
    await asyncio.sleep(0)
    return result


def test_awaiting_a_future(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for future in (loop.create_future(), asyncio.Future(loop=loop), asyncio.Future()):
            loop.call_soon(future.set_result, "done")
            assert await future == "done"
            assert await future == "done"
            failing = type(future)(loop=loop)
            loop.call_soon(failing.set_exception, LookupError("lost"))
            with pytest.raises(LookupError, match="lost"):
                await failing
            cancelled = type(future)(loop=loop)
            loop.call_soon(cancelled.cancel)
            with pytest.raises(asyncio.CancelledError):
                await cancelled

    run(main())


def test_awaiting_tasks_and_coroutines(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert await value(1) == 1
        assert await asyncio.create_task(value(2)) == 2
        assert await asyncio.Task(value(3), loop=loop) == 3
        assert await asyncio.ensure_future(value(4)) == 4
        done = asyncio.create_task(value(5))
        await turns(3)
        assert done.done()
        assert await done == 5

    run(main())


def test_awaiting_an_awaitable(run: Run) -> None:
    class Twice:
        def __await__(self) -> Generator[Any, Any, str]:
            yield from asyncio.sleep(0).__await__()
            yield
            return "twice"

    async def main() -> None:
        assert await Twice() == "twice"
        assert await asyncio.ensure_future(Twice()) == "twice"
        assert list(await asyncio.gather(Twice(), Twice())) == ["twice", "twice"]

    run(main())


class Duck:
    """Something like a future, as other libraries make them: asyncio asks only for this much."""

    _asyncio_future_blocking = False

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.callbacks: list[tuple[Any, Any]] = []
        self.answer: Any = None
        self.cancel_messages: list[Any] = []

    def get_loop(self) -> Loop:
        return self._loop

    def add_done_callback(self, callback: Any, *, context: Any = None) -> None:
        self.callbacks.append((callback, context))

    def remove_done_callback(self, callback: Any) -> int:
        return 0

    def cancel(self, msg: Any = None) -> bool:
        self.cancel_messages.append(msg)
        return False

    def done(self) -> bool:
        return self.answer is not None

    def cancelled(self) -> bool:
        return False

    def exception(self) -> None:
        return None

    def result(self) -> Any:
        return self.answer

    def finish(self, answer: Any) -> None:
        self.answer = answer
        for callback, context in self.callbacks:
            self._loop.call_soon(callback, self, context=context)

    def __await__(self) -> Generator[Any, Any, Any]:
        if not self.done():
            self._asyncio_future_blocking = True
            yield self
        return self.result()


def test_awaiting_a_duck_typed_future(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        duck = Duck(loop)
        assert asyncio.isfuture(duck)

        async def wait() -> Any:
            return await duck

        task: Any = asyncio.create_task(wait())
        await asyncio.sleep(0)
        assert len(duck.callbacks) == 1
        assert task._fut_waiter is duck
        assert duck._asyncio_future_blocking is False
        duck.finish("quack")
        assert await task == "quack"
        task = asyncio.create_task(wait())
        assert await task == "quack"

    run(main())


def test_cancelling_a_task_that_waits_for_a_duck(run: Run) -> None:
    async def main() -> None:
        duck = Duck(asyncio.get_running_loop())

        async def wait() -> Any:
            return await duck

        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        assert task.cancel("stop")
        assert duck.cancel_messages == ["stop"]
        # The duck does not give in, so the task learns of it when it wakes.
        await turns(3)
        assert not task.done()
        duck.finish("late")
        with pytest.raises(asyncio.CancelledError, match="stop"):
            await task

    run(main())


class Yields:
    """Awaitable that yields one thing raw to whatever drives it."""

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def __await__(self) -> Generator[Any, Any, Any]:
        return (yield self.thing)


def test_a_bare_yield_gives_up_one_turn(run: Run) -> None:
    async def main() -> None:
        trace: list[str] = []
        asyncio.get_running_loop().call_soon(trace.append, "other")
        assert await Yields(None) is None
        assert trace == ["other"]

    run(main())


def test_a_bad_yield(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="^Task got bad yield: 42$"):
            await Yields(42)
        with pytest.raises(RuntimeError, match="Task got bad yield: <object object at"):
            await Yields(object())
        await asyncio.sleep(0)

    run(main())


def test_a_future_yielded_raw(run: Run) -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        with pytest.raises(
            RuntimeError, match=r"yield was used instead of yield from in task .* with <Future pending>"
        ):
            await Yields(future)

    run(main())


def test_a_generator_yielded_raw(run: Run) -> None:
    def generator() -> Generator[None, None, None]:
        yield

    async def main() -> None:
        with pytest.raises(RuntimeError, match="yield was used instead of yield from for generator in task"):
            await Yields(generator())

    run(main())


def test_awaiting_itself(run: Run) -> None:
    async def main() -> None:
        async def wait() -> None:
            me = asyncio.current_task()
            assert me is not None
            await me

        task = asyncio.create_task(wait())
        with pytest.raises(RuntimeError, match="Task cannot await on itself: <Task pending"):
            await task

    run(main())


def test_awaiting_a_future_of_another_loop(loop_factory: LoopFactory) -> None:
    here, there = loop_factory(), loop_factory()
    strange = [there.create_future(), asyncio.Future(loop=there), there.create_task(value())]

    async def main(future: Any) -> None:
        with pytest.raises(RuntimeError, match=r"Task .* got Future .* attached to a different loop"):
            await future

    for future in strange:
        here.run_until_complete(main(future))
    run_turns(there, 3)


def test_a_task_goes_on_after_a_bad_yield(run: Run) -> None:
    async def main() -> None:
        trace: list[str] = []

        async def child() -> str:
            for thing in (42, asyncio.get_running_loop().create_future()):
                try:
                    await Yields(thing)
                except RuntimeError:
                    trace.append("refused")
            await asyncio.sleep(0)
            return "went on"

        assert await asyncio.create_task(child()) == "went on"
        assert trace == ["refused", "refused"]

    run(main())


def test_a_coroutine_is_not_awaited_twice(run: Run) -> None:
    async def main() -> None:
        coroutine = value()
        await coroutine
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await asyncio.create_task(coroutine)

    run(main())


def test_async_generators_and_managers(run: Run) -> None:
    class Manager:
        async def __aenter__(self) -> str:
            return await value("entered")  # type: ignore[no-any-return]

        async def __aexit__(self, *_: object) -> None:
            await asyncio.sleep(0)

    async def numbers(count: int) -> Any:
        for number in range(count):
            await asyncio.sleep(0)
            yield number

    async def main() -> None:
        assert [number async for number in numbers(5)] == [0, 1, 2, 3, 4]
        async with Manager() as text:
            assert text == "entered"

    run(main())
