# The C side of native.py.
from glassloop._core.scheduler cimport Scheduler
from glassloop._sys.asyncio_types cimport TaskTail


cdef class NativeScheduler(Scheduler):
    cdef TaskTail unfinished    # the head of the ring of this loop's unfinished tasks
