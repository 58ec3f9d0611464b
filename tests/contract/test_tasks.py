"""Tasks: states, results, names, contexts, done callbacks, and how tasks are found."""

import asyncio
import contextvars
import sys
import threading
import traceback
from collections.abc import Awaitable
from typing import Any

import pytest

from .support import Context, Loop, LoopFactory, Run, noop, turns


async def value(result: Any = 42) -> Any:
    await asyncio.sleep(0)
    return result


async def error(exc: BaseException) -> None:
    await asyncio.sleep(0)
    raise exc


def test_the_types(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for task in (asyncio.create_task(value()), loop.create_task(value()), asyncio.current_task()):
            assert isinstance(task, asyncio.Task)
            assert isinstance(task, asyncio.Future)
            assert asyncio.isfuture(task)
            assert type(task).__name__ == "Task"
            assert not asyncio.iscoroutine(task)
            assert isinstance(task, Awaitable)
        await turns(3)

    run(main())


def test_states_of_a_task(run: Run) -> None:
    async def main() -> None:
        task = asyncio.create_task(value())
        assert not task.done() and not task.cancelled()
        with pytest.raises(asyncio.InvalidStateError, match=r"^Result is not set\.$"):
            task.result()
        with pytest.raises(asyncio.InvalidStateError, match=r"^Exception is not set\.$"):
            task.exception()
        await asyncio.sleep(0)
        assert not task.done()
        await asyncio.sleep(0)
        assert task.done() and not task.cancelled()
        assert task.result() == 42
        assert task.exception() is None
        assert await task == 42

    run(main())


def test_a_task_that_fails(run: Run) -> None:
    async def main() -> None:
        exc = LookupError("lost")
        task = asyncio.create_task(error(exc))
        with pytest.raises(LookupError) as info:
            await task
        assert "error" in [frame.name for frame in traceback.extract_tb(info.tb)]
        assert info.value is exc
        assert task.done() and not task.cancelled()
        assert task.exception() is exc
        with pytest.raises(LookupError):
            task.result()

    run(main())


def test_a_task_does_not_start_before_the_next_turn(run: Run) -> None:
    async def main() -> None:
        trace: list[str] = []

        async def child() -> None:
            trace.append("child")

        task = asyncio.create_task(child())
        trace.append("made")
        await task
        assert trace == ["made", "child"]

    run(main())


def test_a_result_is_not_for_others_to_set(run: Run) -> None:
    async def main() -> None:
        task: Any = asyncio.create_task(value())
        with pytest.raises(RuntimeError, match="Task does not support set_result operation"):
            task.set_result(1)
        with pytest.raises(RuntimeError, match="Task does not support set_exception operation"):
            task.set_exception(ValueError())
        assert await task == 42

    run(main())


def test_only_coroutines_become_tasks(run: Run) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        for thing in (42, value, loop.create_future()):
            with pytest.raises(TypeError, match="a coroutine was expected, got"):
                loop.create_task(thing)

    run(main())


def test_unknown_keywords_are_refused(run: Run) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        coroutine = value()
        with pytest.raises(TypeError):
            loop.create_task(coroutine, colour="red")
        with pytest.raises(TypeError):
            loop.create_task()
        coroutine.close()

    run(main())


def test_return_values_of_all_kinds(run: Run) -> None:
    async def main() -> None:
        for result in (
            None,
            0,
            (),
            "text",
            [1],
            asyncio.sleep,
            NotImplemented,
            ValueError("not raised"),
            StopIteration,
        ):
            assert await asyncio.create_task(value(result)) is result

    run(main())


def test_stop_iteration_becomes_a_runtime_error(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="coroutine raised StopIteration"):
            await asyncio.create_task(error(StopIteration(1)))
        with pytest.raises(RuntimeError, match="coroutine raised StopIteration"):
            await error(StopIteration(1))

    run(main())


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_exit_and_interrupt_leave_through_the_loop(loop: Loop, kind: type[BaseException]) -> None:
    async def leave() -> None:
        await asyncio.sleep(0)
        raise kind("out")

    async def wait() -> str:
        try:
            await task
        except kind:
            return "seen by the waiter"
        raise AssertionError

    task = loop.create_task(leave())
    waiter = loop.create_task(wait())
    with pytest.raises(kind, match="out"):
        loop.run_forever()
    assert task.done()
    assert isinstance(task.exception(), kind)
    assert loop.run_until_complete(waiter) == "seen by the waiter"


def test_a_base_exception_stays_in_the_task(run: Run) -> None:
    class Odd(BaseException): ...

    async def main() -> None:
        task = asyncio.create_task(error(Odd("odd")))
        with pytest.raises(Odd, match="odd"):
            await task

    run(main())


def test_names(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        given = loop.create_task(value(), name="given")
        assert given.get_name() == "given"
        first, second = loop.create_task(value()), loop.create_task(value())
        assert first.get_name().startswith("Task-") and second.get_name().startswith("Task-")
        assert int(second.get_name()[5:]) == int(first.get_name()[5:]) + 1
        first.set_name(123)
        assert first.get_name() == "123"
        assert asyncio.create_task(value(), name="module").get_name() == "module"
        assert loop.create_task(value(), name="").get_name() == ""
        number: Any = 5
        assert loop.create_task(value(), name=number).get_name() == "5"
        unnamed = loop.create_task(value(), name=None)
        assert unnamed.get_name().startswith("Task-")
        await turns(3)
        assert given.get_name() == "given"

    run(main())


def test_names_count_through_both_ways_of_making(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(value()), asyncio.Task(value(), loop=loop), loop.create_task(value())]
        await turns(3)
        numbers = [int(task.get_name().removeprefix("Task-")) for task in tasks]
        assert len(set(numbers)) == 3

    run(main())


def test_a_task_runs_in_a_copy_of_the_context(run: Run) -> None:
    colour = contextvars.ContextVar("colour", default="none")

    async def child() -> str:
        seen = colour.get()
        colour.set("child")
        await asyncio.sleep(0)
        assert colour.get() == "child"
        return seen

    async def main() -> None:
        colour.set("main")
        task = asyncio.create_task(child())
        colour.set("later")
        assert await task == "main"
        assert colour.get() == "later"

    run(main())
    assert colour.get() == "none"


def test_a_task_runs_in_a_given_context(run: Run) -> None:
    colour = contextvars.ContextVar("colour", default="none")

    async def child() -> str:
        seen = colour.get()
        colour.set("child")
        await asyncio.sleep(0)
        return seen

    async def main() -> None:
        context = contextvars.copy_context()
        context.run(colour.set, "given")
        assert await asyncio.create_task(child(), context=context) == "given"
        assert context[colour] == "child"
        assert colour.get() == "none"
        loop = asyncio.get_running_loop()
        assert await loop.create_task(child(), context=context) == "child"

    run(main())


def test_two_tasks_share_a_context(run: Run) -> None:
    colour = contextvars.ContextVar("colour", default=0)

    async def child() -> None:
        for _ in range(3):
            colour.set(colour.get() + 1)
            await asyncio.sleep(0)

    async def main() -> None:
        context = contextvars.copy_context()
        await asyncio.gather(*(asyncio.create_task(child(), context=context) for _ in range(3)))
        assert context[colour] == 9

    run(main())


def test_done_callbacks_run_in_their_context(run: Run) -> None:
    colour = contextvars.ContextVar("colour", default="none")
    seen: list[str] = []

    async def main() -> None:
        colour.set("main")
        task = asyncio.create_task(value())
        task.add_done_callback(lambda _: seen.append(colour.get()))
        context = contextvars.copy_context()
        context.run(colour.set, "given")
        task.add_done_callback(lambda _: seen.append(colour.get()), context=context)
        colour.set("later")
        await task
        await asyncio.sleep(0)
        assert seen == ["main", "given"]

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Task.get_context() is new in Python 3.12")
def test_get_context(run: Run) -> None:
    async def main() -> None:
        context = contextvars.copy_context()
        task: Any = asyncio.create_task(value(), context=context)
        assert task.get_context() is context
        await task
        current: Any = asyncio.current_task()
        assert isinstance(current.get_context(), contextvars.Context)

    run(main())


def test_get_coro_and_get_loop(run: Run) -> None:
    async def main() -> None:
        coroutine = value()
        task = asyncio.create_task(coroutine)
        assert task.get_coro() is coroutine
        assert task.get_loop() is asyncio.get_running_loop()
        await task
        assert task.get_coro() is coroutine

    run(main())


def test_current_task(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        me = asyncio.current_task()
        assert me is not None and me.get_loop() is loop
        seen: list[object] = []

        async def child() -> None:
            seen.append(asyncio.current_task())
            await asyncio.sleep(0)
            seen.append(asyncio.current_task(loop))

        task = asyncio.create_task(child())
        loop.call_soon(lambda: seen.append(asyncio.current_task()))
        await task
        assert seen == [task, None, task]
        assert asyncio.current_task() is me

    run(main())


def test_current_task_outside(loop: Loop) -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.current_task()
    assert asyncio.current_task(loop) is None
    loop.run_until_complete(value())
    assert asyncio.current_task(loop) is None


def test_current_task_from_another_thread(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        seen: list[object] = []
        thread = threading.Thread(daemon=True, target=lambda: seen.append(asyncio.current_task(loop)))
        thread.start()
        thread.join()
        assert seen == [asyncio.current_task()]

    run(main())


def test_current_task_after_an_interrupt(loop: Loop) -> None:
    async def leave() -> None:
        assert asyncio.current_task() is not None
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(leave())
    assert asyncio.current_task(loop) is None


def test_current_task_of_two_loops(loop_factory: LoopFactory) -> None:
    outer, inner = loop_factory(), loop_factory()

    async def inside() -> None:
        task = asyncio.current_task()
        assert task is not None and task.get_loop() is inner
        assert asyncio.current_task(outer) is None

    async def outside() -> None:
        mine = asyncio.current_task()
        thread = threading.Thread(daemon=True, target=inner.run_until_complete, args=(inside_alone(),))
        thread.start()
        thread.join()
        assert asyncio.current_task() is mine
        assert asyncio.current_task(inner) is None

    async def inside_alone() -> None:
        task = asyncio.current_task()
        assert task is not None and task.get_loop() is inner
        other = asyncio.current_task(outer)
        assert other is not None and other.get_loop() is outer

    inner.run_until_complete(inside())
    outer.run_until_complete(outside())


def test_all_tasks(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        me = asyncio.current_task()
        assert asyncio.all_tasks() == {me}
        tasks = {asyncio.create_task(value()) for _ in range(5)}
        stock = asyncio.Task(value(), loop=loop)
        assert asyncio.all_tasks() == {me, stock} | tasks
        assert asyncio.all_tasks(loop) == {me, stock} | tasks
        await asyncio.sleep(0)
        assert len(asyncio.all_tasks()) == 7
        await asyncio.wait([*tasks, stock])
        assert asyncio.all_tasks() == {me}

    run(main())


def test_all_tasks_outside(loop_factory: LoopFactory) -> None:
    first, second = loop_factory(), loop_factory()
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.all_tasks()
    task = first.create_task(value())
    assert asyncio.all_tasks(first) == {task}
    assert asyncio.all_tasks(second) == set()
    first.run_until_complete(task)
    assert asyncio.all_tasks(first) == set()


def test_all_tasks_from_another_thread(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        tasks = [asyncio.create_task(asyncio.sleep(1000)) for _ in range(100)]
        await asyncio.sleep(0)
        seen = await asyncio.to_thread(asyncio.all_tasks, loop)
        assert seen >= set(tasks)
        assert len(seen) == 101

    run(main())


def test_done_callbacks(run: Run) -> None:
    async def main() -> None:
        trace: list[str] = []
        task = asyncio.create_task(value())
        task.add_done_callback(lambda done: trace.append(f"first {done is task}"))

        def gone(_task: object) -> None:
            trace.append("gone")

        task.add_done_callback(gone)
        task.add_done_callback(lambda _: trace.append("last"))
        task.add_done_callback(gone)
        assert task.remove_done_callback(gone) == 2
        assert task.remove_done_callback(noop) == 0
        await task
        assert trace == ["first True", "last"]
        task.add_done_callback(lambda _: trace.append("added late"))
        assert trace[-1] == "last"
        await asyncio.sleep(0)
        assert trace[-1] == "added late"

    run(main())


def test_a_failing_done_callback(run: Run, errors: list[Context]) -> None:
    async def main() -> None:
        def fail(_task: object) -> None:
            raise ValueError("in a done callback")

        trace: list[str] = []
        task = asyncio.create_task(value())
        task.add_done_callback(fail)
        task.add_done_callback(lambda _: trace.append("next"))
        assert await task == 42
        await asyncio.sleep(0)
        assert trace == ["next"]

    run(main())
    assert [str(error["exception"]) for error in errors] == ["in a done callback"]
