"""Pipe transports: reading and writing ends of pipes, sockets and terminals."""

import asyncio
import errno
import io
import logging
import os
import pathlib
import re
import socket
import tty
from collections.abc import Iterator
from typing import Any

import pytest

from .support import Context, Recorder, Run, pattern, turns, until

Pipe = tuple[int, io.RawIOBase]


@pytest.fixture
def ends() -> Iterator[tuple[io.FileIO, io.FileIO]]:
    """The reading and the writing end of a pipe."""
    read_fd, write_fd = os.pipe()
    read_end, write_end = io.FileIO(read_fd, "r"), io.FileIO(write_fd, "w")
    with read_end, write_end:
        yield read_end, write_end


Ends = tuple[io.FileIO, io.FileIO]


async def reader(pipe: Any, protocol: Any = None) -> tuple[Any, Any]:
    """Give the reading end of a pipe to the loop."""
    protocol = protocol or Recorder()
    return await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)


async def writer(pipe: Any, protocol: Any = None) -> tuple[Any, Any]:
    """Give the writing end of a pipe to the loop."""
    protocol = protocol or Recorder()
    return await asyncio.get_running_loop().connect_write_pipe(lambda: protocol, pipe)


def read_all(fd: int, count: int) -> bytes:
    """Read so much from a blocking descriptor."""
    data = b""
    while len(data) < count and (part := os.read(fd, 1 << 16)):
        data += part
    return data


def test_reading(run: Run, ends: Ends) -> None:
    async def main() -> None:
        transport, protocol = await reader(ends[0])
        assert isinstance(transport, asyncio.ReadTransport)
        assert protocol.calls == ["made"]
        assert transport.get_extra_info("pipe") is ends[0]
        assert transport.is_reading() and not transport.is_closing()
        os.write(ends[1].fileno(), b"hello")
        assert await protocol.until_received(5) == b"hello"
        ends[1].close()
        assert await protocol.lost is None
        assert protocol.calls == ["made", "data", "eof", "lost"]
        assert transport.is_closing()
        assert ends[0].closed

    run(main())


def test_the_end_closes_whatever_eof_received_says(run: Run, ends: Ends) -> None:
    async def main() -> None:
        protocol = Recorder()
        protocol.keep_open = True
        await reader(ends[0], protocol)
        ends[1].close()
        assert await protocol.lost is None

    run(main())


def test_much_data(run: Run, ends: Ends) -> None:
    async def main() -> None:
        _, incoming = await reader(ends[0])
        outgoing, sender = await writer(ends[1])
        data = pattern(1_000_000)
        outgoing.write(data)
        outgoing.close()
        assert await incoming.lost is None
        assert bytes(incoming.received) == data
        assert await sender.lost is None

    run(main())


def test_pause_and_resume_reading(run: Run, ends: Ends) -> None:
    async def main() -> None:
        transport, protocol = await reader(ends[0])
        transport.pause_reading()
        transport.pause_reading()
        assert not transport.is_reading()
        os.write(ends[1].fileno(), b"waits")
        await asyncio.sleep(0.005)
        assert protocol.calls == ["made"]
        transport.resume_reading()
        transport.resume_reading()
        assert await protocol.until_received(5) == b"waits"
        transport.close()
        assert await protocol.lost is None
        assert protocol.calls == ["made", "data", "lost"]

    run(main())


def test_closing_the_reading_end(run: Run, ends: Ends) -> None:
    async def main() -> None:
        transport, protocol = await reader(ends[0])
        transport.close()
        transport.close()
        assert transport.is_closing()
        assert protocol.calls == ["made"]
        assert await protocol.lost is None
        with pytest.raises(BrokenPipeError):
            os.write(ends[1].fileno(), b"x")

    run(main())


def test_an_error_in_data_received(run: Run, ends: Ends, errors: list[Context]) -> None:
    async def main() -> None:
        class Failing(Recorder):
            def data_received(self, data: bytes) -> None:
                super().data_received(data)
                if data == b"bad":
                    raise LookupError("bad data")

        transport, protocol = await reader(ends[0], Failing())
        os.write(ends[1].fileno(), b"bad")
        await protocol.until_received(3)
        await turns(2)
        assert [str(error["exception"]) for error in errors] == ["bad data"]
        # Unlike a stream's, a pipe's transport goes on.
        assert not transport.is_closing()
        os.write(ends[1].fileno(), b"good")
        await protocol.until_received(7)
        transport.close()
        await protocol.lost

    run(main())


