"""ReadPipeTransport and WritePipeTransport: one end of a pipe, FIFO, socket or character device.

What asyncio's own pipe transports do, event by event, with the writes kept by reference.
"""

import errno as errno_module
import os
import stat
import warnings
from asyncio import constants, futures, unix_events
from asyncio.log import logger

import cython
from cython.cimports.cpython.buffer import PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.cpython.bytes import PyBytes_FromStringAndSize
from cython.cimports.glassloop._core.source import READABLE, WRITABLE
from cython.cimports.glassloop._sys.files import read_data, write_data
from cython.cimports.libc.errno import EAGAIN, EINTR, errno
from cython.cimports.libc.stdlib import malloc

from glassloop._io.loop_source import LoopSource
from glassloop._io.write_queue import WriteQueue

# In C: when Python ends, the names of a module may be gone before the last transport is.
_warn = cython.declare(object, warnings.warn)

READ_SIZE = cython.declare(cython.Py_ssize_t, 256 * 1024)
_read_buffer = cython.declare(cython.p_char, cython.NULL)


@cython.cclass
class PipeTransport(LoopSource):
    """What both directions share."""

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def open_pipe(
        self, loop: object, pipe: object, protocol: object, extra: object, complaint: str
    ) -> cython.int:
        mode = os.fstat(pipe.fileno()).st_mode
        if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or stat.S_ISCHR(mode)):
            raise ValueError(complaint)
        self._extra = {} if extra is None else extra
        self._extra["pipe"] = pipe
        self.set_context(None)
        self.loop = loop
        self.pipe = pipe
        self.fd = pipe.fileno()
        self.protocol = protocol
        os.set_blocking(self.fd, False)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def begin(self, loop: object, waiter: object, watches: cython.bint) -> cython.int:
        loop.call_soon(self.protocol.connection_made, self)
        # Nothing is read before connection_made() has been called.
        if watches:
            loop.call_soon(self._start_reading)
        if waiter is not None:
            loop.call_soon(futures._set_result_unless_cancelled, waiter, None)
        return 0

    def __repr__(self) -> str:
        info: list = [type(self).__name__]
        if self.pipe is None:
            info.append("closed")
        elif self._closing:
            info.append("closing")
        info.append(f"fd={self._fileno}")
        if self.pipe is None:
            info.append("closed")
        elif self.loop._selector is None:
            info.append("open")
        else:
            info += self._activity()
        return f"<{' '.join(info)}>"

    def _activity(self) -> list[str]:
        return ["polling" if self.watched & READABLE else "idle"]

    @property
    def _fileno(self) -> int:
        return self.fd if self.fd >= 0 else self.fd_was

    @property
    def _pipe(self) -> object:
        return self.pipe

    @_pipe.setter
    def _pipe(self, pipe: object) -> None:
        # asyncio's way to give a transport up whose loop is closed: whoever took the pipe closes it.
        if pipe is not None:
            raise AttributeError("a transport's pipe cannot be replaced; None gives it up")
        self.set_watched(0)
        self.pipe = None

    @property
    def _loop(self) -> object:
        return self.loop

    @property
    def _protocol(self) -> object:
        return self.protocol

    def get_extra_info(self, name: str, default: object = None) -> object:
        """What is known of the pipe: ``pipe``, the file object."""
        return self._extra.get(name, default)

    def set_protocol(self, protocol: object) -> None:
        """Make this the protocol that hears of the pipe from now on."""
        self.protocol = protocol

    def get_protocol(self) -> object:
        """The protocol that hears of the pipe."""
        return self.protocol

    def is_closing(self) -> bool:
        """Whether the transport is closing or closed."""
        return self._closing

    def _start_reading(self) -> None:
        if not self.reading_paused and not self._closing and self.pipe is not None:
            try:
                self.set_watched(self.watched | READABLE)
            except Exception as exc:
                self._close(exc)
                raise

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def fail(self, exc: object, message: str, quiet: cython.bint) -> cython.int:
        """End the pipe for an error, which is reported unless it is of the quiet kind."""
        try:
            if quiet:
                if self.loop._debug:
                    logger.debug("%r: %s", self, message, exc_info=exc)
            else:
                self.loop.call_exception_handler(
                    {"message": message, "exception": exc, "transport": self, "protocol": self.protocol}
                )
        finally:
            self._close(exc)
        return 0

    def _close(self, exc: object = None) -> None:
        self._closing = True
        self.set_watched(0)
        self.end_soon(exc)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def end_soon(self, exc: object) -> cython.int:
        try:
            self.loop.call_soon(self._call_connection_lost, exc)
        except MemoryError:
            # Sooner than the protocol expects; but a pipe that never ends would be worse.
            self._call_connection_lost(exc)
        return 0

    def _call_connection_lost(self, exc: object) -> None:
        if self.pipe is None:
            return
        try:
            self.protocol.connection_lost(exc)
        finally:
            self.set_watched(0)
            self.fd_was = self.fd
            self.fd = -1
            self.pipe.close()
            self.pipe = None
            self.protocol = None
            self.loop = None

    def __del__(self) -> None:
        if self.pipe is not None:
            try:
                _warn(f"unclosed transport {self!r}", ResourceWarning, source=self)
            finally:  # the warning may be an error
                self.watched = 0  # whoever watched it held a reference: nobody does
                self.pipe.close()


