"""One measurement of clients in a process of its own: `python -m benchmarks.clients KIND LOOP PORT COUNT`.

Prints the CPU µs of the loop's thread for each operation; of child processes, the µs in all. Each kind
is an ordinary asyncio program and checks what it gets. "connect" has a server at PORT that closes; the
others have both ends of their connections.
"""

import asyncio
import contextlib
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine
from typing import IO, Any, cast

from benchmarks import loops
from benchmarks.workload import check

# Of a loop, the port of a server, and how often.
Measure = Callable[[asyncio.AbstractEventLoop, int, int], float]

_HOST = "127.0.0.1"
_WARM_UP = 50
_TOGETHER = 10
_FILE_SIZE = 4 * 1024 * 1024
_PIECE = 256 * 1024
_PAIRS = 50
_MESSAGE = bytes(range(256)) * 4


async def _connect(port: int, count: int) -> None:
    """Open connections, ten at a time. The server closes them first, so that no port of ours is used up."""

    async def one_after_the_other() -> None:
        for _ in range(count // _TOGETHER):
            reader, writer = await asyncio.open_connection(_HOST, port)
            check(await reader.read() == b"", "the server has sent something")
            writer.close()
            await writer.wait_closed()

    await asyncio.gather(*(one_after_the_other() for _ in range(_TOGETHER)))


async def _send_file(file: IO[bytes], sock: socket.socket, count: int) -> None:
    """Send a file so often; by reading and writing where the loop has no sendfile()."""
    loop = asyncio.get_running_loop()
    _, writer = await asyncio.open_connection(sock=sock)
    for _ in range(count):
        try:
            await loop.sendfile(writer.transport, file)
        except NotImplementedError:
            file.seek(0)
            while piece := file.read(_PIECE):
                writer.write(piece)
                await writer.drain()
    writer.close()
    await writer.wait_closed()


async def _echo_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def _ask_by_streams(count: int) -> None:
    """Ask an echo server on the same loop, over fifty connections."""
    server = await asyncio.start_server(_echo_stream, _HOST, 0)

    async def ask() -> None:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for _ in range(count // _PAIRS):
            writer.write(_MESSAGE)
            await writer.drain()
            check(await reader.readexactly(len(_MESSAGE)) == _MESSAGE, "the answer is not the question")
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(ask() for _ in range(_PAIRS)))
    server.close()


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class _Asks(asyncio.Protocol):
    def __init__(self, count: int) -> None:
        self.left = count
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(_MESSAGE)

    def data_received(self, data: bytes) -> None:
        check(data == _MESSAGE, "the answer is not the question")
        self.left -= 1
        if self.left:
            self.transport.write(_MESSAGE)
        else:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        check(self.left == 0, "the connection ended early")
        self.ended.set_result(None)


async def _ask_over_unix(count: int) -> None:
    """Ask an echo server on the same loop, over fifty Unix sockets."""
    loop = asyncio.get_running_loop()
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/socket"
        server = await loop.create_unix_server(_Echo, path)

        async def ask() -> None:
            _, protocol = await loop.create_unix_connection(lambda: _Asks(count // _PAIRS), path)
            await protocol.ended

        await asyncio.gather(*(ask() for _ in range(_PAIRS)))
        server.close()


def _measure_asking(ask: Callable[[int], Coroutine[Any, Any, None]]) -> Measure:
    def measure(loop: asyncio.AbstractEventLoop, _port: int, count: int) -> float:
        loop.run_until_complete(ask(20 * _PAIRS))
        started = time.thread_time()
        loop.run_until_complete(ask(count))
        return (time.thread_time() - started) / count * 1e6

    return measure


def _measure_connect(loop: asyncio.AbstractEventLoop, port: int, count: int) -> float:
    loop.run_until_complete(_connect(port, _WARM_UP))
    started = time.thread_time()
    loop.run_until_complete(_connect(port, count))
    return (time.thread_time() - started) / count * 1e6


def _measure_sendfile(loop: asyncio.AbstractEventLoop, _port: int, count: int) -> float:
    received = 0

    def drain(sock: socket.socket) -> None:
        nonlocal received
        buffer = bytearray(_PIECE)
        while size := sock.recv_into(buffer):
            received += size

    with contextlib.ExitStack() as stack:
        file = stack.enter_context(tempfile.TemporaryFile())
        file.write(bytes(range(256)) * (_FILE_SIZE // 256))
        file.seek(0)
        server = stack.enter_context(socket.create_server((_HOST, 0)))
        sending = stack.enter_context(socket.create_connection(server.getsockname()))
        reading = stack.enter_context(server.accept()[0])
        thread = threading.Thread(target=drain, args=(reading,))
        thread.start()
        started = time.thread_time()
        loop.run_until_complete(_send_file(file, sending, count))
        took = time.thread_time() - started
        thread.join()
    check(received == count * _FILE_SIZE, f"{received} bytes arrived of {count} times {_FILE_SIZE}")
    return took / count * 1e6


async def _spawn(count: int) -> None:
    """Start child processes, ten at a time, and talk to each."""

    async def one_after_the_other() -> None:
        for _ in range(count // _TOGETHER):
            process = await asyncio.create_subprocess_exec(
                "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
            )
            output, _ = await process.communicate(_MESSAGE)
            check(output == _MESSAGE and process.returncode == 0, "the child has lost something")

    await asyncio.gather(*(one_after_the_other() for _ in range(_TOGETHER)))


def _measure_spawn(loop: asyncio.AbstractEventLoop, _port: int, count: int) -> float:
    loop.run_until_complete(_spawn(_WARM_UP))
    started = time.perf_counter()
    loop.run_until_complete(_spawn(count))
    return (time.perf_counter() - started) / count * 1e6


class _Sink(asyncio.Protocol):
    def __init__(self) -> None:
        self.received = 0
        self.ended = asyncio.get_running_loop().create_future()

    def data_received(self, data: bytes) -> None:
        self.received += len(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(None)


class _Source(asyncio.Protocol):
    def __init__(self) -> None:
        self.room = asyncio.Event()
        self.room.set()

    def pause_writing(self) -> None:
        self.room.clear()

    def resume_writing(self) -> None:
        self.room.set()


async def _pipe(count: int) -> None:
    """Move so many pieces of 64 KiB through a pipe of which the loop has both ends."""
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe()
    _, sink = await loop.connect_read_pipe(_Sink, os.fdopen(reading, "rb", 0))
    transport, source = await loop.connect_write_pipe(_Source, os.fdopen(writing, "wb", 0))
    piece = bytes(65536)
    for _ in range(count):
        transport.write(piece)
        await source.room.wait()
    transport.close()
    await sink.ended
    check(sink.received == count * len(piece), f"{sink.received} bytes came of {count} pieces")


KINDS: dict[str, Measure] = {
    "connect": _measure_connect,
    "streams": _measure_asking(_ask_by_streams),
    "unix": _measure_asking(_ask_over_unix),
    "sendfile": _measure_sendfile,
    "spawn": _measure_spawn,
    "pipe": _measure_asking(_pipe),
}


def main() -> None:
    kind, loop_name, port, count = sys.argv[1:]
    loop = loops.make_loop(loop_name)
    asyncio.set_event_loop(loop)
    print(KINDS[kind](loop, int(port), int(count)))
    loop.close()


if __name__ == "__main__":
    main()
