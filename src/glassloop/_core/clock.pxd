# The C side of clock.py: clock_gettime(2), and the processor's tick counter for intervals that need no unit.
from libc.stdint cimport int64_t, uint64_t

cdef extern from "clock.h":
    int64_t monotonic_ns "glassloop_monotonic_ns"() noexcept nogil
    int64_t realtime_ns "glassloop_realtime_ns"() noexcept nogil
    uint64_t ticks "glassloop_ticks"() noexcept nogil
    uint64_t ticks_per_20_us "glassloop_ticks_per_20_us"() noexcept nogil


cdef class Clock:
    cdef double read(self) except? -1


cdef class MethodClock(Clock):
    cdef object time_method
