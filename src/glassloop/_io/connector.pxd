# The C side of connector.py.


cdef class Attempt:
    cdef int fd
    cdef int family
    cdef object socket      # the Python socket, or None
    cdef bytes peer         # the packed address of the other end, once there is one
