"""EventLoop: asyncio's own loop with its engine replaced. The table of contents of what is replaced by what.

    what runs per event                              is replaced by
    ready queue, timers, turn, tasks, futures        glassloop._core (the Engine below)
    selectors.EpollSelector                          glassloop._io.poller
    _SelectorSocketTransport                         glassloop._io.stream_transport
    SSLProtocol, _SSLProtocolTransport               glassloop._io.tls_transport
    _SelectorDatagramTransport                       glassloop._io.datagram_transport
    _UnixReadPipeTransport, _UnixWritePipeTransport  glassloop._io.pipe_transport
    a task for each accepted connection              glassloop._io.listener
    create_connection, where it is given an address  glassloop._io.connector
    sock_recv, sock_sendall, and the rest of them    glassloop._sock_methods
    the executor, for look-ups of names              glassloop._names
    the watcher of child processes                   glassloop._children

Everything else, which runs once per connection or per program, is inherited from asyncio. The methods below
are asyncio's own private hooks; a contract test pins their signatures on every CPython that we support.
"""

import asyncio
import selectors
import socket
from asyncio import base_events, constants, sslproto
from collections.abc import Callable, Coroutine, MutableMapping
from typing import TYPE_CHECKING, Any, TypeVar

from glassloop._children import ChildMethods
from glassloop._core import Engine
from glassloop._io import sockets
from glassloop._io.connector import connect, remember
from glassloop._io.datagram_transport import DatagramTransport
from glassloop._io.listener import Listener
from glassloop._io.pipe_transport import ReadPipeTransport, WritePipeTransport
from glassloop._io.poller import EpollPoller
from glassloop._io.stream_transport import StreamTransport
from glassloop._io.tls_transport import SSLTransport
from glassloop._names import NameMethods
from glassloop._sock_methods import SockMethods

if TYPE_CHECKING:
    import ssl

    from glassloop._io.file_engine import FileEngine
    from glassloop._offload.pools import Pools
    from glassloop.metrics import LoopMetrics

_T = TypeVar("_T")
_ProtocolT = TypeVar("_ProtocolT", bound=asyncio.BaseProtocol)

_DEFAULT_BACKLOG = 100  # asyncio's
_LARGE_BACKLOG = 4096  # the kernel takes no more than net.core.somaxconn


