"""TLSEngine: bytes in, bytes out. It encrypts and decrypts, and knows neither loop nor socket.

It is a pair of ``ssl.MemoryBIO`` with an ``ssl.SSLObject`` between them. The peer's records are told apart
here too, by their headers: OpenSSL is asked to read when a record is complete. A read that could only raise
``SSLWantReadError``, which is what costs asyncio most, is not made.

A ``MemoryBIO`` never shrinks. So it is fed record by record and emptied after each record, and a connection
keeps no more than the length of one, however much went through it.
"""

from asyncio import sslproto

import cython
from cython.cimports.cpython.buffer import PyBuffer_FillInfo
from cython.cimports.libc.stdlib import free, malloc

ssl = sslproto.ssl  # None in a Python that was built without it

_AGAIN = cython.declare(tuple, () if ssl is None else (ssl.SSLWantReadError, ssl.SSLSyscallError))
_ZERO_RETURN = cython.declare(object, None if ssl is None else ssl.SSLZeroReturnError)

# The last memory that was given back. Taken, not shared: OpenSSL works without the GIL, and other threads
# have loops too.
_spare = cython.declare(cython.pointer(Scratch), cython.NULL)


@cython.cfunc
@cython.exceptval(-1, check=False)
def scratch_take(scratch: cython.pointer(cython.pointer(Scratch))) -> cython.int:
    global _spare
    scratch[0] = _spare
    _spare = cython.NULL
    if scratch[0] is cython.NULL:
        scratch[0] = cython.cast(cython.pointer(Scratch), malloc(cython.sizeof(Scratch)))
        if scratch[0] is cython.NULL:
            raise MemoryError("no memory to read a TLS connection with")
    return 0


@cython.cfunc
@cython.exceptval(check=False)
def scratch_give_back(scratch: cython.pointer(Scratch)) -> cython.void:
    global _spare
    if _spare is cython.NULL:
        _spare = scratch
    else:
        free(scratch)


@cython.final
@cython.cclass
class Window:
    """A piece of memory, shown to one call as a buffer."""

    def __getbuffer__(self, buffer: cython.pointer(Py_buffer), flags: cython.int) -> None:
        PyBuffer_FillInfo(buffer, self, self.memory, self.size, False, flags)


# One for all calls into C: it is looked through before the call lets go of the GIL.
_window = cython.declare(Window, Window())


@cython.cfunc
def window_on(memory: cython.pointer(cython.void), size: cython.Py_ssize_t, alone: cython.bint) -> Window:
    window: Window = Window() if alone else _window
    window.memory = memory
    window.size = size
    return window


@cython.final
@cython.cclass
class TLSEngine:
    def __init__(self, sslcontext: object, server_side: bool, server_hostname: object) -> None:
        if ssl is None:
            raise RuntimeError("stdlib ssl module not available")
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.ssl_object = sslcontext.wrap_bio(
            self.incoming, self.outgoing, server_side=server_side, server_hostname=server_hostname
        )
        self.body_left = -1
        kind = type(self.ssl_object)
        self.in_c = (
            getattr(kind, "read", None) is ssl.SSLObject.read
            and getattr(kind, "write", None) is ssl.SSLObject.write
            and getattr(kind, "pending", None) is ssl.SSLObject.pending
        )
        self.records = self.ssl_object._sslobj if self.in_c else self.ssl_object

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def handshake(self) -> cython.int:
        """1 if it is done, 0 if it waits for the peer. ssl.SSLError if it fails."""
        self.busy = True
        try:
            self.ssl_object.do_handshake()
        except _AGAIN:
            return 0
        finally:
            self.busy = False
        return 1

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def feed(self, data: cython.p_char, count: cython.Py_ssize_t) -> cython.int:
        """Ciphertext that came from the peer."""
        self.incoming.write(window_on(data, count, False))
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def next_piece(
        self, data: cython.p_char, count: cython.Py_ssize_t, complete: cython.pointer(cython.bint)
    ) -> cython.Py_ssize_t:
        """How much of this to feed: to a record's end at most. Whether a read may then find something."""
        taken: cython.Py_ssize_t = 0
        rest: cython.Py_ssize_t
        complete[0] = False
        while not self.unframed and self.header_seen < HEADER_SIZE:
            if taken == count:
                return taken
            self.header[self.header_seen] = cython.cast(cython.uchar, data[taken])
            self.header_seen += 1
            taken += 1
        if not self.unframed and self.body_left < 0:
            self.body_left = self.header[3] * 256 + self.header[4]
            if not (20 <= self.header[0] <= 24 and self.header[1] == 3 and self.body_left <= BODY_SIZE):
                self.unframed = True
        if self.unframed:
            complete[0] = True
            return min(count, HEADER_SIZE + BODY_SIZE)
        rest = min(count - taken, self.body_left)
        self.body_left -= rest
        if self.body_left == 0:
            self.header_seen = 0
            self.body_left = -1
            complete[0] = True
        return taken + rest

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def undecrypted(self) -> cython.Py_ssize_t:
        """Bytes that were fed and that no read has looked at."""
        return self.incoming.pending

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def has_data(self) -> cython.bint:
        """Whether a read may find something."""
        return self.incoming.pending != 0 or self.records.pending() != 0

    @cython.cfunc
    @cython.exceptval(-2, check=False)
    def read(self, memory: cython.p_char, size: cython.Py_ssize_t) -> cython.Py_ssize_t:
        """Decrypt at most one record: the count of its bytes, ENDED_BY_PEER, or AGAIN."""
        self.busy = True
        try:
            return self.records.read(size, window_on(memory, size, not self.in_c))
        except _AGAIN:
            return AGAIN
        except _ZERO_RETURN:
            return ENDED_BY_PEER  # after our own close_notify
        finally:
            self.busy = False

    @cython.cfunc
    @cython.exceptval(-2, check=False)
    def write(self, data: object) -> cython.Py_ssize_t:
        """Encrypt the beginning of bytes-like data, one record at most: the count of its bytes, or AGAIN."""
        self.busy = True
        try:
            return self.records.write(data)
        except _AGAIN:
            return AGAIN
        finally:
            self.busy = False

    @cython.cfunc
    @cython.exceptval(-2, check=False)
    def write_memory(self, data: cython.p_char, size: cython.Py_ssize_t) -> cython.Py_ssize_t:
        return self.write(window_on(data, size, not self.in_c))

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def unwrap(self) -> cython.int:
        """Send close_notify. 1 once the peer's has come too, 0 before. ssl.SSLError if it fails."""
        self.busy = True
        try:
            self.ssl_object.unwrap()
        except _AGAIN:
            return 0
        finally:
            self.busy = False
        return 1

    @cython.cfunc
    def take_outgoing(self) -> bytes:
        """Ciphertext for the peer, all that there is."""
        return self.outgoing.read()
