"""StreamTransport: a connected TCP or Unix stream socket, beneath a Protocol or BufferedProtocol.

How it writes: what a protocol's own method (``data_received`` and its kin) writes is held and leaves in one
system call when the method returns, or at once from 64 KiB on; a header and a body become one packet.
Anywhere else ``write`` tries ``send`` at once, but for small writes on a busy loop, which leave when the
ready batch ends. What the kernel does not take is queued by reference.

How it reads: one ``recv`` for each readiness, into one buffer for all, then one ``bytes``. A connection that
waits for data owns no buffer.
"""

import _thread
import asyncio
import os
from asyncio import constants, futures, selector_events
from asyncio.log import logger

import cython
from cython.cimports.cpython.buffer import PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cython.cimports.cpython.ref import Py_DECREF, PyObject
from cython.cimports.glassloop._core.scheduler import Scheduler
from cython.cimports.glassloop._core.source import READABLE, WRITABLE
from cython.cimports.glassloop._io.byte_sink import ByteSink
from cython.cimports.glassloop._io.corks import Cork, corked_transports, corks_add, corks_remove
from cython.cimports.glassloop._io.stream_feed import (
    LOST,
    UNFED,
    Feed,
    feed_begin,
    feed_cancel,
    feed_end,
    feed_receive,
    may_be_fed,
)
from cython.cimports.glassloop._io.transport import CALLED, call_protocol
from cython.cimports.glassloop._io.write_queue import byte_size, immutable, joined
from cython.cimports.glassloop._sys.calls import (
    PyContext_Exit,
    context_enter,
    take_exception,
)
from cython.cimports.glassloop._sys.socket import (
    SHUT_WR,
    socket_recv,
    socket_send,
    socket_send_more,
    socket_set_nodelay,
    socket_shutdown,
)
from cython.cimports.libc.errno import EAGAIN, EINTR, errno
from cython.cimports.libc.stdlib import malloc

from glassloop._core.scheduler import Scheduler
from glassloop._io.byte_sink import ByteSink
from glassloop._io.transport import SocketTransport
from glassloop._io.write_queue import WriteQueue

# One recv takes as much at most: asyncio's figure (selector_events._SelectorTransport.max_size).
RECEIVE_SIZE = cython.declare(cython.Py_ssize_t, 256 * 1024)
# Where a connection received as much the last time, it is received straight into a reader's buffer: less is
# copied faster than it takes to prepare, and of more the kernel seldom has as much again.
DIRECT_SIZE = cython.declare(cython.Py_ssize_t, 4 * 1024)
DIRECT_SIZE_MAX = cython.declare(cython.Py_ssize_t, 128 * 1024)
# A protocol's method may write as much before it is sent while the method still runs.
CORK_SIZE = cython.declare(cython.Py_ssize_t, 64 * 1024)

# Up to so many bytes, one piece is cheaper to make and to send than two (an iovec, a queue for it).
JOIN_SIZE = cython.declare(cython.Py_ssize_t, 4 * 1024)
# A task's write of up to so many bytes may wait for the end of the ready batch. More of it, from many
# connections, would have left the CPU's cache by then: streams of 8 KiB echo 4 % slower, of 16 KiB 10 %.
DEFER_SIZE = cython.declare(cython.Py_ssize_t, 4 * 1024)
# ... as long as so many entries of the batch are still to run.
DEFER_WHILE_LEFT = cython.declare(cython.size_t, 4)

# One buffer for all connections: between recv and the copy nothing else runs. Made when first needed.
_receive_buffer = cython.declare(cython.p_char, cython.NULL)


