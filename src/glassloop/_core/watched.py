"""What the instruments of a loop are told of its tasks, in the order of trio's hooks.

A task that is made is spawned, then scheduled; a step begins, leaves the task scheduled again or exited, and
ends; a task that is woken is scheduled. Knows how our tasks are laid out: asyncio's own are not told of.
"""

import cython
from cython.cimports.cpython.ref import PyObject
from cython.cimports.glassloop._core.instruments import (
    AFTER_TASK_STEP,
    BEFORE_TASK_STEP,
    TASK_EXITED,
    TASK_SCHEDULED,
    TASK_SPAWNED,
)
from cython.cimports.glassloop._core.scheduler import Scheduler
from cython.cimports.glassloop._core.task_state import DONE, FUTURE_DONE, READY
from cython.cimports.glassloop._sys.asyncio_types import TaskFields, tail_of

from glassloop._core.scheduler import Scheduler


@cython.cfunc
@cython.exceptval(check=False)
def task_was_spawned(loop: Scheduler, task: cython.pointer(PyObject)) -> cython.int:
    """A new task is about to be put into the ready queue."""
    if loop.instruments is not None:
        loop.instruments.tell(loop, TASK_SPAWNED, cython.cast(object, task))
    if loop.instruments is not None:
        loop.instruments.tell(loop, TASK_SCHEDULED, cython.cast(object, task))
    return 0


@cython.cfunc
@cython.exceptval(check=False)
def task_was_scheduled(task: cython.pointer(PyObject)) -> cython.int:
    """The task was woken: what it awaited is done."""
    loop: Scheduler = cython.cast(Scheduler, cython.cast(cython.pointer(TaskFields), task).loop)
    if loop.instruments is not None:
        loop.instruments.tell(loop, TASK_SCHEDULED, cython.cast(object, task))
    return 0


@cython.cfunc
@cython.exceptval(check=False)
def step_will_begin(loop: Scheduler, task: cython.pointer(PyObject)) -> cython.int:
    """Return whether the task is done already, which step_has_ended is to be told."""
    if loop.instruments is not None:
        loop.instruments.tell(loop, BEFORE_TASK_STEP, cython.cast(object, task))
    return tail_of(task).run_state == DONE


@cython.cfunc
@cython.exceptval(check=False)
def step_has_ended(loop: Scheduler, task: cython.pointer(PyObject), done_before: cython.int) -> cython.int:
    """Tell what the step made of the task. Who was woken, task_was_scheduled has told."""
    if loop.instruments is None:
        return 0
    if tail_of(task).run_state == READY and tail_of(task).cause != FUTURE_DONE:
        loop.instruments.tell(loop, TASK_SCHEDULED, cython.cast(object, task))
    elif tail_of(task).run_state == DONE and not done_before:
        loop.instruments.tell(loop, TASK_EXITED, cython.cast(object, task))
    if loop.instruments is not None:
        loop.instruments.tell(loop, AFTER_TASK_STEP, cython.cast(object, task))
    return 0
