"""Socket addresses as Python's socket module shows them, made only when somebody asks.

Until then a transport keeps what the kernel gave: a ``sockaddr`` as bytes.
"""

import os

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cython.cimports.glassloop._sys.socket import (
    AF_INET,
    AF_INET6,
    AF_UNIX,
    Address,
    inet_ntop,
    ntohl,
    ntohs,
    socket_local,
    socket_peer,
    socklen_t,
)
from cython.cimports.libc.string import memcpy, memset

INET_SIZE = cython.declare(socklen_t, 8)  # family, port and address of struct sockaddr_in
PATH_OFFSET = cython.declare(cython.Py_ssize_t, 2)  # offsetof(struct sockaddr_un, sun_path)


@cython.cfunc
def address_pack(address: cython.pointer(Address), size: socklen_t) -> bytes:
    """The first ``size`` bytes of the sockaddr, without IPv4's padding."""
    if address.any.sa_family == AF_INET and size > INET_SIZE:
        size = INET_SIZE
    return PyBytes_FromStringAndSize(cython.cast(cython.p_char, address), size)


@cython.cfunc
def address_unpack(packed: bytes) -> object:
    """(host, port), (host, port, flowinfo, scope id), or a path; None for a family that sockets must show."""
    address: Address
    text: cython.char[64]
    size: cython.Py_ssize_t = len(packed)
    memset(cython.address(address), 0, cython.sizeof(Address))
    memcpy(cython.address(address), PyBytes_AS_STRING(packed), size)
    if size < PATH_OFFSET:
        return None
    if address.any.sa_family == AF_INET:
        inet_ntop(AF_INET, cython.address(address.in_.sin_addr), text, 64)
        return text.decode("ascii"), ntohs(address.in_.sin_port)
    if address.any.sa_family == AF_INET6:
        inet_ntop(AF_INET6, cython.address(address.in6.sin6_addr), text, 64)
        return (
            text.decode("ascii"),
            ntohs(address.in6.sin6_port),
            ntohl(address.in6.sin6_flowinfo),
            address.in6.sin6_scope_id,
        )
    if address.any.sa_family == AF_UNIX:
        path: bytes = packed[PATH_OFFSET:]
        if path[:1] == b"\0":
            return path  # Linux's abstract namespace: bytes, as the socket module has it
        return os.fsdecode(path.split(b"\0", 1)[0])
    return None


@cython.cfunc
def local_address(fd: cython.int) -> bytes:
    """The packed address of this end, or None."""
    address: Address
    size: socklen_t = 0
    if socket_local(fd, cython.address(address), cython.address(size)) != 0:
        return None
    return address_pack(cython.address(address), size)


@cython.cfunc
def peer_address(fd: cython.int) -> bytes:
    """The packed address of the other end, or None where there is none."""
    address: Address
    size: socklen_t = 0
    if socket_peer(fd, cython.address(address), cython.address(size)) != 0:
        return None
    return address_pack(cython.address(address), size)
