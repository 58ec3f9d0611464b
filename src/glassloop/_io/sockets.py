"""The system calls of the loop's sock_* methods: each is tried first, and waited for if it would block.

``_sock_methods`` has the methods themselves. Each function here returns the call's result, a future to await,
or NotImplemented for what is left to asyncio's own method: any but a plain non-blocking socket, debug mode,
a selector that is not ours, arguments of a kind that only Python's socket knows to refuse.

While somebody waits, and afterwards, the descriptor belongs to a SocketWatch, which the poller keeps
registered by its edges (``Poller.keep``): the next wait costs no system call. An edge is enough, for a wait
begins only when the call has found that there is nothing. As in asyncio there is one wait a direction: a
second takes the place of the first, which is never told. So does a reader of ``add_reader``; to the outside a
wait is one.
"""

import _socket
import functools
import os
import socket
import weakref

import cython
from cython.cimports.cpython.buffer import PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cython.cimports.cpython.ref import PyObject
from cython.cimports.glassloop._core.scheduler import Scheduler
from cython.cimports.glassloop._core.source import READABLE, WRITABLE
from cython.cimports.glassloop._io.address import address_pack, address_unpack
from cython.cimports.glassloop._io.poller import EpollCore
from cython.cimports.glassloop._sys.attributes import class_version
from cython.cimports.glassloop._sys.socket import (
    AF_INET,
    AF_INET6,
    AF_UNIX,
    Address,
    socket_recv,
    socket_recv_from,
    socket_send,
    socklen_t,
)
from cython.cimports.glassloop._sys.socket_object import refers_to, socket_offset, socket_part
from cython.cimports.libc.errno import EAGAIN, EALREADY, EINPROGRESS, EINTR, errno
from cython.cimports.libc.stdint import uint32_t, uintptr_t
from cython.cimports.libc.stdlib import malloc

from glassloop._core.scheduler import Scheduler
from glassloop._core.source import IOSource
from glassloop._io.poller import EpollCore

# Up to so many bytes are received into the one buffer, and then copied: less than the calls' n, as a rule.
RECEIVE_SIZE = cython.declare(cython.Py_ssize_t, 256 * 1024)
# poller.owners has this for a descriptor that is registered under a selectors key.
KEYED = cython.declare(uintptr_t, 1)

_receive_buffer = cython.declare(cython.p_char, cython.NULL)
# Where sock_fd lies in a socket object; -1: not proven, its methods are called.
_offset = cython.declare(cython.Py_ssize_t, -1)
_socket_type = cython.declare(object, socket.socket)
_connect = cython.declare(object, socket.socket.connect)
_plain_type = cython.declare(object, _socket.socket)
_REPLACED = cython.declare(tuple, ("recv", "recv_into", "recvfrom", "send", "fileno", "gettimeout"))
# The version of socket.socket in which nobody has replaced one of these; 0: not known.
_unpatched_version = cython.declare(cython.uint, 0)
_would_block = cython.declare(object, object())


@cython.final
@cython.cclass
class Wait:
    """One direction's: what is to be done once the socket is ready, and the future for its result."""


@cython.final
@cython.cclass
class SocketWatch(IOSource):
    """What keeps the descriptor of a socket of the user's own, for the loop's sock_* methods."""

    def __repr__(self) -> str:
        waits: list = []
        if self.reader is not None and self.reader.future is not None:
            waits.append("read")
        if self.writer is not None and self.writer.future is not None:
            waits.append("write")
        return f"<sock_* calls fd={self.fd} waiting to {' and '.join(waits) or 'do nothing'}>"

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def on_readable(self) -> cython.int:
        return self.settle(self.reader, READABLE)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def on_writable(self) -> cython.int:
        return self.settle(self.writer, WRITABLE)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def settle(self, wait: Wait, event: uint32_t) -> cython.int:
        """Try the call again; the future gets what comes of it."""
        future = wait.future
        if future is None or future.done():
            return 0  # cancelled: its coroutine will say so
        try:
            result = attempt(self, wait)
        except (SystemExit, KeyboardInterrupt):
            # Of a signal handler's: if the loop goes on, so does the wait. Its edge must come again.
            if self.kept:
                cython.cast(EpollCore, self.loop.poller).keep(self, self.kept)
            raise
        except BaseException as exc:
            if wait.future is future:
                end_wait(self, wait, event)
            future.set_exception(exc)
            return 0
        if result is _would_block:
            return 0
        if wait.future is future:
            end_wait(self, wait, event)
        future.set_result(result)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def on_displaced(self) -> cython.int:
        """A transport has the descriptor now, or another socket: as in asyncio, who waits is not told."""
        future = None
        if self.writer is not None and self.writer.future is not None:
            # But asyncio's own would write on beside a transport that only reads.
            if self.writer.sock.fileno() == self.fd:
                future = self.writer.future
        drop_waits(self)
        if future is not None and not future.done():
            future.set_exception(
                RuntimeError(
                    f"File descriptor {self.fd} was given to a transport while a sock_* call wrote to it"
                )
            )
        return 0