def test_set_protocol(run: Run, ends: Ends) -> None:
    async def main() -> None:
        transport, first = await reader(ends[0])
        second = Recorder()
        assert transport.get_protocol() is first
        transport.set_protocol(second)
        assert transport.get_protocol() is second
        os.write(ends[1].fileno(), b"x")
        await second.until_received(1)
        transport.close()
        await second.lost
        assert first.calls == ["made"]

    run(main())


def test_writing(run: Run, ends: Ends) -> None:
    async def main() -> None:
        transport, protocol = await writer(ends[1])
        assert isinstance(transport, asyncio.WriteTransport)
        assert transport.get_extra_info("pipe") is ends[1]
        assert transport.can_write_eof()
        transport.write(b"one ")
        transport.write(bytearray(b"two "))
        transport.write(memoryview(b"three "))
        transport.write(b"")
        transport.writelines([b"four ", b"five"])
        assert os.read(ends[0].fileno(), 100) == b"one two three four five"
        transport.close()
        assert transport.is_closing()
        assert await protocol.lost is None
        assert protocol.calls == ["made", "lost"]
        assert os.read(ends[0].fileno(), 100) == b""
        assert ends[1].closed

    run(main())


def test_data_of_the_wrong_type(run: Run, ends: Ends) -> None:
    async def main() -> None:
        transport, protocol = await writer(ends[1])
        with pytest.raises((AssertionError, TypeError)):
            transport.write("text")
        transport.close()
        await protocol.lost

    run(main())


def test_the_writing_end_does_not_read(run: Run, ends: Ends) -> None:
    async def main() -> None:
        transport, protocol = await writer(ends[1])
        for method in (transport.is_reading, transport.pause_reading, transport.resume_reading):
            with pytest.raises(NotImplementedError):
                method()
        transport.close()
        await protocol.lost

    run(main())


def test_flow_control(run: Run, ends: Ends) -> None:
    async def main() -> None:
        transport, protocol = await writer(ends[1])
        data = pattern(500_000)
        transport.write(data)
        assert protocol.calls == ["made", "pause"]
        assert transport.get_write_buffer_size() > 0
        assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
        assert await asyncio.to_thread(read_all, ends[0].fileno(), len(data)) == data
        await until(lambda: protocol.calls == ["made", "pause", "resume"])
        assert transport.get_write_buffer_size() == 0
        transport.close()

    run(main())


@pytest.mark.parametrize("method", ["close", "write_eof"])
def test_the_end_waits_for_the_buffer(run: Run, ends: Ends, method: str) -> None:
    async def main() -> None:
        transport, protocol = await writer(ends[1])
        data = pattern(500_000)
        transport.write(data)
        getattr(transport, method)()
        await turns(3)
        assert not protocol.lost.done()
        assert await asyncio.to_thread(read_all, ends[0].fileno(), len(data) + 1) == data
        assert await protocol.lost is None

    run(main())


def test_a_mutable_buffer_changed_after_write(run: Run, ends: Ends) -> None:
    async def main() -> None:
        transport, _ = await writer(ends[1])
        data = bytearray(b"a" * 500_000)
        transport.write(data)
        data[:] = b"b" * len(data)
        got = await asyncio.to_thread(read_all, ends[0].fileno(), len(data))
        assert got.count(b"a") == len(got)
        transport.close()

    run(main())


def test_abort(run: Run, ends: Ends) -> None:
    async def main() -> None:
        transport, protocol = await writer(ends[1])
        transport.write(pattern(500_000))
        transport.abort()
        assert transport.is_closing()
        assert transport.get_write_buffer_size() == 0
        assert await protocol.lost is None

    run(main())


def test_the_reader_goes_away(run: Run, ends: Ends) -> None:
    async def main() -> None:
        transport, protocol = await writer(ends[1])
        ends[0].close()
        # Noticed without a write.
        assert await protocol.lost is None
        assert transport.is_closing()

    run(main())


def test_the_reader_goes_away_with_a_full_buffer(run: Run, ends: Ends) -> None:
    async def main() -> None:
        transport, protocol = await writer(ends[1])
        transport.write(pattern(500_000))
        ends[0].close()
        assert isinstance(await protocol.lost, BrokenPipeError)
        assert transport.get_write_buffer_size() == 0

    run(main())


def test_writing_to_a_broken_pipe(run: Run, ends: Ends) -> None:
    async def main() -> None:
        transport, protocol = await writer(ends[1])
        await turns(2)
        ends[0].close()
        transport.write(b"into the void")
        assert isinstance(await protocol.lost, (BrokenPipeError, type(None)))
        assert protocol.calls == ["made", "lost"]

    run(main())


