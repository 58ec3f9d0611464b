"""Feeds asyncio's StreamReader: what is received goes into its buffer without Python calls in between.

Between a transport and a task that awaits ``reader.read()`` stand two methods of asyncio's,
``StreamReaderProtocol.data_received`` and ``StreamReader.feed_data``. What they do is done here, on the same
fields of the same objects, wherever nobody can tell:

- the protocol is exactly a StreamReaderProtocol and its reader exactly a StreamReader, no subclass;
- neither class, nor the two objects, has another method in the place of one of those that are left out;
- asyncio's methods do what we know (see _is_known);
- the reader is open, and what waits for data is a future of ours, or nothing.

Looked at anew each time; anywhere else the methods are called. How a transport uses it::

    if feed_begin(self.protocol, fed):
        feed_receive(fed, ...), then feed_end(fed) or feed_cancel(fed)
    else:
        ... receive, make bytes, call protocol.data_received(), as for any other protocol
"""

import asyncio
from asyncio import streams
from types import FunctionType

import cython
from cython.cimports.cpython.bytearray import (
    PyByteArray_AS_STRING,
    PyByteArray_CheckExact,
    PyByteArray_GET_SIZE,
)
from cython.cimports.cpython.ref import Py_CLEAR, Py_DECREF, PyObject
from cython.cimports.glassloop._core.future import Future, future_fields, future_set_result
from cython.cimports.glassloop._sys.asyncio_types import PENDING
from cython.cimports.glassloop._sys.attributes import (
    class_version,
    has_class_method,
    is_ordinary_class,
    peek,
    positive_size,
    referent_of,
    try_resize,
)
from cython.cimports.glassloop._sys.calls import is_exactly
from cython.cimports.glassloop._sys.socket import socket_recv, socket_recv_two
from cython.cimports.libc.errno import errno
from cython.cimports.libc.string import memcpy

from glassloop._core.future import Future

_PROTOCOL_TYPE = cython.declare(object, asyncio.StreamReaderProtocol)
_READER_TYPE = cython.declare(object, asyncio.StreamReader)

# asyncio's methods whose part is taken here, and the names that each uses: all of what it does.
_DATA_RECEIVED = ("data_received", {"_stream_reader", "feed_data"})
_STREAM_READER = ("_stream_reader", {"_stream_reader_wr"})
_FEED_DATA = (
    "feed_data",
    {
        *("_eof", "_buffer", "extend", "_wakeup_waiter"),
        *("_transport", "_paused", "len", "_limit", "pause_reading", "NotImplementedError"),
    },
)
_WAKEUP_WAITER = ("_wakeup_waiter", {"_waiter", "cancelled", "set_result"})

# The versions of the two classes that were looked at last, and whether they were as asyncio made them.
protocol_version = cython.declare(cython.uint, 0)
reader_version = cython.declare(cython.uint, 0)
unpatched = cython.declare(cython.bint, False)


def _is_known(cls: type, name: str, names: set[str]) -> bool:
    """Whether the method is asyncio's own, and uses just these names.

    Another version's that does more shows in that, and what patched it before we were imported.
    """
    method = vars(cls).get(name)
    function = method.fget if isinstance(method, property) else method
    return (
        isinstance(function, FunctionType)
        and isinstance(method, property) == (name == "_stream_reader")
        and function.__code__.co_filename == streams.open_connection.__code__.co_filename
        # Without assertions (-O) feed_data() does not look at _eof.
        and {*function.__code__.co_names, "_eof"} == {*names, "_eof"}
    )


@cython.cfunc
@cython.exceptval(check=False)
def are_unpatched() -> cython.bint:
    """Whether both classes are as asyncio made them. A class that changes gets another version."""
    global protocol_version, reader_version, unpatched
    if (
        class_version(pointer_to(_READER_TYPE)) == reader_version
        and class_version(pointer_to(_PROTOCOL_TYPE)) == protocol_version
        and reader_version != 0
        and protocol_version != 0
    ):
        return unpatched
    try:
        unpatched = (
            is_ordinary_class(pointer_to(_READER_TYPE))
            and is_ordinary_class(pointer_to(_PROTOCOL_TYPE))
            and _is_known(_PROTOCOL_TYPE, *_DATA_RECEIVED)
            and _is_known(_PROTOCOL_TYPE, *_STREAM_READER)
            and _is_known(_READER_TYPE, *_FEED_DATA)
            and _is_known(_READER_TYPE, *_WAKEUP_WAITER)
            and not any(hasattr(_READER_TYPE, name) for name in ("_eof", "_buffer", "_waiter", "_limit"))
            and not hasattr(_PROTOCOL_TYPE, "_stream_reader_wr")
        )
    except Exception:  # no memory, say
        return False
    reader_version = class_version(pointer_to(_READER_TYPE))
    protocol_version = class_version(pointer_to(_PROTOCOL_TYPE))
    return unpatched