# -- the calls ------------------------------------------------------------------------------------


def receive(loop: Scheduler, sock: object, n: object) -> object:
    """Up to n bytes: ``sock.recv(n)``."""
    size: cython.Py_ssize_t
    fd: cython.int = usable(loop, sock)
    if fd < 0 or type(n) is not int:
        return NotImplemented
    size = n
    if size <= 0:
        return NotImplemented
    got = receive_now(fd, size)
    if got is not _would_block:
        return got
    return begin_wait(loop, sock, fd, RECEIVE, None, None, size)


def receive_into(loop: Scheduler, sock: object, buf: object) -> object:
    """A number of bytes that are now in the buffer: ``sock.recv_into(buf)``."""
    fd: cython.int = usable(loop, sock)
    if fd < 0:
        return NotImplemented
    got = receive_into_now(fd, buf)
    if got is not _would_block:
        return got
    return begin_wait(loop, sock, fd, RECEIVE_INTO, buf, None, 0)


def receive_from(loop: Scheduler, sock: object, bufsize: object) -> object:
    """(bytes, address): ``sock.recvfrom(bufsize)``."""
    size: cython.Py_ssize_t
    fd: cython.int = usable(loop, sock)
    if fd < 0 or type(bufsize) is not int or not has_known_addresses(sock):
        return NotImplemented
    size = bufsize
    if size < 0 or size > RECEIVE_SIZE:
        return NotImplemented
    got = receive_from_now(fd, size)
    if got is not _would_block:
        return got
    return begin_wait(loop, sock, fd, RECEIVE_FROM, None, None, size)


def receive_from_into(loop: Scheduler, sock: object, buf: object, nbytes: object) -> object:
    """(number of bytes, address): ``sock.recvfrom_into(buf, nbytes)``."""
    fd: cython.int = usable(loop, sock)
    if fd < 0:
        return NotImplemented
    try:
        return sock.recvfrom_into(buf, nbytes)
    except (BlockingIOError, InterruptedError):
        pass
    return begin_wait(loop, sock, fd, RECEIVE_FROM_INTO, buf, None, nbytes)


def send_all(loop: Scheduler, sock: object, data: object) -> object:
    """None, when all is sent: ``sock.send(data)``, as often as it takes."""
    view: Py_buffer
    sent: cython.Py_ssize_t
    number: cython.int = 0
    fd: cython.int = usable(loop, sock)
    if fd < 0:
        return NotImplemented
    PyObject_GetBuffer(data, cython.address(view), PyBUF_SIMPLE)
    while True:
        sent = socket_send(fd, view.buf, view.len)
        if sent >= 0:
            break
        number = errno
        if number != EINTR:
            break
    size: cython.Py_ssize_t = view.len
    PyBuffer_Release(cython.address(view))
    if sent == size:
        return None
    if sent < 0:
        if number != EAGAIN:
            raise OSError(number, os.strerror(number))
        sent = 0
    return begin_wait(loop, sock, fd, SEND_ALL, memoryview(data).cast("B"), None, sent)


def send_to(loop: Scheduler, sock: object, data: object, address: object) -> object:
    """The number of bytes sent: ``sock.sendto(data, address)``."""
    fd: cython.int = usable(loop, sock)
    if fd < 0:
        return NotImplemented
    try:
        return sock.sendto(data, address)
    except (BlockingIOError, InterruptedError):
        pass
    return begin_wait(loop, sock, fd, SEND_TO, data, address, 0)


