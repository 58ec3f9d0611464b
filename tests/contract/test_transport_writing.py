"""Writing to stream transports: kinds of data, order, buffers, corking, write_eof, and what is refused."""

import array
import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any

import pytest

from .support import (
    Recorder,
    Run,
    attach,
    pattern,
    receive_exactly,
    receive_to_end,
    shrink_buffers,
    turns,
    until,
)

Pair = tuple[socket.socket, socket.socket]


@pytest.mark.parametrize(
    "make",
    [bytes, bytearray, memoryview, lambda data: memoryview(bytearray(data))],
    ids=["bytes", "bytearray", "memoryview", "mutable memoryview"],
)
def test_kinds_of_data(run: Run, pair: Pair, make: Callable[[bytes], Any]) -> None:
    async def main() -> None:
        transport = await attach(pair[0], Recorder())
        transport.write(make(b"small"))
        assert receive_exactly(pair[1], 5) == b"small"
        transport.write(make(b""))
        big = pattern(2_000_000)
        transport.write(make(big))
        transport.write(make(b"end"))
        got = await asyncio.to_thread(receive_exactly, pair[1], len(big) + 3)
        assert got == big + b"end"
        transport.close()

    run(main())


@pytest.mark.parametrize("data", ["text", 42, None, [1, 2], object(), 1.5])
def test_data_of_the_wrong_type(run: Run, pair: Pair, data: Any) -> None:
    async def main() -> None:
        transport = await attach(pair[0], Recorder())
        name = type(data).__name__
        with pytest.raises(TypeError, match=rf"^data argument must be a .*object, not '{name}'$"):
            transport.write(data)
        transport.write(b"goes on")
        assert receive_exactly(pair[1], 7) == b"goes on"
        transport.close()

    run(main())


def test_an_array_is_refused(run: Run, pair: Pair) -> None:
    async def main() -> None:
        transport = await attach(pair[0], Recorder())
        with pytest.raises(TypeError, match=r"^data argument must be a .*, not 'array'$"):
            transport.write(array.array("b", [1, 2, 3]))
        transport.close()

    run(main())


def test_writelines(run: Run, pair: Pair) -> None:
    async def main() -> None:
        transport = await attach(pair[0], Recorder())
        transport.writelines([b"one ", bytearray(b"two "), memoryview(b"three ")])
        transport.writelines([])
        transport.writelines([b"tuple "])
        transport.writelines((b"four ", b"five "))
        expected = b"one two three tuple four five "
        assert receive_exactly(pair[1], len(expected)) == expected
        transport.close()

    run(main())


def test_many_small_writes_keep_their_order(run: Run, pair: Pair) -> None:
    async def main() -> None:
        transport = await attach(pair[0], Recorder())
        data = pattern(40_000)
        for start in range(0, len(data), 7):
            transport.write(data[start : start + 7])
        assert await asyncio.to_thread(receive_exactly, pair[1], len(data)) == data
        transport.close()

    run(main())


def test_small_after_big_keeps_the_order(run: Run, pair: Pair) -> None:
    async def main() -> None:
        shrink_buffers(*pair)
        transport = await attach(pair[0], Recorder())
        expected = b""
        for number in range(20):
            for size in (100_000, 1, 3000):
                data = bytes([number]) * size
                expected += data
                if number % 2:
                    transport.write(data)
                else:
                    transport.writelines([data[:1], data[1:]])
        assert transport.get_write_buffer_size() > 0
        assert await asyncio.to_thread(receive_exactly, pair[1], len(expected)) == expected
        await until(lambda: transport.get_write_buffer_size() == 0)
        transport.close()

    run(main())


def test_writelines_of_an_iterator_and_of_nonsense(run: Run, pair: Pair) -> None:
    async def main() -> None:
        transport = await attach(pair[0], Recorder())
        transport.writelines(part for part in (b"from ", b"an ", b"iterator"))
        assert receive_exactly(pair[1], 16) == b"from an iterator"
        with pytest.raises(TypeError):
            transport.writelines(["text"])
        with pytest.raises(TypeError):
            transport.writelines(42)
        transport.close()

    run(main())


def test_writelines_with_many_parts(run: Run, pair: Pair) -> None:
    async def main() -> None:
        # More than one sendmsg takes.
        transport = await attach(pair[0], Recorder())
        parts = [bytes([number % 256]) * (number % 5 + 1) for number in range(5000)]
        transport.writelines(parts)
        expected = b"".join(parts)
        assert await asyncio.to_thread(receive_exactly, pair[1], len(expected)) == expected
        transport.close()

    run(main())


def test_writelines_while_the_buffer_is_full(run: Run, pair: Pair) -> None:
    async def main() -> None:
        shrink_buffers(*pair)
        transport = await attach(pair[0], Recorder())
        first = pattern(1_000_000)
        transport.write(first)
        assert transport.get_write_buffer_size() > 0
        parts: list[Any] = [pattern(50_000), bytearray(pattern(10)), memoryview(pattern(1000))]
        transport.writelines(parts)
        expected = first + b"".join(parts)
        assert await asyncio.to_thread(receive_exactly, pair[1], len(expected)) == expected
        transport.close()

    run(main())


