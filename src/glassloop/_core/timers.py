"""Timers: TimerHandle, and the heap of what is to run later.

The earliest deadline comes first, equal ones in the order of their making. It is a 4-ary heap of (deadline,
order, handle) that owns one reference to each handle. A handle knows its place, so that a cancelled timer
leaves at once and holds nothing.
"""

import asyncio

import cython
from cython.cimports.cpython.mem import PyMem_Free, PyMem_Realloc
from cython.cimports.cpython.ref import Py_DECREF, Py_INCREF, PyObject
from cython.cimports.glassloop._core.handle import handle_allocate, handle_set_slots, handle_track
from cython.cimports.libc.math import INFINITY

from glassloop._core.handle import Handle

INITIAL_CAPACITY = cython.declare(cython.Py_ssize_t, 64)


@cython.final
@cython.cclass
class TimerHandle(Handle):
    """A callback that is due at a time; it leaves the heap at once when it is cancelled."""

    def __cinit__(self) -> None:
        self.position = -1

    @property
    def __class__(self) -> type:
        return asyncio.TimerHandle

    @property
    def _scheduled(self) -> bool:
        return self.position >= 0

    def when(self) -> float:
        """The time at which the callback is due, in seconds of ``loop.time()``."""
        return self._when

    def cancel(self) -> None:
        """Do not run the callback, and forget the timer at once."""
        if not self.fields.cancelled:
            self.fields.cancelled = True
            self.drop()
            if self.position >= 0:
                remove(cython.cast(TimerHeap, self.heap), self.position)

    def _repr_info(self) -> list[str]:
        return asyncio.TimerHandle._repr_info(self)

    def __hash__(self) -> int:
        return hash(self._when)

    def __eq__(self, other: object) -> object:
        return asyncio.TimerHandle.__eq__(self, other)

    def __lt__(self, other: object) -> object:
        return asyncio.TimerHandle.__lt__(self, other)

    def __le__(self, other: object) -> object:
        return asyncio.TimerHandle.__le__(self, other)

    def __gt__(self, other: object) -> object:
        return asyncio.TimerHandle.__gt__(self, other)

    def __ge__(self, other: object) -> object:
        return asyncio.TimerHandle.__ge__(self, other)


@cython.final
@cython.cclass
class TimerHeap:
    def __dealloc__(self) -> None:
        forget_all(self)
        PyMem_Free(self.heap.slots)

    def __len__(self) -> cython.Py_ssize_t:
        return self.heap.count

    def __iter__(self) -> object:
        """The timers, earliest first."""
        timers: list = []
        i: cython.Py_ssize_t
        for i in range(self.heap.count):
            timers.append(
                (
                    self.heap.slots[i].deadline,
                    self.heap.slots[i].order,
                    cython.cast(object, self.heap.slots[i].timer),
                )
            )
        return iter([timer for _, _, timer in sorted(timers, key=deadline_and_order)])

    def clear(self) -> None:
        """Forget every timer."""
        forget_all(self)


@cython.cfunc
def timer_new(
    loop: object,
    when: cython.double,
    callback: object,
    arguments: cython.pointer(cython.pointer(PyObject)),
    count: cython.Py_ssize_t,
    context: cython.pointer(PyObject),
) -> TimerHandle:
    """A timer, not yet in a heap; takes over the reference to the context."""
    allocated: cython.pointer(PyObject) = handle_allocate(
        cython.cast(cython.pointer(PyObject), loop),
        cython.cast(cython.pointer(PyObject), callback),
        arguments,
        count,
        context,
    )
    handle_track(allocated)
    timer: TimerHandle = cython.cast(TimerHandle, allocated)
    Py_DECREF(timer)  # the local variable holds its own reference now
    timer._when = when
    return timer


@cython.cfunc
@cython.exceptval(-1, check=False)
def heap_push(timers: TimerHeap, timer: TimerHandle) -> cython.int:
    """Add a timer whose ``_when`` is set. On MemoryError the heap is as it was."""
    slots: cython.pointer(HeapSlot)
    if timer.position >= 0:
        raise RuntimeError(f"{timer!r} is in a heap already: a timer knows one place")
    if timers.heap.count == timers.heap.capacity:
        capacity: cython.Py_ssize_t = max(INITIAL_CAPACITY, 2 * timers.heap.capacity)
        slots = cython.cast(
            cython.pointer(HeapSlot), PyMem_Realloc(timers.heap.slots, capacity * cython.sizeof(HeapSlot))
        )
        if slots is cython.NULL:
            raise MemoryError("no memory to grow the timer heap")
        timers.heap.slots = slots
        timers.heap.capacity = capacity
    slot: HeapSlot
    # Not a number: it must not stand at the top for ever. It is due at once, as in asyncio.
    slot.deadline = timer._when if timer._when == timer._when else -INFINITY
    slot.order = timer.order = timers.made
    slot.timer = cython.cast(cython.pointer(PyObject), timer)
    timers.made += 1
    Py_INCREF(timer)
    timer.heap = cython.cast(cython.pointer(PyObject), timers)
    timers.heap.count += 1
    sift_up(timers.heap.slots, timers.heap.count - 1, slot)
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def heap_pop(timers: TimerHeap) -> cython.int:
    """Take the earliest timer out. The heap must not be empty."""
    remove(timers, 0)
    return 0


