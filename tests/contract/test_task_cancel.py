"""Cancelling tasks: cancel, uncancel, cancelling, messages, swallowing, and when it is delivered."""

import asyncio
from typing import Any

import pytest

from .support import Context, Run, turns


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


def test_cancel_before_the_start(run: Run) -> None:
    async def main() -> None:
        started = False

        async def child() -> None:
            nonlocal started
            started = True

        task = asyncio.create_task(child())
        assert task.cancel()
        assert not task.done()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled() and task.done()
        assert not started

    run(main())


def test_cancel_while_waiting(run: Run) -> None:
    async def main() -> None:
        trace: list[str] = []
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def child() -> None:
            try:
                await future
            except asyncio.CancelledError:
                trace.append("cancelled")
                raise
            finally:
                trace.append("finally")

        task = asyncio.create_task(child())
        await asyncio.sleep(0)
        assert task.cancel()
        assert future.cancelled()
        assert not task.done()
        await asyncio.sleep(0)
        assert task.cancelled()
        assert trace == ["cancelled", "finally"]
        with pytest.raises(asyncio.CancelledError):
            task.result()
        with pytest.raises(asyncio.CancelledError):
            task.exception()

    run(main())


def test_cancel_while_waiting_for_a_task(run: Run) -> None:
    async def main() -> None:
        inner = asyncio.create_task(forever())

        async def child() -> None:
            await inner

        outer = asyncio.create_task(child())
        await turns(2)
        outer.cancel()
        assert inner.cancelling() == 1
        with pytest.raises(asyncio.CancelledError):
            await outer
        assert inner.cancelled()

    run(main())


def test_cancel_while_ready(run: Run) -> None:
    async def main() -> None:
        trace: list[str] = []

        async def child() -> None:
            try:
                while True:
                    trace.append("turn")
                    await asyncio.sleep(0)
            except asyncio.CancelledError:
                trace.append("cancelled")
                raise

        task = asyncio.create_task(child())
        await turns(2)
        task.cancel()
        await turns(2)
        assert task.cancelled()
        assert trace == ["turn", "turn", "cancelled"]

    run(main())


def test_cancel_when_the_future_is_already_done(run: Run) -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()

        async def child() -> str:
            try:
                await future
            except asyncio.CancelledError:
                return "cancelled"
            return "result"

        task = asyncio.create_task(child())
        await asyncio.sleep(0)
        future.set_result(None)
        assert task.cancel()
        assert await task == "cancelled"

    run(main())


def test_cancel_by_itself(run: Run) -> None:
    async def main() -> None:
        trace: list[str] = []

        async def child() -> None:
            me = asyncio.current_task()
            assert me is not None
            me.cancel()
            trace.append("goes on until it waits")
            await asyncio.sleep(0)
            trace.append("not reached")

        task = asyncio.create_task(child())
        with pytest.raises(asyncio.CancelledError):
            await task
        assert trace == ["goes on until it waits"]

    run(main())


def test_cancel_by_itself_at_its_end(run: Run) -> None:
    async def main() -> None:
        async def child() -> str:
            me = asyncio.current_task()
            assert me is not None
            me.cancel()
            return "dropped"

        task = asyncio.create_task(child())
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()

    run(main())


def test_cancel_by_itself_before_an_error(run: Run) -> None:
    async def main() -> None:
        async def child() -> None:
            me = asyncio.current_task()
            assert me is not None
            me.cancel()
            raise LookupError("lost")

        task = asyncio.create_task(child())
        with pytest.raises(LookupError):
            await task
        assert not task.cancelled()

    run(main())


def test_a_swallowed_cancel(run: Run) -> None:
    async def main() -> None:
        async def child() -> str:
            try:
                await forever()
            except asyncio.CancelledError:
                pass
            await asyncio.sleep(0)
            return "survived"

        task = asyncio.create_task(child())
        await asyncio.sleep(0)
        task.cancel()
        assert await task == "survived"
        assert not task.cancelled()
        assert task.cancelling() == 1

    run(main())


def test_a_cancel_in_finally(run: Run) -> None:
    async def main() -> None:
        trace: list[str] = []

        async def child() -> None:
            try:
                await forever()
            finally:
                trace.append("first")
                try:
                    await forever()
                finally:
                    trace.append("second")

        task = asyncio.create_task(child())
        await asyncio.sleep(0)
        task.cancel()
        await turns(2)
        assert trace == ["first"]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert trace == ["first", "second"]
        assert task.cancelling() == 2

    run(main())


def test_cancelling_counts(run: Run) -> None:
    async def main() -> None:
        task = asyncio.create_task(forever())
        assert task.cancelling() == 0
        assert task.uncancel() == 0
        await asyncio.sleep(0)
        assert task.cancel() and task.cancel() and task.cancel()
        assert task.cancelling() == 3
        assert task.uncancel() == 2
        assert task.cancelling() == 2
        assert task.uncancel() == 1
        assert task.uncancel() == 0
        assert task.uncancel() == 0
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())