def connect(loop: Scheduler, sock: object, address: object) -> object:
    """None, when it is connected: ``sock.connect(address)``. The address is resolved; takes() was asked."""
    fd: cython.int = sock.fileno()
    number: cython.int
    if _socket_type.connect is not _connect:
        # Somebody guards it, as test tools do. connect_ex() is as good, and makes no exception.
        try:
            sock.connect(address)
        except (BlockingIOError, InterruptedError):
            return begin_wait(loop, sock, fd, CONNECT, address, None, 0)
        return None
    try:
        number = sock.connect_ex(address)
    except (TypeError, OverflowError):
        sock.connect(address)  # the same error, with the right name in it
        return None
    if number == 0:
        return None
    if number != EINPROGRESS and number != EAGAIN and number != EALREADY and number != EINTR:
        raise OSError(number, os.strerror(number))
    return begin_wait(loop, sock, fd, CONNECT, address, None, 0)


def accept(loop: Scheduler, sock: object) -> object:
    """(socket, address): ``sock.accept()``."""
    fd: cython.int = usable(loop, sock)
    if fd < 0:
        return NotImplemented
    got = accept_now(sock)
    if got is not _would_block:
        return got
    return begin_wait(loop, sock, fd, ACCEPT, None, None, 0)


def takes(loop: Scheduler, sock: object) -> bool:
    """Whether a call on this socket is made here, not by asyncio's method."""
    return usable(loop, sock) >= 0


@cython.cfunc
@cython.exceptval(check=False)
def usable(loop: Scheduler, sock: object) -> cython.int:
    """The descriptor of a plain socket that does not block; -1 if this is not for us."""
    if type(sock) is not _socket_type or loop._debug or not isinstance(loop.poller, EpollCore):
        return -1
    version: cython.uint = class_version(cython.cast(cython.pointer(PyObject), _socket_type))
    if (version == 0 or version != _unpatched_version) and not is_unpatched():
        return -1  # asyncio's own methods call what somebody put there
    if _offset < 0:
        return asked_descriptor(sock)
    part = socket_part(cython.cast(cython.pointer(PyObject), sock), _offset)
    return part.fd if part.timeout == 0 else -1


@cython.cfunc
@cython.exceptval(check=False)
def is_unpatched() -> cython.bint:
    """Whether the methods in whose place system calls are made here are those of Python's own socket type."""
    global _unpatched_version
    _unpatched_version = 0
    try:
        for name in _REPLACED:
            if getattr(_socket_type, name) is not getattr(_plain_type, name):
                return False
        _unpatched_version = class_version(cython.cast(cython.pointer(PyObject), _socket_type))
    except BaseException:
        return False
    return True


@cython.cfunc
@cython.exceptval(check=False)
def asked_descriptor(sock: object) -> cython.int:
    try:
        return sock.fileno() if sock.gettimeout() == 0 else -1
    except BaseException:
        return -1


@cython.cfunc
@cython.exceptval(-1, check=False)
def has_known_addresses(sock: object) -> cython.bint:
    """Whether address_unpack() shows what this socket receives from."""
    family: cython.int
    if _offset < 0:
        family = int(sock.family)
    else:
        family = socket_part(cython.cast(cython.pointer(PyObject), sock), _offset).family
    return family == AF_INET or family == AF_INET6 or family == AF_UNIX


@cython.cfunc
def attempt(watch: SocketWatch, wait: Wait) -> object:
    """The result, or _would_block."""
    if wait.call == RECEIVE:
        return receive_now(watch.fd, wait.size)
    if wait.call == RECEIVE_INTO:
        got = receive_into_now(watch.fd, wait.thing)
        return wait.sock.recv_into(wait.thing) if got is NotImplemented else got
    if wait.call == RECEIVE_FROM:
        return receive_from_now(watch.fd, wait.size)
    if wait.call == SEND_ALL:
        return send_rest(watch.fd, wait)
    if wait.call == ACCEPT:
        return accept_now(wait.sock)
    if wait.call == CONNECT:
        number: cython.int = wait.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number != 0:
            raise OSError(number, f"Connect call failed {wait.thing}")
        return None
    try:
        if wait.call == SEND_TO:
            return wait.sock.sendto(wait.thing, 0, wait.address)
        return wait.sock.recvfrom_into(wait.thing, wait.size)
    except (BlockingIOError, InterruptedError):
        return _would_block


