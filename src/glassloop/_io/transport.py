"""SocketTransport: what stream and datagram transports share: a socket, flow control, and the way to its end.

The way to the end, as in asyncio: open → closing (reads no more, sends what is queued) → lost
(``connection_lost`` was called or is scheduled; ``lost_writes`` > 0) → closed (the socket is).
"""

import inspect
import socket as socket_module
import warnings
from asyncio import base_events, trsock
from asyncio.log import logger

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cython.cimports.cpython.ref import Py_DECREF, PyObject
from cython.cimports.glassloop._core.source import READABLE, WRITABLE
from cython.cimports.glassloop._io.address import address_unpack, local_address, peer_address
from cython.cimports.glassloop._sys.calls import call_method, take_exception
from cython.cimports.glassloop._sys.socket import socket_close
from cython.cimports.libc.stdint import uint64_t
from cython.cimports.libc.string import memcpy

from glassloop._core.scheduler import Scheduler
from glassloop._io.loop_source import LoopSource

# In C: when Python ends, the names of a module may be gone before the last transport is.
_warn = cython.declare(object, warnings.warn)

# Up to 3.12 a Server counts its connections, from then on it keeps them.
_SERVER_TAKES_TRANSPORT = cython.declare(
    cython.bint, len(inspect.signature(base_events.Server._attach).parameters) > 1
)


