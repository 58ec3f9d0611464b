/* The present context, kept for a callback without a copy of the Context object.
 *
 * A contextvars.Context is a small mutable object around an immutable map. What call_soon() has to keep is the
 * map. A Context is made around it when somebody asks for one; for the time of the call a spare one is used, and
 * used again unless somebody kept it (a Token does). Nobody can tell, and each callback saves an object that the
 * garbage collector would have to visit. See docs/decisions/0010.
 *
 * CPython's struct is the same from 3.8 to 3.15. That it still is gets proven once in each module that includes
 * this; where the proof fails, contexts are copied as asyncio copies them.
 */
#ifndef GLASSLOOP_CONTEXT_SNAPSHOT_H
#define GLASSLOOP_CONTEXT_SNAPSHOT_H

#include <Python.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    PyObject_HEAD
    PyObject *previous;
    PyObject *map;
    PyObject *weak_references;
    int entered;
} GlassloopContext;

/* Touched only while the GIL is held. */
static PyTypeObject *glassloop_map_type;   /* NULL: not proven */
static PyObject *glassloop_empty_map;      /* owned */
static GlassloopContext *glassloop_spare;  /* owned, empty, not entered; or NULL */

/* Whether the struct above is CPython's. Called once; 0 and no exception where it is not. */
static inline int glassloop_prove_contexts(void) {
    PyObject *empty = NULL, *full = NULL, *copy = NULL, *variable = NULL, *token = NULL;
    PyObject *saved = NULL;
    int proven = 0, entered = 0;
    GlassloopContext *seen;
    const char *tasks = getenv("GLASSLOOP_TASKS");
#ifdef Py_GIL_DISABLED
    return 0;
#endif
    if (glassloop_map_type != NULL) return 1;
    if (tasks != NULL && strcmp(tasks, "stock") == 0) return 0; /* the switch to do without any layout */
    if (PyContext_Type.tp_basicsize != (Py_ssize_t)sizeof(GlassloopContext) ||
        PyContext_Type.tp_weaklistoffset != (Py_ssize_t)offsetof(GlassloopContext, weak_references))
        return 0;
    if ((empty = PyContext_New()) == NULL || (full = PyContext_New()) == NULL ||
        (variable = PyContextVar_New("glassloop_proof", NULL)) == NULL)
        goto done;
    seen = (GlassloopContext *)full;
    /* The same immutable map in both of them, and where a map must be. */
    saved = seen->map;
    if (saved == NULL || saved != ((GlassloopContext *)empty)->map || seen->entered != 0) goto done;
    if (strstr(Py_TYPE(saved)->tp_name, "hamt") == NULL) goto done;
    if (PyContext_Enter(full) < 0) goto done;
    entered = seen->entered == 1 && PyThreadState_Get()->context == full;
    token = PyContextVar_Set(variable, Py_None);
    if (PyContext_Exit(full) < 0 || token == NULL || !entered || seen->entered != 0) goto done;
    /* A variable that is set gives the context a new map; a copy shares it. */
    if (seen->map == ((GlassloopContext *)empty)->map || Py_TYPE(seen->map) != Py_TYPE(((GlassloopContext *)empty)->map))
        goto done;
    if ((copy = PyContext_Copy(full)) == NULL || ((GlassloopContext *)copy)->map != seen->map) goto done;
    glassloop_empty_map = Py_NewRef(((GlassloopContext *)empty)->map);
    glassloop_map_type = Py_TYPE(glassloop_empty_map);
    proven = 1;
done:
    PyErr_Clear();
    Py_XDECREF(token);
    Py_XDECREF(copy);
    Py_XDECREF(variable);
    Py_XDECREF(full);
    Py_XDECREF(empty);
    return proven;
}

/* What is to be kept of the present context: a new reference to its map, or a copy where nothing is proven. */
static inline PyObject *glassloop_snapshot(void) {
    PyObject *present;
    if (glassloop_map_type == NULL) return PyContext_CopyCurrent();
    present = PyThreadState_Get()->context;
    return Py_NewRef(present == NULL ? glassloop_empty_map : ((GlassloopContext *)present)->map);
}

/* Give `kept`, a map or a context, the form of a context that can be entered. -1 with the exception set. */
static inline int glassloop_materialize(PyObject **kept) {
    GlassloopContext *context;
    PyObject *map = *kept, *empty;
    if (map == NULL || Py_TYPE(map) != glassloop_map_type) return 0;
    if (glassloop_spare != NULL) {
        context = glassloop_spare;
        glassloop_spare = NULL;
    } else {
        context = (GlassloopContext *)PyContext_New();
        if (context == NULL) return -1;
        if (*kept != map) { /* up to 3.11 the collector runs in an allocation: somebody else was here first */
            Py_DECREF(context);
            return 0;
        }
    }
    empty = context->map;
    context->map = map; /* the reference that `kept` had */
    *kept = (PyObject *)context;
    Py_DECREF(empty);
    return 0;
}

/* The opposite, once the context has been left: it becomes the spare one, unless somebody else has it too. */
static inline void glassloop_recycle(PyObject **kept) {
    GlassloopContext *context = (GlassloopContext *)*kept;
    if (glassloop_spare != NULL || Py_REFCNT(context) != 1 || context->weak_references != NULL || context->entered)
        return;
    *kept = context->map;
    context->map = Py_NewRef(glassloop_empty_map);
    glassloop_spare = context;
}

#endif
