# The C side of tls_input.py.
from cpython.ref cimport PyObject

from glassloop._io.tls_engine cimport Scratch
from glassloop._io.tls_output cimport TLSOutput
from glassloop._io.write_queue cimport WriteQueue

cdef str METHOD_FAILED


cdef class TLSInput(TLSOutput):
    cdef object failure             # what reading failed with, until what came before it is delivered
    cdef WriteQueue unread          # received and not decrypted yet: None while there is nothing
    cdef Scratch *lent
    cdef Py_ssize_t read_high, read_low     # water marks, bytes
    cdef unsigned char told         # a Told; tell() alone writes it
    cdef unsigned char buffered     # the protocol is a BufferedProtocol
    cdef unsigned char discarding   # close() was called: what comes now is for nobody
    cdef unsigned char reading_paused   # by the protocol
    cdef unsigned char reading_held     # until who waits for the handshake has been told
    cdef unsigned char more_inside  # the engine may have data to read without being fed
    cdef unsigned char beneath_paused   # we paused its reading
    cdef bint tell(self, int what) noexcept
    cdef int shake_hands(self) except -1
    cdef int exchange_goodbyes(self) except -1
    cdef int shutdown_done(self, exc) except -1
    cdef int received(self, Scratch *scratch, Py_ssize_t count) except -1
    cdef int end(self) except -1
    cdef int protocol_failed(self, PyObject **error) except -1
    cdef bytes decrypt(self, Scratch *scratch, Py_ssize_t count, int *outcome)
    cdef int deliver(self, plaintext, int outcome) except -1
    cdef int read_into_protocol(self, Scratch *scratch, Py_ssize_t count) except -1
    cdef int keep_unread(self, char *data, Py_ssize_t count) except -1
    cdef int read_unread(self) except -1
    cdef int tell_eof(self) except -1
    cdef int control_reading_beneath(self) except -1
    cdef bint reads(self) noexcept
    cdef Py_ssize_t unread_size(self) except -1
