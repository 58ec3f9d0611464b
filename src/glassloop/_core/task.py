"""Task: asyncio's own Task, whose stock fields stay authoritative, stepped by the scheduler itself.

A step runs the coroutine until it awaits, and parks the task on what it awaits. It follows asyncio's C code
(Modules/_asynciomodule.c, task_step_impl) line by line in what it does and says; what differs is the way in
and out: the task lies in the ready queue itself, and is itself the callback of the future it waits for.
"""

import asyncio
import inspect
import sys
from asyncio import futures
from asyncio.exceptions import CancelledError, InvalidStateError

import _asyncio
import cython
from cython.cimports.cpython.ref import Py_CLEAR, Py_DECREF, Py_INCREF, Py_XDECREF, PyObject
from cython.cimports.glassloop._core import future as future_module
from cython.cimports.glassloop._core.current import enter_task, leave_task
from cython.cimports.glassloop._core.future import Future, future_wake_waiters, named_callbacks
from cython.cimports.glassloop._core.ready import ready_reserve
from cython.cimports.glassloop._core.recorder import report_block
from cython.cimports.glassloop._core.scheduler import Scheduler
from cython.cimports.glassloop._core.task_state import (
    CREATED,
    DONE,
    FUTURE_DONE,
    READY,
    YIELDED,
    task_becomes_done,
    task_becomes_ready,
    task_becomes_running,
    task_becomes_waiting,
    task_is_thrown_at,
)
from cython.cimports.glassloop._core.watched import step_has_ended, step_will_begin, task_was_spawned
from cython.cimports.glassloop._sys.asyncio_types import (
    CANCELLED,
    FINISHED,
    PENDING,
    SEND_NEXT,
    SEND_RETURN,
    FutureFields,
    TaskFields,
    TaskTail,
    allocate_task,
    awaited_by_add,
    awaited_by_discard,
    coro_send,
    coro_throw,
    set_task_slots,
    step_wrapper_task,
    tail_leave_page,
    tail_link,
    tail_of,
)
from cython.cimports.glassloop._sys.calls import (
    PyCFunction_CheckExact,
    PyCFunction_GET_FUNCTION,
    PyCFunction_GET_SELF,
    PyContext_CopyCurrent,
    PyContext_Exit,
    PyCoro_CheckExact,
    call_method,
    context_enter,
    coro_code,
    is_exactly,
    is_instance,
    take_exception,
)
from cython.cimports.glassloop._sys.page import (
    AWAITED_FUTURE,
    AWAITED_NOTHING,
    AWAITED_OTHER,
    AWAITED_TASK,
    Outer,
    Writer,
    step_begins,
    step_ended,
    step_finished,
    step_yielded,
    task_made,
)
from cython.cimports.libc.stdint import int64_t, uint32_t, uint64_t

from glassloop._core.future import Future
from glassloop._core.scheduler import Scheduler

_tasks_made = cython.declare(uint64_t, 0)
_register_task = cython.declare(object, _asyncio._register_task)
# From 3.14 on asyncio, and tools that look at it from outside, find names and tasks in fields of their own.
_REGISTERS = cython.declare(cython.bint, sys.version_info >= (3, 14))
_name_throw = cython.declare(object, "throw")
_name_result = cython.declare(object, "result")
_add_awaited_by = cython.declare(object, getattr(_asyncio, "future_add_to_awaited_by", None))
_discard_awaited_by = cython.declare(object, getattr(_asyncio, "future_discard_from_awaited_by", None))


