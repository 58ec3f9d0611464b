# The C side of transport.py.
from cpython.ref cimport PyObject
from libc.stdint cimport uint64_t

from glassloop._core.scheduler cimport Scheduler
from glassloop._io.loop_source cimport LoopSource
from glassloop._io.write_queue cimport WriteQueue


cdef class SocketTransport(LoopSource):
    cdef dict __dict__
    cdef object __weakref__
    cdef object protocol            # None once the connection is lost
    cdef object server
    cdef object extra               # what the maker of the transport gave: a dict or None
    cdef object socket              # the Python socket; of an accepted connection only when somebody asks
    cdef object socket_info         # its asyncio.trsock.TransportSocket
    cdef bytes local, peer          # packed addresses, when known
    cdef uint64_t short_peer        # the peer's instead where it has 8 bytes, as IPv4's; else 0
    cdef WriteQueue queue           # None while nothing waits to be sent
    cdef Py_ssize_t high, low       # water marks of the write buffer, bytes
    cdef unsigned int lost_writes   # 0: connected. Then counts writes that went nowhere (asyncio's _conn_lost)
    cdef readonly bint _closing
    cdef readonly bint _protocol_paused
    cdef unsigned char reading_paused
    cdef int fd_was                 # before the socket was closed
    cdef Py_ssize_t pending(self) except -1
    cdef int keep_peer(self, bytes packed) except -1
    cdef bytes packed_peer(self)
    cdef int notify(self, str method, argument) except -1
    cdef int pause_protocol_if_full(self) except -1
    cdef int resume_protocol_if_drained(self) except -1
    cdef int fail(self, exc, str message) except -1
    cdef int force_close(self, exc) except -1
    cdef int drop_pending(self) except -1
    cdef int lose_connection(self, exc) except -1
    cdef int lose_connection_soon(self, exc) except -1
    cdef int close_fd(self) except -1


# What call_protocol returns.
cdef enum:
    CALLED = 0
    RAISED = 1

cdef int call_protocol(SocketTransport transport, name, argument, PyObject **result, PyObject **error) except -1
