"""Forking: the child can use a new loop, and the parent's goes on undisturbed."""

import asyncio
import multiprocessing
import os
import socket
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .support import Loop, LoopFactory, Recorder, Run, attach, turns


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """A fork in a process with threads warns on newer Pythons; here it does nothing but what is tested."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def in_child(work: Callable[[], object]) -> int:
    """Run a function in a forked child; return its exit code, which is 0 if nothing was raised."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:  # noqa: BLE001 - the child must end here, whatever happens
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def use(factory: Callable[[], Loop]) -> None:
    """Use a new loop for a little of everything."""

    async def main() -> str:
        near, far = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=near)
        with far:
            far.sendall(b"hello")
            assert await reader.readexactly(5) == b"hello"
            writer.close()
            await writer.wait_closed()
        assert await asyncio.gather(asyncio.sleep(0.001, 1), asyncio.sleep(0, 2)) == [1, 2]  # type: ignore[comparison-overlap]
        return "used"

    with asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(main()) == "used"


def test_a_child_of_a_plain_process(loop_factory: LoopFactory) -> None:
    assert in_child(lambda: use(loop_factory)) == 0
    use(loop_factory)


def test_a_child_of_a_process_with_a_used_loop(loop_factory: LoopFactory) -> None:
    use(loop_factory)
    assert in_child(lambda: use(loop_factory)) == 0
    use(loop_factory)


def test_a_child_of_a_running_loop(run: Run, loop_factory: LoopFactory) -> None:
    async def main() -> None:
        def child() -> None:
            with pytest.raises(RuntimeError, match="no running event loop"):
                asyncio.get_running_loop()
            use(loop_factory)

        assert in_child(child) == 0
        await asyncio.sleep(0.001)

    run(main())


def test_the_parent_is_undisturbed(run: Run, loop_factory: LoopFactory) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        near, far = socket.socketpair()
        protocol = Recorder()
        transport = await attach(near, protocol)
        timer = loop.create_future()
        loop.call_later(0.005, timer.set_result, "timer")
        assert in_child(lambda: use(loop_factory)) == 0
        # Readiness, wake-ups from threads and timers still reach the parent.
        with far:
            far.sendall(b"still here")
            assert await protocol.until_received(10) == b"still here"
        assert await asyncio.to_thread(lambda: "thread") == "thread"
        assert await timer == "timer"
        assert await protocol.lost is None
        assert transport.is_closing()

    run(main())


def test_the_parent_is_undisturbed_while_the_child_lives(run: Run, loop_factory: LoopFactory) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        hold_read, hold_write = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.close(hold_write)
                use(loop_factory)
                os.read(hold_read, 1)
                code = 0
            finally:
                os._exit(code)
        os.close(hold_read)
        for _ in range(10):
            near, far = socket.socketpair()
            protocol = Recorder()
            transport = await attach(near, protocol)
            far.sendall(b"x")
            await protocol.until_received(1)
            transport.close()
            await protocol.lost
            far.close()
        assert await loop.run_in_executor(None, int) == 0
        os.close(hold_write)
        _, status = await asyncio.to_thread(os.waitpid, pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0

    run(main())


def test_children_of_children(loop_factory: LoopFactory) -> None:
    def child() -> None:
        use(loop_factory)
        assert in_child(lambda: use(loop_factory)) == 0

    assert in_child(child) == 0


def test_a_child_that_leaves_everything_alone(run: Run) -> None:
    async def main() -> None:
        tasks = [asyncio.create_task(asyncio.sleep(0.005, number)) for number in range(5)]
        await turns(2)
        assert in_child(lambda: None) == 0
        assert list(await asyncio.gather(*tasks)) == [0, 1, 2, 3, 4]

    run(main())


def _work(number: int, results: Any) -> None:
    async def main() -> int:
        await asyncio.sleep(0.001)
        return number * number

    results.put(asyncio.run(main()))


def test_multiprocessing_from_a_running_loop(run: Run) -> None:
    async def main() -> None:
        context = multiprocessing.get_context("fork")
        results = context.SimpleQueue()
        processes = [context.Process(target=_work, args=(number, results)) for number in range(3)]
        for process in processes:
            process.start()
        got = [await asyncio.to_thread(results.get) for _ in processes]
        for process in processes:
            process.join()
        assert sorted(got) == [0, 1, 4]

    run(main())
