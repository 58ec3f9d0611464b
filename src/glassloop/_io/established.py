"""Transports of connections that the kernel has already made, and that have no Python socket yet.

A listener accepts them, and the connector makes them; a socket is made for whoever asks the transport.
"""

import cython
from cython.cimports.cpython.ref import Py_DECREF, PyObject
from cython.cimports.glassloop._io.corks import Cork
from cython.cimports.glassloop._io.stream_transport import StreamTransport
from cython.cimports.glassloop._io.transport import CALLED, call_protocol
from cython.cimports.glassloop._sys.calls import PyContext_Enter, PyContext_Exit
from cython.cimports.glassloop._sys.socket import socket_set_nodelay

from glassloop._io.stream_transport import StreamTransport


@cython.cfunc
def accepted_transport(
    loop: object, fd: cython.int, peer: bytes, server: object, context: object
) -> StreamTransport:
    """A transport for a connection that the listener accepted; it owns fd. It has no protocol yet."""
    transport: StreamTransport = StreamTransport.__new__(StreamTransport)
    transport.fd = fd
    transport.keep_peer(peer)
    transport.loop = loop
    try:
        transport._begin(loop, None, None, server, context)
    except BaseException:
        transport.fd = -1  # the caller closes it
        raise
    return transport


@cython.cfunc
def connected_transport(
    loop: object, fd: cython.int, sock: object, peer: bytes, protocol: object
) -> StreamTransport:
    """A transport for a connection that was made to an address; it owns fd, as the socket that has it."""
    transport: StreamTransport = StreamTransport.__new__(StreamTransport)
    transport.fd = fd
    transport.keep_peer(peer)
    transport.loop = loop
    try:
        transport._begin(loop, protocol, None, None, None)
    except BaseException:
        transport.fd = -1  # the caller closes it
        raise
    transport.socket = sock
    socket_set_nodelay(fd)
    return transport


@cython.cfunc
@cython.exceptval(-1, check=False)
def begin_accepted(transport: StreamTransport, protocol: object) -> cython.int:
    """connection_made(), then read."""
    transport.set_protocol(protocol)
    # As asyncio, which schedules it: what it sets is not seen later, unless a context was given.
    held = transport.context if transport.context_given else transport.context.copy()
    context: cython.pointer(PyObject) = cython.cast(cython.pointer(PyObject), held)
    PyContext_Enter(context)
    try:
        make_connection(transport, protocol)
    finally:
        PyContext_Exit(context)
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def make_connection(transport: StreamTransport, protocol: object) -> cython.int:
    result: cython.pointer(PyObject) = cython.NULL
    error: cython.pointer(PyObject) = cython.NULL
    cork: Cork
    transport.cork(cython.address(cork))
    try:
        outcome: cython.int = call_protocol(
            transport, "connection_made", transport, cython.address(result), cython.address(error)
        )
    except BaseException:
        # KeyboardInterrupt, say, that a signal handler raised: if the loop goes on, so does the connection.
        transport._start_reading()
        transport.uncork(cython.address(cork))
        raise
    transport.uncork(cython.address(cork))
    if outcome == CALLED:
        Py_DECREF(cython.cast(object, result))
    else:
        exc = cython.cast(object, error)
        Py_DECREF(exc)
        transport.loop.call_exception_handler(
            {
                "message": f"Exception in callback {type(protocol).__name__}.connection_made()",
                "exception": exc,
                "transport": transport,
                "protocol": protocol,
            }
        )
    transport._start_reading()
    return 0
