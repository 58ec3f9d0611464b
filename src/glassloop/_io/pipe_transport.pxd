# The C side of pipe_transport.py.
from glassloop._io.loop_source cimport LoopSource
from glassloop._io.write_queue cimport WriteQueue


cdef class PipeTransport(LoopSource):
    cdef dict __dict__
    cdef object __weakref__
    cdef object protocol            # None once the pipe is closed
    cdef object pipe                # the file object; None once closed
    cdef readonly dict _extra
    cdef int fd_was                 # before the pipe was closed
    cdef readonly bint _closing
    cdef bint reading_paused
    cdef int open_pipe(self, loop, pipe, protocol, extra, str complaint) except -1
    cdef int begin(self, loop, waiter, bint watches) except -1
    cdef int end_soon(self, exc) except -1
    cdef int fail(self, exc, str message, bint quiet) except -1


cdef class ReadPipeTransport(PipeTransport):
    pass


cdef class WritePipeTransport(PipeTransport):
    cdef WriteQueue queue           # None while nothing waits to be written
    cdef Py_ssize_t high, low       # water marks of the write buffer, bytes
    cdef readonly unsigned int _conn_lost
    cdef readonly bint _protocol_paused
    cdef int notify(self, str method) except -1
    cdef int pause_protocol_if_full(self) except -1
    cdef Py_ssize_t pending(self) except -1
