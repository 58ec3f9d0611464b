/* CPython's own Future and Task as they lie in memory, by version, and the few operations on them that
 * need their layout: allocation with a free list, deallocation, awaiting, and the current task.
 *
 * Nothing here is used before _core/layout has proven, at import, that these structs describe the running
 * interpreter (sizes, offsets, the words before the object). Where it does not hold, glassloop uses
 * asyncio's own Task and Future and needs no layout at all: slower, never broken.
 *
 * Source of the layouts: Modules/_asynciomodule.c of each CPython. 3.11 and 3.12 agree; so do 3.14 and 3.15.
 */
#ifndef GLASSLOOP_ASYNCIO_LAYOUT_H
#define GLASSLOOP_ASYNCIO_LAYOUT_H

#include <Python.h>
#include <stdint.h>
#include <stddef.h>

#include "calls.h"
#include "page_writer.h"

#if PY_VERSION_HEX >= 0x030E0000
struct glassloop_list_node { struct glassloop_list_node *next, *previous; };
#define GLASSLOOP_FUTURE_HEAD                                                                        \
    PyObject_HEAD                                                                                    \
    PyObject *loop, *callback0, *context0, *callbacks, *exception, *exception_tb, *result,           \
             *source_tb, *cancel_message, *cancelled_exception, *awaited_by;                         \
    int state; char is_task; char awaited_by_is_set;                                                 \
    unsigned log_tb : 1; unsigned blocking : 1;
typedef struct { GLASSLOOP_FUTURE_HEAD } GlassloopFutureObject;
typedef struct {
    GLASSLOOP_FUTURE_HEAD
    unsigned must_cancel : 1; unsigned log_destroy_pending : 1; int cancel_requests;
    PyObject *waiter, *coro, *name, *context;
    struct glassloop_list_node node;
#ifdef Py_GIL_DISABLED
    uintptr_t thread_id;
#endif
} GlassloopTaskObject;
#elif PY_VERSION_HEX >= 0x030D0000
#define GLASSLOOP_FUTURE_HEAD                                                                        \
    PyObject_HEAD                                                                                    \
    PyObject *loop, *callback0, *context0, *callbacks, *exception, *exception_tb, *result,           \
             *source_tb, *cancel_message, *cancelled_exception;                                      \
    int state; unsigned log_tb : 1; unsigned blocking : 1;
typedef struct { GLASSLOOP_FUTURE_HEAD } GlassloopFutureObject;
typedef struct {
    GLASSLOOP_FUTURE_HEAD
    unsigned must_cancel : 1; unsigned log_destroy_pending : 1; int cancel_requests;
    PyObject *waiter, *coro, *name, *context;
} GlassloopTaskObject;
#else
#define GLASSLOOP_FUTURE_HEAD                                                                        \
    PyObject_HEAD                                                                                    \
    PyObject *loop, *callback0, *context0, *callbacks, *exception, *exception_tb, *result,           \
             *source_tb, *cancel_message;                                                            \
    int state, log_tb, blocking;                                                                     \
    PyObject *dict, *weakrefs, *cancelled_exception;
typedef struct { GLASSLOOP_FUTURE_HEAD } GlassloopFutureObject;
typedef struct {
    GLASSLOOP_FUTURE_HEAD
    PyObject *waiter, *coro, *name, *context;
    int must_cancel, log_destroy_pending, cancel_requests;
} GlassloopTaskObject;
#endif

enum { GLASSLOOP_PENDING = 0, GLASSLOOP_CANCELLED = 1, GLASSLOOP_FINISHED = 2 };

/* From 3.13 the instance dict and the weak references lie in the words before the object. */
#if PY_VERSION_HEX >= 0x030D0000
#define GLASSLOOP_WEAKREFS(object) (((PyObject **)(object))[-4])
#define GLASSLOOP_DICT(object) (((PyObject **)(object))[-3])
#else
#define GLASSLOOP_WEAKREFS(object) (((GlassloopFutureObject *)(object))->weakrefs)
#define GLASSLOOP_DICT(object) (((GlassloopFutureObject *)(object))->dict)
#endif

