# The C side of current.py.
from cpython.ref cimport PyObject

from glassloop._core.scheduler cimport Scheduler

cdef extern from "running_task.h":
    bint TASK_IN_THREAD "GLASSLOOP_TASK_IN_THREAD"
    bint HAS_RUNNING_TASK "GLASSLOOP_HAS_RUNNING_TASK"
    PyObject **running_task "glassloop_running_task"() noexcept

cdef int enter_task(Scheduler scheduler, PyObject *task) except -1
cdef int leave_task(Scheduler scheduler, PyObject *task) except -1
