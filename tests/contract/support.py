"""What the contract tests share: the types of their fixtures, recording protocols, and small waits."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

LoopFactory = Callable[[], asyncio.AbstractEventLoop]
Loop = asyncio.AbstractEventLoop
Context = dict[str, Any]

# How long a test waits for something that must happen. Long, because it is reached only by a failing test.
PATIENCE = 15.0


class Run(Protocol):
    """Run one coroutine to its end on a new loop, as ``asyncio.run`` does."""

    def __call__(self, main: Coroutine[Any, Any, T], *, debug: bool | None = None) -> T: ...


async def until(condition: Callable[[], object]) -> None:
    """Wait until ``condition()`` is true: for what a thread, a process or the kernel does in its own time."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


async def turns(count: int) -> None:
    """Let the loop turn ``count`` times."""
    for _ in range(count):
        await asyncio.sleep(0)


def run_turns(loop: Loop, count: int = 1) -> None:
    """Let a loop that is not running turn ``count`` times."""
    for _ in range(count):
        loop.call_soon(loop.stop)
        loop.run_forever()


def noop(*_args: object) -> None:
    """Do nothing."""


class Calls:
    """The calls made to a protocol, by name and in order; one after another of the same kind count once."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.transport: Any = None
        self.received = bytearray()
        self.keep_open = False
        self.made: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    def note(self, call: str) -> None:
        """Write a call down."""
        if not (call == "data" and self.calls[-1:] == ["data"]):
            self.calls.append(call)

    def connection_made(self, transport: Any) -> None:
        self.note("made")
        self.transport = transport
        if not self.made.done():
            self.made.set_result(None)

    def eof_received(self) -> bool | None:
        self.note("eof")
        if not self.ended.done():
            self.ended.set_result(None)
        return self.keep_open

    def connection_lost(self, exc: BaseException | None) -> None:
        self.note("lost")
        if not self.lost.done():
            self.lost.set_result(exc)

    def pause_writing(self) -> None:
        self.note("pause")

    def resume_writing(self) -> None:
        self.note("resume")

    async def until_received(self, count: int) -> bytes:
        """Wait until ``count`` bytes have come, and return all that have."""
        await until(lambda: len(self.received) >= count)
        return bytes(self.received)


class Recorder(Calls, asyncio.Protocol):
    """A protocol that records what is called on it."""

    def data_received(self, data: bytes) -> None:
        self.note("data")
        assert type(data) is bytes
        self.received += data


class BufferedRecorder(Calls, asyncio.BufferedProtocol):
    """A protocol that lends its own buffer and records what is called on it."""

    def __init__(self, buffer_size: int = 1000) -> None:
        super().__init__()
        self.buffer = bytearray(buffer_size)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.note("data")
        assert nbytes > 0
        self.received += self.buffer[:nbytes]


class Echo(asyncio.Protocol):
    """A protocol that sends back what it gets."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Return two ends of a TCP connection over loopback; both block, with a time limit."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname(), timeout=PATIENCE)
        far, _ = listener.accept()
    far.settimeout(PATIENCE)
    return near, far


def unix_pair() -> tuple[socket.socket, socket.socket]:
    """Return two ends of a Unix stream connection; both block, with a time limit."""
    near, far = socket.socketpair()
    near.settimeout(PATIENCE)
    far.settimeout(PATIENCE)
    return near, far


def receive_exactly(sock: socket.socket, count: int) -> bytes:
    """Read ``count`` bytes from a blocking socket."""
    data = bytearray()
    while len(data) < count:
        part = sock.recv(count - len(data))
        assert part, f"the peer ended after {len(data)} of {count} bytes"
        data += part
    return bytes(data)


def receive_to_end(sock: socket.socket) -> bytes:
    """Read from a blocking socket until its end."""
    data = bytearray()
    while part := sock.recv(1 << 16):
        data += part
    return bytes(data)


_BLOCK = b"".join(number.to_bytes(4, "big") for number in range(1 << 16))


def pattern(count: int) -> bytes:
    """Return ``count`` bytes in which lost, doubled or swapped parts show."""
    return (_BLOCK * (count // len(_BLOCK) + 1))[:count]


@contextlib.contextmanager
def closing_all(*things: Any) -> Iterator[None]:
    """Close all of these at the end."""
    try:
        yield
    finally:
        for thing in things:
            thing.close()


def open_descriptors() -> list[int]:
    """Return the file descriptors of this process that are open, of the first few hundred."""
    descriptors = []
    for descriptor in range(512):
        with contextlib.suppress(OSError):
            os.fstat(descriptor)
            descriptors.append(descriptor)
    return descriptors


async def attach(sock: socket.socket, protocol: Any) -> Any:
    """Give a connected socket to the running loop with this protocol, and return the transport."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(lambda: protocol, sock=sock)
    return transport


def shrink_buffers(*socks: socket.socket) -> None:
    """Make the kernel's buffers of these sockets so small that a megabyte fills them.

    Not smaller, for TCP over tiny windows takes seconds even on loopback.
    """
    for sock in socks:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)


async def alone() -> None:
    """Wait until the running task is the only one: until the tasks of a server's connections have ended."""
    await until(lambda: len(asyncio.all_tasks()) == 1)


async def end(server: asyncio.Server) -> None:
    """Close a server, and wait until its connections are gone (which Python 3.11 does not)."""
    server.close()
    await asyncio.wait_for(server.wait_closed(), PATIENCE)