@cython.cfunc
def receive_now(fd: cython.int, size: cython.Py_ssize_t) -> object:
    count: cython.Py_ssize_t
    number: cython.int
    if size > RECEIVE_SIZE:
        return receive_much(fd, size)
    if _receive_buffer is cython.NULL:
        make_receive_buffer()
    while True:
        count = socket_recv(fd, _receive_buffer, size)
        if count >= 0:
            return PyBytes_FromStringAndSize(_receive_buffer, count)
        number = errno
        if number == EAGAIN:
            return _would_block
        if number != EINTR:
            raise OSError(number, os.strerror(number))


@cython.cfunc
def receive_much(fd: cython.int, size: cython.Py_ssize_t) -> object:
    target: bytes = PyBytes_FromStringAndSize(cython.NULL, size)
    count: cython.Py_ssize_t
    number: cython.int
    while True:
        count = socket_recv(fd, PyBytes_AS_STRING(target), size)
        if count >= 0:
            return target if count == size else target[:count]
        number = errno
        if number == EAGAIN:
            return _would_block
        if number != EINTR:
            raise OSError(number, os.strerror(number))


@cython.cfunc
def receive_into_now(fd: cython.int, buf: object) -> object:
    view: Py_buffer
    count: cython.Py_ssize_t
    number: cython.int
    try:
        PyObject_GetBuffer(buf, cython.address(view), PyBUF_SIMPLE | PyBUF_WRITABLE)
    except (TypeError, BufferError):
        return NotImplemented  # Python's socket says what is wrong with it
    count = 0
    number = 0
    while view.len:
        count = socket_recv(fd, view.buf, view.len)
        number = errno
        if count >= 0 or number != EINTR:
            break
    PyBuffer_Release(cython.address(view))
    if count >= 0:
        return count
    if number == EAGAIN:
        return _would_block
    raise OSError(number, os.strerror(number))


@cython.cfunc
def receive_from_now(fd: cython.int, size: cython.Py_ssize_t) -> object:
    address: Address
    address_size: socklen_t = 0
    count: cython.Py_ssize_t
    number: cython.int
    if _receive_buffer is cython.NULL:
        make_receive_buffer()
    while True:
        count = socket_recv_from(
            fd, _receive_buffer, size, cython.address(address), cython.address(address_size)
        )
        if count >= 0:
            data = PyBytes_FromStringAndSize(_receive_buffer, count)
            sender = None
            if address_size != 0:
                sender = address_unpack(address_pack(cython.address(address), address_size))
            return data, sender
        number = errno
        if number == EAGAIN:
            return _would_block
        if number != EINTR:
            raise OSError(number, os.strerror(number))


@cython.cfunc
def send_rest(fd: cython.int, wait: Wait) -> object:
    """None when all has been sent. A part that is taken means that there is no room for more: epoll(7)."""
    view: Py_buffer
    sent: cython.Py_ssize_t
    size: cython.Py_ssize_t
    number: cython.int = 0
    PyObject_GetBuffer(wait.thing, cython.address(view), PyBUF_SIMPLE)
    size = view.len
    while True:
        sent = socket_send(fd, cython.cast(cython.p_char, view.buf) + wait.size, size - wait.size)
        number = errno
        if sent >= 0 or number != EINTR:
            break
    PyBuffer_Release(cython.address(view))
    if sent < 0:
        if number == EAGAIN:
            return _would_block
        raise OSError(number, os.strerror(number))
    wait.size += sent
    return None if wait.size == size else _would_block


@cython.cfunc
def accept_now(sock: object) -> object:
    try:
        connection, address = sock.accept()
    except (BlockingIOError, InterruptedError):
        return _would_block
    connection.setblocking(False)
    return connection, address


@cython.cfunc
@cython.exceptval(-1, check=False)
def make_receive_buffer() -> cython.int:
    """One buffer for all: between recv and the copy nothing else runs."""
    global _receive_buffer
    _receive_buffer = cython.cast(cython.p_char, malloc(RECEIVE_SIZE))
    if _receive_buffer is cython.NULL:
        raise MemoryError("no memory for the receive buffer")
    return 0


# -- waiting --------------------------------------------------------------------------------------