def test_a_mutable_buffer_changed_after_write_does_not_change_what_is_sent(run: Run, pair: Pair) -> None:
    async def main() -> None:
        shrink_buffers(*pair)
        transport = await attach(pair[0], Recorder())
        data = bytearray(b"a" * 1_000_000)
        transport.write(data)
        assert transport.get_write_buffer_size() > 0
        data[:] = b"b" * len(data)
        got = await asyncio.to_thread(receive_exactly, pair[1], len(data))
        assert got.count(b"a") == len(got)
        transport.close()

    run(main())


def test_a_mutable_buffer_may_be_resized_once_written(run: Run, pair: Pair) -> None:
    async def main() -> None:
        transport = await attach(pair[0], Recorder())
        data = bytearray(b"abc")
        transport.write(data)
        data.clear()
        data += b"d"
        transport.write(data)
        assert receive_exactly(pair[1], 4) == b"abcd"
        transport.close()

    run(main())


def test_write_after_write_eof(run: Run, pair: Pair) -> None:
    async def main() -> None:
        transport = await attach(pair[0], Recorder())
        assert transport.can_write_eof() is True
        transport.write(b"last")
        transport.write_eof()
        transport.write_eof()
        with pytest.raises(RuntimeError, match=r"^Cannot call write\(\) after write_eof\(\)$"):
            transport.write(b"more")
        with pytest.raises(RuntimeError, match=r"^Cannot call write(lines)?\(\) after write_eof\(\)$"):
            transport.writelines([b"more"])
        assert await asyncio.to_thread(receive_to_end, pair[1]) == b"last"
        transport.close()

    run(main())


def test_reading_goes_on_after_write_eof(run: Run, pair: Pair) -> None:
    async def main() -> None:
        protocol = Recorder()
        transport = await attach(pair[0], protocol)
        transport.write_eof()
        assert receive_to_end(pair[1]) == b""
        pair[1].sendall(b"still there")
        assert await protocol.until_received(11) == b"still there"
        pair[1].close()
        assert await protocol.lost is None
        assert protocol.calls == ["made", "data", "eof", "lost"]
        assert transport.is_closing()

    run(main())


def test_write_eof_waits_for_the_buffer(run: Run, pair: Pair) -> None:
    async def main() -> None:
        shrink_buffers(*pair)
        transport = await attach(pair[0], Recorder())
        data = pattern(1_000_000)
        transport.write(data)
        transport.write_eof()
        assert transport.get_write_buffer_size() > 0
        assert await asyncio.to_thread(receive_to_end, pair[1]) == data
        assert not transport.is_closing()
        transport.close()

    run(main())


def test_write_eof_after_close_is_harmless(run: Run, pair: Pair) -> None:
    async def main() -> None:
        protocol = Recorder()
        transport = await attach(pair[0], protocol)
        transport.close()
        transport.write_eof()
        await protocol.lost
        transport.write_eof()

    run(main())