/* What our Task adds behind the stock one. */
typedef struct GlassloopTaskTail {
    struct GlassloopTaskTail *previous, *next; /* in the loop's ring of unfinished tasks; NULL when not in it */
    size_t *reserved; /* the loop's count of slots kept in its ready queue: one is this task's while it is linked */
    uint64_t id;
    uint8_t run_state, cause;
    uint8_t named;           /* the page has its name */
    uint32_t slot;           /* in the page of `writer`; 0: none */
    GlassloopWriter *writer; /* the loop's */
} GlassloopTaskTail;

/* What our Future adds: where it was made, and when what it stands for is due. */
typedef struct {
    uint32_t site;
    int64_t deadline_ns;
} GlassloopFutureTail;

static inline GlassloopTaskTail *glassloop_tail(PyObject *task) {
    return (GlassloopTaskTail *)((char *)task + sizeof(GlassloopTaskObject));
}

static inline PyObject *glassloop_task_of(GlassloopTaskTail *tail) {
    return (PyObject *)((char *)tail - sizeof(GlassloopTaskObject));
}

static inline void glassloop_link(GlassloopTaskTail *ring, GlassloopTaskTail *tail, size_t *reserved) {
    tail->reserved = reserved;
    tail->previous = ring->previous;
    tail->next = ring;
    ring->previous->next = tail;
    ring->previous = tail;
}

static inline void glassloop_unlink(GlassloopTaskTail *tail) {
    if (tail->next != NULL) {
        tail->next->previous = tail->previous;
        tail->previous->next = tail->next;
        tail->next = tail->previous = NULL;
        if (*tail->reserved > 0) --*tail->reserved;
    }
}

/* Give back the task's slot in its loop's page. */
static inline void glassloop_leave_page(GlassloopTaskTail *tail) {
    if (tail->slot != 0) {
        if (tail->named) { /* to look at it would make the kernel find memory for it */
            memset(tail->writer->base + GLASSLOOP_NAMES_OFFSET + (size_t)tail->slot * GLASSLOOP_NAME_SIZE, 0, GLASSLOOP_NAME_SIZE);
            tail->named = 0;
        }
        glassloop_task_gone(tail->writer, tail->slot);
        tail->slot = 0;
        tail->writer = NULL;
    }
}

/* Who awaits a future, for asyncio's call graph (3.14). 1: not the simple case, ask asyncio's own function. */
static inline int glassloop_awaited_by_add(PyObject *future, PyObject *task, int known) {
#if PY_VERSION_HEX >= 0x030E0000
    GlassloopFutureObject *fields = (GlassloopFutureObject *)future;
    if (!known || fields->awaited_by != NULL) return 1;
    fields->awaited_by = Py_NewRef(task);
#endif
    return 0;
}

static inline int glassloop_awaited_by_discard(PyObject *future, PyObject *task, int known) {
#if PY_VERSION_HEX >= 0x030E0000
    GlassloopFutureObject *fields = (GlassloopFutureObject *)future;
    if (!known || (fields->awaited_by != NULL && fields->awaited_by != task)) return 1;
    Py_CLEAR(fields->awaited_by);
#endif
    return 0;
}

/* The task of asyncio's TaskStepMethWrapper; NULL where it carries an exception, or looks otherwise than we know. */
static inline PyObject *glassloop_step_wrapper_task(PyObject *wrapper) {
    typedef struct { PyObject_HEAD PyObject *task, *argument; } StepWrapper;
    StepWrapper *step = (StepWrapper *)wrapper;
    if (Py_TYPE(wrapper)->tp_basicsize != sizeof(StepWrapper) || step->argument != NULL) return NULL;
    return step->task;
}

/* ---- running a coroutine ---- */

/* Like PyIter_Send(coro, None): a new reference in *result unless PYGEN_ERROR. */
static inline int glassloop_send(PyObject *coro, PyObject **result) {
    PyAsyncMethods *methods = Py_TYPE(coro)->tp_as_async;
    if (methods != NULL && methods->am_send != NULL) return methods->am_send(coro, Py_None, result);
    return PyIter_Send(coro, Py_None, result);
}

