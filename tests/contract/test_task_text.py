"""What tasks say about themselves: repr, stacks, and the log lines of forgotten tasks and errors."""

import asyncio
import functools
import gc
import io
import logging
import sys
from typing import Any

import pytest

from .support import Context, Loop, Run, noop, run_turns, turns

SHOWS_ARGUMENTS = sys.version_info < (3, 13)


def callback(*_args: object) -> None:
    """Do nothing, at a known line."""


async def wait_for(future: Any) -> None:
    await future


CALLBACK = f"callback() at {__file__}:{callback.__code__.co_firstlineno}"
FIRST = wait_for.__code__.co_firstlineno
RUNNING = f"coro=<wait_for() running at {__file__}:{FIRST}>"
WAITING = f"coro=<wait_for() running at {__file__}:{FIRST + 1}>"
DONE = f"coro=<wait_for() done, defined at {__file__}:{FIRST}>"


def test_the_text_of_a_task_through_its_life(run: Run) -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(wait_for(future), name="T")
        assert repr(task) == f"<Task pending name='T' {RUNNING}>"
        await asyncio.sleep(0)
        wait = "wait_for=<Future pending cb=[Task.task_wakeup()]>"
        assert repr(task) == f"<Task pending name='T' {WAITING} {wait}>"
        task.add_done_callback(callback)
        assert repr(task) == f"<Task pending name='T' {WAITING} {wait} cb=[{CALLBACK}]>"
        future.set_result(1)
        assert (
            repr(task)
            == f"<Task pending name='T' {WAITING} wait_for=<Future finished result=1> cb=[{CALLBACK}]>"
        )
        await task
        assert repr(task) == f"<Task finished name='T' {DONE} result=None>"

    run(main())


def test_the_text_of_a_task_that_fails(run: Run) -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        future.set_exception(LookupError("lost"))
        task = asyncio.create_task(wait_for(future), name="T")
        await asyncio.wait([task])
        assert repr(task) == f"<Task finished name='T' {DONE} exception=LookupError('lost')>"
        task.exception()

    run(main())


def test_the_text_of_a_cancelled_task(run: Run) -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(wait_for(future), name="T")
        task.cancel()
        assert repr(task) == f"<Task cancelling name='T' {RUNNING}>"
        await asyncio.wait([task])
        assert repr(task) == f"<Task cancelled name='T' {DONE}>"
        task = asyncio.create_task(wait_for(future), name="T")
        await asyncio.sleep(0)
        task.cancel()
        assert repr(task) == f"<Task cancelling name='T' {WAITING} wait_for=<Future cancelled>>"
        await asyncio.wait([task])
        assert repr(task) == f"<Task cancelled name='T' {DONE}>"

    run(main())


def test_the_text_of_a_running_task(run: Run) -> None:
    async def main() -> None:
        text = repr(asyncio.current_task())
        line = sys._getframe().f_lineno - 1
        place = f"test_the_text_of_a_running_task.<locals>.main() running at {__file__}:{line}"
        assert f" coro=<{place}> cb=[_run_until_complete_cb() at " in text
        assert text.startswith("<Task pending name='Task-")

    run(main())


def test_the_text_of_tasks_that_wait_for_each_other(run: Run) -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        first = asyncio.create_task(wait_for(future), name="first")
        await asyncio.sleep(0)
        second = asyncio.create_task(wait_for(first), name="second")
        await asyncio.sleep(0)
        assert repr(second) == f"<Task pending name='second' {WAITING} wait_for={first!r}>"
        assert repr(first).endswith(
            "wait_for=<Future pending cb=[Task.task_wakeup()]> cb=[Task.task_wakeup()]>"
        )
        future.set_result(None)
        await second

    run(main())


def test_the_text_of_a_future_that_tasks_wait_for(run: Run) -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        tasks = [asyncio.create_task(wait_for(future)) for _ in range(3)]
        await asyncio.sleep(0)
        assert repr(future) == "<Future pending cb=[Task.task_wakeup(), <1 more>, Task.task_wakeup()]>"
        future.set_result(None)
        await asyncio.gather(*tasks)

    run(main())


def test_the_text_of_a_sleeping_task(run: Run) -> None:
    async def main() -> None:
        task = asyncio.create_task(asyncio.sleep(1000), name="T")
        await asyncio.sleep(0)
        text = repr(task)
        assert text.startswith("<Task pending name='T' coro=<sleep() running at ")
        assert text.endswith("wait_for=<Future pending cb=[Task.task_wakeup()]>>")
        task.cancel()

    run(main())


def test_the_text_of_other_done_callbacks(run: Run) -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(wait_for(future), name="T")
        task.add_done_callback(functools.partial(callback, 1))
        arguments = "(1)()" if SHOWS_ARGUMENTS else "()()"
        line = callback.__code__.co_firstlineno
        assert repr(task).endswith(f"cb=[callback{arguments} at {__file__}:{line}]>")
        task.cancel()

    run(main())


def test_get_stack(run: Run) -> None:
    async def inner(future: Any) -> None:
        await future

    async def outer(future: Any) -> None:
        await inner(future)

    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(outer(future))
        assert [frame.f_code.co_name for frame in task.get_stack()] == ["outer"]
        await asyncio.sleep(0)
        # Of a suspended task asyncio gives its own coroutine's frame only.
        assert [frame.f_code.co_name for frame in task.get_stack()] == ["outer"]
        assert len(task.get_stack(limit=1)) == 1
        future.set_result(None)
        await task
        assert task.get_stack() == []

    run(main())


