/* drive: the limit of the scheduling benchmarks, a module that sends None to coroutines and does nothing else.
 *
 * drive(coroutines) steps each coroutine of a list in turn until all have returned; gives the number of steps back.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

static PyObject *drive(PyObject *module, PyObject *coroutines)
{
    (void)module;
    if (!PyList_Check(coroutines))
        return PyErr_Format(PyExc_TypeError, "drive() takes a list of coroutines");
    Py_ssize_t live = PyList_GET_SIZE(coroutines);
    size_t steps = 0;
    while (live) {
        for (Py_ssize_t i = 0; i < live;) {
            PyObject *coroutine = PyList_GET_ITEM(coroutines, i);
            PyObject *result = NULL;
            PySendResult outcome = PyIter_Send(coroutine, Py_None, &result);
            if (outcome == PYGEN_ERROR)
                return NULL;
            Py_DECREF(result);
            steps++;
            if (outcome == PYGEN_NEXT) {
                i++;
                continue;
            }
            live--; /* the last live one takes its place */
            PyList_SET_ITEM(coroutines, i, PyList_GET_ITEM(coroutines, live));
            PyList_SET_ITEM(coroutines, live, coroutine);
        }
    }
    return PyLong_FromSize_t(steps);
}

static PyMethodDef methods[] = {{"drive", drive, METH_O, "Step coroutines until all have returned."}, {0}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "drive", NULL, 0, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_drive(void) { return PyModuleDef_Init(&definition); }
