"""Debug mode: checks of thread and callable, slow-callback warnings, where things were made."""

import asyncio
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from .support import Context, Loop, Run, run_turns


@pytest.fixture(autouse=True)
def debug(request: pytest.FixtureRequest) -> None:
    """Put the loop, where the test asks for one, into debug mode."""
    if "loop" in request.fixturenames:
        request.getfixturevalue("loop").set_debug(True)


def test_debug_is_off_unless_asked_for(loop: Loop) -> None:
    assert loop.get_debug() is True
    loop.set_debug(False)
    assert loop.get_debug() is False


def test_run_with_debug(run: Run) -> None:
    async def main() -> bool:
        return asyncio.get_running_loop().get_debug()

    assert run(main(), debug=True) is True
    assert run(main(), debug=False) is False


def in_thread(function: Any, *args: Any) -> BaseException | None:
    """Call a function in another thread, and return what it raised."""
    raised: list[BaseException] = []

    def work() -> None:
        try:
            function(*args)
        except BaseException as exc:  # noqa: BLE001 - it is handed to the test
            raised.append(exc)

    thread = threading.Thread(daemon=True, target=work)
    thread.start()
    thread.join()
    return raised[0] if raised else None


@pytest.mark.parametrize("method", ["call_soon", "call_later", "call_at"])
def test_calls_from_the_wrong_thread(run: Run, method: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        args: tuple[Any, ...] = (print,) if method == "call_soon" else (1.0, print)
        error = in_thread(getattr(loop, method), *args)
        assert isinstance(error, RuntimeError)
        assert str(error) == "Non-thread-safe operation invoked on an event loop other than the current one"
        assert in_thread(loop.call_soon_threadsafe, int) is None

    run(main(), debug=True)


def test_the_thread_is_not_checked_while_the_loop_stands(loop: Loop) -> None:
    assert in_thread(loop.call_soon, int) is None
    run_turns(loop)


def test_the_thread_is_not_checked_without_debug_mode(run: Run) -> None:
    async def main() -> None:
        assert in_thread(asyncio.get_running_loop().call_soon, int) is None
        await asyncio.sleep(0)

    run(main(), debug=False)


@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe", "call_later", "call_at"])
def test_callables_are_checked(loop: Loop, method: str) -> None:
    async def coroutine_function() -> None: ...

    prefix: tuple[Any, ...] = (1.0,) if method in ("call_later", "call_at") else ()
    # asyncio names call_at for both kinds of timer.
    shown = "call_at" if method == "call_later" else method
    schedule = getattr(loop, method)
    with pytest.raises(TypeError, match=rf"^a callable object was expected by {shown}\(\), got 42$"):
        schedule(*prefix, 42)
    with pytest.raises(TypeError, match=rf"^coroutines cannot be used with {shown}\(\)$"):
        schedule(*prefix, coroutine_function)
    coroutine = coroutine_function()
    with pytest.raises(TypeError, match=rf"^coroutines cannot be used with {shown}\(\)$"):
        schedule(*prefix, coroutine)
    coroutine.close()


def test_run_in_executor_is_checked(loop: Loop) -> None:
    async def coroutine_function() -> None: ...

    target: Any = loop
    with pytest.raises(TypeError, match=r"coroutines cannot be used with run_in_executor\(\)"):
        target.run_in_executor(None, coroutine_function)


def slow() -> None:
    """Take longer than the limit that the tests set."""
    end = time.monotonic() + 0.003
    while time.monotonic() < end:
        pass


def warnings_of(loop: Loop, caplog: pytest.LogCaptureFixture, run: Callable[[], object]) -> list[str]:
    """Run something with a low limit, and return the warnings that name ``slow`` or ``main``.

    Others may be there too: on a busy machine anything can take long.
    """
    target: Any = loop
    assert target.slow_callback_duration == 0.1
    target.slow_callback_duration = 0.002
    with caplog.at_level(logging.WARNING, logger="asyncio"):
        run()
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    messages = [record.getMessage() for record in caplog.records]
    assert all(message.startswith("Executing <") for message in messages)
    assert all(message.endswith(" seconds") for message in messages)
    return [message for message in messages if "slow()" in message or "main()" in message]


def test_a_slow_callback_is_logged(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    handle = loop.call_soon(slow)
    text = repr(handle)
    (message,) = warnings_of(loop, caplog, lambda: run_turns(loop))
    assert message.startswith(f"Executing {text} took 0.")


def test_the_logger_is_looked_up_when_it_is_used(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tools and tests replace asyncio.base_events.logger."""
    logger = mock.Mock()
    monkeypatch.setattr("asyncio.base_events.logger", logger)
    loop.slow_callback_duration = 0.002
    loop.call_soon(slow)
    run_turns(loop)
    text, *values = logger.warning.call_args.args
    assert (text % tuple(values)).startswith("Executing <Handle slow()")


def test_a_slow_task_is_logged_by_its_task(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        await asyncio.sleep(0)
        slow()

    messages = warnings_of(loop, caplog, lambda: loop.run_until_complete(main()))
    assert messages[-1].startswith("Executing <Task finished name='Task-")
    assert "main() done, defined at" in messages[-1]
    assert "created at" in messages[-1]


def test_a_slow_timer_and_reader_are_logged(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    near, far = socket.socketpair()
    with near, far:
        far.send(b"x")
        loop.add_reader(near, slow)
        loop.call_later(-1, slow)
        messages = warnings_of(loop, caplog, lambda: run_turns(loop))
        loop.remove_reader(near)
    assert len(messages) == 2
    assert messages[0].startswith("Executing <Handle slow()")
    assert messages[1].startswith("Executing <TimerHandle when=")


def test_nothing_is_logged_without_debug_mode(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    target: Any = loop
    loop.set_debug(False)
    target.slow_callback_duration = 0.0
    loop.call_soon(slow)
    with caplog.at_level(logging.WARNING, logger="asyncio"):
        run_turns(loop)
    assert not caplog.records


def source(thing: Any) -> tuple[str, int]:
    """Return where something was made, as debug mode keeps it: the last line that is not asyncio's own."""
    places = [(frame.filename, frame.lineno) for frame in thing._source_traceback]
    while "asyncio" in places[-1][0]:
        places.pop()
    return places[-1]


def test_handles_know_where_they_were_made(loop: Loop) -> None:
    line = sys._getframe().f_lineno
    soon = loop.call_soon(print)
    later = loop.call_later(1, print)
    at = loop.call_at(1, print)
    threadsafe = loop.call_soon_threadsafe(print)
    assert source(soon) == (__file__, line + 1)
    assert source(later) == (__file__, line + 2)
    assert source(at) == (__file__, line + 3)
    assert source(threadsafe) == (__file__, line + 4)
    soon.cancel()
    threadsafe.cancel()


def test_futures_and_tasks_know_where_they_were_made(loop: Loop) -> None:
    async def main() -> None:
        line = sys._getframe().f_lineno
        future = loop.create_future()
        task = loop.create_task(asyncio.sleep(0))
        other = asyncio.create_task(asyncio.sleep(0))
        stock: asyncio.Future[None] = asyncio.Future(loop=loop)
        assert source(future) == (__file__, line + 1)
        assert source(task) == (__file__, line + 2)
        assert source(other) == (__file__, line + 3)
        assert source(stock) == (__file__, line + 4)
        assert "created at " in repr(future)
        assert f"created at {__file__}:{line + 4}>" in repr(stock)
        assert f"created at {__file__}:{line + 2}>" in repr(task)
        await task
        await other

    loop.run_until_complete(main())


def test_nothing_knows_where_it_was_made_without_debug_mode(loop: Loop) -> None:
    loop.set_debug(False)
    things: list[Any] = [loop.call_soon(int), loop.call_later(-1, int), loop.create_future()]
    task: Any = loop.create_task(asyncio.sleep(0))
    assert [thing._source_traceback for thing in (*things, task)] == [None] * 4
    loop.run_until_complete(task)


def test_a_forgotten_exception_says_where_its_future_was_made(loop: Loop, errors: list[Context]) -> None:
    line = sys._getframe().f_lineno + 1
    future = loop.create_future()
    future.set_exception(ValueError("forgotten"))
    del future
    (context,) = errors
    assert context["message"] == "Future exception was never retrieved"
    assert (__file__, line) in [(frame.filename, frame.lineno) for frame in context["source_traceback"][-2:]]


def test_coroutine_origins_are_tracked_while_running(loop: Loop) -> None:
    depths: list[int] = []
    before = sys.get_coroutine_origin_tracking_depth()
    loop.call_soon(lambda: depths.append(sys.get_coroutine_origin_tracking_depth()))
    run_turns(loop)
    loop.set_debug(False)
    loop.call_soon(lambda: depths.append(sys.get_coroutine_origin_tracking_depth()))
    run_turns(loop)
    assert depths[0] > 0
    assert depths[1] == before == sys.get_coroutine_origin_tracking_depth()


def test_debug_mode_is_switched_while_running(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_debug(True)
        await asyncio.sleep(0)
        with pytest.raises(TypeError, match="a callable object was expected"):
            loop.call_soon(42)  # type: ignore[arg-type]
        loop.set_debug(False)
        await asyncio.sleep(0)

    run(main())
