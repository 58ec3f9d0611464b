/* The current task of the running thread, as `asyncio.current_task()` finds it.
 *
 * From 3.14 on it lies in the thread state, at an offset that the build reads from CPython's internal header and
 * that the import proves. Until 3.13 it lies in a dict {loop: task}: see Scheduler.__hash__.
 */
#ifndef GLASSLOOP_RUNNING_TASK_H
#define GLASSLOOP_RUNNING_TASK_H

#include <Python.h>

#ifdef GLASSLOOP_RUNNING_TASK_OFFSET
#define GLASSLOOP_HAS_RUNNING_TASK 1
static inline PyObject **glassloop_running_task(void) {
    return (PyObject **)((char *)PyThreadState_Get() + GLASSLOOP_RUNNING_TASK_OFFSET);
}
#else
#define GLASSLOOP_HAS_RUNNING_TASK 0
static inline PyObject **glassloop_running_task(void) { return NULL; }
#endif

#if PY_VERSION_HEX >= 0x030E0000
#define GLASSLOOP_TASK_IN_THREAD 1
#else
#define GLASSLOOP_TASK_IN_THREAD 0
#endif

#endif
