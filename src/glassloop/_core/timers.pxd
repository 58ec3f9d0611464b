# The C side of timers.py: the heap's fields, and the look at its top inline.
from cpython.ref cimport PyObject
from libc.stdint cimport uint64_t

from glassloop._core.handle cimport Handle

cdef extern from "gc_slots.h":
    ctypedef struct HeapSlot "GlassloopHeapSlot":
        double deadline
        uint64_t order
        PyObject *timer
    ctypedef struct Heap "GlassloopHeap":
        HeapSlot *slots
        Py_ssize_t count
        Py_ssize_t capacity
    void set_heap_slots "glassloop_set_heap_slots"(
        PyObject *heap_type, PyObject *instance, Heap *heap, int (*clear)(PyObject *) noexcept
    ) noexcept


cdef class TimerHandle(Handle):
    cdef readonly double _when
    cdef uint64_t order        # of making: equal deadlines fire in this order
    cdef Py_ssize_t position   # in the heap; -1 when not in it
    cdef PyObject *heap        # the TimerHeap that holds it (borrowed), or NULL


cdef class TimerHeap:
    cdef Heap heap
    cdef uint64_t made      # timers so far: the next one's order
    cdef tuple gc_mark      # never used: Cython makes a collectable type only of one that holds an object


cdef inline Py_ssize_t heap_count(TimerHeap timers) noexcept:
    return timers.heap.count


cdef inline double heap_deadline(TimerHeap timers) noexcept:
    """The earliest deadline, in seconds. The heap must not be empty."""
    return timers.heap.slots[0].deadline


cdef inline PyObject *heap_first(TimerHeap timers) noexcept:
    """The timer with the earliest deadline (borrowed). The heap must not be empty."""
    return timers.heap.slots[0].timer


cdef int heap_push(TimerHeap timers, TimerHandle timer) except -1
cdef int heap_pop(TimerHeap timers) except -1
# Steals the reference to the context.
cdef TimerHandle timer_new(loop, double when, callback, PyObject **arguments, Py_ssize_t count, PyObject *context)
