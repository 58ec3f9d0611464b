"""The write queue: what was written and is not sent yet. ``bytes`` are kept by reference, never copied.

Of anything mutable only the unsent tail is copied, at once: its owner may change it after ``write()``.
"""

import os

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cython.cimports.glassloop._sys.files import write_chunks
from cython.cimports.glassloop._sys.socket import iovec, socket_send, socket_send_chunks
from cython.cimports.libc.errno import EAGAIN, EINTR, errno
from cython.cimports.libc.string import memcpy

# As many chunks go into one system call.
CHUNKS_AT_ONCE = cython.declare(cython.Py_ssize_t, 64)


@cython.final
@cython.cclass
class WriteQueue:
    def __cinit__(self) -> None:
        self.chunks = []

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def add(self, data: object, start: cython.Py_ssize_t) -> cython.int:
        """Append bytes-like data from byte ``start`` on."""
        chunk: bytes
        if start == 0 or self.size != 0 or type(data) is not bytes:
            chunk = immutable(data, start)
            start = 0
        else:
            # The usual case of a first chunk that was sent in part: by reference and offset.
            chunk = data
        self.chunks.append(chunk)
        if self.size == 0:
            self.offset = start  # only now that the chunk is in: on MemoryError the queue is as it was
        self.size += PyBytes_GET_SIZE(chunk) - start
        return 0

    @cython.cfunc
    @cython.exceptval(-1)
    def send(self, fd: cython.int, is_socket: cython.bint) -> cython.Py_ssize_t:
        """Send what the kernel takes now; how many bytes that was. OSError where it refuses."""
        parts: iovec[64]
        count: cython.Py_ssize_t
        i: cython.Py_ssize_t
        taken: cython.Py_ssize_t
        chunk: bytes
        total: cython.Py_ssize_t = 0
        asked: cython.Py_ssize_t
        while self.size:
            count = min(len(self.chunks) - self.first, CHUNKS_AT_ONCE)
            asked = 0
            for i in range(count):
                chunk = self.chunks[self.first + i]
                parts[i].iov_base = PyBytes_AS_STRING(chunk)
                parts[i].iov_len = PyBytes_GET_SIZE(chunk)
                asked += PyBytes_GET_SIZE(chunk)
            parts[0].iov_base = cython.cast(cython.p_char, parts[0].iov_base) + self.offset
            parts[0].iov_len -= self.offset
            asked -= self.offset
            if is_socket:
                if count == 1:
                    taken = socket_send(fd, parts[0].iov_base, parts[0].iov_len)
                else:
                    taken = socket_send_chunks(fd, parts, cython.cast(cython.int, count))
            else:
                taken = write_chunks(fd, parts, cython.cast(cython.int, count))
            if taken < 0:
                if errno == EAGAIN or errno == EINTR:
                    break
                raise OSError(errno, os.strerror(errno))
            self.sent(taken)
            total += taken
            if taken < asked:
                break  # the kernel is full: asking again would only say so
        return total

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def sent(self, count: cython.Py_ssize_t) -> cython.int:
        """Drop the first ``count`` bytes."""
        left: cython.Py_ssize_t
        self.size -= count
        if self.size == 0:
            self.chunks.clear()
            self.first = self.offset = 0
            return 0
        while True:
            left = PyBytes_GET_SIZE(self.chunks[self.first]) - self.offset
            if count < left:
                self.offset += count
                break
            count -= left
            self.chunks[self.first] = b""  # sent: its memory goes now, its place in the list later
            self.first += 1
            self.offset = 0
        if self.first >= CHUNKS_AT_ONCE:
            try:
                del self.chunks[: self.first]
            except MemoryError:
                return 0  # to shorten a list takes memory too: next time
            self.first = 0
        return 0


@cython.cfunc
def immutable(data: object, start: cython.Py_ssize_t) -> bytes:
    """The data from byte ``start`` on, as bytes that nobody can change: a copy unless it is that already."""
    if type(data) is bytes:
        return (
            data
            if start == 0
            else PyBytes_FromStringAndSize(PyBytes_AS_STRING(data) + start, PyBytes_GET_SIZE(data) - start)
        )
    view = memoryview(data)
    return bytes(view.cast("B")[start:] if view.contiguous else view.tobytes()[start:])


@cython.cfunc
def joined(first: bytes, second: bytes) -> bytes:
    size: cython.Py_ssize_t = PyBytes_GET_SIZE(first)
    both: bytes = PyBytes_FromStringAndSize(cython.NULL, size + PyBytes_GET_SIZE(second))
    memcpy(PyBytes_AS_STRING(both), PyBytes_AS_STRING(first), size)
    memcpy(PyBytes_AS_STRING(both) + size, PyBytes_AS_STRING(second), PyBytes_GET_SIZE(second))
    return both


@cython.cfunc
@cython.exceptval(-1, check=False)
def byte_size(data: object) -> cython.Py_ssize_t:
    if type(data) is bytes:
        return PyBytes_GET_SIZE(data)
    return memoryview(data).nbytes
