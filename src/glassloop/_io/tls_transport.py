"""SSLTransport: a TLS connection as an application's protocol sees it, with all that asyncio's transport has.

It is its own ``_ssl_protocol`` too, which libraries look into.
"""

import warnings
from asyncio import constants, sslproto

import cython
from cython.cimports.glassloop._io.tls_states import CLOSED

from glassloop._io.tls_connection import TLSConnection, limits
from glassloop._io.tls_states import STATES as _STATES

# In C: when Python ends, the names of a module may be gone before the last transport is.
_warn = cython.declare(object, warnings.warn)


@cython.final
@cython.cclass
class SSLTransport(TLSConnection):
    """What ``create_connection(ssl=…)``, a server's accepted TLS connections, and ``start_tls()`` give."""

    _start_tls_compatible = True
    _sendfile_compatible = constants._SendfileMode.FALLBACK

    @property
    def __class__(self) -> type:
        return sslproto._SSLProtocolTransport

    def __repr__(self) -> str:
        info: list = ["SSLTransport", _STATES[self.state].lower()]
        if self.agreed:
            info.append(str(self.engine.ssl_object.version()))
        if self.beneath is not None:
            info.append(f"over {self.beneath!r}")
        return f"<{' '.join(info)}>"

    def __del__(self) -> None:
        if not self.closed:
            self.closed = True
            _warn("unclosed transport <SSLTransport object>", ResourceWarning, source=self)

    # -- what libraries look into -------------------------------------------------------------------

    @property
    def _ssl_protocol(self) -> object:
        return self

    @property
    def _sslcontext(self) -> object:
        return self.sslcontext

    @property
    def _sslobj(self) -> object:
        return self.engine.ssl_object

    @property
    def _transport(self) -> object:
        return self.beneath

    @property
    def _app_transport(self) -> object:
        return None if self.protocol is None else self  # as asyncio's, once the connection is lost

    @property
    def _app_protocol(self) -> object:
        return self.protocol

    @property
    def _loop(self) -> object:
        return self.loop

    @property
    def _protocol_paused(self) -> bool:
        return self.writing_paused

    # -- what is known of the connection --------------------------------------------------------------

    def get_extra_info(self, name: str, default: object = None) -> object:
        """What is known of the connection.

        ``sslcontext``; once the handshake is done ``ssl_object``, ``peercert``, ``cipher``, ``compression``;
        and what the transport beneath knows.
        """
        if name == "sslcontext":
            return self.sslcontext
        if self.agreed:
            if name == "ssl_object":
                return self.engine.ssl_object
            if name == "peercert" or name == "cipher" or name == "compression":
                if self.known is None:
                    self.known = {}
                if name not in self.known:
                    ask = getattr(self.engine.ssl_object, "getpeercert" if name == "peercert" else name)
                    self.known[name] = ask()
                return self.known[name]
        if self.beneath is None:
            return default
        return self.beneath.get_extra_info(name, default)

    def get_protocol(self) -> object:
        """The protocol that hears of the connection; None once it is lost."""
        return self.protocol

    def is_closing(self) -> bool:
        """Whether the transport is closing or closed."""
        return self.closed or (self.beneath is not None and self.beneath.is_closing())

    # -- reading --------------------------------------------------------------------------------------

    def is_reading(self) -> bool:
        """Whether the protocol is given what comes."""
        return not self.reading_paused

    def pause_reading(self) -> None:
        """Give the protocol nothing until ``resume_reading()``."""
        self.reading_paused = True

    def resume_reading(self) -> None:
        """Give the protocol what comes again."""
        if self.reading_paused:
            self.reading_paused = False
            self.loop.call_soon(self._go_on)

    def set_read_buffer_limits(self, high: object = None, low: object = None) -> None:
        """Stop receiving while more than ``high`` bytes wait to be read; go on below ``low``."""
        self.read_high, self.read_low = limits(high, low, constants.FLOW_CONTROL_HIGH_WATER_SSL_READ)
        self.control_reading_beneath()

    def get_read_buffer_limits(self) -> tuple[int, int]:
        """The (low, high) water marks in bytes."""
        return self.read_low, self.read_high

    def get_read_buffer_size(self) -> int:
        """Bytes that were received and not decrypted yet."""
        return self.unread_size()

    # -- writing --------------------------------------------------------------------------------------

    def write(self, data: object) -> None:
        """Send bytes-like data, encrypted; what cannot be sent now is kept until it can."""
        if type(data) is not bytes and not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data: expecting a bytes-like instance, got {type(data).__name__}")
        if len(data) != 0:
            self.write_data(data)

    def writelines(self, list_of_data: object) -> None:
        """Send several pieces of bytes-like data: as one, which takes fewer records."""
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        """Not possible: TLS as asyncio speaks it is not half-closed."""
        raise NotImplementedError

    def can_write_eof(self) -> bool:
        """False: see ``write_eof()``."""
        return False

    def set_write_buffer_limits(self, high: object = None, low: object = None) -> None:
        """Pause the protocol's writing from ``high`` bytes on, resume it from ``low`` down."""
        self.write_high, self.write_low = limits(high, low, constants.FLOW_CONTROL_HIGH_WATER_SSL_WRITE)
        self.control_writing()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The (low, high) water marks in bytes."""
        return self.write_low, self.write_high

    def get_write_buffer_size(self) -> int:
        """Bytes that were written and are neither sent nor on their way in the transport beneath."""
        self.hand_over()
        return self.pending()

    # -- the end ----------------------------------------------------------------------------------------

    def close(self) -> None:
        """Send what was written, say goodbye, and close. ``connection_lost()`` follows."""
        again: cython.bint = self.closed
        self.discarding = True
        self.end()
        if again:
            self.forgotten = True
            if self.state == CLOSED and self.beneath is None:
                self.forget()

    def abort(self) -> None:
        """Close at once; what is not sent is lost."""
        self.cut_off(None)

    def _force_close(self, exc: object) -> None:
        self.cut_off(exc)


@cython.cfunc
def accepted_tls(loop: object, protocol: object, options: tuple) -> SSLTransport:
    """For a connection that the listener accepted: options are the context and the two time-outs."""
    sslcontext, handshake_timeout, shutdown_timeout = options
    transport: SSLTransport = SSLTransport(
        loop,
        protocol,
        sslcontext,
        None,
        server_side=True,
        ssl_handshake_timeout=handshake_timeout,
        ssl_shutdown_timeout=shutdown_timeout,
    )
    transport.accepted = True
    return transport