def test_cancel_of_a_done_task(run: Run) -> None:
    async def main() -> None:
        task = asyncio.create_task(asyncio.sleep(0, "done"))
        assert await task == "done"
        assert task.cancel() is False
        assert task.cancelling() == 0
        assert task.result() == "done"
        cancelled = asyncio.create_task(forever())
        cancelled.cancel()
        await turns(2)
        assert cancelled.cancelled()
        assert cancelled.cancel() is False

    run(main())


def test_messages(run: Run) -> None:
    async def main() -> None:
        started = asyncio.create_task(forever())
        await asyncio.sleep(0)
        started.cancel("while waiting")
        fresh = asyncio.create_task(forever())
        fresh.cancel("before the start")
        for task, text in ((started, "while waiting"), (fresh, "before the start")):
            with pytest.raises(asyncio.CancelledError) as info:
                await task
            assert info.value.args == (text,)
        plain = asyncio.create_task(forever())
        await asyncio.sleep(0)
        plain.cancel()
        with pytest.raises(asyncio.CancelledError) as info:
            await plain
        assert info.value.args == ()
        odd = asyncio.create_task(forever())
        await asyncio.sleep(0)
        odd.cancel(msg=42)
        with pytest.raises(asyncio.CancelledError) as info:
            await odd
        assert info.value.args == (42,)

    run(main())


def test_the_message_reaches_the_coroutine(run: Run) -> None:
    async def main() -> None:
        async def child() -> object:
            try:
                await forever()
            except asyncio.CancelledError as exc:
                return exc.args
            raise AssertionError

        task = asyncio.create_task(child())
        await asyncio.sleep(0)
        task.cancel("reason")
        assert await task == ("reason",)

    run(main())


def test_the_traceback_of_a_cancel_leads_to_the_await(run: Run) -> None:
    async def main() -> None:
        task = asyncio.create_task(forever())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as info:
            await task
        assert "forever" in [entry.name for entry in info.traceback]

    run(main())


def test_raising_cancelled_error_by_hand(run: Run) -> None:
    async def main() -> None:
        async def child() -> None:
            raise asyncio.CancelledError("by hand")

        task = asyncio.create_task(child())
        with pytest.raises(asyncio.CancelledError, match="by hand"):
            await task
        assert task.cancelled()

    run(main())


def test_awaiting_a_cancelled_task_does_not_cancel_the_waiter_itself(run: Run) -> None:
    async def main() -> None:
        task = asyncio.create_task(forever())
        await asyncio.sleep(0)
        task.cancel()
        me = asyncio.current_task()
        assert me is not None
        try:
            await task
        except asyncio.CancelledError:
            assert me.cancelling() == 0
        await asyncio.sleep(0)

    run(main())


def test_two_waiters_of_a_cancelled_future(run: Run) -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()

        async def child() -> None:
            await future

        tasks = [asyncio.create_task(child()) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await turns(2)
        # Cancelling one waiter cancels the future, and with it the others.
        assert all(task.cancelled() for task in tasks)

    run(main())


def test_cancel_from_a_callback(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(forever())
        loop.call_soon(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
        late = asyncio.create_task(forever())
        loop.call_later(0.001, late.cancel, "by a timer")
        with pytest.raises(asyncio.CancelledError, match="by a timer"):
            await late

    run(main())


def test_cancel_many(run: Run) -> None:
    async def main() -> None:
        tasks = [asyncio.create_task(forever()) for _ in range(500)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)

    run(main())


def test_a_must_cancel_flag_is_seen(run: Run) -> None:
    async def main() -> None:
        task: Any = asyncio.create_task(forever())
        assert task._must_cancel is False
        task.cancel("early")
        assert task._must_cancel is True
        assert task._cancel_message == "early"
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task._must_cancel is False

    run(main())


def test_uncancel_withdraws_a_cancel_not_yet_delivered(run: Run) -> None:
    async def main() -> str:
        task = asyncio.create_task(asyncio.sleep(0, "ran"))
        task.cancel()
        task.uncancel()
        try:
            return await task
        except asyncio.CancelledError:
            return "cancelled"

    import sys

    # Since Python 3.13, uncancel() down to zero also takes back what was not delivered yet.
    assert run(main()) == ("ran" if sys.version_info >= (3, 13) else "cancelled")


def test_the_loop_goes_on_after_an_error_in_cleaning_up(run: Run, errors: list[Context]) -> None:
    async def main() -> None:
        async def child() -> None:
            try:
                await forever()
            finally:
                raise LookupError("while cleaning up")

        task = asyncio.create_task(child())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(LookupError) as info:
            await task
        assert isinstance(info.value.__context__, asyncio.CancelledError)

    run(main())
    assert errors == []
