"""TLSInput: what a TLS connection reads, on top of what it writes. The rest is ``TLSConnection``'s.

What one readiness brought is decrypted into memory that is borrowed meanwhile, and becomes one ``bytes`` and
one ``data_received()``. While the protocol pauses reading, ciphertext is kept as it came.
"""

from asyncio.log import logger

import cython
from cython.cimports.cpython.buffer import PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cython.cimports.cpython.ref import Py_DECREF, PyObject
from cython.cimports.glassloop._io.tls_engine import (
    AGAIN,
    ENDED_BY_PEER,
    RECORD_SIZE,
    Scratch,
    scratch_give_back,
    scratch_take,
)
from cython.cimports.glassloop._io.tls_states import ENDED, FLUSHING, HANDSHAKE, OPEN, SHUTDOWN, may_tell
from cython.cimports.glassloop._io.write_queue import immutable
from cython.cimports.libc.string import memcpy

from glassloop._io.tls_output import TLSOutput
from glassloop._io.write_queue import WriteQueue

# Of reading, besides the engine's AGAIN and ENDED_BY_PEER: the exception is in `failure`.
FAILED = cython.declare(cython.int, -3)

# As asyncio says it.
METHOD_FAILED = cython.declare(str, "Fatal error: protocol.buffer_updated() call failed.")


