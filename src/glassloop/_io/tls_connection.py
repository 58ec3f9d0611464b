"""TLSConnection: TLS between a protocol and the transport beneath it, from handshake to goodbye.

To the transport beneath it is a protocol; to the application ``SSLTransport``, its subclass, is a transport.
In place of asyncio's ``SSLProtocol``, whose order of calls, texts and time-outs it keeps.

How it reads: what one readiness brought is decrypted into memory that is borrowed meanwhile, and becomes one
``bytes`` and one ``data_received()``. While the protocol pauses reading, ciphertext is kept as it came.

How it writes: each write is encrypted at once and handed on. What the protocol's own method writes in small
pieces becomes one record when the method returns. While the transport beneath is full, what is written waits
as it is, by reference: encrypting it would only double it.

How it ends: everything that was written goes out, then close_notify; the peer's is waited for, up to the
shutdown time-out. What the peer sends after ``close()`` is for nobody. Its end without a close_notify is an
end like any other, as asyncio has it; in debug mode the log says so.
"""

import asyncio
from asyncio import constants, exceptions, sslproto
from asyncio.log import logger

import cython
from cython.cimports.cpython.buffer import PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cython.cimports.cpython.ref import Py_DECREF, PyObject
from cython.cimports.glassloop._core.scheduler import Scheduler
from cython.cimports.glassloop._io.corks import Cork
from cython.cimports.glassloop._io.stream_transport import StreamTransport
from cython.cimports.glassloop._io.tls_engine import (
    AGAIN,
    ENDED_BY_PEER,
    RECORD_SIZE,
    Scratch,
    scratch_give_back,
    scratch_take,
)
from cython.cimports.glassloop._io.tls_states import (
    AGREED,
    CLOSED,
    CONNECTED,
    CUT_OFF,
    ENDED,
    ENDING,
    FLUSHED,
    FLUSHING,
    HANDSHAKE,
    LOST,
    MADE,
    NEW,
    OPEN,
    SHUTDOWN,
    may_tell,
    state_after,
)
from cython.cimports.glassloop._io.write_queue import immutable
from cython.cimports.glassloop._sys.calls import call_method, take_exception
from cython.cimports.libc.string import memcpy

from glassloop._core.scheduler import Scheduler
from glassloop._io.byte_sink import ByteSink
from glassloop._io.stream_transport import StreamTransport
from glassloop._io.tls_engine import TLSEngine
from glassloop._io.write_queue import WriteQueue

# Of reading, besides the engine's AGAIN and ENDED_BY_PEER: the exception is in `failure`.
FAILED = cython.declare(cython.int, -3)

# What a protocol's method writes in pieces is one record up to so many bytes: joining costs less than
# encrypting.
JOIN_SIZE = cython.declare(cython.Py_ssize_t, 4 * 1024)
# So much is encrypted in one go; then the loop's other work has its turn.
SEND_BUDGET = cython.declare(cython.Py_ssize_t, 1024 * 1024)

# As asyncio says it.
_METHOD_FAILED = cython.declare(str, "Fatal error: protocol.buffer_updated() call failed.")


