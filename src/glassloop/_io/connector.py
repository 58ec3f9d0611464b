"""Connects to an address and makes the transport at once: what asyncio does in ten calls, in one.

Between ``create_connection()`` and the transport asyncio looks twice at the address, makes a Python socket, a
future, a writer and a handle, and waits for a turn, though a connection to the same host is there already
when ``connect(2)`` has returned. Here it is a socket of the kernel's only, wherever nobody can tell:

- host and port are an address, and no options were given; the loop is not in debug mode;
- neither the loop, nor its class, nor asyncio's has another method in the place of one that is left out;
- Python's sockets are the stock ones, which nobody has replaced, patched, or guards.

An audit hook is asked as by ``socket.connect``: for it, the Python socket is made before the connection.
"""

import os
import socket as socket_module
from asyncio import base_events, futures

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cython.cimports.cpython.ref import PyObject
from cython.cimports.glassloop._core.scheduler import Scheduler
from cython.cimports.glassloop._io.address import address_pack
from cython.cimports.glassloop._io.established import connected_transport
from cython.cimports.glassloop._io.poller import EpollCore
from cython.cimports.glassloop._io.stream_transport import StreamTransport
from cython.cimports.glassloop._sys.attributes import class_version
from cython.cimports.glassloop._sys.socket import (
    Address,
    audit_connect,
    make_address,
    socket_close,
    socket_connect,
    socket_open,
    socket_peer,
    socklen_t,
)
from cython.cimports.libc.errno import EAGAIN, EALREADY, EINPROGRESS, EINTR, errno
from cython.cimports.libc.string import memcpy

from glassloop._core.scheduler import Scheduler
from glassloop._io.poller import EpollCore
from glassloop._io.stream_transport import StreamTransport

_MOST_KNOWN = cython.declare(cython.Py_ssize_t, 256)

_socket_type = cython.declare(object, socket_module.socket)
_base_events_names = cython.declare(dict, vars(base_events))
_socket_names = cython.declare(dict, vars(socket_module))
_ipaddr_info = cython.declare(object, getattr(base_events, "_ipaddr_info", None))
_stock_socket = cython.declare(dict, dict(vars(socket_module.socket)))

# What asyncio calls between create_connection() and the transport; the methods of EventLoop: see remember().
_steps = cython.declare(dict, {})
# What was found of the classes that were looked at last. One that changes gets another version.
loop_version = cython.declare(cython.uint, 0)
loop_is_plain = cython.declare(cython.bint, False)
socket_version = cython.declare(cython.uint, 0)
socket_is_plain = cython.declare(cython.bint, False)

# (family, address as Python has it, as the kernel has it), or None for a name: a program connects to the same
# few again and again.
_known = cython.declare(dict, {})


def remember(cls: type) -> None:
    """Take this class's steps for those that may be left out."""
    for name in (
        "_ensure_resolved",
        "_connect_sock",
        "sock_connect",
        "_create_connection_transport",
        "_make_socket_transport",
        "_ensure_fd_no_transport",
    ):
        _steps[name] = getattr(cls, name)


@cython.final
@cython.cclass
class Attempt:
    """A connection that is being made: a descriptor, which belongs to the Python socket once there is one."""


def connect(loop: Scheduler, protocol_factory: object, host: object, port: object) -> object:
    """Begin to connect.

    Returns (transport, protocol, a future to await); or (None, socket, address) for a connection that takes
    its time, or has failed; or None where asyncio's way is to be taken.
    """
    if type(host) is not str or type(port) is not int or loop._debug or loop._closed:
        return None
    if not isinstance(loop.poller, EpollCore) or not is_plain(loop) or not sockets_are_plain():
        return None
    known = known_address(host, port)
    if known is None:
        return None
    family, address, packed = known
    attempt: Attempt = Attempt()
    attempt.family = family
    attempt.fd = socket_open(attempt.family)
    if attempt.fd < 0:
        number: cython.int = errno
        raise OSError(number, os.strerror(number))
    try:
        audit_connect(python_socket, cython.cast(cython.p_void, attempt), address)
        if not try_connect(attempt, packed) or is_taken(loop, attempt.fd):
            return None, python_socket(cython.cast(cython.p_void, attempt)), address
        protocol = protocol_factory()
        transport: StreamTransport = connected_transport(
            loop, attempt.fd, attempt.socket, attempt.peer, protocol
        )
    except BaseException:
        if attempt.socket is not None:
            attempt.socket.close()
        else:
            socket_close(attempt.fd)
        raise
    waiter = loop.create_future()
    loop.call_soon(transport._connection_made)
    loop.call_soon(transport._start_reading)
    loop.call_soon(futures._set_result_unless_cancelled, waiter, None)
    return transport, protocol, waiter


