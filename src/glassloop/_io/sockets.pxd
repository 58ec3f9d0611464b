# The C side of sockets.py.
from libc.stdint cimport uint32_t

from glassloop._core.scheduler cimport Scheduler
from glassloop._core.source cimport IOSource


# What a Wait waits to do. The first four are done when the socket is readable, the others when it is writable.
cdef enum:
    RECEIVE = 0
    RECEIVE_INTO
    RECEIVE_FROM
    RECEIVE_FROM_INTO
    ACCEPT
    SEND_ALL
    SEND_TO
    CONNECT


cdef class Wait:
    cdef int call           # one of the above
    cdef object future      # None: nobody waits
    cdef object sock
    cdef object thing       # the buffer, the data, or the address to connect to
    cdef object address     # SEND_TO: where to
    cdef Py_ssize_t size    # RECEIVE*: at most so many bytes. SEND_ALL: so many have been sent


cdef class SocketWatch(IOSource):
    cdef Scheduler loop
    cdef object reference   # a weak one to the socket object whose descriptor this is
    cdef Wait reader, writer
    cdef int settle(self, Wait wait, uint32_t event) except -1
