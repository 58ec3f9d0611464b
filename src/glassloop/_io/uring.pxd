# The C side of uring.py.
from libc.stdint cimport int64_t, uint32_t, uint64_t

from glassloop._core.scheduler cimport Scheduler
from glassloop._io.file_operation cimport FileOperation
from glassloop._io.loop_source cimport LoopSource
from glassloop._sys.io_uring cimport RingMemory


cdef class Ring(LoopSource):
    cdef object __weakref__
    cdef RingMemory memory
    cdef unsigned long thread       # the kernel lets no other one use the ring
    cdef RingOperation first        # of those in flight; each owns a reference to itself
    cdef uint32_t in_flight
    cdef uint32_t inline_bytes      # what the kernel may copy in the next submit, at most
    cdef list waiting               # operations for which the ring has no room yet
    cdef bint armed                 # the end of the ready batch will submit
    cdef int open(self) except -1
    cdef int use(self) except -1
    cdef int put(self, RingOperation operation) except -1
    cdef bint put_entry(self, RingOperation operation, int flags, uint32_t size) noexcept
    cdef int arm(self) except -1
    cdef int leave(self) except -1
    cdef void unlink(self, RingOperation operation) noexcept
    cdef int cancel(self, RingOperation operation) except -1
    cdef int turn(self) except -1
    cdef int reap(self) except -1
    cdef int refill(self) except -1
    cdef int shut_down(self) except -1


cdef class RingOperation(FileOperation):
    cdef Ring ring
    cdef RingOperation next, previous
    cdef unsigned char opcode
    cdef bint by_worker             # a thread of the kernel's does it: it may block, or copies much
    cdef bint in_ring, cancel_sent
    cdef int directory, flags
    cdef uint32_t mode
    cdef char *memory               # buffer or path; owned by `owner`
    cdef size_t size, moved         # bytes wanted; bytes moved up to now
    cdef int64_t offset             # -1: the file's position
    cdef object owner               # bytes, a path, or a view on a buffer
    cdef object path                # as the caller gave it, for errors
    cdef int again(self) except -1
    cdef int complete(self, int result) except -1
    cdef int moved_bytes(self, int result) except -1
    cdef int end_transfer(self) except -1
    cdef uint32_t chunk(self) noexcept
    cdef bint ends_early(self) noexcept


cdef RingOperation new_transfer(
    Ring ring, int opcode, object owner, char *memory, size_t size, size_t moved, int64_t offset, bint by_worker
)
cdef RingOperation new_open(Ring ring, int directory, bytes encoded, int flags, uint32_t mode, object path)
cdef RingOperation new_call(Ring ring, int opcode, int flags)