@cython.cclass
class TLSConnection(ByteSink):
    def __init__(
        self,
        loop: Scheduler,
        app_protocol: object,
        sslcontext: object,
        waiter: object,
        server_side: bool = False,
        server_hostname: object = None,
        call_connection_made: bool = True,
        ssl_handshake_timeout: object = None,
        ssl_shutdown_timeout: object = None,
    ) -> None:
        self.closed = True  # until there is something to close
        self.handshake_timeout = checked_timeout(
            "ssl_handshake_timeout", ssl_handshake_timeout, constants.SSL_HANDSHAKE_TIMEOUT
        )
        self.shutdown_timeout = checked_timeout(
            "ssl_shutdown_timeout", ssl_shutdown_timeout, constants.SSL_SHUTDOWN_TIMEOUT
        )
        if not sslcontext:
            sslcontext = sslproto._create_transport_context(server_side, server_hostname)
        self.engine = TLSEngine(sslcontext, server_side, None if server_side else server_hostname or None)
        self.sslcontext = sslcontext
        self.loop = loop
        self.waiter = waiter
        if waiter is not None:
            loop.note_kind(waiter, TLSConnection)  # for who asks what a task waits for
        self.write_high, self.write_low = limits(None, None, constants.FLOW_CONTROL_HIGH_WATER_SSL_WRITE)
        self.read_high, self.read_low = limits(None, None, constants.FLOW_CONTROL_HIGH_WATER_SSL_READ)
        self.set_protocol(app_protocol)
        if not call_connection_made:
            self.tell(MADE)  # by the transport that was there before
        self.closed = False

    def set_protocol(self, protocol: object) -> None:
        """Make this the protocol that hears of the connection from now on."""
        self.protocol = protocol
        self.buffered = hasattr(protocol, "get_buffer") and isinstance(protocol, asyncio.BufferedProtocol)

    # -- the states: a method for each transition -------------------------------------------------

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def on(self, event: cython.int) -> cython.int:
        self.state = state_after(self.state, event)
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def tell(self, what: cython.int) -> cython.bint:
        """Whether the protocol may be told this now; then it counts as told."""
        if not may_tell(self.told, what):
            return False
        self.told = what
        return True

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def begin_handshake(self) -> cython.int:
        self.on(CONNECTED)
        if self.loop._debug:
            logger.debug("%r starts SSL handshake", self)
            self.begun_at = self.loop.time()
        self.timer = self.loop.call_later(self.handshake_timeout, self._check_handshake_timeout)
        return self.shake_hands()

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def shake_hands(self) -> cython.int:
        try:
            done: cython.int = self.engine.handshake()
        except Exception as exc:
            return self.handshake_failed(exc)
        if self.state != HANDSHAKE:
            return 0  # a callback of the context's has ended it
        if done:
            return self.handshake_done()
        return self.send_outgoing()

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def handshake_done(self) -> cython.int:
        result: cython.pointer(PyObject) = cython.NULL
        error: cython.pointer(PyObject) = cython.NULL
        self.cancel_timer()
        self.on(AGREED)
        self.agreed = True
        self.more_inside = True  # what came with the end of the handshake
        if self.begun_at is not None:
            logger.debug("%r: SSL handshake took %.1f ms", self, (self.loop.time() - self.begun_at) * 1e3)
            self.begun_at = None
        if self.tell(MADE):
            delivering: cython.bint = self.delivering
            self.delivering = True
            try:
                outcome: cython.int = self.call_protocol(
                    "connection_made", self, cython.address(result), cython.address(error)
                )
            finally:
                self.delivering = delivering
            if outcome < 0:
                exc = cython.cast(object, error)
                Py_DECREF(exc)
                self.send_held()
                return self.fatal_error(exc, _METHOD_FAILED)
            Py_DECREF(cython.cast(object, result))
        if self.waiter is not None:
            # Who waits gets the connection before its protocol gets data.
            self.reading_held = True
            self.wake_waiter(None)
            self.loop.call_soon(self._begin_reading)
        self.send_unsent()
        return self.send_held()

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def handshake_failed(self, exc: object) -> cython.int:
        self.cancel_timer()
        self.send_outgoing()  # the alert that tells the peer why
        self.on(CUT_OFF)
        if isinstance(exc, sslproto.ssl.CertificateError):
            self.fatal_error(exc, "SSL handshake failed on verifying the certificate")
        else:
            self.fatal_error(exc, "SSL handshake failed")
        return self.wake_waiter(exc)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def begin_flushing(self) -> cython.int:
        self.on(ENDING)
        return self.flush()

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def flush(self) -> cython.int:
        """Read what was received, send what was written; when that is done, say goodbye."""
        if self.state != FLUSHING:
            return 0
        if self.engine.busy:
            self.loop.call_soon(self._go_on)
            return 0
        if not self.reads() and not self.discarding:
            return 0  # there may be more to read, and the protocol has paused reading
        if self.timer is None:
            self.start_shutdown_timer()
        self.read_unread()
        if self.eof:
            self.tell_eof()
        if self.state != FLUSHING:
            return 0
        self.send_held()
        self.send_unsent()
        if self.state != FLUSHING or self.unsent is not None:
            return 0  # resume_writing() comes back here
        return self.begin_shutdown()

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def begin_shutdown(self) -> cython.int:
        self.on(FLUSHED)
        return self.exchange_goodbyes()

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def exchange_goodbyes(self) -> cython.int:
        done: cython.int = 1
        if not self.eof:
            try:
                done = self.engine.unwrap()
            except Exception as exc:
                return self.shutdown_done(exc)
            self.send_outgoing()
        if not done or self.state != SHUTDOWN:
            return 0
        self.tell_eof()
        return self.shutdown_done(None)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def shutdown_done(self, exc: object) -> cython.int:
        if exc is not None:
            self.cancel_timer()
            return self.fatal_error(exc, "Fatal error on transport")
        # The time-out stays: a peer that reads nothing could delay this for ever.
        if self.beneath is not None:
            self.loop.call_soon(self.beneath.close)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def cut_off(self, exc: object) -> cython.int:
        """End at once: no goodbye."""
        self.closed = True
        if self.state == CLOSED or self.state == NEW:
            return 0  # a connection that is not there yet is refused when it comes
        self.send_held()
        self.on(CUT_OFF)
        self.unsent = None
        if self.beneath is not None:
            if exc is None:
                self.beneath.abort()
            else:
                self.beneath._force_close(exc)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def fatal_error(self, exc: object, message: str) -> cython.int:
        beneath = self.beneath
        self.discarding = True  # what was received and not read is for nobody
        self.unread = None
        self.more_inside = False
        if beneath is not None:
            if self.stream is not None:
                self.stream.get_write_buffer_size()  # sends what is held there: the alert
            beneath._force_close(exc)
        if isinstance(exc, OSError):
            if self.loop._debug:
                logger.debug("%r: %s", self, message, exc_info=exc)
        elif not isinstance(exc, exceptions.CancelledError):
            self.loop.call_exception_handler(
                {"message": message, "exception": exc, "transport": beneath, "protocol": self}
            )
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def wake_waiter(self, exc: object) -> cython.int:
        waiter, self.waiter = self.waiter, None
        if waiter is not None:
            if not waiter.cancelled():
                if exc is None:
                    waiter.set_result(None)
                else:
                    waiter.set_exception(exc)
        elif self.accepted and exc is not None and self.loop._debug:
            # As asyncio's task for each accepted connection.
            self.accepted = False
            self.loop.call_exception_handler(
                {
                    "message": "Error on transport creation for incoming connection",
                    "exception": exc,
                    "protocol": self.protocol,
                    "transport": self,
                }
            )
        self.accepted = False
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def cancel_timer(self) -> cython.int:
        timer, self.timer = self.timer, None
        if timer is not None:
            timer.cancel()
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def start_shutdown_timer(self) -> cython.int:
        self.timer = self.loop.call_later(self.shutdown_timeout, self._check_shutdown_timeout)
        return 0

    def _check_handshake_timeout(self) -> None:
        if self.state == HANDSHAKE:
            self.fatal_error(
                ConnectionAbortedError(
                    f"SSL handshake is taking longer than {self.handshake_timeout} seconds: "
                    f"aborting the connection"
                ),
                "Fatal error on transport",
            )

    def _check_shutdown_timeout(self) -> None:
        if (self.state == FLUSHING or self.state == SHUTDOWN) and self.beneath is not None:
            self.beneath._force_close(TimeoutError("SSL shutdown timed out"))

    # -- what the transport beneath calls ----------------------------------------------------------

    def connection_made(self, transport: object) -> None:
        self.beneath = transport
        if type(transport) is StreamTransport:
            self.stream = transport
        if self.closed:
            self.on(CUT_OFF)
            transport.abort()
        else:
            self.begin_handshake()

    def connection_lost(self, exc: object) -> None:
        in_handshake: cython.bint = self.state == HANDSHAKE
        protocol = self.protocol
        self.lost_writes += 1
        self.closed = True
        self.held = self.unsent = self.unread = None
        self.more_inside = False
        self.cancel_timer()
        self.on(CUT_OFF)
        try:
            if not in_handshake and self.tell(LOST):
                self.loop.call_soon(protocol.connection_lost, exc)
            self.wake_waiter(exc)
        finally:
            self.beneath = self.stream = self.protocol = None
            if self.forgotten:
                self.forget()

    def eof_received(self) -> object:
        """True while the transport beneath must stay open to send."""
        self.eof = True
        if self.loop._debug:
            logger.debug("%r received EOF", self)
        if self.state == HANDSHAKE:
            self.handshake_failed(
                ConnectionResetError("the peer ended the connection during the SSL handshake")
            )
        elif self.state == OPEN:
            if self.loop._debug:
                logger.debug("%r: no close_notify came, the data may be cut short", self)
            self.begin_flushing()
        elif self.state == FLUSHING:
            self.flush()
        elif self.state == SHUTDOWN:
            self.exchange_goodbyes()
        return self.state == FLUSHING

    def pause_writing(self) -> None:
        self.beneath_full = True

    def resume_writing(self) -> None:
        self.beneath_full = False
        self._send_more()

    def data_received(self, data: object) -> None:
        """From a transport that is not ours."""
        size: cython.Py_ssize_t = 0
        start: cython.Py_ssize_t = 0
        memory: cython.p_char = cython.NULL
        chunk: bytes = immutable(data, 0)
        while start < PyBytes_GET_SIZE(chunk):
            self.lend(cython.address(memory), cython.address(size))
            size = min(size, PyBytes_GET_SIZE(chunk) - start)
            memcpy(memory, PyBytes_AS_STRING(chunk) + start, size)
            start += size
            self.take(size)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def lend(
        self, memory: cython.pointer(cython.p_char), size: cython.pointer(cython.Py_ssize_t)
    ) -> cython.int:
        scratch_take(cython.address(self.lent))
        memory[0] = self.lent.ciphertext
        size[0] = cython.sizeof(self.lent.ciphertext)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def take(self, count: cython.Py_ssize_t) -> cython.int:
        scratch: cython.pointer(Scratch) = self.lent
        plaintext: bytes = None
        outcome: cython.int = AGAIN
        self.lent = cython.NULL
        try:
            if count == 0:
                return 0
            if self.state != OPEN or self.buffered or self.unread is not None or not self.reads():
                return self.received(scratch, count)
            plaintext = self.decrypt(scratch, count, cython.address(outcome))
        finally:
            scratch_give_back(scratch)
        self.deliver(plaintext, outcome)
        if self.more_inside or self.unread is not None:
            self.read_unread()
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def hand_over(self) -> cython.int:
        return 0 if self.held is None else self.send_held()

    # -- reading ----------------------------------------------------------------------------------

    @cython.cfunc
    @cython.exceptval(check=False)
    def reads(self) -> cython.bint:
        return not self.reading_paused and not self.reading_held

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def received(self, scratch: cython.pointer(Scratch), count: cython.Py_ssize_t) -> cython.int:
        """Ciphertext in any other state than that of a plain protocol that reads."""
        position: cython.Py_ssize_t = 0
        fed: cython.Py_ssize_t
        piece: cython.Py_ssize_t
        complete: cython.bint = False
        outcome: cython.int = AGAIN
        while self.state == HANDSHAKE and position < count:
            fed = 0
            while position < count and fed < RECORD_SIZE:
                piece = self.engine.next_piece(
                    scratch.ciphertext + position, count - position, cython.address(complete)
                )
                self.engine.feed(scratch.ciphertext + position, piece)
                position += piece
                fed += piece
            self.shake_hands()
        if self.state == OPEN:
            if position == 0 and self.buffered and self.unread is None and self.reads():
                self.read_into_protocol(scratch, count)
                return self.read_unread()  # where another protocol is to have the rest
            if position < count:
                self.keep_unread(scratch.ciphertext + position, count - position)
            return self.read_unread()
        if self.state == FLUSHING or self.state == SHUTDOWN:
            self.decrypt(scratch, count, cython.address(outcome))  # for nobody
            if outcome == FAILED:
                failure, self.failure = self.failure, None
                if not isinstance(failure, Exception):
                    raise failure
                return self.shutdown_done(failure)
            return self.flush() if self.state == FLUSHING else self.exchange_goodbyes()
        return 0

    @cython.cfunc
    def decrypt(
        self, scratch: cython.pointer(Scratch), count: cython.Py_ssize_t, outcome: cython.pointer(cython.int)
    ) -> bytes:
        """What came, or None; with AGAIN, ENDED_BY_PEER, or FAILED: then what came before the failure."""
        position: cython.Py_ssize_t = 0
        filled: cython.Py_ssize_t = 0
        got: cython.Py_ssize_t = AGAIN
        piece: cython.Py_ssize_t
        complete: cython.bint = self.more_inside
        unsure: cython.bint = self.more_inside or self.engine.unframed
        self.more_inside = False
        outcome[0] = AGAIN
        try:
            while True:
                while not complete and position < count:
                    piece = self.engine.next_piece(
                        scratch.ciphertext + position, count - position, cython.address(complete)
                    )
                    self.engine.feed(scratch.ciphertext + position, piece)
                    position += piece
                    unsure = unsure or self.engine.unframed
                if not complete:
                    break
                if cython.cast(cython.Py_ssize_t, cython.sizeof(scratch.plaintext)) - filled < RECORD_SIZE:
                    self.more_inside = True  # the next time, with what is left
                    break
                got = self.engine.read(
                    scratch.plaintext + filled,
                    cython.cast(cython.Py_ssize_t, cython.sizeof(scratch.plaintext)) - filled,
                )
                if got == ENDED_BY_PEER:
                    outcome[0] = ENDED_BY_PEER
                    break
                if got > 0:
                    filled += got
                # A record was fed and read. Where that is not sure there may be more.
                complete = got > 0 and unsure and self.engine.has_data()
                unsure = complete or self.engine.unframed
            if position < count and outcome[0] == AGAIN:
                self.keep_unread(scratch.ciphertext + position, count - position)
        except BaseException as exc:
            self.failure = exc
            outcome[0] = FAILED
        return PyBytes_FromStringAndSize(scratch.plaintext, filled) if filled else None

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def deliver(self, plaintext: object, outcome: cython.int) -> cython.int:
        """Give the protocol what was decrypted, send what it wrote, and see to the peer's end."""
        result: cython.pointer(PyObject) = cython.NULL
        error: cython.pointer(PyObject) = cython.NULL
        delivering: cython.bint = self.delivering
        called: cython.int = 0
        if plaintext is not None and (self.state == OPEN or self.state == FLUSHING) and not self.discarding:
            self.delivering = True
            try:
                called = self.call_protocol(
                    "data_received", plaintext, cython.address(result), cython.address(error)
                )
            except BaseException:
                self.delivering = delivering
                self.send_held()
                raise
            self.delivering = delivering
            if called < 0:
                return self.protocol_failed(cython.address(error))
            Py_DECREF(cython.cast(object, result))
        self.send_held()
        if outcome == AGAIN:
            return 0
        if outcome == FAILED:
            failure, self.failure = self.failure, None
            if not isinstance(failure, Exception):
                # KeyboardInterrupt, say, that a signal's handler raised between decrypting and our having it:
                # the stream must not go on with a hole in it.
                self.fatal_error(ConnectionAbortedError("interrupted"), "Fatal error on SSL protocol")
                raise failure
            return self.fatal_error(failure, "Fatal error on SSL protocol")
        self.unread = None
        self.tell_eof()
        return self.end()

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def protocol_failed(self, error: cython.pointer(cython.pointer(PyObject))) -> cython.int:
        """A method of the protocol's raised."""
        exc = cython.cast(object, error[0])
        Py_DECREF(exc)  # the local variable holds its own reference now
        self.send_held()
        if isinstance(exc, Exception):
            return self.fatal_error(exc, "Fatal error on SSL protocol")
        return self.fatal_error(exc, _METHOD_FAILED)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def read_into_protocol(self, scratch: cython.pointer(Scratch), count: cython.Py_ssize_t) -> cython.int:
        """BufferedProtocol: decrypt into the buffers that it gives, one after the other."""
        given: cython.pointer(PyObject) = cython.NULL
        error: cython.pointer(PyObject) = cython.NULL
        position: cython.Py_ssize_t = 0
        piece: cython.Py_ssize_t
        filled: cython.Py_ssize_t
        got: cython.Py_ssize_t = AGAIN
        complete: cython.bint = self.more_inside
        view: Py_buffer
        called: cython.int
        delivering: cython.bint
        self.more_inside = False
        while True:
            # To the next record that is whole.
            while not complete and position < count:
                piece = self.engine.next_piece(
                    scratch.ciphertext + position, count - position, cython.address(complete)
                )
                self.engine.feed(scratch.ciphertext + position, piece)
                position += piece
            if not complete:
                break
            called = self.call_protocol(
                "get_buffer", self.unread_size(), cython.address(given), cython.address(error)
            )
            if called < 0:
                return self.protocol_failed(cython.address(error))
            target = cython.cast(object, given)
            Py_DECREF(target)
            if self.state != OPEN and self.state != FLUSHING:
                return 0
            try:
                PyObject_GetBuffer(target, cython.address(view), PyBUF_SIMPLE | PyBUF_WRITABLE)
            except Exception as exc:
                return self.fatal_error(exc, "Fatal error on SSL protocol")
            filled = 0
            try:
                if view.len == 0:
                    raise RuntimeError("get_buffer() returned an empty buffer")
                while filled < view.len:
                    got = self.engine.read(cython.cast(cython.p_char, view.buf) + filled, view.len - filled)
                    if got <= 0:
                        break
                    filled += got
                    # Of the record, or of one that follows it.
                    complete = self.engine.has_data()
                    while not complete and position < count:
                        piece = self.engine.next_piece(
                            scratch.ciphertext + position, count - position, cython.address(complete)
                        )
                        self.engine.feed(scratch.ciphertext + position, piece)
                        position += piece
                    if not complete:
                        break
            except BaseException as exc:
                self.failure = exc
            finally:
                PyBuffer_Release(cython.address(view))
            complete = complete and got > 0
            if filled:
                delivering = self.delivering
                self.delivering = True
                try:
                    called = self.call_protocol(
                        "buffer_updated", filled, cython.address(given), cython.address(error)
                    )
                finally:
                    self.delivering = delivering
                if called < 0:
                    self.failure = None
                    return self.protocol_failed(cython.address(error))
                Py_DECREF(cython.cast(object, given))
            if self.failure is not None:
                return self.deliver(None, FAILED)
            if got == ENDED_BY_PEER:
                return self.deliver(None, ENDED_BY_PEER)
            if not self.reads() or not self.buffered or (self.state != OPEN and self.state != FLUSHING):
                break
        self.more_inside = complete
        if position < count:
            self.keep_unread(scratch.ciphertext + position, count - position)
        return self.deliver(None, AGAIN)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def keep_unread(self, data: cython.p_char, count: cython.Py_ssize_t) -> cython.int:
        queue: WriteQueue = WriteQueue() if self.unread is None else self.unread
        queue.add(PyBytes_FromStringAndSize(data, count), 0)
        self.unread = queue
        return self.control_reading_beneath()

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def read_unread(self) -> cython.int:
        """Read what was kept, as far as the protocol reads."""
        scratch: cython.pointer(Scratch) = cython.NULL
        count: cython.Py_ssize_t
        outcome: cython.int
        plaintext: bytes
        rest: WriteQueue
        while (
            (self.unread is not None or self.more_inside)
            and (self.state == OPEN or self.state == FLUSHING)
            and (self.discarding or self.reads())
            and not self.engine.busy
        ):
            scratch_take(cython.address(scratch))
            try:
                count = 0
                if self.unread is not None:
                    count = take_from(self.unread, scratch.ciphertext, cython.sizeof(scratch.ciphertext))
                    if self.unread.size == 0:
                        self.unread = None
                if self.buffered and not self.discarding:
                    self.read_into_protocol(scratch, count)
                    continue
                outcome = AGAIN
                rest = self.unread
                self.unread = None  # what decrypt() does not come to goes before it
                plaintext = self.decrypt(scratch, count, cython.address(outcome))
                if rest is not None and outcome == AGAIN:
                    if self.unread is None:
                        self.unread = rest
                    else:
                        append(self.unread, rest)
            finally:
                scratch_give_back(scratch)
            self.deliver(plaintext, outcome)
        return self.control_reading_beneath()

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def control_reading_beneath(self) -> cython.int:
        """Stop the transport beneath while too much waits to be read."""
        size: cython.Py_ssize_t = 0 if self.unread is None else self.unread.size
        if self.beneath is None:
            return 0
        if size >= self.read_high and size > 0 and not self.beneath_paused:
            self.beneath_paused = True
            self.beneath.pause_reading()
        elif size <= self.read_low and self.beneath_paused:
            self.beneath_paused = False
            self.beneath.resume_reading()
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def unread_size(self) -> cython.Py_ssize_t:
        """Bytes of ciphertext that were received and are not decrypted."""
        return self.engine.undecrypted() + (0 if self.unread is None else self.unread.size)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def tell_eof(self) -> cython.int:
        result: cython.pointer(PyObject) = cython.NULL
        error: cython.pointer(PyObject) = cython.NULL
        if self.protocol is None or not self.tell(ENDED):
            return 0
        if self.call_protocol("eof_received", None, cython.address(result), cython.address(error)) < 0:
            exc = cython.cast(object, error)
            Py_DECREF(exc)
            return self.fatal_error(exc, "Error calling eof_received()")
        keep_open = cython.cast(object, result)
        Py_DECREF(keep_open)
        if keep_open:
            logger.warning("returning true from eof_received() has no effect when using ssl")
        return 0

    def _begin_reading(self) -> None:
        self.reading_held = False
        self._go_on()

    def _go_on(self) -> None:
        """Reading goes on, or what had to wait for it."""
        if self.state == OPEN:
            self.read_unread()
        elif self.state == FLUSHING:
            self.flush()

    # -- writing ----------------------------------------------------------------------------------

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def write_data(self, data: object) -> cython.int:
        size: cython.Py_ssize_t
        if self.state >= FLUSHING:
            if self.lost_writes >= constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES:
                logger.warning("SSL connection is closed")
            self.lost_writes += 1
            return 0
        if self.state != OPEN or self.unsent is not None or self.beneath_full or self.engine.busy:
            self.keep_unsent(data, 0)
            return self.control_writing()
        try:
            if self.delivering and self.stream is not None:
                size = PyBytes_GET_SIZE(data) if type(data) is bytes else memoryview(data).nbytes
                if size <= JOIN_SIZE:
                    if self.held is None:
                        self.held = immutable(data, 0)
                        return 0
                    if PyBytes_GET_SIZE(self.held) + size <= JOIN_SIZE:
                        self.held = self.held + immutable(data, 0)
                        return 0
                if self.held is not None:
                    before, self.held = self.held, None
                    self.encrypt(before, 0)
            self.encrypt(data, 0)
        except Exception as exc:
            return self.fatal_error(exc, "Fatal error on SSL protocol")
        self.send_outgoing()
        return self.control_writing()

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def encrypt(self, data: object, start: cython.Py_ssize_t) -> cython.int:
        """Make records of this and hand them on; what the transport beneath has no room for waits."""
        position: cython.Py_ssize_t = start
        got: cython.Py_ssize_t
        size: cython.Py_ssize_t
        view: Py_buffer
        cork: Cork
        stream: StreamTransport = None
        if self.unsent is not None:
            return self.keep_unsent(data, start)
        if type(data) is bytes and start == 0 and PyBytes_GET_SIZE(data) <= RECORD_SIZE:
            got = self.engine.write(data)
            if got > 0:
                self.outgoing_made = True
                position = got
            return 0 if position == PyBytes_GET_SIZE(data) else self.keep_unsent(data, position)
        if type(data) is not bytes and not memoryview(data).contiguous:
            data = immutable(data, 0)
        if self.stream is not None and not self.stream.corked:
            stream = self.stream
            stream.cork(cython.address(cork))
        try:
            PyObject_GetBuffer(data, cython.address(view), PyBUF_SIMPLE)
            size = view.len
            try:
                while position < size and not self.beneath_full and position - start < SEND_BUDGET:
                    got = self.engine.write_memory(
                        cython.cast(cython.p_char, view.buf) + position, min(size - position, RECORD_SIZE)
                    )
                    if got <= 0:
                        break
                    position += got
                    self.outgoing_made = True
                    self.send_outgoing()
            finally:
                PyBuffer_Release(cython.address(view))
            if position < size and self.state == OPEN:
                self.keep_unsent(data, position)
                if not self.beneath_full:
                    self.loop.call_soon(self._send_more)
        finally:
            if stream is not None:
                stream.uncork(cython.address(cork))
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def keep_unsent(self, data: object, start: cython.Py_ssize_t) -> cython.int:
        """On MemoryError what waits is as it was."""
        queue: WriteQueue = WriteQueue() if self.unsent is None else self.unsent
        queue.add(data, start)
        if queue.size:
            self.unsent = queue
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def send_unsent(self) -> cython.int:
        """Encrypt and hand on what waits, as far as there is room."""
        chunk: bytes
        got: cython.Py_ssize_t
        total: cython.Py_ssize_t = 0
        cork: Cork
        stream: StreamTransport = None
        if self.unsent is None or self.engine.busy or not (self.state == OPEN or self.state == FLUSHING):
            return 0
        if self.stream is not None and not self.stream.corked:
            stream = self.stream
            stream.cork(cython.address(cork))
        try:
            while self.unsent is not None and not self.beneath_full:
                if total >= SEND_BUDGET:
                    self.loop.call_soon(self._send_more)
                    break
                chunk = self.unsent.chunks[self.unsent.first]
                got = self.engine.write_memory(
                    PyBytes_AS_STRING(chunk) + self.unsent.offset,
                    min(PyBytes_GET_SIZE(chunk) - self.unsent.offset, RECORD_SIZE),
                )
                if got <= 0:
                    break
                total += got
                self.outgoing_made = True
                if self.unsent is None:
                    break  # the connection was lost meanwhile
                self.unsent.sent(got)
                if self.unsent.size == 0:
                    self.unsent = None
                self.send_outgoing()
        except Exception as exc:
            self.fatal_error(exc, "Fatal error on SSL protocol")
        finally:
            if stream is not None:
                stream.uncork(cython.address(cork))
        return self.control_writing()

    def _send_more(self) -> None:
        if not self.beneath_full:
            self.send_unsent()
            self.control_writing()
            self.flush()

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def send_held(self) -> cython.int:
        """Hand on what the protocol's method wrote, and what else there is for the peer."""
        if self.held is not None and not self.engine.busy:
            data, self.held = self.held, None
            if self.state == OPEN:
                try:
                    self.encrypt(data, 0)
                except Exception as exc:
                    return self.fatal_error(exc, "Fatal error on SSL protocol")
        self.send_outgoing()
        if self.unsent is not None or self.writing_paused:
            if self.unsent is not None and not self.beneath_full:
                return self.send_unsent()  # what waited for something from the peer
            return self.control_writing()
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def send_outgoing(self) -> cython.int:
        if not self.outgoing_made and self.engine.outgoing.pending == 0:
            return 0
        self.outgoing_made = False
        data: bytes = self.engine.take_outgoing()
        if self.beneath is None or PyBytes_GET_SIZE(data) == 0:
            return 0
        if self.stream is not None:
            return self.stream.write_chunk(data)
        self.beneath.write(data)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def pending(self) -> cython.Py_ssize_t:
        return 0 if self.unsent is None else self.unsent.size

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def control_writing(self) -> cython.int:
        """Tell the protocol to pause writing, or to resume it."""
        size: cython.Py_ssize_t = self.pending()
        if self.protocol is None:
            return 0
        if size > 0 and size >= self.write_high and not self.writing_paused:
            self.writing_paused = True
            return self.notify("pause_writing")
        if size <= self.write_low and self.writing_paused:
            self.writing_paused = False
            return self.notify("resume_writing")
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def notify(self, method: str) -> cython.int:
        result: cython.pointer(PyObject) = cython.NULL
        error: cython.pointer(PyObject) = cython.NULL
        if self.call_protocol(method, None, cython.address(result), cython.address(error)) < 0:
            exc = cython.cast(object, error)
            Py_DECREF(exc)
            self.loop.call_exception_handler(
                {
                    "message": f"protocol.{method}() failed",
                    "exception": exc,
                    "transport": self,
                    "protocol": self.protocol,
                }
            )
            return 0
        Py_DECREF(cython.cast(object, result))
        return 0

    # -- the end ----------------------------------------------------------------------------------

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def end(self) -> cython.int:
        """By close(), or by the peer's close_notify."""
        self.closed = True
        if self.state == HANDSHAKE:
            return self.cut_off(None)
        if self.state == OPEN:
            self.send_held()
            if self.state == OPEN:
                return self.begin_flushing()
        return self.flush()

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def forget(self) -> cython.int:
        """Let go of the context: a protocol that keeps its transport does not keep that."""
        self.sslcontext = None
        self.agreed = False
        self.engine.ssl_object = self.engine.records = None
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def call_protocol(
        self,
        name: object,
        argument: object,
        result: cython.pointer(cython.pointer(PyObject)),
        error: cython.pointer(cython.pointer(PyObject)),
    ) -> cython.int:
        """Call a method of the application's protocol.

        0 with a new reference in ``result``, or -2 with one in ``error``. SystemExit and KeyboardInterrupt go
        to the caller.
        """
        # A reference of the call's own: the protocol may replace itself, or drop the transport.
        protocol = self.protocol
        result[0] = call_method(
            cython.cast(cython.pointer(PyObject), protocol),
            cython.cast(cython.pointer(PyObject), name),
            cython.NULL if argument is None else cython.cast(cython.pointer(PyObject), argument),
        )
        if result[0] is not cython.NULL:
            return 0
        error[0] = take_exception()
        if isinstance(cython.cast(object, error[0]), (SystemExit, KeyboardInterrupt)):
            raising = cython.cast(object, error[0])
            Py_DECREF(raising)
            raise raising
        return -2


