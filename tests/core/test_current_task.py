"""The current task is what runs, for whoever asks, however it asks; and nothing once nothing runs."""

import asyncio
import threading
from typing import Any

import pytest

import glassloop

from .own_tasks import needs_own_tasks


def test_it_is_none_in_a_callback_and_outside() -> None:
    loop = glassloop.EventLoop()
    seen: list[object] = []
    loop.call_soon(lambda: seen.append(asyncio.current_task()))
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen == [None]
    assert asyncio.current_task(loop) is None
    loop.close()


def test_it_follows_every_switch() -> None:
    async def child(number: int) -> None:
        mine = asyncio.current_task()
        for turn in range(5):
            assert asyncio.current_task() is mine
            assert asyncio.current_task(asyncio.get_running_loop()) is mine
            await asyncio.sleep(0)
            if (turn + number) % 3:  # not everybody asks at every step
                continue
            assert asyncio.current_task() is mine

    async def main() -> None:
        await asyncio.gather(*(child(number) for number in range(20)))

    glassloop.run(main())


def test_a_callback_between_two_tasks_sees_none() -> None:
    seen: list[object] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert asyncio.current_task() is not None
        loop.call_soon(lambda: seen.append(asyncio.current_task()))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    glassloop.run(main())
    assert seen == [None]


def test_it_is_gone_after_an_error_and_after_a_cancel() -> None:
    async def fail() -> None:
        assert asyncio.current_task() is not None
        raise ValueError

    async def main() -> None:
        tasks = [asyncio.ensure_future(fail()) for _ in range(3)]
        tasks[1].cancel()
        mine = asyncio.current_task()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [ValueError, asyncio.CancelledError, ValueError]
        assert asyncio.current_task() is mine

    loop = glassloop.EventLoop()
    loop.run_until_complete(main())
    assert asyncio.current_task(loop) is None
    loop.close()


def test_another_thread_sees_it() -> None:
    """As far as asyncio lets it: up to 3.13 the dict of current tasks is every thread's."""
    loop = glassloop.EventLoop()
    seen: list[object] = []

    def look() -> None:
        seen.append(asyncio.current_task(loop))

    async def main() -> None:
        thread = threading.Thread(daemon=True, target=look)
        thread.start()
        thread.join()  # the task is running all the time
        assert seen[0] is asyncio.current_task()

    stock = asyncio.SelectorEventLoop()
    try:
        stock_loop, loop_under_test = stock, loop
        loop = stock_loop  # type: ignore[assignment]
        try:
            stock.run_until_complete(main())
        except AssertionError:
            pytest.skip("asyncio itself does not show it to another thread here")
        loop = loop_under_test
        seen.clear()
        loop.run_until_complete(main())
    finally:
        stock.close()
        loop.close()


def test_two_loops_in_two_threads_do_not_mix() -> None:
    async def main() -> None:
        mine = asyncio.current_task()
        for _ in range(200):
            assert asyncio.current_task() is mine
            await asyncio.sleep(0)
            assert asyncio.current_task(asyncio.get_running_loop()) is mine

    errors: list[BaseException] = []

    def run() -> None:
        try:
            glassloop.run(main())
        except BaseException as exc:  # noqa: BLE001 - it is handed to the test
            errors.append(exc)

    threads = [threading.Thread(daemon=True, target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_enter_and_leave_by_hand_nest_as_on_asyncio() -> None:
    """What ``asyncio.tasks._enter_task`` is used for: a library that steps a task itself."""

    async def other() -> None: ...

    async def main() -> list[object]:
        loop = asyncio.get_running_loop()
        outcomes: list[object] = []
        current: Any = asyncio.current_task()
        task = loop.create_task(other())
        try:
            asyncio.tasks._enter_task(loop, task)
        except RuntimeError as exc:
            outcomes.append("Cannot enter into task" in str(exc))
        try:
            asyncio.tasks._leave_task(loop, task)
        except RuntimeError as exc:
            outcomes.append("task" in str(exc))
        outcomes.append(asyncio.current_task() is current)
        asyncio.tasks._leave_task(loop, current)
        outcomes.append(asyncio.current_task())
        asyncio.tasks._enter_task(loop, task)
        outcomes.append(asyncio.current_task() is task)
        asyncio.tasks._leave_task(loop, task)
        asyncio.tasks._enter_task(loop, current)
        outcomes.append(asyncio.current_task() is current)
        await task
        outcomes.append(asyncio.current_task() is current)
        return outcomes

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        expected = runner.run(main())
    assert glassloop.run(main()) == expected == [True, True, True, None, True, True, True]


def test_a_task_in_a_task_is_refused_as_on_asyncio() -> None:
    """A callback steps a task while another one is running: both loops refuse with the same words."""

    async def waits(future: asyncio.Future[None]) -> None:
        await future

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        task = loop.create_task(waits(future))
        await asyncio.sleep(0)
        errors: list[str] = []
        loop.set_exception_handler(lambda _loop, context: errors.append(str(context["exception"])))
        wakeup = future._callbacks[0][0]
        future.set_result(None)
        try:
            wakeup(future)
        except RuntimeError as exc:
            errors.append(str(exc))
        task.cancel()
        await asyncio.sleep(0)
        return [error.partition(" <")[0] for error in errors]

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        expected = runner.run(main())
    assert expected[0] == "Cannot enter into task"
    assert glassloop.run(main())[0] == expected[0]


@needs_own_tasks
def test_it_is_freed_with_its_last_reference() -> None:
    """Publishing the current task for somebody who asks must not keep it."""
    import weakref

    async def child() -> weakref.ref[Any]:
        return weakref.ref(asyncio.current_task())

    async def main() -> None:
        task = asyncio.ensure_future(child())
        reference = await task
        del task
        assert reference() is None

    glassloop.run(main())


def test_all_tasks_shows_unfinished_tasks_alone() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()

        async def waits() -> None:
            await future

        tasks = {loop.create_task(waits()) for _ in range(10)}
        assert asyncio.all_tasks() == tasks | {asyncio.current_task()}
        await asyncio.sleep(0)
        assert asyncio.all_tasks() == tasks | {asyncio.current_task()}
        future.set_result(None)
        await asyncio.wait(tasks)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    glassloop.run(main())


def test_all_tasks_of_one_loop_from_another_thread() -> None:
    """As the monitors do that print what hangs."""
    loop = glassloop.EventLoop()
    started = threading.Event()

    async def waits() -> None:
        await asyncio.sleep(1000)

    async def main() -> None:
        tasks = [asyncio.ensure_future(waits()) for _ in range(50)]
        await asyncio.sleep(0)
        started.set()
        await asyncio.to_thread(looked.wait)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)

    looked = threading.Event()
    thread = threading.Thread(daemon=True, target=lambda: loop.run_until_complete(main()))
    thread.start()
    started.wait()
    seen = asyncio.all_tasks(loop)
    other = glassloop.EventLoop()
    unrelated = asyncio.all_tasks(other)
    looked.set()
    thread.join()
    assert len(seen) == 51 and unrelated == set()
    other.close()
    loop.close()