@cython.cfunc
@cython.exceptval(check=False)
def may_be_fed(protocol: object) -> cython.bint:
    return is_exactly(pointer_to(protocol), pointer_to(_PROTOCOL_TYPE))


@cython.cfunc
@cython.exceptval(check=False)
def feed_begin(protocol: object, fed: cython.pointer(Feed)) -> cython.bint:
    if not may_be_fed(protocol) or not are_unpatched():
        return False
    fed.reader = reader_of(protocol)
    if fed.reader is cython.NULL:
        return False
    fed.waiter = peek(fed.reader, pointer_to("_waiter"))
    fed.buffer = peek(fed.reader, pointer_to("_buffer"))
    fed.limit = positive_size(peek(fed.reader, pointer_to("_limit")))
    if (
        peek(fed.reader, pointer_to("_eof")) is pointer_to(False)
        and fed.buffer is not cython.NULL
        and PyByteArray_CheckExact(cython.cast(object, fed.buffer))
        and fed.limit != 0
        and (fed.waiter is pointer_to(None) or is_pending_future(fed.waiter))
        and has_class_method(fed.reader, pointer_to("feed_data"))
        and has_class_method(fed.reader, pointer_to("_wakeup_waiter"))
    ):
        return True
    feed_cancel(fed)
    return False


@cython.cfunc
@cython.exceptval(check=False)
def reader_of(protocol: object) -> cython.pointer(PyObject):
    """The protocol's StreamReader (a new reference), or NULL where it has none, or one of another class."""
    reader: cython.pointer(PyObject) = cython.NULL
    if has_class_method(pointer_to(protocol), pointer_to("data_received")):
        reader = referent_of(peek(pointer_to(protocol), pointer_to("_stream_reader_wr")))
    if reader is not cython.NULL and not is_exactly(reader, pointer_to(_READER_TYPE)):
        Py_CLEAR(reader)
    return reader


@cython.cfunc
@cython.exceptval(check=False)
def feed_receive(
    fed: cython.pointer(Feed),
    fd: cython.int,
    room: cython.Py_ssize_t,
    spare: cython.p_char,
    spare_size: cython.Py_ssize_t,
) -> cython.Py_ssize_t:
    count: cython.Py_ssize_t
    old_size: cython.Py_ssize_t = PyByteArray_GET_SIZE(cython.cast(object, fed.buffer))
    number: cython.int
    global errno
    if room == 0 or try_resize(fed.buffer, old_size + room) < 0:
        count = socket_recv(fd, spare, spare_size)
        if count <= 0:
            return count
        if try_resize(fed.buffer, old_size + count) < 0:
            fed.unfed = count
            return UNFED
        memcpy(PyByteArray_AS_STRING(cython.cast(object, fed.buffer)) + old_size, spare, count)
        return count
    count = socket_recv_two(
        fd,
        PyByteArray_AS_STRING(cython.cast(object, fed.buffer)) + old_size,
        room,
        spare,
        spare_size - room,
    )
    number = errno
    if try_resize(fed.buffer, old_size + max(count, 0)) < 0:
        return LOST
    if count > room:
        memcpy(PyByteArray_AS_STRING(cython.cast(object, fed.buffer)) + old_size + room, spare, count - room)
    errno = number  # resizing may have written it
    return count


@cython.cfunc
@cython.exceptval(-1, check=False)
def feed_end(fed: cython.pointer(Feed)) -> cython.int:
    """The data is in the buffer: wake who waits for it, and pause the transport if the buffer is full."""
    reader = cython.cast(object, fed.reader)
    Py_DECREF(reader)  # the local variable holds its own reference now
    size: cython.Py_ssize_t = PyByteArray_GET_SIZE(cython.cast(object, fed.buffer))
    if fed.waiter is not pointer_to(None):
        waiter = cython.cast(object, fed.waiter)
        reader._waiter = None
        future_set_result(pointer_to(waiter), None)
    if size - fed.limit > fed.limit:
        pause_transport(reader)
    return 0


@cython.cfunc
@cython.exceptval(check=False)
def feed_cancel(fed: cython.pointer(Feed)) -> cython.void:
    Py_CLEAR(fed.reader)


@cython.cfunc
@cython.exceptval(-1, check=False)
def pause_transport(reader: object) -> cython.int:
    """The end of ``StreamReader.feed_data()``, word for word."""
    if reader._transport is not None and not reader._paused and len(reader._buffer) > 2 * reader._limit:
        try:
            reader._transport.pause_reading()
        except NotImplementedError:
            reader._transport = None
        else:
            reader._paused = True
    return 0


@cython.cfunc
@cython.exceptval(check=False)
@cython.inline
def is_pending_future(waiter: cython.pointer(PyObject)) -> cython.bint:
    return (
        waiter is not cython.NULL
        and is_exactly(waiter, pointer_to(Future))
        and future_fields(waiter).state == PENDING
    )


@cython.cfunc
@cython.exceptval(check=False)
@cython.inline
def pointer_to(thing: object) -> cython.pointer(PyObject):
    return cython.cast(cython.pointer(PyObject), thing)
