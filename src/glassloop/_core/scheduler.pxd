# The C side of scheduler.py.
from cpython.ref cimport Py_INCREF, PyObject
from libc.stdint cimport uint64_t

cdef extern from "fast_methods.h":
    int add_methods "glassloop_add_methods"(
        PyObject *scheduler_type,
        object (*soon)(object, object, object, PyObject **, Py_ssize_t, object),
        object (*threadsafe)(object, object, object, PyObject **, Py_ssize_t, object),
        object (*later)(object, object, object, PyObject **, Py_ssize_t, object),
        object (*at)(object, object, object, PyObject **, Py_ssize_t, object),
    ) except -1

from glassloop._core.clock cimport Clock
from glassloop._core.handle cimport Handle
from glassloop._core.instruments cimport Instruments
from glassloop._core.ready cimport ReadyQueue
from glassloop._core.recorder cimport Recorder
from glassloop._core.source cimport Poller
from glassloop._core.timers cimport TimerHeap
from glassloop._sys.page cimport Writer


cdef class Scheduler:
    cdef object __weakref__
    cdef ReadyQueue ready
    cdef TimerHeap timers
    cdef Clock clock                # what time() reads
    cdef Clock timer_clock          # the same, or an overridden time()
    # Whether a subclass, or an attribute of the loop, is in the place of the scheduler's own method.
    cdef bint call_at_overridden, call_soon_overridden
    cdef Poller poller              # None: the loop runs on another selectors object
    # Under asyncio's names, because inherited code reads and writes them.
    cdef public bint _closed, _stopping, _debug
    cdef public object _task_factory
    cdef public object _current_handle
    cdef PyObject *current          # the running task of ours, borrowed; up to CPython 3.13 (see current.py)
    cdef bint current_published     # asyncio's dict of current tasks has it
    cdef Py_hash_t address_hash
    cdef Recorder recorder          # None before the loop first runs or has a task, and where it has no page
    cdef Writer *writer             # the recorder's, or NULL
    cdef bint recorder_tried
    cdef Instruments instruments    # None: there are none
    cdef list batch_enders          # IOSources that want to hear of the end of the ready batch
    cdef size_t left_in_batch       # how many entries of the running ready batch are still to run; 0 between batches
    cdef bint run_until_stopped     # what _run_once does: one turn, or turns until the loop is stopped
    cdef bint polling               # a thread that makes something ready must wake the poller
    cdef uint64_t polled_at_ticks
    cdef unsigned int empty_polls   # in a row, while something was ready
    cdef int record(self) except -1
    cdef int run_turn(self) except -1
    cdef int poll(self) except -1
    cdef int harvest(self, double timeout) except -1
    cdef bint poll_may_wait_its_turn(self) noexcept
    cdef int step_aside(self) except -1
    cdef double timeout(self) except? -2
    cdef int fire_timers(self) except -1
    cdef int run_ready(self) except -1
    cdef int end_batch(self) except -1
    cdef int run_entry(self, PyObject *entry, int kind) except -1
    cdef int run_watched(self, PyObject *entry, int kind) except -1
    cdef int adopt(self, callback, PyObject **arguments, Py_ssize_t count) except -1
    cdef int adopt_blocked(self, task) except -1
    cdef int note_kind(self, future, kind) except -1
    cdef int note_deadline(self, callback, PyObject **arguments, Py_ssize_t count, double when) except -1
    cdef Handle make_ready(self, callback, PyObject **arguments, Py_ssize_t count, context)


cdef inline PyObject *context_reference(context) noexcept:
    """A new reference to the context; NULL, which stands for the present one, for None."""
    if context is None:
        return NULL
    Py_INCREF(context)
    return <PyObject *>context
