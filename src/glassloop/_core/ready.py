"""The ready queue: what may run now, in the order in which it became ready.

A ring that owns one reference to each entry between head and tail. This is the only place that decides
the order of the ready batch. Pushing and popping are inline in ready.pxd; what happens once in a while
(growing, clearing, and the deque's interface that asyncio's own code knows as ``loop._ready``) is here.
"""

import cython
from cython.cimports.cpython.mem import PyMem_Free
from cython.cimports.cpython.ref import PyObject

from glassloop._core.handle import Handle

INITIAL_CAPACITY = cython.declare(cython.size_t, 64)


@cython.final
@cython.cclass
class ReadyQueue:
    def __cinit__(self) -> None:
        self.ring.slots = slots_new(INITIAL_CAPACITY)
        if self.ring.slots is cython.NULL:
            raise MemoryError("no memory for the ready queue")
        self.ring.head = self.ring.tail = 0
        self.ring.mask = INITIAL_CAPACITY - 1

    def __dealloc__(self) -> None:
        if self.ring.slots is not cython.NULL:
            ring_clear(cython.cast(cython.pointer(PyObject), self))
            PyMem_Free(self.ring.slots)

    def __len__(self) -> cython.Py_ssize_t:
        return ready_count(self)

    def __iter__(self) -> object:
        """What is ready, first to last. A Task stands for its next step."""
        return iter(entries(self))

    def append(self, handle: object) -> None:
        """Make a handle ready: the last in the queue."""
        kind: EntryKind = HANDLE if isinstance(handle, Handle) else FOREIGN
        ready_push(self, cython.cast(cython.pointer(PyObject), handle), kind)

    def clear(self) -> None:
        """Drop everything that is ready."""
        ring_clear(cython.cast(cython.pointer(PyObject), self))

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def grow(self) -> cython.int:
        """Double the ring. On MemoryError the queue is as it was."""
        capacity: cython.size_t = self.ring.mask + 1
        wider = slots_new(2 * capacity)
        if wider is cython.NULL:
            raise MemoryError("no memory to grow the ready queue")
        count: cython.size_t = ready_count(self)
        i: cython.size_t
        for i in range(count):
            wider[i] = self.ring.slots[(self.ring.head + i) & self.ring.mask]
        PyMem_Free(self.ring.slots)
        self.ring.slots = wider
        self.ring.mask = 2 * capacity - 1
        self.ring.head = 0
        self.ring.tail = count
        return 0


# Private helpers are functions of the module: static in C, and absent from the .pxd.
@cython.cfunc
def entries(queue: ReadyQueue) -> list:
    found: list = []
    i: cython.size_t = queue.ring.head
    while i != queue.ring.tail:
        found.append(cython.cast(object, entry_object(queue.ring.slots[i & queue.ring.mask])))
        i += 1
    return found


@cython.cfunc
@cython.exceptval(-1, check=False)
def let_collector_see(queue: ReadyQueue) -> cython.int:
    set_ring_slots(
        cython.cast(cython.pointer(PyObject), ReadyQueue),
        cython.cast(cython.pointer(PyObject), queue),
        cython.address(queue.ring),
    )
    return 0


let_collector_see(ReadyQueue())
