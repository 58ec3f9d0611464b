"""sendfile and sock_sendfile: native and fallback, offsets, counts, and what is refused."""

import asyncio
import io
import pathlib
import socket
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
DATA = pattern(400_000)


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    """A file with known contents."""
    path = tmp_path / "file"
    path.write_bytes(DATA)
    return path


def test_a_whole_file(run: Run, pair: Pair, path: pathlib.Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport = await attach(pair[0], Recorder())
        receiving = asyncio.create_task(asyncio.to_thread(receive_exactly, pair[1], len(DATA)))
        with path.open("rb") as file:
            assert await loop.sendfile(transport, file) == len(DATA)
            assert file.tell() == len(DATA)
        assert await receiving == DATA
        transport.close()

    run(main())


def test_between_writes(run: Run, pair: Pair, path: pathlib.Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport = await attach(pair[0], Recorder())
        receiving = asyncio.create_task(asyncio.to_thread(receive_exactly, pair[1], len(DATA) + 8))
        transport.write(b"head")
        with path.open("rb") as file:
            await loop.sendfile(transport, file)
        transport.write(b"tail")
        assert await receiving == b"head" + DATA + b"tail"
        transport.close()

    run(main())


def test_after_a_full_buffer(run: Run, pair: Pair, path: pathlib.Path) -> None:
    async def main() -> None:
        shrink_buffers(*pair)
        loop = asyncio.get_running_loop()
        transport = await attach(pair[0], Recorder())
        head = pattern(1_000_000)
        transport.write(head)
        assert transport.get_write_buffer_size() > 0
        with path.open("rb") as file:
            sending = asyncio.create_task(loop.sendfile(transport, file))
            await turns(3)
            with pytest.raises(RuntimeError, match="unable to write; sendfile is in progress"):
                transport.write(b"in between")
            receiving = asyncio.create_task(
                asyncio.to_thread(receive_exactly, pair[1], len(head) + len(DATA))
            )
            assert await sending == len(DATA)
            assert await receiving == head + DATA
        transport.close()

    run(main())


def test_offset_and_count(run: Run, pair: Pair, path: pathlib.Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport = await attach(pair[0], Recorder())
        with path.open("rb") as file:
            assert await loop.sendfile(transport, file, 1000, 5000) == 5000
            assert file.tell() == 6000
            assert receive_exactly(pair[1], 5000) == DATA[1000:6000]
            assert await loop.sendfile(transport, file, len(DATA) - 10, 100) == 10
            assert receive_exactly(pair[1], 10) == DATA[-10:]
            assert await loop.sendfile(transport, file, len(DATA)) == 0
        transport.close()

    run(main())


def test_a_file_in_memory_falls_back(run: Run, pair: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport = await attach(pair[0], Recorder())
        data = DATA[:100_000]
        receiving = asyncio.create_task(asyncio.to_thread(receive_exactly, pair[1], len(data)))
        assert await loop.sendfile(transport, io.BytesIO(data)) == len(data)
        assert await receiving == data
        with pytest.raises(asyncio.SendfileNotAvailableError):
            await loop.sendfile(transport, io.BytesIO(DATA), fallback=False)
        transport.write(b"goes on")
        assert receive_exactly(pair[1], 7) == b"goes on"
        transport.close()

    run(main())


def test_a_big_file_in_memory_arrives_unchanged(run: Run, pair: Pair) -> None:
    async def main() -> None:
        shrink_buffers(*pair)
        loop = asyncio.get_running_loop()
        transport = await attach(pair[0], Recorder())
        data = pattern(1_000_000)
        sending = asyncio.create_task(loop.sendfile(transport, io.BytesIO(data)))
        # Nobody reads yet, so parts of it have to wait in the transport while the next are read.
        await until(lambda: transport.get_write_buffer_size() > 64 * 1024)
        receiving = asyncio.create_task(asyncio.to_thread(receive_exactly, pair[1], len(data)))
        assert await sending == len(data)
        assert await receiving == data
        transport.close()

    run(main())


def test_reading_goes_on_afterwards(run: Run, pair: Pair, path: pathlib.Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        protocol = Recorder()
        transport = await attach(pair[0], protocol)
        receiving = asyncio.create_task(asyncio.to_thread(receive_exactly, pair[1], len(DATA)))
        with path.open("rb") as file:
            await loop.sendfile(transport, file)
        await receiving
        pair[1].sendall(b"thanks")
        assert await protocol.until_received(6) == b"thanks"
        transport.close()

    run(main())


def test_what_is_refused(run: Run, pair: Pair, path: pathlib.Path) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        transport = await attach(pair[0], Recorder())
        with path.open("rb") as file:
            with pytest.raises(ValueError, match="offset must be a non-negative integer"):
                await loop.sock_sendfile(pair[1], file, -1)
            with pytest.raises(ValueError, match="count must be a positive integer"):
                await loop.sock_sendfile(pair[1], file, 0, 0)
            transport.close()
            with pytest.raises(RuntimeError, match="Transport is closing"):
                await loop.sendfile(transport, file)
        with path.open("r") as text, pytest.raises(ValueError, match="file should be opened in binary mode"):
            await loop.sock_sendfile(pair[1], text)

    run(main())


def test_the_peer_goes_away(run: Run, pair: Pair, path: pathlib.Path) -> None:
    path.write_bytes(pattern(3_000_000))

    async def main() -> None:
        shrink_buffers(*pair)
        loop = asyncio.get_running_loop()
        protocol = Recorder()
        transport = await attach(pair[0], protocol)
        with path.open("rb") as file:
            sending = asyncio.create_task(loop.sendfile(transport, file))
            await turns(5)
            pair[1].close()
            with pytest.raises(OSError):
                await sending
        transport.abort()
        await protocol.lost

    run(main())


def test_the_sockets_own(run: Run, pair: Pair, path: pathlib.Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        pair[0].setblocking(False)
        receiving = asyncio.create_task(asyncio.to_thread(receive_to_end, pair[1]))
        with path.open("rb") as file:
            assert await loop.sock_sendfile(pair[0], file) == len(DATA)
            assert await loop.sock_sendfile(pair[0], file, 100, 50) == 50
            assert file.tell() == 150
        pair[0].close()
        assert await receiving == DATA + DATA[100:150]

    run(main())


def test_the_sockets_own_with_a_file_in_memory(run: Run, pair: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        pair[0].setblocking(False)
        receiving = asyncio.create_task(asyncio.to_thread(receive_exactly, pair[1], len(DATA)))
        assert await loop.sock_sendfile(pair[0], io.BytesIO(DATA)) == len(DATA)
        assert await receiving == DATA
        with pytest.raises(asyncio.SendfileNotAvailableError):
            await loop.sock_sendfile(pair[0], io.BytesIO(DATA), fallback=False)

    run(main())


def test_cancelled_on_the_way(run: Run, pair: Pair, path: pathlib.Path) -> None:
    async def main() -> None:
        shrink_buffers(*pair)
        loop = asyncio.get_running_loop()
        transport = await attach(pair[0], Recorder())
        with path.open("rb") as file:
            sending = asyncio.create_task(loop.sendfile(transport, file))
            await turns(5)
            assert not sending.done()
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
        # The connection goes on behind what was sent.
        receiving = asyncio.create_task(asyncio.to_thread(receive_to_end, pair[1]))
        transport.write(b"tail")
        transport.close()
        received = await receiving
        assert 0 < len(received) - 4 < len(DATA)
        assert received == DATA[: len(received) - 4] + b"tail"

    run(main())


def test_reading_is_paused_meanwhile_also_where_it_is_cancelled(
    run: Run, pair: Pair, path: pathlib.Path
) -> None:
    async def main() -> None:
        shrink_buffers(*pair)
        loop = asyncio.get_running_loop()
        protocol = Recorder()
        transport = await attach(pair[0], protocol)
        with path.open("rb") as file:
            sending = asyncio.create_task(loop.sendfile(transport, file))
            await turns(5)
            pair[1].sendall(b"question")
            await turns(5)
            assert protocol.received == b"" and not sending.done()
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
        assert await protocol.until_received(8) == b"question"
        transport.abort()
        await protocol.lost

    run(main())
