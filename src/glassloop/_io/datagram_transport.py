"""DatagramTransport: a UDP or Unix datagram socket, beneath a DatagramProtocol.

A datagram that the kernel does not take now waits in a queue, also beyond ``close()``. What the network
reports of an earlier one (ICMP) reaches ``error_received``.
"""

import collections
import os
import sys
from asyncio import constants, futures, selector_events
from asyncio.log import logger

import cython
from cython.cimports.cpython.bytes import PyBytes_FromStringAndSize
from cython.cimports.glassloop._core.source import READABLE, WRITABLE
from cython.cimports.glassloop._io.address import address_pack, address_unpack, peer_address
from cython.cimports.glassloop._sys.socket import Address, socket_recv_from, socklen_t
from cython.cimports.libc.errno import EAGAIN, EINTR, errno
from cython.cimports.libc.stdlib import malloc

from glassloop._io.transport import SocketTransport

RECEIVE_SIZE = cython.declare(cython.Py_ssize_t, 256 * 1024)
# So many datagrams are received in one turn at most.
BATCH = cython.declare(cython.int, 16)
# asyncio counts this much for each queued datagram besides its data: empty ones must not queue for ever.
HEADER_SIZE = cython.declare(
    cython.Py_ssize_t, getattr(selector_events._SelectorDatagramTransport, "_header_size", 0)
)
# Until 3.13 asyncio swallowed empty datagrams.
SENDS_EMPTY = cython.declare(cython.bint, sys.version_info >= (3, 13))

_receive_buffer = cython.declare(cython.p_char, cython.NULL)


@cython.final
@cython.cclass
class DatagramTransport(SocketTransport):
    """What ``create_datagram_endpoint`` gives."""

    max_size = 256 * 1024

    def __init__(
        self,
        loop: object,
        sock: object,
        protocol: object,
        address: object = None,
        waiter: object = None,
        extra: object = None,
    ) -> None:
        SocketTransport.__init__(self, loop, sock, protocol, extra, None, None)
        self.address = address
        self.datagrams = collections.deque()
        self.peer = peer_address(self.fd)
        self.connected = self.peer is not None
        loop.call_soon(self._connection_made)
        # No datagram before connection_made(), nor before create_datagram_endpoint() has returned.
        loop.call_soon(self._start_reading)
        if waiter is not None:
            loop.call_soon(futures._set_result_unless_cancelled, waiter, None)

    @property
    def __class__(self) -> type:
        return selector_events._SelectorDatagramTransport

    @property
    def _address(self) -> object:
        return self.address

    def _connection_made(self) -> None:
        self.protocol.connection_made(self)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def on_readable(self) -> cython.int:
        count: cython.int = 0
        while count < BATCH and self.watched & READABLE and not self.lost_writes and self.receive_one():
            count += 1
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def receive_one(self) -> cython.int:
        """1 if there may be more."""
        global _receive_buffer
        address: Address
        size: socklen_t = 0
        count: cython.Py_ssize_t
        number: cython.int
        if _receive_buffer is cython.NULL:
            _receive_buffer = cython.cast(cython.p_char, malloc(RECEIVE_SIZE))
            if _receive_buffer is cython.NULL:
                raise MemoryError("no memory for the receive buffer")
        count = socket_recv_from(
            self.fd, _receive_buffer, RECEIVE_SIZE, cython.address(address), cython.address(size)
        )
        if count < 0:
            number = errno
            if number != EAGAIN and number != EINTR:
                self.protocol.error_received(OSError(number, os.strerror(number)))
            return 0
        data = PyBytes_FromStringAndSize(_receive_buffer, count)
        sender = None
        if size != 0:
            packed = address_pack(cython.address(address), size)
            sender = address_unpack(packed)
        self.protocol.datagram_received(data, sender)
        return 1

    def sendto(self, data: object, addr: object = None) -> None:
        """Send a datagram; one that the kernel does not take now is queued."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if not data and not SENDS_EMPTY:
            return
        if self.address:
            if addr is not None and addr != self.address:
                raise ValueError(f"Invalid address: must be None or {self.address}")
            addr = self.address
        if self.lost_writes and self.address:
            if self.lost_writes >= constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES:
                logger.warning("socket.send() raised exception.")
            self.lost_writes += 1
            return
        if self.fd < 0:
            return  # closed
        if not self.datagrams:
            if self.send_one(data, addr):
                return
            self.set_watched(self.watched | WRITABLE)
        # A copy unless nobody can change it.
        self.datagrams.append((bytes(data), addr))
        self.waiting += len(data) + HEADER_SIZE
        self.pause_protocol_if_full()

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def send_one(self, data: object, address: object) -> cython.int:
        """0 if it must wait; 1 if it is dealt with: sent, or its error reported."""
        try:
            if self.connected:
                self.socket.send(data)
            else:
                self.socket.sendto(data, address)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as exc:
            self.protocol.error_received(exc)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self.fail(exc, "Fatal write error on datagram transport")
        return 1

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def on_writable(self) -> cython.int:
        while self.datagrams and not self.lost_writes:
            data, address = self.datagrams[0]
            if not self.send_one(data, address):
                break
            if self.datagrams:
                self.datagrams.popleft()
                self.waiting -= len(data) + HEADER_SIZE
        self.resume_protocol_if_drained()
        if not self.datagrams and not self.lost_writes:
            self.set_watched(self.watched & ~WRITABLE)
            if self._closing:
                self.lose_connection(None)
        return 0

    # asyncio's has these, from asyncio.Transport.

    def write(self, data: object) -> None:
        """Not for datagrams: sendto()."""
        raise NotImplementedError

    def writelines(self, list_of_data: object) -> None:
        """Not for datagrams: sendto()."""
        raise NotImplementedError

    def write_eof(self) -> None:
        """Not for datagrams."""
        raise NotImplementedError

    def can_write_eof(self) -> bool:
        """Not for datagrams."""
        raise NotImplementedError

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def pending(self) -> cython.Py_ssize_t:
        return self.waiting

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def drop_pending(self) -> cython.int:
        self.datagrams.clear()
        self.waiting = 0
        return 0
