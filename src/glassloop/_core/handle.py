"""Handle: a callback that was scheduled, with asyncio's own interface.

It names ``asyncio.Handle`` as its ``__class__``, so that ``isinstance`` holds. asyncio's own code writes
its repr. ``ThreadSafeHandle`` is what ``call_soon_threadsafe()`` gives from CPython 3.14 on.
"""

import _thread
import asyncio
import contextvars
import inspect
from asyncio import events, format_helpers

import cython
from cython.cimports.cpython.pythread import PyThread_get_thread_ident
from cython.cimports.cpython.ref import Py_CLEAR, Py_DECREF, Py_INCREF, PyObject
from cython.cimports.glassloop._sys.calls import Py_REFCNT, take_exception

_FORMAT_TAKES_DEBUG = "debug" in inspect.signature(format_helpers._format_callback_source).parameters


@cython.cclass
class Handle:
    def __init__(self, callback: object, args: tuple, loop: object, context: object = None) -> None:
        if context is None:
            context = contextvars.copy_context()
        self.drop()
        Py_CLEAR(self.fields.context)
        Py_CLEAR(self.fields.loop)
        self.fields.callback = owned(callback)
        self.fields.args = owned(args)
        self.fields.loop = owned(loop)
        self.fields.context = owned(context)

    @property
    def __class__(self) -> type:
        return asyncio.Handle

    @property
    def _callback(self) -> object:
        return shown(self.fields.callback)

    @property
    def _args(self) -> object:
        if self.fields.argument is not cython.NULL:
            return (cython.cast(object, self.fields.argument),)
        if self.fields.args is not cython.NULL:
            return cython.cast(object, self.fields.args)
        return None if self.fields.cancelled else ()

    @property
    def _context(self) -> object:
        handle_materialize(cython.address(self.fields.context))
        return shown(self.fields.context)

    @property
    def _loop(self) -> object:
        return shown(self.fields.loop)

    @property
    def _cancelled(self) -> bool:
        return self.fields.cancelled

    @property
    def _repr(self) -> object:
        return shown(self.fields.text)

    @property
    def _source_traceback(self) -> object:
        return shown(self.fields.source_traceback)

    @_source_traceback.setter
    def _source_traceback(self, traceback: object) -> None:
        Py_CLEAR(self.fields.source_traceback)  # empty before it is dropped: a destructor may look here
        self.fields.source_traceback = cython.NULL if traceback is None else owned(traceback)

    def cancel(self) -> None:
        """Do not run the callback. What it holds is dropped at once."""
        if not self.fields.cancelled:
            self.fields.cancelled = True
            self.drop()

    def cancelled(self) -> bool:
        """Whether the handle was cancelled."""
        return self.fields.cancelled

    def get_context(self) -> object:
        """The contextvars.Context in which the callback runs."""
        return self._context

    def _run(self) -> None:
        self.run()

    def _repr_info(self) -> list[str]:
        return asyncio.Handle._repr_info(self)

    def __repr__(self) -> str:
        return asyncio.Handle.__repr__(self)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def drop(self) -> cython.int:
        """Let go of the callback and its arguments; in debug mode their representation is kept."""
        if self.fields.source_traceback is not cython.NULL and self.fields.text is cython.NULL:
            self.fields.text = owned(repr(self))
        Py_CLEAR(self.fields.callback)
        Py_CLEAR(self.fields.argument)
        Py_CLEAR(self.fields.args)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def run(self) -> cython.int:
        """Call the callback. SystemExit and KeyboardInterrupt go on, the rest is the exception handler's."""
        if Py_REFCNT(cython.cast(cython.pointer(PyObject), self)) > 1:
            handle_track(cython.cast(cython.pointer(PyObject), self))  # somebody else holds it too
        if self.fields.cancelled or self.fields.callback is cython.NULL:
            return 0
        result: cython.pointer(PyObject) = handle_call(cython.address(self.fields))
        if result is cython.NULL:
            return report(self)
        Py_DECREF(cython.cast(object, result))
        return 0