@cython.final
@cython.cclass
class ReadPipeTransport(PipeTransport):
    """What ``connect_read_pipe`` gives."""

    max_size = 256 * 1024

    def __init__(
        self, loop: object, pipe: object, protocol: object, waiter: object = None, extra: object = None
    ) -> None:
        self.open_pipe(loop, pipe, protocol, extra, "Pipe transport is for pipes/sockets only.")
        self.begin(loop, waiter, True)

    @property
    def __class__(self) -> type:
        return unix_events._UnixReadPipeTransport

    def is_reading(self) -> bool:
        """Whether the transport receives."""
        return not self.reading_paused and not self._closing

    def pause_reading(self) -> None:
        """Receive nothing until ``resume_reading()``."""
        if not self.is_reading():
            return
        self.reading_paused = True
        self.set_watched(0)
        if self.loop.get_debug():
            logger.debug("%r pauses reading", self)

    def resume_reading(self) -> None:
        """Receive again."""
        if self._closing or not self.reading_paused:
            return
        self.reading_paused = False
        self.set_context(None)  # as asyncio's: who resumes reading sets the context
        self.set_watched(READABLE)
        if self.loop.get_debug():
            logger.debug("%r resumes reading", self)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def on_readable(self) -> cython.int:
        global _read_buffer
        count: cython.Py_ssize_t
        number: cython.int
        if _read_buffer is cython.NULL:
            _read_buffer = cython.cast(cython.p_char, malloc(READ_SIZE))
            if _read_buffer is cython.NULL:
                raise MemoryError("no memory for the read buffer")
        count = read_data(self.fd, _read_buffer, READ_SIZE)
        if count > 0:
            try:
                data = PyBytes_FromStringAndSize(_read_buffer, count)
            except MemoryError as exc:
                # What was read is lost: the stream must not go on with a hole in it.
                return self.fail(exc, "Fatal read error on pipe transport", False)
            self.protocol.data_received(data)
        elif count == 0:
            if self.loop._debug:
                logger.info("%r was closed by peer", self)
            self._closing = True
            self.set_watched(0)
            try:
                self.loop.call_soon(self.protocol.eof_received)
            finally:
                self.end_soon(None)
        else:
            number = errno
            if number != EAGAIN and number != EINTR:
                error = OSError(number, os.strerror(number))
                # EIO: the other side of a pseudo-terminal is gone.
                self.fail(error, "Fatal read error on pipe transport", number == errno_module.EIO)
        return 0

    def close(self) -> None:
        """Close the pipe. ``connection_lost(None)`` follows."""
        if not self._closing:
            self._close(None)


