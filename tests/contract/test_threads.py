"""Loops and threads: calls from other threads, loops in other threads, several at the same time."""

import asyncio
import concurrent.futures
import sys
import threading
from typing import Any

import pytest

from .support import Loop, LoopFactory, Run, turns


def test_a_flood_from_many_threads(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        got: list[tuple[int, int]] = []

        def flood(thread_number: int) -> None:
            for number in range(500):
                loop.call_soon_threadsafe(got.append, (thread_number, number))

        await asyncio.gather(*(asyncio.to_thread(flood, number) for number in range(4)))
        while len(got) < 2000:
            await asyncio.sleep(0)
        for thread_number in range(4):
            assert [number for who, number in got if who == thread_number] == list(range(500))

    run(main())


def test_a_flood_while_the_loop_is_busy(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        count = 0

        def step() -> None:
            nonlocal count
            count += 1

        def flood() -> None:
            for _ in range(2000):
                loop.call_soon_threadsafe(step)

        thread = threading.Thread(daemon=True, target=flood)
        thread.start()
        while thread.is_alive():
            await turns(10)
        thread.join()
        await turns(2)
        assert count == 2000

    run(main())


def test_round_trips(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def double(number: int) -> int:
            await asyncio.sleep(0)
            return 2 * number

        def work() -> list[int]:
            return [
                asyncio.run_coroutine_threadsafe(double(number), loop).result(10) for number in range(100)
            ]

        assert await asyncio.to_thread(work) == [2 * number for number in range(100)]

    run(main())


def test_cancelling_from_another_thread(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        cancelled = asyncio.Event()

        async def wait() -> None:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                cancelled.set()
                raise

        def work() -> None:
            future = asyncio.run_coroutine_threadsafe(wait(), loop)
            with pytest.raises(concurrent.futures.TimeoutError):
                future.result(0.01)
            assert future.cancel()

        await asyncio.to_thread(work)
        await asyncio.wait_for(cancelled.wait(), 10)

    run(main())


def test_cancelling_a_threadsafe_handle(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ran: list[str] = []

        def work() -> None:
            # The loop stands still here, so the handle cannot have run.
            handle = loop.call_soon_threadsafe(ran.append, "cancelled")
            handle.cancel()
            assert handle.cancelled()
            loop.call_soon_threadsafe(ran.append, "kept")

        thread = threading.Thread(daemon=True, target=work)
        thread.start()
        thread.join()
        await turns(2)
        assert ran == ["kept"]

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 14), reason="threadsafe handles are locked since Python 3.14")
def test_a_threadsafe_handle_does_not_hang_on_itself(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        handles: list[asyncio.Handle] = []

        def callback() -> None:
            handles[0].cancel()
            done.set_result(handles[0].cancelled())

        handles.append(loop.call_soon_threadsafe(callback))
        assert await done is True

    run(main())


def test_loops_in_several_threads(loop_factory: LoopFactory) -> None:
    loops = [loop_factory() for _ in range(4)]
    results: list[Any] = [None] * 4

    def work(number: int) -> None:
        async def main() -> int:
            assert asyncio.get_running_loop() is loops[number]
            task = asyncio.current_task()
            assert task is not None
            for _ in range(50):
                await asyncio.sleep(0)
                assert asyncio.current_task() is task
                assert asyncio.all_tasks() == {task}
            await asyncio.sleep(0.001)
            return number

        results[number] = loops[number].run_until_complete(main())

    threads = [threading.Thread(daemon=True, target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [0, 1, 2, 3]


def test_loops_that_call_each_other(loop_factory: LoopFactory) -> None:
    here, there = loop_factory(), loop_factory()
    ready = threading.Event()

    def work() -> None:
        there.call_soon(ready.set)
        there.run_forever()

    thread = threading.Thread(daemon=True, target=work)
    thread.start()
    ready.wait(10)

    async def remote(number: int) -> int:
        assert asyncio.get_running_loop() is there
        await asyncio.sleep(0)
        return number + 1

    async def main() -> int:
        number = 0
        for _ in range(50):
            future = asyncio.run_coroutine_threadsafe(remote(number), there)
            number = await asyncio.wrap_future(future)
        return number

    assert here.run_until_complete(main()) == 50
    there.call_soon_threadsafe(there.stop)
    thread.join()


def test_a_loop_made_here_and_run_there(loop: Loop) -> None:
    results: list[str] = []
    loop.call_soon(results.append, "scheduled here")
    thread = threading.Thread(
        daemon=True, target=lambda: results.append(loop.run_until_complete(asyncio.sleep(0, "ran there")))
    )
    thread.start()
    thread.join()
    assert results == ["scheduled here", "ran there"]
    assert loop.run_until_complete(asyncio.sleep(0, "ran here")) == "ran here"


def test_calling_a_closed_loop_from_another_thread(loop_factory: LoopFactory) -> None:
    loop = loop_factory()
    loop.close()
    raised: list[str] = []

    def work() -> None:
        try:
            loop.call_soon_threadsafe(print)
        except RuntimeError as exc:
            raised.append(str(exc))

    thread = threading.Thread(daemon=True, target=work)
    thread.start()
    thread.join()
    assert raised == ["Event loop is closed"]


def test_calls_race_with_closing(loop_factory: LoopFactory) -> None:
    for _ in range(5):
        loop = loop_factory()
        started = threading.Event()
        ended: list[str] = []

        def flood(loop: Loop = loop, started: threading.Event = started, ended: list[str] = ended) -> None:
            try:
                while True:
                    loop.call_soon_threadsafe(int)
                    started.set()
            except RuntimeError as exc:
                ended.append(str(exc))

        thread = threading.Thread(daemon=True, target=flood)
        thread.start()
        started.wait(10)
        loop.run_until_complete(asyncio.sleep(0.001))
        loop.close()
        thread.join()
        assert ended == ["Event loop is closed"]


def test_many_wake_ups_do_not_fill_the_pipe(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        count = 0

        def step() -> None:
            nonlocal count
            count += 1

        # While the loop stands still: more wake-ups than any pipe holds.
        for _ in range(20_000):
            loop.call_soon_threadsafe(step)
        await turns(2)
        assert count == 20_000

    run(main())


def test_a_debug_loop_in_a_thread(loop_factory: LoopFactory) -> None:
    loop = loop_factory()
    loop.set_debug(True)
    results: list[Any] = []

    def work() -> None:
        results.append(loop.run_until_complete(asyncio.sleep(0.001, "ran")))

    thread = threading.Thread(daemon=True, target=work)
    thread.start()
    thread.join()
    assert results == ["ran"]
