"""Context variables and I/O: callbacks of transports and readers see what their maker saw."""

import asyncio
import contextvars
import os
import signal
import socket
import struct
import sys
from typing import Any

import pytest

from .support import Recorder, Run, attach, end, pattern, receive_exactly, shrink_buffers, tcp_pair, until

Pair = tuple[socket.socket, socket.socket]

COLOUR = contextvars.ContextVar("COLOUR", default="none")


# Since Python 3.15 a transport of a stream socket has one context for everything.
ONE_CONTEXT = sys.version_info >= (3, 15)
OF_THE_WRITER = "red" if ONE_CONTEXT else "blue"


class Seeing(Recorder):
    """Notes the colour that each of its methods sees."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, str] = {}

    def note(self, call: str) -> None:
        super().note(call)
        self.seen.setdefault(call, COLOUR.get())


class Ending(Seeing):
    """Sets the colour when the peer has ended."""

    def eof_received(self) -> bool:
        super().eof_received()
        COLOUR.set("at the end")
        return False


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
        # pause_writing() is called by whoever writes, in its own context; and so is, later, resume_writing().
        assert protocol.seen["pause"] == "blue"
        assert protocol.seen["resume"] == OF_THE_WRITER
        COLOUR.set("green")
        transport.close()
        await protocol.lost
        assert protocol.seen["lost"] == ("red" if ONE_CONTEXT else "green")

    run(main())


def test_the_end_that_the_peer_makes(run: Run, pair: Pair) -> None:
    async def main() -> None:
        protocol = Ending()
        COLOUR.set("red")
        await attach(pair[0], protocol)
        COLOUR.set("blue")
        pair[1].close()
        await protocol.lost
        # What eof_received() sets, connection_lost() sees: it is scheduled from there.
        assert protocol.seen == {"made": "red", "eof": "red", "lost": "at the end"}

    run(main())


def test_the_end_that_the_network_makes(run: Run) -> None:
    async def main() -> None:
        near, far = tcp_pair()
        near.setblocking(False)
        protocol = Seeing()
        COLOUR.set("red")
        await attach(near, protocol)
        COLOUR.set("blue")
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()
        assert isinstance(await protocol.lost, ConnectionResetError)
        assert protocol.seen == {"made": "red", "lost": "red"}

    run(main())


def test_the_end_that_comes_when_all_is_sent(run: Run, pair: Pair) -> None:
    async def main() -> None:
        shrink_buffers(*pair)
        protocol = Seeing()
        COLOUR.set("red")
        transport = await attach(pair[0], protocol)
        COLOUR.set("blue")
        transport.write(pattern(1_000_000))
        COLOUR.set("green")
        transport.close()
        await asyncio.to_thread(receive_exactly, pair[1], 1_000_000)
        await protocol.lost
        assert protocol.seen["resume"] == protocol.seen["lost"] == OF_THE_WRITER

    run(main())


def test_the_end_that_an_error_of_the_protocol_makes(run: Run, pair: Pair) -> None:
    async def main() -> None:
        reported: list[str] = []

        class Failing(Seeing):
            def data_received(self, data: bytes) -> None:
                COLOUR.set("of the error")
                raise ZeroDivisionError

        asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(COLOUR.get()))
        protocol = Failing()
        COLOUR.set("red")
        await attach(pair[0], protocol)
        COLOUR.set("blue")
        pair[1].sendall(b"x")
        assert isinstance(await protocol.lost, ZeroDivisionError)
        assert (reported, protocol.seen["lost"]) == (["of the error"], "of the error")

    run(main())


def test_who_resumes_reading_sets_the_context(run: Run, pair: Pair) -> None:
    async def main() -> None:
        protocol = Seeing()
        COLOUR.set("red")
        transport = await attach(pair[0], protocol)
        transport.pause_reading()
        COLOUR.set("blue")
        transport.resume_reading()
        COLOUR.set("green")
        pair[1].sendall(b"x")
        pair[1].close()
        await protocol.lost
        seen = "red" if ONE_CONTEXT else "blue"
        assert protocol.seen == {"made": "red", "data": seen, "eof": seen, "lost": seen}

    run(main())


def test_what_connection_made_sets(run: Run) -> None:
    async def main() -> None:
        protocols: list[Seeing] = []

        class Setting(Seeing):
            def __init__(self) -> None:
                super().__init__()
                protocols.append(self)
                COLOUR.set("of the factory")

            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                COLOUR.set("of connection_made")

        server = await asyncio.get_running_loop().create_server(Setting, "127.0.0.1", 0)
        with socket.create_connection(server.sockets[0].getsockname()) as sock:
            sock.sendall(b"x")
            await until(lambda: protocols and "data" in protocols[0].calls)
        await protocols[0].lost
        seen = "of connection_made" if ONE_CONTEXT else "of the factory"
        assert protocols[0].seen == {"made": "of the factory", "data": seen, "eof": seen, "lost": seen}
        await end(server)

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
        assert protocol.seen == dict.fromkeys(("made", "data", "eof", "lost"), "red")

    run(main())


def test_the_writing_end_of_a_pipe(run: Run) -> None:
    async def main() -> None:
        read_fd, write_fd = os.pipe()
        COLOUR.set("red")
        protocol = Seeing()
        transport, _ = await asyncio.get_running_loop().connect_write_pipe(
            lambda: protocol, os.fdopen(write_fd, "wb", 0)
        )
        COLOUR.set("blue")
        transport.write(bytes(1_000_000))
        COLOUR.set("green")
        with os.fdopen(read_fd, "rb") as reading_end:
            await asyncio.to_thread(reading_end.read, 1_000_000)
            await until(lambda: "resume" in protocol.calls)
        await protocol.lost
        assert protocol.seen == {"made": "red", "pause": "blue", "resume": "blue", "lost": "red"}

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="3.11 reports an error in the context of who reports")
def test_an_error_of_a_datagram_protocol(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        reported: list[str] = []

        class Failing(asyncio.DatagramProtocol):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                COLOUR.set("of the error")
                raise ZeroDivisionError

        loop.set_exception_handler(lambda loop, context: reported.append(COLOUR.get()))
        transport, _ = await loop.create_datagram_endpoint(Failing, local_addr=("127.0.0.1", 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", transport.get_extra_info("sockname"))
            await until(lambda: reported)
        assert reported == ["of the error"]
        transport.close()

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
