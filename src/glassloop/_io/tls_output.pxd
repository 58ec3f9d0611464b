# The C side of tls_output.py.
from cpython.ref cimport PyObject

from glassloop._core.scheduler cimport Scheduler
from glassloop._io.byte_sink cimport ByteSink
from glassloop._io.stream_transport cimport StreamTransport
from glassloop._io.tls_engine cimport TLSEngine
from glassloop._io.write_queue cimport WriteQueue


cdef class TLSOutput(ByteSink):
    cdef Scheduler loop
    cdef TLSEngine engine
    cdef object beneath             # the transport that carries the records; None before and after
    cdef StreamTransport stream     # the same where it is ours
    cdef object protocol            # the application's; None once the connection is lost
    cdef bytes held                 # small writes of the protocol's own method, until it returns: one record
    cdef WriteQueue unsent          # written and not encrypted yet: None while there is nothing
    cdef Py_ssize_t write_high, write_low   # water marks, bytes
    cdef unsigned int lost_writes   # to a connection that has ended
    cdef unsigned char state        # a TLSState; on() alone writes it
    cdef unsigned char delivering   # the protocol's own method is running
    cdef unsigned char outgoing_made    # the engine has ciphertext for the peer
    cdef unsigned char beneath_full     # it asked us to pause writing
    cdef unsigned char writing_paused   # the protocol was told to
    cdef int flush(self) except -1
    cdef int fatal_error(self, exc, str message) except -1
    cdef int write_data(self, data) except -1
    cdef int encrypt(self, data, Py_ssize_t start) except -1
    cdef int keep_unsent(self, data, Py_ssize_t start) except -1
    cdef int send_unsent(self) except -1
    cdef int send_held(self) except -1
    cdef int send_outgoing(self) except -1
    cdef int control_writing(self) except -1
    cdef int notify(self, str method) except -1
    cdef Py_ssize_t pending(self) except -1
    cdef int call_protocol(self, name, argument, PyObject **result, PyObject **error) except -1
