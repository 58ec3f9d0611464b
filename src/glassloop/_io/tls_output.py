"""TLSOutput: what a TLS connection writes. The half of ``TLSConnection`` that knows nothing of reading.

Each write is encrypted at once and handed on. What the protocol's own method writes in small pieces becomes
one record when the method returns. While the transport beneath is full, what is written waits as it is, by
reference: encrypting it would only double it.
"""

from asyncio import constants
from asyncio.log import logger

import cython
from cython.cimports.cpython.buffer import PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.cpython.ref import Py_DECREF, PyObject
from cython.cimports.glassloop._io.corks import Cork
from cython.cimports.glassloop._io.stream_transport import StreamTransport
from cython.cimports.glassloop._io.tls_engine import RECORD_SIZE
from cython.cimports.glassloop._io.tls_states import FLUSHING, OPEN
from cython.cimports.glassloop._io.write_queue import immutable
from cython.cimports.glassloop._sys.calls import call_method, take_exception

from glassloop._io.byte_sink import ByteSink
from glassloop._io.stream_transport import StreamTransport
from glassloop._io.write_queue import WriteQueue

# What a protocol's method writes in pieces is one record up to so many bytes: joining costs less than
# encrypting.
JOIN_SIZE = cython.declare(cython.Py_ssize_t, 4 * 1024)
# So much is encrypted in one go; then the loop's other work has its turn.
SEND_BUDGET = cython.declare(cython.Py_ssize_t, 1024 * 1024)


