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
    void handle_share_slots "glassloop_handle_share_slots"(PyObject *handle_subclass) noexcept
    int handle_fill "glassloop_handle_fill"(
        HandleFields *fields, PyObject *loop, PyObject *callback, PyObject **arguments, Py_ssize_t count,
        PyObject *context
    ) except -1
    void handle_track "glassloop_handle_track"(PyObject *handle) noexcept
    int handle_materialize "glassloop_materialize"(PyObject **kept) except -1
    PyObject *handle_call "glassloop_handle_call"(HandleFields *fields) noexcept


cdef class Handle:
    cdef object __weakref__
    cdef HandleFields fields
    cdef tuple gc_mark              # never used: Cython makes a collectable type only of one that holds an object
    cdef int run(self) except -1
    cdef int drop(self) except -1


cdef class ThreadSafeHandle(Handle):
    cdef unsigned long runner       # the thread that runs the callback; 0 while none does
    cdef PyObject *waiters          # a list of locks (owned), each held by a thread that waits for the runner; or NULL
    cdef int wait_for_runner(self) except -1


# Tells the loop's exception handler of the exception that is set; SystemExit and KeyboardInterrupt go on.
cdef int report(Handle handle) except -1

# Whether this Python's call_soon_threadsafe() gives handles that other threads may cancel safely (3.14).
cdef bint HAS_THREAD_SAFE_HANDLES

# Steals the reference to the context; NULL stands for the present one.
cdef Handle thread_safe_handle_new(
    loop, callback, PyObject **arguments, Py_ssize_t count, PyObject *context
)

# A new reference. Steals the reference to the context; NULL stands for the present one.
cdef PyObject *handle_new(
    PyObject *loop, PyObject *callback, PyObject **arguments, Py_ssize_t count, PyObject *context
) except? NULL
