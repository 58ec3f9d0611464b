# Python's socket object, read without calls: see socket_object.h.
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t

cdef extern from "socket_object.h":
    ctypedef struct SocketPart "struct glassloop_socket_part":
        int fd
        int family
        int type
        int64_t timeout
    Py_ssize_t socket_offset "glassloop_socket_offset"(PyObject *descriptor) noexcept
    SocketPart *socket_part "glassloop_socket_part"(PyObject *sock, Py_ssize_t offset) noexcept
    bint refers_to "glassloop_refers_to"(PyObject *reference, PyObject *thing) noexcept
