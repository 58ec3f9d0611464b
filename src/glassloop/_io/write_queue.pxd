# The C side of write_queue.py.


cdef class WriteQueue:
    cdef list chunks            # bytes objects, first to last
    cdef Py_ssize_t first       # the first chunk that is not sent entirely
    cdef Py_ssize_t offset      # how much of it is sent
    cdef Py_ssize_t size        # bytes left in all
    cdef int add(self, data, Py_ssize_t start) except -1
    cdef Py_ssize_t send(self, int fd, bint is_socket) except? -1
    cdef int sent(self, Py_ssize_t count) except -1


cdef bytes immutable(data, Py_ssize_t start)
cdef bytes joined(bytes first, bytes second)
cdef Py_ssize_t byte_size(data) except -1