def checked_timeout(name: str, given: object, default: object) -> object:
    if given is None:
        return default
    if given <= 0:
        raise ValueError(f"{name} should be a positive number, got {given}")
    return given


def limits(high: object, low: object, default_kib: object) -> tuple:
    """The (high, low) water marks in bytes."""
    return sslproto.add_flowcontrol_defaults(high, low, default_kib)


@cython.cfunc
@cython.exceptval(-1, check=False)
def take_from(queue: WriteQueue, memory: cython.p_char, room: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """Move the first bytes of a queue into memory."""
    chunk: bytes
    part: cython.Py_ssize_t
    count: cython.Py_ssize_t = 0
    while queue.size and count < room:
        chunk = queue.chunks[queue.first]
        part = min(PyBytes_GET_SIZE(chunk) - queue.offset, room - count)
        memcpy(memory + count, PyBytes_AS_STRING(chunk) + queue.offset, part)
        count += part
        queue.sent(part)
    return count


@cython.cfunc
@cython.exceptval(-1, check=False)
def append(queue: WriteQueue, rest: WriteQueue) -> cython.int:
    """Move all of `rest` behind the queue."""
    chunk: bytes
    while rest.size:
        chunk = rest.chunks[rest.first]
        queue.add(chunk if rest.offset == 0 else chunk[rest.offset :], 0)
        rest.sent(PyBytes_GET_SIZE(chunk) - rest.offset)
    return 0
