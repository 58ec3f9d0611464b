"""How received data reaches a StreamReader, also one that is patched, subclassed, lent out, or at its end."""

import asyncio
import gc
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from .support import Context, Run, attach, pattern, turns, unix_pair, until

Reader = asyncio.StreamReader
StreamProtocol = asyncio.StreamReaderProtocol


@contextmanager
def patched(cls: type, name: str, wrap: Callable[[Any], Any]) -> Iterator[None]:
    """Have another attribute of the class meanwhile, made from the one that it has."""
    original = vars(cls)[name]
    setattr(cls, name, wrap(original))
    try:
        yield
    finally:
        setattr(cls, name, original)


@contextmanager
def connected(size: int = 0) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two sockets, with so many bytes on their way to the first."""
    near, far = unix_pair()
    with near, far:
        far.sendall(pattern(size))
        yield near, far


async def received(reader: Any, size: int) -> None:
    """Wait until so much is in the reader's buffer."""
    await until(lambda: len(reader._buffer) >= size)


def test_a_method_patched_in_the_class_is_called(run: Run) -> None:
    fed: list[bytes] = []

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def feed_data(reader: Reader, data: bytes) -> None:
            fed.append(data)
            original(reader, data.upper())

        return feed_data

    async def main() -> None:
        with connected() as (near, far):
            reader, writer = await asyncio.open_connection(sock=near)
            far.sendall(b"before\n")
            assert await reader.readline() == b"before\n"
            assert not fed
            with patched(Reader, "feed_data", wrap):
                far.sendall(b"during\n")
                assert await reader.readline() == b"DURING\n"
                assert fed == [b"during\n"] and type(fed[0]) is bytes
            far.sendall(b"after\n")
            assert await reader.readline() == b"after\n"
            assert len(fed) == 1
            writer.close()

    run(main())


def test_the_protocols_method_patched_in_the_class_is_called(run: Run) -> None:
    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda protocol, data: original(protocol, data[::-1])

    async def main() -> None:
        with connected() as (near, far):
            reader, writer = await asyncio.open_connection(sock=near)
            for _ in range(2):
                with patched(StreamProtocol, "data_received", wrap):
                    far.sendall(b"abc")
                    assert await reader.read(3) == b"cba"
                far.sendall(b"abc")
                assert await reader.read(3) == b"abc"
            writer.close()

    run(main())


def test_the_protocols_reader_patched_in_the_class_is_fed(run: Run) -> None:
    async def main() -> None:
        with connected() as (near, far):
            reader, writer = await asyncio.open_connection(sock=near)
            other = Reader()
            with patched(StreamProtocol, "_stream_reader", lambda _original: property(lambda _self: other)):
                far.sendall(b"abc")
                assert await other.read(3) == b"abc"
            far.sendall(b"def")
            assert await reader.read(3) == b"def"
            writer.close()

    run(main())


@pytest.mark.parametrize("name", ["feed_data", "_wakeup_waiter"])
def test_a_readers_own_method_is_called(run: Run, name: str) -> None:
    async def main() -> None:
        with connected() as (near, far):
            reader, writer = await asyncio.open_connection(sock=near)
            far.sendall(b"x")
            assert await reader.read(1) == b"x"
            original, calls = getattr(reader, name), []

            def own(*args: Any) -> None:
                calls.append(args)
                original(*args)

            setattr(reader, name, own)
            reading = asyncio.create_task(reader.read(10))
            await turns(2)
            far.sendall(b"abc")
            assert await reading == b"abc"
            assert len(calls) == 1
            delattr(reader, name)
            far.sendall(b"def")
            assert await reader.read(10) == b"def"
            assert len(calls) == 1
            writer.close()

    run(main())


def test_a_protocols_own_method_is_called(run: Run) -> None:
    async def main() -> None:
        with connected() as (near, far):
            reader, writer = await asyncio.open_connection(sock=near)
            protocol: Any = writer.transport.get_protocol()
            fed: list[bytes] = []
            protocol.data_received = fed.append
            far.sendall(b"abc")
            await until(lambda: fed)
            assert fed == [b"abc"] and type(fed[0]) is bytes
            del protocol.data_received
            far.sendall(b"def")
            assert await reader.read(10) == b"def"
            writer.close()

    run(main())


def test_subclasses_are_called(run: Run) -> None:
    class OwnReader(Reader):
        def feed_data(self, data: Any) -> None:
            super().feed_data(b"<" + data + b">")

    class OwnProtocol(StreamProtocol):
        def data_received(self, data: bytes) -> None:
            super().data_received(data.upper())

    async def main() -> None:
        for reader_type, protocol_type, arrives in (
            (Reader, StreamProtocol, b"abc"),
            (OwnReader, StreamProtocol, b"<abc>"),
            (Reader, OwnProtocol, b"ABC"),
            (OwnReader, OwnProtocol, b"<ABC>"),
        ):
            with connected() as (near, far):
                reader = reader_type()
                transport = await attach(near, protocol_type(reader))
                far.sendall(b"abc")
                assert await reader.read(100) == arrives
                transport.close()

    run(main())


