"""The scheduler: asyncio's engine, replaced. ``run_turn`` is one pass of the loop.

What may run lies in the ready queue, what is to run later in the timer heap, what the kernel knows in the
poller. A turn asks the poller, makes due timers ready, and runs what was ready when the batch began, in the
order in which it became ready: asyncio's own order.

Only the loop's thread touches a scheduler, but for ``call_soon_threadsafe`` and ``cancel``, which the GIL
makes safe: nothing here lets go of the GIL between a look and the act that follows from it.
"""

import asyncio
import os
import sys
import weakref
from asyncio import base_events, format_helpers
from types import FunctionType

import _asyncio
import cython
from cython.cimports.cpython.ref import Py_DECREF, PyObject
from cython.cimports.glassloop._core.clock import monotonic_ns, ticks, ticks_per_20_us
from cython.cimports.glassloop._core.handle import (
    HAS_THREAD_SAFE_HANDLES,
    handle_new,
    thread_safe_handle_new,
)
from cython.cimports.glassloop._core.instruments import (
    AFTER_IO_WAIT,
    AFTER_RUN,
    BEFORE_IO_WAIT,
    BEFORE_RUN,
    Instruments,
)
from cython.cimports.glassloop._core.ready import (
    HANDLE,
    SOURCE,
    TASK,
    entry_kind,
    entry_object,
    ready_count,
    ready_pop,
    ready_push,
)
from cython.cimports.glassloop._core.recorder import Recorder, recorder_close, recorder_open, report_block
from cython.cimports.glassloop._core.source import READABLE, WRITABLE, IOSource
from cython.cimports.glassloop._core.timers import (
    TimerHandle,
    heap_count,
    heap_deadline,
    heap_first,
    heap_pop,
    heap_push,
    timer_new,
)
from cython.cimports.glassloop._sys.calls import (
    PyContext_Enter,
    PyContext_Exit,
    PyErr_CheckSignals,
    PyFunction_Check,
    PyMethod_Check,
    set_attribute,
)
from cython.cimports.glassloop._sys.page import (
    batch_begins,
    call_begins,
    call_ended,
    call_entered,
    call_left,
    wait_begins,
    wait_ended,
)
from cython.cimports.libc.math import INFINITY
from cython.cimports.libc.stdint import uint64_t, uintptr_t

from glassloop._core.clock import Clock, MethodClock
from glassloop._core.handle import Handle
from glassloop._core.ready import ReadyQueue
from glassloop._core.source import IOSource, Poller
from glassloop._core.timers import TimerHandle, TimerHeap

# {loop: task} up to CPython 3.13.
_current_tasks = cython.declare(dict, getattr(_asyncio, "_current_tasks", None))
# asyncio waits no longer than this in one go (base_events.MAXIMUM_SELECT_TIMEOUT).
MAXIMUM_TIMEOUT_S = cython.declare(cython.double, 24 * 3600.0)
# So many polls in a row must find nothing before the scheduler polls less than once a turn.
EMPTY_POLLS_BEFORE_SKIPPING = cython.declare(cython.uint, 64)
POLL_INTERVAL_TICKS = cython.declare(uint64_t, ticks_per_20_us())
# Methods that the scheduler does not call where they are its own: it looks for others once, not at each use.
_MAY_BE_OVERRIDDEN = cython.declare(frozenset, frozenset({"time", "call_at", "call_soon"}))
_loops = cython.declare(object, weakref.WeakSet())
# A function of the interpreter's, not a compiled one: see Scheduler.step_aside.
interpreted = cython.declare(object, FunctionType(compile("None", "<glassloop>", "eval"), {}))


