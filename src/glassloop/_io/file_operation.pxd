# The C side of file_operation.py.
from cpython.ref cimport PyObject

from glassloop._core.scheduler cimport Scheduler

cdef extern from "outcome.h":
    enum:
        NOT_DONE "GLASSLOOP_NOT_DONE"
        RESULT "GLASSLOOP_RESULT"
        ERROR "GLASSLOOP_ERROR"
    void set_outcome "glassloop_set_outcome"(
        PyObject *type, int which, int (*take)(PyObject *, PyObject **) noexcept
    ) noexcept


cdef class Busy:
    cdef dict counts        # {file descriptor: operations in flight on it}
    cdef dict waiting       # {file descriptor: operations that wait until there are none}


cdef class FileOperation:
    cdef object __weakref__
    cdef Scheduler loop
    cdef Busy busy
    cdef int fd             # what it works on; -1: no descriptor
    cdef int opened_fd      # a descriptor that is the result, and that nobody has taken; or -1
    cdef object kind        # the class that names the wait
    cdef object subject     # a path or a descriptor, for whoever asks what is waited for
    cdef object future      # made when somebody waits
    cdef object result
    cdef object error
    cdef bint done, taken, abandoned
    cdef int begin(self, Scheduler loop, Busy busy, object kind, object subject, int fd) except -1
    cdef int begin_alone(self, Scheduler loop, Busy busy, object kind, object subject, int fd) except -1
    cdef int start(self) except -1
    cdef int abandon(self) except -1
    cdef int succeed(self, object result) except -1
    cdef int succeed_with_fd(self, int fd) except -1
    cdef int fail(self, object error) except -1
    cdef int finish(self) except -1
    cdef int ended(self) except -1
    cdef int dispose(self) except -1


cdef class Finished:
    cdef object result
    cdef object error
    cdef int opened_fd


cdef object finished(object result)
cdef object opened(int fd)
cdef object failed(object error)