@cython.final
@cython.cclass
class ThreadSafeHandle(Handle):
    """A handle that other threads may cancel: while the callback runs, they wait until it has ended.

    asyncio's has a reentrant lock, which it holds while the callback runs. Locks are made here by who has to
    wait, and most handles have none.
    """

    @property
    def __class__(self) -> type:
        return events._ThreadSafeHandle

    def cancel(self) -> None:
        """Do not run the callback; if another thread runs it, wait for its end first."""
        self.wait_for_runner()
        Handle.cancel(self)

    def cancelled(self) -> bool:
        """Whether the handle was cancelled; if another thread runs the callback, wait for its end first."""
        self.wait_for_runner()
        return self.fields.cancelled

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def wait_for_runner(self) -> cython.int:
        while self.runner != 0 and self.runner != PyThread_get_thread_ident():
            lock = _thread.allocate_lock()
            lock.acquire()
            if self.waiters is cython.NULL:
                self.waiters = owned([])
            cython.cast(list, self.waiters).append(lock)
            lock.acquire()
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def run(self) -> cython.int:
        self.wait_for_runner()
        outer: cython.ulong = self.runner  # the callback may run its own handle
        self.runner = PyThread_get_thread_ident()
        try:
            return Handle.run(self)
        finally:
            self.runner = outer
            if outer == 0 and self.waiters is not cython.NULL:
                waiters: list = cython.cast(list, self.waiters)
                Py_CLEAR(self.waiters)
                for lock in waiters:
                    lock.release()


@cython.cfunc
def thread_safe_handle_new(
    loop: object,
    callback: object,
    arguments: cython.pointer(cython.pointer(PyObject)),
    count: cython.Py_ssize_t,
    context: cython.pointer(PyObject),
) -> Handle:
    """A handle for ``callback`` that other threads may cancel; takes over the reference to the context."""
    handle: ThreadSafeHandle = ThreadSafeHandle.__new__(ThreadSafeHandle)
    handle_fill(
        cython.address(handle.fields),
        cython.cast(cython.pointer(PyObject), loop),
        cython.cast(cython.pointer(PyObject), callback),
        arguments,
        count,
        context,
    )
    return handle


@cython.cfunc
def handle_new(
    loop: cython.pointer(PyObject),
    callback: cython.pointer(PyObject),
    arguments: cython.pointer(cython.pointer(PyObject)),
    count: cython.Py_ssize_t,
    context: cython.pointer(PyObject),
) -> cython.pointer(PyObject):
    """A new handle for ``callback`` with ``count`` arguments; takes over the reference to the context."""
    return handle_allocate(loop, callback, arguments, count, context)


@cython.cfunc
@cython.exceptval(-1, check=False)
def report(handle: Handle) -> cython.int:
    """Tell the loop's exception handler of the exception that is set. Texts and keys are asyncio's."""
    exc = cython.cast(object, take_exception())
    Py_DECREF(exc)  # the local variable holds its own reference now
    if isinstance(exc, (SystemExit, KeyboardInterrupt)):
        raise exc
    handle_track(cython.cast(cython.pointer(PyObject), handle))
    loop = handle._loop
    callback, args = handle._callback, handle._args or ()
    if _FORMAT_TAKES_DEBUG:
        text = format_helpers._format_callback_source(callback, args, debug=loop.get_debug())
    else:
        text = format_helpers._format_callback_source(callback, args)
    context = {"message": f"Exception in callback {text}", "exception": exc, "handle": handle}
    if handle._source_traceback:
        context["source_traceback"] = handle._source_traceback
    loop.call_exception_handler(context)
    return 0


@cython.cfunc
@cython.exceptval(check=False)
@cython.inline
def owned(thing: object) -> cython.pointer(PyObject):
    Py_INCREF(thing)
    return cython.cast(cython.pointer(PyObject), thing)


@cython.cfunc
@cython.inline
def shown(field: cython.pointer(PyObject)) -> object:
    return None if field is cython.NULL else cython.cast(object, field)


@cython.cfunc
@cython.exceptval(-1, check=False)
def set_up(handle: Handle) -> cython.int:
    handle_set_slots(
        cython.cast(cython.pointer(PyObject), Handle),
        cython.cast(cython.pointer(PyObject), handle),
        cython.address(handle.fields),
    )
    handle_share_slots(cython.cast(cython.pointer(PyObject), ThreadSafeHandle))
    return 0


HAS_THREAD_SAFE_HANDLES = hasattr(events, "_ThreadSafeHandle")
set_up(Handle.__new__(Handle))
