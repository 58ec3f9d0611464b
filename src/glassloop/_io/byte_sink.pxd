# The C side of byte_sink.py.


cdef class ByteSink:
    cdef int lend(self, char **memory, Py_ssize_t *size) except -1
    cdef int take(self, Py_ssize_t count) except -1
    cdef int hand_over(self) except -1
