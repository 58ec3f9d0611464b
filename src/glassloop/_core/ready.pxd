# The C side of ready.py: the ring's fields, and the hot operations inline for every module that cimports them.
from cpython.mem cimport PyMem_Malloc
from cpython.ref cimport Py_INCREF, PyObject
from libc.stdint cimport uintptr_t

cdef extern from "gc_slots.h":
    ctypedef struct Ring "GlassloopRing":
        uintptr_t *slots
        size_t head
        size_t tail
        size_t mask
        size_t reserved
    void set_ring_slots "glassloop_set_ring_slots"(PyObject *ring_type, PyObject *instance, Ring *ring) noexcept
    int ring_clear "glassloop_clear_ring"(PyObject *queue) noexcept

# What an entry is, in the two lowest bits of its pointer.
cdef enum EntryKind:
    HANDLE = 0   # glassloop's Handle or TimerHandle
    TASK = 1     # glassloop's Task, to be stepped
    SOURCE = 2   # an IOSource with events to handle
    FOREIGN = 3  # any object with _cancelled and _run(), such as asyncio's own Handle


cdef class ReadyQueue:
    cdef Ring ring
    cdef bint watched       # instruments are told of each step and wake-up of a task
    cdef tuple gc_mark      # never used: Cython makes a collectable type only of one that holds an object
    cdef int grow(self) except -1


cdef inline uintptr_t *slots_new(size_t capacity) noexcept:
    """NULL where there is no memory."""
    return <uintptr_t *>PyMem_Malloc(capacity * sizeof(uintptr_t))


cdef inline size_t ready_count(ReadyQueue queue) noexcept:
    return queue.ring.tail - queue.ring.head


cdef inline int ready_push(ReadyQueue queue, PyObject *entry, EntryKind kind) except -1:
    """MemoryError where the ring cannot grow; then nothing has changed."""
    if queue.ring.tail - queue.ring.head + queue.ring.reserved > queue.ring.mask:
        queue.grow()
    Py_INCREF(<object>entry)
    queue.ring.slots[queue.ring.tail & queue.ring.mask] = <uintptr_t>entry | <uintptr_t>kind
    queue.ring.tail += 1
    return 0


cdef inline int ready_reserve(ReadyQueue queue) except -1:
    """Keep a slot free for a new task, which is in the ring once at most: waking it can then never fail."""
    if queue.ring.tail - queue.ring.head + queue.ring.reserved > queue.ring.mask:
        queue.grow()
    queue.ring.reserved += 1
    return 0


cdef inline int ready_push_reserved(ReadyQueue queue, PyObject *task) except -1:
    """Push a task into the slot that is kept for it."""
    if queue.ring.reserved != 0:
        queue.ring.reserved -= 1
    return ready_push(queue, task, TASK)


cdef inline uintptr_t ready_pop(ReadyQueue queue) noexcept:
    """An entry whose reference the caller now owns. The queue must not be empty."""
    cdef uintptr_t entry = queue.ring.slots[queue.ring.head & queue.ring.mask]
    queue.ring.head += 1
    queue.ring.reserved += (entry & 3) == TASK  # its slot is kept for the task's next time
    return entry


cdef inline EntryKind entry_kind(uintptr_t entry) noexcept:
    return <EntryKind>(entry & 3)


cdef inline PyObject *entry_object(uintptr_t entry) noexcept:
    return <PyObject *>(entry & ~<uintptr_t>3)
