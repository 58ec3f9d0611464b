"""Handle: a callback that was scheduled, with asyncio's own interface.

It names ``asyncio.Handle`` as its ``__class__``, so ``isinstance`` holds, and asyncio's own code writes its repr.
"""

import asyncio
import contextvars
import inspect
from asyncio import format_helpers

import cython
from cython.cimports.cpython.ref import Py_DECREF, PyObject
from cython.cimports.glassloop._sys.calls import call_in_context, take_exception

_FORMAT_TAKES_DEBUG = "debug" in inspect.signature(format_helpers._format_callback_source).parameters


@cython.freelist(512)
@cython.cclass
class Handle:
    def __init__(self, callback: object, args: tuple, loop: object, context: object = None) -> None:
        if context is None:
            context = contextvars.copy_context()
        self._callback = callback
        self._args = args
        self._context = context
        self._loop = loop

    @property
    def __class__(self) -> type:
        return asyncio.Handle

    def cancel(self) -> None:
        """Do not run the callback. What it holds is dropped at once."""
        if not self._cancelled:
            self._cancelled = True
            if self._loop.get_debug():
                # Keep a representation for debug mode: the callback and its arguments are dropped.
                self._repr = repr(self)
            self.drop()

    def cancelled(self) -> bool:
        """Whether the handle was cancelled."""
        return self._cancelled

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
        self._callback = None
        self._args = None
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def run(self) -> cython.int:
        """Call the callback. SystemExit and KeyboardInterrupt go to the caller, the rest to the exception handler."""
        # References of our own: the callback may cancel its handle.
        callback = self._callback
        args = self._args
        context = self._context
        result: cython.pointer(PyObject) = call_in_context(
            cython.cast(cython.pointer(PyObject), context),
            cython.cast(cython.pointer(PyObject), callback),
            cython.cast(cython.pointer(PyObject), args),
        )
        if result is cython.NULL:
            report(self, callback, args)
        else:
            Py_DECREF(cython.cast(object, result))
        return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def report(handle: Handle, callback: object, args: object) -> cython.int:
    """Tell the loop's exception handler of the exception that is set. Texts and keys are asyncio's."""
    exc = cython.cast(object, take_exception())
    Py_DECREF(exc)  # the local variable holds its own reference now
    if isinstance(exc, (SystemExit, KeyboardInterrupt)):
        raise exc
    loop = handle._loop
    if _FORMAT_TAKES_DEBUG:
        text = format_helpers._format_callback_source(callback, args, debug=loop.get_debug())
    else:
        text = format_helpers._format_callback_source(callback, args)
    context = {"message": f"Exception in callback {text}", "exception": exc, "handle": handle}
    if handle._source_traceback:
        context["source_traceback"] = handle._source_traceback
    loop.call_exception_handler(context)
    return 0
