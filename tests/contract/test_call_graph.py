"""The call graph of tasks on Python 3.14 and later: who awaits whom, and printing it."""

import asyncio
import io
import sys
from typing import Any

import pytest

from .support import Run, turns

pytestmark = pytest.mark.skipif(sys.version_info < (3, 14), reason="call graphs are new in Python 3.14")

ASYNCIO: Any = asyncio


async def wait_for(awaitable: Any) -> Any:
    return await awaitable


def awaiters(future: Any) -> list[str]:
    """Return the names of the tasks that wait for a future."""
    return [graph.future.get_name() for graph in ASYNCIO.capture_call_graph(future).awaited_by]


def test_a_task_that_waits_for_a_future(run: Run) -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(wait_for(future), name="waiter")
        await asyncio.sleep(0)
        assert awaiters(future) == ["waiter"]
        future.set_result(None)
        await task
        assert awaiters(future) == []

    run(main())


def test_several_waiters(run: Run) -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        tasks = [asyncio.create_task(wait_for(future), name=f"waiter {number}") for number in range(4)]
        await asyncio.sleep(0)
        assert sorted(awaiters(future)) == [f"waiter {number}" for number in range(4)]
        tasks[0].cancel()
        await asyncio.wait(tasks)
        assert awaiters(future) == []

    run(main())


def test_a_chain_of_tasks(run: Run) -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        first = asyncio.create_task(wait_for(future), name="first")
        second = asyncio.create_task(wait_for(first), name="second")
        await turns(2)
        assert awaiters(first) == ["second"]
        graph = ASYNCIO.capture_call_graph(first)
        assert graph.future is first
        assert [entry.frame.f_code.co_name for entry in graph.call_stack] == ["wait_for"]
        (outer,) = graph.awaited_by
        assert outer.future is second
        future.set_result(None)
        await second
        assert awaiters(first) == []

    run(main())


def test_the_running_task(run: Run) -> None:
    async def main() -> None:
        async def child() -> Any:
            return ASYNCIO.capture_call_graph()

        task = asyncio.create_task(child(), name="child")
        waiter = asyncio.create_task(wait_for(task), name="waiter")
        graph = await waiter
        assert graph.future is task
        names = [entry.frame.f_code.co_name for entry in graph.call_stack]
        assert "child" in names
        me = asyncio.current_task()
        assert me is not None

    run(main())


def test_gather_and_groups(run: Run) -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()

        async def gatherer() -> None:
            await asyncio.gather(inner)

        async def grouper() -> None:
            async with asyncio.TaskGroup() as group:
                children.append(group.create_task(wait_for(future), name="grouped"))

        children: list[Any] = []
        inner = asyncio.create_task(wait_for(future), name="inner")
        outer = asyncio.create_task(gatherer(), name="gatherer")
        group_task = asyncio.create_task(grouper(), name="grouper")
        await turns(3)
        assert awaiters(inner) == ["gatherer"]
        assert awaiters(children[0]) == ["grouper"]
        assert sorted(awaiters(future)) == ["grouped", "inner"]
        future.set_result(None)
        await outer
        await group_task
        assert awaiters(inner) == []
        assert awaiters(children[0]) == []

    run(main())


def test_shield_and_wait(run: Run) -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        inner = asyncio.create_task(wait_for(future), name="inner")

        async def shielding() -> None:
            await asyncio.shield(inner)

        async def waiting() -> None:
            await asyncio.wait([inner])

        async def limited() -> None:
            await asyncio.wait_for(inner, 1000)

        tasks = [asyncio.create_task(work(), name=work.__name__) for work in (shielding, waiting, limited)]
        await turns(4)
        assert sorted(awaiters(inner)) == ["limited", "shielding", "waiting"]
        future.set_result(None)
        await asyncio.gather(*tasks)
        assert awaiters(inner) == []

    run(main())


def test_printing(run: Run) -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        first = asyncio.create_task(wait_for(future), name="first")
        second = asyncio.create_task(wait_for(first), name="second")
        await turns(2)
        file = io.StringIO()
        ASYNCIO.print_call_graph(first, file=file)
        text = file.getvalue()
        assert f"* Task(name='first', id={id(first):#x})" in text
        assert f"* Task(name='second', id={id(second):#x})" in text
        assert "async wait_for()" in text
        assert ASYNCIO.format_call_graph(first) == text.rstrip("\n")
        future.set_result(None)
        await second

    run(main())


def test_an_awaiter_that_is_freed(run: Run, no_gc: None) -> None:
    async def main() -> None:
        import gc

        future = asyncio.get_running_loop().create_future()
        task: Any = asyncio.create_task(wait_for(future), name="gone")
        await asyncio.sleep(0)
        task._log_destroy_pending = False
        task.cancel()
        await turns(2)
        del task
        gc.collect()
        assert awaiters(future) == []

    run(main())
