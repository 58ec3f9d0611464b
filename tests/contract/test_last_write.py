"""The last write of a connection and its end: all of it arrives, then the end, whoever wrote and closed."""

import asyncio
import socket
import struct
from typing import Any

import pytest

from .support import Run, end, pattern, until

SIZES = [1, 1000, 60_000, 3_000_000]


class Answers(asyncio.Protocol):
    """Answers what it gets with so many bytes, and closes."""

    def __init__(self, size: int, lost: list[Any], *, halves: int = 1) -> None:
        self.size, self.lost, self.halves = size, lost, halves

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        answer = pattern(self.size)
        cut = self.size // self.halves
        self.transport.write(answer[:cut])
        if cut < self.size:
            self.transport.write(answer[cut:])
        self.transport.close()
        self.transport.write(b"too late")
        assert self.transport.is_closing()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost.append(exc)


def ask(address: Any, family: int = socket.AF_INET) -> bytes:
    """All that comes back from a server, up to the end."""
    with socket.socket(family) as sock:
        sock.settimeout(15)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 10_000)
        sock.connect(address)
        sock.sendall(b"?")
        received = bytearray()
        while piece := sock.recv(1 << 16):
            received += piece
        return bytes(received)


@pytest.mark.parametrize("halves", [1, 2])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["inet", "inet6", "unix"])
def test_answer_and_close(run: Run, tmp_path: Any, kind: str, size: int, halves: int) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        lost: list[Any] = []
        server: asyncio.Server

        def factory() -> Answers:
            return Answers(size, lost, halves=halves)

        if kind == "unix":
            path = str(tmp_path / "socket")
            server = await loop.create_unix_server(factory, path)
            address: Any = path
        else:
            try:
                server = await loop.create_server(factory, "127.0.0.1" if kind == "inet" else "::1", 0)
            except OSError:
                pytest.skip("no IPv6 here")
            address = server.sockets[0].getsockname()
        family = server.sockets[0].family
        for _ in range(3):
            received = await asyncio.to_thread(ask, address, family)
            assert received[:size] == pattern(size)
            # What is written after close() is dropped, but where asyncio still has something to send.
            assert received[size:] in (b"", b"too late")
        await until(lambda: len(lost) == 3)
        assert lost == [None] * 3
        await end(server)

    run(main())


@pytest.mark.parametrize("size", SIZES)
def test_a_task_writes_and_closes(run: Run, size: int) -> None:
    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(pattern(size))
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        # Several at once, so that the loop is busy.
        answers = await asyncio.gather(*(asyncio.to_thread(ask, address) for _ in range(8)))
        assert all(answer == pattern(size) for answer in answers)
        await end(server)

    run(main())


def test_a_client_writes_and_closes(run: Run) -> None:
    class Asks(Answers):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self.data_received(b"")

    async def main() -> None:
        lost: list[Any] = []
        with socket.create_server(("127.0.0.1", 0)) as server:
            connect = asyncio.get_running_loop().create_connection
            await connect(lambda: Asks(1000, lost), *server.getsockname())
            peer, _ = server.accept()
            with peer:
                peer.settimeout(15)
                received = b""
                while piece := await asyncio.to_thread(peer.recv, 10_000):
                    received += piece
                assert received == pattern(1000)
        await until(lambda: lost)
        assert lost == [None]

    run(main())


def test_a_connection_that_is_to_be_reset_when_closed(run: Run) -> None:
    class Resets(Answers):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def main() -> None:
        lost: list[Any] = []
        server = await asyncio.get_running_loop().create_server(lambda: Resets(10, lost), "127.0.0.1", 0)
        with pytest.raises(ConnectionResetError):
            await asyncio.to_thread(ask, server.sockets[0].getsockname())
        await until(lambda: lost)
        await end(server)

    run(main())


def test_the_peer_is_gone_before_the_answer(run: Run) -> None:
    async def main() -> None:
        lost: list[Any] = []
        server = await asyncio.get_running_loop().create_server(lambda: Answers(5000, lost), "127.0.0.1", 0)

        def ask_and_reset() -> None:
            with socket.create_connection(server.sockets[0].getsockname()) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.sendall(b"?")

        for _ in range(20):
            await asyncio.to_thread(ask_and_reset)
        await until(lambda: len(lost) == 20)
        await end(server)

    run(main())