@cython.cclass
class SocketTransport(LoopSource):
    def __init__(
        self, loop: Scheduler, sock: object, protocol: object, extra: object, server: object, context: object
    ) -> None:
        self.socket = sock
        self.fd = sock.fileno()
        self._begin(loop, protocol, extra, server, context)

    def _begin(
        self, loop: Scheduler, protocol: object, extra: object, server: object, context: object
    ) -> None:
        self.loop = loop
        self.extra = extra
        self.set_context(context)
        self.high, self.low = 64 * 1024, 16 * 1024
        self.set_protocol(protocol)
        if loop.poller is None:
            loop._transports[self.fd] = self  # as asyncio's are: for its check that nobody else reads fd
        if server is not None:
            if _SERVER_TAKES_TRANSPORT:
                server._attach(self)
            else:
                server._attach()
            self.server = server  # only now: from a closed server, which refuses, nothing may be detached

    # -- what asyncio's transports show ----------------------------------------------------------

    def __repr__(self) -> str:
        info: list = [type(self).__name__]
        if self.fd < 0:
            info.append("closed")
        elif self._closing:
            info.append("closing")
        info.append(f"fd={self._sock_fd}")
        if self.loop is not None and not self.loop._closed:
            info.append("read=polling" if self.watched & READABLE else "read=idle")
            state = "polling" if self.watched & WRITABLE else "idle"
            info.append(f"write=<{state}, bufsize={self.get_write_buffer_size()}>")
        return f"<{' '.join(info)}>"

    @property
    def _loop(self) -> object:
        return self.loop

    @property
    def _sock_fd(self) -> int:
        return self.fd if self.fd >= 0 else self.fd_was

    @property
    def _sock(self) -> object:
        return open_socket(self)

    @_sock.setter
    def _sock(self, sock: object) -> None:
        # asyncio's way to give a transport up whose loop is closed: whoever took the socket closes it.
        if sock is not None:
            raise AttributeError("a transport's socket cannot be replaced; None gives it up")
        self.set_watched(0)
        self.socket = None
        self.fd_was = self.fd
        self.fd = -1

    @property
    def _protocol(self) -> object:
        return self.protocol

    @property
    def _context(self) -> object:
        return self.context

    @property
    def _paused(self) -> bool:
        return self.reading_paused

    @property
    def _conn_lost(self) -> int:
        return self.lost_writes

    def get_extra_info(self, name: str, default: object = None) -> object:
        """What is known of the connection: ``socket``, ``sockname``, ``peername``, what its maker added."""
        if name == "socket":
            if self.socket_info is None and self.fd >= 0:
                self.socket_info = trsock.TransportSocket(open_socket(self))
            return self.socket_info
        if self.extra is not None and name in self.extra:
            return self.extra[name]
        if name == "sockname":
            if self.local is None and self.fd >= 0:
                self.local = local_address(self.fd)
            return show_address(self, self.local, "getsockname")
        if name == "peername":
            if not self.short_peer and self.peer is None and self.fd >= 0:
                self.keep_peer(peer_address(self.fd))
            return show_address(self, self.packed_peer(), "getpeername")
        return default

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def keep_peer(self, packed: bytes) -> cython.int:
        """Keep the other end's address; a short one, such as IPv4's, without an object of its own."""
        if packed is not None and PyBytes_GET_SIZE(packed) == cython.sizeof(uint64_t):
            memcpy(cython.address(self.short_peer), PyBytes_AS_STRING(packed), cython.sizeof(uint64_t))
        else:
            self.peer = packed
        return 0

    @cython.cfunc
    def packed_peer(self) -> bytes:
        """The other end's address as keep_peer() was given it."""
        if self.short_peer:
            return PyBytes_FromStringAndSize(
                cython.cast(cython.p_char, cython.address(self.short_peer)), cython.sizeof(uint64_t)
            )
        return self.peer

    def set_protocol(self, protocol: object) -> None:
        """Make this the protocol that hears of the connection from now on."""
        self.protocol = protocol

    def get_protocol(self) -> object:
        """The protocol that hears of the connection."""
        return self.protocol

    def is_closing(self) -> bool:
        """Whether the transport is closing or closed."""
        return self._closing

    def is_reading(self) -> bool:
        """Whether the transport receives."""
        return not self._closing and not self.reading_paused

    def pause_reading(self) -> None:
        """Receive nothing until ``resume_reading()``."""
        if not self.is_reading():
            return
        self.reading_paused = True
        self.set_watched(self.watched & ~READABLE)
        if self.loop.get_debug():
            logger.debug("%r pauses reading", self)

    def resume_reading(self) -> None:
        """Receive again."""
        if self._closing or not self.reading_paused:
            return
        self.reading_paused = False
        if not self.context_given:
            self.set_context(None)  # as asyncio's: who resumes reading, as start_tls() does, sets the context
        self.set_watched(self.watched | READABLE)
        if self.loop.get_debug():
            logger.debug("%r resumes reading", self)

    def _start_reading(self) -> None:
        if self.is_reading() and self.loop is not None and not self.lost_writes:
            try:
                self.set_watched(self.watched | READABLE)
            except Exception as exc:
                # No memory, or no room in the kernel's set: the connection would hang for ever.
                self.force_close(exc)
                raise

    # -- flow control -----------------------------------------------------------------------------

    def get_write_buffer_size(self) -> int:
        """Bytes that were written and not handed to the kernel yet."""
        return self.pending()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The (low, high) water marks in bytes."""
        return self.low, self.high

    def set_write_buffer_limits(self, high: object = None, low: object = None) -> None:
        """Pause the protocol's writing above ``high`` bytes, resume it below ``low``."""
        if high is None:
            high = 64 * 1024 if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self.high, self.low = high, low
        self.pause_protocol_if_full()

    @property
    def _high_water(self) -> int:
        return self.high

    @property
    def _low_water(self) -> int:
        return self.low

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def pending(self) -> cython.Py_ssize_t:
        return 0 if self.queue is None else self.queue.size

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def pause_protocol_if_full(self) -> cython.int:
        if not self._protocol_paused and self.pending() > self.high:
            self._protocol_paused = True
            self.notify("pause_writing", None)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def resume_protocol_if_drained(self) -> cython.int:
        if self._protocol_paused and self.pending() <= self.low:
            self._protocol_paused = False
            self.notify("resume_writing", None)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def notify(self, method: str, argument: object) -> cython.int:
        """Call a method of the protocol's about flow control; an error is the exception handler's."""
        try:
            getattr(self.protocol, method)()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self.loop.call_exception_handler(
                {
                    "message": f"protocol.{method}() failed",
                    "exception": exc,
                    "transport": self,
                    "protocol": self.protocol,
                }
            )
        return 0

    # -- the way to the end -----------------------------------------------------------------------

    def close(self) -> None:
        """Send what is queued, then close the connection. ``connection_lost(None)`` follows."""
        if self._closing:
            return
        self._closing = True
        self.set_watched(self.watched & ~READABLE)
        if not self.pending():
            self.lose_connection_soon(None)

    def abort(self) -> None:
        """Close the connection at once; what is queued is lost."""
        self.force_close(None)

    def _force_close(self, exc: object) -> None:
        self.force_close(exc)

    def _fatal_error(self, exc: object, message: str = "Fatal error on transport") -> None:
        self.fail(exc, message)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def fail(self, exc: object, message: str) -> cython.int:
        """End the connection for an error, which is reported unless it is the network's."""
        try:
            if isinstance(exc, OSError):
                if self.loop is not None and self.loop._debug:
                    logger.debug("%r: %s", self, message, exc_info=exc)
            elif self.loop is not None:
                self.loop.call_exception_handler(
                    {"message": message, "exception": exc, "transport": self, "protocol": self.protocol}
                )
        finally:
            self.force_close(exc)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def force_close(self, exc: object) -> cython.int:
        if self.lost_writes:
            return 0
        self.drop_pending()
        self._closing = True
        self.set_watched(0)
        return self.lose_connection_soon(exc)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def drop_pending(self) -> cython.int:
        self.queue = None
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def lose_connection_soon(self, exc: object) -> cython.int:
        self.lost_writes += 1
        try:
            self.loop.call_soon(
                self._call_connection_lost, exc, context=self.context if self.context_given else None
            )
        except MemoryError:
            # Sooner than the protocol expects; but a connection that never ends would be worse.
            return self.lose_connection(exc)
        return 0

    def _call_connection_lost(self, exc: object) -> None:
        self.lose_connection(exc)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def lose_connection(self, exc: object) -> cython.int:
        """Tell the protocol, and let go of everything."""
        protocol, server = self.protocol, self.server
        if self.lost_writes == 0:
            self.lost_writes = 1
        try:
            if protocol is not None:
                protocol.connection_lost(exc)
        finally:
            self.close_fd()
            self.protocol = None
            self.loop = None
            self.server = None
            if server is not None:
                if _SERVER_TAKES_TRANSPORT:
                    server._detach(self)
                else:
                    server._detach()
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def close_fd(self) -> cython.int:
        """Close the socket; its addresses stay known."""
        fd: cython.int = self.fd
        if fd < 0:
            return 0
        if self.watched:
            self.set_watched(0)
        try:
            if self.local is None:
                self.local = local_address(fd)
            if not self.short_peer and self.peer is None:
                self.keep_peer(peer_address(fd))
        except MemoryError:
            pass  # closing matters more
        self.fd_was = fd
        self.fd = -1
        if self.socket is not None:
            self.socket.close()
            self.socket = None
        else:
            socket_close(fd)
        return 0

    def __del__(self) -> None:
        if self.fd >= 0:
            try:
                _warn(f"unclosed transport {self!r}", ResourceWarning, source=self)
            finally:  # the warning may be an error
                self.watched = 0  # whoever watched it held a reference: nobody does
                if self.server is not None and not _SERVER_TAKES_TRANSPORT:
                    self.server._detach()
                self.close_fd()