@cython.cfunc
@cython.exceptval(check=False)
@cython.inline
def before(one: cython.pointer(HeapSlot), other: cython.pointer(HeapSlot)) -> cython.bint:
    return one.deadline < other.deadline or (one.deadline == other.deadline and one.order < other.order)


@cython.cfunc
@cython.exceptval(check=False)
@cython.inline
def place(slots: cython.pointer(HeapSlot), position: cython.Py_ssize_t, slot: HeapSlot) -> cython.void:
    slots[position] = slot
    cython.cast(TimerHandle, slot.timer).position = position


@cython.cfunc
@cython.exceptval(check=False)
def sift_up(slots: cython.pointer(HeapSlot), position: cython.Py_ssize_t, slot: HeapSlot) -> cython.void:
    parent: cython.Py_ssize_t
    while position > 0:
        parent = (position - 1) >> 2
        if not before(cython.address(slot), cython.address(slots[parent])):
            break
        place(slots, position, slots[parent])
        position = parent
    place(slots, position, slot)


@cython.cfunc
@cython.exceptval(check=False)
def sift_down(
    slots: cython.pointer(HeapSlot), count: cython.Py_ssize_t, position: cython.Py_ssize_t, slot: HeapSlot
) -> cython.void:
    child: cython.Py_ssize_t
    least: cython.Py_ssize_t
    end: cython.Py_ssize_t
    while True:
        child = least = 4 * position + 1
        if child >= count:
            break
        end = min(child + 4, count)
        for child in range(child + 1, end):
            if before(cython.address(slots[child]), cython.address(slots[least])):
                least = child
        if not before(cython.address(slots[least]), cython.address(slot)):
            break
        place(slots, position, slots[least])
        position = least
    place(slots, position, slot)


@cython.cfunc
@cython.exceptval(check=False)
def remove(timers: TimerHeap, position: cython.Py_ssize_t) -> cython.void:
    slots: cython.pointer(HeapSlot) = timers.heap.slots
    timer: cython.pointer(PyObject) = slots[position].timer
    timers.heap.count -= 1
    last: HeapSlot = slots[timers.heap.count]
    cython.cast(TimerHandle, timer).position = -1
    cython.cast(TimerHandle, timer).heap = cython.NULL
    if position != timers.heap.count:
        if position > 0 and before(cython.address(last), cython.address(slots[(position - 1) >> 2])):
            sift_up(slots, position, last)
        else:
            sift_down(slots, timers.heap.count, position, last)
    # Last of all: a destructor may come back here.
    Py_DECREF(cython.cast(object, timer))


@cython.cfunc
@cython.exceptval(check=False)
def forget_all(timers: TimerHeap) -> cython.void:
    while timers.heap.count:
        remove(timers, timers.heap.count - 1)


@cython.cfunc
@cython.exceptval(check=False)
def clear_for_collector(timers: cython.pointer(PyObject)) -> cython.int:
    forget_all(cython.cast(TimerHeap, timers))
    return 0


def deadline_and_order(entry: tuple) -> tuple:
    return entry[:2]


@cython.cfunc
@cython.exceptval(-1, check=False)
def let_collector_see(timers: TimerHeap) -> cython.int:
    set_heap_slots(
        cython.cast(cython.pointer(PyObject), TimerHeap),
        cython.cast(cython.pointer(PyObject), timers),
        cython.address(timers.heap),
        clear_for_collector,
    )
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def set_up_timers(timer: TimerHandle) -> cython.int:
    handle_set_slots(
        cython.cast(cython.pointer(PyObject), TimerHandle),
        cython.cast(cython.pointer(PyObject), timer),
        cython.address(timer.fields),
    )
    return 0


let_collector_see(TimerHeap())
set_up_timers(TimerHandle.__new__(TimerHandle))
