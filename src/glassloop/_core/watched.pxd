# The C side of watched.py.
from cpython.ref cimport PyObject

from glassloop._core.scheduler cimport Scheduler

# None of these raises. Each is called only where ReadyQueue.watched says that somebody listens, or costs little.
cdef int task_was_spawned(Scheduler loop, PyObject *task) noexcept
cdef int task_was_scheduled(PyObject *task) noexcept
cdef int step_will_begin(Scheduler loop, PyObject *task) noexcept
cdef int step_has_ended(Scheduler loop, PyObject *task, int done_before) noexcept
