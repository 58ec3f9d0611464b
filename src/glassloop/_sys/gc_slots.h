/* Garbage collection for the compiled classes that own an array of references, which Cython does not see: the
 * ready queue, the timer heap and the poller. Without it an unclosed loop that nobody holds would live for ever.
 */
#ifndef GLASSLOOP_GC_SLOTS_H
#define GLASSLOOP_GC_SLOTS_H

#include <Python.h>
#include <stdint.h>

typedef struct {
    uintptr_t *slots; /* between head and tail: an owned reference each, its kind (0: handle) in the two lowest bits */
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
        uintptr_t entry = ring->slots[i & ring->mask];
        PyObject *object = (PyObject *)(entry & ~(uintptr_t)3);
        if ((entry & 3) == 0 && Py_REFCNT(object) == 1 && !PyObject_GC_IsTracked(object)) {
            /* A handle that only the ring holds, as most are: a part of the ring, for the collector. */
            int result = Py_TYPE(object)->tp_traverse(object, visit, arg);
            if (result != 0) return result;
        } else {
            Py_VISIT(object);
        }
    }
    return 0;
}

static int glassloop_clear_ring(PyObject *self) {
    GlassloopRing *ring = (GlassloopRing *)((char *)self + glassloop_offset);
    while (ring->head != ring->tail) { /* out of the ring before it is dropped: a destructor may push */
        uintptr_t entry = ring->slots[ring->head++ & ring->mask];
        PyObject *object = (PyObject *)(entry & ~(uintptr_t)3);
        if ((entry & 3) == 1) ring->reserved++; /* a task: it may come again */
        if ((entry & 3) == 0 && Py_REFCNT(object) > 1 && !PyObject_GC_IsTracked(object)) PyObject_GC_Track(object);
        Py_DECREF(object);
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

/* The poller also has fields that Cython sees: its own functions come first. */
static traverseproc glassloop_traverse_fields;
static inquiry glassloop_clear_fields;
static Py_ssize_t glassloop_capacity_offset;

static int glassloop_traverse_owners(PyObject *self, visitproc visit, void *arg) {
    uintptr_t *owners = *(uintptr_t **)((char *)self + glassloop_offset);
    int capacity = *(int *)((char *)self + glassloop_capacity_offset);
    int result = glassloop_traverse_fields(self, visit, arg);
    if (result != 0) return result;
    for (int fd = 0; fd < capacity; fd++) {
        if (owners[fd] > 1) Py_VISIT((PyObject *)owners[fd]);
    }
    return 0;
}

static int glassloop_clear_owners(PyObject *self) {
    glassloop_clear_function(self);
    return glassloop_clear_fields(self);
}

static inline void glassloop_set_owner_slots(PyObject *type, PyObject *instance, uintptr_t **owners, int *capacity,
                                             inquiry clear) {
    PyTypeObject *poller_type = (PyTypeObject *)type;
    glassloop_offset = (char *)owners - (char *)instance;
    glassloop_capacity_offset = (char *)capacity - (char *)instance;
    glassloop_traverse_fields = poller_type->tp_traverse;
    glassloop_clear_fields = poller_type->tp_clear;
    glassloop_clear_function = clear;
    poller_type->tp_traverse = glassloop_traverse_owners;
    poller_type->tp_clear = glassloop_clear_owners;
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
