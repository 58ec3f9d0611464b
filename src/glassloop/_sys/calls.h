/* Calling Python from compiled code without a temporary tuple, and without touching the error indicator. */
#ifndef GLASSLOOP_CALLS_H
#define GLASSLOOP_CALLS_H

#include <Python.h>

static inline int glassloop_is_type(PyObject *object, PyObject *type) {
    return Py_TYPE(object) == (PyTypeObject *)type;
}

/* Like isinstance() without asking the object's __class__. A subclass is never smaller than its base: that alone
 * tells most objects apart, where the walk along the bases costs fifty instructions. */
static inline int glassloop_is_instance(PyObject *object, PyObject *type) {
    return Py_TYPE(object)->tp_basicsize >= ((PyTypeObject *)type)->tp_basicsize &&
           PyType_IsSubtype(Py_TYPE(object), (PyTypeObject *)type);
}

/* callback(*args): a new reference, or NULL with the exception set. */
static inline PyObject *glassloop_call(PyObject *callback, PyObject *args) {
    Py_ssize_t count = PyTuple_GET_SIZE(args);
    if (count == 0) return PyObject_CallNoArgs(callback);
    return PyObject_Vectorcall(callback, ((PyTupleObject *)args)->ob_item, (size_t)count, NULL);
}

/* The same inside `context`. */
static inline PyObject *glassloop_call_in_context(PyObject *context, PyObject *callback, PyObject *args) {
    PyObject *result;
    if (PyContext_Enter(context) < 0) return NULL;
    result = glassloop_call(callback, args);
    if (PyContext_Exit(context) < 0) Py_CLEAR(result);
    return result;
}

/* receiver.name(argument): a new reference, or NULL with the exception set. */
static inline PyObject *glassloop_call_method(PyObject *receiver, PyObject *name, PyObject *argument) {
    PyObject *stack[3] = {NULL, receiver, argument};
    return PyObject_VectorcallMethod(name, stack + 1, (argument != NULL ? 2 : 1) | PY_VECTORCALL_ARGUMENTS_OFFSET,
                                     NULL);
}

/* The code of an exact coroutine (borrowed), or NULL. */
static inline PyObject *glassloop_coro_code(PyObject *coro) {
#if PY_VERSION_HEX < 0x030C0000
    return (PyObject *)((PyCoroObject *)coro)->cr_code;
#else
    PyObject *code;
#ifdef Py_DEBUG /* asserts that it is a generator, which has the same struct */
    code = PyObject_GetAttrString(coro, "cr_code");
    if (code == NULL) PyErr_Clear();
#else
    code = (PyObject *)PyGen_GetCode((PyGenObject *)coro);
#endif
    Py_XDECREF(code); /* the coroutine has it */
    return code;
#endif
}

/* ---- exceptions ---- */

static inline PyObject *glassloop_take_exception(void) { /* a new reference; clears the error indicator */
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback != NULL) PyException_SetTraceback(value, traceback);
    Py_XDECREF(type);
    Py_XDECREF(traceback);
    return value;
#endif
}

static inline void glassloop_put_exception(PyObject *exception) { /* steals the reference */
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(exception);
#else
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(exception)), exception, PyException_GetTraceback(exception));
#endif
}

#endif
