"""Proof, at import, that CPython's Task and Future lie in memory as this build believes.

``fault()`` makes stock objects of known parts and compares what C reads with what went in. Where it finds a
difference, glassloop uses asyncio's own Task and Future.
"""

import asyncio
import contextvars

import _asyncio
import cython
from cython.cimports.cpython.ref import PyObject
from cython.cimports.glassloop._sys.asyncio_types import (
    CANCELLED,
    FINISHED,
    PENDING,
    future_fault,
    has_dict,
    has_weakrefs,
    layout_fault,
)


class _Loop:
    """As much of a loop as a stock Task needs to be made."""

    def get_debug(self) -> bool:
        return False

    def call_soon(self, *args: object, **kwargs: object) -> None:
        pass


async def _nothing() -> None:
    pass


@cython.cfunc
@cython.exceptval(check=False)
def pointer(thing: object) -> cython.pointer(PyObject):
    return cython.NULL if thing is None else cython.cast(cython.pointer(PyObject), thing)


@cython.cfunc
def task_fault() -> object:
    found: cython.p_const_char
    loop = _Loop()
    context = contextvars.copy_context()
    name = "glassloop's layout proof"
    coro = _nothing()
    task = _asyncio.Task(coro, loop=loop, name=name, context=context)
    task._log_destroy_pending = True
    found = layout_fault(pointer(task), pointer(loop), pointer(coro), pointer(name), pointer(context))
    task._log_destroy_pending = False  # it will never run: no complaint
    coro.close()
    return None if found is cython.NULL else found.decode()


@cython.cfunc
def check_future(
    future: object,
    callback: object,
    context: object,
    result: object,
    exception: object,
    state: cython.int,
    blocking: cython.int,
    log_tb: cython.int,
) -> object:
    found: cython.p_const_char = future_fault(
        pointer(future),
        pointer(callback),
        pointer(context),
        pointer(result),
        pointer(exception),
        state,
        blocking,
        log_tb,
    )
    return None if found is cython.NULL else found.decode()


@cython.cfunc
def futures_fault() -> object:
    import weakref

    loop = _Loop()
    context = contextvars.copy_context()
    callback = _nothing
    result = object()
    error = RuntimeError("glassloop's layout proof")
    future = _asyncio.Future(loop=loop)
    fault = check_future(future, None, None, None, None, PENDING, 0, 0)
    if fault is None and (has_dict(pointer(future)) or has_weakrefs(pointer(future))):
        fault = "Future: the words for __dict__ and weak references are not where they were expected"
    future._asyncio_future_blocking = True
    future.add_done_callback(callback, context=context)
    fault = fault or check_future(future, callback, context, None, None, PENDING, 1, 0)
    future._asyncio_future_blocking = False
    future.set_result(result)
    fault = fault or check_future(future, None, None, result, None, FINISHED, 0, 0)
    future.anything = 1
    reference = weakref.ref(future)
    if fault is None and not (has_dict(pointer(future)) and has_weakrefs(pointer(future))):
        fault = "Future: the words for __dict__ and weak references are not where they were expected"
    failed = _asyncio.Future(loop=loop)
    failed.set_exception(error)
    fault = fault or check_future(failed, None, None, None, error, FINISHED, 0, 1)
    failed.exception()  # retrieved: no complaint
    cancelled = _asyncio.Future(loop=loop)
    cancelled.cancel()
    fault = fault or check_future(cancelled, None, None, None, None, CANCELLED, 0, 0)
    del reference
    return fault


def fault() -> str | None:
    """What differs between this interpreter and the layout that glassloop was built for; None for nothing."""
    if asyncio.Task is not _asyncio.Task or asyncio.Future is not _asyncio.Future:
        return "asyncio uses another Task or Future than CPython's own"
    return task_fault() or futures_fault()
