"""Context variables and I/O: callbacks of transports and readers see what their maker saw."""

import asyncio
import contextvars
import os
import signal
import socket
import sys
from typing import Any

import pytest

from .support import Recorder, Run, attach, end, pattern, receive_exactly, shrink_buffers, until

Pair = tuple[socket.socket, socket.socket]

COLOUR = contextvars.ContextVar("COLOUR", default="none")


class Seeing(Recorder):
    """Notes the colour that each of its methods sees."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, str] = {}

    def note(self, call: str) -> None:
        super().note(call)
        self.seen.setdefault(call, COLOUR.get())


def test_the_callbacks_of_a_connection(run: Run, pair: Pair) -> None:
    async def main() -> None:
        shrink_buffers(*pair)
        COLOUR.set("red")
        protocol = Seeing()
        transport = await attach(pair[0], protocol)
        COLOUR.set("blue")
        pair[1].sendall(b"data")
        await protocol.until_received(4)
        data = pattern(1_000_000)
        transport.get_extra_info("socket")
        transport.write(data)
        await asyncio.to_thread(receive_exactly, pair[1], len(data))
        await until(lambda: "resume" in protocol.calls)
        protocol.keep_open = True
        pair[1].shutdown(socket.SHUT_WR)
        await protocol.ended
        assert {call: protocol.seen[call] for call in ("made", "data", "eof")} == {
            "made": "red",
            "data": "red",
            "eof": "red",
        }
        # pause_writing() is called by whoever writes, in its own context.
        assert protocol.seen["pause"] == "blue"
        transport.close()
        await protocol.lost

    run(main())


def test_data_received_keeps_what_it_sets(run: Run, pair: Pair) -> None:
    async def main() -> None:
        seen: list[str] = []

        class Setting(Recorder):
            def data_received(self, data: bytes) -> None:
                super().data_received(data)
                seen.append(COLOUR.get())
                COLOUR.set(data.decode())

        protocol = Setting()
        transport = await attach(pair[0], protocol)
        for number, text in enumerate(("a", "b", "c")):
            pair[1].sendall(text.encode())
            await protocol.until_received(number + 1)
        assert seen == ["none", "a", "b"]
        assert COLOUR.get() == "none"
        transport.close()

    run(main())


@pytest.mark.skipif(
    sys.version_info < (3, 15), reason="a transport has one context of its own since Python 3.15"
)
def test_a_connection_has_one_context(run: Run, pair: Pair) -> None:
    async def main() -> None:
        class Setting(Seeing):
            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                COLOUR.set("of the connection")

        protocol = Setting()
        await attach(pair[0], protocol)
        pair[1].sendall(b"data")
        pair[1].close()
        await protocol.lost
        assert {protocol.seen[call] for call in ("data", "eof", "lost")} == {"of the connection"}
        assert COLOUR.get() == "none"

    run(main())


def test_the_connections_of_a_server(run: Run) -> None:
    async def main() -> None:
        protocols: list[Seeing] = []

        def factory() -> Seeing:
            protocols.append(Seeing())
            return protocols[-1]

        COLOUR.set("red")
        server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0)
        COLOUR.set("blue")
        for _ in range(2):
            _reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"x")
            writer.close()
            await until(lambda: protocols and protocols[-1].lost.done())
        for protocol in protocols:
            assert (protocol.seen["made"], protocol.seen["data"]) == ("red", "red")
        await end(server)

    run(main())


def test_the_connections_of_a_server_do_not_share_their_context(run: Run) -> None:
    async def main() -> None:
        seen: list[str] = []

        class Setting(asyncio.Protocol):
            def data_received(self, data: bytes) -> None:
                seen.append(COLOUR.get())
                COLOUR.set("changed")

        server = await asyncio.get_running_loop().create_server(Setting, "127.0.0.1", 0)
        for number in range(3):
            with socket.create_connection(server.sockets[0].getsockname()) as sock:
                sock.sendall(b"x")
                await until(lambda number=number: len(seen) == number + 1)  # type: ignore[misc]
        assert seen == ["none"] * 3
        await end(server)

    run(main())


def test_the_handlers_of_start_server(run: Run) -> None:
    async def main() -> None:
        seen: list[str] = []

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(COLOUR.get())
            COLOUR.set("changed")
            await reader.read()
            writer.close()

        COLOUR.set("red")
        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        COLOUR.set("blue")
        for _ in range(2):
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
        assert seen == ["red", "red"]
        await end(server)

    run(main())


def test_readers_and_writers(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        near, far = socket.socketpair()
        with near, far:
            seen: dict[str, str] = {}
            COLOUR.set("red")
            loop.add_reader(near, lambda: seen.setdefault("reader", COLOUR.get()))
            COLOUR.set("green")
            loop.add_writer(near, lambda: seen.setdefault("writer", COLOUR.get()))
            COLOUR.set("blue")
            far.send(b"x")
            await until(lambda: len(seen) == 2)
            assert seen == {"reader": "red", "writer": "green"}
            loop.remove_reader(near)
            loop.remove_writer(near)

    run(main())


def test_signal_handlers(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        seen: list[str] = []
        COLOUR.set("red")
        loop.add_signal_handler(signal.SIGUSR1, lambda: seen.append(COLOUR.get()))
        COLOUR.set("blue")
        os.kill(os.getpid(), signal.SIGUSR1)
        await until(lambda: seen)
        assert seen == ["red"]

    run(main())


def test_datagrams(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        seen: list[str] = []

        class Receiver(asyncio.DatagramProtocol):
            def connection_made(self, transport: Any) -> None:
                seen.append(COLOUR.get())

            def datagram_received(self, data: bytes, addr: Any) -> None:
                seen.append(COLOUR.get())

        COLOUR.set("red")
        transport, _ = await loop.create_datagram_endpoint(Receiver, local_addr=("127.0.0.1", 0))
        COLOUR.set("blue")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", transport.get_extra_info("sockname"))
            await until(lambda: len(seen) == 2)
        assert seen == ["red", "red"]
        transport.close()

    run(main())


def test_pipes(run: Run) -> None:
    async def main() -> None:
        read_fd, write_fd = os.pipe()
        COLOUR.set("red")
        protocol = Seeing()
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(read_fd, "rb", 0))
        COLOUR.set("blue")
        os.write(write_fd, b"x")
        os.close(write_fd)
        await protocol.lost
        assert (protocol.seen["made"], protocol.seen["data"]) == ("red", "red")

    run(main())


def test_socket_calls_come_back_to_their_task(run: Run, pair: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        pair[0].setblocking(False)

        async def child() -> str:
            COLOUR.set("child")
            assert await loop.sock_recv(pair[0], 10) == b"x"
            return COLOUR.get()

        task = asyncio.create_task(child())
        await asyncio.sleep(0)
        pair[1].sendall(b"x")
        assert await task == "child"
        assert COLOUR.get() == "none"

    run(main())
