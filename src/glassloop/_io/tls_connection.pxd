# The C side of tls_connection.py.
from cpython.ref cimport PyObject

from glassloop._core.scheduler cimport Scheduler
from glassloop._io.byte_sink cimport ByteSink
from glassloop._io.stream_transport cimport StreamTransport
from glassloop._io.tls_engine cimport Scratch, TLSEngine
from glassloop._io.write_queue cimport WriteQueue


cdef class TLSConnection(ByteSink):
    cdef dict __dict__
    cdef object __weakref__
    cdef Scheduler loop
    cdef TLSEngine engine
    cdef object sslcontext
    cdef object beneath             # the transport that carries the records; None before and after
    cdef StreamTransport stream     # the same where it is ours
    cdef object protocol            # the application's; None once the connection is lost
    cdef object waiter              # a future of who waits for the handshake
    cdef object timer               # of the handshake, later of the shutdown
    cdef object handshake_timeout, shutdown_timeout     # seconds, as they were given
    cdef object begun_at            # loop.time() of the handshake, in debug mode
    cdef object failure             # what reading failed with, until what came before it is delivered
    cdef bytes held                 # small writes of the protocol's own method, until it returns: one record
    cdef WriteQueue unsent          # written and not encrypted yet: None while there is nothing
    cdef WriteQueue unread          # received and not decrypted yet: the same
    cdef Scratch *lent
    cdef Py_ssize_t write_high, write_low, read_high, read_low  # water marks, bytes
    cdef unsigned int lost_writes   # to a connection that has ended
    cdef unsigned char state        # a TLSState; on() alone writes it
    cdef unsigned char told         # a Told; tell() alone writes it
    cdef unsigned char accepted     # by a listener: nobody waits for the handshake
    cdef unsigned char buffered     # the protocol is a BufferedProtocol
    cdef unsigned char delivering   # the protocol's own method is running
    cdef unsigned char closed       # close() or abort() was called, or the connection is lost
    cdef unsigned char discarding   # close() was called: what comes now is for nobody
    cdef unsigned char forgotten    # closed twice: asyncio lets go of what it knows then
    cdef unsigned char eof          # the transport beneath has ended
    cdef unsigned char agreed       # the handshake was successful
    cdef unsigned char reading_paused   # by the protocol
    cdef unsigned char reading_held     # until who waits for the handshake has been told
    cdef unsigned char more_inside  # the engine may have data to read without being fed
    cdef unsigned char outgoing_made    # the engine has ciphertext for the peer
    cdef unsigned char beneath_full     # it asked us to pause writing
    cdef unsigned char beneath_paused   # we paused its reading
    cdef unsigned char writing_paused   # the protocol was told to
    cdef int on(self, int event) except -1
    cdef bint tell(self, int what) noexcept
    cdef int begin_handshake(self) except -1
    cdef int shake_hands(self) except -1
    cdef int handshake_done(self) except -1
    cdef int handshake_failed(self, exc) except -1
    cdef int begin_flushing(self) except -1
    cdef int flush(self) except -1
    cdef int begin_shutdown(self) except -1
    cdef int exchange_goodbyes(self) except -1
    cdef int shutdown_done(self, exc) except -1
    cdef int cut_off(self, exc) except -1
    cdef int fatal_error(self, exc, str message) except -1
    cdef int wake_waiter(self, exc) except -1
    cdef int cancel_timer(self) except -1
    cdef int start_shutdown_timer(self) except -1
    cdef int received(self, Scratch *scratch, Py_ssize_t count) except -1
    cdef int end(self) except -1
    cdef int forget(self) except -1
    cdef int protocol_failed(self, PyObject **error) except -1
    cdef bytes decrypt(self, Scratch *scratch, Py_ssize_t count, int *outcome)
    cdef int deliver(self, plaintext, int outcome) except -1
    cdef int read_into_protocol(self, Scratch *scratch, Py_ssize_t count) except -1
    cdef int keep_unread(self, char *data, Py_ssize_t count) except -1
    cdef int read_unread(self) except -1
    cdef int tell_eof(self) except -1
    cdef int control_reading_beneath(self) except -1
    cdef bint reads(self) noexcept
    cdef int write_data(self, data) except -1
    cdef int encrypt(self, data, Py_ssize_t start) except -1
    cdef int keep_unsent(self, data, Py_ssize_t start) except -1
    cdef int send_unsent(self) except -1
    cdef int send_held(self) except -1
    cdef int send_outgoing(self) except -1
    cdef int control_writing(self) except -1
    cdef int notify(self, str method) except -1
    cdef Py_ssize_t pending(self) except -1
    cdef Py_ssize_t unread_size(self) except -1
    cdef int call_protocol(self, name, argument, PyObject **result, PyObject **error) except -1
