/* Python's socket object: its descriptor, family and time-out, read without calls.
 *
 * _socket.socket is (Modules/socketmodule.h, CPython 3.11 to 3.15)
 *
 *   int sock_fd; int sock_family; int sock_type; int sock_proto; PyObject *(*errorhandler)(void); int64 sock_timeout;
 *
 * Where the family lies is public: it is a member descriptor of the type. The rest follows from it, and is used
 * only once it has been proven on real sockets (sockets.py); until then every offset is -1. */
#ifndef GLASSLOOP_SOCKET_OBJECT_H
#define GLASSLOOP_SOCKET_OBJECT_H

#include <Python.h>
#if PY_VERSION_HEX < 0x030C0000
#include <structmember.h>
#endif
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct glassloop_socket_part { /* what lies there, from sock_fd on */
    int fd, family, type, proto;
    void *errorhandler;
    int64_t timeout; /* nanoseconds; negative: it waits for ever */
};

/* The offset of sock_fd by the type's member descriptor of sock_family, or -1. */
static inline Py_ssize_t glassloop_socket_offset(PyObject *descriptor) {
    if (Py_TYPE(descriptor) != &PyMemberDescr_Type) return -1;
    return (Py_ssize_t)((PyMemberDescrObject *)descriptor)->d_member->offset -
           (Py_ssize_t)offsetof(struct glassloop_socket_part, family);
}

static inline struct glassloop_socket_part *glassloop_socket_part(PyObject *sock, Py_ssize_t offset) {
    return (struct glassloop_socket_part *)((char *)sock + offset);
}

/* Whether the weak reference is one to this object. */
static inline int glassloop_refers_to(PyObject *reference, PyObject *thing) {
#if PY_VERSION_HEX >= 0x030D0000
    PyObject *found = NULL;
    if (PyWeakref_GetRef(reference, &found) < 0) PyErr_Clear();
    Py_XDECREF(found); /* compared only */
    return found == thing;
#else
    return PyWeakref_GET_OBJECT(reference) == thing;
#endif
}

#endif
