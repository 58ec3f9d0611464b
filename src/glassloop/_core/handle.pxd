# The C side of handle.py: the fields, under the names that asyncio's own handles give them.
from cpython.ref cimport Py_DECREF, PyObject


cdef class Handle:
    cdef object __weakref__
    cdef readonly object _callback           # None once cancelled
    cdef readonly object _args               # a tuple; None once cancelled
    cdef readonly object _context
    cdef readonly object _loop
    cdef public object _source_traceback     # None but in debug mode
    cdef readonly object _repr               # the text from before the cancel, in debug mode
    cdef readonly bint _cancelled
    cdef int run(self) except -1
    cdef int drop(self) except -1


cdef inline int handle_fill(Handle handle, loop, callback, args, PyObject *context) except -1:
    """Take over the reference to the context."""
    handle._callback = callback
    handle._args = args
    handle._context = <object>context
    Py_DECREF(<object>context)
    handle._loop = loop
    return 0