/* coro.throw(exception), with StopIteration turned into a return as PyIter_Send does. */
static inline int glassloop_throw(PyObject *coro, PyObject *name_throw, PyObject *exception, PyObject **result) {
    *result = PyObject_CallMethodOneArg(coro, name_throw, exception);
    if (*result != NULL) return PYGEN_NEXT;
    if (!PyErr_ExceptionMatches(PyExc_StopIteration)) return PYGEN_ERROR;
    PyObject *stop = glassloop_take_exception();
    PyObject *value = ((PyStopIterationObject *)stop)->value;
    *result = Py_NewRef(value != NULL ? value : Py_None);
    Py_DECREF(stop);
    return PYGEN_RETURN;
}

/* ---- awaiting a future: it is its own iterator, so no FutureIter object is made ---- */

static PyObject *glassloop_name_result; /* interned "result" */

static PySendResult glassloop_future_send(PyObject *self, PyObject *Py_UNUSED(argument), PyObject **result) {
    GlassloopFutureObject *future = (GlassloopFutureObject *)self;
    if (future->state == GLASSLOOP_PENDING && future->loop != NULL) {
        if (!future->blocking) {
            future->blocking = 1;
            *result = Py_NewRef(self);
            return PYGEN_NEXT;
        }
        PyErr_SetString(PyExc_RuntimeError, "await wasn't used with future");
        *result = NULL;
        return PYGEN_ERROR;
    }
    if (future->state == GLASSLOOP_FINISHED && future->exception == NULL) {
        future->log_tb = 0;
        *result = Py_NewRef(future->result);
        return PYGEN_RETURN;
    }
    *result = PyObject_CallMethodNoArgs(self, glassloop_name_result); /* raises what the future holds */
    return *result != NULL ? PYGEN_RETURN : PYGEN_ERROR;
}

static PyObject *glassloop_future_next(PyObject *self) {
    PyObject *result;
    switch (glassloop_future_send(self, Py_None, &result)) {
    case PYGEN_NEXT:
        return result;
    case PYGEN_RETURN:
        if (result != Py_None) {
            /* An instance made by hand: PyErr_SetObject would unpack a tuple. */
            PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, result);
            if (stop != NULL) glassloop_put_exception(stop);
        }
        Py_DECREF(result);
        return NULL;
    default:
        return NULL;
    }
}

/* ---- allocation and deallocation ---- */

#ifdef GLASSLOOP_NO_FREELISTS /* sanitizer builds: a freed object must be freed */
#define GLASSLOOP_FREELIST_SIZE 0
#else
#define GLASSLOOP_FREELIST_SIZE 512
#endif

typedef struct {
    PyTypeObject *type; /* exactly this type is recycled */
    int count;
    PyObject *items[GLASSLOOP_FREELIST_SIZE + 1];
} GlassloopFreelist;

/* One future list and one task list in each process; touched only while the GIL is held. */
static GlassloopFreelist glassloop_futures, glassloop_tasks;

static inline PyObject *glassloop_allocate(GlassloopFreelist *list, size_t size) {
    if (list->count > 0) {
        PyObject *object = list->items[--list->count];
        memset((char *)object + sizeof(PyObject), 0, size - sizeof(PyObject));
        _Py_NewReference(object);
        PyObject_GC_Track(object);
        return object;
    }
    return list->type->tp_alloc(list->type, 0); /* zeroed and tracked */
}

static inline void glassloop_release(GlassloopFreelist *list, PyObject *object, int recyclable) {
    PyTypeObject *type = Py_TYPE(object);
    /* An object whose finalizer ran is never recycled: the collector's FINALIZED bit would stay. */
    if (recyclable && list->count < GLASSLOOP_FREELIST_SIZE && !PyObject_GC_IsFinalized(object)) {
        list->items[list->count++] = object; /* keeps its reference to the type */
        return;
    }
    type->tp_free(object);
    Py_DECREF(type);
}

static inline void glassloop_clear_future_fields(GlassloopFutureObject *future) {
    Py_CLEAR(future->loop);
    Py_CLEAR(future->callback0);
    Py_CLEAR(future->context0);
    Py_CLEAR(future->callbacks);
    Py_CLEAR(future->exception);
    Py_CLEAR(future->exception_tb);
    Py_CLEAR(future->result);
    Py_CLEAR(future->source_tb);
    Py_CLEAR(future->cancel_message);
    Py_CLEAR(future->cancelled_exception);
#if PY_VERSION_HEX >= 0x030E0000
    future->awaited_by_is_set = 0;
    Py_CLEAR(future->awaited_by);
#endif
}

