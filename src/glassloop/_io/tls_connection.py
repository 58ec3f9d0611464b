"""TLSConnection: TLS between a protocol and the transport beneath it, from handshake to goodbye.

To the transport beneath it is a protocol; to the application ``SSLTransport``, its subclass, is a transport.
In place of asyncio's ``SSLProtocol``, whose order of calls, texts and time-outs it keeps. How it reads is in
``tls_input``, how it writes in ``tls_output``; here are its states.

How it ends: everything that was written goes out, then close_notify; the peer's is waited for, up to the
shutdown time-out. What the peer sends after ``close()`` is for nobody. Its end without a close_notify is an
end like any other, as asyncio has it; in debug mode the log says so.
"""

import asyncio
from asyncio import constants, exceptions, sslproto
from asyncio.log import logger

import cython
from cython.cimports.cpython.ref import Py_DECREF, PyObject
from cython.cimports.glassloop._core.scheduler import Scheduler
from cython.cimports.glassloop._io.stream_transport import StreamTransport
from cython.cimports.glassloop._io.tls_input import METHOD_FAILED
from cython.cimports.glassloop._io.tls_states import (
    AGREED,
    CLOSED,
    CONNECTED,
    CUT_OFF,
    ENDING,
    FLUSHED,
    FLUSHING,
    HANDSHAKE,
    LOST,
    MADE,
    NEW,
    OPEN,
    SHUTDOWN,
    state_after,
)

from glassloop._core.scheduler import Scheduler
from glassloop._io.stream_transport import StreamTransport
from glassloop._io.tls_engine import TLSEngine
from glassloop._io.tls_input import TLSInput


@cython.cclass
class TLSConnection(TLSInput):
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
                return self.fatal_error(exc, METHOD_FAILED)
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


def checked_timeout(name: str, given: object, default: object) -> object:
    if given is None:
        return default
    if given <= 0:
        raise ValueError(f"{name} should be a positive number, got {given}")
    return given


def limits(high: object, low: object, default_kib: object) -> tuple:
    """The (high, low) water marks in bytes."""
    return sslproto.add_flowcontrol_defaults(high, low, default_kib)
