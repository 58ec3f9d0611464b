"""offload() to processes: what crosses, what cannot, workers that die, cancellation."""

import asyncio
import concurrent.futures.process
import functools
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

import glassloop
from glassloop._offload import process
from glassloop._offload.pools import cpu_count

from . import jobs

BrokenProcessPool = concurrent.futures.process.BrokenProcessPool


def run_program(path: Path, source: str, *words: str) -> subprocess.CompletedProcess[str]:
    path.write_text(textwrap.dedent(source))
    return subprocess.run([sys.executable, str(path), *words], capture_output=True, text=True, timeout=100)


def test_a_result_and_an_exception() -> None:
    async def main() -> None:
        assert await glassloop.offload(functools.partial(jobs.add, other=3), 2, to="process") == 5
        pid, _ = await glassloop.offload(jobs.where, to="process")
        assert pid != os.getpid()
        data = os.urandom(1 << 20)
        assert await glassloop.offload(bytes.hex, data, to="process") == data.hex()
        with pytest.raises(ValueError, match="the text") as caught:
            await glassloop.offload(jobs.fail, "the text", to="process")
        cause = str(caught.value.__cause__)
        assert "in fail\n" in cause and "_offload/process.py" not in cause

    glassloop.run(main())


def test_many_at_once_use_as_many_processes_as_cpus() -> None:
    async def main() -> None:
        results = await asyncio.gather(
            *(glassloop.offload(jobs.where, number, to="process") for number in range(100))
        )
        assert 1 <= len({pid for pid, _ in results}) <= cpu_count()

    glassloop.run(main())


def test_keywords_by_way_of_the_call() -> None:
    async def main() -> None:
        work: Any = glassloop.offload
        assert await work(jobs.add, 1, other=2, times=5, to="process") == 15

    glassloop.run(main())


def test_the_processes_end_with_the_loop() -> None:
    async def main() -> int:
        pid, _ = await glassloop.offload(jobs.where, to="process")
        os.kill(pid, 0)
        return pid

    assert not Path(f"/proc/{glassloop.run(main())}").exists()


# -- what cannot cross --------------------------------------------------------------------------------


def test_what_cannot_be_sent_is_named() -> None:
    def nested() -> None:
        """Nothing."""

    lock = threading.Lock()

    async def refused(fn: Any, *args: Any, **kwargs: Any) -> str:
        work: Any = glassloop.offload
        with pytest.raises(TypeError) as caught:
            await work(fn, *args, to="process", **kwargs)
        assert isinstance(caught.value.__cause__, (TypeError, AttributeError, pickle.PicklingError))
        return str(caught.value)

    async def main() -> None:
        text = await refused(lambda: 0)
        assert "the function tests.offload.test_processes." in text and ".<lambda> cannot be sent" in text
        assert 'Define it with `def` at the top level of a module; or use to="thread".' in text
        assert ".<locals>.nested cannot be sent" in await refused(nested)
        text = await refused(functools.partial(print, lock))
        assert "the function builtins.print cannot be sent" in text and "arguments that can be" in text
        text = await refused(jobs.add, 1, lock)
        assert "argument 2 of tests.offload.jobs.add, a lock, cannot be sent to a process" in text
        assert "argument 'times' of tests.offload.jobs.add, a lock," in await refused(jobs.add, times=lock)
        assert await glassloop.offload(jobs.add, 1, to="process") == 1, "nothing is broken by it"

    glassloop.run(main())


def test_a_result_that_cannot_come_back() -> None:
    async def main() -> None:
        with pytest.raises(
            TypeError, match="the result of tests.offload.jobs.make_a_lambda, a function, cannot"
        ):
            await glassloop.offload(jobs.make_a_lambda, to="process")

    glassloop.run(main())


def test_an_exception_that_cannot_come_back() -> None:
    """Left to ProcessPoolExecutor it would break the pool."""

    async def main() -> None:
        with pytest.raises(RuntimeError, match="fail_in_two_parts raised TwoPartsError: two parts") as caught:
            await glassloop.offload(jobs.fail_in_two_parts, to="process")
        assert "in fail_in_two_parts" in str(caught.value.__cause__)
        assert await glassloop.offload(jobs.add, 1, to="process") == 1

    glassloop.run(main())


