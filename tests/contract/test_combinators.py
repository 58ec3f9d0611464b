"""gather, wait, wait_for, timeout, TaskGroup, shield, as_completed and the locks, over each loop."""

import asyncio
import gc
import sys
import weakref
from collections.abc import AsyncIterator
from typing import Any

import pytest

from .support import Context, Run, turns


async def value(result: Any, count: int = 1) -> Any:
    await turns(count)
    return result


async def error(exc: BaseException, count: int = 1) -> None:
    await turns(count)
    raise exc


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


def test_gather_keeps_the_order_of_its_arguments(run: Run) -> None:
    async def main() -> None:
        results = await asyncio.gather(value("a", 3), value("b", 1), value("c", 2))
        assert list(results) == ["a", "b", "c"]
        coroutine = value("same")
        assert list(await asyncio.gather(coroutine, coroutine)) == ["same", "same"]
        assert list(await asyncio.gather()) == []

    run(main())


def test_gather_many(run: Run) -> None:
    async def main() -> None:
        results = await asyncio.gather(*(value(number, number % 5) for number in range(2000)))
        assert list(results) == list(range(2000))

    run(main())


def test_gather_with_an_error(run: Run) -> None:
    async def main() -> None:
        slow = asyncio.create_task(value("slow", 5))
        with pytest.raises(LookupError):
            await asyncio.gather(slow, error(LookupError("lost")))
        assert not slow.done()
        assert await slow == "slow"
        results: Any = await asyncio.gather(value(1), error(LookupError("lost")), return_exceptions=True)
        assert results[0] == 1 and isinstance(results[1], LookupError)

    run(main())


def test_gather_cancelled(run: Run) -> None:
    async def main() -> None:
        children = [asyncio.create_task(forever()) for _ in range(3)]
        gathered = asyncio.gather(*children)
        await asyncio.sleep(0)
        assert gathered.cancel("stop")
        with pytest.raises(asyncio.CancelledError):
            await gathered
        assert all(child.cancelled() for child in children)

    run(main())


def test_gather_with_a_cancelled_child(run: Run) -> None:
    async def main() -> None:
        child = asyncio.create_task(forever())
        gathered = asyncio.gather(child, value(1))
        await asyncio.sleep(0)
        child.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gathered
        child = asyncio.create_task(forever())
        both = asyncio.gather(child, value(1), return_exceptions=True)
        await asyncio.sleep(0)
        child.cancel()
        results: Any = await both
        assert isinstance(results[0], asyncio.CancelledError) and results[1] == 1

    run(main())


def test_wait(run: Run) -> None:
    async def main() -> None:
        tasks = [asyncio.create_task(value(number, 5 * number)) for number in range(3)]
        done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        assert done == {tasks[0]} and pending == set(tasks[1:])
        done, pending = await asyncio.wait(tasks)
        assert done == set(tasks) and not pending
        failing = [asyncio.create_task(error(LookupError())), asyncio.create_task(forever())]
        done, pending = await asyncio.wait(failing, return_when=asyncio.FIRST_EXCEPTION)
        assert {type(task.exception()) for task in done} == {LookupError}
        assert pending == {failing[1]}
        done, pending = await asyncio.wait([failing[1]], timeout=0.001)
        assert not done and pending == {failing[1]}
        failing[1].cancel()

    run(main())


def test_wait_for(run: Run) -> None:
    async def main() -> None:
        assert await asyncio.wait_for(value("in time"), 10) == "in time"
        assert await asyncio.wait_for(value("no limit"), None) == "no limit"
        task = asyncio.create_task(forever())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(task, 0.001)
        assert task.cancelled()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(forever(), 0)
        done = asyncio.create_task(value("done"))
        await turns(3)
        assert await asyncio.wait_for(done, 0) == "done"
        with pytest.raises(LookupError):
            await asyncio.wait_for(error(LookupError()), 10)

    run(main())


