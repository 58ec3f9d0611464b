"""DatagramTransport: a UDP or Unix datagram socket, beneath a DatagramProtocol.

How it receives: one ``recvmmsg`` for each readiness takes a batch, into a buffer that all share. All of it
becomes Python's before the protocol hears of the first one; what the protocol does not take, because it
pauses, waits.

How it sends: at once. But while a batch of several is delivered, what ``datagram_received`` sends leaves in
the same order by one ``sendmmsg``, when all have been delivered or the transport is closed. What the kernel
does not take waits in a queue, also beyond ``close()``. What the network reports of an earlier datagram
(ICMP) reaches ``error_received``, and so does what goes wrong with one that is sent.
"""

import collections
import os
import sys
from asyncio import constants, futures, selector_events
from asyncio.log import logger

import cython
from cython.cimports.cpython.buffer import PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cython.cimports.cpython.ref import Py_DECREF, Py_INCREF, PyObject
from cython.cimports.glassloop._core.source import READABLE, WRITABLE
from cython.cimports.glassloop._io.address import peer_address
from cython.cimports.glassloop._io.peers import peer_packed, peer_shown
from cython.cimports.glassloop._sys.socket import (
    AF_UNIX,
    DATAGRAMS_MOST,
    Address,
    Datagrams,
    datagrams_receive,
    datagrams_send,
    datagrams_sender_size,
    datagrams_set,
    datagrams_size,
    socket_send,
    socket_send_to,
    socklen_t,
)
from cython.cimports.libc.errno import EAGAIN, EINTR, errno
from cython.cimports.libc.stdlib import malloc

from glassloop._io.transport import SocketTransport

# A batch has room for so much; a datagram over IP is never larger than a 32nd of it, a Unix one as asyncio's.
RECEIVE_SIZE = cython.declare(cython.Py_ssize_t, 2 * 1024 * 1024)
IP_SIZE = cython.declare(cython.Py_ssize_t, 64 * 1024)
UNIX_SIZE = cython.declare(cython.Py_ssize_t, 256 * 1024)
# What is larger is sent at once, by itself: together such datagrams would fill the socket's buffer.
GATHER_SIZE = cython.declare(cython.Py_ssize_t, 2 * 1024)
# asyncio counts this much for each queued datagram besides its data: empty ones must not queue for ever.
HEADER_SIZE = cython.declare(
    cython.Py_ssize_t, getattr(selector_events._SelectorDatagramTransport, "_header_size", 0)
)
# Until 3.13 asyncio swallowed empty datagrams.
SENDS_EMPTY = cython.declare(cython.bint, sys.version_info >= (3, 13))