@cython.cfunc
def begin_wait(
    loop: Scheduler,
    sock: object,
    fd: cython.int,
    call: cython.int,
    thing: object,
    address: object,
    size: cython.Py_ssize_t,
) -> object:
    """A future that gets the result of the call."""
    event: uint32_t = WRITABLE if call >= SEND_ALL else READABLE
    wait: Wait
    if loop._closed:
        loop._check_closed()
    future = loop.create_future()
    watch: SocketWatch = watch_of(loop, sock, fd)
    if watch is None:
        wait = Wait()
        fill(wait, future, sock, call, thing, address, size)
        wait_as_asyncio(loop, fd, wait)
        return future
    if watch.kept & event == 0:
        cython.cast(EpollCore, loop.poller).keep(watch, watch.kept | event)
    if event == READABLE:
        if watch.reader is None:
            watch.reader = Wait()
        wait = watch.reader
    else:
        if watch.writer is None:
            watch.writer = Wait()
        wait = watch.writer
    fill(wait, future, sock, call, thing, address, size)
    watch.watched |= event
    return future


@cython.cfunc
@cython.exceptval(check=False)
@cython.inline
def fill(
    wait: Wait,
    future: object,
    sock: object,
    call: cython.int,
    thing: object,
    address: object,
    size: cython.Py_ssize_t,
) -> cython.void:
    wait.call = call
    wait.future = future
    wait.sock = sock
    wait.thing = thing
    wait.address = address
    wait.size = size


@cython.cfunc
def watch_of(loop: Scheduler, sock: object, fd: cython.int) -> SocketWatch:
    """The socket's watch; None where the descriptor is registered under a selectors key."""
    poller: EpollCore = cython.cast(EpollCore, loop.poller)
    watch: SocketWatch = kept_watch(poller, fd)
    if watch is not None:
        if refers_to(
            cython.cast(cython.pointer(PyObject), watch.reference),
            cython.cast(cython.pointer(PyObject), sock),
        ):
            return watch
        # Another socket under the same number. Whether it is the same to the kernel, only the kernel knows.
        drop_waits(watch)
        poller.forget(watch)
    else:
        # RuntimeError where a transport has it.
        loop._ensure_fd_no_transport(fd)
        if fd < poller.capacity and poller.owners[fd]:
            return None
    watch = SocketWatch()
    watch.fd = fd
    watch.loop = loop
    watch.reference = weakref.ref(sock)
    return watch


@cython.cfunc
def kept_watch(poller: EpollCore, fd: cython.int) -> SocketWatch:
    """The watch that has this descriptor, or None."""
    if fd < 0 or fd >= poller.capacity or poller.owners[fd] <= KEYED:
        return None
    owner = cython.cast(object, cython.cast(cython.pointer(PyObject), poller.owners[fd]))
    return owner if isinstance(owner, SocketWatch) else None


@cython.cfunc
@cython.exceptval(-1, check=False)
def end_wait(watch: SocketWatch, wait: Wait, event: uint32_t) -> cython.int:
    """Nobody waits any more; what the wait had is let go of."""
    watch.watched &= ~event
    wait.future = None
    wait.sock = None
    wait.thing = None
    wait.address = None
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def drop_waits(watch: SocketWatch) -> cython.int:
    if watch.reader is not None:
        end_wait(watch, watch.reader, READABLE)
    if watch.writer is not None:
        end_wait(watch, watch.writer, WRITABLE)
    return 0


def abandon(loop: Scheduler, sock: object, future: object) -> None:
    """The coroutine that awaited the future has been cancelled, or its call has failed."""
    fd: cython.int
    poller: EpollCore
    if not isinstance(loop.poller, EpollCore):
        return
    poller = cython.cast(EpollCore, loop.poller)
    if abandon_at(poller, sock.fileno(), future):
        return
    if poller.keeping and sock.fileno() < 0:
        # The socket was closed meanwhile: whose number it had is not known any more.
        for fd in range(poller.capacity):
            if abandon_at(poller, fd, future):
                return


@cython.cfunc
@cython.exceptval(check=False)
def abandon_at(poller: EpollCore, fd: cython.int, future: object) -> cython.bint:
    watch: SocketWatch = kept_watch(poller, fd)
    if watch is None:
        return False
    if watch.reader is not None and watch.reader.future is future:
        end_wait(watch, watch.reader, READABLE)
        return True
    if watch.writer is not None and watch.writer.future is future:
        end_wait(watch, watch.writer, WRITABLE)
        return True
    return False