@cython.cclass
class Scheduler:
    """The engine below ``EventLoop``, which is also an ``asyncio.SelectorEventLoop``."""

    def __cinit__(self) -> None:
        self.ready = ReadyQueue()
        self.timers = TimerHeap()
        self.batch_enders = []
        self.clock = self.timer_clock = Clock()
        self.address_hash = cython.cast(
            cython.Py_hash_t, cython.cast(uintptr_t, cython.cast(cython.pointer(PyObject), self)) >> 4
        )

    def __init__(self, selector: object = None) -> None:
        super().__init__(selector)
        _loops.add(self)

    def __hash__(self) -> cython.Py_hash_t:
        # asyncio looks the current task up by the loop: written only now that somebody asks. See current.py.
        if self.current is not cython.NULL and not self.current_published:
            self.current_published = True  # first: to store it asks for the hash again
            try:
                _current_tasks[self] = cython.cast(object, self.current)
            except BaseException:
                self.current_published = False
                raise
        return self.address_hash

    def __setattr__(self, name: str, value: object) -> None:
        set_attribute(self, name, cython.cast(cython.pointer(PyObject), value))
        if name in _MAY_BE_OVERRIDDEN:
            choose_timer_clock(self)

    def __delattr__(self, name: str) -> None:
        set_attribute(self, name, cython.NULL)
        if name in _MAY_BE_OVERRIDDEN:
            choose_timer_clock(self)

    # -- what others see ------------------------------------------------------------------------

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def record(self) -> cython.int:
        """Have a page, where pages are to be had."""
        if not self.recorder_tried:
            self.recorder_tried = True
            try:
                self.recorder = recorder_open()
            except MemoryError:
                return 0  # the program comes first
            if self.recorder is not None:
                self.writer = cython.address(self.recorder.writer)
                if self._thread_id is not None:  # it runs already: in the child of a fork
                    self.recorder.begin(-1 if self.poller is None else self.poller.wake_fd)
        return 0

    def _forget_page(self) -> None:
        """In the child of a fork: the page is the parent's."""
        self.writer = cython.NULL
        self.recorder = None
        self.recorder_tried = False

    def _close_page(self) -> None:
        recorder: Recorder = self.recorder
        self.writer = cython.NULL
        self.recorder = None
        if recorder is not None:
            recorder_close(recorder)

    def _install(self, instrument: object, methods: dict) -> None:
        if self.instruments is None:
            self.instruments = Instruments()
        self.instruments.add(instrument, methods)
        self.ready.watched = self.instruments.of_tasks

    def remove_instrument(self, instrument: object) -> None:
        """Tell an instrument no more; KeyError if it is not installed."""
        if self.instruments is None:
            raise KeyError(instrument)
        self.instruments.remove(instrument)
        self.ready.watched = self.instruments.of_tasks
        if not self.instruments.installed:
            self.instruments = None

    # -- one turn -------------------------------------------------------------------------------

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def run_turn(self) -> cython.int:
        self.poll()
        if heap_count(self.timers) != 0:
            self.fire_timers()
        self.run_ready()
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def poll(self) -> cython.int:
        """Ask the kernel what has events. Waits only if nothing is ready."""
        # Said before the look at the ready queue: whoever makes something ready from now on will wake us.
        self.polling = True
        if self.writer is not cython.NULL and self.writer.unwatched:
            self.recorder.watch_again()
        if ready_count(self.ready) != 0 or self._stopping:
            if not self.poll_may_wait_its_turn():
                self.harvest(0.0)
                self.step_aside()
                if self.writer is not cython.NULL:
                    self.writer.boundary = ticks()
        elif self.writer is cython.NULL:
            self.harvest(self.timeout())
        else:
            wait_begins(self.writer, heap_count(self.timers), watched_count(self))
            try:
                self.harvest(self.timeout())
            finally:
                if self.writer is not cython.NULL:
                    wait_ended(self.writer, monotonic_ns())
        self.polling = False
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def harvest(self, timeout: cython.double) -> cython.int:
        before: cython.size_t = ready_count(self.ready)
        told: cython.double = INFINITY if timeout < 0 else timeout
        if self.instruments is not None:
            self.instruments.tell(self, BEFORE_IO_WAIT, told)
            if ready_count(self.ready) != before:
                timeout = 0.0  # an instrument made something ready
        try:
            if self.poller is not None:
                self.poller.harvest(self.ready, timeout)
            else:
                events = self._selector.select(None if timeout < 0 else timeout)
                self._process_events(events)
        except BaseException:
            self.polling = False
            raise
        if self.instruments is not None:
            self.instruments.tell(self, AFTER_IO_WAIT, told)
        PyErr_CheckSignals()
        if timeout == 0.0 and ready_count(self.ready) == before:
            self.empty_polls += 1
        else:
            self.empty_polls = 0
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def poll_may_wait_its_turn(self) -> cython.bint:
        """Whether this turn, which has work, may do without a poll.

        A poll that finds nothing costs as much as two task switches. A program that has been busy for a
        while, with nothing coming in, is polled every 20 microseconds instead of every turn. Until then it is
        asked every turn, as asyncio does: programs (and tests) count on I/O to happen within some turns.
        """
        now: uint64_t
        if self.empty_polls < EMPTY_POLLS_BEFORE_SKIPPING or self.poller is None:
            return False
        now = ticks()
        if self.writer is not cython.NULL:
            self.writer.boundary = now
        if now - self.polled_at_ticks < POLL_INTERVAL_TICKS:
            return True
        self.polled_at_ticks = now
        return False

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def step_aside(self) -> cython.int:
        """Give the GIL to a thread that has waited for it for long, which compiled code alone never does.

        The interpreter looks whenever it enters a function, so one is entered. To release the GIL and take it
        again would be worse than nothing: the thread that waits wakes up too late each time, and counts its
        five milliseconds from the beginning.
        """
        try:
            interpreted()
        except BaseException:  # of a signal handler's
            self.polling = False
            raise
        return 0

    @cython.cfunc
    @cython.exceptval(-2)
    def timeout(self) -> cython.double:
        """Seconds until the next timer is due; -1 where there is none."""
        if heap_count(self.timers) == 0:
            return -1.0
        return min(max(heap_deadline(self.timers) - self.timer_clock.read(), 0.0), MAXIMUM_TIMEOUT_S)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def fire_timers(self) -> cython.int:
        """Make every timer that is due ready: never early, in the order of their deadlines."""
        now: cython.double
        now = self.timer_clock.read()
        while heap_count(self.timers) != 0 and heap_deadline(self.timers) <= now:
            # Pushed before it leaves the heap: without memory it stays there, and fires in a later turn.
            ready_push(self.ready, heap_first(self.timers), HANDLE)
            heap_pop(self.timers)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def run_ready(self) -> cython.int:
        # Only what was ready when the batch began: a callback that re-schedules itself cannot starve I/O.
        left: cython.size_t = ready_count(self.ready)
        entry: uintptr_t
        ready: ReadyQueue = self.ready
        try:
            if self.writer is not cython.NULL:
                batch_begins(self.writer, left, heap_count(self.timers))
                if self.writer.live.stacks_wanted != self.writer.stacks_given:
                    self.recorder.give_stacks(self)
            if self._debug:
                run_ready_in_debug_mode(self, left)
                return 0
            if ready.watched:
                run_ready_watched(self, left)
                return 0
            # The queue may also be emptied from within: a callback may close the loop, or run it again.
            while left != 0 and ready_count(ready) != 0:
                left -= 1
                self.left_in_batch = left
                entry = ready_pop(ready)
                running = cython.cast(object, entry_object(entry))
                Py_DECREF(running)  # the local variable holds its own reference now
                if self.writer is cython.NULL or entry_kind(entry) == TASK:
                    self.run_entry(entry_object(entry), entry_kind(entry))
                elif entry_kind(entry) != SOURCE and not self.writer.full:
                    call_entered(self.writer)
                    self.run_entry(entry_object(entry), entry_kind(entry))
                    if self.writer is not cython.NULL:
                        call_left(self.writer)
                        if self.writer.blocked:
                            report_block(self.recorder, self.slow_callback_duration)
                else:
                    run_recorded(self, entry_object(entry), entry_kind(entry))
                running = None  # what is done is freed now, not with the next one
        finally:
            self.left_in_batch = 0
            if self.batch_enders:
                self.end_batch()
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def end_batch(self) -> cython.int:
        source: IOSource
        enders: list = self.batch_enders
        self.batch_enders = []
        i: cython.Py_ssize_t
        for i in range(len(enders)):
            source = enders[i]
            try:
                source.on_batch_end()
            except BaseException:
                # KeyboardInterrupt, say: the others' turn comes when the next batch ends.
                self.batch_enders = enders[i + 1 :] + self.batch_enders
                raise
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def run_entry(self, entry: cython.pointer(PyObject), kind: cython.int) -> cython.int:
        # A TASK is the business of the scheduler that has tasks of its own (native.py).
        if kind == HANDLE:
            cython.cast(Handle, entry).run()
        elif kind == SOURCE:
            run_source(self, cython.cast(IOSource, entry))
        else:
            handle = cython.cast(object, entry)
            if not handle._cancelled:
                handle._run()
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def run_watched(self, entry: cython.pointer(PyObject), kind: cython.int) -> cython.int:
        """Run an entry; the instruments are told if it is a task."""
        return self.run_entry(entry, kind)

    def _use_poller(self, selector: object) -> None:
        """Ask this selector. A compiled one is asked directly, any other through its Python interface."""
        if isinstance(selector, Poller):
            self.poller = selector
            selector.attach(self._process_events, self.ready)
        else:
            self.poller = None
        choose_timer_clock(self)

    def _forget_timers(self) -> None:
        self.timers.clear()

    # -- asyncio's names for it -----------------------------------------------------------------

    def _run_once(self) -> None:
        """One turn. Under ``run_forever``: turn after turn, until the loop is stopped."""
        self.run_turn()
        if self.run_until_stopped:
            while not self._stopping:
                self.run_turn()

    def run_forever(self) -> None:
        """Run until ``stop()`` is called."""
        # Before anything is touched: CPython 3.13.0 cleans up also where it must not start.
        self._check_closed()
        self._check_running()
        # A subclass that overrides a turn is obeyed; all else needs no Python between turns.
        self.run_until_stopped = (
            type(self)._run_once is Scheduler._run_once and "_run_once" not in self.__dict__
        )
        choose_timer_clock(self)
        self.empty_polls = 0  # whoever runs the loop for a few turns counts on every one of them
        self.record()
        if self.recorder is not None:
            try:
                self.recorder.begin(-1 if self.poller is None else self.poller.wake_fd)
            except MemoryError:
                self._close_page()
        if self.instruments is not None:
            self.instruments.tell(self, BEFORE_RUN)
        try:
            super().run_forever()
        finally:
            self.run_until_stopped = False
            if self.instruments is not None:
                self.instruments.tell(self, AFTER_RUN)
            if self.recorder is not None:
                self.recorder.end(self)

    @property
    def _ready(self) -> ReadyQueue:
        return self.ready

    @_ready.setter
    def _ready(self, handles: object) -> None:
        self.ready.clear()
        for handle in handles:
            self.ready.append(handle)

    @property
    def _scheduled(self) -> list[object]:
        return list(self.timers)

    @_scheduled.setter
    def _scheduled(self, timers: object) -> None:
        self.timers.clear()
        for timer in timers:
            heap_push(self.timers, timer)

    # -- scheduling -----------------------------------------------------------------------------

    def time(self) -> float:
        """The loop's time in seconds: a monotonic clock, read anew at each call."""
        return self.clock.read()

    # call_soon, call_soon_threadsafe, call_later and call_at are added below: they take their arguments in C.

    @cython.cfunc
    def make_ready(
        self,
        callback: object,
        arguments: cython.pointer(cython.pointer(PyObject)),
        count: cython.Py_ssize_t,
        context: object,
    ) -> Handle:
        allocated: cython.pointer(PyObject) = handle_new(
            cython.cast(cython.pointer(PyObject), self),
            cython.cast(cython.pointer(PyObject), callback),
            arguments,
            count,
            context_reference(context),
        )
        handle: Handle = cython.cast(Handle, allocated)
        Py_DECREF(handle)  # the local variable holds its own reference now
        if self._debug:
            handle._source_traceback = format_helpers.extract_stack(sys._getframe())
        ready_push(self.ready, allocated, HANDLE)
        return handle

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def adopt(
        self, callback: object, arguments: cython.pointer(cython.pointer(PyObject)), count: cython.Py_ssize_t
    ) -> cython.int:
        """1 if the callback wakes or starts a task of this scheduler's, which is then in the queue."""
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def note_deadline(
        self,
        callback: object,
        arguments: cython.pointer(cython.pointer(PyObject)),
        count: cython.Py_ssize_t,
        when: cython.double,
    ) -> cython.int:
        """A timer is made that will end a sleep: its future is told when."""
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def adopt_blocked(self, task: object) -> cython.int:
        """An eager task of ours waits for the first time: it is the loop's from here on."""
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def note_kind(self, future: object, kind: object) -> cython.int:
        """Whoever awaits this future waits for what the class ``kind`` names, whichever function made it."""
        return 0


