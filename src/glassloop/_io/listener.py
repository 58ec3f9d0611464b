"""Listener: a listening stream socket that accepts in a batch and makes transports directly.

asyncio runs a task for each connection; here accepting one costs a system call, a transport and the
protocol's own calls, unless something became ready while the protocol factory ran (decision 0012). A storm
of clients is drained in one readiness, up to the backlog.
"""

import asyncio
import os
from asyncio import constants, futures, trsock
from asyncio.log import logger

import cython
from cython.cimports.glassloop._core.source import READABLE
from cython.cimports.glassloop._io.address import address_pack, address_unpack
from cython.cimports.glassloop._io.established import accepted_transport, begin_accepted
from cython.cimports.glassloop._io.loop_source import present_context
from cython.cimports.glassloop._io.stream_transport import StreamTransport
from cython.cimports.glassloop._io.tls_transport import accepted_tls
from cython.cimports.glassloop._sys.socket import (
    AF_INET,
    AF_INET6,
    Address,
    socket_accept,
    socket_close,
    socket_set_nodelay,
    socklen_t,
)
from cython.cimports.libc.errno import EAGAIN, ECONNABORTED, EINTR, EMFILE, ENFILE, ENOBUFS, ENOMEM, errno

from glassloop._core.scheduler import Scheduler
from glassloop._core.source import IOSource
from glassloop._io.stream_transport import StreamTransport


@cython.final
@cython.cclass
class Listener(IOSource):
    def __init__(
        self,
        loop: Scheduler,
        protocol_factory: object,
        sock: object,
        server: object,
        backlog: cython.int,
        context: object,
        tls: object = None,
    ) -> None:
        self.loop = loop
        self.protocol_factory = protocol_factory
        self.socket = sock
        self.fd = sock.fileno()
        self.server = server
        self.backlog = backlog
        self.is_inet = sock.family == AF_INET or sock.family == AF_INET6
        self.tls = tls
        self.given_context = context
        self.context = present_context()

    def __repr__(self) -> str:
        return f"<Listener fd={self.fd} of {self.server!r}>"

    def is_closing(self) -> bool:
        """Whether the listener has stopped listening."""
        return self.watched == 0

    def _start(self) -> None:
        if self.loop is not None and not self.loop._closed and self.socket.fileno() == self.fd:
            self.loop.poller.watch(self, READABLE)

    def _stop(self) -> None:
        if self.watched and self.loop.poller is not None:
            self.loop.poller.watch(self, 0)
        self.loop = None

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def on_readable(self) -> cython.int:
        peer: Address
        size: socklen_t = 0
        fd: cython.int
        # The protocol's methods may do anything, also close the server: it is looked at anew each time.
        for _ in range(self.backlog + 1):
            if self.loop is None or not self.watched:
                break
            fd = socket_accept(self.fd, cython.address(peer), cython.address(size))
            if fd < 0:
                if errno == ECONNABORTED:
                    continue  # gone before we came
                if errno == EAGAIN or errno == EINTR:
                    break
                return accept_failed(self)
            try:
                packed = address_pack(cython.address(peer), size)
            except MemoryError:
                socket_close(fd)
                raise
            self.accept_one(fd, packed)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def accept_one(self, fd: cython.int, peer: bytes) -> cython.int:
        transport: StreamTransport = None
        protocol = heard = None  # the application's, and what hears of the connection: TLS, or the same
        if self.is_inet:
            socket_set_nodelay(fd)
        try:
            if self.loop._debug:
                logger.debug("%r got a new connection from %r: fd %r", self.server, address_unpack(peer), fd)
            # Its own copy, as with asyncio: what one connection sets, no other sees.
            context = (self.context if self.given_context is None else self.given_context).copy()
            ready_until: cython.size_t = self.loop.ready.ring.tail
            protocol = context.run(self.protocol_factory)
            heard = protocol if self.tls is None else accepted_tls(self.loop, protocol, self.tls)
            transport = accepted_transport(self.loop, fd, peer, self.server, context)
            transport.context_given = self.given_context is not None
            if self.loop.ready.ring.tail == ready_until:
                begin_accepted(transport, heard)
            else:
                _begin_after_what_is_ready(self.loop, transport, heard, context)
        except (SystemExit, KeyboardInterrupt):
            if transport is None:
                socket_close(fd)
            raise
        except BaseException as exc:
            if transport is None:
                socket_close(fd)
                if self.tls is not None and heard is not None:
                    heard.abort()  # it was never connected: nobody is to be warned that it was not closed
            else:
                transport.abort()
            if self.loop is not None and self.loop._debug:
                report = {"message": "Error on transport creation for incoming connection", "exception": exc}
                if protocol is not None:
                    report["protocol"] = protocol
                if transport is not None:
                    report["transport"] = transport
                self.loop.call_exception_handler(report)
        return 0


def _begin_after_what_is_ready(
    loop: Scheduler, transport: StreamTransport, protocol: object, context: object
) -> None:
    """connection_made() after what became ready while the factory ran; meanwhile a task can be cancelled."""
    waiter = loop.create_future()
    task = loop.create_task(_accept(waiter), context=context)
    # Not in the task: one that is cancelled before its first step never begins.
    task.add_done_callback(lambda task: transport.close() if task.cancelled() else None, context=context)
    loop.call_soon(_begin, transport, protocol)
    loop.call_soon(futures._set_result_unless_cancelled, waiter, None)


async def _accept(waiter: asyncio.Future) -> None:
    await waiter


def _begin(transport: StreamTransport, protocol: object) -> None:
    begin_accepted(transport, protocol)


@cython.cfunc
@cython.exceptval(-1, check=False)
def accept_failed(listener: Listener) -> cython.int:
    """No descriptors, or no memory: accept again in a second. The kernel would report it in every turn."""
    number: cython.int = errno
    error = OSError(number, os.strerror(number))
    if number == EMFILE or number == ENFILE or number == ENOBUFS or number == ENOMEM:
        listener.loop.call_exception_handler(
            {
                "message": "socket.accept() out of system resource",
                "exception": error,
                "socket": trsock.TransportSocket(listener.socket),
            }
        )
        # The handler may have closed the server.
        if listener.loop is None or not listener.watched:
            return 0
        listener.loop.poller.watch(listener, 0)
        listener.loop.call_later(constants.ACCEPT_RETRY_DELAY, listener._start)
        return 0
    listener.loop.call_exception_handler(
        {
            "message": "socket.accept() failed",
            "exception": error,
            "socket": trsock.TransportSocket(listener.socket),
        }
    )
    return 0
