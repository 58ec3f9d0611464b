"""The addresses of those who send datagrams: each is made once, and known again when it is answered.

A small table for the whole process: an internet address as the kernel gives it, and the tuple that shows it.
A newcomer takes the place of whoever had the same. Who answers gives the tuple that came with the datagram,
so that the tuple itself, found by where it lies, tells the packed address. Other tuples are read, if the host
is a literal; anything else is for Python's socket, which may look names up and knows all the errors.
"""

import cython
from cython.cimports.cpython.long import PyLong_AsLong
from cython.cimports.cpython.ref import Py_INCREF, Py_XDECREF, PyObject
from cython.cimports.cpython.unicode import PyUnicode_AsUTF8AndSize
from cython.cimports.glassloop._io.address import address_pack, address_unpack
from cython.cimports.glassloop._sys.socket import (
    AF_INET,
    AF_INET6,
    SOCKADDR_IN6_SIZE,
    SOCKADDR_IN_SIZE,
    Address,
    htonl,
    htons,
    inet_pton,
    socklen_t,
)
from cython.cimports.libc.stdint import uint64_t, uintptr_t
from cython.cimports.libc.stdlib import calloc
from cython.cimports.libc.string import memcpy, memset, strlen

PLACES = cython.declare(cython.int, 1024)
PLACE_BITS = cython.declare(cython.int, 10)
# The golden ratio as a fraction of 2**64: what it multiplies is spread over the highest bits.
SPREAD = cython.declare(uint64_t, 0x9E3779B97F4A7C15)

Peer = cython.struct(
    shown=cython.pointer(PyObject),  # owned
    words=uint64_t[4],  # the sockaddr, and zeros
    size=socklen_t,
)

_peers = cython.declare(cython.pointer(Peer), cython.NULL)
_by_object = cython.declare(cython.pointer(cython.pointer(Peer)), cython.NULL)


@cython.cfunc
def peer_shown(address: cython.pointer(Address), size: socklen_t) -> object:
    """The address as the socket module shows it; None for one without a name."""
    peer: cython.pointer(Peer)
    words: uint64_t[4]
    known: cython.bint
    if size == 0:
        return None
    known = (address.any.sa_family == AF_INET and size == SOCKADDR_IN_SIZE) or (
        address.any.sa_family == AF_INET6 and size == SOCKADDR_IN6_SIZE
    )
    if not known or not has_table():
        return address_unpack(address_pack(address, size))
    words[0] = words[1] = words[2] = words[3] = 0
    memcpy(words, address, 8 if address.any.sa_family == AF_INET else size)
    peer = cython.address(_peers[place(words[0] ^ (words[1] * 3) ^ (words[2] * 5) ^ (words[3] * 7))])
    if (
        peer.shown is not cython.NULL
        and peer.words[0] == words[0]
        and peer.words[1] == words[1]
        and peer.words[2] == words[2]
        and peer.words[3] == words[3]
    ):
        return cython.cast(object, peer.shown)
    shown = address_unpack(address_pack(address, size))
    previous: cython.pointer(PyObject) = peer.shown
    memcpy(peer.words, words, cython.sizeof(words))
    peer.size = size
    Py_INCREF(shown)
    peer.shown = cython.cast(cython.pointer(PyObject), shown)
    _by_object[place_of(peer.shown)] = peer
    Py_XDECREF(previous)
    return shown


@cython.cfunc
@cython.exceptval(check=False)
def peer_packed(shown: object, family: cython.int, address: cython.pointer(Address)) -> socklen_t:
    """Pack an address for a socket of this family; 0 if that is for Python's socket to do."""
    peer: cython.pointer(Peer)
    if _peers is not cython.NULL:
        peer = _by_object[place_of(cython.cast(cython.pointer(PyObject), shown))]
        if peer is not cython.NULL and peer.shown is cython.cast(cython.pointer(PyObject), shown):
            memcpy(address, peer.words, peer.size)
            return peer.size if address.any.sa_family == family else 0
    if type(shown) is not tuple:
        return 0
    return literal_packed(cython.cast(tuple, shown), family, address)


@cython.cfunc
@cython.exceptval(check=False)
def literal_packed(shown: tuple, family: cython.int, address: cython.pointer(Address)) -> socklen_t:
    count: cython.Py_ssize_t = len(shown)
    size: cython.Py_ssize_t = 0
    text: cython.p_const_char
    if count < 2 or type(shown[0]) is not str:
        return 0
    port: cython.long = number(shown[1], 0xFFFF)
    try:
        text = PyUnicode_AsUTF8AndSize(shown[0], cython.address(size))
    except BaseException:
        return 0
    if port < 0 or size == 0 or cython.cast(cython.Py_ssize_t, strlen(text)) != size:
        return 0
    memset(address, 0, SOCKADDR_IN6_SIZE)
    address.any.sa_family = family
    if family == AF_INET:
        if count != 2 or inet_pton(AF_INET, text, cython.address(address.in_.sin_addr)) != 1:
            return 0
        address.in_.sin_port = htons(port)
        return SOCKADDR_IN_SIZE
    if family == AF_INET6:
        flow: cython.long = number(shown[2], 0xFFFFF) if count > 2 else 0
        scope: cython.long = number(shown[3], 0xFFFFFFFF) if count > 3 else 0
        if count > 4 or flow < 0 or scope < 0:
            return 0
        if inet_pton(AF_INET6, text, cython.address(address.in6.sin6_addr)) != 1:
            return 0
        address.in6.sin6_port = htons(port)
        address.in6.sin6_flowinfo = htonl(flow)
        address.in6.sin6_scope_id = scope
        return SOCKADDR_IN6_SIZE
    return 0


@cython.cfunc
@cython.exceptval(check=False)
def number(thing: object, most: cython.long) -> cython.long:
    """-1 for what is no int from 0 to this."""
    value: cython.long
    if type(thing) is not int:
        return -1
    try:
        value = PyLong_AsLong(thing)
    except BaseException:
        return -1
    return value if 0 <= value <= most else -1


@cython.cfunc
@cython.exceptval(check=False)
@cython.inline
def place(number: uint64_t) -> cython.int:
    return cython.cast(cython.int, (number * SPREAD) >> (64 - PLACE_BITS))


@cython.cfunc
@cython.exceptval(check=False)
@cython.inline
def place_of(shown: cython.pointer(PyObject)) -> cython.int:
    return place(cython.cast(uint64_t, cython.cast(uintptr_t, shown)))


@cython.cfunc
@cython.exceptval(check=False)
def has_table() -> cython.bint:
    """Made with the first address; without memory for it, each address is made anew."""
    global _peers, _by_object
    if _peers is cython.NULL:
        if _by_object is cython.NULL:
            _by_object = cython.cast(
                cython.pointer(cython.pointer(Peer)),
                calloc(PLACES, cython.sizeof(cython.pointer(Peer))),
            )
        if _by_object is cython.NULL:
            return False
        _peers = cython.cast(cython.pointer(Peer), calloc(PLACES, cython.sizeof(Peer)))
    return _peers is not cython.NULL