@cython.cclass
class Task(StockTask):
    """An ``asyncio.Task`` of a glassloop loop; ``loop.create_task()`` makes it."""

    def __init__(
        self,
        coro: object,
        *,
        loop: object = None,
        name: object = None,
        context: object = None,
        **options: object,
    ) -> None:
        # asyncio's own way in: its first step arrives through call_soon(), which knows it (adopt_callback).
        global _tasks_made
        _tasks_made += 1
        self.tail.id = _tasks_made
        StockTask.__init__(self, coro, loop=loop, name=name, context=context, **options)
        if options:
            settle(self)

    def task_wakeup(self, future: object) -> None:
        """Step the task with what the future holds: what asyncio calls when the future is done."""
        require_own(self)
        done: cython.int = told_of_begin(self)
        try:
            wake_and_step(cython.cast(cython.pointer(PyObject), self), future, True)
        finally:
            told_of_end(self, done)

    def _throw(self, error: object) -> None:
        require_own(self)
        done: cython.int = told_of_begin(self)
        try:
            step(cython.cast(cython.pointer(PyObject), self), error, True)
        finally:
            told_of_end(self, done)

    def get_name(self) -> str:
        """The task's name; ``Task-N`` where none was given."""
        name: cython.pointer(PyObject) = task_fields(cython.cast(cython.pointer(PyObject), self)).name
        if name is cython.NULL:
            return f"Task-{self.tail.id}"
        given = cython.cast(object, name)
        return given if isinstance(given, str) else f"Task-{given}"

    def set_name(self, value: object) -> None:
        """Give the task another name."""
        StockTask.set_name(self, value)
        fields: cython.pointer(TaskFields) = task_fields(cython.cast(cython.pointer(PyObject), self))
        if self.tail.slot != 0 and fields.loop is not cython.NULL:
            loop: Scheduler = cython.cast(Scheduler, fields.loop)
            if loop.recorder is not None:
                self.tail.named = True
                loop.recorder.name_task(self.tail.slot, value)

    @property
    def _page_id(self) -> int:
        """Its number in the loop's page."""
        return self.tail.id

    @property
    def run_state(self) -> str:
        """READY, RUNNING, WAITING or DONE."""
        return RUN_STATES[self.tail.run_state]

    @property
    def cause(self) -> str:
        """What made the task ready last: CREATED, YIELDED, FUTURE_DONE or THROWN."""
        return CAUSES[self.tail.cause]

    @property
    def _callbacks(self) -> object:
        return named_callbacks(StockTask._callbacks.__get__(self))


RUN_STATES = cython.declare(tuple, ("READY", "RUNNING", "WAITING", "DONE"))
CAUSES = cython.declare(tuple, ("CREATED", "YIELDED", "FUTURE_DONE", "THROWN"))


@cython.cfunc
@cython.exceptval(-1, check=False)
def require_own(task: Task) -> cython.int:
    """Python code may call a task's methods on any: one that was not initialized, or a foreign loop's."""
    loop: cython.pointer(PyObject) = task_fields(cython.cast(cython.pointer(PyObject), task)).loop
    if loop is cython.NULL or not isinstance(cython.cast(object, loop), Scheduler):
        raise RuntimeError(f"{task!r} is no task of a glassloop loop: its own loop has to step it")
    return 0


@cython.cfunc
@cython.exceptval(check=False)
def told_of_begin(task: Task) -> cython.int:
    """A handle steps the task: the instruments hear of it here, and not from the scheduler."""
    pointer: cython.pointer(PyObject) = cython.cast(cython.pointer(PyObject), task)
    return step_will_begin(cython.cast(Scheduler, task_fields(pointer).loop), pointer)


@cython.cfunc
@cython.exceptval(check=False)
def told_of_end(task: Task, done: cython.int) -> cython.int:
    pointer: cython.pointer(PyObject) = cython.cast(cython.pointer(PyObject), task)
    return step_has_ended(cython.cast(Scheduler, task_fields(pointer).loop), pointer, done)


# -- making -------------------------------------------------------------------------------------