def test_writing_after_close(run: Run, ends: Ends, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        transport, protocol = await writer(ends[1])
        transport.close()
        transport.write(b"dropped")
        await protocol.lost
        with caplog.at_level(logging.WARNING, logger="asyncio"):
            for _ in range(10):
                transport.write(b"dropped")
        assert {record.getMessage() for record in caplog.records} == {
            "pipe closed by peer or os.write(pipe, data) raised exception."
        }
        transport.close()
        transport.write_eof()

    run(main())


def test_texts(run: Run, ends: Ends) -> None:
    async def main() -> None:
        read_transport, _ = await reader(ends[0])
        write_transport, _ = await writer(ends[1])
        await turns(2)
        assert re.fullmatch(rf"<\w+ fd={ends[0].fileno()} polling>", repr(read_transport))
        assert re.fullmatch(rf"<\w+ fd={ends[1].fileno()} idle bufsize=0>", repr(write_transport))
        read_transport.pause_reading()
        assert re.fullmatch(rf"<\w+ fd={ends[0].fileno()} idle>", repr(read_transport))
        write_transport.write(pattern(500_000))
        size = write_transport.get_write_buffer_size()
        assert re.fullmatch(rf"<\w+ fd={ends[1].fileno()} polling bufsize={size}>", repr(write_transport))
        read_transport.close()
        write_transport.abort()
        assert " closing " in repr(read_transport)
        assert " closing " in repr(write_transport)
        await turns(3)
        assert " closed " in repr(read_transport)
        assert " closed " in repr(write_transport)

    run(main())


def test_files_are_refused(run: Run, tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        path = tmp_path / "file"
        with path.open("wb+", buffering=0) as file:
            with pytest.raises(ValueError, match=r"^Pipe transport is for pipes/sockets only\.$"):
                await reader(file)
            with pytest.raises(
                ValueError, match="^Pipe transport is only for pipes, sockets and character devices"
            ):
                await writer(file)

    run(main())


def test_sockets_as_pipes(run: Run) -> None:
    async def main() -> None:
        near, far = socket.socketpair()
        read_transport, incoming = await reader(near)
        write_transport, outgoing = await writer(far)
        write_transport.write(b"hello")
        await incoming.until_received(5)
        write_transport.close()
        assert await outgoing.lost is None
        assert await incoming.lost is None
        assert read_transport.is_closing()

    run(main())


def test_a_terminal(run: Run) -> None:
    async def main() -> None:
        try:
            leader, follower = os.openpty()
        except OSError:
            pytest.skip("no pseudo-terminals on this machine")
        tty.setraw(follower)
        read_transport, incoming = await reader(io.FileIO(leader, "r"))
        write_transport, outgoing = await writer(io.FileIO(follower, "w"))
        write_transport.write(b"through a terminal")
        assert await incoming.until_received(18) == b"through a terminal"
        write_transport.close()
        assert await outgoing.lost is None
        # Linux says EIO when the last follower is closed.
        exc = await incoming.lost
        assert isinstance(exc, OSError) and exc.errno == errno.EIO
        assert read_transport.is_closing()

    run(main())


def test_streams_over_pipes(run: Run, ends: Ends) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        stream = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stream), ends[0])
        transport, protocol = await loop.connect_write_pipe(
            lambda: asyncio.streams.FlowControlMixin(loop=loop), ends[1]
        )
        sink = asyncio.StreamWriter(transport, protocol, None, loop)
        data = pattern(300_000)
        for start in range(0, len(data), 1000):
            sink.write(data[start : start + 1000])
            if start % 50_000 == 0:
                await asyncio.sleep(0)
        sink.write(b"\nlast line\n")
        sink.close()
        assert await stream.readexactly(len(data)) == data
        assert await stream.readline() == b"\n"
        assert await stream.readline() == b"last line\n"
        assert await stream.read() == b""

    run(main())


def test_the_descriptor_is_nonblocking(run: Run, ends: Ends) -> None:
    async def main() -> None:
        read_transport, incoming = await reader(ends[0])
        write_transport, outgoing = await writer(ends[1])
        assert not os.get_blocking(ends[0].fileno())
        assert not os.get_blocking(ends[1].fileno())
        read_transport.close()
        write_transport.close()
        await incoming.lost
        await outgoing.lost

    run(main())
