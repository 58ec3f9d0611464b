/* Handles as C objects: their fields, and their making and freeing through a free list.
 *
 * A loop makes and frees millions of handles a second. Cython would set each field to None first and keep the
 * arguments in a tuple; here a handle is a few stores, and one argument needs no tuple. See docs/decisions.
 */
#ifndef GLASSLOOP_HANDLE_OBJECT_H
#define GLASSLOOP_HANDLE_OBJECT_H

#include <Python.h>

#include "calls.h"

typedef struct {
    PyObject *callback;         /* NULL once cancelled */
    PyObject *argument;         /* the one argument, or NULL */
    PyObject *args;             /* the tuple of several, or NULL */
    PyObject *context;
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

static void glassloop_handle_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (*(PyObject **)((char *)self + type->tp_weaklistoffset) != NULL) PyObject_ClearWeakRefs(self);
    glassloop_handle_clear(self);
    if (type == glassloop_handle_type && glassloop_handle_count < GLASSLOOP_HANDLE_FREELIST_SIZE) {
        glassloop_handle_freelist[glassloop_handle_count++] = self;
        return;
    }
    type->tp_free(self);
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
    glassloop_handle_type = type;
    glassloop_handle_offset = (char *)fields - (char *)instance;
    type->tp_dealloc = glassloop_handle_dealloc;
    type->tp_traverse = glassloop_handle_traverse;
    type->tp_clear = glassloop_handle_clear;
    return 0;
}

/* A handle for callback(*arguments), or NULL with the exception set. Steals the reference to the context. */
static inline PyObject *glassloop_handle_new(PyObject *loop, PyObject *callback, PyObject **arguments,
                                             Py_ssize_t count, PyObject *context) {
    PyObject *self;
    GlassloopHandleFields *fields;
    if (glassloop_handle_count > 0) {
        self = glassloop_handle_freelist[--glassloop_handle_count];
        _Py_NewReference(self);
        PyObject_GC_Track(self);
    } else {
        self = glassloop_handle_type->tp_alloc(glassloop_handle_type, 0); /* zeroed and tracked */
        if (self == NULL) {
            Py_DECREF(context);
            return NULL;
        }
        memcpy((char *)self + sizeof(PyObject), glassloop_handle_template + sizeof(PyObject),
               (size_t)glassloop_handle_type->tp_basicsize - sizeof(PyObject));
    }
    fields = glassloop_handle_fields(self);
    fields->cancelled = 0;
    fields->context = context;
    fields->callback = Py_NewRef(callback);
    fields->loop = Py_NewRef(loop);
    if (count == 1) {
        fields->argument = Py_NewRef(arguments[0]);
    } else if (count > 1) {
        fields->args = PyTuple_New(count);
        if (fields->args == NULL) {
            Py_DECREF(self);
            return NULL;
        }
        for (Py_ssize_t i = 0; i < count; i++) PyTuple_SET_ITEM(fields->args, i, Py_NewRef(arguments[i]));
    }
    return self;
}

/* Call the callback in its context: a new reference, or NULL with the exception set. */
static inline PyObject *glassloop_handle_call(GlassloopHandleFields *fields) {
    PyObject *result;
    /* References of the call's own: the callback may cancel its handle. */
    PyObject *callback = Py_NewRef(fields->callback);
    PyObject *context = Py_NewRef(fields->context);
    PyObject *argument = Py_XNewRef(fields->argument != NULL ? fields->argument : fields->args);
    int single = fields->argument != NULL;
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
    return result;
}

#endif
