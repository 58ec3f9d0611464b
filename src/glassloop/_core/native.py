"""NativeScheduler: the scheduler whose tasks and futures are glassloop's own. They were proven to fit."""

import asyncio
import weakref
from asyncio import futures

import _asyncio
import cython
from cython.cimports.cpython.ref import Py_DECREF, PyObject
from cython.cimports.glassloop._core.future import (
    Future,
    future_fields,
    future_new,
    future_set_result_unchecked,
)
from cython.cimports.glassloop._core.handle import Handle, report
from cython.cimports.glassloop._core.ready import HANDLE, TASK
from cython.cimports.glassloop._core.task import (
    adopt_callback,
    task_has_blocked,
    task_new,
    task_run_unchecked,
)
from cython.cimports.glassloop._core.watched import step_has_ended, step_will_begin
from cython.cimports.glassloop._sys.asyncio_types import PENDING, TaskTail, tail_unlink, task_of
from cython.cimports.glassloop._sys.calls import is_exactly, take_exception
from cython.cimports.libc.stdint import int64_t

from glassloop._core.future import Future
from glassloop._core.scheduler import Scheduler, loops
from glassloop._core.task import Task

_eager_task_factory = cython.declare(object, getattr(asyncio, "eager_task_factory", False))  # from 3.12 on
_set_result_unless_cancelled = cython.declare(object, futures._set_result_unless_cancelled)


@cython.cclass
class NativeScheduler(Scheduler):
    def __cinit__(self) -> None:
        self.unfinished.next = self.unfinished.previous = cython.address(self.unfinished)

    def __dealloc__(self) -> None:
        while self.unfinished.next is not cython.address(self.unfinished):
            self.unfinished.next.slot = 0  # the page goes with the loop
            tail_unlink(self.unfinished.next)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def run_entry(self, entry: cython.pointer(PyObject), kind: cython.int) -> cython.int:
        args: tuple
        if kind == TASK:
            return 0 if task_run_unchecked(entry) == 0 else report_step(self, entry)
        if kind == HANDLE:
            if cython.cast(Handle, entry).fields.callback is cython.cast(
                cython.pointer(PyObject), _set_result_unless_cancelled
            ):
                # The end of every asyncio.sleep(): the same effect without a Python call.
                args = cython.cast(Handle, entry)._args
                if len(args) == 2 and is_pending_future(cython.cast(cython.pointer(PyObject), args[0])):
                    if (
                        future_set_result_unchecked(cython.cast(cython.pointer(PyObject), args[0]), args[1])
                        < 0
                    ):
                        return report(cython.cast(Handle, entry))
                    return 0
            return cython.cast(Handle, entry).run()
        return Scheduler.run_entry(self, entry, kind)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def run_watched(self, entry: cython.pointer(PyObject), kind: cython.int) -> cython.int:
        if kind != TASK:
            return self.run_entry(entry, kind)
        done: cython.int = step_will_begin(self, entry)
        try:
            return self.run_entry(entry, kind)
        finally:
            step_has_ended(self, entry, done)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def adopt(
        self, callback: object, arguments: cython.pointer(cython.pointer(PyObject)), count: cython.Py_ssize_t
    ) -> cython.int:
        return adopt_callback(self, callback, arguments, count, cython.address(self.unfinished))

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def note_deadline(
        self,
        callback: object,
        arguments: cython.pointer(cython.pointer(PyObject)),
        count: cython.Py_ssize_t,
        when: cython.double,
    ) -> cython.int:
        if (
            callback is _set_result_unless_cancelled
            and count > 0
            and is_exactly(arguments[0], cython.cast(cython.pointer(PyObject), Future))
        ):
            cython.cast(Future, arguments[0]).tail.deadline_ns = cython.cast(int64_t, when * 1e9)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def adopt_blocked(self, task: object) -> cython.int:
        return task_has_blocked(self, task, cython.address(self.unfinished))

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def note_kind(self, future: object, kind: object) -> cython.int:
        if self.writer is not cython.NULL and is_exactly(
            cython.cast(cython.pointer(PyObject), future), cython.cast(cython.pointer(PyObject), Future)
        ):
            cython.cast(Future, future).tail.site = self.recorder.site_of(
                cython.cast(cython.pointer(PyObject), kind)
            )
        return 0

    def create_future(self) -> asyncio.Future:
        """A future attached to this loop."""
        if self.call_soon_overridden:
            return super().create_future()
        if self._debug:
            return Future(loop=self)
        return future_new(self)

    def create_task(
        self, coro: object, *, name: object = None, context: object = None, **options: object
    ) -> asyncio.Task:
        """Schedule a coroutine; the task is ready for its first step in the next turn."""
        if self._task_factory is not None or self.call_soon_overridden:
            if self._task_factory is _eager_task_factory and not self.call_soon_overridden:
                # What asyncio's own factory does, but with a Task of ours: when it waits, the page shows it.
                if self._closed:
                    raise RuntimeError("Event loop is closed")
                return Task(coro, loop=self, name=name, context=context, **{"eager_start": True, **options})
            return super().create_task(coro, **_given(name, context), **options)
        if self._closed:
            raise RuntimeError("Event loop is closed")
        if self._debug or options:
            return Task(coro, loop=self, name=name, context=context, **options)
        return task_new(self, coro, name, context, cython.address(self.unfinished))

    def _forget_page(self) -> None:
        leave_page(self)
        Scheduler._forget_page(self)

    def _close_page(self) -> None:
        leave_page(self)
        Scheduler._close_page(self)

    def _unfinished_tasks(self) -> list[asyncio.Task]:
        found: list = []
        tail: cython.pointer(TaskTail) = self.unfinished.next
        while tail is not cython.address(self.unfinished):
            found.append(cython.cast(object, task_of(tail)))
            tail = tail.next
        return found


