"""TLS handshakes that are broken off at a random moment, from either side: nothing is left of them."""

import asyncio
import contextlib
import gc
import random
import socket
import ssl
import weakref
from typing import Any, ClassVar

import pytest

from .support import SANITIZED, new_loop, open_descriptors

# What the handshake of a client or server that is broken off may end with.
ENDS = (ssl.SSLError, ConnectionError, TimeoutError, asyncio.CancelledError)
# At once: several handshakes meet in a turn.
WIDTH = 16


class Living(asyncio.Protocol):
    """A protocol that is counted while it lives; it echoes."""

    living: ClassVar["weakref.WeakSet[Living]"] = weakref.WeakSet()

    def __init__(self) -> None:
        self.living.add(self)
        self.calls: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.calls.append("made")
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self.calls.append("lost")
        assert self.calls == ["made", "lost"]
        del self.transport


class Attacker:
    """A peer that stops at a random byte of what it would say, in one of many ways."""

    def __init__(self, chance: random.Random, context: ssl.SSLContext, server_side: bool) -> None:
        self.chance = chance
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        name = None if server_side else "localhost"
        self.tls = context.wrap_bio(
            self.incoming, self.outgoing, server_side=server_side, server_hostname=name
        )

    async def talk(self, sock: socket.socket) -> None:
        """Shake hands until the moment has come."""
        loop = asyncio.get_running_loop()
        left = self.chance.choice([0, 1, 5, 6, 100, 300, 600, 900, 1500, 4000])
        left = self.chance.randrange(left + 1)
        done = False
        while True:
            if not done:
                try:
                    self.tls.do_handshake()
                    done = True
                except ssl.SSLWantReadError:
                    pass
            data = self.outgoing.read()
            if done and not data:
                data = b"\x17\x03\x03\x40\x00"  # a record that never comes
            await loop.sock_sendall(sock, data[:left])
            left -= len(data)
            if done or left <= 0:
                break
            received = await loop.sock_recv(sock, 65536)
            if not received:
                return
            self.incoming.write(received)
        await self.stop(sock, done)

    async def stop(self, sock: socket.socket, done: bool) -> None:
        loop = asyncio.get_running_loop()
        way = self.chance.randrange(5)
        if way == 0:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset
        elif way == 1:
            sock.shutdown(socket.SHUT_WR)
            while await loop.sock_recv(sock, 65536):
                pass
        elif way == 2:
            await loop.sock_sendall(sock, self.chance.randbytes(self.chance.randrange(1, 200)))
        elif way == 3 and not done:
            # Silence, until the other end's patience is over. It has no end where hands were shaken.
            while await loop.sock_recv(sock, 65536):
                pass


async def against_a_server(chance: random.Random, address: Any, context: ssl.SSLContext) -> None:
    with socket.socket() as sock:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            await Attacker(chance, context, False).talk(sock)


async def against_a_client(
    chance: random.Random, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    with far:
        far.setblocking(False)
        connecting = asyncio.ensure_future(
            loop.create_connection(
                Living, sock=near, ssl=client_tls, server_hostname="localhost", ssl_handshake_timeout=0.05
            )
        )
        attacking = asyncio.ensure_future(Attacker(chance, server_tls, True).talk(far))
        if chance.random() < 0.3:
            for _ in range(chance.randrange(1, 12)):  # before it begins, nobody owns the socket
                await asyncio.sleep(0)
            connecting.cancel()
        try:
            transport, _ = await connecting
        except ENDS:
            pass
        else:
            transport.abort()
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            await attacking


async def abort_handshakes(
    count: int, chance: random.Random, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """Break off so many, half of them as a client, and see that the server still serves; then close it."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        Living, "127.0.0.1", 0, ssl=server_tls, ssl_handshake_timeout=0.05, ssl_shutdown_timeout=0.05
    )
    address = server.sockets[0].getsockname()

    async def work(numbers: range) -> None:
        for number in numbers:
            if number % 2:
                await against_a_server(chance, address, client_tls)
            else:
                await against_a_client(chance, server_tls, client_tls)

    await asyncio.gather(*(work(range(at, count, WIDTH)) for at in range(WIDTH)))
    reader, writer = await asyncio.open_connection(*address, ssl=client_tls, server_hostname="localhost")
    writer.write(b"still there")
    assert await reader.readexactly(11) == b"still there"
    writer.close()
    await writer.wait_closed()
    server.close()
    await server.wait_closed()
    async with asyncio.timeout(30):
        while Living.living or len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0.01)
            gc.collect()


def abort_and_look(kind: str, counts: list[int], seed: int) -> list[int]:
    """The process's resident bytes after each round; nothing else may be left of it."""
    authority = pytest.importorskip("trustme").CA()
    server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(server_tls)
    client_tls = ssl.create_default_context()
    authority.configure_trust(client_tls)
    errors: list[dict[str, Any]] = []
    resident = []
    with asyncio.Runner(loop_factory=lambda: new_loop(kind)) as runner:
        runner.get_loop().set_exception_handler(lambda _loop, context: errors.append(context))
        runner.run(abort_handshakes(WIDTH, random.Random(seed), server_tls, client_tls))  # what is made once
        before = open_descriptors()
        for count in counts:
            runner.run(abort_handshakes(count, random.Random(seed), server_tls, client_tls))
            assert open_descriptors() == before
            assert not Living.living
            for context in errors:
                assert isinstance(context.get("exception"), ENDS), context
                assert str(context["exception"]) and context["message"]
            errors.clear()
            gc.collect()
            with open("/proc/self/statm") as file:
                resident.append(int(file.read().split()[1]) * 4096)
    return resident


@pytest.mark.parametrize("kind", ["epoll", "select"])
@pytest.mark.parametrize("seed", [1, 2])
def test_a_few_hundred(kind: str, seed: int) -> None:
    abort_and_look(kind, [300], seed)


@pytest.mark.slow
def test_ten_thousand() -> None:
    resident = abort_and_look("epoll", [2000, 4000, 4000], 3)
    # One leaked connection in ten would be as much.
    assert SANITIZED or resident[-1] - resident[-2] < 400 * 40_000, resident
