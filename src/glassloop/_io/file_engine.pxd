# The C side of file_engine.py.
from libc.stdint cimport int64_t

from glassloop._core.scheduler cimport Scheduler
from glassloop._core.source cimport IOSource
from glassloop._io.file_operation cimport Busy, FileOperation
from glassloop._io.file_threads cimport FileThreads
from glassloop._io.uring cimport Ring


cdef class InlineBudget(IOSource):
    cdef Scheduler loop
    cdef int64_t left           # bytes that may still be copied inline in this batch
    cdef bint counting          # the end of the batch will fill it up
    cdef bint spend(self, int64_t amount) except -1


cdef class FileEngine:
    cdef readonly str name
    cdef readonly bint inline
    cdef bint opens_inline
    cdef Scheduler loop
    cdef Ring ring              # None: threads
    cdef FileThreads threads
    cdef Busy busy
    cdef InlineBudget budget
    cdef object begin(self, FileOperation operation, object kind, object subject, int fd)
    cdef object in_thread(
        self, object kind, object subject, int fd, bint writes, bint opens, object function, tuple arguments
    )
    cdef object read_slowly(self, int fd, bytes data, int64_t size, int64_t moved, int64_t offset, bint large)
    cdef object read_file_inline(self, object path, bytes encoded, int flags)
