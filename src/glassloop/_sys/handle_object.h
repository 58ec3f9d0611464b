/* Handles as C objects: their fields, and their making and freeing through a free list.
 *
 * A loop makes and frees millions of handles a second. Cython would set each field to None first and keep the
 * arguments in a tuple; here a handle is a few stores, and one argument needs no tuple. See docs/decisions.
 */
#ifndef GLASSLOOP_HANDLE_OBJECT_H
#define GLASSLOOP_HANDLE_OBJECT_H

#include <Python.h>

#include "calls.h"
#include "context_snapshot.h"

typedef struct {
    PyObject *callback;         /* NULL once cancelled */
    PyObject *argument;         /* the one argument, or NULL */
    PyObject *args;             /* the tuple of several, or NULL */
    PyObject *context;          /* a Context, or what was kept of the one then present: context_snapshot.h */
    PyObject *loop;
    PyObject *source_traceback; /* NULL but in debug mode */
    PyObject *text;             /* the repr from before the cancel, in debug mode */
    int cancelled;
} GlassloopHandleFields;

#ifdef GLASSLOOP_NO_FREELISTS /* sanitizer builds: a freed object must be freed */
#define GLASSLOOP_HANDLE_FREELIST_SIZE 0
#else
#define GLASSLOOP_HANDLE_FREELIST_SIZE 1024
#endif

/* One type of handle in each module that includes this; touched only while the GIL is held. */
static PyTypeObject *glassloop_handle_type;
static Py_ssize_t glassloop_handle_offset; /* of the fields in the object */
static Py_ssize_t glassloop_handle_count;
static char glassloop_handle_template[512]; /* an empty handle: Cython's table of methods, and defaults */
static PyObject *glassloop_handle_freelist[GLASSLOOP_HANDLE_FREELIST_SIZE + 1];

static inline GlassloopHandleFields *glassloop_handle_fields(PyObject *handle) {
    return (GlassloopHandleFields *)((char *)handle + glassloop_handle_offset);
}

static int glassloop_handle_traverse(PyObject *self, visitproc visit, void *arg) {
    GlassloopHandleFields *fields = glassloop_handle_fields(self);
    Py_VISIT(fields->callback);
    Py_VISIT(fields->argument);
    Py_VISIT(fields->args);
    Py_VISIT(fields->context);
    Py_VISIT(fields->loop);
    Py_VISIT(fields->source_traceback);
    return 0;
}

static int glassloop_handle_clear(PyObject *self) {
    GlassloopHandleFields *fields = glassloop_handle_fields(self);
    Py_CLEAR(fields->callback);
    Py_CLEAR(fields->argument);
    Py_CLEAR(fields->args);
    Py_CLEAR(fields->context);
    Py_CLEAR(fields->loop);
    Py_CLEAR(fields->source_traceback);
    Py_CLEAR(fields->text);
    return 0;
}

static void glassloop_handle_free(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    glassloop_handle_clear(self);
    if (type == glassloop_handle_type && glassloop_handle_count < GLASSLOOP_HANDLE_FREELIST_SIZE) {
        glassloop_handle_freelist[glassloop_handle_count++] = self;
        return;
    }
    type->tp_free(self);
}

/* A handle may be another's argument, that one a third's, and so on: to free the last would free all, one inside
 * the other, and end with the C stack. Beyond a depth they wait, linked by `text`, for the outermost to be free.
 */
#define GLASSLOOP_HANDLE_DEPTH 100
static int glassloop_handle_depth;
static PyObject *glassloop_handle_waiting;

static void glassloop_handle_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (*(PyObject **)((char *)self + type->tp_weaklistoffset) != NULL) PyObject_ClearWeakRefs(self);
    if (glassloop_handle_depth >= GLASSLOOP_HANDLE_DEPTH && type == glassloop_handle_type) {
        GlassloopHandleFields *fields = glassloop_handle_fields(self);
        Py_CLEAR(fields->text);
        fields->text = glassloop_handle_waiting;
        glassloop_handle_waiting = self;
        return;
    }
    glassloop_handle_depth++;
    glassloop_handle_free(self);
    while (glassloop_handle_depth == 1 && glassloop_handle_waiting != NULL) {
        PyObject *waiting = glassloop_handle_waiting;
        glassloop_handle_waiting = glassloop_handle_fields(waiting)->text;
        glassloop_handle_fields(waiting)->text = NULL;
        glassloop_handle_free(waiting);
    }
    glassloop_handle_depth--;
}

