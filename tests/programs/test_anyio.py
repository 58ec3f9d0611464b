"""anyio on the loop under test, by ``backend_options``: its own ways to cancel, call threads and do I/O."""

import asyncio
import os
import signal
import ssl
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from .support import PAYLOAD, LoopFactory

anyio = pytest.importorskip("anyio", reason="anyio is not installed")
from_thread = pytest.importorskip("anyio.from_thread")
to_thread = pytest.importorskip("anyio.to_thread")
tls = pytest.importorskip("anyio.streams.tls")

T = TypeVar("T")


@pytest.fixture
def run(loop_factory: LoopFactory) -> Callable[[Callable[[], Awaitable[T]]], T]:
    """Run an asynchronous function with anyio on a loop of the kind under test."""

    def run_main(main: Callable[[], Awaitable[T]]) -> T:
        result: T = anyio.run(main, backend="asyncio", backend_options={"loop_factory": loop_factory})
        return result

    return run_main


AnyioRun = Callable[[Callable[[], Awaitable[T]]], T]


async def echo(stream: Any) -> None:
    """Send back what comes, until it ends."""
    async with stream:
        async for data in stream:
            await stream.send(data)


async def send_and_receive(stream: Any) -> None:
    """Send the payload while its echo is received."""
    received = bytearray()
    async with stream, anyio.create_task_group() as group:
        group.start_soon(stream.send, PAYLOAD)
        while len(received) < len(PAYLOAD):
            received += await stream.receive()
    assert received == PAYLOAD


async def exercise(listener: Any, connect: Callable[[], Awaitable[Any]]) -> None:
    """Serve echo on a listener, to three clients one after another."""
    ended, end = anyio.create_memory_object_stream(3)

    async def handle(stream: Any) -> None:
        await echo(stream)
        await ended.send(None)

    async with listener, ended, end, anyio.create_task_group() as group:
        group.start_soon(listener.serve, handle)
        for _ in range(3):
            await send_and_receive(await connect())
            # A handler that is cancelled in the turn in which its socket ends is a race within anyio.
            await end.receive()
        group.cancel_scope.cancel()


def test_the_loop_is_the_one_that_was_asked_for(run: AnyioRun[str], loop_name: str) -> None:
    async def main() -> str:
        return type(asyncio.get_running_loop()).__module__

    assert run(main).split(".")[0] == loop_name


def test_task_groups_and_cancel_scopes(run: AnyioRun[None]) -> None:
    async def main() -> None:
        ended: list[str] = []

        async def sleeper(name: str, *, task_status: Any = anyio.TASK_STATUS_IGNORED) -> None:
            try:
                task_status.started(name)
                await anyio.sleep_forever()
            finally:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0)
                ended.append(name)

        with pytest.raises(ExceptionGroup) as failed:
            async with anyio.create_task_group() as group:
                for number in range(20):
                    assert await group.start(sleeper, str(number)) == str(number)
                raise ValueError("enough")
        assert [type(error) for error in failed.value.exceptions] == [ValueError]
        assert sorted(ended, key=int) == [str(number) for number in range(20)]

        with anyio.move_on_after(0.01) as scope:
            await anyio.sleep_forever()
        assert scope.cancelled_caught
        with pytest.raises(TimeoutError):
            with anyio.fail_after(0.01):
                async with anyio.create_task_group() as group:
                    group.start_soon(anyio.sleep_forever)

    run(main)


def test_object_streams_and_limits(run: AnyioRun[None]) -> None:
    async def main() -> None:
        send, receive = anyio.create_memory_object_stream(3)
        results: list[int] = []

        async def produce(stream: Any, start: int) -> None:
            async with stream:
                for number in range(start, start + 100):
                    await stream.send(number)

        async def consume(stream: Any) -> None:
            async with stream:
                async for number in stream:
                    results.append(number)

        async with anyio.create_task_group() as group, send, receive:
            for start in range(0, 1000, 100):
                group.start_soon(produce, send.clone(), start)
            for _ in range(5):
                group.start_soon(consume, receive.clone())
        assert sorted(results) == list(range(1000))

    run(main)


def test_threads_call_the_loop_and_back(run: AnyioRun[None]) -> None:
    async def main() -> None:
        async def double(number: int) -> int:
            await anyio.sleep(0)
            return 2 * number

        def work(number: int) -> int:
            doubled: int = from_thread.run(double, number)
            return doubled + 1

        async with anyio.create_task_group() as group:

            async def one(number: int) -> None:
                assert await to_thread.run_sync(work, number) == 2 * number + 1

            for number in range(50):
                group.start_soon(one, number)

    run(main)


def test_a_portal_from_a_plain_thread(loop_factory: LoopFactory) -> None:
    async def add(one: int, other: int) -> int:
        await anyio.sleep(0)
        return one + other

    options = {"loop_factory": loop_factory}
    with from_thread.start_blocking_portal(backend="asyncio", backend_options=options) as portal:
        assert portal.call(add, 1, 2) == 3
        futures = [portal.start_task_soon(add, number, 1) for number in range(100)]
        assert [future.result() for future in futures] == list(range(1, 101))


def test_tcp(run: AnyioRun[None]) -> None:
    async def main() -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = listener.extra(anyio.abc.SocketAttribute.local_port)
        await exercise(listener, lambda: anyio.connect_tcp("127.0.0.1", port))

    run(main)


def test_tls(run: AnyioRun[None], server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        plain = await anyio.create_tcp_listener(local_host="127.0.0.1")
        port = plain.extra(anyio.abc.SocketAttribute.local_port)
        await exercise(
            tls.TLSListener(plain, server_tls),
            lambda: anyio.connect_tcp("127.0.0.1", port, ssl_context=client_tls, tls_hostname="localhost"),
        )

    run(main)


def test_unix_sockets(run: AnyioRun[None], tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "socket"
        await exercise(await anyio.create_unix_listener(path), lambda: anyio.connect_unix(path))

    run(main)


def test_datagrams(run: AnyioRun[None]) -> None:
    async def main() -> None:
        async with await anyio.create_udp_socket(local_host="127.0.0.1") as server:
            port = server.extra(anyio.abc.SocketAttribute.local_port)
            async with await anyio.create_connected_udp_socket("127.0.0.1", port) as client:
                for number in range(100):
                    await client.send(b"%d" % number)
                    data, (host, sender) = await server.receive()
                    await server.sendto(data * 2, host, sender)
                    assert await client.receive() == b"%d" % number * 2

    run(main)


def test_processes(run: AnyioRun[None]) -> None:
    async def main() -> None:
        command = [
            sys.executable,
            "-c",
            "import sys; sys.stdout.write(sys.stdin.read().upper()); sys.exit(3)",
        ]
        done = await anyio.run_process(command, input=b"x" * 300_000, check=False)
        assert (done.returncode, done.stdout) == (3, b"X" * 300_000)

        async with await anyio.open_process([sys.executable, "-c", "input()"]) as process:
            process.terminate()
            assert await process.wait() == -signal.SIGTERM

    run(main)


def test_signals(run: AnyioRun[None]) -> None:
    async def main() -> None:
        with anyio.open_signal_receiver(signal.SIGUSR1) as signals:
            for _ in range(10):
                os.kill(os.getpid(), signal.SIGUSR1)
                async for number in signals:
                    assert number == signal.SIGUSR1
                    break

    run(main)
