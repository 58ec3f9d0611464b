# The C side of source.py.
from libc.stdint cimport uint32_t

from glassloop._core.ready cimport ReadyQueue

# The two events that one may wait for, with the values of selectors.EVENT_READ and EVENT_WRITE.
cdef enum:
    READABLE = 1
    WRITABLE = 2


cdef class IOSource:
    cdef readonly int fd
    # READABLE | WRITABLE: what the poller reports. Written by the poller alone, but for a source that is kept
    cdef uint32_t watched
    cdef uint32_t kept         # what stays registered for it, watched or not: see Poller.keep
    cdef uint32_t occurred     # reported, and not handled yet
    cdef unsigned char context_given  # by the user (3.15): all runs in it, not in copies of whose turn it is
    cdef object context        # in which on_readable() runs; None: in no context of its own
    cdef object write_context  # in which on_writable() runs; None: in `context`
    cdef int on_readable(self) except -1
    cdef int on_writable(self) except -1
    cdef int on_batch_end(self) except -1
    cdef int on_displaced(self) except -1


cdef class Poller:
    cdef int wake_fd            # other threads wake the loop through it
    cdef unsigned int watching  # so many file descriptors
    cdef int watch(self, IOSource source, uint32_t events) except -1
    cdef int keep(self, IOSource source, uint32_t events) except -1
    cdef int harvest(self, ReadyQueue ready, double timeout) except -1
    cdef int wake(self) except -1
