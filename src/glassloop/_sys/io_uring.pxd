# io_uring(7): see io_uring.h.
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from "io_uring.h":
    int ECANCELED
    enum:
        OP_FSYNC "GLASSLOOP_OP_FSYNC"
        OP_CANCEL "GLASSLOOP_OP_CANCEL"
        OP_OPEN "GLASSLOOP_OP_OPEN"
        OP_CLOSE "GLASSLOOP_OP_CLOSE"
        OP_READ "GLASSLOOP_OP_READ"
        OP_WRITE "GLASSLOOP_OP_WRITE"
        RING_ASYNC "GLASSLOOP_RING_ASYNC"
        FSYNC_DATASYNC "GLASSLOOP_FSYNC_DATASYNC"
    ctypedef struct RingMemory "GlassloopKernelRing":
        int fd
        int event_fd
    int ring_open "glassloop_ring_open"(
        RingMemory *ring, uint32_t entries, uint32_t completion_entries, uint32_t most_workers
    ) noexcept nogil
    int ring_try "glassloop_ring_try"(RingMemory *ring) noexcept nogil
    void ring_close "glassloop_ring_close"(RingMemory *ring) noexcept nogil
    uint32_t ring_unsubmitted "glassloop_ring_unsubmitted"(const RingMemory *ring) noexcept nogil
    int ring_enter "glassloop_ring_enter"(RingMemory *ring, uint32_t wait_for, bint quietly) noexcept nogil
    bint ring_has_completions "glassloop_ring_has_completions"(const RingMemory *ring) noexcept nogil
    bint ring_waits "glassloop_ring_waits"(const RingMemory *ring) noexcept nogil
    void ring_heard "glassloop_ring_heard"(const RingMemory *ring) noexcept nogil
    bint ring_put "glassloop_ring_put"(
        RingMemory *ring, uint8_t opcode, uint8_t flags, int fd, uint64_t offset, const void *address,
        uint32_t length, uint32_t operation_flags, uint64_t user_data
    ) noexcept nogil
    bint ring_take "glassloop_ring_take"(RingMemory *ring, uint64_t *user_data, int *result) noexcept nogil
