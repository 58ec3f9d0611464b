"""Eager tasks: eager_task_factory, eager_start, and who is current meanwhile."""

import asyncio
import contextvars
import gc
import sys
import weakref
from typing import Any

import pytest

from .support import Context, Loop, Run, run_turns, turns

pytestmark = pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in Python 3.12")

ASYNCIO: Any = asyncio


def eager() -> None:
    """Make the tasks of the running loop eager."""
    asyncio.get_running_loop().set_task_factory(ASYNCIO.eager_task_factory)


async def value(result: Any = 42) -> Any:
    return result


def test_a_task_that_does_not_wait_is_done_at_once(run: Run) -> None:
    async def main() -> None:
        eager()
        task = asyncio.create_task(value())
        assert isinstance(task, asyncio.Task)
        assert task.done()
        assert task.result() == 42
        assert await task == 42
        assert task not in asyncio.all_tasks()

    run(main())


def test_a_task_that_waits_goes_on_in_the_loop(run: Run) -> None:
    async def main() -> None:
        eager()
        trace: list[str] = []

        async def child() -> str:
            trace.append("start")
            await asyncio.sleep(0)
            trace.append("end")
            return "done"

        task = asyncio.create_task(child(), name="T")
        assert trace == ["start"]
        assert not task.done()
        assert task in asyncio.all_tasks()
        assert task.get_name() == "T"
        assert await task == "done"
        assert trace == ["start", "end"]

    run(main())


def test_an_error_at_once(run: Run) -> None:
    async def main() -> None:
        eager()

        async def child() -> None:
            raise LookupError("at once")

        task = asyncio.create_task(child())
        assert task.done()
        with pytest.raises(LookupError, match="at once"):
            await task

    run(main())


def test_the_current_task_is_put_back(run: Run) -> None:
    async def main() -> None:
        eager()
        me = asyncio.current_task()
        seen: list[Any] = []

        async def inner() -> None:
            seen.append(asyncio.current_task())

        async def outer() -> None:
            mine = asyncio.current_task()
            seen.append(mine)
            task = asyncio.create_task(inner())
            assert asyncio.current_task() is mine
            assert seen[-1] is task
            await asyncio.sleep(0)
            assert asyncio.current_task() is mine

        task = asyncio.create_task(outer())
        assert seen[0] is task
        assert asyncio.current_task() is me
        await task
        assert asyncio.current_task() is me

    run(main())


def test_the_context_is_a_copy(run: Run) -> None:
    colour = contextvars.ContextVar("colour", default="none")

    async def child() -> str:
        seen = colour.get()
        colour.set("child")
        return seen

    async def main() -> None:
        eager()
        colour.set("main")
        assert asyncio.create_task(child()).result() == "main"
        assert colour.get() == "main"
        context = contextvars.copy_context()
        context.run(colour.set, "given")
        assert asyncio.create_task(child(), context=context).result() == "given"
        assert context[colour] == "child"

    run(main())


def test_waiting_for_a_done_future_at_once(run: Run) -> None:
    async def main() -> None:
        eager()
        future = asyncio.get_running_loop().create_future()
        future.set_result("ready")

        async def child() -> Any:
            return await future

        assert asyncio.create_task(child()).done()

    run(main())


def test_cancelling(run: Run) -> None:
    async def main() -> None:
        eager()
        task = asyncio.create_task(asyncio.sleep(1000))
        task.cancel("stop")
        with pytest.raises(asyncio.CancelledError, match="stop"):
            await task

        async def suicide() -> None:
            me = asyncio.current_task()
            assert me is not None
            me.cancel()
            await asyncio.sleep(0)

        task = asyncio.create_task(suicide())
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def test_groups_and_gather(run: Run) -> None:
    async def main() -> None:
        eager()
        assert list(await asyncio.gather(value(1), value(2), value(3))) == [1, 2, 3]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(value(number)) for number in range(3)]
        assert [task.result() for task in tasks] == [0, 1, 2]
        assert await asyncio.wait_for(value(4), 10) == 4
        done, pending = await asyncio.wait([asyncio.create_task(value(5))])
        assert not pending and done.pop().result() == 5

    run(main())


def test_done_callbacks_still_wait_their_turn(run: Run) -> None:
    async def main() -> None:
        eager()
        trace: list[str] = []
        task = asyncio.create_task(value())
        task.add_done_callback(lambda _: trace.append("callback"))
        assert trace == []
        await asyncio.sleep(0)
        assert trace == ["callback"]

    run(main())


def test_a_forgotten_exception_is_reported(run: Run, errors: list[Context]) -> None:
    async def main() -> None:
        eager()

        async def child() -> None:
            raise LookupError

        asyncio.create_task(child())
        gc.collect()
        assert [error["message"] for error in errors] == ["Task exception was never retrieved"]

    run(main())


def test_an_eager_task_is_freed_at_once(run: Run, no_gc: None) -> None:
    async def main() -> None:
        eager()
        ref = weakref.ref(asyncio.create_task(value()))
        assert ref() is None
        ref = weakref.ref(asyncio.create_task(asyncio.sleep(0)))
        await turns(2)
        assert ref() is None

    run(main())


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_exit_at_once(run: Run, errors: list[Context], kind: type[BaseException]) -> None:
    async def main() -> str:
        eager()

        async def child() -> None:
            raise kind("out")

        with pytest.raises(kind, match="out"):
            asyncio.create_task(child())
        return "went on"

    assert run(main()) == "went on"
    assert {error["message"] for error in errors} <= {"Task exception was never retrieved"}


def test_a_factory_with_a_class_of_its_own(run: Run) -> None:
    async def main() -> None:
        class MyTask(asyncio.Task[Any]): ...

        asyncio.get_running_loop().set_task_factory(ASYNCIO.create_eager_task_factory(MyTask))
        task = asyncio.create_task(value())
        assert type(task) is MyTask
        assert task.done()
        assert await asyncio.create_task(asyncio.sleep(0, "later")) == "later"

    run(main())


def test_the_task_class_can_start_eagerly(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for kind in (asyncio.Task, type(asyncio.current_task())):
            maker: Any = kind
            assert maker(value(), loop=loop, eager_start=True).done()
            assert not maker(value(), loop=loop, eager_start=False).done()
        await turns(2)

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 14), reason="create_task(eager_start=) is new in Python 3.14")
def test_create_task_with_eager_start(run: Run) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        create_task: Any = asyncio.create_task
        assert loop.create_task(value(), eager_start=True).done()
        assert create_task(value(), eager_start=True, name="T").get_name() == "T"
        lazy = loop.create_task(value(), eager_start=False)
        assert not lazy.done()
        eager()
        assert not loop.create_task(value(), eager_start=False).done()
        assert loop.create_task(value()).done()
        async with asyncio.TaskGroup() as group:
            maker: Any = group.create_task
            assert maker(value(), eager_start=True).done()
        await turns(3)

    run(main())


def test_on_a_loop_that_is_not_running(loop: Loop) -> None:
    for kind in (asyncio.Task, type(loop.create_task(value()))):
        maker: Any = kind
        # It cannot start at once, so it starts with the loop.
        task = maker(value(), loop=loop, eager_start=True)
        assert not task.done()
        run_turns(loop, 2)
        assert task.result() == 42
