"""The loop's sock_* methods: Python's own coroutines, which tracebacks and tools show, around compiled calls.

Each asks its function in ``sockets``, which tries the system call. What that returns is the result, a future,
or NotImplemented: then asyncio's own method does it.
"""

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from glassloop._io import sockets

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from glassloop._core.scheduler import Scheduler

    class _Base(Scheduler, asyncio.SelectorEventLoop):
        async def _ensure_resolved(self, address: Any, **options: Any) -> list[Any]: ...

else:
    _Base = object

# The families whose addresses may be names; any other's is what connect(2) takes.
_INTERNET = (socket.AF_INET, socket.AF_INET6)


class SockMethods(_Base):
    """A part of ``EventLoop``; ``asyncio.SelectorEventLoop`` follows it among the bases."""

    async def sock_recv(self, sock: socket.socket, n: int) -> bytes:
        """Receive up to ``n`` bytes; ``b""`` is the end of a stream."""
        got = sockets.receive(self, sock, n)
        if isinstance(got, bytes):
            return got
        if got is NotImplemented:
            return await super().sock_recv(sock, n)
        try:
            return await got
        except BaseException:
            sockets.abandon(self, sock, got)
            raise
        finally:
            del got  # an exception's traceback must not lead to itself: so below

    async def sock_recv_into(self, sock: socket.socket, buf: "WriteableBuffer") -> int:
        """Receive into a writable buffer; return how many bytes came."""
        got = sockets.receive_into(self, sock, buf)
        if isinstance(got, int):
            return got
        if got is NotImplemented:
            return await super().sock_recv_into(sock, buf)
        try:
            return await got
        except BaseException:
            sockets.abandon(self, sock, got)
            raise
        finally:
            del got

    async def sock_recvfrom(self, sock: socket.socket, bufsize: int) -> tuple[bytes, Any]:
        """Receive a datagram of up to ``bufsize`` bytes; return it with the sender's address."""
        got = sockets.receive_from(self, sock, bufsize)
        if isinstance(got, tuple):
            return got
        if got is NotImplemented:
            return await super().sock_recvfrom(sock, bufsize)
        try:
            return await got
        except BaseException:
            sockets.abandon(self, sock, got)
            raise
        finally:
            del got

    async def sock_recvfrom_into(
        self, sock: socket.socket, buf: "WriteableBuffer", nbytes: int = 0
    ) -> tuple[int, Any]:
        """Receive a datagram into a writable buffer; return its size with the sender's address."""
        got = sockets.receive_from_into(self, sock, buf, nbytes)
        if isinstance(got, tuple):
            return got
        if got is NotImplemented:
            return await super().sock_recvfrom_into(sock, buf, nbytes)
        try:
            return await got
        except BaseException:
            sockets.abandon(self, sock, got)
            raise
        finally:
            del got

    async def sock_sendall(self, sock: socket.socket, data: "ReadableBuffer") -> None:
        """Send all of the data. On an error it is not known how much of it was sent."""
        sending = sockets.send_all(self, sock, data)
        if sending is None:
            return
        if sending is NotImplemented:
            await super().sock_sendall(sock, data)
            return
        try:
            await sending
        except BaseException:
            sockets.abandon(self, sock, sending)
            raise
        finally:
            del sending

    async def sock_sendto(self, sock: socket.socket, data: "ReadableBuffer", address: Any) -> int:
        """Send a datagram to an address; return how many bytes were sent."""
        sent = sockets.send_to(self, sock, data, address)
        if isinstance(sent, int):
            return sent
        if sent is NotImplemented:
            return await super().sock_sendto(sock, data, address)
        try:
            return await sent
        except BaseException:
            sockets.abandon(self, sock, sent)
            raise
        finally:
            del sent

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect to an address, which is looked up if it is a name."""
        if not sockets.takes(self, sock):
            await super().sock_connect(sock, address)
            return
        if sock.family in _INTERNET:
            ((*_, address), *_) = await self._ensure_resolved(
                address, family=sock.family, type=sock.type, proto=sock.proto, loop=self
            )
        connecting = sockets.connect(self, sock, address)
        if connecting is None:
            return
        try:
            await connecting
        except BaseException:
            sockets.abandon(self, sock, connecting)
            raise
        finally:
            del connecting

    async def sock_accept(self, sock: socket.socket) -> tuple[socket.socket, Any]:
        """Accept a connection; return its socket, which does not block, and the address of its other end."""
        got = sockets.accept(self, sock)
        if isinstance(got, tuple):
            return got
        if got is NotImplemented:
            return await super().sock_accept(sock)
        try:
            return await got
        except BaseException:
            sockets.abandon(self, sock, got)
            raise
        finally:
            del got
