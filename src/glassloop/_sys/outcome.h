/* The end of an `await` on an object of ours: its result or error is given to the interpreter in C.
 *
 * What Cython makes of `raise StopIteration(result)` would add a frame of ours to the traceback, each time.
 */
#ifndef GLASSLOOP_OUTCOME_H
#define GLASSLOOP_OUTCOME_H

#include <Python.h>

enum { GLASSLOOP_NOT_DONE = 0, GLASSLOOP_RESULT = 1, GLASSLOOP_ERROR = 2 };

/* Gives a new reference to the result or the error, and keeps none. */
typedef int (*GlassloopTakeOutcome)(PyObject *self, PyObject **outcome);

static GlassloopTakeOutcome glassloop_take_outcome[2];
static iternextfunc glassloop_step_not_done[2];

static inline void glassloop_stop_with(PyObject *value) {
    PyObject *stop;
    if (!PyTuple_Check(value) && !PyExceptionInstance_Check(value)) {
        PyErr_SetObject(PyExc_StopIteration, value);
        return;
    }
    stop = PyObject_CallOneArg(PyExc_StopIteration, value); /* a tuple would be taken for its arguments */
    if (stop != NULL) {
        PyErr_SetObject(PyExc_StopIteration, stop);
        Py_DECREF(stop);
    }
}

static inline PyObject *glassloop_next(PyObject *self, int which) {
    PyObject *outcome = NULL;
    int kind = glassloop_take_outcome[which](self, &outcome);
    if (kind == GLASSLOOP_NOT_DONE) return glassloop_step_not_done[which](self);
    if (kind == GLASSLOOP_RESULT) glassloop_stop_with(outcome);
    else PyErr_SetObject((PyObject *)Py_TYPE(outcome), outcome);
    Py_DECREF(outcome);
    return NULL;
}

static PyObject *glassloop_next_0(PyObject *self) { return glassloop_next(self, 0); }
static PyObject *glassloop_next_1(PyObject *self) { return glassloop_next(self, 1); }

/* Which of at most two types of the module. A type that is not done makes its step as it says in __next__. */
static inline void glassloop_set_outcome(PyObject *type, int which, GlassloopTakeOutcome take) {
    glassloop_take_outcome[which] = take;
    glassloop_step_not_done[which] = ((PyTypeObject *)type)->tp_iternext;
    ((PyTypeObject *)type)->tp_iternext = which == 0 ? glassloop_next_0 : glassloop_next_1;
    PyType_Modified((PyTypeObject *)type);
}

#endif