@cython.cclass
class TLSOutput(ByteSink):
    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def write_data(self, data: object) -> cython.int:
        size: cython.Py_ssize_t
        if self.state >= FLUSHING:
            if self.lost_writes >= constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES:
                logger.warning("SSL connection is closed")
            self.lost_writes += 1
            return 0
        if self.state != OPEN or self.unsent is not None or self.beneath_full or self.engine.busy:
            self.keep_unsent(data, 0)
            return self.control_writing()
        try:
            if self.delivering and self.stream is not None:
                size = PyBytes_GET_SIZE(data) if type(data) is bytes else memoryview(data).nbytes
                if size <= JOIN_SIZE:
                    if self.held is None:
                        self.held = immutable(data, 0)
                        return 0
                    if PyBytes_GET_SIZE(self.held) + size <= JOIN_SIZE:
                        self.held = self.held + immutable(data, 0)
                        return 0
                if self.held is not None:
                    before, self.held = self.held, None
                    self.encrypt(before, 0)
            self.encrypt(data, 0)
            self.send_outgoing()  # what is encrypted is accepted: a failure ends the connection
        except Exception as exc:
            return self.fatal_error(exc, "Fatal error on SSL protocol")
        return self.control_writing()

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def encrypt(self, data: object, start: cython.Py_ssize_t) -> cython.int:
        """Make records of this and hand them on; what the transport beneath has no room for waits."""
        position: cython.Py_ssize_t = start
        got: cython.Py_ssize_t
        size: cython.Py_ssize_t
        view: Py_buffer
        cork: Cork
        stream: StreamTransport = None
        if self.unsent is not None:
            return self.keep_unsent(data, start)
        if type(data) is bytes and start == 0 and PyBytes_GET_SIZE(data) <= RECORD_SIZE:
            got = self.engine.write(data)
            if got > 0:
                self.outgoing_made = True
                position = got
            return 0 if position == PyBytes_GET_SIZE(data) else self.keep_unsent(data, position)
        if type(data) is not bytes and not memoryview(data).contiguous:
            data = immutable(data, 0)
        if self.stream is not None and not self.stream.corked:
            stream = self.stream
            stream.cork(cython.address(cork))
        try:
            PyObject_GetBuffer(data, cython.address(view), PyBUF_SIMPLE)
            size = view.len
            try:
                while position < size and not self.beneath_full and position - start < SEND_BUDGET:
                    got = self.engine.write_memory(
                        cython.cast(cython.p_char, view.buf) + position, min(size - position, RECORD_SIZE)
                    )
                    if got <= 0:
                        break
                    position += got
                    self.outgoing_made = True
                    self.send_outgoing()
            finally:
                PyBuffer_Release(cython.address(view))
            if position < size and self.state == OPEN:
                self.keep_unsent(data, position)
                if not self.beneath_full:
                    self.loop.call_soon(self._send_more)
        finally:
            if stream is not None:
                stream.uncork(cython.address(cork))
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def keep_unsent(self, data: object, start: cython.Py_ssize_t) -> cython.int:
        """On MemoryError what waits is as it was."""
        queue: WriteQueue = WriteQueue() if self.unsent is None else self.unsent
        queue.add(data, start)
        if queue.size:
            self.unsent = queue
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def send_unsent(self) -> cython.int:
        """Encrypt and hand on what waits, as far as there is room."""
        chunk: bytes
        got: cython.Py_ssize_t
        total: cython.Py_ssize_t = 0
        cork: Cork
        stream: StreamTransport = None
        if self.unsent is None or self.engine.busy or not (self.state == OPEN or self.state == FLUSHING):
            return 0
        if self.stream is not None and not self.stream.corked:
            stream = self.stream
            stream.cork(cython.address(cork))
        try:
            while self.unsent is not None and not self.beneath_full:
                if total >= SEND_BUDGET:
                    self.loop.call_soon(self._send_more)
                    break
                chunk = self.unsent.chunks[self.unsent.first]
                got = self.engine.write_memory(
                    PyBytes_AS_STRING(chunk) + self.unsent.offset,
                    min(PyBytes_GET_SIZE(chunk) - self.unsent.offset, RECORD_SIZE),
                )
                if got <= 0:
                    break
                total += got
                self.outgoing_made = True
                if self.unsent is None:
                    break  # the connection was lost meanwhile
                self.unsent.sent(got)
                if self.unsent.size == 0:
                    self.unsent = None
                self.send_outgoing()
        except Exception as exc:
            self.fatal_error(exc, "Fatal error on SSL protocol")
        finally:
            if stream is not None:
                stream.uncork(cython.address(cork))
        return self.control_writing()

    def _send_more(self) -> None:
        if not self.beneath_full:
            self.send_unsent()
            self.control_writing()
            self.flush()

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def send_held(self) -> cython.int:
        """Hand on what the protocol's method wrote, and what else there is for the peer."""
        if self.held is not None and not self.engine.busy:
            data, self.held = self.held, None
            if self.state == OPEN:
                try:
                    self.encrypt(data, 0)
                except Exception as exc:
                    return self.fatal_error(exc, "Fatal error on SSL protocol")
        self.send_outgoing()
        if self.unsent is not None or self.writing_paused:
            if self.unsent is not None and not self.beneath_full:
                return self.send_unsent()  # what waited for something from the peer
            return self.control_writing()
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def send_outgoing(self) -> cython.int:
        if not self.outgoing_made and self.engine.outgoing.pending == 0:
            return 0
        self.outgoing_made = False
        data: bytes = self.engine.take_outgoing()
        if self.beneath is None or PyBytes_GET_SIZE(data) == 0:
            return 0
        if self.stream is not None:
            return self.stream.write_chunk(data)
        self.beneath.write(data)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def pending(self) -> cython.Py_ssize_t:
        return 0 if self.unsent is None else self.unsent.size

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def control_writing(self) -> cython.int:
        """Tell the protocol to pause writing, or to resume it."""
        size: cython.Py_ssize_t = self.pending()
        if self.protocol is None:
            return 0
        if size > 0 and size >= self.write_high and not self.writing_paused:
            self.writing_paused = True
            return self.notify("pause_writing")
        if size <= self.write_low and self.writing_paused:
            self.writing_paused = False
            return self.notify("resume_writing")
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def notify(self, method: str) -> cython.int:
        result: cython.pointer(PyObject) = cython.NULL
        error: cython.pointer(PyObject) = cython.NULL
        if self.call_protocol(method, None, cython.address(result), cython.address(error)) < 0:
            exc = cython.cast(object, error)
            Py_DECREF(exc)
            self.loop.call_exception_handler(
                {
                    "message": f"protocol.{method}() failed",
                    "exception": exc,
                    "transport": self,
                    "protocol": self.protocol,
                }
            )
            return 0
        Py_DECREF(cython.cast(object, result))
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def call_protocol(
        self,
        name: object,
        argument: object,
        result: cython.pointer(cython.pointer(PyObject)),
        error: cython.pointer(cython.pointer(PyObject)),
    ) -> cython.int:
        """Call a method of the application's protocol.

        0 with a new reference in ``result``, or -2 with one in ``error``. SystemExit and KeyboardInterrupt go
        to the caller.
        """
        # A reference of the call's own: the protocol may replace itself, or drop the transport.
        protocol = self.protocol
        result[0] = call_method(
            cython.cast(cython.pointer(PyObject), protocol),
            cython.cast(cython.pointer(PyObject), name),
            cython.NULL if argument is None else cython.cast(cython.pointer(PyObject), argument),
        )
        if result[0] is not cython.NULL:
            return 0
        error[0] = take_exception()
        if isinstance(cython.cast(object, error[0]), (SystemExit, KeyboardInterrupt)):
            raising = cython.cast(object, error[0])
            Py_DECREF(raising)
            raise raising
        return -2

    # -- what the connection does -----------------------------------------------------------------

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def fatal_error(self, exc: object, message: str) -> cython.int:
        """End the connection because of this."""
        raise NotImplementedError

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def flush(self) -> cython.int:
        """Go on with the end of the connection, where there is less to send now."""
        raise NotImplementedError
