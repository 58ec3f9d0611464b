"""Every byte arrives once and in order, whatever the sizes, pauses, half-closes, resets and speeds."""

import asyncio
import hashlib
import os
import random
import socket
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .support import new_loop, run_program

BOUNDED = settings(
    max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
PATIENCE_S = 60

# What one side does, step by step. Sizes around what the transports treat specially: their cork, their marks.
steps = st.lists(
    st.one_of(
        st.tuples(
            st.just("write"), st.one_of(st.integers(0, 3000), st.sampled_from([65535, 65536, 65537, 300_000]))
        ),
        st.tuples(st.just("write_mutable"), st.integers(1, 200_000)),
        st.tuples(st.just("writelines"), st.integers(1, 130)),
        st.tuples(st.just("turn"), st.integers(0, 3)),
        st.tuples(st.just("drain"), st.just(0)),
        st.tuples(st.just("pause"), st.integers(0, 5)),
        st.tuples(st.just("marks"), st.sampled_from([0, 1, 1000, 65536, 1_000_000])),
    ),
    max_size=25,
)
endings = st.sampled_from(["close", "write_eof", "abort", "reset"])


class Side(asyncio.Protocol):
    """One end: it takes what comes, and counts."""

    def __init__(self, echoes: bool, slow: int) -> None:
        self.echoes = echoes
        self.slow = slow
        self.received = bytearray()
        self.sent = bytearray()
        self.transport: Any = None
        self.made = asyncio.Event()
        self.may_write = asyncio.Event()
        self.may_write.set()
        self.lost: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.made.set()

    def data_received(self, data: bytes) -> None:
        self.received += data
        if self.echoes:
            self.send(data)
        if self.slow:
            # Reads a piece, then nothing for some turns.
            self.transport.pause_reading()
            self.wait(self.slow)

    def wait(self, turns: int) -> None:
        if turns:
            asyncio.get_running_loop().call_soon(self.wait, turns - 1)
        else:
            self.transport.resume_reading()

    def send(self, data: bytes | bytearray) -> None:
        if not self.transport.is_closing():
            self.sent += data
            self.transport.write(data)

    def eof_received(self) -> bool:
        if self.echoes:
            self.transport.write_eof()
        return False

    def pause_writing(self) -> None:
        self.may_write.clear()

    def resume_writing(self) -> None:
        self.may_write.set()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.may_write.set()
        if not self.lost.done():
            self.lost.set_result(exc)


class BufferedSide(Side, asyncio.BufferedProtocol):
    """The same, with a small buffer of its own."""

    def get_buffer(self, sizehint: int) -> bytearray:
        self.buffer = bytearray(4096)
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        Side.data_received(self, bytes(self.buffer[:nbytes]))


async def perform(side: Side, plan: list[tuple[str, int]], seed: int) -> None:
    """Carry out the steps on the transport of this side."""
    chance = random.Random(seed)
    for what, number in plan:
        if side.transport.is_closing():
            return
        if what == "write":
            side.send(chance.randbytes(number))
        elif what == "write_mutable":
            data = bytearray(chance.randbytes(number))
            side.send(data)
            data[:] = bytes(number)  # it is ours again: what was written must not change
        elif what == "writelines":
            pieces = [chance.randbytes(chance.randrange(1, 2000)) for _ in range(number)]
            side.sent += b"".join(pieces)
            side.transport.writelines([memoryview(piece) if len(piece) % 2 else piece for piece in pieces])
        elif what == "turn":
            for _ in range(number):
                await asyncio.sleep(0)
        elif what == "drain":
            await side.may_write.wait()
        elif what == "pause":
            side.transport.pause_reading()
            for _ in range(number):
                await asyncio.sleep(0)
            side.transport.resume_reading()
        elif what == "marks":
            side.transport.set_write_buffer_limits(high=number)


async def connect(family: str, folder: Path, make: Any, make_server: Any) -> tuple[Any, Any, Any]:
    """A client's protocol, a server's, and the server."""
    loop = asyncio.get_running_loop()
    accepted: asyncio.Future[Any] = loop.create_future()

    def factory() -> Any:
        accepted.set_result(make_server())
        return accepted.result()

    if family == "unix":
        path = str(folder / f"{os.getpid()}-{id(loop)}")
        server: Any = await loop.create_unix_server(factory, path)
        _, client = await loop.create_unix_connection(make, path)
        os.unlink(path)
    else:
        server = await loop.create_server(factory, "127.0.0.1", 0)
        _, client = await loop.create_connection(make, *server.sockets[0].getsockname())
    echo = await accepted
    await echo.made.wait()
    return client, echo, server


@pytest.mark.parametrize("kind", ["epoll", "select"])
@pytest.mark.parametrize("family", ["tcp", "unix"])
@pytest.mark.parametrize(
    "sides",
    [(Side, Side), (BufferedSide, Side), (Side, BufferedSide)],
    ids=["protocols", "buffered client", "buffered server"],
)
@given(plan=steps, ending=endings, slow=st.tuples(st.integers(0, 3), st.integers(0, 3)), small=st.booleans())
@BOUNDED
def test_an_echo_gives_back_what_it_got(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    family: str,
    sides: tuple[type[Side], type[Side]],
    plan: list[tuple[str, int]],
    ending: str,
    slow: tuple[int, int],
    small: bool,
) -> None:
    async def main() -> None:
        client, echo, server = await connect(
            family,
            tmp_path_factory.getbasetemp(),
            lambda: sides[0](False, slow[0]),
            lambda: sides[1](True, slow[1]),
        )
        if small:
            for side in (client, echo):
                side.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        await perform(client, plan, len(plan))
        if ending == "write_eof":
            client.transport.write_eof()
        elif ending == "close":
            # What comes back after close() is nobody's: wait for it.
            while len(client.received) < len(client.sent):
                await asyncio.sleep(0.001)
            client.transport.close()
        elif ending == "abort":
            client.transport.abort()
        else:
            linger = (1).to_bytes(4, "little") + bytes(4)
            client.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            client.transport.abort()
        await asyncio.wait_for(asyncio.gather(client.lost, echo.lost), PATIENCE_S)
        server.close()
        if ending in ("close", "write_eof"):
            assert hashlib.sha256(echo.received).digest() == hashlib.sha256(client.sent).digest()
            assert hashlib.sha256(client.received).digest() == hashlib.sha256(client.sent).digest()
            assert client.lost.result() is None and echo.lost.result() is None
        else:
            # Cut off somewhere, and correct up to there.
            assert client.sent.startswith(echo.received)
            assert client.sent.startswith(client.received)

    loop = new_loop(kind)
    errors: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, context: errors.append(context))
    try:
        loop.run_until_complete(asyncio.wait_for(main(), PATIENCE_S))
    finally:
        loop.close()
    assert errors == []


