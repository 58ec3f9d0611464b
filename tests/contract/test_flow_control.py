"""Write flow control: watermarks, pause_writing and resume_writing, buffer sizes, drain."""

import asyncio
import socket
from typing import Any

import pytest

from .support import Recorder, Run, attach, pattern, receive_exactly, shrink_buffers, turns, until

Pair = tuple[socket.socket, socket.socket]


def test_the_limits(run: Run, pair: Pair) -> None:
    async def main() -> None:
        transport = await attach(pair[0], Recorder())
        assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
        transport.set_write_buffer_limits(high=1000)
        assert transport.get_write_buffer_limits() == (250, 1000)
        transport.set_write_buffer_limits(low=300)
        assert transport.get_write_buffer_limits() == (300, 1200)
        transport.set_write_buffer_limits(high=1000, low=1000)
        assert transport.get_write_buffer_limits() == (1000, 1000)
        transport.set_write_buffer_limits(0)
        assert transport.get_write_buffer_limits() == (0, 0)
        transport.set_write_buffer_limits()
        assert transport.get_write_buffer_limits() == (16 * 1024, 64 * 1024)
        for high, low in ((1, 2), (-1, None), (5, -1)):
            with pytest.raises(ValueError, match=r"^high \(.*\) must be >= low \(.*\) must be >= 0$"):
                transport.set_write_buffer_limits(high=high, low=low)
        transport.close()

    run(main())


def test_pause_and_resume(run: Run, pair: Pair) -> None:
    async def main() -> None:
        shrink_buffers(*pair)
        protocol = Recorder()
        transport = await attach(pair[0], protocol)
        data = pattern(1_000_000)
        transport.write(data)
        # The protocol is told inside write(), not later.
        assert protocol.calls == ["made", "pause"]
        assert 64 * 1024 < transport.get_write_buffer_size() < len(data)
        transport.write(data)
        await turns(3)
        assert protocol.calls == ["made", "pause"]
        assert await asyncio.to_thread(receive_exactly, pair[1], 2 * len(data)) == data + data
        await until(lambda: protocol.calls == ["made", "pause", "resume"])
        assert transport.get_write_buffer_size() <= 16 * 1024
        transport.close()

    run(main())


def test_no_pause_below_the_mark(run: Run, pair: Pair) -> None:
    async def main() -> None:
        shrink_buffers(*pair)
        protocol = Recorder()
        transport = await attach(pair[0], protocol)
        transport.set_write_buffer_limits(high=10_000_000)
        transport.write(pattern(1_000_000))
        assert transport.get_write_buffer_size() > 0
        assert protocol.calls == ["made"]
        # The new mark counts from now on, and is looked at at once.
        transport.set_write_buffer_limits(high=1000)
        assert protocol.calls == ["made", "pause"]
        transport.abort()
        await protocol.lost

    run(main())


def test_a_mark_of_nothing(run: Run, pair: Pair) -> None:
    async def main() -> None:
        shrink_buffers(*pair)
        protocol = Recorder()
        transport = await attach(pair[0], protocol)
        transport.set_write_buffer_limits(high=0)
        transport.write(b"small")
        assert protocol.calls == ["made"]
        data = pattern(1_000_000)
        transport.write(data)
        assert protocol.calls == ["made", "pause"]
        await asyncio.to_thread(receive_exactly, pair[1], 5 + len(data))
        await until(lambda: protocol.calls[-1] == "resume")
        assert transport.get_write_buffer_size() == 0
        transport.close()

    run(main())


def test_the_size_counts_what_is_not_sent(run: Run, pair: Pair) -> None:
    async def main() -> None:
        shrink_buffers(*pair)
        transport = await attach(pair[0], Recorder())
        assert transport.get_write_buffer_size() == 0
        transport.write(pattern(1_000_000))
        before = transport.get_write_buffer_size()
        assert 0 < before < 1_000_000
        transport.write(b"x" * 1000)
        assert transport.get_write_buffer_size() == before + 1000
        transport.write(b"")
        transport.writelines([])
        assert transport.get_write_buffer_size() == before + 1000
        transport.write(memoryview(bytes(10)))
        transport.write(bytearray(5))
        assert transport.get_write_buffer_size() == before + 1015
        transport.abort()
        assert transport.get_write_buffer_size() == 0

    run(main())


