"""offload() to executors that the program brings, and to clusters, where their packages are installed."""

import asyncio
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

import pytest

import glassloop

from . import jobs
from .support import until

needs_interpreters = pytest.mark.skipif(
    sys.version_info < (3, 14), reason="subinterpreters come with CPython 3.14"
)


class Plain(Executor):
    """An executor that is none of Python's own: it keeps its jobs until they are asked for."""

    def __init__(self) -> None:
        self.kept: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        self.kept.append((future, lambda: fn(*args, **kwargs)))
        return future

    def run(self) -> None:
        for future, call in self.kept:
            if future.set_running_or_notify_cancel():
                future.set_result(call())


def test_any_executor() -> None:
    async def main() -> None:
        executor = Plain()
        work: Any = glassloop.offload
        task = asyncio.create_task(work(jobs.add, 1, other=2, to=executor))
        await until(lambda: executor.kept)
        executor.run()
        assert await task == 3

    glassloop.run(main())


def test_its_owner_cancels_a_job() -> None:
    async def main() -> None:
        executor = Plain()
        task = asyncio.create_task(glassloop.offload(jobs.add, 1, to=executor))
        await until(lambda: executor.kept)
        executor.kept[0][0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, jobs.PATIENCE_S)

    glassloop.run(main())


def test_a_task_that_is_cancelled_cancels_its_job() -> None:
    async def main() -> None:
        executor = Plain()
        task = asyncio.create_task(glassloop.offload(jobs.add, 1, to=executor))
        await until(lambda: executor.kept)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert executor.kept[0][0].cancelled()

    glassloop.run(main())


def test_an_executor_is_not_ended_with_the_loop() -> None:
    async def main(pool: ThreadPoolExecutor) -> str:
        return (await glassloop.offload(jobs.where, to=pool))[1]

    with ThreadPoolExecutor(1, "the-program-s") as pool:
        for _ in range(2):
            assert glassloop.run(main(pool)) == "the-program-s_0"


def test_an_executor_that_was_shut_down() -> None:
    async def main() -> None:
        pool = ThreadPoolExecutor(1)
        pool.shutdown()
        with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
            await glassloop.offload(jobs.add, 1, to=pool)

    glassloop.run(main())


# -- subinterpreters ------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="this Python has subinterpreters")
def test_no_interpreters() -> None:
    async def main() -> None:
        with pytest.raises(
            RuntimeError, match=r"needs CPython 3\.14 or newer, and this is 3\.1[123].*process"
        ):
            await glassloop.offload(jobs.add, 1, to="interpreter")

    glassloop.run(main())


@needs_interpreters
def test_an_interpreter() -> None:
    async def main() -> None:
        assert await glassloop.offload(jobs.add, 1, to="interpreter") == 1
        _, name = await glassloop.offload(jobs.where, to="interpreter")
        assert name
        with pytest.raises(ValueError, match="the text"):
            await glassloop.offload(jobs.fail, "the text", to="interpreter")
        with pytest.raises(TypeError, match="add, an argument or the result cannot be sent to another"):
            work: Any = glassloop.offload
            await work(jobs.add, threading.Lock(), to="interpreter")

    glassloop.run(main())


@needs_interpreters
def test_interpreters_of_the_program_s_own() -> None:
    async def main() -> None:
        from concurrent import futures

        make: Any = futures.InterpreterPoolExecutor  # type: ignore[attr-defined,unused-ignore]
        with make(1) as pool:
            assert await glassloop.offload(jobs.add, 1, to=pool) == 1

    glassloop.run(main())


# -- Dask -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dask_client() -> Iterator[Any]:
    """A Dask cluster in this process."""
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def test_dask(dask_client: Any) -> None:
    async def main() -> None:
        assert await glassloop.offload(jobs.add, 1, 2, to=dask_client) == 3
        work: Any = glassloop.offload
        assert await work(jobs.add, 1, other=3, retries=1, to=dask_client) == 4
        with pytest.raises(ValueError, match="the text"):
            await glassloop.offload(jobs.fail, "the text", to=dask_client)
        results = await asyncio.gather(*(glassloop.offload(jobs.add, n, to=dask_client) for n in range(50)))
        assert results == list(range(50))

    glassloop.run(main())


