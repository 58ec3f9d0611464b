# The C side of current.py.
from cpython.ref cimport PyObject

from glassloop._core.scheduler cimport Scheduler

cdef extern from "running_task.h":
    bint TASK_IN_THREAD "GLASSLOOP_TASK_IN_THREAD"
    bint HAS_RUNNING_TASK "GLASSLOOP_HAS_RUNNING_TASK"
    PyObject **running_task "glassloop_running_task"() noexcept

cdef int enter_task_otherwise(Scheduler scheduler, PyObject *task) except -1
cdef int leave_task_otherwise(Scheduler scheduler, PyObject *task) except -1


cdef inline int enter_task(Scheduler scheduler, PyObject *task) except -1:
    """Make the task the current one. RuntimeError if another one is running on this loop."""
    if TASK_IN_THREAD or scheduler.current != NULL:
        return enter_task_otherwise(scheduler, task)
    scheduler.current = task
    scheduler.current_published = False
    return 0


cdef inline int leave_task(Scheduler scheduler, PyObject *task) except -1:
    """No task is current any more."""
    if TASK_IN_THREAD or scheduler.current_published:
        return leave_task_otherwise(scheduler, task)
    scheduler.current = NULL
    return 0
