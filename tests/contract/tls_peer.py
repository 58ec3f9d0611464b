"""A TLS peer that a test drives by hand over a plain socket: it may tear, damage or withhold bytes."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any

from .support import PATIENCE, Recorder


class Peer:
    """One end of a TLS connection: what it encrypts is the test's to send."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, *, server_side: bool = True) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        hostname = None if server_side else "localhost"
        self.tls = context.wrap_bio(
            self.incoming, self.outgoing, server_side=server_side, server_hostname=hostname
        )

    async def send(self, ciphertext: bytes) -> None:
        """Send bytes as they are."""
        await asyncio.get_running_loop().sock_sendall(self.sock, ciphertext)

    async def receive_some(self) -> bool:
        """Take what has come; False at the end of the stream."""
        data = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.sock, 65536), PATIENCE)
        self.incoming.write(data)
        return bool(data)

    async def call(self, function: Any, *arguments: Any) -> Any:
        """Call a method of ``tls`` as often as it takes, sending and receiving in between."""
        while True:
            try:
                return function(*arguments)
            except ssl.SSLWantReadError:
                if self.outgoing.pending:
                    await self.send(self.outgoing.read())
                if not await self.receive_some():
                    raise ConnectionResetError("the other end has closed") from None

    async def handshake(self) -> None:
        """Shake hands, and send the end of it."""
        await self.call(self.tls.do_handshake)
        if self.outgoing.pending:
            await self.send(self.outgoing.read())

    def encrypt(self, data: bytes) -> bytes:
        """Return the records of this data: sent or not, the other end expects them next."""
        while data:
            data = data[self.tls.write(data) :]
        return self.outgoing.read()

    def goodbye(self) -> bytes:
        """Return a close_notify."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self.outgoing.read()

    async def read_exactly(self, count: int) -> bytes:
        """Read so much of what the other end says."""
        data = b""
        while len(data) < count:
            part = await self.call(self.tls.read, count - len(data))
            assert part, f"the other end said goodbye after {len(data)} of {count} bytes"
            data += part
        return data

    async def read_to_goodbye(self) -> bytes:
        """Read to the other end's close_notify, which must come."""
        data = bytearray()
        while True:
            try:
                part = await self.call(self.tls.read, 65536)
            except ssl.SSLZeroReturnError:
                return bytes(data)
            if not part:
                return bytes(data)
            data += part


@contextlib.asynccontextmanager
async def connected(
    pair: tuple[socket.socket, socket.socket],
    server_tls: ssl.SSLContext,
    client_tls: ssl.SSLContext,
    protocol: Any = None,
    **options: Any,
) -> AsyncIterator[tuple[Any, Any, Peer]]:
    """A client on the loop, as a transport and its protocol, and the peer that serves it."""
    near, far = pair
    peer = Peer(far, server_tls)
    shaking = asyncio.ensure_future(peer.handshake())
    transport, made = await asyncio.get_running_loop().create_connection(
        Recorder if protocol is None else lambda: protocol,
        sock=near,
        ssl=client_tls,
        server_hostname="localhost",
        **options,
    )
    await shaking
    try:
        yield transport, made, peer
    finally:
        transport.abort()
        await asyncio.wait_for(asyncio.shield(made.lost), PATIENCE)