@pytest.mark.parametrize("kind", ["epoll", "select"])
@pytest.mark.parametrize("family", ["tcp", "unix"])
def test_both_sides_talk_at_once(kind: str, family: str, tmp_path: Path) -> None:
    """Megabytes in both directions through small buffers, each side a slow reader: neither hangs."""

    async def main() -> None:
        first, second, server = await connect(
            family, tmp_path, lambda: Side(False, 2), lambda: Side(False, 1)
        )
        for side in (first, second):
            side.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)

        async def talk(side: Side, seed: int) -> None:
            chance = random.Random(seed)
            while len(side.sent) < 3_000_000:
                await side.may_write.wait()
                side.send(chance.randbytes(chance.choice([10, 1000, 20_000, 200_000])))
                if chance.random() < 0.3:
                    await asyncio.sleep(0)

        await asyncio.gather(talk(first, 1), talk(second, 2))
        while len(first.received) < len(second.sent) or len(second.received) < len(first.sent):
            await asyncio.sleep(0.001)
        assert bytes(first.received) == bytes(second.sent)
        assert bytes(second.received) == bytes(first.sent)
        first.transport.close()
        await asyncio.gather(first.lost, second.lost)
        server.close()

    loop = new_loop(kind)
    try:
        loop.run_until_complete(asyncio.wait_for(main(), PATIENCE_S))
    finally:
        loop.close()


def test_a_client_that_never_reads_is_bounded_by_flow_control() -> None:
    """The echo's protocol stops when told, so that what is queued stays near the high-water mark."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        accepted: asyncio.Future[asyncio.StreamWriter] = loop.create_future()
        serving: list[Any] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted.set_result(writer)
            serving.append(asyncio.current_task())
            try:
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
            except ConnectionError:
                pass

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        client = socket.create_connection(server.sockets[0].getsockname())
        client.setblocking(False)
        sent = 0
        idle = 0
        while idle < 50:
            try:
                sent += client.send(b"x" * 65536)
                idle = 0
            except BlockingIOError:
                idle += 1
                await asyncio.sleep(0.001)
        writer = await accepted
        assert 0 < writer.transport.get_write_buffer_size() <= 4 * 65536
        received = 0
        while received < sent:
            try:
                received += len(client.recv(1 << 20))
            except BlockingIOError:
                await asyncio.sleep(0.001)
        client.close()
        server.close()
        await asyncio.gather(*serving)
        writer.close()
        await asyncio.sleep(0)

    loop = new_loop("epoll")
    try:
        loop.run_until_complete(asyncio.wait_for(main(), PATIENCE_S))
    finally:
        loop.close()


EMFILE = """
    import asyncio, resource, socket, sys
    from asyncio import constants
    import glassloop

    constants.ACCEPT_RETRY_DELAY = 0.02

    class Echo(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
        def data_received(self, data):
            self.transport.write(data)

    async def main():
        loop = asyncio.get_running_loop()
        out_of_descriptors = 0

        def handler(_loop, context):
            nonlocal out_of_descriptors
            assert context["message"] == "socket.accept() out of system resource", context
            out_of_descriptors += 1

        loop.set_exception_handler(handler)
        server = await loop.create_server(Echo, "127.0.0.1", 0, backlog=200)
        address = server.sockets[0].getsockname()
        resource.setrlimit(resource.RLIMIT_NOFILE, (80, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        # Sixty clients, each with a descriptor at either end, and room for fewer than that.
        waiting = []
        for number in range(60):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(address)
            waiting.append((number, client))
        answered = 0
        while not out_of_descriptors:
            await asyncio.sleep(0.001)
        while waiting:
            number, client = waiting.pop(0)
            data = number.to_bytes(4, "big")
            await loop.sock_sendall(client, data)
            received = b""
            while len(received) < 4:
                try:
                    received += client.recv(4)
                except BlockingIOError:
                    await asyncio.sleep(0.001)
            assert received == data
            answered += 1
            client.close()
        server.close()
        print(answered)

    asyncio.Runner(loop_factory=glassloop.new_event_loop).run(main())
"""


def test_running_out_of_descriptors_delays_connections_and_loses_none() -> None:
    assert run_program(EMFILE) == "60\n"