def test_write_after_close_is_dropped(run: Run, pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        protocol = Recorder()
        transport = await attach(pair[0], protocol)
        transport.close()
        transport.write(b"dropped")
        await protocol.lost
        with caplog.at_level(logging.WARNING, logger="asyncio"):
            for _ in range(10):
                transport.write(b"dropped")
        assert {record.getMessage() for record in caplog.records} == {"socket.send() raised exception."}
        assert receive_to_end(pair[1]) == b""

    run(main())


def test_writelines_after_close_is_dropped(run: Run, pair: Pair) -> None:
    async def main() -> None:
        protocol = Recorder()
        transport = await attach(pair[0], protocol)
        transport.close()
        transport.writelines([b"dropped"])
        await protocol.lost
        transport.writelines([b"dropped"])
        assert receive_to_end(pair[1]) == b""

    run(main())


def test_a_few_writes_after_close_are_dropped_in_silence(
    run: Run, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        protocol = Recorder()
        transport = await attach(pair[0], protocol)
        transport.close()
        await protocol.lost
        with caplog.at_level(logging.WARNING, logger="asyncio"):
            for _ in range(3):
                transport.write(b"dropped")
        assert not caplog.records

    run(main())


def test_write_of_nothing_after_close(run: Run, pair: Pair) -> None:
    async def main() -> None:
        protocol = Recorder()
        transport = await attach(pair[0], protocol)
        transport.close()
        await protocol.lost
        transport.write(b"")
        with pytest.raises(TypeError):
            transport.write("text")

    run(main())


class Answering(Recorder):
    """Runs a function with its transport at the first data."""

    def __init__(self, answer: Callable[[Any], None]) -> None:
        super().__init__()
        self.answer = answer

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.answer(self.transport)


def test_writes_inside_data_received(run: Run, pair: Pair) -> None:
    async def main() -> None:
        def answer(transport: Any) -> None:
            transport.write(b"one ")
            transport.writelines([b"two ", b"three "])
            transport.write(bytearray(b"four"))

        transport = await attach(pair[0], Answering(answer))
        pair[1].sendall(b"go")
        got = await asyncio.to_thread(receive_exactly, pair[1], 18)
        assert got == b"one two three four"
        transport.close()

    run(main())


def test_a_buffer_changed_inside_data_received(run: Run, pair: Pair) -> None:
    async def main() -> None:
        def answer(transport: Any) -> None:
            data = bytearray(b"first")
            transport.write(data)
            data[:] = b"wrong"
            transport.write(memoryview(b"second"))

        transport = await attach(pair[0], Answering(answer))
        pair[1].sendall(b"go")
        assert await asyncio.to_thread(receive_exactly, pair[1], 11) == b"firstsecond"
        transport.close()

    run(main())


@pytest.mark.parametrize("end", ["close", "abort", "write_eof", "raise"])
def test_what_was_written_inside_data_received_leaves_before_the_end(
    run: Run, pair: Pair, end: str, errors: list[Any]
) -> None:
    async def main() -> None:
        def answer(transport: Any) -> None:
            transport.write(b"answer")
            if end == "raise":
                raise LookupError("after the write")
            getattr(transport, end)()

        protocol = Answering(answer)
        transport = await attach(pair[0], protocol)
        pair[1].sendall(b"go")
        await protocol.until_received(2)
        assert await asyncio.to_thread(receive_to_end, pair[1]) == b"answer"
        if end == "write_eof":
            transport.close()
        lost = await protocol.lost
        assert (type(lost) is LookupError) if end == "raise" else (lost is None)

    run(main())
    assert len(errors) == (end == "raise")


def test_big_writes_inside_data_received_then_close(run: Run, pair: Pair) -> None:
    async def main() -> None:
        data = pattern(2_000_000)

        def answer(transport: Any) -> None:
            transport.write(b"head")
            transport.write(data)
            transport.write(b"tail")
            transport.close()

        await attach(pair[0], Answering(answer))
        pair[1].sendall(b"go")
        assert await asyncio.to_thread(receive_to_end, pair[1]) == b"head" + data + b"tail"

    run(main())


def test_a_small_write_leaves_nothing_in_the_buffer(run: Run, pair: Pair) -> None:
    async def main() -> None:
        sizes: list[int] = []

        def answer(transport: Any) -> None:
            transport.write(b"answer")
            sizes.append(transport.get_write_buffer_size())

        transport = await attach(pair[0], Answering(answer))
        transport.write(b"x")
        assert transport.get_write_buffer_size() == 0
        pair[1].sendall(b"go")
        await until(lambda: sizes)
        assert sizes == [0]
        transport.close()

    run(main())


def test_writes_from_a_task_woken_by_data(run: Run, pair: Pair) -> None:
    async def main() -> None:
        protocol = Recorder()
        transport = await attach(pair[0], protocol)
        pair[1].sendall(b"go")
        await protocol.until_received(2)
        for _ in range(3):
            transport.write(b"part ")
            await asyncio.sleep(0)
        assert receive_exactly(pair[1], 15) == b"part part part "
        transport.close()

    run(main())


def test_writing_to_another_transport_inside_data_received(run: Run, pair: Pair) -> None:
    async def main() -> None:
        from .support import unix_pair

        near, far = unix_pair()
        with far:
            other = await attach(near, Recorder())
            transport = await attach(pair[0], Answering(lambda _own: other.write(b"passed on")))
            pair[1].sendall(b"go")
            assert await asyncio.to_thread(receive_exactly, far, 9) == b"passed on"
            other.close()
            transport.close()
            await turns(2)

    run(main())


def test_a_peer_that_went_away(run: Run, pair: Pair) -> None:
    async def main() -> None:
        protocol = Recorder()
        protocol.keep_open = True
        transport = await attach(pair[0], protocol)
        pair[1].close()
        await protocol.ended
        while not protocol.lost.done():
            transport.write(b"into the void")
            await asyncio.sleep(0.001)
        assert isinstance(protocol.lost.result(), (BrokenPipeError, ConnectionResetError))
        assert protocol.calls == ["made", "eof", "lost"]
        assert transport.is_closing()

    run(main())


def test_a_peer_that_went_away_with_a_full_buffer(run: Run, pair: Pair) -> None:
    async def main() -> None:
        shrink_buffers(*pair)
        protocol = Recorder()
        transport = await attach(pair[0], protocol)
        transport.write(pattern(1_000_000))
        assert transport.get_write_buffer_size() > 0
        pair[1].close()
        assert isinstance(await protocol.lost, (BrokenPipeError, ConnectionResetError))
        assert transport.get_write_buffer_size() == 0

    run(main())
