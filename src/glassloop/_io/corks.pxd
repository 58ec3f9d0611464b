# The C side of corks.py.
from cpython.ref cimport PyObject


# A link of the chain. It lies on the stack of who calls the method, and costs nothing while none runs.
cdef struct Cork:
    PyObject *transport     # a StreamTransport (borrowed)
    unsigned long thread    # whose stack it lies on
    Cork *previous
    Cork *next


cdef void corks_add(Cork *cork, transport) noexcept
cdef void corks_remove(Cork *cork) noexcept
cdef list corked_transports()