def test_a_memoryview_of_wide_items_counts_in_bytes(run: Run, pair: Pair) -> None:
    async def main() -> None:
        transport = await attach(pair[0], Recorder())
        transport.write(memoryview(bytes(range(16))).cast("I"))
        assert receive_exactly(pair[1], 16) == bytes(range(16))
        transport.close()

    run(main())


def test_writing_more_inside_resume_writing(run: Run, pair: Pair) -> None:
    async def main() -> None:
        shrink_buffers(*pair)
        data = pattern(500_000)

        class Pump(Recorder):
            left = 6
            paused = False

            def pump(self) -> None:
                while self.left and not self.paused:
                    self.left -= 1
                    self.transport.write(data)

            def pause_writing(self) -> None:
                super().pause_writing()
                self.paused = True

            def resume_writing(self) -> None:
                super().resume_writing()
                self.paused = False
                self.pump()

        protocol = Pump()
        transport = await attach(pair[0], protocol)
        protocol.pump()
        got = await asyncio.to_thread(receive_exactly, pair[1], 6 * len(data))
        assert got == data * 6
        transport.close()
        assert await protocol.lost is None
        pauses = protocol.calls[1:-1]
        assert pauses == ["pause", "resume"] * (len(pauses) // 2)

    run(main())


def test_closing_inside_pause_writing(run: Run, pair: Pair) -> None:
    async def main() -> None:
        shrink_buffers(*pair)

        class Aborter(Recorder):
            def pause_writing(self) -> None:
                super().pause_writing()
                self.transport.abort()

        protocol = Aborter()
        transport = await attach(pair[0], protocol)
        transport.write(pattern(1_000_000))
        assert transport.is_closing()
        assert await protocol.lost is None
        assert protocol.calls == ["made", "pause", "lost"]

    run(main())


def test_pause_while_closing(run: Run, pair: Pair) -> None:
    async def main() -> None:
        shrink_buffers(*pair)
        protocol = Recorder()
        transport = await attach(pair[0], protocol)
        data = pattern(1_000_000)
        transport.write(data)
        transport.close()
        await asyncio.to_thread(receive_exactly, pair[1], len(data))
        assert await protocol.lost is None
        assert protocol.calls == ["made", "pause", "resume", "lost"]

    run(main())


def test_drain(run: Run, pair: Pair) -> None:
    async def main() -> None:
        shrink_buffers(*pair)
        _reader, writer = await asyncio.open_connection(sock=pair[0])
        writer.write(b"small")
        await asyncio.wait_for(writer.drain(), 10)
        data = pattern(1_000_000)
        writer.write(data)
        drained = asyncio.create_task(writer.drain())
        await turns(5)
        assert not drained.done()
        assert await asyncio.to_thread(receive_exactly, pair[1], 5 + len(data)) == b"small" + data
        await drained
        writer.close()
        await writer.wait_closed()

    run(main())


def test_drain_of_a_lost_connection(run: Run, pair: Pair) -> None:
    async def main() -> None:
        shrink_buffers(*pair)
        _reader, writer = await asyncio.open_connection(sock=pair[0])
        writer.write(pattern(1_000_000))
        drained = asyncio.create_task(writer.drain())
        await turns(3)
        pair[1].close()
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await drained
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            await writer.wait_closed()

    run(main())


def test_echo_with_backpressure(run: Run) -> None:
    async def main() -> None:
        from .support import unix_pair

        near, far = unix_pair()
        shrink_buffers(near, far)

        class PausingEcho(asyncio.Protocol):
            transport: Any

            def connection_made(self, transport: Any) -> None:
                self.transport = transport

            def data_received(self, data: bytes) -> None:
                self.transport.write(data)

            def pause_writing(self) -> None:
                self.transport.pause_reading()

            def resume_writing(self) -> None:
                self.transport.resume_reading()

        await attach(near, PausingEcho())
        data = pattern(3_000_000)
        reader, writer = await asyncio.open_connection(sock=far)

        async def send() -> None:
            for start in range(0, len(data), 10_000):
                writer.write(data[start : start + 10_000])
                await writer.drain()

        sending = asyncio.create_task(send())
        assert await reader.readexactly(len(data)) == data
        await sending
        writer.close()
        await writer.wait_closed()

    run(main())
