# The C side of tls_engine.py.

# What is not a count of bytes: read() and write() return it.
cdef enum Outcome:
    ENDED_BY_PEER = 0   # close_notify has come
    AGAIN = -1          # nothing without more from the peer

# RFC 8446, 5.1 and 5.2; RFC 5246, 6.2: what a record carries at most, its header, and its longest body.
cdef enum:
    RECORD_SIZE = 16384
    HEADER_SIZE = 5
    BODY_SIZE = 16384 + 2048


# Memory for one connection's reading while it reads. A connection that waits has none.
cdef struct Scratch:
    char ciphertext[65536]
    char plaintext[98304]   # all that one ciphertext can hold, and a record that was begun before it


cdef int scratch_take(Scratch **scratch) except -1
cdef void scratch_give_back(Scratch *scratch) noexcept


cdef class Window:
    cdef void *memory
    cdef Py_ssize_t size


cdef class TLSEngine:
    cdef object ssl_object  # what sslcontext.wrap_bio() made: an ssl.SSLObject
    cdef object records     # what reads and writes: the C object beneath it where its class adds nothing to that
    cdef object incoming, outgoing  # ssl.MemoryBIO: ciphertext from the peer, ciphertext for the peer
    cdef bint in_c          # `records` is in C
    # Where in the peer's records we are, so that only whole ones are read:
    cdef bint unframed      # ... unknown, for they do not look like records: OpenSSL shall say
    cdef unsigned char header[5]
    cdef unsigned char header_seen
    cdef Py_ssize_t body_left   # -1: the header is not complete
    cdef bint busy          # OpenSSL is at work: its callbacks must not come back into it
    cdef int handshake(self) except -1
    cdef int feed(self, char *data, Py_ssize_t count) except -1
    cdef Py_ssize_t next_piece(self, char *data, Py_ssize_t count, bint *complete) noexcept
    cdef Py_ssize_t undecrypted(self) except -1
    cdef bint has_data(self) except -1
    cdef Py_ssize_t read(self, char *memory, Py_ssize_t size) except -2
    cdef Py_ssize_t write(self, data) except -2
    cdef Py_ssize_t write_memory(self, char *data, Py_ssize_t size) except -2
    cdef int unwrap(self) except -1
    cdef bytes take_outgoing(self)
