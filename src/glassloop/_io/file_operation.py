"""FileOperation: what a task awaits while the kernel, or a thread, does something to a file.

    begun ─→ in flight ─┬→ done ─→ taken by the task that awaits it
                        └→ abandoned ─→ done: nobody wants the result, a descriptor in it is closed

It begins when it is made, whether or not it is awaited. Whoever works for it holds a reference until it is
done: so the memory that the kernel was told of lives as long as the kernel may touch it, also when the task
that waited was cancelled. All but ``start`` runs in the loop's thread.
"""

import errno
import os

import cython
from cython.cimports.cpython.ref import Py_INCREF, PyObject
from cython.cimports.glassloop._core.scheduler import Scheduler
from cython.cimports.glassloop._sys.nowait import close_fd

from glassloop._core.scheduler import Scheduler


# What a task waits for, as its page says it: the names of these classes are in the table of glass/reasons.py.
class Opening:
    """An open."""


class Reading:
    """A read, also of a whole file."""


class Writing:
    """A write or a truncate."""


class Syncing:
    """An fsync."""


class Closing:
    """A close."""


class Working:
    """Anything else, in a thread."""


WORDS = {
    Opening: "{!r} to be opened",
    Reading: "{} to be read",
    Writing: "{} to be written",
    Syncing: "{} to reach the disk",
    Closing: "{} to be closed",
    Working: "{} in a thread for files",
}

_NOTHING = cython.declare(object, object())  # in the place of a result that was taken


@cython.cclass
class Busy:
    """Which descriptors have operations in flight. One may be closed only when it has none.

    The kernel, or a thread, may look a descriptor up late: closed meanwhile, its number may name another
    file.
    """

    def __cinit__(self) -> None:
        self.counts = {}
        self.waiting = {}


@cython.cclass
class FileOperation:
    """An awaitable that is under way. It may be awaited once."""

    def __cinit__(self) -> None:
        self.fd = self.opened_fd = -1

    def __dealloc__(self) -> None:
        if self.opened_fd >= 0:
            close_fd(self.opened_fd)

    # -- for those who do the work --------------------------------------------------------------

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def begin(self, loop: Scheduler, busy: Busy, kind: object, subject: object, fd: cython.int) -> cython.int:
        """Start it now."""
        self.loop = loop
        self.busy = busy
        self.kind = kind
        self.subject = subject
        if fd >= 0:
            busy.counts[fd] = busy.counts.get(fd, 0) + 1
        self.fd = fd
        try:
            self.start()
        except BaseException:
            self.ended()
            raise
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def begin_alone(
        self, loop: Scheduler, busy: Busy, kind: object, subject: object, fd: cython.int
    ) -> cython.int:
        """Start it when nothing else is in flight on the descriptor: a close."""
        if fd not in busy.counts:
            return self.begin(loop, busy, kind, subject, fd)
        self.loop = loop
        self.busy = busy
        self.kind = kind
        self.subject = subject
        self.fd = fd
        busy.waiting.setdefault(fd, []).append(self)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def start(self) -> cython.int:
        raise NotImplementedError

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def abandon(self) -> cython.int:
        """Nobody waits any more: end it early if that loses nothing."""
        self.abandoned = True
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def succeed(self, result: object) -> cython.int:
        self.result = result
        return self.finish()

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def succeed_with_fd(self, fd: cython.int) -> cython.int:
        """The result is a descriptor, which is closed if nobody takes it."""
        self.opened_fd = fd
        return self.succeed(fd)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def fail(self, error: object) -> cython.int:
        self.error = error
        return self.finish()

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def finish(self) -> cython.int:
        self.done = True
        try:
            if self.abandoned:
                self.dispose()
            elif self.future is not None and not self.future.done():
                self.future.set_result(None)
        finally:
            self.ended()
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def ended(self) -> cython.int:
        """Nothing works on the descriptor for this operation any more."""
        fd: cython.int = self.fd
        left: cython.Py_ssize_t
        waiting: FileOperation
        if fd < 0:
            return 0
        self.fd = -1
        left = self.busy.counts.pop(fd, 1) - 1
        if left:
            self.busy.counts[fd] = left
        elif self.busy.waiting and fd in self.busy.waiting:
            # One after the other: the first closes it, and the next is told that it is closed.
            queue: list = self.busy.waiting[fd]
            waiting = queue.pop(0)
            if not queue:
                del self.busy.waiting[fd]
            try:
                waiting.fd = -1
                waiting.begin(self.loop, self.busy, waiting.kind, waiting.subject, fd)
            except Exception as exc:
                waiting.fail(exc)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def dispose(self) -> cython.int:
        """Let go of a result that nobody takes."""
        self.taken = True
        self.result = self.error = None
        if self.opened_fd >= 0:
            close_fd(self.opened_fd)
            self.opened_fd = -1
        return 0

    # -- for the task that awaits it ------------------------------------------------------------

    def __await__(self) -> object:
        return self

    def __iter__(self) -> object:
        return self

    def __next__(self) -> object:
        # It is not done, or was awaited already: see take_outcome.
        if self.taken:
            raise RuntimeError("this file operation was awaited already: it has one result, for one awaiter")
        if self.abandoned:
            raise RuntimeError("this file operation was cancelled: it cannot be awaited again")
        if self.future is None:
            self.future = self.loop.create_future()
            self.loop.note_kind(self.future, self.kind)
        elif self.future.done():
            self.abandon()
            return self.future.result()  # cancelled by somebody who got hold of it
        self.future._asyncio_future_blocking = True
        return self.future

    def send(self, value: object) -> object:
        return self.__next__()

    def throw(self, kind: object, value: object = None, traceback: object = None) -> object:
        """The task that waits is told otherwise: it was cancelled, mostly."""
        self.close()
        error = kind if value is None else value
        if isinstance(error, type):
            error = error()
        raise error if traceback is None else error.with_traceback(traceback)

    def close(self) -> None:
        """Nobody waits any more."""
        if not self.done:
            if not self.abandoned:
                self.abandon()
        elif not self.taken:
            self.dispose()

    def describe_wait(self) -> str:
        """What is waited for, in words."""
        subject = self.subject
        if isinstance(subject, int):
            subject = f"file descriptor {subject}"
        elif callable(subject):
            subject = f"{subject.__module__}.{subject.__qualname__}"
        elif isinstance(subject, bytes):
            subject = os.fsdecode(subject)
        return WORDS[self.kind].format(subject)