@cython.cfunc
def call_soon(
    loop: object,
    when: object,
    callback: object,
    arguments: cython.pointer(cython.pointer(PyObject)),
    count: cython.Py_ssize_t,
    context: object,
) -> object:
    scheduler: Scheduler = cython.cast(Scheduler, loop)
    if scheduler._closed:
        raise RuntimeError("Event loop is closed")
    if scheduler._debug:
        scheduler._check_thread()
    # A task that asyncio's own code wakes up goes straight into the queue, without a handle.
    if not (PyFunction_Check(callback) or PyMethod_Check(callback)) and scheduler.adopt(
        callback, arguments, count
    ):
        return None
    if scheduler._debug:
        scheduler._check_callback(callback, "call_soon")
    return scheduler.make_ready(callback, arguments, count, context)


@cython.cfunc
def call_soon_threadsafe(
    loop: object,
    when: object,
    callback: object,
    arguments: cython.pointer(cython.pointer(PyObject)),
    count: cython.Py_ssize_t,
    context: object,
) -> object:
    scheduler: Scheduler = cython.cast(Scheduler, loop)
    if scheduler._closed:
        raise RuntimeError("Event loop is closed")
    if scheduler._debug:
        scheduler._check_callback(callback, "call_soon_threadsafe")
    handle: Handle
    if HAS_THREAD_SAFE_HANDLES:
        handle = thread_safe_handle_new(scheduler, callback, arguments, count, context_reference(context))
        if scheduler._debug:
            handle._source_traceback = format_helpers.extract_stack(sys._getframe())
        ready_push(scheduler.ready, cython.cast(cython.pointer(PyObject), handle), HANDLE)
    else:
        handle = scheduler.make_ready(callback, arguments, count, context)
    if scheduler.polling:
        wake_poller(scheduler)
    return handle