def test_a_class_changed_on_the_way_is_called(run: Run) -> None:
    class OwnProtocol(StreamProtocol):
        def data_received(self, data: bytes) -> None:
            super().data_received(data.upper())

    async def main() -> None:
        with connected() as (near, far):
            reader, writer = await asyncio.open_connection(sock=near)
            protocol: Any = writer.transport.get_protocol()
            protocol.__class__ = OwnProtocol
            far.sendall(b"abc")
            assert await reader.read(100) == b"ABC"
            protocol.__class__ = StreamProtocol
            far.sendall(b"abc")
            assert await reader.read(100) == b"abc"
            writer.transport.set_protocol(OwnProtocol(reader))
            far.sendall(b"abc")
            assert await reader.read(100) == b"ABC"
            writer.transport.set_protocol(protocol)
            far.sendall(b"abc")
            assert await reader.read(100) == b"abc"
            writer.close()

    run(main())


@pytest.mark.parametrize("size", [1, 100, 5000, 100_000])
def test_the_buffer_pauses_the_transport_beyond_twice_the_limit(run: Run, size: int) -> None:
    async def main() -> None:
        with connected() as (near, far):
            reader, writer = await asyncio.open_connection(sock=near, limit=size)
            transport: Any = writer.transport
            far.sendall(pattern(2 * size))
            await received(reader, 2 * size)
            await turns(3)
            assert transport.is_reading() and "paused" not in repr(reader)
            far.sendall(b"x")
            await received(reader, 2 * size + 1)
            assert not transport.is_reading() and "paused" in repr(reader)
            far.sendall(b"y")
            await turns(5)
            assert len(reader._buffer) == 2 * size + 1  # type: ignore[attr-defined]
            assert await reader.readexactly(size + 1) == (pattern(2 * size) + b"x")[: size + 1]
            assert transport.is_reading()
            await received(reader, size + 1)
            writer.close()

    run(main())


def test_a_transport_that_cannot_pause(run: Run) -> None:
    class NeverPauses:
        asked = 0

        def pause_reading(self) -> None:
            self.asked += 1
            raise NotImplementedError

    async def main() -> None:
        with connected() as (near, far):
            reader: Any = Reader(limit=10)
            transport = await attach(near, StreamProtocol(reader))
            reader._transport = stubborn = NeverPauses()
            for count in range(1, 4):
                far.sendall(pattern(100))
                await received(reader, count * 100)
            assert stubborn.asked == 1 and reader._transport is None and not reader._paused
            transport.close()

    run(main())


def test_an_error_in_pausing_ends_the_connection(run: Run, errors: list[Context]) -> None:
    class Fails:
        def pause_reading(self) -> None:
            raise LookupError("cannot pause")

    async def main() -> None:
        with connected() as (near, far):
            reader: Any = Reader(limit=10)
            transport = await attach(near, StreamProtocol(reader))
            reader._transport = Fails()
            far.sendall(pattern(100))
            await until(lambda: errors)
            (error,) = errors
            assert isinstance(error["exception"], LookupError)
            assert error["message"] == "Fatal error: protocol.data_received() call failed."
            assert error["transport"] is transport
            await until(lambda: reader.exception() is not None)
            assert reader.exception() is error["exception"]

    run(main())


def test_data_after_the_readers_end_is_an_error(run: Run, errors: list[Context]) -> None:
    async def main() -> None:
        with connected() as (near, far):
            reader, _writer = await asyncio.open_connection(sock=near)
            reader.feed_eof()
            far.sendall(b"too late")
            await until(lambda: errors)
            assert isinstance(errors[0]["exception"], AssertionError)
            assert str(errors[0]["exception"]) == "feed_data after feed_eof"
            assert errors[0]["message"] == "Fatal error: protocol.data_received() call failed."

    run(main())


@pytest.mark.parametrize("size", [10, 20_000])
def test_a_buffer_that_is_lent_cannot_grow(run: Run, errors: list[Context], size: int) -> None:
    async def main() -> None:
        with connected() as (near, far):
            reader: Any
            reader, _writer = await asyncio.open_connection(sock=near)
            far.sendall(pattern(size))
            assert await reader.readexactly(size) == pattern(size)
            lent = memoryview(reader._buffer)
            far.sendall(pattern(size))
            await until(lambda: errors)
            assert isinstance(errors[0]["exception"], BufferError)
            assert errors[0]["message"] == "Fatal error: protocol.data_received() call failed."
            assert reader._buffer == b""
            lent.release()

    run(main())


