"""Reading from stream transports: data, pausing, buffers that protocols lend, end of file."""

import array
import asyncio
import socket
from typing import Any

import pytest

from .support import BufferedRecorder, Recorder, Run, attach, pattern, shrink_buffers, turns, until

Pair = tuple[socket.socket, socket.socket]
KINDS = pytest.mark.parametrize("kind", [Recorder, BufferedRecorder])


@KINDS
def test_much_data(run: Run, pair: Pair, kind: Any) -> None:
    async def main() -> None:
        protocol = kind()
        transport = await attach(pair[0], protocol)
        data = pattern(3_000_000)
        sending = asyncio.create_task(asyncio.to_thread(pair[1].sendall, data))
        assert await protocol.until_received(len(data)) == data
        await sending
        transport.close()

    run(main())


@KINDS
def test_data_then_end(run: Run, pair: Pair, kind: Any) -> None:
    async def main() -> None:
        protocol = kind()
        await attach(pair[0], protocol)
        pair[1].sendall(b"last words")
        pair[1].close()
        assert await protocol.lost is None
        assert protocol.calls == ["made", "data", "eof", "lost"]
        assert bytes(protocol.received) == b"last words"

    run(main())


@KINDS
def test_the_end_closes_the_transport(run: Run, pair: Pair, kind: Any) -> None:
    async def main() -> None:
        protocol = kind()
        transport = await attach(pair[0], protocol)
        pair[1].shutdown(socket.SHUT_WR)
        await protocol.ended
        assert transport.is_closing()
        assert await protocol.lost is None
        assert pair[1].recv(1) == b""

    run(main())


@KINDS
def test_the_end_leaves_a_transport_open_on_request(run: Run, pair: Pair, kind: Any) -> None:
    async def main() -> None:
        protocol = kind()
        protocol.keep_open = True
        transport = await attach(pair[0], protocol)
        pair[1].sendall(b"question")
        pair[1].shutdown(socket.SHUT_WR)
        await protocol.ended
        await asyncio.sleep(0.005)
        assert protocol.calls == ["made", "data", "eof"]
        assert not transport.is_closing()
        transport.write(b"answer")
        assert pair[1].recv(100) == b"answer"
        transport.close()
        assert await protocol.lost is None
        assert protocol.calls == ["made", "data", "eof", "lost"]

    run(main())


def test_a_true_value_that_is_not_true_leaves_it_open_too(run: Run, pair: Pair) -> None:
    async def main() -> None:
        class Odd(Recorder):
            def eof_received(self) -> Any:
                super().eof_received()
                return "yes"

        protocol = Odd()
        transport = await attach(pair[0], protocol)
        pair[1].shutdown(socket.SHUT_WR)
        await protocol.ended
        await turns(3)
        assert not transport.is_closing()
        transport.close()

    run(main())


@KINDS
def test_pause_and_resume(run: Run, pair: Pair, kind: Any) -> None:
    async def main() -> None:
        protocol = kind()
        transport = await attach(pair[0], protocol)
        assert transport.is_reading()
        transport.pause_reading()
        transport.pause_reading()
        assert not transport.is_reading()
        pair[1].sendall(b"waits")
        await asyncio.sleep(0.005)
        assert protocol.calls == ["made"]
        transport.resume_reading()
        transport.resume_reading()
        assert transport.is_reading()
        assert await protocol.until_received(5) == b"waits"
        transport.close()
        transport.pause_reading()
        transport.resume_reading()
        assert not transport.is_reading()
        await protocol.lost

    run(main())


def test_the_end_waits_while_paused(run: Run, pair: Pair) -> None:
    async def main() -> None:
        protocol = Recorder()
        transport = await attach(pair[0], protocol)
        transport.pause_reading()
        pair[1].close()
        await asyncio.sleep(0.005)
        assert protocol.calls == ["made"]
        transport.resume_reading()
        assert await protocol.lost is None

    run(main())


@KINDS
def test_pausing_inside_data_received(run: Run, pair: Pair, kind: Any) -> None:
    async def main() -> None:
        class Pausing(kind):  # type: ignore[misc]
            def data_received(self, data: bytes) -> None:
                super().data_received(data)
                self.transport.pause_reading()

            def buffer_updated(self, nbytes: int) -> None:
                super().buffer_updated(nbytes)
                self.transport.pause_reading()

        protocol = Pausing()
        transport = await attach(pair[0], protocol)
        data = pattern(100_000)
        sending = asyncio.create_task(asyncio.to_thread(pair[1].sendall, data))
        await until(lambda: protocol.received)
        while len(protocol.received) < len(data):
            assert not transport.is_reading()
            seen = len(protocol.received)
            await turns(3)
            assert len(protocol.received) == seen
            transport.resume_reading()
            await protocol.until_received(seen + 1)
        await sending
        assert bytes(protocol.received) == data
        transport.close()

    run(main())


def test_pausing_while_writing_is_blocked(run: Run, pair: Pair) -> None:
    async def main() -> None:
        shrink_buffers(*pair)
        protocol = Recorder()
        transport = await attach(pair[0], protocol)
        transport.write(pattern(1_000_000))
        assert transport.get_write_buffer_size() > 0
        transport.pause_reading()
        pair[1].sendall(b"x")
        await asyncio.sleep(0.005)
        assert b"x" not in protocol.received
        transport.resume_reading()
        await protocol.until_received(1)
        transport.abort()
        await protocol.lost

    run(main())


def test_data_is_not_delivered_after_close(run: Run, pair: Pair) -> None:
    async def main() -> None:
        protocol = Recorder()
        transport = await attach(pair[0], protocol)
        await turns(2)
        pair[1].sendall(b"too late")
        transport.close()
        assert await protocol.lost is None
        assert protocol.calls == ["made", "lost"]

    run(main())