@cython.cfunc
@cython.exceptval(-1, check=False)
def try_connect(attempt: Attempt, packed: bytes) -> cython.int:
    """Whether there is a connection, with the address of its other end. OSError if there will be none."""
    address: Address
    size: socklen_t = cython.cast(socklen_t, PyBytes_GET_SIZE(packed))
    number: cython.int
    memcpy(cython.address(address), PyBytes_AS_STRING(packed), size)
    if socket_connect(attempt.fd, cython.address(address), size) != 0:
        number = errno
        if number != EINPROGRESS and number != EAGAIN and number != EALREADY and number != EINTR:
            raise OSError(number, os.strerror(number))
    # The kernel says EINPROGRESS also where both ends are its own, and the connection is there by now.
    if socket_peer(attempt.fd, cython.address(address), cython.address(size)) != 0:
        return False
    attempt.peer = address_pack(cython.address(address), size)
    return True


@cython.cfunc
def python_socket(of: cython.p_void) -> object:
    """The Python socket of an attempt; it owns the descriptor from now on."""
    attempt: Attempt = cython.cast(Attempt, of)
    if attempt.socket is None:
        attempt.socket = _socket_type(
            socket_module.AddressFamily(attempt.family),
            socket_module.SOCK_STREAM,
            socket_module.IPPROTO_TCP,
            attempt.fd,
        )
        attempt.socket.setblocking(False)
    return attempt.socket


@cython.cfunc
@cython.exceptval(-1, check=False)
def is_taken(loop: Scheduler, fd: cython.int) -> cython.int:
    """Whether a transport says that it has this descriptor, which somebody must have closed beneath it."""
    return cython.cast(EpollCore, loop.poller).source_of(fd) is not None or len(loop._transports.data) != 0


@cython.cfunc
def known_address(host: str, port: object) -> object:
    key = (host, port)
    if key in _known:
        return _known[key]
    if len(_known) >= _MOST_KNOWN:
        _known.clear()
    found = look_up(host, port)
    _known[key] = found
    return found


@cython.cfunc
def look_up(host: str, port: object) -> object:
    address: Address
    size: socklen_t = 0
    info = _ipaddr_info(host, port, socket_module.AF_UNSPEC, socket_module.SOCK_STREAM, 0)
    if info is None or info[1] != socket_module.SOCK_STREAM or not 0 <= port <= 0xFFFF or "\0" in host:
        return None
    text = host.encode()
    if not make_address(info[0], text, port, cython.address(address), cython.address(size)):
        return None
    packed = PyBytes_FromStringAndSize(cython.cast(cython.p_char, cython.address(address)), size)
    return int(info[0]), info[4], packed


@cython.cfunc
@cython.exceptval(-1, check=False)
def is_plain(loop: Scheduler) -> cython.int:
    """Whether the loop connects by the steps that we know, and has none of its own."""
    global loop_version, loop_is_plain
    cls = type(loop)
    if loop_version == 0 or class_version(cython.cast(cython.pointer(PyObject), cls)) != loop_version:
        loop_is_plain = bool(_steps) and all(
            getattr(cls, name, None) is step for name, step in _steps.items()
        )
        loop_version = class_version(cython.cast(cython.pointer(PyObject), cls))
    if not loop_is_plain:
        return False
    own: dict = loop.__dict__
    for name in _steps:  # noqa: SIM110 - compiled, a generator is slower
        if name in own:
            return False
    return True


@cython.cfunc
@cython.exceptval(-1, check=False)
def sockets_are_plain() -> cython.int:
    global socket_version, socket_is_plain
    if (
        _ipaddr_info is None
        or _base_events_names.get("_ipaddr_info") is not _ipaddr_info
        or _base_events_names.get("socket") is not socket_module
        or _socket_names.get("socket") is not _socket_type
    ):
        return False
    if (
        socket_version == 0
        or class_version(cython.cast(cython.pointer(PyObject), _socket_type)) != socket_version
    ):
        names: dict = dict(vars(_socket_type))
        socket_is_plain = (
            _is_stock
            and names.keys() == _stock_socket.keys()
            and all(names[name] is _stock_socket[name] for name in names)
        )
        _socket_type.connect  # noqa: B018 - a look at it gives the class its version
        socket_version = class_version(cython.cast(cython.pointer(PyObject), _socket_type))
    return socket_is_plain


def _is_stock_socket() -> bool:
    """Whether Python's sockets are Python's own: what patches them may have been there before us."""
    made = vars(_socket_type).get("__init__")
    return (
        _socket_type.__bases__ == (socket_module._socket.socket,)
        and not {"connect", "setblocking", "getpeername"} & _stock_socket.keys()
        and getattr(made, "__code__", None) is not None
        and made.__code__.co_filename == socket_module.socketpair.__code__.co_filename
    )


_is_stock = cython.declare(cython.bint, _is_stock_socket())