# What the kernel fills: between recvmmsg and the copies nothing else runs. Made when first needed.
_receive_buffer = cython.declare(cython.p_char, cython.NULL)
_inbox = cython.declare(cython.pointer(Datagrams), cython.NULL)


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
        self.family = sock.family
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

    # -- receiving --------------------------------------------------------------------------------

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def on_readable(self) -> cython.int:
        if self.lost_writes:
            return 0
        if self.undelivered is not None:
            self._deliver_rest()
            if not self.watched & READABLE or self.lost_writes:
                return 0
        return self.receive_batch()

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def receive_batch(self) -> cython.int:
        i: cython.int
        count: cython.int
        number: cython.int
        size: cython.Py_ssize_t = UNIX_SIZE if self.family == AF_UNIX else IP_SIZE
        most: cython.int = min(cython.cast(cython.int, DATAGRAMS_MOST), RECEIVE_SIZE // size)
        make_inbox()
        for i in range(most):
            datagrams_set(_inbox, i, _receive_buffer + i * size, size, cython.sizeof(Address))
        count = datagrams_receive(self.fd, _inbox, most)
        if count < 0:
            number = errno
            if number != EAGAIN and number != EINTR:
                self.protocol.error_received(OSError(number, os.strerror(number)))
            return 0
        if count == 1:
            data = PyBytes_FromStringAndSize(_receive_buffer, datagrams_size(_inbox, 0))
            return self.deliver_one(
                data, peer_shown(cython.address(_inbox.addresses[0]), datagrams_sender_size(_inbox, 0))
            )
        # All of them before the first is delivered: what the protocol does may fill the buffer anew.
        received: list = []
        for i in range(count):
            received.append(PyBytes_FromStringAndSize(_receive_buffer + i * size, datagrams_size(_inbox, i)))
            received.append(peer_shown(cython.address(_inbox.addresses[i]), datagrams_sender_size(_inbox, i)))
        return self.deliver(received, 0)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def deliver_one(self, data: object, sender: object) -> cython.int:
        self.protocol.datagram_received(data, sender)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def deliver(self, received: list, first: cython.Py_ssize_t) -> cython.int:
        """Give the protocol all of these; send together what it sends meanwhile."""
        outbox: Outbox
        at: cython.Py_ssize_t = first
        opened: cython.bint = self.outbox is cython.NULL
        if opened:
            outbox.count = 0
            self.outbox = cython.address(outbox)
        try:
            while at < len(received) and not self._closing:
                if self.reading_paused:
                    return self.keep_rest(received, at)
                at += 2
                try:
                    self.deliver_one(received[at - 2], received[at - 1])
                except (SystemExit, KeyboardInterrupt):
                    self.keep_rest(received, at)
                    raise
                except BaseException as exc:
                    try:
                        report(self, exc)
                    except BaseException:
                        self.keep_rest(received, at)
                        raise
        finally:
            if opened:
                try:
                    self.flush()
                finally:
                    self.outbox = cython.NULL
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def keep_rest(self, received: list, first: cython.Py_ssize_t) -> cython.int:
        """Deliver these later: as soon as the loop runs, or when reading is resumed."""
        rest: list = received[first:]
        if not rest or self._closing:
            return 0
        if self.undelivered is None:
            self.undelivered = rest
        else:
            self.undelivered = rest + self.undelivered
        if not self.reading_paused:
            self.loop.call_soon(self._deliver_rest, context=self.context)
        return 0

    def _deliver_rest(self) -> None:
        received: list = self.undelivered
        if received is None or self.reading_paused:
            return
        self.undelivered = None
        if not self._closing:
            self.deliver(received, 0)

    def resume_reading(self) -> None:
        """Receive again."""
        SocketTransport.resume_reading(self)
        if self.undelivered is not None and not self.reading_paused and not self._closing:
            self.loop.call_soon(self._deliver_rest, context=self.context)

    # -- sending ----------------------------------------------------------------------------------

    def sendto(self, data: object, addr: object = None) -> None:
        """Send a datagram; one that the kernel does not take now is queued."""
        if type(data) is not bytes and not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if not SENDS_EMPTY and not data:
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
            if self.outbox is not cython.NULL and not self._closing and self.gather(data, addr):
                return
            if not self.datagrams:  # gather() may have found that the kernel is full
                if self.send_one(data, addr):
                    return
                self.set_watched(self.watched | WRITABLE)
        # A copy unless nobody can change it.
        self.datagrams.append((bytes(data), addr))
        self.waiting += len(data) + HEADER_SIZE
        self.pause_protocol_if_full()

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def gather(self, data: object, address: object) -> cython.int:
        """1 if the datagram will leave with others of the batch; 0 if it must go by itself, after them."""
        outbox: cython.pointer(Outbox) = self.outbox
        size: socklen_t = 0
        if type(data) is not bytes:
            data = bytes(data)
        if outbox.count == DATAGRAMS_MOST:
            self.flush()
        if self.datagrams:
            return 0
        if PyBytes_GET_SIZE(data) <= GATHER_SIZE:
            if not self.connected:
                size = peer_packed(address, self.family, cython.address(outbox.batch.addresses[outbox.count]))
            if size != 0 or self.connected:
                if not self.connected:
                    audit_sendto(self.socket, address)
                datagrams_set(
                    cython.address(outbox.batch),
                    outbox.count,
                    PyBytes_AS_STRING(data),
                    PyBytes_GET_SIZE(data),
                    size,
                )
                Py_INCREF(data)
                Py_INCREF(address)
                outbox.data[outbox.count] = cython.cast(cython.pointer(PyObject), data)
                outbox.addresses[outbox.count] = cython.cast(cython.pointer(PyObject), address)
                outbox.count += 1
                return 1
        self.flush()
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def flush(self) -> cython.int:
        """Send what was gathered. On an exception the rest of it is lost with the connection, or queued."""
        outbox: cython.pointer(Outbox) = self.outbox
        count: cython.int
        sent: cython.int
        number: cython.int
        at: cython.int = 0
        i: cython.int
        if outbox is cython.NULL or outbox.count == 0:
            return 0
        # From here on the outbox is empty to whoever sends from within error_received().
        count = outbox.count
        outgoing: list = []
        failures: list = []
        full: cython.bint = False
        while at < count:
            sent = datagrams_send(self.fd, cython.address(outbox.batch), at, count - at)
            if sent >= 0:
                at += sent
                continue
            number = errno
            if number == EINTR:
                continue
            if number == EAGAIN:
                full = True
                break
            failures.append(number)
            at += 1
        outbox.count = 0
        for i in range(count):
            data = cython.cast(object, outbox.data[i])
            address = cython.cast(object, outbox.addresses[i])
            Py_DECREF(data)
            Py_DECREF(address)
            if i >= at:
                outgoing.append((data, address))
        if full and self.fd >= 0:
            for data, address in outgoing:
                self.datagrams.append((data, address))
                self.waiting += PyBytes_GET_SIZE(data) + HEADER_SIZE
            self.set_watched(self.watched | WRITABLE)
            self.pause_protocol_if_full()
        for failure in failures:
            if self.protocol is None:
                break
            self.protocol.error_received(OSError(failure, os.strerror(failure)))
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def send_one(self, data: object, address: object) -> cython.int:
        """0 if it must wait; 1 if it is dealt with: sent, or its error reported."""
        view: Py_buffer
        target: Address
        size: socklen_t = 0
        sent: cython.Py_ssize_t
        number: cython.int
        try:
            if not self.connected:
                size = peer_packed(address, self.family, cython.address(target))
                if size == 0:
                    self.socket.sendto(data, address)
                    return 1
                audit_sendto(self.socket, address)
            PyObject_GetBuffer(data, cython.address(view), PyBUF_SIMPLE)
            if self.connected:
                sent = socket_send(self.fd, view.buf, view.len)
            else:
                sent = socket_send_to(self.fd, view.buf, view.len, cython.address(target), size)
            number = errno
            PyBuffer_Release(cython.address(view))
            if sent < 0:
                if number == EAGAIN or number == EINTR:
                    return 0
                raise OSError(number, os.strerror(number))
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

    # -- the way to the end -----------------------------------------------------------------------

    def close(self) -> None:
        """Send what is queued, then close the socket. ``connection_lost(None)`` follows."""
        self.flush()
        SocketTransport.close(self)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def force_close(self, exc: object) -> cython.int:
        try:
            self.flush()  # what was sent before
        finally:
            SocketTransport.force_close(self, exc)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def pending(self) -> cython.Py_ssize_t:
        return self.waiting

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def drop_pending(self) -> cython.int:
        self.datagrams.clear()
        self.waiting = 0
        self.undelivered = None
        return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def report(transport: DatagramTransport, exc: object) -> cython.int:
    """As the scheduler reports what a source raises; but here others of the same batch come after."""
    transport.loop.call_exception_handler(
        {"message": f"Exception in callback of {transport!r}", "exception": exc, "transport": transport}
    )
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def make_inbox() -> cython.int:
    global _receive_buffer, _inbox
    if _receive_buffer is cython.NULL:
        _receive_buffer = cython.cast(cython.p_char, malloc(RECEIVE_SIZE))
    if _inbox is cython.NULL:
        _inbox = cython.cast(cython.pointer(Datagrams), malloc(cython.sizeof(Datagrams)))
    if _receive_buffer is cython.NULL or _inbox is cython.NULL:
        raise MemoryError("no memory for the receive buffer")
    return 0
