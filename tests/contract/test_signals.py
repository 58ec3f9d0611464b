"""Signals: handlers of the loop, plain handlers, Ctrl-C, and that none is lost."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from .support import Context, Loop, LoopFactory, Run, run_turns, turns, until


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Put every signal's handling back as it was."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCHLD, signal.SIGALRM)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)
    assert signal.set_wakeup_fd(-1) == -1


def raise_soon(number: int) -> threading.Thread:
    """Send a signal to the main thread once it sleeps in the loop."""

    def work() -> None:
        time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident or 0, number)

    thread = threading.Thread(daemon=True, target=work)
    thread.start()
    return thread


def test_a_handler(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        got: list[tuple[Any, ...]] = []
        loop.add_signal_handler(signal.SIGUSR1, lambda *args: got.append(args), "with", 2)
        os.kill(os.getpid(), signal.SIGUSR1)
        await until(lambda: got)
        assert got == [("with", 2)]
        os.kill(os.getpid(), signal.SIGUSR1)
        await until(lambda: len(got) == 2)

    run(main())


def test_a_handler_runs_in_the_loop_not_in_the_signal(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        got: list[object] = []
        loop.add_signal_handler(signal.SIGUSR1, lambda: got.append(asyncio.get_running_loop()))
        signal.raise_signal(signal.SIGUSR1)
        assert got == []
        await until(lambda: got)
        assert got == [loop]

    run(main())


def test_a_signal_wakes_a_sleeping_loop(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        woken = loop.create_future()
        loop.add_signal_handler(signal.SIGUSR1, woken.set_result, "woken")
        thread = raise_soon(signal.SIGUSR1)
        assert await woken == "woken"
        thread.join()

    run(main())


def test_several_signals(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        got: list[str] = []
        loop.add_signal_handler(signal.SIGUSR1, got.append, "one")
        loop.add_signal_handler(signal.SIGUSR2, got.append, "two")
        signal.raise_signal(signal.SIGUSR2)
        signal.raise_signal(signal.SIGUSR1)
        await until(lambda: len(got) == 2)
        assert got == ["two", "one"]

    run(main())


def test_a_handler_replaced(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        got: list[str] = []
        loop.add_signal_handler(signal.SIGUSR1, got.append, "old")
        loop.add_signal_handler(signal.SIGUSR1, got.append, "new")
        signal.raise_signal(signal.SIGUSR1)
        await until(lambda: got)
        assert got == ["new"]

    run(main())


def test_removing(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert loop.remove_signal_handler(signal.SIGUSR1) is False
        loop.add_signal_handler(signal.SIGUSR1, print)
        loop.add_signal_handler(signal.SIGUSR2, print)
        loop.add_signal_handler(signal.SIGINT, print)
        assert loop.remove_signal_handler(signal.SIGUSR1) is True
        assert loop.remove_signal_handler(signal.SIGUSR1) is False
        assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
        assert loop.remove_signal_handler(signal.SIGINT) is True
        assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
        assert loop.remove_signal_handler(signal.SIGUSR2) is True

    run(main())


def test_closing_removes_the_handlers(loop_factory: LoopFactory) -> None:
    loop = loop_factory()
    loop.add_signal_handler(signal.SIGUSR1, print)
    loop.close()
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL
    assert signal.set_wakeup_fd(-1) == -1


def test_what_is_refused(run: Run) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()

        async def coroutine_function() -> None: ...

        with pytest.raises(TypeError, match=r"coroutines cannot be used with add_signal_handler\(\)"):
            loop.add_signal_handler(signal.SIGUSR1, coroutine_function)
        coroutine = coroutine_function()
        with pytest.raises(TypeError, match=r"coroutines cannot be used with add_signal_handler\(\)"):
            loop.add_signal_handler(signal.SIGUSR1, coroutine)
        coroutine.close()
        with pytest.raises(TypeError, match="sig must be an int, not 'SIGUSR1'"):
            loop.add_signal_handler("SIGUSR1", print)
        with pytest.raises(ValueError, match="invalid signal number 1000"):
            loop.add_signal_handler(1000, print)
        with pytest.raises(ValueError, match="invalid signal number -1"):
            loop.remove_signal_handler(-1)
        with pytest.raises((RuntimeError, OSError)):
            loop.add_signal_handler(signal.SIGKILL, print)

    run(main())


def test_only_the_main_thread_adds_handlers(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        def work() -> None:
            with pytest.raises(RuntimeError, match="main thread"):
                loop.add_signal_handler(signal.SIGUSR1, print)

        await asyncio.to_thread(work)

    run(main())


def test_a_failing_handler(run: Run, errors: list[Context]) -> None:
    async def main() -> None:
        def fail() -> None:
            raise LookupError("in a signal handler")

        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, fail)
        signal.raise_signal(signal.SIGUSR1)
        await until(lambda: errors)
        assert str(errors[0]["exception"]) == "in a signal handler"

    run(main())


def test_a_signal_between_two_runs_is_not_lost(loop: Loop) -> None:
    got: list[str] = []
    loop.add_signal_handler(signal.SIGUSR1, got.append, "signal")
    run_turns(loop, 2)
    signal.raise_signal(signal.SIGUSR1)
    assert got == []
    run_turns(loop, 5)
    assert got == ["signal"]


def test_a_signal_before_the_first_run_is_not_lost(loop: Loop) -> None:
    got: list[str] = []
    loop.add_signal_handler(signal.SIGUSR1, got.append, "signal")
    signal.raise_signal(signal.SIGUSR1)
    run_turns(loop, 5)
    assert got == ["signal"]


def test_a_storm(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        got = 0

        def count() -> None:
            nonlocal got
            got += 1

        loop.add_signal_handler(signal.SIGUSR1, count)
        for number in range(200):
            signal.raise_signal(signal.SIGUSR1)
            if number % 10 == 0:
                await asyncio.sleep(0)
        await until(lambda: got == 200)

    run(main())


def test_a_storm_from_a_timer_of_the_kernel(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        got = 0

        def count() -> None:
            nonlocal got
            got += 1

        loop.add_signal_handler(signal.SIGALRM, count)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        for _ in range(20):
            await asyncio.sleep(0.001)
        await until(lambda: got >= 10)
        signal.setitimer(signal.ITIMER_REAL, 0)
        await turns(3)

    run(main())


def test_a_child_signal_handler_is_allowed(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        got: list[str] = []
        loop.add_signal_handler(signal.SIGCHLD, got.append, "child")
        process = await asyncio.create_subprocess_exec("true")
        assert await process.wait() == 0
        await until(lambda: got)
        loop.remove_signal_handler(signal.SIGCHLD)

    run(main())


def test_a_plain_handler_runs_while_the_loop_sleeps(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        woken = loop.create_future()

        def handler(_number: int, _frame: object) -> None:
            loop.call_soon_threadsafe(woken.set_result, "woken")

        signal.signal(signal.SIGUSR1, handler)
        thread = raise_soon(signal.SIGUSR1)
        assert await woken == "woken"
        thread.join()

    run(main())


def test_a_plain_handler_that_raises_leaves_the_loop(loop: Loop) -> None:
    class Stop(BaseException): ...

    def handler(_number: int, _frame: object) -> None:
        raise Stop

    signal.signal(signal.SIGUSR1, handler)
    thread = raise_soon(signal.SIGUSR1)
    with pytest.raises(Stop):
        loop.run_forever()
    thread.join()
    assert not loop.is_running()
    loop.run_until_complete(asyncio.sleep(0))


def test_control_c_without_a_runner(loop: Loop) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = raise_soon(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    thread.join()
    loop.run_until_complete(asyncio.sleep(0))


def test_control_c_cancels_the_main_task(run: Run) -> None:
    trace: list[str] = []

    async def main() -> None:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            trace.append("cancelled")
            raise
        finally:
            await asyncio.sleep(0)
            trace.append("cleaned up")

    signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = raise_soon(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(main())
    thread.join()
    assert trace == ["cancelled", "cleaned up"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_control_c_in_a_busy_task(run: Run) -> None:
    trace: list[str] = []

    async def main() -> None:
        signal.raise_signal(signal.SIGINT)
        trace.append("goes on to its next wait")
        try:
            await asyncio.sleep(1000)
        finally:
            trace.append("cancelled")

    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt):
        run(main())
    assert trace == ["goes on to its next wait", "cancelled"]


def test_a_second_control_c_leaves_at_once(run: Run) -> None:
    async def main() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        raise AssertionError

    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt):
        run(main())


def test_a_swallowed_control_c(run: Run) -> None:
    async def main() -> str:
        signal.raise_signal(signal.SIGINT)
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            return "swallowed"
        raise AssertionError

    signal.signal(signal.SIGINT, signal.default_int_handler)
    assert run(main()) == "swallowed"


def test_a_handler_for_control_c(run: Run) -> None:
    async def main() -> str:
        loop = asyncio.get_running_loop()
        got = loop.create_future()
        loop.add_signal_handler(signal.SIGINT, got.set_result, "mine")
        os.kill(os.getpid(), signal.SIGINT)
        result: str = await got
        return result

    assert run(main()) == "mine"


def test_a_loop_outside_the_main_thread_takes_no_signals(loop_factory: LoopFactory) -> None:
    results: list[str] = []

    def work() -> None:
        loop = loop_factory()
        results.append(loop.run_until_complete(asyncio.sleep(0.02, "ran")))
        loop.close()

    got: list[int] = []
    signal.signal(signal.SIGUSR1, lambda number, _frame: got.append(number))
    thread = threading.Thread(daemon=True, target=work)
    thread.start()
    signal.raise_signal(signal.SIGUSR1)
    thread.join()
    assert results == ["ran"]
    assert got == [signal.SIGUSR1]
