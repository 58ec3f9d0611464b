# Calls into Python that report failure as NULL and leave the exception set: see calls.h.
from cpython.ref cimport PyObject

cdef extern from "Python.h":
    PyObject *PyContext_CopyCurrent() except NULL
    int PyContext_Enter(PyObject *context) except -1
    int context_enter "PyContext_Enter"(PyObject *context) noexcept  # -1: the exception is set
    int PyContext_Exit(PyObject *context) except -1
    int PyErr_CheckSignals() except -1
    Py_ssize_t Py_REFCNT(PyObject *object) noexcept
    int set_attribute "PyObject_GenericSetAttr"(object thing, object name, PyObject *value) except -1  # NULL: delete
    bint PyCoro_CheckExact(object coro) noexcept
    bint PyFunction_Check(object callback) noexcept
    bint PyMethod_Check(object callback) noexcept
    bint PyCFunction_CheckExact(object callback) noexcept
    PyObject *PyCFunction_GET_SELF(object callback) noexcept
    void *PyCFunction_GET_FUNCTION(object callback) noexcept

cdef extern from "calls.h":
    bint is_exactly "glassloop_is_type"(PyObject *object, PyObject *type) noexcept
    bint is_instance "glassloop_is_instance"(PyObject *object, PyObject *type) noexcept
    PyObject *call "glassloop_call"(PyObject *callback, PyObject *args) noexcept
    PyObject *call_in_context "glassloop_call_in_context"(
        PyObject *context, PyObject *callback, PyObject *args
    ) noexcept
    PyObject *call_method "glassloop_call_method"(PyObject *receiver, PyObject *name, PyObject *argument) noexcept
    PyObject *coro_code "glassloop_coro_code"(PyObject *coro) noexcept
    PyObject *take_exception "glassloop_take_exception"() noexcept