@cython.cfunc
def task_new(
    loop: Scheduler, coro: object, name: object, context: object, unfinished: cython.pointer(TaskTail)
) -> Task:
    """A task that is ready for its first step, made without ``__init__``; joins the ring ``unfinished``."""
    global _tasks_made
    if not PyCoro_CheckExact(coro) and not asyncio.iscoroutine(coro):
        raise TypeError(f"a coroutine was expected, got {coro!r}")
    if name is not None:
        name = str(name)
    allocated: cython.pointer(PyObject) = allocate_task()
    task: Task = cython.cast(Task, allocated)
    Py_DECREF(task)  # the local variable holds its own reference now
    fields: cython.pointer(TaskFields) = task_fields(allocated)
    _tasks_made += 1
    task.tail.id = _tasks_made
    if name is None and _REGISTERS:
        name = task.tail.id
    if context is None:
        fields.context = PyContext_CopyCurrent()
    else:
        Py_INCREF(context)
        fields.context = cython.cast(cython.pointer(PyObject), context)
    Py_INCREF(loop)
    fields.loop = cython.cast(cython.pointer(PyObject), loop)
    Py_INCREF(coro)
    fields.coro = cython.cast(cython.pointer(PyObject), coro)
    if name is not None:
        Py_INCREF(name)
        fields.name = cython.cast(cython.pointer(PyObject), name)
    ready_reserve(loop.ready)
    tail_link(unfinished, tail_of(allocated), cython.address(loop.ready.ring.reserved))
    show_task(loop, allocated)
    if _REGISTERS:
        _register_task(task)
    if loop.ready.watched:
        task_was_spawned(loop, allocated)
    task_becomes_ready(loop.ready, allocated, CREATED)
    # Only now that it will run: a task that never ran must not complain of having been destroyed.
    fields.log_destroy_pending = 1
    return task


@cython.cfunc
@cython.exceptval(-1, check=False)
def show_task(loop: Scheduler, task: cython.pointer(PyObject)) -> cython.int:
    """Give a new task its place in the loop's page."""
    tail: cython.pointer(TaskTail) = tail_of(task)
    fields: cython.pointer(TaskFields) = task_fields(task)
    site: uint32_t = 0
    if loop.writer is cython.NULL:
        loop.record()
        if loop.writer is cython.NULL:
            return 0
    coro = cython.cast(object, fields.coro)
    if PyCoro_CheckExact(coro):
        site = loop.recorder.site_of(coro_code(fields.coro))
    tail.slot = task_made(loop.writer, tail.id, site, loop.recorder.running_site(True))
    if tail.slot != 0:
        tail.writer = loop.writer
        if fields.name is not cython.NULL and isinstance(cython.cast(object, fields.name), str):
            tail.named = True
            loop.recorder.name_task(tail.slot, cython.cast(object, fields.name))
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def show_initialized_task(loop: Scheduler, task: cython.pointer(PyObject)) -> cython.int:
    """The same for a task that asyncio's ``__init__`` made: it may have given it a number of its own."""
    tail: cython.pointer(TaskTail) = tail_of(task)
    show_task(loop, task)
    if tail.slot != 0 and not tail.named and task_fields(task).name is not cython.NULL:
        tail.named = True
        loop.recorder.name_task(tail.slot, cython.cast(object, task).get_name())
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def record_end(loop: Scheduler, task: cython.pointer(PyObject), outer: cython.pointer(Outer)) -> cython.int:
    """Tell what the step that is over left the task with."""
    tail: cython.pointer(TaskTail) = tail_of(task)
    awaited: cython.int = AWAITED_NOTHING
    subject: uint64_t = 0
    site: uint32_t = 0
    deadline_ns: int64_t = 0
    waiter: cython.pointer(PyObject) = task_fields(task).waiter
    if waiter is not cython.NULL:
        if is_exactly(waiter, cython.cast(cython.pointer(PyObject), Future)):
            awaited = AWAITED_FUTURE
            site = cython.cast(Future, waiter).tail.site
            deadline_ns = cython.cast(Future, waiter).tail.deadline_ns
        elif is_instance(waiter, cython.cast(cython.pointer(PyObject), Task)):
            awaited = AWAITED_TASK
            subject = tail_of(waiter).id
        else:
            awaited = AWAITED_OTHER
            site = loop.recorder.site_of_type(cython.cast(object, waiter))
    if tail.run_state == DONE and tail.slot != 0:
        step_finished(loop.writer, outer, tail.run_state, tail.cause)
        if loop.writer.full:
            loop.recorder.record_name(tail.slot, tail.named)
        tail_leave_page(tail)
    else:
        step_ended(loop.writer, outer, tail.run_state, tail.cause, awaited, subject, site, deadline_ns)
    if loop.writer.blocked:
        report_block(loop.recorder, loop.slow_callback_duration)
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def settle(task: Task) -> cython.int:
    """An eager task has run asyncio's way until it blocked, if it did: from here on it is as all others."""
    pointer: cython.pointer(PyObject) = cython.cast(cython.pointer(PyObject), task)
    fields: cython.pointer(TaskFields) = task_fields(pointer)
    if fields.state != PENDING:
        task_becomes_done(pointer)
        return 0
    if fields.loop is cython.NULL or not isinstance(cython.cast(object, fields.loop), Scheduler):
        return 0
    return cython.cast(Scheduler, fields.loop).adopt_blocked(task)