class _SelfPipeEnd:
    """An end of asyncio's self-pipe, opened when it is first asked for: see EventLoop._make_self_pipe."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, loop: "EventLoop | None", owner: type) -> Any:
        if loop is None:
            return self
        loop._open_self_pipe()
        return loop.__dict__[self._name]


class EventLoop(Engine, SockMethods, NameMethods, ChildMethods, asyncio.SelectorEventLoop):
    """An asyncio event loop on glassloop's engine.

    ``selector`` is any ``selectors.BaseSelector``; by default an ``EpollPoller``.
    """

    # asyncio's own. Its stubs leave private names out: hence these types, and the `type: ignore`s at super().
    _selector: selectors.BaseSelector
    _transports: MutableMapping[int, Any]

    _file_engine: "FileEngine | None" = None  # made by the first file operation: see _io/file_engine.py
    _offload_pools: "Pools | None" = None  # made by the first offload()

    def __init__(self, selector: selectors.BaseSelector | None = None) -> None:
        if selector is None:
            selector = EpollPoller()
        super().__init__(selector)
        self._use_poller(selector)

    def close(self) -> None:
        """Close the loop, which must not be running, and forget all that was scheduled."""
        if self._file_engine is not None and not self.is_running():
            self._file_engine.shut_down()  # what was written gets to its file
            self._file_engine = None
        super().close()
        self._forget_timers()
        self._close_page()
        if self._resolver is not None:
            self._resolver.close()
        if self._children is not None:
            self._children.close()
        if self._offload_pools is not None:
            self._offload_pools.close()

    async def shutdown_default_executor(self, *args: Any, **kwargs: Any) -> None:
        """Wait for what runs in the executor and in offload()'s pools; from 3.12 on with a ``timeout``."""
        if self._offload_pools is not None:
            await self._offload_pools.shutdown(args[0] if args else kwargs.get("timeout"))
        await super().shutdown_default_executor(*args, **kwargs)

    # -- what it tells of itself ----------------------------------------------------------------

    def metrics(self, *, timing_s: float = 1.0) -> "LoopMetrics":
        """Return the loop's numbers as they are now; any thread may ask, also while the loop is stuck.

        States, counts, busy and idle time are always known. The lengths of steps and the scheduling delay are
        measured only while somebody asks: each call asks for the next ``timing_s`` seconds, as the page's
        readers outside do, so that the first call finds none. It costs 10 to 20 ns a step meanwhile; 0 asks
        for nothing, ``math.inf`` for the rest of the loop's life, as ``GLASSLOOP_PAGE=full`` does.

        Raises ``glassloop.NoMetricsError`` if the loop has no page: with ``GLASSLOOP_PAGE=0``, before it has
        run, and once it is closed.
        """
        from glassloop.metrics import read_metrics

        return read_metrics(self, timing_s)

    def add_instrument(self, instrument: object) -> None:
        """Tell an object of what happens in the loop: it has some of ``glassloop.Instrument``'s methods.

        To add it twice does nothing. It hears of steps from the next turn on.
        TypeError if it has none of them.
        """
        from glassloop.instrument import install

        install(self, instrument)

    # -- the self-pipe --------------------------------------------------------------------------

    # asyncio sets them on the loop, which then hides these.
    _ssock = _SelfPipeEnd()
    _csock = _SelfPipeEnd()

    def _make_self_pipe(self) -> None:
        # A poller is woken without it, so that signal handlers alone need it: half of what a new loop costs.
        if not isinstance(self._selector, EpollPoller):
            self._open_self_pipe()

    def _open_self_pipe(self) -> None:
        super()._make_self_pipe()  # type: ignore[misc]

    def _close_self_pipe(self) -> None:
        if "_csock" in self.__dict__:
            super()._close_self_pipe()  # type: ignore[misc]
        else:
            self.__dict__.update(_ssock=None, _csock=None)

    def _write_to_self(self) -> None:
        if isinstance(self._selector, EpollPoller) and "_csock" not in self.__dict__:
            self._selector.wake_up()
        else:
            super()._write_to_self()  # type: ignore[misc]

    # -- transports -----------------------------------------------------------------------------

    def _make_socket_transport(
        self,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
        *,
        extra: dict[str, Any] | None = None,
        server: base_events.Server | None = None,
        context: Any = None,
    ) -> StreamTransport:
        self._ensure_fd_no_transport(sock)
        return StreamTransport(self, sock, protocol, waiter, extra, server, context)

    def _make_ssl_transport(
        self,
        rawsock: socket.socket,
        protocol: asyncio.BaseProtocol,
        sslcontext: Any,
        waiter: asyncio.Future[None] | None = None,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        extra: dict[str, Any] | None = None,
        server: base_events.Server | None = None,
        ssl_handshake_timeout: float | None = constants.SSL_HANDSHAKE_TIMEOUT,
        ssl_shutdown_timeout: float | None = constants.SSL_SHUTDOWN_TIMEOUT,
        context: Any = None,
    ) -> SSLTransport:
        self._ensure_fd_no_transport(rawsock)
        transport = SSLTransport(
            self,
            protocol,
            sslcontext,
            waiter,
            server_side,
            server_hostname,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        try:
            StreamTransport(self, rawsock, transport, None, extra, server, context)
        except BaseException:
            transport.abort()  # it was never connected: nobody is to be warned that it was not closed
            raise
        return transport

    async def start_tls(
        self,
        transport: Any,
        protocol: asyncio.BaseProtocol,
        sslcontext: "ssl.SSLContext",
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        ssl_handshake_timeout: float | None = None,
        ssl_shutdown_timeout: float | None = None,
    ) -> SSLTransport | None:
        """Upgrade a transport to TLS; the protocol goes on with the one that is returned."""
        # As asyncio does it, with another transport.
        ssl_module = getattr(sslproto, "ssl", None)  # None in a Python that was built without it
        if ssl_module is None:
            raise RuntimeError("Python ssl module is not available")
        if not isinstance(sslcontext, ssl_module.SSLContext):
            raise TypeError(f"sslcontext is expected to be an instance of ssl.SSLContext, got {sslcontext!r}")
        if not getattr(transport, "_start_tls_compatible", False):
            raise TypeError(f"transport {transport!r} is not supported by start_tls()")
        waiter = self.create_future()
        secure = SSLTransport(
            self,
            protocol,
            sslcontext,
            waiter,
            server_side,
            server_hostname,
            call_connection_made=False,
            ssl_handshake_timeout=ssl_handshake_timeout,
            ssl_shutdown_timeout=ssl_shutdown_timeout,
        )
        # Nothing is to be received before connection_made() was called.
        transport.pause_reading()
        transport.set_protocol(secure)
        connection_made = self.call_soon(secure.connection_made, transport)
        resume_reading = self.call_soon(transport.resume_reading)
        try:
            await waiter
        except BaseException:
            transport.close()
            connection_made.cancel()
            resume_reading.cancel()
            secure.abort()
            raise
        return secure._app_transport  # None where the connection has ended meanwhile, without an error

    def _make_datagram_transport(
        self,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        address: Any = None,
        waiter: asyncio.Future[None] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> DatagramTransport:
        self._ensure_fd_no_transport(sock)
        return DatagramTransport(self, sock, protocol, address, waiter, extra)

    def _make_read_pipe_transport(
        self,
        pipe: Any,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> ReadPipeTransport:
        return ReadPipeTransport(self, pipe, protocol, waiter, extra)

    def _make_write_pipe_transport(
        self,
        pipe: Any,
        protocol: asyncio.BaseProtocol,
        waiter: asyncio.Future[None] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> WritePipeTransport:
        return WritePipeTransport(self, pipe, protocol, waiter, extra)

    def _ensure_fd_no_transport(self, fd: Any) -> None:
        if self._transports or not isinstance(fd, (int, socket.socket)):
            super()._ensure_fd_no_transport(fd)  # type: ignore[misc]
        source_of = getattr(self._selector, "source_of", None)
        if source_of is not None:
            source = source_of(fd if isinstance(fd, int) else fd.fileno())
            if source is not None and not source.is_closing():
                raise RuntimeError(f"File descriptor {fd!r} is used by transport {source!r}")

    async def _sendfile_native(self, transp: Any, file: Any, offset: int, count: int | None) -> int:
        # As asyncio does it; on an EpollPoller there is no table of transports by descriptor.
        lent = self._transports.pop(transp._sock_fd, None)
        reading = transp.is_reading()
        transp.pause_reading()
        await transp._make_empty_waiter()
        try:
            return await self.sock_sendfile(transp._sock, file, offset, count, fallback=False)
        finally:
            transp._reset_empty_waiter()
            if reading:
                transp.resume_reading()
            if lent is not None:
                self._transports[transp._sock_fd] = transp

    # -- connections ------------------------------------------------------------------------------

    async def create_connection(
        self,
        protocol_factory: Callable[[], _ProtocolT],
        host: Any = None,
        port: Any = None,
        **options: Any,
    ) -> tuple[asyncio.Transport, _ProtocolT]:
        """Connect to a TCP server; return the transport and the protocol. The options are asyncio's."""
        made = None if options else connect(self, protocol_factory, host, port)
        if made is None:
            return await super().create_connection(protocol_factory, host, port, **options)
        if made[0] is None:
            _, sock, address = made
            await self._connected(sock, address)
            protocol = protocol_factory()
            waiter = self.create_future()
            transport: asyncio.Transport = self._make_socket_transport(sock, protocol, waiter)
        else:
            transport, protocol, waiter = made
        try:
            await waiter
        except BaseException:
            transport.close()
            raise
        return transport, protocol

    async def _connected(self, sock: socket.socket, address: Any) -> None:
        """Wait for a connection that is being made, or tell why there is none."""
        try:
            number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if number:
                await asyncio.sleep(0)  # for a program that tries again and again
            else:
                await self.sock_connect(sock, address)
        except BaseException:
            sock.close()
            raise
        if number:
            sock.close()
            raise OSError(number, f"Connect call failed {address}")

    # -- readers and writers, beside what waits in a sock_* call -----------------------------------

    def _add_reader(self, fd: Any, callback: Callable[..., object], *args: Any, **options: Any) -> Any:
        sockets.give_way(self, fd)
        return super()._add_reader(fd, callback, *args, **options)  # type: ignore[misc]

    def _add_writer(self, fd: Any, callback: Callable[..., object], *args: Any, **options: Any) -> Any:
        sockets.give_way(self, fd)
        return super()._add_writer(fd, callback, *args, **options)  # type: ignore[misc]

    def _remove_reader(self, fd: Any) -> bool:
        removed = sockets.withdraw(self, fd, selectors.EVENT_READ)
        return super()._remove_reader(fd) if removed is None else removed  # type: ignore[misc]

    def _remove_writer(self, fd: Any) -> bool:
        removed = sockets.withdraw(self, fd, selectors.EVENT_WRITE)
        return super()._remove_writer(fd) if removed is None else removed  # type: ignore[misc]

    # -- servers ----------------------------------------------------------------------------------

    def _start_serving(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        sock: socket.socket,
        sslcontext: Any = None,
        server: base_events.Server | None = None,
        backlog: int = 100,
        *args: Any,
        context: Any = None,
        **options: Any,
    ) -> None:
        if not isinstance(self._selector, EpollPoller):
            if context is not None:
                options["context"] = context
            start = super()._start_serving  # type: ignore[misc]
            start(protocol_factory, sock, sslcontext, server, backlog, *args, **options)
            return
        if len(args) > 2:  # handshake and shutdown time-outs; then 3.15's context
            context = args[2]
        if backlog == _DEFAULT_BACKLOG:
            # Nobody chose it. Of a thousand clients at once most would have to come again after a second.
            sock.listen(_LARGE_BACKLOG)
        tls = None
        if sslcontext:
            handshake_timeout, shutdown_timeout = (*args[:2], None, None)[:2]
            tls = (
                sslcontext,
                options.get("ssl_handshake_timeout", handshake_timeout),
                options.get("ssl_shutdown_timeout", shutdown_timeout),
            )
        Listener(self, protocol_factory, sock, server, backlog, context, tls)._start()

    def _stop_serving(self, sock: socket.socket) -> None:
        source_of = getattr(self._selector, "source_of", None)
        source = None if source_of is None else source_of(sock.fileno())
        if isinstance(source, Listener):
            source._stop()
        super()._stop_serving(sock)  # type: ignore[misc]


remember(EventLoop)


def new_event_loop() -> EventLoop:
    """Return a new glassloop event loop: the zero-argument factory that servers and test tools ask for."""
    return EventLoop()


def run(main: Coroutine[Any, Any, _T], *, debug: bool | None = None) -> _T:
    """Run a coroutine on a new glassloop event loop, as ``asyncio.run()`` does on asyncio's."""
    # asyncio.Runner takes a loop_factory since 3.11, asyncio.run() only since 3.12.
    with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        return runner.run(main)