/* Whether somebody has set an attribute: in a dict or, from 3.14, in the values that lie behind the object. */
static inline int glassloop_has_dict(PyObject *object) {
#if PY_VERSION_HEX >= 0x030E0000
    PyTypeObject *type = Py_TYPE(object);
    struct { uint8_t capacity, size, embedded, valid; } *values = (void *)((char *)object + type->tp_basicsize);
    if ((type->tp_flags & Py_TPFLAGS_INLINE_VALUES) && values->size != 0) return 1;
#endif
    return GLASSLOOP_DICT(object) != NULL;
}

static inline int glassloop_has_weakrefs(PyObject *object) { return GLASSLOOP_WEAKREFS(object) != NULL; }

/* Whether the object is as if nobody had set an attribute: one with a dict is not recycled. */
static inline int glassloop_clear_dict(PyObject *object) {
    if (!glassloop_has_dict(object)) return 1;
#if PY_VERSION_HEX >= 0x030D0000
    PyObject_ClearManagedDict(object);
    return 0;
#else
    Py_CLEAR(GLASSLOOP_DICT(object));
    return 1;
#endif
}

static void glassloop_future_dealloc(PyObject *self) {
    GlassloopFutureObject *future = (GlassloopFutureObject *)self;
    int exact = Py_TYPE(self) == glassloop_futures.type;
    /* Only an exception that nobody retrieved needs the finalizer, which logs it. */
    if (future->log_tb || !exact) {
        if (PyObject_CallFinalizerFromDealloc(self) < 0) return; /* resurrected */
    }
    PyObject_GC_UnTrack(self);
    if (GLASSLOOP_WEAKREFS(self) != NULL) PyObject_ClearWeakRefs(self);
    glassloop_clear_future_fields(future);
    glassloop_release(&glassloop_futures, self, glassloop_clear_dict(self) && exact);
}

static void glassloop_task_dealloc(PyObject *self) {
    GlassloopTaskObject *task = (GlassloopTaskObject *)self;
    int exact = Py_TYPE(self) == glassloop_tasks.type;
    if (task->log_tb || task->state == GLASSLOOP_PENDING || !exact) {
        if (PyObject_CallFinalizerFromDealloc(self) < 0) return; /* resurrected */
    }
    PyObject_GC_UnTrack(self);
    glassloop_unlink(glassloop_tail(self));
    glassloop_leave_page(glassloop_tail(self));
#if PY_VERSION_HEX >= 0x030E0000
    if (task->node.next != NULL) { /* asyncio's own list of this thread's tasks */
        task->node.previous->next = task->node.next;
        task->node.next->previous = task->node.previous;
        task->node.next = task->node.previous = NULL;
    }
#endif
    if (GLASSLOOP_WEAKREFS(self) != NULL) PyObject_ClearWeakRefs(self);
    Py_CLEAR(task->waiter);
    Py_CLEAR(task->coro);
    Py_CLEAR(task->name);
    Py_CLEAR(task->context);
    glassloop_clear_future_fields((GlassloopFutureObject *)self);
    glassloop_release(&glassloop_tasks, self, glassloop_clear_dict(self) && exact);
}

static destructor glassloop_stock_task_finalize;

static void glassloop_task_finalize(PyObject *self) {
    /* The collector may resurrect a pending task: it must not be found in a list meanwhile. */
    glassloop_unlink(glassloop_tail(self));
    glassloop_leave_page(glassloop_tail(self)); /* its loop, and the page with it, may go before it does */
    glassloop_stock_task_finalize(self);
}

/* Replace the slots that Cython cannot express. Called once, right after the type was made. */
static inline void glassloop_set_await_slots(PyTypeObject *type) {
    type->tp_as_async->am_await = PyObject_SelfIter;
    type->tp_as_async->am_send = glassloop_future_send;
    type->tp_iternext = glassloop_future_next;
    PyType_Modified(type);
}

static inline int glassloop_set_future_slots(PyObject *future_type) {
    PyTypeObject *type = (PyTypeObject *)future_type;
    glassloop_name_result = PyUnicode_InternFromString("result");
    if (glassloop_name_result == NULL) return -1;
    glassloop_futures.type = type;
    type->tp_dealloc = glassloop_future_dealloc;
    glassloop_set_await_slots(type);
    return 0;
}

