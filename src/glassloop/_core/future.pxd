# The C side of future.py.
from cpython.ref cimport PyObject

from glassloop._core.scheduler cimport Scheduler
from glassloop._sys.asyncio_types cimport Future as StockFuture
from glassloop._sys.asyncio_types cimport FutureFields, FutureTail


cdef class Future(StockFuture):
    cdef FutureTail tail


# asyncio.Task's subclass of ours, told by task.py: among a future's callbacks it stands for its own wake-up.
cdef PyObject *task_type

cdef Future future_new(Scheduler loop)
cdef int future_set_result(PyObject *future, result) except -1
cdef int future_wake_waiters(PyObject *future) except -1

# The same function, called where an error must not leave the caller at once: -1 leaves it set.
ctypedef int (*SetResult)(PyObject *future, object result) noexcept
cdef SetResult future_set_result_unchecked
cdef list named_callbacks(list callbacks)


cdef inline FutureFields *future_fields(PyObject *future) noexcept:
    return <FutureFields *>future