@cython.cfunc
def call_later(
    loop: object,
    delay: object,
    callback: object,
    arguments: cython.pointer(cython.pointer(PyObject)),
    count: cython.Py_ssize_t,
    context: object,
) -> object:
    scheduler: Scheduler = cython.cast(Scheduler, loop)
    if delay is None:
        raise TypeError("delay must not be None")
    seconds: cython.double = delay
    if scheduler.call_at_overridden:
        rest: list = []
        i: cython.Py_ssize_t
        for i in range(count):
            rest.append(cython.cast(object, arguments[i]))
        return loop.call_at(scheduler.timer_clock.read() + seconds, callback, *rest, context=context)
    return make_timer(scheduler, scheduler.timer_clock.read() + seconds, callback, arguments, count, context)


@cython.cfunc
def call_at(
    loop: object,
    when: object,
    callback: object,
    arguments: cython.pointer(cython.pointer(PyObject)),
    count: cython.Py_ssize_t,
    context: object,
) -> object:
    if when is None:
        raise TypeError("when cannot be None")
    return make_timer(cython.cast(Scheduler, loop), when, callback, arguments, count, context)


add_methods(
    cython.cast(cython.pointer(PyObject), Scheduler), call_soon, call_soon_threadsafe, call_later, call_at
)


@cython.cfunc
@cython.exceptval(-1, check=False)
def choose_timer_clock(scheduler: Scheduler) -> cython.int:
    """Timers follow ``loop.time()``, also where a subclass or a test has overridden it.

    So does call_later() follow ``loop.call_at()``, and what wakes a task ``loop.call_soon()``.
    """
    overrides = scheduler.__dict__
    if type(scheduler).time is not Scheduler.time or "time" in overrides:
        scheduler.timer_clock = MethodClock(scheduler.time)
    else:
        scheduler.timer_clock = scheduler.clock
    scheduler.call_at_overridden = type(scheduler).call_at is not Scheduler.call_at or "call_at" in overrides
    scheduler.call_soon_overridden = (
        type(scheduler).call_soon is not Scheduler.call_soon or "call_soon" in overrides
    )
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def wake_poller(scheduler: Scheduler) -> cython.int:
    if scheduler.poller is not None:
        return scheduler.poller.wake()
    scheduler._write_to_self()
    return 0


