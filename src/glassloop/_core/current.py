"""The current task: what ``asyncio.current_task()`` answers while a task of ours runs.

Up to CPython 3.13 asyncio keeps it in a dict {loop: task}. Writing that at each switch would cost as much as
the switch. But every look-up hashes the loop first: so the loop's ``__hash__`` writes the entry when it is
asked, and the end of the step removes it if it was written. From 3.14 on it is one word of the thread state.
"""

import _asyncio
import cython
from cython.cimports.cpython.ref import Py_DECREF, Py_INCREF, PyObject
from cython.cimports.glassloop._core.scheduler import Scheduler

from glassloop._core.scheduler import Scheduler

_current_tasks = cython.declare(dict, getattr(_asyncio, "_current_tasks", None))
_swap_current_task = cython.declare(object, getattr(_asyncio, "_swap_current_task", None))


@cython.cfunc
@cython.exceptval(-1, check=False)
def enter_task_otherwise(scheduler: Scheduler, task: cython.pointer(PyObject)) -> cython.int:
    if TASK_IN_THREAD:
        if not in_thread_proven:
            return enter_by_swap(scheduler, cython.cast(object, task))
        if running_task()[0] is not cython.NULL:
            refuse(task, cython.cast(object, running_task()[0]))
        Py_INCREF(cython.cast(object, task))
        running_task()[0] = task
        return 0
    # Another step of this loop is under way: a nested run. Who nests takes the outer task out of the dict.
    if not scheduler.current_published or scheduler in _current_tasks:
        refuse(task, cython.cast(object, scheduler.current))
    scheduler.current = task
    scheduler.current_published = False
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def leave_task_otherwise(scheduler: Scheduler, task: cython.pointer(PyObject)) -> cython.int:
    slot: cython.pointer(cython.pointer(PyObject))
    if TASK_IN_THREAD:
        if not in_thread_proven:
            _swap_current_task(scheduler, None)
            return 0
        slot = running_task()
        if slot[0] is task:
            slot[0] = cython.NULL
            Py_DECREF(cython.cast(object, task))
        elif slot[0] is not cython.NULL:
            raise RuntimeError(
                f"Invalid attempt to leave task {cython.cast(object, task)!r} while task "
                f"{cython.cast(object, slot[0])!r} is entered."
            )
        return 0
    scheduler.current = cython.NULL
    # Still "published": the look-up in pop() must not write it again.
    _current_tasks.pop(scheduler, None)
    scheduler.current_published = False
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def refuse(task: cython.pointer(PyObject), running: object) -> cython.int:
    raise RuntimeError(
        f"Cannot enter into task {cython.cast(object, task)!r} "
        f"while another task {running!r} is being executed."
    )


@cython.cfunc
@cython.exceptval(-1, check=False)
def enter_by_swap(scheduler: Scheduler, task: object) -> cython.int:
    previous = _swap_current_task(scheduler, task)
    if previous is not None:
        _swap_current_task(scheduler, previous)
        refuse(cython.cast(cython.pointer(PyObject), task), previous)
    return 0


def prove_in_thread() -> bool:
    """Whether the current task lies where the build believes: shown by entering one and looking."""

    class SentinelLoop:
        pass

    loop, sentinel = SentinelLoop(), SentinelTask()
    if not HAS_RUNNING_TASK or running_task()[0] is not cython.NULL:
        return False
    before = _asyncio._get_running_loop()
    _asyncio._set_running_loop(loop)
    try:
        _asyncio._enter_task(loop, sentinel)
        found: cython.bint = running_task()[0] is cython.cast(cython.pointer(PyObject), sentinel)
        _asyncio._leave_task(loop, sentinel)
        return found and running_task()[0] is cython.NULL
    finally:
        _asyncio._set_running_loop(before)


class SentinelTask:
    pass


in_thread_proven = cython.declare(cython.bint, TASK_IN_THREAD and prove_in_thread())


def method() -> str:
    """How the current task is kept, for ``glassloop doctor``."""
    if not TASK_IN_THREAD:
        return "written when asked for (dict of current tasks)"
    return "a word of the thread state" if in_thread_proven else "asyncio's _swap_current_task"