@cython.final
@cython.cclass
class StreamTransport(SocketTransport):
    """What ``create_connection`` and a server's accepted connections give."""

    _sendfile_compatible = constants._SendfileMode.TRY_NATIVE
    _start_tls_compatible = True
    max_size = 256 * 1024

    def __init__(
        self,
        loop: object,
        sock: object,
        protocol: object,
        waiter: object = None,
        extra: object = None,
        server: object = None,
        context: object = None,
    ) -> None:
        SocketTransport.__init__(self, loop, sock, protocol, extra, server, context)
        # Nagle's algorithm waits for more: an answer of two writes would be held back for 40 ms. The kernel
        # knows faster than Python's socket that a Unix socket has no such thing.
        socket_set_nodelay(self.fd)
        # In this order, and each in a turn's batch: no data before connection_made(), nor before
        # create_connection() has returned to its caller.
        loop.call_soon(self._connection_made, context=self.context if self.context_given else None)
        loop.call_soon(self._start_reading, context=self.context if self.context_given else None)
        if waiter is not None:
            loop.call_soon(
                futures._set_result_unless_cancelled,
                waiter,
                None,
                context=self.context if self.context_given else None,
            )

    @property
    def __class__(self) -> type:
        return selector_events._SelectorSocketTransport

    def _connection_made(self) -> None:
        self.protocol.connection_made(self)

    def set_protocol(self, protocol: object) -> None:
        """Make this the protocol that hears of the connection from now on."""
        self.buffered = isinstance(protocol, asyncio.BufferedProtocol)
        self.sink = protocol if isinstance(protocol, ByteSink) else None
        self.fed = may_be_fed(protocol)
        self.protocol = protocol

    # -- reading ----------------------------------------------------------------------------------

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def on_readable(self) -> cython.int:
        if self.lost_writes:
            return 0
        if self.sink is not None:
            return self.receive_into_sink()
        if self.buffered:
            return self.receive_into_protocol()
        if self.fed:
            return self.receive_into_reader()
        return self.receive_bytes()

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def receive_bytes(self) -> cython.int:
        count: cython.Py_ssize_t
        if _receive_buffer is cython.NULL:
            make_receive_buffer()
        count = socket_recv(self.fd, _receive_buffer, RECEIVE_SIZE)
        if count > 0:
            return self.deliver(count)
        if count == 0:
            return self.received_eof()
        return receive_failed(self, errno)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def deliver(self, count: cython.Py_ssize_t) -> cython.int:
        """Give the protocol what is in the receive buffer."""
        try:
            data = PyBytes_FromStringAndSize(_receive_buffer, count)
        except MemoryError as exc:
            # What was received is lost: the stream must not go on with a hole in it.
            return self.fail(exc, "Fatal read error on socket transport")
        return self.call_corked("data_received", data, "Fatal error: protocol.data_received() call failed.")

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def receive_into_reader(self) -> cython.int:
        """asyncio's streams: receive for the StreamReader, if possible straight into its buffer."""
        fed: Feed
        count: cython.Py_ssize_t
        if not feed_begin(self.protocol, cython.address(fed)):
            return self.receive_bytes()
        if _receive_buffer is cython.NULL:
            make_receive_buffer()
        count = feed_receive(cython.address(fed), self.fd, self.expected, _receive_buffer, RECEIVE_SIZE)
        if count > 0:
            self.expected = count if DIRECT_SIZE <= count <= DIRECT_SIZE_MAX else 0
            try:
                feed_end(cython.address(fed))
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                return self.fail(exc, "Fatal error: protocol.data_received() call failed.")
            return 0
        number: cython.int = errno
        feed_cancel(cython.address(fed))
        if count == UNFED:
            return self.deliver(fed.unfed)
        if count == LOST:
            # The stream must not go on with a hole in it.
            return self.fail(
                MemoryError("no memory for what was received"), "Fatal read error on socket transport"
            )
        if count == 0:
            return self.received_eof()
        return receive_failed(self, number)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def receive_into_protocol(self) -> cython.int:
        """BufferedProtocol: receive into the buffer that the protocol gives."""
        given: cython.pointer(PyObject) = cython.NULL
        error: cython.pointer(PyObject) = cython.NULL
        view: Py_buffer
        count: cython.Py_ssize_t
        cork: Cork
        self.cork(cython.address(cork))
        try:
            if call_protocol(self, "get_buffer", -1, cython.address(given), cython.address(error)) == CALLED:
                target = cython.cast(object, given)
                Py_DECREF(target)
                if not len(target):
                    raise RuntimeError("get_buffer() returned an empty buffer")
            else:
                failure = cython.cast(object, error)
                Py_DECREF(failure)
                raise failure
        except (SystemExit, KeyboardInterrupt):
            self.uncork(cython.address(cork))
            raise
        except BaseException as exc:
            self.uncork(cython.address(cork))
            self.fail(exc, "Fatal error: protocol.get_buffer() call failed.")
            return 0
        self.uncork(cython.address(cork))
        if self.lost_writes or self.fd < 0:
            return 0  # get_buffer() ended the connection
        try:
            PyObject_GetBuffer(target, cython.address(view), PyBUF_SIMPLE | PyBUF_WRITABLE)
        except BaseException as exc:
            self.fail(exc, "Fatal read error on socket transport")
            return 0
        count = socket_recv(self.fd, view.buf, view.len)
        number: cython.int = errno
        PyBuffer_Release(cython.address(view))  # may call Python, which writes errno
        if count > 0:
            return self.call_corked(
                "buffer_updated", count, "Fatal error: protocol.buffer_updated() call failed."
            )
        if count == 0:
            return self.received_eof()
        return receive_failed(self, number)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def receive_into_sink(self) -> cython.int:
        """A compiled protocol: receive into the memory that it lends."""
        room: cython.Py_ssize_t = 0
        cork: Cork
        sink: ByteSink = self.sink
        memory: cython.p_char = cython.NULL
        sink.lend(cython.address(memory), cython.address(room))
        count: cython.Py_ssize_t = socket_recv(self.fd, memory, room)
        number: cython.int = errno
        if count <= 0:
            sink.take(0)
            return self.received_eof() if count == 0 else receive_failed(self, number)
        self.cork(cython.address(cork))
        try:
            sink.take(count)
        except (SystemExit, KeyboardInterrupt):
            self.uncork(cython.address(cork))
            raise
        except BaseException as exc:
            self.uncork(cython.address(cork))
            return self.fail(exc, "Fatal error: protocol.buffer_updated() call failed.")
        self.uncork(cython.address(cork))
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def received_eof(self) -> cython.int:
        result: cython.pointer(PyObject) = cython.NULL
        error: cython.pointer(PyObject) = cython.NULL
        cork: Cork
        if self.loop._debug:
            logger.debug("%r received EOF", self)
        self.cork(cython.address(cork))
        try:
            outcome: cython.int = call_protocol(
                self, "eof_received", None, cython.address(result), cython.address(error)
            )
        except BaseException:
            self.uncork(cython.address(cork))
            raise
        self.uncork(cython.address(cork))
        if outcome == CALLED:
            keep_open = cython.cast(object, result)
            Py_DECREF(keep_open)
            if keep_open:
                # Half-closed: this end may still write. asyncio's protocol hears of no further EOF.
                self.set_watched(self.watched & ~READABLE)
            else:
                self.close()
            return 0
        failure = cython.cast(object, error)
        Py_DECREF(failure)
        return self.fail(failure, "Fatal error: protocol.eof_received() call failed.")

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def call_corked(self, name: object, argument: object, failure: str) -> cython.int:
        """Call a method of the protocol's; what it wrote leaves when it has returned, or raised."""
        result: cython.pointer(PyObject) = cython.NULL
        error: cython.pointer(PyObject) = cython.NULL
        outcome: cython.int
        cork: Cork
        self.cork(cython.address(cork))
        try:
            outcome = call_protocol(self, name, argument, cython.address(result), cython.address(error))
        except BaseException:
            self.uncork(cython.address(cork))
            raise
        self.uncork(cython.address(cork))
        if outcome == CALLED:
            Py_DECREF(cython.cast(object, result))
            return 0
        exc = cython.cast(object, error)
        Py_DECREF(exc)
        return self.fail(exc, failure)

    # -- writing ----------------------------------------------------------------------------------

    def write(self, data: object) -> None:
        """Send bytes-like data; what the kernel does not take now is queued."""
        if type(data) is not bytes and not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if self._eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self.empty_waiter is not None:
            raise RuntimeError("unable to write; sendfile is in progress")
        if len(data) == 0:
            return
        self.write_chunk(data)

    def writelines(self, list_of_data: object) -> None:
        """Send several pieces of bytes-like data, in one system call where possible."""
        if self._eof:
            raise RuntimeError("Cannot call writelines() after write_eof()")
        if self.empty_waiter is not None:
            raise RuntimeError("unable to writelines; sendfile is in progress")
        cork: Cork
        corked: cython.bint = self.corked
        if not corked:
            self.cork(cython.address(cork))
        try:
            for data in list_of_data:
                self.write(data)
        finally:
            if not corked:
                self.uncork(cython.address(cork))

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def write_chunk(self, data: object) -> cython.int:
        sent: cython.Py_ssize_t
        if self.lost_writes:
            if self.lost_writes >= constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES:
                logger.warning("socket.send() raised exception.")
            self.lost_writes += 1
            return 0
        if not self.corked and self.held is None and self.queue is None and may_defer(self, data):
            self.loop.batch_enders.append(self)
            self.deferred = True
        if self.corked or self.deferred:
            if self.held is None and self.queue is None:
                self.held = immutable(data, 0)
            elif self.queue is None and PyBytes_GET_SIZE(self.held) + byte_size(data) <= JOIN_SIZE:
                self.held = joined(self.held, immutable(data, 0))
            else:
                self.queue_chunk(data, 0)
            if self.watched & WRITABLE:
                return self.pause_protocol_if_full()  # the kernel is full: nothing is held, all is queued
            if self.pending() >= CORK_SIZE or self.pending() > self.high:
                return self.flush(False)
            return 0
        if self.queue is None:
            size: cython.Py_ssize_t = byte_size(data)
            sent = send_now(self, data)
            if sent < 0 or sent == size:
                return 0
            try:
                self.queue_chunk(data, sent)
            except BaseException as exc:
                if sent == 0:
                    raise  # nothing has happened
                return self.fail(exc, "Fatal write error on socket transport")
        else:
            self.queue_chunk(data, 0)
        self.set_watched(self.watched | WRITABLE)
        return self.pause_protocol_if_full()

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def queue_chunk(self, data: object, start: cython.Py_ssize_t) -> cython.int:
        """On MemoryError what is held and queued is as it was."""
        if self.queue is not None:
            return self.queue.add(data, start)
        queue: WriteQueue = WriteQueue()
        if self.held is not None:
            queue.add(self.held, 0)
        queue.add(data, start)
        self.queue = queue
        self.held = None
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def cork(self, cork: cython.pointer(Cork)) -> cython.int:
        """Hold what is written until uncork(). The caller has the cork, a link of the chain, on its stack."""
        self.corked = True
        corks_add(cork, self)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def uncork(self, cork: cython.pointer(Cork)) -> cython.int:
        """The protocol's method is over: send what it wrote."""
        corks_remove(cork)
        self.corked = False
        if self.lost_writes:
            return 0
        if self.held is None and self.queue is None:
            if self._closing or self._eof:
                self.after_drain(False)
            return 0
        if self.held is None and self.watched & WRITABLE:
            return 0  # the poller will tell when there is room
        return self.flush(False)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def on_batch_end(self) -> cython.int:
        self.deferred = False
        if self.lost_writes or self.fd < 0 or self.corked:
            return 0
        if self.held is not None or (self.queue is not None and not self.watched & WRITABLE):
            # Who wrote is not known any more: what comes of it has the connection's context.
            held = self.context
            context: cython.pointer(PyObject) = cython.cast(cython.pointer(PyObject), held)
            entered: cython.bint = context_enter(context) == 0
            if not entered:  # somebody runs in it, in another thread say: sending matters more
                Py_DECREF(cython.cast(object, take_exception()))
            try:
                self.flush(False)
            finally:
                if entered:
                    PyContext_Exit(context)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def flush(self, from_poller: cython.bint) -> cython.int:
        """Send what is held or queued, as far as the kernel takes it, and watch for room for the rest."""
        sent: cython.Py_ssize_t
        if self.held is not None:
            data = self.held
            self.held = None
            sent = send_now(self, data)
            if sent < 0:
                return 0
            if sent < PyBytes_GET_SIZE(data):
                try:
                    self.queue_chunk(data, sent)
                except BaseException as exc:
                    # The writer has been told that all is well: the stream must not go on with a hole in it.
                    return self.fail(exc, "Fatal write error on socket transport")
        elif self.queue is not None:
            try:
                self.queue.send(self.fd, True)
            except OSError as exc:
                self.fail(exc, "Fatal write error on socket transport")
                return 0
            if self.queue.size == 0:
                self.queue = None
        if self.queue is not None:
            self.set_watched(self.watched | WRITABLE)
            return self.pause_protocol_if_full()
        self.set_watched(self.watched & ~WRITABLE)
        self.resume_protocol_if_drained()
        # The protocol may have written again.
        if self.queue is None and self.held is None:
            self.after_drain(from_poller)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def after_drain(self, from_poller: cython.bint) -> cython.int:
        """Nothing is queued: what waited for that may happen."""
        if self.empty_waiter is not None and not self.empty_waiter.done():
            self.empty_waiter.set_result(None)
        if self.corked or self.lost_writes:
            return 0
        if self._closing:
            return self.lose_connection(None) if from_poller else self.lose_connection_soon(None)
        if self._eof and not self.eof_sent:
            self.eof_sent = True
            socket_shutdown(self.fd, SHUT_WR)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def on_writable(self) -> cython.int:
        if self.lost_writes:
            return 0
        return self.flush(True)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def pending(self) -> cython.Py_ssize_t:
        if self.held is not None:
            return PyBytes_GET_SIZE(self.held)
        return 0 if self.queue is None else self.queue.size

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def drop_pending(self) -> cython.int:
        self.held = None
        self.queue = None
        return 0

    def get_write_buffer_size(self) -> int:
        """Bytes that were written and that the kernel has not taken."""
        send_held(self)
        return self.pending()

    def can_write_eof(self) -> bool:
        """True: a stream may be half-closed."""
        return True

    def set_write_buffer_limits(self, high: object = None, low: object = None) -> None:
        """Pause the protocol's writing above ``high`` bytes, resume it below ``low``."""
        send_held(self)
        SocketTransport.set_write_buffer_limits(self, high, low)

    def write_eof(self) -> None:
        """Close the writing half once what is queued is sent; reading goes on."""
        if self._closing or self._eof:
            return
        send_held(self)
        if self._closing:
            return  # the connection failed
        self._eof = True
        if not self.pending():
            self.eof_sent = True
            socket_shutdown(self.fd, SHUT_WR)

    def close(self) -> None:
        """Send what is queued, then close the connection. ``connection_lost(None)`` follows."""
        if may_end_at_once(self):
            self.send_with_end()
        else:
            send_held(self)
        SocketTransport.close(self)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def send_with_end(self) -> cython.int:
        """Send what is held and the end of the stream, in one packet where the kernel takes it all."""
        data = self.held
        sent: cython.Py_ssize_t = socket_send_more(self.fd, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        if sent <= 0:
            return send_held(self)
        self.held = None
        if sent == PyBytes_GET_SIZE(data):
            socket_shutdown(self.fd, SHUT_WR)
            return 0
        try:
            self.queue_chunk(data, sent)
        except BaseException as exc:
            return self.fail(exc, "Fatal write error on socket transport")
        return self.set_watched(self.watched | WRITABLE)

    def abort(self) -> None:
        """Close the connection at once; what the kernel has not taken is lost."""
        send_held(self)
        self.force_close(None)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def lose_connection(self, exc: object) -> cython.int:
        if self.empty_waiter is not None and not self.empty_waiter.done():
            self.empty_waiter.set_exception(ConnectionError("Connection is closed by peer"))
        self.sink = None
        return SocketTransport.lose_connection(self, exc)

    # -- sendfile ---------------------------------------------------------------------------------

    def _make_empty_waiter(self) -> object:
        if self.empty_waiter is not None:
            raise RuntimeError("Empty waiter is already set")
        send_held(self)
        self.empty_waiter = self.loop.create_future()
        if self.queue is None:
            self.empty_waiter.set_result(None)
        return self.empty_waiter

    def _reset_empty_waiter(self) -> None:
        self.empty_waiter = None


@cython.cfunc
@cython.exceptval(-1, check=False)
def may_defer(transport: StreamTransport, data: object) -> cython.int:
    """Whether a write by a task, not by the protocol's own method, may wait for the end of the ready batch.

    Only on a busy loop, which has more to run in this batch: many connections' answers then leave one after
    the other, and whoever receives them wakes once, not each time. A program that writes and then blocks in
    the same step, as tests do, is not kept waiting.
    """
    return transport.loop.left_in_batch >= DEFER_WHILE_LEFT and byte_size(data) <= DEFER_SIZE


@cython.cfunc
@cython.exceptval(check=False)
def may_end_at_once(transport: StreamTransport) -> cython.bint:
    """Whether what is held is the last that this end of a TCP connection sends.

    Where somebody has the Python socket he may have set what happens when it is closed (SO_LINGER).
    """
    return (
        transport.held is not None
        and transport.queue is None
        and not transport._closing
        and not transport._eof
        and not transport.lost_writes
        and not transport._protocol_paused
        and transport.empty_waiter is None
        and transport.socket is None
        and transport.short_peer != 0
    )


@cython.cfunc
@cython.exceptval(-1, check=False)
def send_held(transport: StreamTransport) -> cython.int:
    """Before anybody looks at the buffer, or drops it: hand the kernel what only waits for a method's end."""
    if transport.sink is not None:
        transport.sink.hand_over()
    if transport.held is not None or (
        (transport.corked or transport.deferred) and transport.queue is not None
    ):
        if not transport.lost_writes:
            transport.flush(False)
    return 0


@cython.cfunc
@cython.exceptval(-2, check=False)
def send_now(transport: StreamTransport, data: object) -> cython.Py_ssize_t:
    """How many bytes the kernel took; -1 if the connection failed, which is dealt with."""
    view: Py_buffer
    sent: cython.Py_ssize_t
    number: cython.int
    if type(data) is bytes:
        sent = socket_send(transport.fd, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))
        number = errno
    else:
        PyObject_GetBuffer(data, cython.address(view), PyBUF_SIMPLE)
        sent = socket_send(transport.fd, view.buf, view.len)
        number = errno
        PyBuffer_Release(cython.address(view))  # may call Python, which writes errno
    if sent >= 0:
        return sent
    if number == EAGAIN or number == EINTR:
        return 0
    transport.fail(OSError(number, os.strerror(number)), "Fatal write error on socket transport")
    return -1


@cython.cfunc
@cython.exceptval(-1, check=False)
def make_receive_buffer() -> cython.int:
    global _receive_buffer
    _receive_buffer = cython.cast(cython.p_char, malloc(RECEIVE_SIZE))
    if _receive_buffer is cython.NULL:
        raise MemoryError("no memory for the receive buffer")
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def receive_failed(transport: StreamTransport, number: cython.int) -> cython.int:
    if number == EAGAIN or number == EINTR:
        return 0
    return transport.fail(OSError(number, os.strerror(number)), "Fatal read error on socket transport")


def _send_held_before_fork() -> None:
    """What this thread's loops hold would be in the child too, and be sent once more by it."""
    holding: list = [
        transport
        for transport in corked_transports()
        if transport._loop is not None and transport._loop._thread_id == _thread.get_ident()
    ]
    loop = asyncio._get_running_loop()
    if isinstance(loop, Scheduler):
        holding += cython.cast(Scheduler, loop).batch_enders
    for transport in holding:
        if isinstance(transport, StreamTransport):
            send_held(transport)


os.register_at_fork(before=_send_held_before_fork)