def test_data_is_not_delivered_after_close_with_a_full_buffer(run: Run, pair: Pair) -> None:
    async def main() -> None:
        shrink_buffers(*pair)
        protocol = Recorder()
        transport = await attach(pair[0], protocol)
        transport.write(pattern(1_000_000))
        transport.close()
        pair[1].sendall(b"too late")
        await asyncio.sleep(0.005)
        assert protocol.calls[-1] == "pause"
        transport.abort()
        await protocol.lost
        assert "data" not in protocol.calls

    run(main())


def test_closing_inside_data_received_stops_reading(run: Run, pair: Pair) -> None:
    async def main() -> None:
        class Closing(Recorder):
            def data_received(self, data: bytes) -> None:
                self.calls.append(f"data {data[:1].decode()}")
                self.transport.close()

        protocol = Closing()
        await attach(pair[0], protocol)
        pair[1].sendall(b"a" * 10)
        await until(lambda: len(protocol.calls) > 1)
        assert await protocol.lost is None
        assert protocol.calls == ["made", "data a", "lost"]

    run(main())


@pytest.mark.parametrize(
    "make",
    [bytearray, lambda size: memoryview(bytearray(size)), lambda size: array.array("b", bytes(size))],
    ids=["bytearray", "memoryview", "array"],
)
def test_kinds_of_buffers(run: Run, pair: Pair, make: Any) -> None:
    async def main() -> None:
        class Lender(BufferedRecorder):
            def __init__(self) -> None:
                super().__init__()
                self.lent = make(100)

            def get_buffer(self, sizehint: int) -> Any:
                return self.lent

            def buffer_updated(self, nbytes: int) -> None:
                self.received += bytes(memoryview(self.lent)[:nbytes])

        protocol = Lender()
        transport = await attach(pair[0], protocol)
        data = pattern(1050)
        pair[1].sendall(data)
        assert await protocol.until_received(len(data)) == data
        transport.close()

    run(main())


def test_the_size_of_the_buffer_is_kept(run: Run, pair: Pair) -> None:
    async def main() -> None:
        hints: list[int] = []
        sizes: list[int] = []

        class Lender(BufferedRecorder):
            def get_buffer(self, sizehint: int) -> bytearray:
                hints.append(sizehint)
                return super().get_buffer(sizehint)

            def buffer_updated(self, nbytes: int) -> None:
                sizes.append(nbytes)
                super().buffer_updated(nbytes)

        protocol = Lender(7)
        transport = await attach(pair[0], protocol)
        pair[1].sendall(b"0123456789" * 3)
        assert await protocol.until_received(30) == b"0123456789" * 3
        assert max(sizes) <= 7
        assert set(hints) == {-1}
        transport.close()

    run(main())


def test_another_buffer_each_time(run: Run, pair: Pair) -> None:
    async def main() -> None:
        class Lender(BufferedRecorder):
            def get_buffer(self, sizehint: int) -> bytearray:
                self.buffer = bytearray(5)
                return self.buffer

        protocol = Lender()
        transport = await attach(pair[0], protocol)
        data = pattern(1000)
        pair[1].sendall(data)
        assert await protocol.until_received(1000) == data
        protocol.buffer.clear()
        protocol.buffer += b"resizing is allowed, for nothing holds it"
        transport.close()

    run(main())


def test_what_was_received_stays_what_it_was(run: Run, pair: Pair) -> None:
    async def main() -> None:
        class Keeper(Recorder):
            def data_received(self, data: bytes) -> None:
                super().data_received(data)
                kept.append(data)

        kept: list[bytes] = []
        protocol = Keeper()
        transport = await attach(pair[0], protocol)
        for number in range(20):
            pair[1].sendall(bytes([number]) * 100)
            await protocol.until_received(100 * (number + 1))
        assert b"".join(kept) == bytes(protocol.received)
        assert bytes(protocol.received) == b"".join(bytes([number]) * 100 for number in range(20))
        transport.close()

    run(main())


def test_a_protocol_without_base_class(run: Run, pair: Pair) -> None:
    async def main() -> None:
        # A protocol need not inherit from asyncio's.
        class Plain:
            def __init__(self) -> None:
                self.trace: list[str] = []

            def connection_made(self, transport: Any) -> None:
                self.trace.append("made")

            def data_received(self, data: bytes) -> None:
                self.trace.append(data.decode())

            def eof_received(self) -> None:
                self.trace.append("eof")

            def connection_lost(self, exc: BaseException | None) -> None:
                self.trace.append(f"lost {exc}")

        protocol = Plain()
        await attach(pair[0], protocol)
        pair[1].sendall(b"hello")
        pair[1].close()
        await until(lambda: protocol.trace[-1] == "lost None")
        assert protocol.trace == ["made", "hello", "eof", "lost None"]

    run(main())


def test_methods_replaced_on_the_protocol(run: Run, pair: Pair) -> None:
    async def main() -> None:
        protocol: Any = Recorder()
        transport = await attach(pair[0], protocol)
        pair[1].sendall(b"one")
        await protocol.until_received(3)
        seen: list[bytes] = []
        protocol.data_received = seen.append
        pair[1].sendall(b"two")
        await until(lambda: seen)
        assert seen == [b"two"]
        transport.close()

    run(main())


def test_stock_streams_see_methods_replaced(run: Run, pair: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        seen: list[bytes] = []
        feed = reader.feed_data

        def spy(data: Any) -> None:
            seen.append(bytes(data))
            feed(data)

        reader.feed_data = spy  # type: ignore[method-assign]
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport = await attach(pair[0], protocol)
        pair[1].sendall(b"data")
        assert await reader.readexactly(4) == b"data"
        assert seen == [b"data"]
        transport.close()

    run(main())