# -- beside add_reader() and add_writer() -----------------------------------------------------------


def give_way(loop: Scheduler, file: object) -> None:
    """Somebody adds a reader or a writer of this descriptor: who waits for it, waits in asyncio's way now."""
    wait: Wait
    watch: SocketWatch = watch_at(loop, file)
    if watch is None:
        return
    waits: list = [
        copied(wait)
        for wait in (watch.reader, watch.writer)
        if wait is not None and wait.future is not None and not wait.future.done()
    ]
    drop_waits(watch)
    cython.cast(EpollCore, loop.poller).claim(watch.fd, 0, watch.kept, 0)
    for wait in waits:
        wait_as_asyncio(loop, watch.fd, wait)


def withdraw(loop: Scheduler, file: object, event: cython.uint) -> object:
    """Take the wait of this direction away, and say whether there was one; None where nothing is ours."""
    watch: SocketWatch = watch_at(loop, file)
    if watch is None:
        return None
    wait: Wait = watch.reader if event == READABLE else watch.writer
    if wait is None or wait.future is None:
        return False
    end_wait(watch, wait, event)
    return True


@cython.cfunc
def watch_at(loop: Scheduler, file: object) -> SocketWatch:
    poller: EpollCore
    if not isinstance(loop.poller, EpollCore):
        return None
    poller = cython.cast(EpollCore, loop.poller)
    if poller.keeping == 0:
        return None
    return kept_watch(poller, file if type(file) is int else file.fileno())


@cython.cfunc
def copied(wait: Wait) -> Wait:
    copy: Wait = Wait()
    fill(copy, wait.future, wait.sock, wait.call, wait.thing, wait.address, wait.size)
    return copy


@cython.cfunc
@cython.exceptval(-1, check=False)
def wait_as_asyncio(loop: Scheduler, fd: cython.int, wait: Wait) -> cython.int:
    """With a handle under a selectors key, by asyncio's own callbacks."""
    future, sock = wait.future, wait.sock
    if wait.call == RECEIVE:
        callback, arguments = loop._sock_recv, (wait.size,)
    elif wait.call == RECEIVE_INTO:
        callback, arguments = loop._sock_recv_into, (wait.thing,)
    elif wait.call == RECEIVE_FROM:
        callback, arguments = loop._sock_recvfrom, (wait.size,)
    elif wait.call == RECEIVE_FROM_INTO:
        callback, arguments = loop._sock_recvfrom_into, (wait.thing, wait.size)
    elif wait.call == ACCEPT:
        callback, arguments = loop._sock_accept, ()
    elif wait.call == SEND_ALL:
        callback, arguments = loop._sock_sendall, (wait.thing, [wait.size])
    elif wait.call == SEND_TO:
        callback, arguments = loop._sock_sendto, (wait.thing, wait.address)
    else:
        callback, arguments = loop._sock_connect_cb, (wait.thing,)
    if wait.call >= SEND_ALL:
        handle = loop._add_writer(fd, callback, future, sock, *arguments)
        done = loop._sock_write_done
    else:
        handle = loop._add_reader(fd, callback, future, sock, *arguments)
        done = loop._sock_read_done
    future.add_done_callback(functools.partial(done, fd, handle=handle))
    return 0


# -- Python's socket object -------------------------------------------------------------------------


def _proven_offset() -> int:
    """Where sock_fd lies in a socket object, shown on some; -1 where what lies there is not what we know."""
    descriptor = vars(socket.SocketType).get("family")
    offset: cython.Py_ssize_t = socket_offset(cython.cast(cython.pointer(PyObject), descriptor))
    if offset < cython.sizeof(PyObject) or offset + 32 > socket.SocketType.__basicsize__:
        return -1
    with socket.socket() as one, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        for sock in (one, other):
            for timeout, nanoseconds in ((0.0, 0), (1.5, 1_500_000_000), (None, -1)):
                sock.settimeout(timeout)
                part = socket_part(cython.cast(cython.pointer(PyObject), sock), offset)
                found = min(part.timeout, 0) if timeout is None else part.timeout
                if part.fd != sock.fileno() or part.family != sock.family or (found < 0) != (nanoseconds < 0):
                    return -1
                if nanoseconds >= 0 and found != nanoseconds:
                    return -1
    return offset


_offset = _proven_offset()
