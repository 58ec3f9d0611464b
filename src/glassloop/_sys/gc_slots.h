/* Garbage collection for the two compiled classes that own an array of references, which Cython does not see:
 * the ready queue and the timer heap. Without it an unclosed loop that nobody holds would live for ever.
 */
#ifndef GLASSLOOP_GC_SLOTS_H
#define GLASSLOOP_GC_SLOTS_H

#include <Python.h>
#include <stdint.h>

typedef struct {
    uintptr_t *slots; /* between head and tail: an owned reference each, its kind in the two lowest bits */
    size_t head;      /* next to run */
    size_t tail;      /* next free */
    size_t mask;      /* capacity - 1; the capacity is a power of two */
    size_t reserved;  /* slots kept free: one for each unfinished task that is not in the ring */
} GlassloopRing;

typedef struct {
    double deadline;
    uint64_t order;
    PyObject *timer; /* owned */
} GlassloopHeapSlot;

typedef struct {
    GlassloopHeapSlot *slots;
    Py_ssize_t count, capacity;
} GlassloopHeap;

static Py_ssize_t glassloop_offset; /* of the struct in its object; one class a module */
static inquiry glassloop_clear_function;

static int glassloop_traverse_ring(PyObject *self, visitproc visit, void *arg) {
    GlassloopRing *ring = (GlassloopRing *)((char *)self + glassloop_offset);
    Py_VISIT(Py_TYPE(self));
    for (size_t i = ring->head; i != ring->tail; i++) {
        Py_VISIT((PyObject *)(ring->slots[i & ring->mask] & ~(uintptr_t)3));
    }
    return 0;
}

static int glassloop_clear_ring(PyObject *self) {
    GlassloopRing *ring = (GlassloopRing *)((char *)self + glassloop_offset);
    while (ring->head != ring->tail) { /* out of the ring before it is dropped: a destructor may push */
        uintptr_t entry = ring->slots[ring->head++ & ring->mask];
        if ((entry & 3) == 1) ring->reserved++; /* a task: it may come again */
        Py_DECREF((PyObject *)(entry & ~(uintptr_t)3));
    }
    return 0;
}

static int glassloop_traverse_heap(PyObject *self, visitproc visit, void *arg) {
    GlassloopHeap *heap = (GlassloopHeap *)((char *)self + glassloop_offset);
    Py_VISIT(Py_TYPE(self));
    for (Py_ssize_t i = 0; i < heap->count; i++) {
        Py_VISIT(heap->slots[i].timer);
    }
    return 0;
}

static inline void glassloop_set_ring_slots(PyObject *type, PyObject *instance, GlassloopRing *ring) {
    glassloop_offset = (char *)ring - (char *)instance;
    ((PyTypeObject *)type)->tp_traverse = glassloop_traverse_ring;
    ((PyTypeObject *)type)->tp_clear = glassloop_clear_ring;
}

static inline void glassloop_set_heap_slots(PyObject *type, PyObject *instance, GlassloopHeap *heap,
                                            inquiry clear) {
    glassloop_offset = (char *)heap - (char *)instance;
    ((PyTypeObject *)type)->tp_traverse = glassloop_traverse_heap;
    ((PyTypeObject *)type)->tp_clear = clear;
}

#endif
