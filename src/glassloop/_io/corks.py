"""The chain of corks: which transports hold what they are given, because a method of their protocol runs.

Each link lies on the stack of who calls the method: there are several where a method runs another loop, or
where loops run in several threads.
"""

import os

import cython
from cython.cimports.cpython.pythread import PyThread_get_thread_ident
from cython.cimports.cpython.ref import PyObject

# The last one first.
corks = cython.declare(cython.pointer(Cork), cython.NULL)


@cython.cfunc
@cython.exceptval(check=False)
def corks_add(cork: cython.pointer(Cork), transport: object) -> cython.void:
    cork.transport = cython.cast(cython.pointer(PyObject), transport)
    cork.thread = PyThread_get_thread_ident()
    cork.previous = cython.NULL
    cork.next = corks
    if corks is not cython.NULL:
        corks.previous = cork
    set_first_cork(cork)


@cython.cfunc
@cython.exceptval(check=False)
def corks_remove(cork: cython.pointer(Cork)) -> cython.void:
    # Not always the first of the chain: another thread's loop may have put one before it.
    if cork.previous is cython.NULL:
        set_first_cork(cork.next)
    else:
        cork.previous.next = cork.next
    if cork.next is not cython.NULL:
        cork.next.previous = cork.previous


@cython.cfunc
def corked_transports() -> list:
    """All that hold something now, of whichever thread."""
    link: cython.pointer(Cork) = corks
    found: list = []
    while link is not cython.NULL:
        found.append(cython.cast(object, link.transport))
        link = link.next
    return found


@cython.cfunc
@cython.exceptval(check=False)
@cython.inline
def set_first_cork(cork: cython.pointer(Cork)) -> cython.void:
    global corks
    corks = cork


def _forget_corks_of_other_threads() -> None:
    """In the child: the stacks of the threads that are gone will be used for something else."""
    link: cython.pointer(Cork) = corks
    last: cython.pointer(Cork) = cython.NULL
    set_first_cork(cython.NULL)
    while link is not cython.NULL:
        if link.thread == PyThread_get_thread_ident():
            link.previous = last
            if last is cython.NULL:
                set_first_cork(link)
            else:
                last.next = link
            last = link
        link = link.next
    if last is not cython.NULL:
        last.next = cython.NULL


os.register_at_fork(after_in_child=_forget_corks_of_other_threads)
