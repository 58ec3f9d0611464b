# The C side of stream_transport.py.
from glassloop._io.byte_sink cimport ByteSink
from glassloop._io.corks cimport Cork
from glassloop._io.transport cimport SocketTransport
from glassloop._io.write_queue cimport WriteQueue


cdef class StreamTransport(SocketTransport):
    cdef object held            # what a protocol's method wrote first while it runs: bytes, or None
    cdef ByteSink sink          # the protocol where it is one, as TLS's is; else None
    cdef object empty_waiter    # a future of sendfile()'s: done once nothing is queued
    cdef unsigned char corked            # a protocol's method is running: its writes leave together when it returns
    cdef unsigned char deferred          # what was written goes out at the end of the ready batch
    cdef unsigned char buffered          # the protocol is a BufferedProtocol
    cdef unsigned char fed               # the protocol is asyncio's of streams
    cdef unsigned int expected           # so many bytes may come at once again, as the last time; 0: few, or unknown
    cdef readonly bint _eof     # write_eof() was called
    cdef unsigned char eof_sent
    cdef int receive_bytes(self) except -1
    cdef int deliver(self, Py_ssize_t count) except -1
    cdef int receive_into_reader(self) except -1
    cdef int receive_into_protocol(self) except -1
    cdef int receive_into_sink(self) except -1
    cdef int received_eof(self) except -1
    cdef int cork(self, Cork *cork) except -1
    cdef int uncork(self, Cork *cork) except -1
    cdef int write_chunk(self, data) except -1
    cdef int queue_chunk(self, data, Py_ssize_t start) except -1
    cdef int flush(self, bint from_poller) except -1
    cdef int send_with_end(self) except -1
    cdef int after_drain(self, bint from_poller) except -1
    cdef int call_corked(self, name, argument, str failure) except -1
