# The C side of tls_states.py.

# Of a connection:
cdef enum TLSState:
    NEW = 0         # nothing is beneath yet
    HANDSHAKE = 1   # the peers agree on keys; what is written waits
    OPEN = 2        # data both ways
    FLUSHING = 3    # it ends: what was written goes out, what was received is read
    SHUTDOWN = 4    # nothing more to send: close_notify goes out, the peer's is waited for
    CLOSED = 5      # nothing more is said

# What happens to it:
cdef enum TLSEvent:
    CONNECTED = 0   # the transport beneath is there
    AGREED = 1      # the handshake has succeeded
    ENDING = 2      # close(), or the end of what the peer sends
    FLUSHED = 3     # all that was written is encrypted and on its way
    CUT_OFF = 4     # aborted, failed, or lost

# What the protocol above was told last:
cdef enum Told:
    NOTHING = 0
    MADE = 1        # connection_made()
    ENDED = 2       # eof_received()
    LOST = 3        # connection_lost()


cdef int state_after(int state, int event) except -1
cdef bint may_tell(int told, int what) noexcept
