/* Looks at the attributes of ordinary Python objects that make nothing: no bound method, and no exception where
 * there is no such attribute. */
#ifndef GLASSLOOP_ATTRIBUTES_H
#define GLASSLOOP_ATTRIBUTES_H

#include <Python.h>

/* What the interpreter itself looks methods up with. No documented function tells a class's method from what the
 * object has in its place without making a bound method; where a CPython no longer has this one, one is made. */
PyAPI_FUNC(int) _PyObject_GetMethod(PyObject *object, PyObject *name, PyObject **method) __attribute__((weak));

/* The object's own attribute (borrowed, as long as nothing else runs), or NULL. Its class must have none of that name. */
static inline PyObject *glassloop_peek(PyObject *object, PyObject *name) {
    PyObject *value = PyObject_GetAttr(object, name);
    if (value == NULL) {
        PyErr_Clear();
        return NULL;
    }
    Py_DECREF(value); /* the object keeps it */
    return value;
}

/* Whether the object has nothing of its own in the place of its class's method. */
static inline int glassloop_has_class_method(PyObject *object, PyObject *name) {
    PyObject *found = NULL;
    int is_method;
    if (_PyObject_GetMethod != NULL) {
        is_method = _PyObject_GetMethod(object, name, &found);
    } else {
        found = PyObject_GetAttr(object, name);
        is_method = found != NULL && PyMethod_Check(found) && PyMethod_GET_SELF(found) == object;
    }
    if (found == NULL) PyErr_Clear();
    Py_XDECREF(found);
    return is_method;
}

/* What stays the same as long as neither the class nor one of its bases is changed; 0 where that is not known. */
static inline unsigned int glassloop_class_version(PyObject *type) {
    return ((PyTypeObject *)type)->tp_version_tag;
}

/* Whether objects of this class are looked at and changed as objects are, without a __getattr__ or __setattr__. */
static inline int glassloop_is_ordinary_class(PyObject *type) {
    return ((PyTypeObject *)type)->tp_getattro == PyObject_GenericGetAttr &&
           ((PyTypeObject *)type)->tp_setattro == PyObject_GenericSetAttr;
}

/* What a plain weak reference refers to (a new reference), or NULL. */
static inline PyObject *glassloop_referent(PyObject *reference) {
    PyObject *referent = NULL;
    if (reference == NULL || !PyWeakref_CheckRefExact(reference)) return NULL;
#if PY_VERSION_HEX >= 0x030D0000
    if (PyWeakref_GetRef(reference, &referent) < 0) PyErr_Clear();
#else
    referent = PyWeakref_GET_OBJECT(reference);
    if (referent == Py_None) return NULL;
    Py_INCREF(referent);
#endif
    return referent;
}

/* The value of an exact int that is a positive size, else 0. */
static inline Py_ssize_t glassloop_positive_size(PyObject *number) {
    Py_ssize_t size;
    if (number == NULL || !PyLong_CheckExact(number)) return 0;
    size = PyLong_AsSsize_t(number);
    if (size > 0) return size;
    PyErr_Clear();
    return 0;
}

/* Change the length of an exact bytearray; -1 where that cannot be: it is lent, or there is no memory. */
static inline int glassloop_try_resize(PyObject *array, Py_ssize_t size) {
    if (PyByteArray_Resize(array, size) == 0) return 0;
    PyErr_Clear();
    return -1;
}

#endif
