# The C side of handle.py: the fields, and the making of handles.
from cpython.ref cimport PyObject

cdef extern from "handle_object.h":
    ctypedef struct HandleFields "GlassloopHandleFields":
        PyObject *callback
        PyObject *argument
        PyObject *args
        PyObject *context
        PyObject *loop
        PyObject *source_traceback
        PyObject *text
        bint cancelled
    int handle_set_slots "glassloop_handle_set_slots"(
        PyObject *handle_type, PyObject *instance, HandleFields *fields
    ) except -1
    PyObject *handle_allocate "glassloop_handle_new"(
        PyObject *loop, PyObject *callback, PyObject **arguments, Py_ssize_t count, PyObject *context
    ) except? NULL
    PyObject *handle_call "glassloop_handle_call"(HandleFields *fields) noexcept


cdef class Handle:
    cdef object __weakref__
    cdef HandleFields fields
    cdef tuple gc_mark              # never used: Cython makes a collectable type only of one that holds an object
    cdef int run(self) except -1
    cdef int drop(self) except -1


# A new reference. Steals the reference to the context.
cdef PyObject *handle_new(
    PyObject *loop, PyObject *callback, PyObject **arguments, Py_ssize_t count, PyObject *context
) except? NULL