def test_get_stack_of_a_failed_task(run: Run) -> None:
    async def inner() -> None:
        raise LookupError("lost")

    async def outer() -> None:
        await inner()

    async def main() -> None:
        task = asyncio.create_task(outer())
        await asyncio.wait([task])
        assert [frame.f_code.co_name for frame in task.get_stack()] == ["outer", "inner"]
        assert [frame.f_code.co_name for frame in task.get_stack(limit=1)] == ["outer"]
        file = io.StringIO()
        task.print_stack(file=file)
        assert "LookupError: lost" in file.getvalue()
        assert f'File "{__file__}", line {inner.__code__.co_firstlineno + 1}, in inner' in file.getvalue()
        assert file.getvalue().startswith("Traceback for <Task finished")
        task.exception()

    run(main())


def test_print_stack(run: Run) -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(wait_for(future), name="T")
        await asyncio.sleep(0)
        file = io.StringIO()
        task.print_stack(file=file)
        lines = file.getvalue().splitlines()
        assert lines[0] == f"Stack for {task!r} (most recent call last):"
        assert lines[1] == f'  File "{__file__}", line {FIRST + 1}, in wait_for'
        future.set_result(None)
        await task
        file = io.StringIO()
        task.print_stack(file=file)
        assert file.getvalue() == f"No stack for {task!r}\n"

    run(main())


async def fail() -> None:
    raise LookupError("forgotten")


def test_a_forgotten_exception_is_reported(run: Run, errors: list[Context], no_gc: None) -> None:
    async def main() -> None:
        task: Any = asyncio.create_task(fail(), name="T")
        await turns(2)
        text = repr(task)
        assert errors == []
        assert task._log_traceback is True
        del task
        (context,) = errors
        assert context["message"] == "Task exception was never retrieved"
        assert isinstance(context["exception"], LookupError)
        assert repr(context["future"]) == text
        assert "task" not in context

    run(main())


@pytest.mark.parametrize("look", ["result", "exception", "await", "wait", "switched off"])
def test_a_retrieved_exception_is_not_reported(run: Run, errors: list[Context], look: str) -> None:
    async def main() -> None:
        task: Any = asyncio.create_task(fail())
        await turns(2)
        if look == "result":
            with pytest.raises(LookupError):
                task.result()
        elif look == "exception":
            task.exception()
        elif look == "await":
            with pytest.raises(LookupError):
                await task
        elif look == "wait":
            done, _ = await asyncio.wait([task])
            done.pop().exception()
        else:
            task._log_traceback = False
        del task
        gc.collect()

    run(main())
    assert errors == []


def test_a_forgotten_exception_is_logged(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    loop.set_exception_handler(None)
    with caplog.at_level(logging.ERROR, logger="asyncio"):
        loop.create_task(fail(), name="T")
        run_turns(loop, 3)
        gc.collect()
    (record,) = caplog.records
    message = record.getMessage()
    assert message.startswith(
        "Task exception was never retrieved\nfuture: <Task finished name='T' coro=<fail() done,"
    )
    assert record.exc_info and isinstance(record.exc_info[1], LookupError)


def test_a_pending_task_destroyed_is_reported(loop: Loop, errors: list[Context]) -> None:
    async def hang() -> None:
        await loop.create_future()

    task: Any = loop.create_task(hang(), name="T")
    run_turns(loop, 2)
    del task
    gc.collect()
    (context,) = errors
    assert context["message"] == "Task was destroyed but it is pending!"
    assert repr(context["task"]).startswith("<Task pending name='T' coro=<test_a_pending_task_destroyed")
    assert set(context) == {"message", "task"}


def test_a_pending_task_destroyed_in_debug_mode_says_where_it_was_made(
    loop: Loop, errors: list[Context]
) -> None:
    async def hang() -> None:
        await loop.create_future()

    loop.set_debug(True)
    line = sys._getframe().f_lineno + 1
    task: Any = loop.create_task(hang())
    run_turns(loop, 2)
    del task
    gc.collect()
    (context,) = errors
    assert context["message"] == "Task was destroyed but it is pending!"
    assert context["source_traceback"][-1].lineno == line


def test_a_pending_task_can_be_destroyed_in_silence(loop: Loop, errors: list[Context]) -> None:
    async def hang() -> None:
        await loop.create_future()

    task: Any = loop.create_task(hang())
    assert task._log_destroy_pending is True
    task._log_destroy_pending = False
    run_turns(loop, 2)
    del task
    gc.collect()
    assert errors == []


def test_a_coroutine_never_awaited_warns(run: Run) -> None:
    async def main() -> None:
        def forget() -> None:
            _ = fail()

        with pytest.warns(RuntimeWarning, match="coroutine 'fail' was never awaited"):
            forget()

    run(main())


def test_private_fields_that_tools_read(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        coroutine = wait_for(future)
        task: Any = asyncio.create_task(coroutine)
        assert task._state == "PENDING"
        assert task._fut_waiter is None
        await asyncio.sleep(0)
        assert task._fut_waiter is future
        assert task._coro is coroutine
        assert task._loop is loop
        assert task._callbacks is None
        assert task._exception is None
        assert task._result is None
        assert task._asyncio_future_blocking is False
        task.add_done_callback(noop)
        assert task._callbacks[0][0] is noop
        future.set_result(None)
        await task
        assert task._state == "FINISHED"
        assert task._fut_waiter is None
        task = asyncio.create_task(wait_for(loop.create_future()))
        await asyncio.sleep(0)
        task.cancel()
        await turns(1)
        assert task._state == "CANCELLED"

    run(main())
