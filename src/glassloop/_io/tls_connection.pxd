# The C side of tls_connection.py.
from glassloop._io.tls_input cimport TLSInput


cdef class TLSConnection(TLSInput):
    cdef dict __dict__
    cdef object __weakref__
    cdef object sslcontext
    cdef object waiter              # a future of who waits for the handshake
    cdef object timer               # of the handshake, later of the shutdown
    cdef object handshake_timeout, shutdown_timeout     # seconds, as they were given
    cdef object begun_at            # loop.time() of the handshake, in debug mode
    cdef unsigned char accepted     # by a listener: nobody waits for the handshake
    cdef unsigned char closed       # close() or abort() was called, or the connection is lost
    cdef unsigned char forgotten    # closed twice: asyncio lets go of what it knows then
    cdef unsigned char eof          # the transport beneath has ended
    cdef unsigned char agreed       # the handshake was successful
    cdef int on(self, int event) except -1
    cdef int begin_handshake(self) except -1
    cdef int handshake_done(self) except -1
    cdef int handshake_failed(self, exc) except -1
    cdef int begin_flushing(self) except -1
    cdef int begin_shutdown(self) except -1
    cdef int cut_off(self, exc) except -1
    cdef int wake_waiter(self, exc) except -1
    cdef int cancel_timer(self) except -1
    cdef int start_shutdown_timer(self) except -1
    cdef int forget(self) except -1