/* Show a type's new finalizer as its __del__: a subclass takes its slots from what it finds under the names. */
static inline int glassloop_show_finalizer(PyTypeObject *type) {
    PyObject *stock = PyObject_GetAttrString((PyObject *)type->tp_base, "__del__");
    PyObject *shown;
    int failed;
    if (stock == NULL) return -1;
    if (Py_TYPE(stock) != &PyWrapperDescr_Type) {
        Py_DECREF(stock);
        PyErr_SetString(PyExc_ImportError, "glassloop: asyncio.Task.__del__ is not its type's finalizer");
        return -1;
    }
    shown = PyDescr_NewWrapper(type, ((PyWrapperDescrObject *)stock)->d_base, (void *)type->tp_finalize);
    Py_DECREF(stock);
    failed = shown == NULL || PyDict_SetItemString(type->tp_dict, "__del__", shown) < 0;
    Py_XDECREF(shown);
    return failed ? -1 : 0;
}

static inline int glassloop_set_task_slots(PyObject *task_type) {
    PyTypeObject *type = (PyTypeObject *)task_type;
    glassloop_name_result = PyUnicode_InternFromString("result");
    if (glassloop_name_result == NULL) return -1;
    glassloop_tasks.type = type;
    glassloop_stock_task_finalize = type->tp_base->tp_finalize;
    type->tp_finalize = glassloop_task_finalize;
    if (glassloop_show_finalizer(type) < 0) return -1;
    type->tp_dealloc = glassloop_task_dealloc;
    glassloop_set_await_slots(type);
    return 0;
}

static inline PyObject *glassloop_new_future(void) {
    return glassloop_allocate(&glassloop_futures, sizeof(GlassloopFutureObject) + sizeof(GlassloopFutureTail));
}

static inline PyObject *glassloop_new_task(void) {
    PyObject *task = glassloop_allocate(&glassloop_tasks, sizeof(GlassloopTaskObject) + sizeof(GlassloopTaskTail));
#if PY_VERSION_HEX >= 0x030E0000
    if (task != NULL) ((GlassloopTaskObject *)task)->is_task = 1;
#endif
    return task;
}

/* ---- proof of the layout ---- */

/* 0 when `task`, a stock task made of exactly these parts, lies in memory as we believe; else what differs. */
static inline const char *glassloop_layout_fault(PyObject *task, PyObject *loop, PyObject *coro, PyObject *name,
                                                 PyObject *context) {
    GlassloopTaskObject *fields = (GlassloopTaskObject *)task;
    if (fields->loop != loop) return "Task: the loop is not where it was expected";
    if (fields->coro != coro) return "Task: the coroutine is not where it was expected";
    if (fields->name != name) return "Task: the name is not where it was expected";
    if (fields->context != context) return "Task: the context is not where it was expected";
    if (fields->state != GLASSLOOP_PENDING) return "Task: the state is not where it was expected";
    if (!fields->log_destroy_pending || fields->must_cancel || fields->cancel_requests) return "Task: the flags differ";
    if (fields->callback0 || fields->callbacks || fields->exception || fields->result || fields->waiter)
        return "Task: a field that should be empty is not";
    return NULL;
}

/* The same for a future that was given a callback, a result, a cancel message, or was awaited. */
static inline const char *glassloop_future_fault(PyObject *future, PyObject *callback, PyObject *context,
                                                 PyObject *result, PyObject *exception, int state, int blocking,
                                                 int log_tb) {
    GlassloopFutureObject *fields = (GlassloopFutureObject *)future;
    if (fields->callback0 != callback) return "Future: the first callback is not where it was expected";
    if (fields->context0 != context) return "Future: the first context is not where it was expected";
    if (fields->result != result) return "Future: the result is not where it was expected";
    if (fields->exception != exception) return "Future: the exception is not where it was expected";
    if (fields->state != state) return "Future: the state is not where it was expected";
    if ((int)fields->blocking != blocking) return "Future: the blocking flag is not where it was expected";
    if ((int)fields->log_tb != log_tb) return "Future: the log flag is not where it was expected";
    return NULL;
}

#endif
