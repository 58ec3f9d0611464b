# The C side of task.py.
from cpython.ref cimport PyObject

from glassloop._core.scheduler cimport Scheduler
from glassloop._sys.asyncio_types cimport Future as StockFuture
from glassloop._sys.asyncio_types cimport Task as StockTask
from glassloop._sys.asyncio_types cimport TaskFields, TaskTail


cdef class Task(StockTask):
    cdef TaskTail tail


cdef Task task_new(Scheduler loop, coro, name, context, TaskTail *unfinished)
cdef int task_run(PyObject *task) except -1
cdef int adopt_callback(Scheduler loop, callback, tuple args) except -1


cdef inline TaskFields *task_fields(PyObject *task) noexcept:
    return <TaskFields *>task
