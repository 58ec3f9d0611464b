# CPython's Future and Task as Cython sees them. The layouts, by version, are in asyncio_layout.h.
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from glassloop._sys.page cimport Writer

cdef extern from "asyncio_layout.h":
    enum:
        PENDING "GLASSLOOP_PENDING"
        CANCELLED "GLASSLOOP_CANCELLED"
        FINISHED "GLASSLOOP_FINISHED"
        SEND_NEXT "PYGEN_NEXT"
        SEND_RETURN "PYGEN_RETURN"

    ctypedef struct FutureFields "GlassloopFutureObject":
        PyObject *loop
        PyObject *callback0
        PyObject *context0
        PyObject *callbacks
        PyObject *exception
        PyObject *exception_tb
        PyObject *result
        PyObject *cancel_message
        PyObject *cancelled_exception
        int state
        int log_tb
        int blocking

    ctypedef struct TaskFields "GlassloopTaskObject":
        PyObject *loop
        PyObject *exception
        PyObject *exception_tb
        PyObject *result
        PyObject *cancel_message
        PyObject *cancelled_exception
        int state
        int log_tb
        int must_cancel
        int log_destroy_pending
        PyObject *waiter
        PyObject *coro
        PyObject *name
        PyObject *context

    ctypedef struct TaskTail "GlassloopTaskTail":
        TaskTail *previous
        TaskTail *next
        uint64_t id
        uint8_t run_state
        uint8_t cause
        uint8_t named
        uint32_t slot
        Writer *writer

    ctypedef struct FutureTail "GlassloopFutureTail":
        uint32_t site
        int64_t deadline_ns

    TaskTail *tail_of "glassloop_tail"(PyObject *task) noexcept
    PyObject *task_of "glassloop_task_of"(TaskTail *tail) noexcept
    void tail_link "glassloop_link"(TaskTail *ring, TaskTail *tail, size_t *reserved) noexcept
    void tail_unlink "glassloop_unlink"(TaskTail *tail) noexcept
    void tail_leave_page "glassloop_leave_page"(TaskTail *tail) noexcept

    bint awaited_by_add "glassloop_awaited_by_add"(PyObject *future, PyObject *task, bint known) noexcept
    bint awaited_by_discard "glassloop_awaited_by_discard"(PyObject *future, PyObject *task, bint known) noexcept
    PyObject *step_wrapper_task "glassloop_step_wrapper_task"(PyObject *wrapper) noexcept
    int coro_send "glassloop_send"(PyObject *coro, PyObject **result) noexcept
    int coro_throw "glassloop_throw"(PyObject *coro, name, exception, PyObject **result) noexcept

    PyObject *allocate_future "glassloop_new_future"() except NULL
    PyObject *allocate_task "glassloop_new_task"() except NULL
    int set_future_slots "glassloop_set_future_slots"(PyObject *future_type) except -1
    int set_task_slots "glassloop_set_task_slots"(PyObject *task_type) except -1

    const char *layout_fault "glassloop_layout_fault"(
        PyObject *task, PyObject *loop, PyObject *coro, PyObject *name, PyObject *context
    ) noexcept
    const char *future_fault "glassloop_future_fault"(
        PyObject *future, PyObject *callback, PyObject *context, PyObject *result, PyObject *exception,
        int state, int blocking, int log_tb
    ) noexcept
    bint has_dict "glassloop_has_dict"(PyObject *object) noexcept
    bint has_weakrefs "glassloop_has_weakrefs"(PyObject *object) noexcept

    ctypedef class _asyncio.Future [object GlassloopFutureObject, check_size error]:
        pass

    ctypedef class _asyncio.Task [object GlassloopTaskObject, check_size error]:
        pass