@cython.cfunc
def make_timer(
    scheduler: Scheduler,
    when: cython.double,
    callback: object,
    arguments: cython.pointer(cython.pointer(PyObject)),
    count: cython.Py_ssize_t,
    context: object,
) -> TimerHandle:
    if scheduler._closed:
        raise RuntimeError("Event loop is closed")
    if scheduler._debug:
        scheduler._check_thread()
        scheduler._check_callback(callback, "call_at")
    if scheduler.writer is not cython.NULL:
        scheduler.note_deadline(callback, arguments, count, when)
    timer: TimerHandle = timer_new(scheduler, when, callback, arguments, count, context_reference(context))
    if scheduler._debug:
        timer._source_traceback = format_helpers.extract_stack(sys._getframe())
    heap_push(scheduler.timers, timer)
    return timer


@cython.cfunc
@cython.exceptval(check=False)
def watched_count(scheduler: Scheduler) -> cython.Py_ssize_t:
    """Where the selector is not ours we do not know: something may be watched."""
    return 1 if scheduler.poller is None else scheduler.poller.watching


@cython.cfunc
@cython.exceptval(-1, check=False)
def run_recorded(scheduler: Scheduler, entry: cython.pointer(PyObject), kind: cython.int) -> cython.int:
    """Run what is no task's step; a task records its own."""
    fd: cython.int = cython.cast(IOSource, entry).fd if kind == SOURCE else -1
    call_begins(scheduler.writer, kind, fd + 1)
    try:
        scheduler.run_entry(entry, kind)
    finally:
        if scheduler.writer is not cython.NULL:
            call_ended(scheduler.writer, kind)
            if scheduler.writer.blocked:
                report_block(scheduler.recorder, scheduler.slow_callback_duration)
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def run_ready_watched(scheduler: Scheduler, left: cython.size_t) -> cython.int:
    """The same batch, with instruments that are told of each step of a task."""
    entry: uintptr_t
    while left != 0 and ready_count(scheduler.ready) != 0:
        left -= 1
        scheduler.left_in_batch = left
        entry = ready_pop(scheduler.ready)
        running = cython.cast(object, entry_object(entry))
        Py_DECREF(running)  # the local variable holds its own reference now
        if scheduler.writer is cython.NULL or entry_kind(entry) == TASK:
            scheduler.run_watched(entry_object(entry), entry_kind(entry))
        else:
            run_recorded(scheduler, entry_object(entry), entry_kind(entry))
        running = None  # what is done is freed now, not with the next one
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def run_source(scheduler: Scheduler, source: IOSource) -> cython.int:
    """Handle the events that occurred and are still watched: it may have lost interest meanwhile."""
    events: cython.uint = source.occurred
    source.occurred = 0
    if events & source.watched & READABLE:
        run_source_event(scheduler, source, READABLE, source.context)
    if events & source.watched & WRITABLE:
        context = source.context if source.write_context is None else source.write_context
        run_source_event(scheduler, source, WRITABLE, context)
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def run_source_event(
    scheduler: Scheduler, source: IOSource, event: cython.uint, context: object
) -> cython.int:
    """All that comes of an event has one context, as with asyncio: also what it schedules or reports."""
    entered: cython.bint = False
    try:
        if context is not None:
            PyContext_Enter(cython.cast(cython.pointer(PyObject), context))
            entered = True
        if event == READABLE:
            source.on_readable()
        else:
            source.on_writable()
    except (SystemExit, KeyboardInterrupt):
        if entered:
            PyContext_Exit(cython.cast(cython.pointer(PyObject), context))
        raise
    except BaseException as exc:
        try:
            scheduler.call_exception_handler(
                {"message": f"Exception in callback of {source!r}", "exception": exc, "transport": source}
            )
        finally:
            if entered:
                PyContext_Exit(cython.cast(cython.pointer(PyObject), context))
        return 0
    if entered:
        PyContext_Exit(cython.cast(cython.pointer(PyObject), context))
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def run_ready_in_debug_mode(scheduler: Scheduler, left: cython.size_t) -> cython.int:
    """The same batch, timed: asyncio's debug mode warns of what took long."""
    entry: uintptr_t
    kind: cython.int
    started: cython.double
    took: cython.double
    while left != 0 and ready_count(scheduler.ready) != 0:
        left -= 1
        entry = ready_pop(scheduler.ready)
        running = cython.cast(object, entry_object(entry))
        Py_DECREF(running)  # the local variable holds its own reference now
        kind = entry_kind(entry)
        scheduler._current_handle = running
        started = scheduler.timer_clock.read()
        try:
            if scheduler.writer is cython.NULL or kind == TASK:
                scheduler.run_watched(cython.cast(cython.pointer(PyObject), running), kind)
            else:
                run_recorded(scheduler, cython.cast(cython.pointer(PyObject), running), kind)
        finally:
            scheduler._current_handle = None
        took = scheduler.timer_clock.read() - started
        if took >= scheduler.slow_callback_duration:
            base_events.logger.warning("Executing %s took %.3f seconds", describe(running), took)
    return 0


@cython.cfunc
def describe(running: object) -> str:
    """What asyncio's warning calls it: a task by its repr, also behind a handle."""
    callback = getattr(running, "_callback", None)
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return repr(owner)
    return str(running)


def loops() -> list:
    """Return the loops of this process, some of which may be closed. Any thread may ask."""
    # The set itself may grow while it is looked through; what it is made of is copied in one go.
    return [loop for loop in [reference() for reference in list(_loops.data)] if loop is not None]


def _forget_pages() -> None:
    for loop in loops():
        loop._forget_page()


os.register_at_fork(after_in_child=_forget_pages)