def test_dask_runs_a_function_each_time(dask_client: Any) -> None:
    """It would give back the same result without running, if it took functions for pure."""
    ran: list[int] = []
    _in_reach.append(ran)

    async def main() -> None:
        for _ in range(3):
            await glassloop.offload(_note, 1, to=dask_client)

    glassloop.run(main())
    assert ran == [1, 1, 1]


_in_reach: list[list[int]] = []


def _note(number: int) -> None:
    _in_reach[-1].append(number)


def test_dask_cancels(dask_client: Any, tmp_path: Any) -> None:
    gate, trace = str(tmp_path / "gate"), tmp_path / "trace"
    (worker,) = dask_client.cluster.workers.values()

    def worker_knows(name: str) -> bool:
        return any(key.startswith(name) for key in list(worker.state.tasks))

    async def main() -> None:
        began = [tmp_path / "first", tmp_path / "second"]
        busy = [
            asyncio.create_task(glassloop.offload(jobs.note_and_wait, str(one), gate, to=dask_client))
            for one in began
        ]
        await until(lambda: all(one.exists() for one in began))
        queued = asyncio.create_task(glassloop.offload(jobs.touch, str(trace), to=dask_client))
        await until(lambda: worker_knows("touch"))
        queued.cancel()
        with pytest.raises(asyncio.CancelledError):
            await queued
        await until(lambda: not worker_knows("touch"))
        jobs.touch(gate)
        await asyncio.gather(*busy)
        await glassloop.offload(jobs.add, 1, to=dask_client)

    glassloop.run(main())
    assert not trace.exists()


def test_dask_in_the_same_loop() -> None:
    """An asynchronous client runs in the loop that offloads."""
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed")

    async def main() -> None:
        async with (
            distributed.LocalCluster(
                n_workers=1, processes=False, dashboard_address=":0", asynchronous=True
            ) as cluster,
            distributed.Client(cluster, asynchronous=True) as client,
        ):
            assert await glassloop.offload(jobs.add, 1, 2, to=client) == 3
            with pytest.raises(ValueError, match="the text"):
                await glassloop.offload(jobs.fail, "the text", to=client)

    glassloop.run(main())


# -- Ray ------------------------------------------------------------------------------------------------


def test_ray_that_is_not_connected() -> None:
    ray: Any = pytest.importorskip("ray", reason="Ray is not installed")

    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"Ray is not connected\. Call ray\.init\(\) before"):
            await glassloop.offload(jobs.add, 1, to=ray)

    glassloop.run(main())


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed")
def test_ray() -> None:
    import ray  # type: ignore[import-not-found,unused-ignore]

    async def main() -> None:
        work: Any = glassloop.offload
        assert await glassloop.offload(jobs.add, 1, 2, to=ray) == 3
        assert await work(jobs.add, 1, other=3, to=ray) == 4
        with pytest.raises(ValueError, match="the text"):
            await glassloop.offload(jobs.fail, "the text", to=ray)
        task = asyncio.create_task(work(jobs.wait_for, "/nowhere/at/all", to=ray))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        glassloop.run(main())
    finally:
        ray.shutdown()


class StandIn:
    """What offload() uses of Ray's documented interface, without Ray."""

    def __init__(self) -> None:
        self.cancelled: list[Any] = []
        self.is_ready = True

    def is_initialized(self) -> bool:
        return self.is_ready

    def remote(self, function: Callable[..., Any]) -> Any:
        class RemoteFunction:
            """What ray.remote() makes."""

            @staticmethod
            def remote(*args: Any, **kwargs: Any) -> Any:
                class Reference:
                    inner: Future[Any] = Future()

                    def future(self) -> "Future[Any]":
                        return self.inner

                if args[0] is not jobs.wait_for:
                    Reference.inner.set_result(function(*args, **kwargs))
                return Reference()

        return RemoteFunction

    def cancel(self, reference: object) -> None:
        self.cancelled.append(reference)


def test_ray_by_its_documented_interface(monkeypatch: pytest.MonkeyPatch) -> None:
    ray: Any = StandIn()
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr("glassloop._offload.cluster._ray_call", None)

    async def main() -> None:
        work: Any = glassloop.offload
        assert await work(jobs.add, 1, other=3, to=ray) == 4
        task = asyncio.create_task(work(jobs.wait_for, "nothing", to=ray))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(ray.cancelled) == 1

    glassloop.run(main())
