# Looks at the attributes of ordinary Python objects that make nothing: see attributes.h.
from cpython.ref cimport PyObject

cdef extern from "attributes.h":
    PyObject *peek "glassloop_peek"(PyObject *object, PyObject *name) noexcept
    bint has_class_method "glassloop_has_class_method"(PyObject *object, PyObject *name) noexcept
    unsigned int class_version "glassloop_class_version"(PyObject *type) noexcept
    bint is_ordinary_class "glassloop_is_ordinary_class"(PyObject *type) noexcept
    PyObject *referent_of "glassloop_referent"(PyObject *reference) noexcept
    Py_ssize_t positive_size "glassloop_positive_size"(PyObject *number) noexcept
    int try_resize "glassloop_try_resize"(PyObject *array, Py_ssize_t size) noexcept