/* Called once, with an instance that has just been made. */
static inline int glassloop_handle_set_slots(PyObject *handle_type, PyObject *instance,
                                             GlassloopHandleFields *fields) {
    PyTypeObject *type = (PyTypeObject *)handle_type;
    if ((size_t)type->tp_basicsize > sizeof(glassloop_handle_template)) {
        PyErr_SetString(PyExc_ImportError, "glassloop: a handle is larger than its template");
        return -1;
    }
    memcpy(glassloop_handle_template, instance, (size_t)type->tp_basicsize);
    glassloop_prove_contexts();
    glassloop_handle_type = type;
    glassloop_handle_offset = (char *)fields - (char *)instance;
    type->tp_dealloc = glassloop_handle_dealloc;
    type->tp_traverse = glassloop_handle_traverse;
    type->tp_clear = glassloop_handle_clear;
    return 0;
}

/* Give a subclass that adds nothing to be freed the same slots; its instances are not recycled. */
static inline void glassloop_handle_share_slots(PyObject *handle_subclass) {
    PyTypeObject *type = (PyTypeObject *)handle_subclass;
    type->tp_dealloc = glassloop_handle_dealloc;
    type->tp_traverse = glassloop_handle_traverse;
    type->tp_clear = glassloop_handle_clear;
}

/* Fill an empty handle: -1 with the exception set on failure. Steals the reference to the context; NULL stands
 * for the present one, as it is now.
 */
static inline int glassloop_handle_fill(GlassloopHandleFields *fields, PyObject *loop, PyObject *callback,
                                        PyObject **arguments, Py_ssize_t count, PyObject *context) {
    fields->cancelled = 0;
    fields->context = context != NULL ? context : glassloop_snapshot();
    if (fields->context == NULL) return -1;
    fields->callback = Py_NewRef(callback);
    fields->loop = Py_NewRef(loop);
    if (count == 1) {
        fields->argument = Py_NewRef(arguments[0]);
    } else if (count > 1) {
        fields->args = PyTuple_New(count);
        if (fields->args == NULL) return -1;
        for (Py_ssize_t i = 0; i < count; i++) PyTuple_SET_ITEM(fields->args, i, Py_NewRef(arguments[i]));
    }
    return 0;
}

/* A handle for callback(*arguments), or NULL with the exception set. Context: see glassloop_handle_fill.
 * The collector does not see it yet: whoever lets others hold it must call glassloop_handle_track.
 */
static inline PyObject *glassloop_handle_new(PyObject *loop, PyObject *callback, PyObject **arguments,
                                             Py_ssize_t count, PyObject *context) {
    PyObject *self;
    if (glassloop_handle_count > 0) {
        self = glassloop_handle_freelist[--glassloop_handle_count];
        _Py_NewReference(self);
    } else {
        self = PyObject_GC_New(PyObject, glassloop_handle_type);
        if (self == NULL) {
            Py_XDECREF(context);
            return NULL;
        }
        memcpy((char *)self + sizeof(PyObject), glassloop_handle_template + sizeof(PyObject),
               (size_t)glassloop_handle_type->tp_basicsize - sizeof(PyObject));
    }
    if (glassloop_handle_fill(glassloop_handle_fields(self), loop, callback, arguments, count, context) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return self;
}

/* Let the collector see a handle that somebody besides its one owner holds. */
static inline void glassloop_handle_track(PyObject *self) {
    if (!PyObject_GC_IsTracked(self)) PyObject_GC_Track(self);
}

/* Call the callback in its context: a new reference, or NULL with the exception set. */
static inline PyObject *glassloop_handle_call(GlassloopHandleFields *fields) {
    PyObject *result;
    /* References of the call's own, below: the callback may cancel its handle. */
    PyObject *callback, *context, *argument;
    int single = fields->argument != NULL;
    int kept = Py_TYPE(fields->context) == glassloop_map_type;
    if (kept && glassloop_materialize(&fields->context) < 0) return NULL;
    callback = Py_NewRef(fields->callback);
    context = Py_NewRef(fields->context);
    argument = Py_XNewRef(fields->argument != NULL ? fields->argument : fields->args);
    if (PyContext_Enter(context) < 0) {
        result = NULL;
    } else {
        if (argument == NULL) {
            result = PyObject_CallNoArgs(callback);
        } else if (single) {
            result = PyObject_CallOneArg(callback, argument);
        } else {
            result = glassloop_call(callback, argument);
        }
        if (PyContext_Exit(context) < 0) Py_CLEAR(result);
    }
    Py_XDECREF(argument);
    Py_DECREF(callback);
    Py_DECREF(context);
    if (kept && fields->context == context) glassloop_recycle(&fields->context);
    return result;
}

#endif
