# The C side of file_threads.py.
from glassloop._core.scheduler cimport Scheduler
from glassloop._io.file_operation cimport Busy, FileOperation


cdef class FileThreads:
    cdef object __weakref__
    cdef Scheduler loop
    cdef object executor        # made when the first job comes
    cdef set writes             # the executor's futures of jobs that must be done before the loop is closed
    cdef object submit(self, ThreadJob job)


cdef class ThreadJob(FileOperation):
    cdef FileThreads threads
    cdef object function
    cdef tuple arguments
    cdef bint writes            # it changes a file: once begun it is done, whoever waits
    cdef bint opens             # its result is a descriptor
    cdef object running         # the executor's future
    cdef int settle(self) except -1


cdef ThreadJob new_job(FileThreads threads, object function, tuple arguments, bint writes, bint opens)
