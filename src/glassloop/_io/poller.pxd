# The C side of poller.py.
from cpython.ref cimport PyObject
from libc.stdint cimport uint32_t, uintptr_t

from glassloop._core.ready cimport ReadyQueue
from glassloop._core.source cimport IOSource, Poller
from glassloop._sys.epoll cimport epoll_event

cdef extern from "gc_slots.h":
    void set_owner_slots "glassloop_set_owner_slots"(
        PyObject *poller_type, PyObject *instance, uintptr_t **owners, int *capacity,
        int (*clear)(PyObject *) noexcept
    ) noexcept


cdef class EpollCore(Poller):
    cdef readonly int epoll_fd
    cdef bint wake_pending
    cdef int batch_size         # how many events the next harvest takes
    cdef uintptr_t *owners      # by file descriptor: an owned reference to an IOSource, or 1 for a selectors key
    cdef int capacity
    cdef int keeping            # so many of them keep their descriptors: see Poller.keep
    cdef object process_events  # the loop's _process_events, for what was registered under a selectors key
    cdef ReadyQueue ready       # the loop's, or None
    cdef object __weakref__
    cdef int claim(self, int fd, uintptr_t owner, uint32_t before, uint32_t events) except -1
    cdef int control(self, int fd, uint32_t before, uint32_t events) except -1
    cdef void replace(self, int fd, uintptr_t owner) noexcept
    cdef void forget(self, IOSource source) noexcept
    cdef int deliver(self, ReadyQueue ready, epoll_event *batch, int count) except -1
    cdef int seen_again(self) except -1
