"""Future: asyncio's own Future, whose stock fields stay authoritative, made and woken without Python calls.

Everything that is not overridden here is asyncio's C code working on the same object. A task of ours that
waits is itself the callback: no wake-up object is made, and the task goes straight into the ready queue.
"""

import cython
from cython.cimports.cpython.list import PyList_GET_ITEM, PyList_GET_SIZE
from cython.cimports.cpython.ref import Py_CLEAR, Py_DECREF, Py_INCREF, Py_XDECREF, PyObject
from cython.cimports.glassloop._core.scheduler import Scheduler
from cython.cimports.glassloop._core.task_state import FUTURE_DONE, task_becomes_ready
from cython.cimports.glassloop._sys.asyncio_types import (
    FINISHED,
    PENDING,
    FutureFields,
    allocate_future,
    set_future_slots,
)
from cython.cimports.glassloop._sys.calls import is_exactly, is_instance

from glassloop._core.scheduler import Scheduler


@cython.cclass
class Future(StockFuture):
    """An ``asyncio.Future`` of a glassloop loop; ``loop.create_future()`` makes it."""

    def set_result(self, result: object) -> None:
        """Mark the future done and set its result; InvalidStateError if it is done already."""
        future_set_result(cython.cast(cython.pointer(PyObject), self), result)

    @property
    def _callbacks(self) -> object:
        return named_callbacks(StockFuture._callbacks.__get__(self))


@cython.cfunc
def future_new(loop: Scheduler) -> Future:
    """A pending future of the loop, made without ``__init__``."""
    allocated: cython.pointer(PyObject) = allocate_future()
    future: Future = cython.cast(Future, allocated)
    Py_DECREF(future)  # the local variable holds its own reference now
    Py_INCREF(loop)
    future_fields(allocated).loop = cython.cast(cython.pointer(PyObject), loop)
    if loop.writer is not cython.NULL:
        future.tail.site = loop.recorder.running_site(False)
    return future


@cython.cfunc
@cython.exceptval(-1, check=False)
def future_set_result(future: cython.pointer(PyObject), result: object) -> cython.int:
    fields: cython.pointer(FutureFields) = future_fields(future)
    if (
        fields.state != PENDING
        or fields.loop is cython.NULL
        or not isinstance(cython.cast(object, fields.loop), Scheduler)
        or (
            cython.cast(Scheduler, fields.loop)._debug
            and not cython.cast(Scheduler, fields.loop).call_soon_overridden
        )
    ):
        # Errors, foreign loops and debug mode's checks are asyncio's.
        StockFuture.set_result(cython.cast(object, future), result)
        return 0
    Py_INCREF(result)
    fields.result = cython.cast(cython.pointer(PyObject), result)
    fields.state = FINISHED
    return future_wake_waiters(future)


@cython.cfunc
@cython.exceptval(-1, check=False)
def future_wake_waiters(future: cython.pointer(PyObject)) -> cython.int:
    """Make ready who waits for this future, in the order of coming. It is done; its loop is a Scheduler."""
    fields: cython.pointer(FutureFields) = future_fields(future)
    loop: object = cython.cast(object, fields.loop)
    callback: cython.pointer(PyObject) = fields.callback0
    context: cython.pointer(PyObject) = fields.context0
    i: cython.Py_ssize_t
    if fields.callbacks is cython.NULL:
        if callback is cython.NULL:
            return 0
        if (
            is_exactly(callback, task_type)
            and not cython.cast(Scheduler, loop).call_soon_overridden
            and not cython.cast(Scheduler, loop)._closed
        ):
            # One task waits, as nearly always. Its place in the ready queue is kept: it cannot be refused.
            fields.callback0 = cython.NULL
            fields.context0 = cython.NULL
            task = cython.cast(object, callback)
            Py_DECREF(task)  # the local variable holds its own reference now
            Py_XDECREF(context)
            return task_becomes_ready(cython.cast(Scheduler, loop).ready, callback, FUTURE_DONE)
    failure = None
    if callback is not cython.NULL:
        # Out of the future first: an overridden call_soon() may do anything to it. So below.
        fields.callback0 = cython.NULL
        fields.context0 = cython.NULL
        try:
            wake(loop, callback, context, future)
        except MemoryError as exc:
            failure = (
                exc  # the others may need less, or none: a task's place in the ready queue is kept for it
            )
        except BaseException:
            Py_CLEAR(fields.callbacks)  # as in asyncio: whom call_soon() refuses, it refuses all
            raise
        finally:
            Py_DECREF(cython.cast(object, callback))
            Py_XDECREF(context)
    if fields.callbacks is not cython.NULL:
        callbacks: list = cython.cast(list, fields.callbacks)
        fields.callbacks = cython.NULL
        Py_DECREF(callbacks)  # the local variable holds its own reference now
        for i in range(PyList_GET_SIZE(callbacks)):
            entry: tuple = cython.cast(tuple, PyList_GET_ITEM(callbacks, i))
            try:
                wake(
                    loop,
                    cython.cast(cython.pointer(PyObject), entry[0]),
                    cython.cast(cython.pointer(PyObject), entry[1]),
                    future,
                )
            except MemoryError as exc:
                failure = exc
    if failure is not None:
        raise failure
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
@cython.inline
def wake(
    loop: Scheduler,
    callback: cython.pointer(PyObject),
    context: cython.pointer(PyObject),
    future: cython.pointer(PyObject),
) -> cython.int:
    if loop.call_soon_overridden:
        scheduled = cython.cast(object, callback)
        loop.call_soon(
            scheduled.task_wakeup if is_task(callback) else scheduled,
            cython.cast(object, future),
            context=None if context is cython.NULL else cython.cast(object, context),
        )
        return 0
    if loop._closed:
        raise RuntimeError("Event loop is closed")
    if is_task(callback):
        return task_becomes_ready(loop.ready, callback, FUTURE_DONE)
    loop.make_ready(
        cython.cast(object, callback),
        cython.address(future),
        1,
        None if context is cython.NULL else cython.cast(object, context),
    )
    return 0


@cython.cfunc
@cython.exceptval(check=False)
@cython.inline
def is_task(callback: cython.pointer(PyObject)) -> cython.bint:
    return task_type is not cython.NULL and (
        is_exactly(callback, task_type) or is_instance(callback, task_type)
    )


@cython.cfunc
def named_callbacks(callbacks: list) -> list:
    """asyncio's list of callbacks, with a waiting task shown as the wake-up that it stands for."""
    if callbacks is None:
        return None
    return [
        (callback.task_wakeup, context)
        if is_task(cython.cast(cython.pointer(PyObject), callback))
        else (callback, context)
        for callback, context in callbacks
    ]


future_set_result_unchecked = cython.cast(SetResult, future_set_result)
set_future_slots(cython.cast(cython.pointer(PyObject), Future))