def test_another_buffer_is_used(run: Run) -> None:
    async def main() -> None:
        with connected() as (near, far):
            reader: Any
            reader, writer = await asyncio.open_connection(sock=near)
            reader._buffer = bytearray(b"put in, ")
            far.sendall(b"received")
            await received(reader, 16)
            assert await reader.read(100) == b"put in, received"
            writer.close()

    run(main())


def test_a_reader_that_is_gone(run: Run) -> None:
    async def main() -> None:
        with connected() as (near, far):
            reader = Reader()
            transport = await attach(near, StreamProtocol(reader))
            del reader
            gc.collect()
            far.sendall(b"for nobody")
            await turns(5)
            assert transport.is_reading()
            transport.close()

    run(main())


@pytest.mark.parametrize("limit", [1, 2**40, 2**80, 10.5])
def test_any_limit_that_asyncio_takes(run: Run, limit: Any) -> None:
    async def main() -> None:
        with connected() as (near, far):
            reader, writer = await asyncio.open_connection(sock=near, limit=limit)
            far.sendall(pattern(1000))
            assert await reader.readexactly(1000) == pattern(1000)
            writer.close()

    run(main())


def test_a_waiter_of_somebodys_own(run: Run) -> None:
    class Waiter(asyncio.Future[None]):
        pass

    async def main() -> None:
        with connected() as (near, far):
            reader: Any
            reader, writer = await asyncio.open_connection(sock=near)
            for waiter in (Waiter(), asyncio.get_running_loop().create_future()):
                reader._waiter = waiter
                far.sendall(b"abc")
                await asyncio.wait_for(waiter, 10)
                assert reader._waiter is None and await reader.read(3) == b"abc"
                reader._waiter = cancelled = asyncio.get_running_loop().create_future()
                cancelled.cancel()
                far.sendall(b"def")
                assert reader._waiter is cancelled
                await until(lambda: reader._waiter is None)
                assert await reader.read(3) == b"def"
            writer.close()

    run(main())


def test_a_waiter_that_is_done_already(run: Run, errors: list[Context]) -> None:
    async def main() -> None:
        with connected() as (near, far):
            reader: Any
            reader, _writer = await asyncio.open_connection(sock=near)
            reader._waiter = asyncio.get_running_loop().create_future()
            reader._waiter.set_result(None)
            far.sendall(b"abc")
            await until(lambda: errors)
            assert isinstance(errors[0]["exception"], asyncio.InvalidStateError)
            assert reader._buffer == b"abc" and reader._waiter is None

    run(main())


@pytest.mark.parametrize("size", [3000, 4096, 16_384, 65_536, 200_000])
def test_messages_of_about_the_same_size(run: Run, size: int) -> None:
    async def main() -> None:
        with connected() as (near, far):
            for sock in (near, far):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            reader, writer = await asyncio.open_connection(sock=near)
            for change in (0, 0, 1, -1, 700, -size // 2, 0, size, 40_000, 0, 1 - size, 0):
                message = pattern(size + change)
                sending = asyncio.create_task(asyncio.to_thread(far.sendall, message))
                assert await reader.readexactly(len(message)) == message
                await sending
            far.shutdown(socket.SHUT_WR)
            assert await reader.read() == b"" and reader.at_eof()
            writer.close()

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 12), reason="streams of a server learn of start_tls() since 3.12")
def test_an_upgrade_to_tls_on_the_way(run: Run, server_tls: Any, client_tls: Any) -> None:
    async def main() -> None:
        async def serve(reader: Reader, writer: asyncio.StreamWriter) -> None:
            assert await reader.readline() == b"STARTTLS\n"
            writer.write(b"go ahead\n")
            await writer.drain()
            await writer.start_tls(server_tls)
            while line := await reader.readline():
                writer.write(line.upper())
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"go ahead\n"
        await writer.start_tls(client_tls, server_hostname="localhost")
        for number in range(20):
            line = (b"%d " % number + b"x" * (number * 1000))[:60_000] + b"\n"
            writer.write(line)
            assert await reader.readline() == line.upper()
        writer.close()
        server.close()
        await until(lambda: len(asyncio.all_tasks()) == 1)

    run(main())


def test_data_after_an_error_is_kept(run: Run) -> None:
    async def main() -> None:
        with connected() as (near, far):
            reader, writer = await asyncio.open_connection(sock=near)
            far.sendall(b"abc")
            await received(reader, 3)
            reader.set_exception(LookupError("set"))
            far.sendall(b"def")
            await received(reader, 6)
            with pytest.raises(LookupError, match="set"):
                await reader.read(6)
            writer.close()

    run(main())
