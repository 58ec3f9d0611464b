"""Executors and name look-ups: run_in_executor, to_thread, getaddrinfo, getnameinfo."""

import asyncio
import concurrent.futures
import contextvars
import socket
import sys
import threading
import time
from typing import Any

import pytest

from .support import Loop, Run, turns


def test_the_default_executor(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        names = await asyncio.gather(
            *(loop.run_in_executor(None, lambda: threading.current_thread().name) for _ in range(5))
        )
        assert all(name.startswith("asyncio_") for name in names)
        assert await loop.run_in_executor(None, max, 3, 7) == 7

    run(main())


def test_an_executor_of_ones_own(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="mine") as pool:
            name = await loop.run_in_executor(pool, lambda: threading.current_thread().name)
            assert name == "mine_0"
            loop.set_default_executor(pool)
            assert await loop.run_in_executor(None, lambda: threading.current_thread().name) == "mine_0"

    run(main())


def test_set_default_executor_is_checked(loop: Loop) -> None:
    setter: Any = loop
    with pytest.raises(TypeError, match="executor must be ThreadPoolExecutor instance"):
        setter.set_default_executor(object())


def test_the_type_of_the_result(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(None, int)
        assert asyncio.isfuture(future)
        assert not isinstance(future, asyncio.Task)
        assert future.get_loop() is loop
        assert await future == 0

    run(main())


def test_exceptions(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(ValueError, match="invalid literal"):
            await loop.run_in_executor(None, int, "no number")
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 / 0)

    run(main())


def test_many_jobs(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            results = await asyncio.gather(*(loop.run_in_executor(pool, abs, -n) for n in range(300)))
        assert list(results) == list(range(300))

    run(main())


def test_the_loop_runs_on_meanwhile(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        release = threading.Event()
        job = loop.run_in_executor(None, release.wait, 10)
        await turns(10)
        assert not job.done()
        release.set()
        assert await job is True

    run(main())


def test_cancelling_a_queued_job(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            release = threading.Event()
            ran: list[str] = []
            first = loop.run_in_executor(pool, release.wait, 10)
            second = loop.run_in_executor(pool, ran.append, "second")
            second.cancel()
            await turns(2)
            release.set()
            assert await first is True
            with pytest.raises(asyncio.CancelledError):
                await second
        assert ran == []

    run(main())


def test_cancelling_a_running_job(run: Run) -> None:
    async def main() -> None:
        release = threading.Event()
        started = threading.Event()
        finished = threading.Event()

        def work() -> None:
            started.set()
            release.wait(10)
            finished.set()

        task = asyncio.create_task(asyncio.to_thread(work))
        while not started.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        # A thread cannot be stopped: it ends on its own, and nobody minds.
        release.set()
        while not finished.is_set():
            await asyncio.sleep(0.001)

    run(main())


def test_the_context_goes_with_to_thread(run: Run) -> None:
    colour = contextvars.ContextVar("colour", default="none")

    async def main() -> None:
        colour.set("red")
        assert await asyncio.to_thread(colour.get) == "red"

    run(main())


def test_shutdown_of_the_default_executor(loop: Loop) -> None:
    ended: list[str] = []

    async def main() -> None:
        def work() -> None:
            time.sleep(0.01)
            ended.append("job")

        job = loop.run_in_executor(None, work)
        await loop.shutdown_default_executor()
        assert ended == ["job"]
        await job
        with pytest.raises(RuntimeError, match="Executor shutdown has been called"):
            loop.run_in_executor(None, int)

    loop.run_until_complete(main())


@pytest.mark.skipif(
    sys.version_info < (3, 13),
    reason="shutdown_default_executor(timeout) is new in 3.12, where it waits too long",
)
def test_shutdown_of_the_default_executor_with_a_limit(loop: Loop) -> None:
    async def main() -> None:
        release = threading.Event()
        job = loop.run_in_executor(None, release.wait, 10)
        await turns(2)
        shutdown: Any = loop.shutdown_default_executor
        with pytest.warns(RuntimeWarning, match="The executor did not finishing joining its threads within"):
            await shutdown(timeout=0.01)
        release.set()
        assert await job is True

    loop.run_until_complete(main())


def test_a_job_that_ends_after_its_loop(run: Run) -> None:
    release = threading.Event()
    pool = concurrent.futures.ThreadPoolExecutor(1)

    async def main() -> None:
        asyncio.get_running_loop().run_in_executor(pool, release.wait, 10)

    run(main())
    # Its loop is closed when it ends; the thread must not fail over that.
    release.set()
    pool.shutdown(wait=True)


def test_literal_addresses(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        infos = await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
        assert infos == socket.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
        infos = await loop.getaddrinfo("::1", 80, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        assert infos == socket.getaddrinfo("::1", 80, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)

    run(main())


def test_names(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        infos = await loop.getaddrinfo("localhost", 80, family=socket.AF_INET, type=socket.SOCK_STREAM)
        assert infos == socket.getaddrinfo("localhost", 80, family=socket.AF_INET, type=socket.SOCK_STREAM)
        assert await loop.getaddrinfo(None, 0, flags=socket.AI_PASSIVE, type=socket.SOCK_STREAM)

    run(main())


def test_a_name_that_is_none(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(socket.gaierror):
            await loop.getaddrinfo("not an address", 80, flags=socket.AI_NUMERICHOST)
        with pytest.raises(socket.gaierror):
            await loop.create_connection(asyncio.Protocol, "not an address", 80, flags=socket.AI_NUMERICHOST)

    run(main())


def test_many_look_ups_at_once(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        results = await asyncio.gather(*(loop.getaddrinfo(f"127.0.0.{n}", n) for n in range(1, 60)))
        assert [infos[0][4] for infos in results] == [(f"127.0.0.{n}", n) for n in range(1, 60)]

    run(main())


def test_getnameinfo(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
        assert await loop.getnameinfo(("127.0.0.1", 80), flags) == ("127.0.0.1", "80")

    run(main())


def test_an_overridden_getaddrinfo_is_used(run: Run) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        asked: list[Any] = []
        plain = loop.getaddrinfo

        async def getaddrinfo(host: str, port: int, **options: Any) -> Any:
            asked.append(host)
            return await plain("127.0.0.1", port, **options)

        loop.getaddrinfo = getaddrinfo
        server = await loop.create_server(asyncio.Protocol, "some.name", 0)
        port = server.sockets[0].getsockname()[1]
        transport, _ = await loop.create_connection(asyncio.Protocol, "other.name", port)
        assert asked == ["some.name", "other.name"]
        transport.close()
        server.close()
        await turns(3)

    run(main())