@cython.cclass
class TLSInput(TLSOutput):
    def data_received(self, data: object) -> None:
        """From a transport that is not ours."""
        size: cython.Py_ssize_t = 0
        start: cython.Py_ssize_t = 0
        memory: cython.p_char = cython.NULL
        chunk: bytes = immutable(data, 0)
        while start < PyBytes_GET_SIZE(chunk):
            self.lend(cython.address(memory), cython.address(size))
            size = min(size, PyBytes_GET_SIZE(chunk) - start)
            memcpy(memory, PyBytes_AS_STRING(chunk) + start, size)
            start += size
            self.take(size)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def lend(
        self, memory: cython.pointer(cython.p_char), size: cython.pointer(cython.Py_ssize_t)
    ) -> cython.int:
        scratch_take(cython.address(self.lent))
        memory[0] = self.lent.ciphertext
        size[0] = cython.sizeof(self.lent.ciphertext)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def take(self, count: cython.Py_ssize_t) -> cython.int:
        scratch: cython.pointer(Scratch) = self.lent
        plaintext: bytes = None
        outcome: cython.int = AGAIN
        self.lent = cython.NULL
        try:
            if count == 0:
                return 0
            if self.state != OPEN or self.buffered or self.unread is not None or not self.reads():
                return self.received(scratch, count)
            plaintext = self.decrypt(scratch, count, cython.address(outcome))
        finally:
            scratch_give_back(scratch)
        self.deliver(plaintext, outcome)
        if self.more_inside or self.unread is not None:
            self.read_unread()
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def hand_over(self) -> cython.int:
        return 0 if self.held is None else self.send_held()

    @cython.cfunc
    @cython.exceptval(check=False)
    def reads(self) -> cython.bint:
        return not self.reading_paused and not self.reading_held

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def received(self, scratch: cython.pointer(Scratch), count: cython.Py_ssize_t) -> cython.int:
        """Ciphertext in any other state than that of a plain protocol that reads."""
        position: cython.Py_ssize_t = 0
        fed: cython.Py_ssize_t
        piece: cython.Py_ssize_t
        complete: cython.bint = False
        outcome: cython.int = AGAIN
        while self.state == HANDSHAKE and position < count:
            fed = 0
            while position < count and fed < RECORD_SIZE:
                piece = self.engine.next_piece(
                    scratch.ciphertext + position, count - position, cython.address(complete)
                )
                self.engine.feed(scratch.ciphertext + position, piece)
                position += piece
                fed += piece
            self.shake_hands()
        if self.state == OPEN:
            if position == 0 and self.buffered and self.unread is None and self.reads():
                self.read_into_protocol(scratch, count)
                return self.read_unread()  # where another protocol is to have the rest
            if position < count:
                self.keep_unread(scratch.ciphertext + position, count - position)
            return self.read_unread()
        if self.state == FLUSHING or self.state == SHUTDOWN:
            self.decrypt(scratch, count, cython.address(outcome))  # for nobody
            if outcome == FAILED:
                failure, self.failure = self.failure, None
                if not isinstance(failure, Exception):
                    raise failure
                return self.shutdown_done(failure)
            return self.flush() if self.state == FLUSHING else self.exchange_goodbyes()
        return 0

    @cython.cfunc
    def decrypt(
        self, scratch: cython.pointer(Scratch), count: cython.Py_ssize_t, outcome: cython.pointer(cython.int)
    ) -> bytes:
        """What came, or None; with AGAIN, ENDED_BY_PEER, or FAILED: then what came before the failure."""
        position: cython.Py_ssize_t = 0
        filled: cython.Py_ssize_t = 0
        got: cython.Py_ssize_t = AGAIN
        piece: cython.Py_ssize_t
        complete: cython.bint = self.more_inside
        unsure: cython.bint = self.more_inside or self.engine.unframed
        self.more_inside = False
        outcome[0] = AGAIN
        try:
            while True:
                while not complete and position < count:
                    piece = self.engine.next_piece(
                        scratch.ciphertext + position, count - position, cython.address(complete)
                    )
                    self.engine.feed(scratch.ciphertext + position, piece)
                    position += piece
                    unsure = unsure or self.engine.unframed
                if not complete:
                    break
                if cython.cast(cython.Py_ssize_t, cython.sizeof(scratch.plaintext)) - filled < RECORD_SIZE:
                    self.more_inside = True  # the next time, with what is left
                    break
                got = self.engine.read(
                    scratch.plaintext + filled,
                    cython.cast(cython.Py_ssize_t, cython.sizeof(scratch.plaintext)) - filled,
                )
                if got == ENDED_BY_PEER:
                    outcome[0] = ENDED_BY_PEER
                    break
                if got > 0:
                    filled += got
                # A record was fed and read. Where that is not sure there may be more.
                complete = got > 0 and unsure and self.engine.has_data()
                unsure = complete or self.engine.unframed
            if position < count and outcome[0] == AGAIN:
                self.keep_unread(scratch.ciphertext + position, count - position)
        except BaseException as exc:
            self.failure = exc
            outcome[0] = FAILED
        return PyBytes_FromStringAndSize(scratch.plaintext, filled) if filled else None

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def deliver(self, plaintext: object, outcome: cython.int) -> cython.int:
        """Give the protocol what was decrypted, send what it wrote, and see to the peer's end."""
        result: cython.pointer(PyObject) = cython.NULL
        error: cython.pointer(PyObject) = cython.NULL
        delivering: cython.bint = self.delivering
        called: cython.int = 0
        if plaintext is not None and (self.state == OPEN or self.state == FLUSHING) and not self.discarding:
            self.delivering = True
            try:
                called = self.call_protocol(
                    "data_received", plaintext, cython.address(result), cython.address(error)
                )
            except BaseException:
                self.delivering = delivering
                self.send_held()
                raise
            self.delivering = delivering
            if called < 0:
                return self.protocol_failed(cython.address(error))
            Py_DECREF(cython.cast(object, result))
        self.send_held()
        if outcome == AGAIN:
            return 0
        if outcome == FAILED:
            failure, self.failure = self.failure, None
            if not isinstance(failure, Exception):
                # KeyboardInterrupt, say, that a signal's handler raised between decrypting and our having it:
                # the stream must not go on with a hole in it.
                self.fatal_error(ConnectionAbortedError("interrupted"), "Fatal error on SSL protocol")
                raise failure
            return self.fatal_error(failure, "Fatal error on SSL protocol")
        self.unread = None
        self.tell_eof()
        return self.end()

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def protocol_failed(self, error: cython.pointer(cython.pointer(PyObject))) -> cython.int:
        """A method of the protocol's raised."""
        exc = cython.cast(object, error[0])
        Py_DECREF(exc)  # the local variable holds its own reference now
        self.send_held()
        if isinstance(exc, Exception):
            return self.fatal_error(exc, "Fatal error on SSL protocol")
        return self.fatal_error(exc, METHOD_FAILED)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def read_into_protocol(self, scratch: cython.pointer(Scratch), count: cython.Py_ssize_t) -> cython.int:
        """BufferedProtocol: decrypt into the buffers that it gives, one after the other."""
        given: cython.pointer(PyObject) = cython.NULL
        error: cython.pointer(PyObject) = cython.NULL
        position: cython.Py_ssize_t = 0
        piece: cython.Py_ssize_t
        filled: cython.Py_ssize_t
        got: cython.Py_ssize_t = AGAIN
        complete: cython.bint = self.more_inside
        view: Py_buffer
        called: cython.int
        delivering: cython.bint
        self.more_inside = False
        while True:
            # To the next record that is whole.
            while not complete and position < count:
                piece = self.engine.next_piece(
                    scratch.ciphertext + position, count - position, cython.address(complete)
                )
                self.engine.feed(scratch.ciphertext + position, piece)
                position += piece
            if not complete:
                break
            called = self.call_protocol(
                "get_buffer", self.unread_size(), cython.address(given), cython.address(error)
            )
            if called < 0:
                return self.protocol_failed(cython.address(error))
            target = cython.cast(object, given)
            Py_DECREF(target)
            if self.state != OPEN and self.state != FLUSHING:
                return 0
            try:
                PyObject_GetBuffer(target, cython.address(view), PyBUF_SIMPLE | PyBUF_WRITABLE)
            except Exception as exc:
                return self.fatal_error(exc, "Fatal error on SSL protocol")
            filled = 0
            try:
                if view.len == 0:
                    raise RuntimeError("get_buffer() returned an empty buffer")
                while filled < view.len:
                    got = self.engine.read(cython.cast(cython.p_char, view.buf) + filled, view.len - filled)
                    if got <= 0:
                        break
                    filled += got
                    # Of the record, or of one that follows it.
                    complete = self.engine.has_data()
                    while not complete and position < count:
                        piece = self.engine.next_piece(
                            scratch.ciphertext + position, count - position, cython.address(complete)
                        )
                        self.engine.feed(scratch.ciphertext + position, piece)
                        position += piece
                    if not complete:
                        break
            except BaseException as exc:
                self.failure = exc
            finally:
                PyBuffer_Release(cython.address(view))
            complete = complete and got > 0
            if filled:
                delivering = self.delivering
                self.delivering = True
                try:
                    called = self.call_protocol(
                        "buffer_updated", filled, cython.address(given), cython.address(error)
                    )
                finally:
                    self.delivering = delivering
                if called < 0:
                    self.failure = None
                    return self.protocol_failed(cython.address(error))
                Py_DECREF(cython.cast(object, given))
            if self.failure is not None:
                return self.deliver(None, FAILED)
            if got == ENDED_BY_PEER:
                return self.deliver(None, ENDED_BY_PEER)
            if not self.reads() or not self.buffered or (self.state != OPEN and self.state != FLUSHING):
                break
        self.more_inside = complete
        if position < count:
            self.keep_unread(scratch.ciphertext + position, count - position)
        return self.deliver(None, AGAIN)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def keep_unread(self, data: cython.p_char, count: cython.Py_ssize_t) -> cython.int:
        queue: WriteQueue = WriteQueue() if self.unread is None else self.unread
        queue.add(PyBytes_FromStringAndSize(data, count), 0)
        self.unread = queue
        return self.control_reading_beneath()

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def read_unread(self) -> cython.int:
        """Read what was kept, as far as the protocol reads."""
        scratch: cython.pointer(Scratch) = cython.NULL
        count: cython.Py_ssize_t
        outcome: cython.int
        plaintext: bytes
        rest: WriteQueue
        while (
            (self.unread is not None or self.more_inside)
            and (self.state == OPEN or self.state == FLUSHING)
            and (self.discarding or self.reads())
            and not self.engine.busy
        ):
            scratch_take(cython.address(scratch))
            try:
                count = 0
                if self.unread is not None:
                    count = take_from(self.unread, scratch.ciphertext, cython.sizeof(scratch.ciphertext))
                    if self.unread.size == 0:
                        self.unread = None
                if self.buffered and not self.discarding:
                    self.read_into_protocol(scratch, count)
                    continue
                outcome = AGAIN
                rest = self.unread
                self.unread = None  # what decrypt() does not come to goes before it
                plaintext = self.decrypt(scratch, count, cython.address(outcome))
                if rest is not None and outcome == AGAIN:
                    if self.unread is None:
                        self.unread = rest
                    else:
                        append(self.unread, rest)
            finally:
                scratch_give_back(scratch)
            self.deliver(plaintext, outcome)
        return self.control_reading_beneath()

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def control_reading_beneath(self) -> cython.int:
        """Stop the transport beneath while too much waits to be read."""
        size: cython.Py_ssize_t = 0 if self.unread is None else self.unread.size
        if self.beneath is None:
            return 0
        if size >= self.read_high and size > 0 and not self.beneath_paused:
            self.beneath_paused = True
            self.beneath.pause_reading()
        elif size <= self.read_low and self.beneath_paused:
            self.beneath_paused = False
            self.beneath.resume_reading()
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def unread_size(self) -> cython.Py_ssize_t:
        """Bytes of ciphertext that were received and are not decrypted."""
        return self.engine.undecrypted() + (0 if self.unread is None else self.unread.size)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def tell_eof(self) -> cython.int:
        result: cython.pointer(PyObject) = cython.NULL
        error: cython.pointer(PyObject) = cython.NULL
        if self.protocol is None or not self.tell(ENDED):
            return 0
        if self.call_protocol("eof_received", None, cython.address(result), cython.address(error)) < 0:
            exc = cython.cast(object, error)
            Py_DECREF(exc)
            return self.fatal_error(exc, "Error calling eof_received()")
        keep_open = cython.cast(object, result)
        Py_DECREF(keep_open)
        if keep_open:
            logger.warning("returning true from eof_received() has no effect when using ssl")
        return 0

    def _begin_reading(self) -> None:
        self.reading_held = False
        self._go_on()

    def _go_on(self) -> None:
        """Reading goes on, or what had to wait for it."""
        if self.state == OPEN:
            self.read_unread()
        elif self.state == FLUSHING:
            self.flush()

    @cython.cfunc
    @cython.exceptval(check=False)
    def tell(self, what: cython.int) -> cython.bint:
        """Whether the protocol may be told this now; then it counts as told."""
        if not may_tell(self.told, what):
            return False
        self.told = what
        return True

    # -- what the connection does -----------------------------------------------------------------

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def shake_hands(self) -> cython.int:
        """Go on with the handshake: the peer has said more."""
        raise NotImplementedError

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def exchange_goodbyes(self) -> cython.int:
        """Go on with the shutdown: the peer has said more."""
        raise NotImplementedError

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def shutdown_done(self, exc: object) -> cython.int:
        """The end is there, or came to grief."""
        raise NotImplementedError

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def end(self) -> cython.int:
        """The peer has said goodbye."""
        raise NotImplementedError


@cython.cfunc
@cython.exceptval(-1, check=False)
def take_from(queue: WriteQueue, memory: cython.p_char, room: cython.Py_ssize_t) -> cython.Py_ssize_t:
    """Move the first bytes of a queue into memory."""
    chunk: bytes
    part: cython.Py_ssize_t
    count: cython.Py_ssize_t = 0
    while queue.size and count < room:
        chunk = queue.chunks[queue.first]
        part = min(PyBytes_GET_SIZE(chunk) - queue.offset, room - count)
        memcpy(memory + count, PyBytes_AS_STRING(chunk) + queue.offset, part)
        count += part
        queue.sent(part)
    return count


@cython.cfunc
@cython.exceptval(-1, check=False)
def append(queue: WriteQueue, rest: WriteQueue) -> cython.int:
    """Move all of `rest` behind the queue."""
    chunk: bytes
    while rest.size:
        chunk = rest.chunks[rest.first]
        queue.add(chunk if rest.offset == 0 else chunk[rest.offset :], 0)
        rest.sent(PyBytes_GET_SIZE(chunk) - rest.offset)
    return 0
