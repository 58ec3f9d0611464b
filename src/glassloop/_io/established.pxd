# The C side of established.py.
from glassloop._io.stream_transport cimport StreamTransport

cdef StreamTransport accepted_transport(loop, int fd, bytes peer, server, context)
cdef StreamTransport connected_transport(loop, int fd, sock, bytes peer, protocol)
cdef int begin_accepted(StreamTransport transport, protocol) except -1
