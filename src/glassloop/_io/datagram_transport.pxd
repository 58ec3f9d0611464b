# The C side of datagram_transport.py.
from cpython.ref cimport PyObject

from glassloop._io.transport cimport SocketTransport
from glassloop._sys.socket cimport Datagrams

cdef extern from *:
    """
    static inline int glassloop_audit_sendto(PyObject *sock, PyObject *address) {
        return PySys_Audit("socket.sendto", "OO", sock, address);
    }
    """
    int audit_sendto "glassloop_audit_sendto"(object sock, object address) except -1


# What datagram_received() sends while a batch is delivered, to leave together. It lies on the stack of who delivers.
cdef struct Outbox:
    Datagrams batch
    PyObject *data[32]      # owned; bytes
    PyObject *addresses[32]  # owned; as they were given
    int count


cdef class DatagramTransport(SocketTransport):
    cdef object datagrams       # a deque of (bytes, address) that wait to be sent
    cdef Py_ssize_t waiting     # their size in bytes, with asyncio's allowance for each
    cdef object address         # where all go, if the endpoint was made with a remote address
    cdef bint connected         # by connect(2)
    cdef int family
    cdef list undelivered       # data and sender in turns: received, but the protocol has paused, or was interrupted
    cdef Outbox *outbox         # NULL unless a batch of several is being delivered
    cdef int receive_batch(self) except -1
    cdef int deliver(self, list received, Py_ssize_t first) except -1
    cdef int deliver_one(self, data, sender) except -1
    cdef int keep_rest(self, list received, Py_ssize_t first) except -1
    cdef int send_one(self, data, address) except -1
    cdef int gather(self, data, address) except -1
    cdef int flush(self) except -1