@cython.cfunc
@cython.exceptval(-1, check=False)
def task_has_blocked(loop: Scheduler, task: Task, unfinished: cython.pointer(TaskTail)) -> cython.int:
    """An eager task waits for the first time: it joins the ring ``unfinished``, and shows in the page."""
    pointer: cython.pointer(PyObject) = cython.cast(cython.pointer(PyObject), task)
    fields: cython.pointer(TaskFields) = task_fields(pointer)
    outer: Outer
    if fields.waiter is cython.NULL or task.tail.next is not cython.NULL or loop.call_soon_overridden:
        return 0  # it has yielded, and call_soon() knows it already; or every wake-up is to pass through that
    ready_reserve(loop.ready)
    tail_link(unfinished, cython.address(task.tail), cython.address(loop.ready.ring.reserved))
    task_becomes_waiting(pointer)
    take_wakeup_over(pointer, fields.waiter)
    show_initialized_task(loop, pointer)
    if task.tail.slot != 0:
        step_begins(loop.writer, cython.address(outer), task.tail.id, task.tail.slot)
        record_end(loop, pointer, cython.address(outer))
    if loop.ready.watched:
        task_was_spawned(loop, pointer)
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def take_wakeup_over(task: cython.pointer(PyObject), awaited: cython.pointer(PyObject)) -> cython.int:
    """Put the task in the place of the wake-up that asyncio gave to the future which it awaits."""
    future: cython.pointer(FutureFields) = cython.cast(cython.pointer(FutureFields), awaited)
    i: cython.Py_ssize_t
    if not is_our_future(awaited):
        return 0  # asyncio hands the wake-up to call_soon(), which knows it
    if future.callback0 is not cython.NULL and is_wakeup_of(future.callback0, task):
        Py_INCREF(cython.cast(object, task))
        Py_DECREF(cython.cast(object, future.callback0))
        future.callback0 = task
    elif future.callbacks is not cython.NULL:
        callbacks: list = cython.cast(list, future.callbacks)
        for i in range(len(callbacks)):
            entry: tuple = cython.cast(tuple, callbacks[i])
            if is_wakeup_of(cython.cast(cython.pointer(PyObject), entry[0]), task):
                callbacks[i] = (cython.cast(object, task), entry[1])
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def is_wakeup_of(callback: cython.pointer(PyObject), task: cython.pointer(PyObject)) -> cython.bint:
    """Whether this is the built-in function by which asyncio's C code wakes a task."""
    function = cython.cast(object, callback)
    return (
        PyCFunction_CheckExact(function)
        and PyCFunction_GET_SELF(function) is task
        and function.__name__ in ("task_wakeup", "TaskWakeup")
    )


# -- one step -----------------------------------------------------------------------------------


@cython.cfunc
@cython.exceptval(-1, check=False)
def task_run(task: cython.pointer(PyObject)) -> cython.int:
    """The next step of a task out of the ready queue. What the task itself raises ends in the task."""
    waiter: cython.pointer(PyObject) = task_fields(task).waiter
    if waiter is cython.NULL:
        return step(task, None, False)
    return wake_and_step(task, cython.cast(object, waiter), False)


