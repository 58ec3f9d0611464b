"""asyncio's streams over each loop: open_connection, start_server, reading, writing, ends, limits."""

import asyncio
import pathlib
import socket
import sys
from typing import Any

import pytest

from .support import Context, Run, alone, end, pattern, shrink_buffers, turns, unix_pair, until

Reader = asyncio.StreamReader
Writer = asyncio.StreamWriter


async def echo_lines(reader: Reader, writer: Writer) -> None:
    """Answer every line in capitals, until the client ends."""
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()
    writer.close()
    await writer.wait_closed()


def test_a_conversation(run: Run) -> None:
    async def main() -> None:
        server = await asyncio.start_server(echo_lines, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for number in range(50):
            writer.write(b"line %d\n" % number)
            await writer.drain()
            assert await reader.readline() == b"LINE %d\n" % number
        writer.write_eof()
        assert await reader.read() == b""
        assert reader.at_eof()
        writer.close()
        await writer.wait_closed()
        await end(server)
        await alone()

    run(main())


def test_a_conversation_over_unix_sockets(run: Run, tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        path = str(tmp_path / "socket")
        server = await asyncio.start_unix_server(echo_lines, path)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.writelines([b"one\n", b"two\n"])
        assert await reader.readline() == b"ONE\n"
        assert await reader.readexactly(4) == b"TWO\n"
        writer.close()
        await writer.wait_closed()
        await end(server)
        await alone()

    run(main())


def test_many_clients(run: Run) -> None:
    async def main() -> None:
        server = await asyncio.start_server(echo_lines, "127.0.0.1", 0, backlog=200)
        address = server.sockets[0].getsockname()

        async def client(number: int) -> None:
            reader, writer = await asyncio.open_connection(*address)
            for turn in range(5):
                writer.write(b"client %d turn %d\n" % (number, turn))
                assert await reader.readline() == b"CLIENT %d TURN %d\n" % (number, turn)
            writer.close()
            await writer.wait_closed()

        await asyncio.gather(*(client(number) for number in range(50)))
        await end(server)
        await alone()

    run(main())


def test_ways_of_reading(run: Run) -> None:
    async def main() -> None:
        near, far = unix_pair()
        reader, writer = await asyncio.open_connection(sock=near)
        with far:
            far.sendall(b"0123456789first\nsecond;third")
            assert await reader.readexactly(10) == b"0123456789"
            assert await reader.readline() == b"first\n"
            assert await reader.readuntil(b";") == b"second;"
            assert await reader.read(3) == b"thi"
            assert await reader.read(100) == b"rd"
            waiting = asyncio.create_task(reader.read(100))
            await turns(3)
            assert not waiting.done()
            far.sendall(b"late")
            assert await waiting == b"late"
            far.sendall(b"rest")
            far.shutdown(socket.SHUT_WR)
            assert await reader.read() == b"rest"
            assert await reader.read() == b""
            assert await reader.read(10) == b""
            assert await reader.readline() == b""
            writer.close()
            await writer.wait_closed()

    run(main())


def test_an_end_in_the_middle(run: Run) -> None:
    async def main() -> None:
        near, far = unix_pair()
        reader, writer = await asyncio.open_connection(sock=near)
        with far:
            far.sendall(b"half")
            far.shutdown(socket.SHUT_WR)
            with pytest.raises(asyncio.IncompleteReadError) as info:
                await reader.readexactly(10)
            assert info.value.partial == b"half" and info.value.expected == 10
            assert await reader.readline() == b""
            writer.close()

    run(main())


def test_an_end_while_reading_a_line(run: Run) -> None:
    async def main() -> None:
        near, far = unix_pair()
        reader, writer = await asyncio.open_connection(sock=near)
        with far:
            line = asyncio.create_task(reader.readline())
            await turns(2)
            far.sendall(b"no newline")
            far.shutdown(socket.SHUT_WR)
            assert await line == b"no newline"
            writer.close()

    run(main())


def test_lines_that_are_too_long(run: Run) -> None:
    async def main() -> None:
        near, far = unix_pair()
        reader, writer = await asyncio.open_connection(sock=near, limit=100)
        with far:
            far.sendall(b"x" * 300 + b"\nshort\n")
            with pytest.raises(ValueError, match="Separator is (not )?found"):
                await reader.readline()
            far.sendall(b"short\n")
            await asyncio.sleep(0.001)
            writer.close()

    run(main())


def test_the_limit_pauses_the_transport(run: Run) -> None:
    async def main() -> None:
        near, far = unix_pair()
        reader, writer = await asyncio.open_connection(sock=near, limit=1000)
        with far:
            data = pattern(500_000)
            sending = asyncio.create_task(asyncio.to_thread(far.sendall, data))
            transport: Any = writer.transport
            await until(lambda: not transport.is_reading())
            assert await reader.readexactly(len(data)) == data
            await sending
            assert transport.is_reading()
            writer.close()

    run(main())


def test_iterating_over_lines(run: Run) -> None:
    async def main() -> None:
        near, far = unix_pair()
        reader, writer = await asyncio.open_connection(sock=near)
        with far:
            far.sendall(b"a\nb\nc")
            far.shutdown(socket.SHUT_WR)
            assert [line async for line in reader] == [b"a\n", b"b\n", b"c"]
            writer.close()

    run(main())


def test_two_readers_at_once(run: Run) -> None:
    async def main() -> None:
        near, far = unix_pair()
        reader, writer = await asyncio.open_connection(sock=near)
        with far:
            first = asyncio.create_task(reader.read(1))
            await asyncio.sleep(0)
            with pytest.raises(RuntimeError, match="another coroutine is already waiting for incoming data"):
                await reader.read(1)
            far.sendall(b"x")
            assert await first == b"x"
            writer.close()

    run(main())


def test_cancelling_a_read(run: Run) -> None:
    async def main() -> None:
        near, far = unix_pair()
        reader, writer = await asyncio.open_connection(sock=near)
        with far:
            reading = asyncio.create_task(reader.readexactly(4))
            await asyncio.sleep(0)
            far.sendall(b"ab")
            await asyncio.sleep(0.001)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            far.sendall(b"cd")
            # Nothing is lost by the cancel.
            assert await reader.readexactly(4) == b"abcd"
            writer.close()

    run(main())


def test_a_reset_reaches_reader_and_writer(run: Run) -> None:
    async def main() -> None:
        import struct

        from .support import tcp_pair

        near, far = tcp_pair()
        reader, writer = await asyncio.open_connection(sock=near)
        reading = asyncio.create_task(reader.read(10))
        await turns(2)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()
        with pytest.raises(ConnectionResetError):
            await reading
        with pytest.raises(ConnectionResetError):
            await reader.read(10)
        assert isinstance(reader.exception(), ConnectionResetError)
        writer.close()
        with pytest.raises(ConnectionResetError):
            await writer.wait_closed()

    run(main())


def test_the_writer_as_an_object(run: Run) -> None:
    async def main() -> None:
        near, far = unix_pair()
        reader, writer = await asyncio.open_connection(sock=near)
        with far:
            assert isinstance(writer.transport, asyncio.Transport)
            assert writer.can_write_eof()
            assert not writer.is_closing()
            assert writer.get_extra_info("socket").family == socket.AF_UNIX
            assert repr(writer).startswith("<StreamWriter transport=<")
            assert repr(reader).startswith("<StreamReader transport=<")
            writer.close()
            assert writer.is_closing()
            await writer.wait_closed()
            await writer.wait_closed()

    run(main())


def test_wait_closed_waits(run: Run) -> None:
    async def main() -> None:
        near, far = unix_pair()
        shrink_buffers(near, far)
        _reader, writer = await asyncio.open_connection(sock=near)
        with far:
            data = pattern(1_000_000)
            writer.write(data)
            writer.close()
            closed = asyncio.create_task(writer.wait_closed())
            await turns(5)
            assert not closed.done()
            from .support import receive_to_end

            assert await asyncio.to_thread(receive_to_end, far) == data
            await closed

    run(main())


def test_a_failing_client_callback(run: Run, errors: list[Context]) -> None:
    async def main() -> None:
        async def handle(_reader: Reader, writer: Writer) -> None:
            raise LookupError("in the handler")

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        await until(lambda: errors)
        assert isinstance(errors[0]["exception"], LookupError)
        if sys.version_info >= (3, 12):
            assert errors[0]["message"] == "Unhandled exception in client_connected_cb"
            assert await reader.read() == b""
        writer.close()
        await end(server)
        await alone()

    run(main())


def test_a_plain_function_as_client_callback(run: Run) -> None:
    async def main() -> None:
        def handle(_reader: Reader, writer: Writer) -> None:
            writer.write(b"hello")
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b"hello"
        writer.close()
        await writer.wait_closed()
        await end(server)
        await alone()

    run(main())


def test_a_header_and_a_body_written_apart(run: Run) -> None:
    async def main() -> None:
        async def handle(reader: Reader, writer: Writer) -> None:
            for _ in range(20):
                size = int.from_bytes(await reader.readexactly(4), "big")
                body = await reader.readexactly(size)
                writer.write(size.to_bytes(4, "big"))
                writer.write(body)
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for number in range(20):
            body = pattern(number * 1000)
            writer.write(len(body).to_bytes(4, "big"))
            writer.write(body)
            assert int.from_bytes(await reader.readexactly(4), "big") == len(body)
            assert await reader.readexactly(len(body)) == body
        assert await reader.read() == b""
        writer.close()
        await end(server)
        await alone()

    run(main())


def test_connect_read_and_write_in_flight(run: Run) -> None:
    async def main() -> None:
        server = await asyncio.start_server(echo_lines, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        lines = [b"line %d\n" % number for number in range(2000)]
        writer.writelines(lines)
        for line in lines:
            assert await reader.readline() == line.upper()
        writer.close()
        await writer.wait_closed()
        await end(server)
        await alone()

    run(main())