def test_a_function_that_the_worker_does_not_find() -> None:
    source = """\
        import asyncio, glassloop, sys, types
        module = types.ModuleType("made_meanwhile")
        exec("def work(): pass", module.__dict__)
        module.work.__module__ = "made_meanwhile"
        sys.modules["made_meanwhile"] = module
        async def main():
            for fn in (module.work, abs):
                try:
                    print(await glassloop.offload(fn, *([-1] if fn is abs else []), to="process"))
                except TypeError as error:
                    print(error)
        glassloop.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)], capture_output=True, text=True, timeout=100
    )
    first, second = done.stdout.splitlines()
    assert "the worker process cannot load the call (No module named 'made_meanwhile')" in first
    assert second == "1" and not done.stderr


# -- workers that die -----------------------------------------------------------------------------------


def test_a_worker_that_is_killed() -> None:
    """Its job fails, and so do those that were under way beside it; the next one gets new processes."""

    async def main() -> None:
        assert await glassloop.offload(jobs.add, 1, to="process") == 1
        with pytest.raises(BrokenProcessPool) as caught:
            await glassloop.offload(jobs.die, to="process")
        text = str(caught.value)
        assert "the jobs that were under way are lost, tests.offload.jobs.die among them" in text.lower()
        assert "perhaps for want of memory" in text and "gets new processes" in text
        for number in range(3):
            assert await glassloop.offload(jobs.add, number, to="process") == number

    glassloop.run(main())


def test_processes_that_never_begin(tmp_path: Path) -> None:
    """A main module that starts everything when it is imported cannot be imported by a worker."""
    done = run_program(
        tmp_path / "unguarded.py",
        """\
        import glassloop
        async def main():
            await glassloop.offload(abs, -1, to="process")
        glassloop.run(main())
        """,
    )
    assert done.returncode == 1
    assert "None of its jobs has ever ended: it may be unable to start." in done.stderr
    assert 'must start nothing unless `__name__ == "__main__"`' in done.stderr


def test_an_executor_of_the_program_s_own_that_breaks() -> None:
    async def main() -> None:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            assert await glassloop.offload(jobs.add, 1, to=pool) == 1
            for _ in range(2):
                with pytest.raises(BrokenProcessPool, match="given as `to` can no longer be used"):
                    await glassloop.offload(jobs.die, to=pool)

    glassloop.run(main())


def test_ctrl_c_ends_the_job_and_no_idle_worker() -> None:
    async def main() -> None:
        pids: set[int] = set()
        while len(pids) < min(2, cpu_count()):
            results = await asyncio.gather(
                *(glassloop.offload(jobs.where, to="process") for _ in range(cpu_count()))
            )
            pids |= {pid for pid, _ in results}
        for pid in pids:
            os.kill(pid, signal.SIGINT)
        assert await glassloop.offload(jobs.where, to="process")
        await glassloop.offload(jobs.interrupt, to="process")

    with pytest.raises(KeyboardInterrupt):
        glassloop.run(main())


# -- cancellation ---------------------------------------------------------------------------------------


def test_what_has_not_begun_never_begins(tmp_path: Path) -> None:
    gate, trace = str(tmp_path / "gate"), tmp_path / "trace"

    async def main() -> None:
        # One more than there are processes waits in their pipe, already out of reach.
        busy = [
            asyncio.create_task(glassloop.offload(jobs.wait_for, gate, to="process"))
            for _ in range(cpu_count() + 1)
        ]
        queued = asyncio.create_task(glassloop.offload(jobs.touch, str(trace), to="process"))
        await asyncio.sleep(0.05)
        queued.cancel()
        with pytest.raises(asyncio.CancelledError):
            await queued
        jobs.touch(gate)
        assert await asyncio.gather(*busy) == ["it is there"] * len(busy)
        await glassloop.offload(jobs.add, 1, to="process")

    glassloop.run(main())
    assert not trace.exists()


def test_cancelled_before_it_was_handed_over(tmp_path: Path) -> None:
    trace = tmp_path / "trace"

    async def main() -> None:
        await glassloop.offload(jobs.add, 1, to="process")
        pools: Any = asyncio.get_running_loop()._offload_pools  # type: ignore[attr-defined]
        gate = threading.Event()
        pools.get("starter").submit(gate.wait, jobs.PATIENCE_S)
        task = asyncio.create_task(glassloop.offload(jobs.touch, str(trace), to="process"))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.set()
        await glassloop.offload(jobs.add, 1, to="process")
        assert not pools.jobs

    glassloop.run(main())
    assert not trace.exists()


# -- a fork ---------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_the_child_of_a_fork_has_pools_of_its_own() -> None:
    loop = glassloop.new_event_loop()
    try:
        assert loop.run_until_complete(glassloop.offload(jobs.add, 1)) == 1
        assert loop.run_until_complete(glassloop.offload(jobs.add, 1, to="process")) == 1
        child = os.fork()
        if child == 0:
            status = 1
            try:
                assert loop.run_until_complete(glassloop.offload(jobs.where))[0] == os.getpid()
                loop.run_until_complete(loop.shutdown_default_executor())
                loop.close()
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert loop.run_until_complete(glassloop.offload(jobs.add, 2)) == 2
        assert loop.run_until_complete(glassloop.offload(jobs.add, 2, to="process")) == 2
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


def test_a_reply_is_bytes_whatever_comes() -> None:
    """What a worker gives back can always be unpickled by the pool, which would break otherwise."""
    for function, args in ((jobs.add, (1,)), (jobs.fail, ("x",)), (jobs.fail_in_two_parts, ())):
        returned, data, text = process.work(process.pack(function, args, {}))
        assert type(data) is bytes and returned == (function is jobs.add) and bool(text) != returned
    assert process.work(b"no pickle")[0] is False
