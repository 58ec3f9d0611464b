"""redis-py against a Redis of our own, with its own folder, port and Unix socket."""

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from .support import PAYLOAD, Run, free_port

redis = pytest.importorskip("redis.asyncio", reason="redis is not installed")
errors_of_redis = pytest.importorskip("redis.exceptions")


class Server(NamedTuple):
    """Where to reach a running Redis."""

    port: int
    unix_socket: Path


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A Redis over TCP and a Unix socket that keeps nothing on disk, for this module's tests."""
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        pytest.skip("Redis is not installed (Debian: redis-server)")
    with tempfile.TemporaryDirectory(prefix="glassloop-") as folder:
        port, unix_socket = free_port(), Path(folder, "redis.sock")
        options = {
            "port": port,
            "bind": "127.0.0.1",
            "unixsocket": unix_socket,
            "dir": folder,
            "appendonly": "no",
        }
        command: list[str | Path] = [program, "--save", ""]
        for key, value in options.items():
            command += [f"--{key}", str(value)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            output = ""
            for line in process.stdout:
                output += line
                if "ready to accept connections at" in line.lower():
                    break
            else:
                pytest.fail(f"Redis did not start:\n{output}")
            try:
                yield Server(port, unix_socket)
            finally:
                process.terminate()
                process.stdout.read()


@asynccontextmanager
async def client(server: Server, **options: Any) -> AsyncIterator[Any]:
    """A client over TCP, or as the options say, of a Redis that is empty."""
    way = {} if "unix_socket_path" in options else {"host": "127.0.0.1", "port": server.port}
    connection = redis.Redis(**way, **options)
    try:
        await connection.flushall()
        yield connection
    finally:
        await connection.aclose()


@pytest.mark.parametrize("way", ["tcp", "unix"])
def test_values_go_there_and_back(run: Run, server: Server, way: str) -> None:
    async def main() -> None:
        options = {"unix_socket_path": str(server.unix_socket)} if way == "unix" else {}
        async with client(server, **options) as connection:
            assert await connection.get("missing") is None
            for number in range(200):
                assert await connection.set(f"key {number}", f"value {number}")
            assert await connection.mget("key 7", "key 199") == [b"value 7", b"value 199"]
            await connection.set("large", PAYLOAD)
            assert await connection.get("large") == PAYLOAD
            assert await connection.rpush("list", *range(1000)) == 1000
            assert await connection.lrange("list", 0, -1) == [str(number).encode() for number in range(1000)]

    run(main())


def test_pipeline(run: Run, server: Server) -> None:
    async def main() -> None:
        async with client(server) as connection:
            async with connection.pipeline(transaction=False) as pipeline:
                for number in range(5000):
                    pipeline.set(f"key {number}", number).incr("count")
                answers = await pipeline.execute()
            assert answers[1::2] == list(range(1, 5001))

    run(main())


def test_optimistic_transactions(run: Run, server: Server) -> None:
    async def main() -> None:
        async with client(server) as connection:

            async def increment() -> None:
                async def change(pipeline: Any) -> None:
                    value = int(await pipeline.get("number") or 0)
                    pipeline.multi()
                    pipeline.set("number", value + 1)

                await connection.transaction(change, "number")

            await asyncio.gather(*(increment() for _ in range(20)))
            assert await connection.get("number") == b"20"

    run(main())


def test_a_hundred_clients(run: Run, server: Server) -> None:
    async def main() -> None:
        async with client(server) as connection, asyncio.TaskGroup() as tasks:

            async def work(number: int) -> None:
                for turn in range(10):
                    assert await connection.echo(f"{number} {turn}") == f"{number} {turn}".encode()

            for number in range(100):
                tasks.create_task(work(number))

    run(main())


def test_publish_and_subscribe(run: Run, server: Server) -> None:
    async def main() -> None:
        async with client(server) as connection:
            listening = asyncio.Event()

            async def listen() -> list[bytes]:
                heard = []
                async with connection.pubsub() as subscription:
                    await subscription.subscribe("news")
                    await subscription.psubscribe("weather.*")
                    async for message in subscription.listen():
                        if message["type"] == "psubscribe":
                            listening.set()
                        if message["type"].endswith("message"):
                            heard.append(message["data"])
                        if message["data"] == b"end":
                            return heard
                raise AssertionError("the subscription ended")

            listener = asyncio.create_task(listen())
            await listening.wait()
            for number in range(100):
                assert await connection.publish("news" if number % 2 else "weather.here", number) == 1
            await connection.publish("news", "end")
            assert await listener == [*(str(number).encode() for number in range(100)), b"end"]

    run(main())


def test_blocking_pop(run: Run, server: Server) -> None:
    async def main() -> None:
        async with client(server) as connection:
            poppers = [asyncio.create_task(connection.blpop("queue", timeout=0)) for _ in range(10)]
            while (await connection.info("clients"))["blocked_clients"] < 10:
                await asyncio.sleep(0.001)
            await connection.rpush("queue", *range(10))
            answers = await asyncio.gather(*poppers)
            assert sorted(answers) == [(b"queue", str(number).encode()) for number in range(10)]
            assert await connection.blpop("queue", timeout=0.01) is None

    run(main())


def test_a_command_that_is_given_up_leaves_the_client_usable(run: Run, server: Server) -> None:
    async def main() -> None:
        async with client(server) as connection:
            pop = asyncio.create_task(connection.blpop("queue", timeout=0))
            while (await connection.info("clients"))["blocked_clients"] != 1:
                await asyncio.sleep(0.001)
            pop.cancel()
            with pytest.raises(asyncio.CancelledError):
                await pop
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.02):
                    await connection.blpop("queue", timeout=0)
            assert await connection.ping()
        connection = redis.Redis(host="127.0.0.1", port=server.port, socket_timeout=0.05, retry=None)
        with pytest.raises(errors_of_redis.TimeoutError):
            await connection.blpop("queue", timeout=0)
        await connection.aclose()

    run(main())


def test_nobody_there(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(errors_of_redis.ConnectionError):
            await redis.Redis(host="127.0.0.1", port=free_port(), retry=None).ping()

    run(main())
