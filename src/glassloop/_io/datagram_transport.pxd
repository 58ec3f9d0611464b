# The C side of datagram_transport.py.
from glassloop._io.transport cimport SocketTransport


cdef class DatagramTransport(SocketTransport):
    cdef object datagrams       # a deque of (bytes, address) that wait to be sent
    cdef Py_ssize_t waiting     # their size in bytes, with asyncio's allowance for each
    cdef object address         # where all go, if the endpoint was made with a remote address
    cdef bint connected         # by connect(2)
    cdef int receive_one(self) except -1
    cdef int send_one(self, data, address) except -1