@cython.cfunc
@cython.exceptval(-1, check=False)
def wake_and_step(task: cython.pointer(PyObject), future: object, in_context: cython.bint) -> cython.int:
    """Step the task with what the future, which is done, has for it."""
    fields: cython.pointer(FutureFields) = cython.cast(
        cython.pointer(FutureFields), cython.cast(cython.pointer(PyObject), future)
    )
    if (
        is_known_future(cython.cast(cython.pointer(PyObject), future))
        and fields.state == FINISHED
        and fields.exception is cython.NULL
    ):
        fields.log_tb = 0
        return step(task, None, in_context)
    # The result, or what result() raises, taken in C: no frame of ours gets into its traceback.
    result: cython.pointer(PyObject) = call_method(
        cython.cast(cython.pointer(PyObject), future),
        cython.cast(cython.pointer(PyObject), _name_result),
        cython.NULL,
    )
    if result is not cython.NULL:
        Py_DECREF(cython.cast(object, result))
        return step(task, None, in_context)
    error = cython.cast(object, take_exception())
    Py_DECREF(error)  # the local variable holds its own reference now
    return step(task, error, in_context)


@cython.cfunc
@cython.exceptval(-1, check=False)
def step(task: cython.pointer(PyObject), error: object, in_context: cython.bint) -> cython.int:
    """Run the coroutine until it awaits; ``error`` is thrown into it. ``in_context``: its context is set."""
    fields: cython.pointer(TaskFields) = task_fields(task)
    waiter: cython.pointer(PyObject)
    result: cython.pointer(PyObject) = cython.NULL
    outcome: cython.int
    status: cython.int
    if fields.state != PENDING:
        raise InvalidStateError(f"__step(): already done: {cython.cast(object, task)!r} {error!r}")
    if fields.must_cancel:
        if not isinstance(error, CancelledError):
            error = cython.cast(object, task)._make_cancelled_error()
        fields.must_cancel = 0
    waiter = fields.waiter
    if waiter is not cython.NULL:
        fields.waiter = cython.NULL
        if _REGISTERS and awaited_by_discard(waiter, task, is_known_future(waiter)):
            _discard_awaited_by(cython.cast(object, waiter), cython.cast(object, task))
        Py_DECREF(cython.cast(object, waiter))
    if fields.coro is cython.NULL:
        raise RuntimeError("uninitialized Task object")
    # References of the step's own: the coroutine may do anything to its task.
    loop: Scheduler = cython.cast(Scheduler, fields.loop)
    context = cython.cast(object, fields.context)
    coro = cython.cast(object, fields.coro)
    enter_task(loop, task)
    if not in_context and context_enter(cython.cast(cython.pointer(PyObject), context)) < 0:
        return undo_enter(loop, task)
    task_becomes_running(task)
    writer: cython.pointer(Writer) = loop.writer
    outer: Outer
    if writer is not cython.NULL:
        step_begins(writer, cython.address(outer), tail_of(task).id, tail_of(task).slot)
    if error is None:
        outcome = coro_send(cython.cast(cython.pointer(PyObject), coro), cython.address(result))
    else:
        outcome = coro_throw(
            cython.cast(cython.pointer(PyObject), coro), _name_throw, error, cython.address(result)
        )
        error = None
    status = conclude_unchecked(loop, task, outcome, result)
    if status < 0:
        # The step is over all the same; then the error goes on its way.
        failure = cython.cast(object, take_exception())
        Py_DECREF(failure)  # the local variable holds its own reference now
        if writer is not cython.NULL and writer is loop.writer:
            record_end(loop, task, cython.address(outer))
        leave_task(loop, task)
        if not in_context:
            PyContext_Exit(cython.cast(cython.pointer(PyObject), context))
        raise failure
    if writer is not cython.NULL and writer is loop.writer:
        if tail_of(task).run_state == READY and not writer.blocked:
            step_yielded(writer, cython.address(outer), tail_of(task).cause)
        else:
            record_end(loop, task, cython.address(outer))
    leave_task(loop, task)
    if not in_context:
        PyContext_Exit(cython.cast(cython.pointer(PyObject), context))
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def undo_enter(loop: Scheduler, task: cython.pointer(PyObject)) -> cython.int:
    """The context could not be entered; the error is set."""
    failure = cython.cast(object, take_exception())
    Py_DECREF(failure)  # the local variable holds its own reference now
    leave_task(loop, task)
    raise failure