@cython.cfunc
@cython.exceptval(-1, check=False)
def leave_page(scheduler: NativeScheduler) -> cython.int:
    tail: cython.pointer(TaskTail) = scheduler.unfinished.next
    while tail is not cython.address(scheduler.unfinished):
        tail.slot = tail.named = 0
        tail.writer = cython.NULL
        tail = tail.next
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def report_step(scheduler: NativeScheduler, entry: cython.pointer(PyObject)) -> cython.int:
    """A step failed with the exception that is set. SystemExit and KeyboardInterrupt go on, all else ends."""
    exc = cython.cast(object, take_exception())
    Py_DECREF(exc)  # the local variable holds its own reference now
    if isinstance(exc, (SystemExit, KeyboardInterrupt)):
        raise exc
    wakeup = cython.cast(object, entry).task_wakeup
    handle = Handle(wakeup, (), scheduler)
    scheduler.call_exception_handler(
        {"message": f"Exception in callback {wakeup.__qualname__}()", "exception": exc, "handle": handle}
    )
    return 0


@cython.cfunc
@cython.exceptval(check=False)
@cython.inline
def is_pending_future(thing: cython.pointer(PyObject)) -> cython.bint:
    return (
        is_exactly(thing, cython.cast(cython.pointer(PyObject), Future))
        and future_fields(thing).state == PENDING
    )


def _given(name: object, context: object) -> dict:
    given: dict = {}
    if name is not None:
        given["name"] = name
    if context is not None:
        given["context"] = context
    return given


class _TasksOfAllLoops(weakref.WeakSet):
    """asyncio's set of tasks (up to 3.13), with those that glassloop's loops keep in lists of their own."""

    def __iter__(self) -> object:
        yield from super().__iter__()
        for loop in loops():
            yield from loop._unfinished_tasks()

    def __len__(self) -> int:
        return super().__len__() + sum(len(loop._unfinished_tasks()) for loop in loops())

    def __contains__(self, task: object) -> bool:
        return super().__contains__(task) or any(task in loop._unfinished_tasks() for loop in loops())


# From 3.14 on asyncio keeps a list that our tasks join.
for _name in ("_all_tasks", "_scheduled_tasks"):
    if isinstance(getattr(_asyncio, _name, None), weakref.WeakSet):
        getattr(_asyncio, _name).__class__ = _TasksOfAllLoops