def test_wait_for_cancelled(run: Run) -> None:
    async def main() -> None:
        inner = asyncio.create_task(forever())
        outer = asyncio.create_task(asyncio.wait_for(inner, 1000))
        await turns(2)
        outer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await outer
        assert inner.cancelled()

    run(main())


def test_timeout(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(1000) as limit:
            when = limit.when()
            assert when is not None and when > loop.time()
            await asyncio.sleep(0)
        assert not limit.expired()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001) as limit:
                await forever()
        assert limit.expired()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout_at(loop.time() - 1):
                await asyncio.sleep(0)
                raise AssertionError
        async with asyncio.timeout(None) as limit:
            assert limit.when() is None
            limit.reschedule(loop.time() + 1000)
            await asyncio.sleep(0)
        me = asyncio.current_task()
        assert me is not None and me.cancelling() == 0

    run(main())


def test_timeouts_inside_each_other(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001) as outer:
                async with asyncio.timeout(1000) as inner:
                    await forever()
        assert outer.expired() and not inner.expired()
        async with asyncio.timeout(1000) as outer:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.001) as inner:
                    await forever()
        assert inner.expired() and not outer.expired()

    run(main())


def test_many_timeouts(run: Run) -> None:
    async def main() -> None:
        async def child(number: int) -> str:
            try:
                async with asyncio.timeout(0.001 if number % 2 else 1000):
                    if number % 2:
                        await forever()
                    await turns(3)
            except TimeoutError:
                return "late"
            return "in time"

        results = await asyncio.gather(*(child(number) for number in range(200)))
        assert list(results) == ["in time", "late"] * 100

    run(main())


def test_task_group(run: Run) -> None:
    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(value(number, number), name=f"child {number}") for number in range(5)]
            assert tasks[2].get_name() == "child 2"
        assert [task.result() for task in tasks] == [0, 1, 2, 3, 4]

    run(main())


def test_task_group_with_errors(run: Run) -> None:
    async def main() -> None:
        waiting = None
        with pytest.raises(ExceptionGroup) as info:
            async with asyncio.TaskGroup() as group:
                waiting = group.create_task(forever())
                group.create_task(error(LookupError("one")))
                group.create_task(error(ValueError("two")))
        assert {type(exc) for exc in info.value.exceptions} == {LookupError, ValueError}
        assert waiting is not None and waiting.cancelled()
        with pytest.raises(ExceptionGroup) as info:
            async with asyncio.TaskGroup() as group:
                group.create_task(forever())
                await asyncio.sleep(0)
                raise LookupError("in the body")
        assert [type(exc) for exc in info.value.exceptions] == [LookupError]

    run(main())


def test_task_group_cancelled_from_outside(run: Run) -> None:
    async def main() -> None:
        children: list[asyncio.Task[None]] = []

        async def parent() -> None:
            async with asyncio.TaskGroup() as group:
                children.extend(group.create_task(forever()) for _ in range(3))

        task = asyncio.create_task(parent())
        await turns(3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert all(child.cancelled() for child in children)

    run(main())


def test_shield(run: Run) -> None:
    async def main() -> None:
        inner = asyncio.create_task(value("kept", 5))
        outer = asyncio.shield(inner)
        await asyncio.sleep(0)
        outer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await outer
        assert not inner.cancelled()
        assert await inner == "kept"
        assert await asyncio.shield(value("through")) == "through"

    run(main())


def test_as_completed(run: Run) -> None:
    async def main() -> None:
        results = [await nxt for nxt in asyncio.as_completed([value("slow", 5), value("quick", 1)])]
        assert results == ["quick", "slow"]
        with pytest.raises(TimeoutError):
            for nxt in asyncio.as_completed([asyncio.create_task(forever())], timeout=0.001):
                await nxt

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 13), reason="async for over as_completed is new in Python 3.13")
def test_as_completed_gives_the_tasks_themselves(run: Run) -> None:
    async def main() -> None:
        tasks = [asyncio.create_task(value("slow", 5)), asyncio.create_task(value("quick", 1))]
        completed: Any = asyncio.as_completed(tasks)
        assert [task async for task in completed] == [tasks[1], tasks[0]]

    run(main())