@cython.cfunc
@cython.exceptval(-1, check=False)
def conclude(
    loop: Scheduler, task: cython.pointer(PyObject), outcome: cython.int, result: cython.pointer(PyObject)
) -> cython.int:
    """What the coroutine did: it awaits, returned or raised. Takes over the reference to the result."""
    if outcome == SEND_NEXT:
        yielded = cython.cast(object, result)
        Py_DECREF(yielded)  # the local variable holds its own reference now
        return park(loop, task, yielded)
    if outcome == SEND_RETURN:
        return returned(task, result)
    return raised(task)


@cython.cfunc
@cython.exceptval(-1, check=False)
def returned(task: cython.pointer(PyObject), result: cython.pointer(PyObject)) -> cython.int:
    """The coroutine returned; takes over the reference to the result."""
    fields: cython.pointer(TaskFields) = task_fields(task)
    if fields.state != PENDING:
        Py_DECREF(cython.cast(object, result))
        return done_by_others(task)
    if fields.must_cancel:
        # Cancelled right before the coroutine stopped.
        fields.must_cancel = 0
        Py_DECREF(cython.cast(object, result))
        fields.log_tb = 0
        fields.state = CANCELLED
    else:
        fields.result = result
        fields.state = FINISHED
    task_becomes_done(task)
    return future_wake_waiters(task)


@cython.cfunc
@cython.exceptval(-1, check=False)
def raised(task: cython.pointer(PyObject)) -> cython.int:
    """The coroutine raised the exception that is set. SystemExit and KeyboardInterrupt also end the loop."""
    fields: cython.pointer(TaskFields) = task_fields(task)
    exception: cython.pointer(PyObject) = take_exception()
    error = cython.cast(object, exception)
    Py_DECREF(error)  # the local variable holds its own reference now
    if fields.state != PENDING:
        return 0 if isinstance(error, CancelledError) else done_by_others(task)
    if isinstance(error, CancelledError):
        Py_XDECREF(fields.cancelled_exception)
        Py_INCREF(error)
        fields.cancelled_exception = exception
        Py_CLEAR(fields.cancel_message)
        fields.log_tb = 0
        fields.state = CANCELLED
        task_becomes_done(task)
        return future_wake_waiters(task)
    traceback = error.__traceback__
    Py_INCREF(error)
    fields.exception = exception
    if traceback is not None:
        Py_INCREF(traceback)
        fields.exception_tb = cython.cast(cython.pointer(PyObject), traceback)
    fields.state = FINISHED
    task_becomes_done(task)
    fields.log_tb = 1
    future_wake_waiters(task)
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        raise error
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def done_by_others(task: cython.pointer(PyObject)) -> cython.int:
    """The coroutine has ended, but its task was done before: by ``Future.set_result(task, ...)``, say."""
    task_becomes_done(task)
    raise InvalidStateError("invalid state")


# -- what it awaits -----------------------------------------------------------------------------


