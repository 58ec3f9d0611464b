# The C side of listener.py.
from glassloop._core.scheduler cimport Scheduler
from glassloop._core.source cimport IOSource


cdef class Listener(IOSource):
    cdef Scheduler loop
    cdef object protocol_factory
    cdef object socket
    cdef object server
    cdef tuple tls              # the SSL context and the two time-outs, or None
    cdef object given_context   # by the user (3.15), or None: each connection gets a copy of it
    cdef int backlog
    cdef bint is_inet
    cdef int accept_one(self, int fd, bytes peer) except -1
