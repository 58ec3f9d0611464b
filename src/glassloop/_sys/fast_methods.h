/* call_soon, call_later, call_at and call_soon_threadsafe, which take any number of arguments: as methods that
 * get them in a C array. Cython makes a tuple of *args at each call.
 */
#ifndef GLASSLOOP_FAST_METHODS_H
#define GLASSLOOP_FAST_METHODS_H

#include <Python.h>

/* What the scheduler does with one call: `arguments` follow the callback; context is None where none was given. */
typedef PyObject *(*GlassloopScheduling)(PyObject *self, PyObject *when, PyObject *callback,
                                         PyObject **arguments, Py_ssize_t count, PyObject *context);

enum { GLASSLOOP_CALL_SOON, GLASSLOOP_CALL_THREADSAFE, GLASSLOOP_CALL_LATER, GLASSLOOP_CALL_AT };
static GlassloopScheduling glassloop_scheduling[4];
static const char *const glassloop_method_names[4] = {"call_soon", "call_soon_threadsafe", "call_later", "call_at"};

static PyObject *glassloop_parse(int method, PyObject *self, PyObject *const *args, Py_ssize_t count,
                                 PyObject *keywords) {
    const char *name = glassloop_method_names[method];
    Py_ssize_t positional = method >= GLASSLOOP_CALL_LATER ? 2 : 1; /* ahead of the callback's arguments */
    PyObject *context = Py_None;
    /* As in asyncio's signatures, the leading parameters may also be given by name. */
    PyObject *leading[2] = {count > 0 ? args[0] : NULL, count > 1 ? args[1] : NULL};
    const char *const leading_names[2] = {
        method == GLASSLOOP_CALL_LATER ? "delay" : method == GLASSLOOP_CALL_AT ? "when" : "callback", "callback"};
    if (keywords != NULL) {
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(keywords); i++) {
            PyObject *keyword = PyTuple_GET_ITEM(keywords, i);
            Py_ssize_t place = 0;
            if (PyUnicode_CompareWithASCIIString(keyword, "context") == 0) {
                context = args[count + i];
                continue;
            }
            while (place < positional && PyUnicode_CompareWithASCIIString(keyword, leading_names[place]) != 0) place++;
            if (place == positional) {
                PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument %R", name, keyword);
                return NULL;
            }
            if (place < count) {
                PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument %R", name, keyword);
                return NULL;
            }
            leading[place] = args[count + i];
        }
    }
    for (Py_ssize_t place = 0; place < positional; place++) {
        if (leading[place] == NULL) {
            PyErr_Format(PyExc_TypeError, "%s() missing 1 required positional argument: '%s'", name,
                         leading_names[place]);
            return NULL;
        }
    }
    return glassloop_scheduling[method](self, leading[0], leading[positional - 1],
                                        (PyObject **)args + positional, count > positional ? count - positional : 0, context);
}

#define GLASSLOOP_METHOD(function, method)                                                                       \
    static PyObject *function(PyObject *self, PyObject *const *args, Py_ssize_t count, PyObject *keywords) {     \
        if (keywords == NULL && count >= (method >= GLASSLOOP_CALL_LATER ? 2 : 1)) {                             \
            const Py_ssize_t positional = method >= GLASSLOOP_CALL_LATER ? 2 : 1;                                \
            return glassloop_scheduling[method](self, args[0], args[positional - 1], (PyObject **)args + positional, \
                                                count - positional, Py_None);                                    \
        }                                                                                                        \
        return glassloop_parse(method, self, args, count, keywords);                                             \
    }
GLASSLOOP_METHOD(glassloop_call_soon, GLASSLOOP_CALL_SOON)
GLASSLOOP_METHOD(glassloop_call_soon_threadsafe, GLASSLOOP_CALL_THREADSAFE)
GLASSLOOP_METHOD(glassloop_call_later, GLASSLOOP_CALL_LATER)
GLASSLOOP_METHOD(glassloop_call_at, GLASSLOOP_CALL_AT)

#define GLASSLOOP_FLAGS METH_FASTCALL | METH_KEYWORDS
static PyMethodDef glassloop_methods[4] = {
    {"call_soon", (PyCFunction)(void (*)(void))glassloop_call_soon, GLASSLOOP_FLAGS,
     "call_soon($self, callback, *args, context=None)\n--\n\n"
     "Call callback(*args) in the next turn, after what is ready already."},
    {"call_soon_threadsafe", (PyCFunction)(void (*)(void))glassloop_call_soon_threadsafe, GLASSLOOP_FLAGS,
     "call_soon_threadsafe($self, callback, *args, context=None)\n--\n\nLike call_soon, from any thread."},
    {"call_later", (PyCFunction)(void (*)(void))glassloop_call_later, GLASSLOOP_FLAGS,
     "call_later($self, delay, callback, *args, context=None)\n--\n\n"
     "Call callback(*args) once delay seconds have passed."},
    {"call_at", (PyCFunction)(void (*)(void))glassloop_call_at, GLASSLOOP_FLAGS,
     "call_at($self, when, callback, *args, context=None)\n--\n\n"
     "Call callback(*args) once loop.time() has reached when."},
};

/* Put the four methods into the type. -1 with the exception set on failure. */
static inline int glassloop_add_methods(PyObject *scheduler_type, GlassloopScheduling soon,
                                        GlassloopScheduling threadsafe, GlassloopScheduling later,
                                        GlassloopScheduling at) {
    PyTypeObject *type = (PyTypeObject *)scheduler_type;
    glassloop_scheduling[GLASSLOOP_CALL_SOON] = soon;
    glassloop_scheduling[GLASSLOOP_CALL_THREADSAFE] = threadsafe;
    glassloop_scheduling[GLASSLOOP_CALL_LATER] = later;
    glassloop_scheduling[GLASSLOOP_CALL_AT] = at;
    for (int i = 0; i < 4; i++) {
        PyObject *method = PyDescr_NewMethod(type, &glassloop_methods[i]);
        int failed = method == NULL || PyDict_SetItemString(type->tp_dict, glassloop_methods[i].ml_name, method) < 0;
        Py_XDECREF(method);
        if (failed) return -1;
    }
    PyType_Modified(type);
    return 0;
}

#endif
