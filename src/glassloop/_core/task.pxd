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
cdef int task_has_blocked(Scheduler loop, Task task, TaskTail *unfinished) except -1
cdef int step(PyObject *task, error, bint in_context) except -1
cdef int conclude(Scheduler loop, PyObject *task, int outcome, PyObject *result) except -1

# The same functions, called where an error must not leave the caller at once: they return -1 and leave it set.
ctypedef int (*Run)(PyObject *task) noexcept
ctypedef int (*Conclude)(Scheduler loop, PyObject *task, int outcome, PyObject *result) noexcept
cdef Run task_run_unchecked
cdef Conclude conclude_unchecked
cdef int adopt_callback(
    Scheduler loop, callback, PyObject **arguments, Py_ssize_t count, TaskTail *unfinished
) except -1


cdef inline TaskFields *task_fields(PyObject *task) noexcept:
    return <TaskFields *>task
