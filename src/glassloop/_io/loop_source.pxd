# The C side of loop_source.py.
from libc.stdint cimport uint32_t

from glassloop._core.scheduler cimport Scheduler
from glassloop._core.source cimport IOSource


cdef class LoopSource(IOSource):
    cdef Scheduler loop     # None once the source is closed
    cdef int set_context(self, context) except -1
    cdef int set_watched(self, uint32_t events) except -1


cdef object present_context()