def test_run_coroutine_threadsafe(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        def work() -> Any:
            return asyncio.run_coroutine_threadsafe(value("from a thread"), loop).result(10)

        assert await asyncio.to_thread(work) == "from a thread"

        def fail() -> None:
            asyncio.run_coroutine_threadsafe(error(LookupError("lost")), loop).result(10)

        with pytest.raises(LookupError, match="lost"):
            await asyncio.to_thread(fail)

    run(main())


def test_locks(run: Run) -> None:
    async def main() -> None:
        lock = asyncio.Lock()
        inside = 0
        most = 0

        async def child() -> None:
            nonlocal inside, most
            async with lock:
                inside += 1
                most = max(most, inside)
                await turns(2)
                inside -= 1

        await asyncio.gather(*(child() for _ in range(20)))
        assert most == 1 and not lock.locked()

    run(main())


def test_cancelling_a_waiter_of_a_lock(run: Run) -> None:
    async def main() -> None:
        lock = asyncio.Lock()
        await lock.acquire()
        waiters = [asyncio.create_task(lock.acquire()) for _ in range(3)]
        await asyncio.sleep(0)
        waiters[0].cancel()
        lock.release()
        assert await waiters[1]
        assert waiters[0].cancelled() and not waiters[2].done()
        lock.release()
        assert await waiters[2]

    run(main())


def test_a_queue_passes_everything_on(run: Run) -> None:
    async def main() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue(maxsize=3)
        got: list[int] = []

        async def produce(start: int) -> None:
            for number in range(start, start + 50):
                await queue.put(number)

        async def consume() -> None:
            while True:
                got.append(await queue.get())
                queue.task_done()

        consumers = [asyncio.create_task(consume()) for _ in range(3)]
        await asyncio.gather(produce(0), produce(50))
        await queue.join()
        for consumer in consumers:
            consumer.cancel()
        assert sorted(got) == list(range(100))

    run(main())


def test_barriers(run: Run) -> None:
    async def main() -> None:
        barrier = asyncio.Barrier(3)
        results = await asyncio.gather(*(barrier.wait() for _ in range(3)))
        assert sorted(results) == [0, 1, 2]

    run(main())


def test_sleep(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        before = loop.time()
        assert await asyncio.sleep(0.005, "slept") == "slept"
        assert loop.time() - before >= 0.005 - 1e-6
        assert await asyncio.sleep(-1, "at once") == "at once"

    run(main())


def test_a_cancelled_sleep_leaves_nothing_behind(run: Run) -> None:
    async def main() -> None:
        class Thing: ...

        thing = Thing()
        ref = weakref.ref(thing)
        task = asyncio.create_task(asyncio.sleep(1000, thing))
        del thing
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        del task
        await asyncio.sleep(0)
        gc.collect()
        assert ref() is None

    run(main())


def test_shutdown_of_async_generators(run: Run) -> None:
    closed: list[int] = []

    async def numbers(name: int) -> AsyncIterator[int]:
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(0)
            closed.append(name)

    async def main() -> None:
        kept = [numbers(number) for number in range(3)]
        for generator in kept:
            await anext(generator)
        main.kept = kept  # type: ignore[attr-defined]

    run(main())
    assert sorted(closed) == [0, 1, 2]


def test_a_lost_async_generator_is_closed_by_the_loop(run: Run, errors: list[Context]) -> None:
    async def main() -> None:
        closed = asyncio.Event()

        async def numbers() -> AsyncIterator[int]:
            try:
                yield 1
            finally:
                await asyncio.sleep(0)
                closed.set()

        generator = numbers()
        await anext(generator)
        del generator
        gc.collect()
        await closed.wait()

    run(main())
    assert errors == []
