# A task's state. Nobody else writes it: each transition is one function of this file, and no task becomes
# READY without a cause.
#
#   created ─→ READY ─→ RUNNING ─┬→ WAITING ─→ READY (its future is done)
#                                ├→ READY (it yielded)
#                                └→ DONE
#
# What a WAITING task waits for is its stock field `waiter`.
from cpython.ref cimport PyObject

from glassloop._core.ready cimport ReadyQueue, ready_push_reserved
from glassloop._core.watched cimport task_was_scheduled
from glassloop._sys.asyncio_types cimport TaskTail, tail_of, tail_unlink
from glassloop._sys.page cimport task_woken

cdef enum TaskState:
    READY = 0
    RUNNING = 1
    WAITING = 2
    DONE = 3

cdef enum Cause:
    CREATED = 0      # it is new
    YIELDED = 1      # it gave way with a bare yield, such as sleep(0)
    FUTURE_DONE = 2  # what it awaited is done
    THROWN = 3       # it awaited something that it must not: an error is on its way to it


cdef inline int task_becomes_ready(ReadyQueue ready, PyObject *task, Cause cause) except -1:
    cdef TaskTail *tail = tail_of(task)
    ready_push_reserved(ready, task)
    if cause == FUTURE_DONE and tail.slot != 0:
        task_woken(tail.writer, tail.slot, <unsigned char>cause)
    tail.run_state = <unsigned char>READY
    tail.cause = <unsigned char>cause
    if cause == FUTURE_DONE and ready.watched:
        task_was_scheduled(task)
    return 0


cdef inline void task_is_thrown_at(PyObject *task) noexcept:
    """Ready through a handle that carries the error."""
    cdef TaskTail *tail = tail_of(task)
    tail.run_state = <unsigned char>READY
    tail.cause = <unsigned char>THROWN


cdef inline void task_becomes_running(PyObject *task) noexcept:
    tail_of(task).run_state = <unsigned char>RUNNING


cdef inline void task_becomes_waiting(PyObject *task) noexcept:
    tail_of(task).run_state = <unsigned char>WAITING


cdef inline void task_becomes_done(PyObject *task) noexcept:
    cdef TaskTail *tail = tail_of(task)
    tail.run_state = <unsigned char>DONE
    tail_unlink(tail)