@cython.final
@cython.cclass
class WritePipeTransport(PipeTransport):
    """What ``connect_write_pipe`` gives."""

    def __init__(
        self, loop: object, pipe: object, protocol: object, waiter: object = None, extra: object = None
    ) -> None:
        self.open_pipe(
            loop, pipe, protocol, extra, "Pipe transport is only for pipes, sockets and character devices"
        )
        self.high, self.low = 64 * 1024, 16 * 1024
        # A pipe or socket whose other end is closed becomes readable; a character device says nothing of it.
        self.begin(loop, waiter, not stat.S_ISCHR(os.fstat(self.fd).st_mode))

    @property
    def __class__(self) -> type:
        return unix_events._UnixWritePipeTransport

    def _activity(self) -> list[str]:
        return ["polling" if self.watched & WRITABLE else "idle", f"bufsize={self.pending()}"]

    # asyncio's has these, from asyncio.Transport.

    def is_reading(self) -> bool:
        """Not for this end of a pipe."""
        raise NotImplementedError

    def pause_reading(self) -> None:
        """Not for this end of a pipe."""
        raise NotImplementedError

    def resume_reading(self) -> None:
        """Not for this end of a pipe."""
        raise NotImplementedError

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def pending(self) -> cython.Py_ssize_t:
        return 0 if self.queue is None else self.queue.size

    def get_write_buffer_size(self) -> int:
        """Bytes that were written and not handed to the kernel yet."""
        return self.pending()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """The (low, high) water marks in bytes."""
        return self.low, self.high

    def set_write_buffer_limits(self, high: object = None, low: object = None) -> None:
        """Pause the protocol's writing above ``high`` bytes, resume it below ``low``."""
        if high is None:
            high = 64 * 1024 if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self.high, self.low = high, low
        self.pause_protocol_if_full()

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def pause_protocol_if_full(self) -> cython.int:
        if not self._protocol_paused and self.pending() > self.high:
            self._protocol_paused = True
            self.notify("pause_writing")
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def notify(self, method: str) -> cython.int:
        try:
            getattr(self.protocol, method)()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self.loop.call_exception_handler(
                {
                    "message": f"protocol.{method}() failed",
                    "exception": exc,
                    "transport": self,
                    "protocol": self.protocol,
                }
            )
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def on_readable(self) -> cython.int:
        # The other end was closed.
        if self.loop._debug:
            logger.info("%r was closed by peer", self)
        broken = BrokenPipeError() if self.pending() else None
        self.queue = None
        self._close(broken)
        return 0

    def write(self, data: object) -> None:
        """Write bytes-like data; what the kernel does not take now is queued."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if not data:
            return
        if self._conn_lost or self._closing:
            if self._conn_lost >= constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES:
                logger.warning("pipe closed by peer or os.write(pipe, data) raised exception.")
            self._conn_lost += 1
            return
        if self.queue is not None:
            self.queue.add(data, 0)
        else:
            view: Py_buffer
            queue: WriteQueue
            # The system call itself: os.write() may fail, without memory, after it has written.
            PyObject_GetBuffer(data, cython.address(view), PyBUF_SIMPLE)
            size: cython.Py_ssize_t = view.len
            count: cython.Py_ssize_t = write_data(self.fd, view.buf, view.len)
            number: cython.int = errno
            PyBuffer_Release(cython.address(view))
            if count < 0 and (number == EAGAIN or number == EINTR):
                count = 0
            if count < 0:
                self._conn_lost += 1
                self.fail(OSError(number, os.strerror(number)), "Fatal write error on pipe transport", True)
                return
            if count == size:
                return
            try:
                queue = WriteQueue()
                queue.add(data, count)
            except MemoryError as exc:
                if count == 0:
                    raise  # nothing has happened
                self._conn_lost += 1
                self.fail(exc, "Fatal write error on pipe transport", False)
                return
            self.queue = queue
            self.set_watched(self.watched | WRITABLE)
        self.pause_protocol_if_full()

    def writelines(self, list_of_data: object) -> None:
        """Write several pieces of bytes-like data."""
        self.write(b"".join(list_of_data))

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def on_writable(self) -> cython.int:
        try:
            self.queue.send(self.fd, False)
        except OSError as exc:
            self.queue = None
            self._conn_lost += 1
            self.fail(exc, "Fatal write error on pipe transport", True)
            return 0
        if self.queue.size == 0:
            self.queue = None
            self.set_watched(self.watched & ~WRITABLE)
            if self._protocol_paused:
                self._protocol_paused = False
                self.notify("resume_writing")  # it may write again
            if self._closing and self.queue is None:
                self.set_watched(0)
                self._call_connection_lost(None)
        return 0

    def can_write_eof(self) -> bool:
        """True: closing is the end of file."""
        return True

    def write_eof(self) -> None:
        """Close the pipe once what is queued is written."""
        if self._closing:
            return
        self._closing = True
        if self.queue is None:
            self.set_watched(0)
            self.end_soon(None)

    def close(self) -> None:
        """Write what is queued, then close the pipe. ``connection_lost(None)`` follows."""
        if self.pipe is not None and not self._closing:
            self.write_eof()

    def abort(self) -> None:
        """Close the pipe at once; what is queued is lost."""
        if self.pipe is not None:
            self._close(None)

    def _close(self, exc: object = None) -> None:
        self.queue = None
        PipeTransport._close(self, exc)