@cython.cfunc
@cython.exceptval(-1, check=False)
def park(loop: Scheduler, task: cython.pointer(PyObject), yielded: object) -> cython.int:
    """Park the task on what its coroutine yielded."""
    awaited: cython.pointer(PyObject) = cython.cast(cython.pointer(PyObject), yielded)
    future: cython.pointer(FutureFields)
    if yielded is None:
        return task_becomes_ready(loop.ready, task, YIELDED)
    if awaited is task:
        return throw_soon(task, f"Task cannot await on itself: {yielded!r}")
    if not is_known_future(awaited):
        return park_on_other(task, yielded)
    future = cython.cast(cython.pointer(FutureFields), awaited)
    if future.loop is not task_fields(task).loop:
        return throw_soon(
            task, f"Task {cython.cast(object, task)!r} got Future {yielded!r} attached to a different loop"
        )
    if not future.blocking:
        return throw_soon(
            task,
            f"yield was used instead of yield from in task {cython.cast(object, task)!r} with {yielded!r}",
        )
    future.blocking = 0
    if not is_our_future(awaited) or loop.call_soon_overridden:
        yielded.add_done_callback(
            cython.cast(object, task).task_wakeup, context=cython.cast(object, task_fields(task).context)
        )
        return wait_for(task, yielded)
    if future.state != PENDING:
        wait_for(task, yielded)
        return task_becomes_ready(loop.ready, task, FUTURE_DONE)
    if future.callback0 is cython.NULL and future.callbacks is cython.NULL:
        Py_INCREF(cython.cast(object, task))
        future.callback0 = task
        future.context0 = task_fields(task).context
        Py_INCREF(cython.cast(object, future.context0))
    else:
        yielded.add_done_callback(
            cython.cast(object, task), context=cython.cast(object, task_fields(task).context)
        )
    return wait_for(task, yielded)


@cython.cfunc
@cython.exceptval(-1, check=False)
def park_on_other(task: cython.pointer(PyObject), yielded: object) -> cython.int:
    """Park on a subclass of Future, on something that behaves like one, or complain."""
    blocking = getattr(yielded, "_asyncio_future_blocking", None)
    if blocking is None:
        if inspect.isgenerator(yielded):
            text = (
                "yield was used instead of yield from for generator in task "
                f"{cython.cast(object, task)!r} with {yielded!r}"
            )
        else:
            text = f"Task got bad yield: {yielded!r}"
        return throw_soon(task, text)
    if futures._get_loop(yielded) is not cython.cast(object, task_fields(task).loop):
        return throw_soon(
            task, f"Task {cython.cast(object, task)!r} got Future {yielded!r} attached to a different loop"
        )
    if not blocking:
        return throw_soon(
            task,
            f"yield was used instead of yield from in task {cython.cast(object, task)!r} with {yielded!r}",
        )
    yielded._asyncio_future_blocking = False
    yielded.add_done_callback(
        cython.cast(object, task).task_wakeup, context=cython.cast(object, task_fields(task).context)
    )
    return wait_for(task, yielded)


@cython.cfunc
@cython.exceptval(-1, check=False)
def wait_for(task: cython.pointer(PyObject), future: object) -> cython.int:
    fields: cython.pointer(TaskFields) = task_fields(task)
    awaited: cython.pointer(PyObject) = cython.cast(cython.pointer(PyObject), future)
    Py_INCREF(future)
    fields.waiter = awaited
    task_becomes_waiting(task)
    if _REGISTERS and awaited_by_add(awaited, task, is_known_future(awaited)):
        _add_awaited_by(future, cython.cast(object, task))
    if fields.must_cancel:
        message = None if fields.cancel_message is cython.NULL else cython.cast(object, fields.cancel_message)
        if future.cancel(msg=message):
            fields.must_cancel = 0
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def throw_soon(task: cython.pointer(PyObject), text: str) -> cython.int:
    """Step the task in the next turn with a RuntimeError."""
    fields: cython.pointer(TaskFields) = task_fields(task)
    task_is_thrown_at(task)
    error = RuntimeError(text)
    argument: cython.pointer(PyObject) = cython.cast(cython.pointer(PyObject), error)
    cython.cast(Scheduler, fields.loop).make_ready(
        cython.cast(object, task)._throw, cython.address(argument), 1, cython.cast(object, fields.context)
    )
    return 0


@cython.cfunc
@cython.exceptval(check=False)
@cython.inline
def is_our_future(thing: cython.pointer(PyObject)) -> cython.bint:
    return is_exactly(thing, cython.cast(cython.pointer(PyObject), Future)) or is_exactly(
        thing, cython.cast(cython.pointer(PyObject), Task)
    )


@cython.cfunc
@cython.exceptval(check=False)
@cython.inline
def is_known_future(thing: cython.pointer(PyObject)) -> cython.bint:
    """Exactly one of the four types whose fields may be read: a subclass may have overridden anything."""
    return (
        is_our_future(thing)
        or is_exactly(thing, cython.cast(cython.pointer(PyObject), StockFuture))
        or is_exactly(thing, cython.cast(cython.pointer(PyObject), StockTask))
    )