@cython.cclass
class Finished:
    """An operation that was over at once."""

    def __cinit__(self) -> None:
        self.opened_fd = -1

    def __dealloc__(self) -> None:
        if self.opened_fd >= 0:
            close_fd(self.opened_fd)

    def __await__(self) -> object:
        return self

    def __iter__(self) -> object:
        return self

    def __next__(self) -> object:
        raise RuntimeError("this file operation was awaited already: it has one result, for one awaiter")


@cython.cfunc
def finished(result: object) -> object:
    done: Finished = Finished.__new__(Finished)
    done.result = result
    return done


@cython.cfunc
def opened(fd: cython.int) -> object:
    """The result is a descriptor, which is closed if nobody takes it."""
    done: Finished
    try:
        done = Finished.__new__(Finished)
        done.result = fd
    except BaseException:
        close_fd(fd)
        raise
    done.opened_fd = fd
    return done


@cython.cfunc
def failed(error: object) -> object:
    done: Finished = Finished.__new__(Finished)
    done.error = error
    return done


@cython.cfunc
@cython.exceptval(check=False)
def take_outcome(
    operation: cython.pointer(PyObject), outcome: cython.pointer(cython.pointer(PyObject))
) -> cython.int:
    self: FileOperation = cython.cast(FileOperation, operation)
    if not self.done or self.taken:
        return NOT_DONE
    self.taken = True
    self.opened_fd = -1
    taken = self.result if self.error is None else self.error
    kind: cython.int = RESULT if self.error is None else ERROR
    self.result = self.error = None
    Py_INCREF(taken)
    outcome[0] = cython.cast(cython.pointer(PyObject), taken)
    return kind


@cython.cfunc
@cython.exceptval(check=False)
def take_outcome_of_finished(
    operation: cython.pointer(PyObject), outcome: cython.pointer(cython.pointer(PyObject))
) -> cython.int:
    self: Finished = cython.cast(Finished, operation)
    taken = self.error
    kind: cython.int = ERROR
    if taken is None:
        if self.result is _NOTHING:
            return NOT_DONE
        taken = self.result
        kind = RESULT
    self.error = None
    self.result = _NOTHING
    self.opened_fd = -1
    Py_INCREF(taken)
    outcome[0] = cython.cast(cython.pointer(PyObject), taken)
    return kind


def os_error(number: cython.int, path: object = None) -> OSError:
    """The OSError that the os module would raise."""
    if path is None:
        return OSError(number, os.strerror(number))
    return OSError(number, os.strerror(number), path)


def cancelled_by_kernel() -> OSError:
    """Return what an operation ends with whose thread or loop went away."""
    return OSError(errno.ECANCELED, os.strerror(errno.ECANCELED))


set_outcome(cython.cast(cython.pointer(PyObject), FileOperation), 0, take_outcome)
set_outcome(cython.cast(cython.pointer(PyObject), Finished), 1, take_outcome_of_finished)
