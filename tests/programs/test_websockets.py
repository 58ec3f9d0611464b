"""websockets: its server and its clients on the same loop."""

import asyncio
import ssl
from typing import Any

import pytest

from .support import PAYLOAD, Run

websockets = pytest.importorskip("websockets", reason="websockets is not installed")
server_module = pytest.importorskip("websockets.asyncio.server")


def address(server: Any, scheme: str = "ws") -> str:
    """Where a server listens."""
    return f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def echo(connection: Any) -> None:
    """Send back every message."""
    async for message in connection:
        await connection.send(message)


def test_echo(run: Run) -> None:
    async def main() -> None:
        async with (
            websockets.serve(echo, "127.0.0.1", 0) as server,
            websockets.connect(address(server)) as client,
        ):
            for number in range(500):
                await client.send(f"message {number}")
                assert await client.recv() == f"message {number}"

    run(main())


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
def test_large_messages(
    run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, encrypted: bool
) -> None:
    async def main() -> None:
        tls = {"ssl": server_tls} if encrypted else {}
        client_options = {"ssl": client_tls} if encrypted else {}
        async with (
            websockets.serve(echo, "127.0.0.1", 0, max_size=None, compression=None, **tls) as server,
            websockets.connect(
                address(server, "wss" if encrypted else "ws"),
                max_size=None,
                compression=None,
                **client_options,
            ) as client,
        ):
            for size in (125, 126, 65_535, 65_536, len(PAYLOAD)):
                await client.send(PAYLOAD[:size])
                assert await client.recv() == PAYLOAD[:size]

    run(main())


def test_a_message_in_fragments(run: Run) -> None:
    async def main() -> None:
        async with (
            websockets.serve(echo, "127.0.0.1", 0) as server,
            websockets.connect(address(server)) as client,
        ):
            await client.send(f"{number} " for number in range(100))
            assert await client.recv() == "".join(f"{number} " for number in range(100))

    run(main())


def test_broadcast_to_a_hundred(run: Run) -> None:
    async def main() -> None:
        async def stay(connection: Any) -> None:
            await connection.wait_closed()

        async with websockets.serve(stay, "127.0.0.1", 0) as server:
            clients = await asyncio.gather(*(websockets.connect(address(server)) for _ in range(100)))
            for number in range(20):
                server_module.broadcast(server.connections, f"news {number}")
            for client in clients:
                assert [await client.recv() for _ in range(20)] == [f"news {number}" for number in range(20)]
            await asyncio.gather(*(client.close() for client in clients))

    run(main())


def test_a_slow_client_gets_all(run: Run) -> None:
    async def main() -> None:
        async def flood(connection: Any) -> None:
            for number in range(2000):
                await connection.send(f"{number:1000}")

        async with (
            websockets.serve(flood, "127.0.0.1", 0, compression=None) as server,
            websockets.connect(address(server), max_queue=4, compression=None) as client,
        ):
            received = 0
            async for message in client:
                assert int(message) == received
                received += 1
                if received % 100 == 0:
                    await asyncio.sleep(0.001)
            assert received == 2000

    run(main())


@pytest.mark.parametrize("closer", ["client", "server"])
def test_close_codes(run: Run, closer: str) -> None:
    async def main() -> None:
        ended: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()

        async def handler(connection: Any) -> None:
            if closer == "server":
                await connection.close(4002, "the server's wish")
            await connection.wait_closed()
            ended.set_result((connection.close_code, connection.close_reason))

        async with (
            websockets.serve(handler, "127.0.0.1", 0) as server,
            websockets.connect(address(server)) as client,
        ):
            if closer == "client":
                await client.close(4003, "the client's wish")
            await client.wait_closed()
            wanted = (4002, "the server's wish") if closer == "server" else (4003, "the client's wish")
            assert (client.close_code, client.close_reason) == wanted
            assert await ended == wanted

    run(main())


def test_pings(run: Run) -> None:
    async def main() -> None:
        async with (
            websockets.serve(echo, "127.0.0.1", 0) as server,
            websockets.connect(address(server), ping_interval=0.01, ping_timeout=20) as client,
        ):
            for _ in range(20):
                latency_s = await (await client.ping())
                assert latency_s >= 0
            while client.latency == 0:
                await asyncio.sleep(0.001)

    run(main())


def test_a_silent_peer_is_given_up(run: Run) -> None:
    """The peer shakes hands, then answers nothing."""

    async def main() -> None:
        gone: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def handler(connection: Any) -> None:
            with pytest.raises(websockets.ConnectionClosedError) as closed:
                await connection.recv()
            gone.set_result(closed.value.sent.code)

        options = {"ping_interval": 0.01, "ping_timeout": 0.05, "close_timeout": 0.05}
        async with websockets.serve(handler, "127.0.0.1", 0, **options) as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(
                b"GET / HTTP/1.1\r\nHost: here\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            )
            assert b"101" in await reader.readline()
            assert await gone == 1011
            writer.close()

    run(main())


def test_a_server_that_closes_tells_its_clients(run: Run) -> None:
    async def main() -> None:
        server = await websockets.serve(echo, "127.0.0.1", 0)
        url = address(server)
        clients = await asyncio.gather(*(websockets.connect(url) for _ in range(10)))
        server.close()
        await server.wait_closed()
        for client in clients:
            await client.wait_closed()
            assert client.close_code == 1001
        with pytest.raises(OSError):
            await websockets.connect(url)

    run(main())