# -- what asyncio's own code schedules for a task ---------------------------------------------------


@cython.cfunc
@cython.exceptval(-1, check=False)
def adopt_callback(
    loop: Scheduler,
    callback: object,
    arguments: cython.pointer(cython.pointer(PyObject)),
    count: cython.Py_ssize_t,
    unfinished: cython.pointer(TaskTail),
) -> cython.int:
    """1 if this is the wake-up or the first step of a task of ours, which now lies in the queue itself."""
    task: cython.pointer(PyObject) = cython.NULL
    callback_pointer: cython.pointer(PyObject) = cython.cast(cython.pointer(PyObject), callback)
    if PyCFunction_CheckExact(callback):
        task = PyCFunction_GET_SELF(callback)
        if PyCFunction_GET_FUNCTION(callback) is not wakeup_function and (
            task is cython.NULL
            or not is_exactly(task, cython.cast(cython.pointer(PyObject), Task))
            or tail_of(task).next is cython.NULL
            or not is_wakeup_of(callback_pointer, task)
        ):
            task = cython.NULL
    elif is_exactly(callback_pointer, cython.cast(cython.pointer(PyObject), _step_wrapper_type)):
        task = step_wrapper_task(callback_pointer)
        if task is cython.NULL or not is_instance(task, cython.cast(cython.pointer(PyObject), Task)):
            return 0
        if tail_of(task).next is cython.NULL:
            ready_reserve(loop.ready)
            tail_link(unfinished, tail_of(task), cython.address(loop.ready.ring.reserved))
            show_initialized_task(loop, task)
        if loop.ready.watched:
            task_was_spawned(loop, task)
        task_becomes_ready(loop.ready, task, CREATED)
        return 1
    elif is_instance(callback_pointer, cython.cast(cython.pointer(PyObject), Task)):
        task = callback_pointer
    if task is cython.NULL or count != 1 or task_fields(task).context is cython.NULL:
        return 0
    if task_fields(task).waiter is not arguments[0]:
        # It was stepped by other hands meanwhile and waits for something else: asyncio steps it all the same.
        loop.make_ready(
            cython.cast(object, task).task_wakeup,
            arguments,
            1,
            cython.cast(object, task_fields(task).context),
        )
        return 1
    task_becomes_ready(loop.ready, task, FUTURE_DONE)
    return 1


class _CapturingLoop:
    """Sees what a stock task hands to call_soon(): the wrapper around its first step."""

    def __init__(self) -> None:
        self.callback: object = None

    def get_debug(self) -> bool:
        return False

    def call_soon(self, callback: object, *args: object, **kwargs: object) -> None:
        self.callback = callback


async def _nothing() -> None:
    pass


def _find_step_wrapper_type() -> type:
    loop = _CapturingLoop()
    coro = _nothing()
    task = _asyncio.Task(coro, loop=loop, name="glassloop looks at asyncio")
    task._log_destroy_pending = False
    coro.close()
    return type(loop.callback)


@cython.cfunc
@cython.exceptval(-1, check=False)
def set_up() -> cython.int:
    global wakeup_function
    set_task_slots(cython.cast(cython.pointer(PyObject), Task))
    future_module.task_type = cython.cast(cython.pointer(PyObject), Task)
    task: Task = cython.cast(Task, Task.__new__(Task))
    if tail_of(cython.cast(cython.pointer(PyObject), task)) is not cython.address(task.tail):
        raise ImportError("glassloop's part of a Task is not where its C code expects it")
    wakeup_function = PyCFunction_GET_FUNCTION(task.task_wakeup)
    return 0


task_run_unchecked = cython.cast(Run, task_run)
conclude_unchecked = cython.cast(Conclude, conclude)
wakeup_function = cython.declare(cython.p_void, cython.NULL)
_step_wrapper_type = cython.declare(object, _find_step_wrapper_type())
set_up()