@cython.cfunc
def open_socket(transport: SocketTransport) -> object:
    """The transport's Python socket: made now where the connection was accepted without one."""
    if transport.socket is None and transport.fd >= 0:
        transport.socket = socket_module.socket(fileno=transport.fd)
        transport.socket.setblocking(False)
    return transport.socket


@cython.cfunc
def show_address(transport: SocketTransport, packed: object, method: str) -> object:
    if packed is None:
        return None
    shown = address_unpack(cython.cast(bytes, packed))
    if shown is None and transport.fd >= 0:
        # A family that we do not know: Python's socket does.
        shown = getattr(open_socket(transport), method)()
    return shown


@cython.cfunc
@cython.exceptval(-1, check=False)
def call_protocol(
    transport: SocketTransport,
    name: object,
    argument: object,
    result: cython.pointer(cython.pointer(PyObject)),
    error: cython.pointer(cython.pointer(PyObject)),
) -> cython.int:
    """Call a method of the protocol's.

    CALLED with a new reference in ``result``, or RAISED with one in ``error``. SystemExit and
    KeyboardInterrupt go to the caller.
    """
    # A reference of the call's own: the protocol may replace itself, or drop the transport.
    protocol = transport.protocol
    result[0] = call_method(
        cython.cast(cython.pointer(PyObject), protocol),
        cython.cast(cython.pointer(PyObject), name),
        cython.NULL if argument is None else cython.cast(cython.pointer(PyObject), argument),
    )
    if result[0] is not cython.NULL:
        return CALLED
    error[0] = take_exception()
    if isinstance(cython.cast(object, error[0]), (SystemExit, KeyboardInterrupt)):
        raising = cython.cast(object, error[0])
        Py_DECREF(raising)
        raise raising
    return RAISED
