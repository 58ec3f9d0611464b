"""Ring: file operations by io_uring(7). One ring a loop, in the loop's own set of descriptors.

What is asked for in one batch of callbacks is submitted by one system call when the batch ends. Then, and
when the poller says that the kernel has something (by an eventfd), what is complete goes to whoever waits.

    waiting ─→ in the ring ─→ with the kernel ─→ complete ─┬→ done
       ↑                                                   └→ the rest of a transfer: again
       └── no room: at most so many are in flight as the completion queue holds, so that it never overflows

An operation in flight owns a reference to itself, which no garbage collector sees: it, its buffer and its
path live until the kernel has said that it is done with them, whatever becomes of the task, the loop or the
program's other references. Only the loop's thread touches a ring: the kernel refuses others.
"""

import os
import weakref

import cython
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_GET_SIZE
from cython.cimports.cpython.exc import PyErr_CheckSignals
from cython.cimports.cpython.pythread import PyThread_get_thread_ident
from cython.cimports.cpython.ref import Py_DECREF, Py_INCREF, PyObject
from cython.cimports.glassloop._core.source import READABLE
from cython.cimports.glassloop._io.file_operation import FileOperation
from cython.cimports.glassloop._io.loop_source import LoopSource
from cython.cimports.glassloop._sys.io_uring import (
    ECANCELED,
    OP_CANCEL,
    OP_CLOSE,
    OP_FSYNC,
    OP_OPEN,
    OP_READ,
    OP_WRITE,
    RING_ASYNC,
    ring_close,
    ring_enter,
    ring_has_completions,
    ring_heard,
    ring_open,
    ring_put,
    ring_take,
    ring_try,
    ring_unsubmitted,
    ring_waits,
)
from cython.cimports.glassloop._sys.nowait import at_end, close_fd, is_regular
from cython.cimports.libc.errno import EAGAIN, EBUSY, EINTR, EIO
from cython.cimports.libc.stdint import int64_t, uint32_t, uint64_t, uintptr_t

import glassloop._io.poller  # noqa: F401 - its hook of a fork comes before ours
from glassloop._io.file_operation import FileOperation, cancelled_by_kernel, os_error
from glassloop._io.loop_source import LoopSource

ENTRIES = cython.declare(uint32_t, 256)
COMPLETIONS = cython.declare(uint32_t, 1024)
# Threads of the kernel's for what blocks. Opens of FIFOs wait in them for the other end.
MOST_WORKERS = cython.declare(uint32_t, 64)
# The kernel moves no more in one go (MAX_RW_COUNT), and reports it in an int.
MOST_BYTES = cython.declare(cython.size_t, 0x7FFFF000)
# What is in its caches the kernel copies within the submit, which the loop waits for: a millisecond or so.
INLINE_BYTES = cython.declare(uint32_t, 4 << 20)
RETRY_S = cython.declare(cython.double, 0.002)

_rings: weakref.WeakSet = weakref.WeakSet()


@cython.cclass
class Ring(LoopSource):
    """The ring of one loop. OSError where the kernel does not allow one."""

    def __cinit__(self) -> None:
        self.memory.fd = self.memory.event_fd = -1
        self.waiting = []

    def __init__(self, loop: object) -> None:
        self.loop = loop
        self.open()
        _rings.add(self)

    def __dealloc__(self) -> None:
        # Nothing is in flight: each operation in flight keeps the ring alive.
        ring_close(cython.address(self.memory))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} fd={self.fd} in flight={self.in_flight}>"

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def open(self) -> cython.int:
        """Make the ring, for this thread, and see whether it works."""
        result: cython.int = ring_open(cython.address(self.memory), ENTRIES, COMPLETIONS, MOST_WORKERS)
        if result == 0:
            result = ring_try(cython.address(self.memory))
        if result < 0:
            ring_close(cython.address(self.memory))
            raise os_error(-result)
        self.thread = PyThread_get_thread_ident()
        self.fd = self.memory.event_fd
        if self.loop is not None:
            try:
                self.set_watched(READABLE)
            except BaseException:
                self.leave()
                raise
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def leave(self) -> cython.int:
        """Give up the kernel's ring."""
        try:
            if self.loop is not None:
                self.set_watched(0)
        finally:
            ring_close(cython.address(self.memory))
            self.fd = -1
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def use(self) -> cython.int:
        """See that this thread may put something into the ring."""
        running: object
        if self.loop is None or self.loop._closed:
            raise RuntimeError("Event loop is closed")
        if self.fd < 0:
            return self.open()
        if self.thread == PyThread_get_thread_ident():
            return 0
        running = self.loop._thread_id
        if running is not None and running != PyThread_get_thread_ident():
            raise RuntimeError(
                "a file operation was begun in another thread than its event loop runs in; "
                "use asyncio.run_coroutine_threadsafe() there"
            )
        self.reap()
        if self.in_flight or self.waiting:
            raise RuntimeError(
                f"{self.in_flight + len(self.waiting)} file operations of this event loop are in flight in "
                "the thread in which it ran before; await them there before the loop is run in another thread"
            )
        self.leave()
        return self.open()

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def put(self, operation: RingOperation) -> cython.int:
        """Put an operation into the ring, to be submitted when the batch ends."""
        flags: cython.int = 0
        taken: cython.bint
        size: uint32_t
        self.use()
        if self.in_flight >= COMPLETIONS or self.waiting:
            self.waiting.append(operation)
            return self.arm()
        self.arm()
        size = operation.chunk()
        if operation.by_worker:
            flags = RING_ASYNC
        elif operation.opcode == OP_READ or operation.opcode == OP_WRITE:
            if self.inline_bytes + size > INLINE_BYTES:
                flags = RING_ASYNC
            else:
                self.inline_bytes += size
        taken = self.put_entry(operation, flags, size)
        if not taken:
            ring_enter(cython.address(self.memory), 0, True)
            taken = self.put_entry(operation, flags, size)
        if not taken:
            self.waiting.append(operation)
            return 0
        Py_INCREF(operation)
        operation.in_ring = True
        operation.previous = None
        operation.next = self.first
        if self.first is not None:
            self.first.previous = operation
        self.first = operation
        self.in_flight += 1
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def put_entry(self, operation: RingOperation, flags: cython.int, size: uint32_t) -> cython.bint:
        fd: cython.int = operation.fd
        details: uint32_t = 0
        if operation.opcode == OP_OPEN:
            fd = operation.directory
            details = operation.flags
            size = operation.mode
        elif operation.opcode == OP_FSYNC:
            details = operation.flags
        return ring_put(
            cython.address(self.memory),
            operation.opcode,
            flags,
            fd,
            cython.cast(uint64_t, -1)
            if operation.offset < 0
            else cython.cast(uint64_t, operation.offset) + operation.moved,
            cython.NULL if operation.memory is cython.NULL else operation.memory + operation.moved,
            size,
            details,
            cython.cast(uint64_t, cython.cast(uintptr_t, cython.cast(cython.pointer(PyObject), operation))),
        )

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def arm(self) -> cython.int:
        if not self.armed:
            self.loop.batch_enders.append(self)
            self.armed = True
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def cancel(self, operation: RingOperation) -> cython.int:
        """Ask the kernel to end an operation early. It will complete all the same, later."""
        if operation.cancel_sent or self.fd < 0 or self.thread != PyThread_get_thread_ident():
            return 0
        target: cython.p_void = cython.cast(cython.p_void, cython.cast(cython.pointer(PyObject), operation))
        if not ring_put(cython.address(self.memory), OP_CANCEL, 0, -1, 0, target, 0, 0, 0):
            ring_enter(cython.address(self.memory), 0, True)
            if not ring_put(cython.address(self.memory), OP_CANCEL, 0, -1, 0, target, 0, 0, 0):
                return 0  # the kernel is short of memory: it completes in its own time
        operation.cancel_sent = True
        if not self.loop._closed:
            self.arm()
        return 0

    # -- what the loop calls --------------------------------------------------------------------

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def on_readable(self) -> cython.int:
        ring_heard(cython.address(self.memory))
        return self.turn()

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def on_batch_end(self) -> cython.int:
        self.armed = False
        try:
            if self.waiting or ring_unsubmitted_now(self) != 0:
                self.turn()
        except Exception as exc:
            self.loop.call_exception_handler({"message": f"Exception in {self!r}", "exception": exc})
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def turn(self) -> cython.int:
        """Submit what waits, and give what is complete to whoever waits for it."""
        result: cython.int
        taken: cython.int
        left: uint32_t
        nothing_came: cython.bint = False
        while self.fd >= 0 and self.thread == PyThread_get_thread_ident():
            self.inline_bytes = 0
            left = ring_unsubmitted_now(self)
            result = ring_enter(cython.address(self.memory), 0, not nothing_came)
            taken = self.reap()
            self.refill()
            if self.fd < 0:
                break
            if result < 0 and result != -EINTR and ring_unsubmitted_now(self) >= left:
                # The kernel is short of memory, or wants its completions taken first, as they now are.
                if result != -EAGAIN and result != -EBUSY:
                    raise os_error(-result)
                if left:
                    self.loop.call_later(RETRY_S, self.retry)
                break
            if ring_unsubmitted_now(self) or ring_has_completions(cython.address(self.memory)):
                nothing_came = False
                continue
            if not ring_waits(cython.address(self.memory)) or (nothing_came and taken == 0):
                break
            # The flag alone proves nothing: a worker of the kernel's sets it after it has queued its result,
            # and may come too late, when that is taken already. So a second time without anything ends this,
            # during which the event was on: who comes later wakes the loop.
            nothing_came = taken == 0
        return 0

    def retry(self) -> None:
        """Submit what the kernel did not take."""
        self.turn()

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def reap(self) -> cython.int:
        """Give what is complete to whoever waits for it; return how many completions that were."""
        user_data: uint64_t = 0
        result: cython.int = 0
        taken: cython.int = 0
        operation: RingOperation
        while self.fd >= 0 and ring_take(
            cython.address(self.memory), cython.address(user_data), cython.address(result)
        ):
            taken += 1
            if user_data == 0:
                continue  # of a cancel: what was cancelled completes by itself
            operation = cython.cast(
                RingOperation, cython.cast(cython.pointer(PyObject), cython.cast(uintptr_t, user_data))
            )
            self.unlink(operation)
            Py_DECREF(operation)  # its own: the local variable holds another
            operation.complete(result)
        return taken

    @cython.cfunc
    @cython.exceptval(check=False)
    def unlink(self, operation: RingOperation) -> cython.void:
        if operation.previous is None:
            self.first = operation.next
        else:
            operation.previous.next = operation.next
        if operation.next is not None:
            operation.next.previous = operation.previous
        operation.next = operation.previous = None
        operation.in_ring = False
        self.in_flight -= 1

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def refill(self) -> cython.int:
        """Put into the ring what waited for room in it."""
        waiting: list
        place: cython.Py_ssize_t
        operation: RingOperation
        if not self.waiting or self.in_flight >= COMPLETIONS:
            return 0
        waiting = self.waiting
        self.waiting = []
        for place in range(len(waiting)):
            operation = waiting[place]
            if operation.abandoned and operation.opcode != OP_WRITE:
                operation.complete(-ECANCELED)
            else:
                self.put(operation)
            if self.waiting:
                self.waiting += waiting[place + 1 :]
                break
        return 0

    # -- the end --------------------------------------------------------------------------------

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def shut_down(self) -> cython.int:
        """Wait until the kernel is done with all memory: what is written is written, all else ends early.

        The loop, which still exists, does not run.
        """
        operation: RingOperation
        result: cython.int = 0
        if self.fd < 0:
            return 0
        try:
            self.reap()
            if self.thread == PyThread_get_thread_ident():
                while self.in_flight or self.waiting:
                    self.refill()
                    if not self.in_flight:
                        continue  # nothing of what waited was worth to be done
                    operation = self.first
                    while operation is not None:
                        if operation.ends_early():
                            self.cancel(operation)
                        operation = operation.next
                    with cython.nogil:
                        result = ring_enter(cython.address(self.memory), 1, True)
                    self.reap()
                    if result == -EINTR:
                        PyErr_CheckSignals()
                    elif result < 0 and result != -EAGAIN and result != -EBUSY:
                        break
        finally:
            # What is in flight still, as its thread is another one, or as a signal's handler raised, keeps
            # its memory for ever: see the head of this file.
            self.waiting = []
            self.leave()
        return 0

    def close(self) -> None:
        self.shut_down()
        self.loop = None

    def _forked(self) -> None:
        """In the child of a fork: the ring, and all that is in flight, is the parent's."""
        operation: RingOperation
        if self.fd < 0:
            return
        if self.loop is not None and self.loop.poller is None:
            self.watched = 0  # its selector may be shared with the parent
            ring_close(cython.address(self.memory))
            self.fd = -1
        else:
            self.leave()
        self.waiting = []
        while self.first is not None:
            operation = self.first
            self.unlink(operation)
            Py_DECREF(operation)


@cython.cclass
class RingOperation(FileOperation):
    """One operation, with all that the kernel needs for it."""

    def __cinit__(self) -> None:
        self.offset = -1
        self.directory = -1

    @cython.cfunc
    @cython.exceptval(check=False)
    def chunk(self) -> uint32_t:
        return cython.cast(uint32_t, min(self.size - self.moved, MOST_BYTES))

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def start(self) -> cython.int:
        self.ring.put(self)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def again(self) -> cython.int:
        try:
            self.ring.put(self)
        except Exception as exc:
            self.fail(exc)
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def ends_early(self) -> cython.bint:
        """Whether to end it early loses nothing. A write to a file is never broken off."""
        if self.opcode == OP_WRITE:
            return not is_regular(self.fd)
        return self.opcode == OP_READ or self.opcode == OP_OPEN

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def abandon(self) -> cython.int:
        self.abandoned = True
        if self.in_ring and self.ends_early():
            self.ring.cancel(self)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def complete(self, result: cython.int) -> cython.int:
        """The kernel is done with it."""
        if result < 0 and self.abandoned and self.ends_early():
            return self.fail(cancelled_by_kernel())
        if result == -EINTR and not self.cancel_sent and self.opcode != OP_CLOSE:
            return self.again()
        if result == -EAGAIN and not self.by_worker:
            self.by_worker = True  # where nothing can be waited for, a thread of the kernel's tries it
            return self.again()
        if result < 0:
            if self.cancel_sent or result == -ECANCELED:
                return self.fail(cancelled_by_kernel())
            return self.fail(os_error(-result, self.path))
        if self.opcode == OP_OPEN:
            if self.abandoned:
                close_fd(result)
                return self.succeed(None)
            return self.succeed_with_fd(result)
        if self.opcode == OP_READ or self.opcode == OP_WRITE:
            return self.moved_bytes(result)
        return self.succeed(None)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def moved_bytes(self, result: cython.int) -> cython.int:
        self.moved += result
        if self.opcode == OP_WRITE:
            if self.moved < self.size:
                return self.fail(os_error(EIO)) if result == 0 else self.again()
        elif (
            result != 0
            and self.moved < self.size
            and not self.abandoned
            and is_regular(self.fd)
            and not at_end(self.fd, -1 if self.offset < 0 else self.offset + self.moved)
        ):
            return self.again()
        return self.end_transfer()

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def end_transfer(self) -> cython.int:
        owner = self.owner
        self.owner = None
        self.memory = cython.NULL
        if self.opcode == OP_WRITE or type(owner) is not bytes:
            owner = None
            return self.succeed(self.moved)
        if self.moved != cython.cast(cython.size_t, PyBytes_GET_SIZE(owner)):
            owner = owner[: self.moved]
        return self.succeed(owner)


@cython.cfunc
def new_transfer(
    ring: Ring,
    opcode: cython.int,
    owner: object,
    memory: cython.p_char,
    size: cython.size_t,
    moved: cython.size_t,
    offset: int64_t,
    by_worker: cython.bint,
) -> RingOperation:
    """A read or write of `size` bytes, `moved` of which are there already, from or to the owner's memory."""
    operation: RingOperation = RingOperation.__new__(RingOperation)
    operation.ring = ring
    operation.opcode = opcode
    operation.owner = owner
    operation.memory = memory
    operation.size = size
    operation.moved = moved
    operation.offset = offset
    operation.by_worker = by_worker
    return operation


@cython.cfunc
def new_open(
    ring: Ring, directory: cython.int, encoded: bytes, flags: cython.int, mode: uint32_t, path: object
) -> RingOperation:
    operation: RingOperation = RingOperation.__new__(RingOperation)
    operation.ring = ring
    operation.opcode = OP_OPEN
    operation.directory = directory
    operation.flags = flags
    operation.mode = mode
    operation.path = path
    operation.owner = encoded
    operation.memory = PyBytes_AS_STRING(encoded)
    operation.offset = 0
    operation.by_worker = True  # it may have to wait: for a disk, or for the other end of a FIFO
    return operation


@cython.cfunc
def new_call(ring: Ring, opcode: cython.int, flags: cython.int) -> RingOperation:
    """A close or an fsync."""
    operation: RingOperation = RingOperation.__new__(RingOperation)
    operation.ring = ring
    operation.opcode = opcode
    operation.flags = flags
    operation.offset = 0
    operation.by_worker = True  # a close may have to write, or to free a gigabyte
    return operation


@cython.cfunc
@cython.exceptval(check=False)
def ring_unsubmitted_now(ring: Ring) -> uint32_t:
    return 0 if ring.fd < 0 else ring_unsubmitted(cython.address(ring.memory))


def try_ring() -> int:
    """Return 0 where a ring can be made and works, else the number of the error."""
    ring: Ring
    try:
        ring = Ring.__new__(Ring)
        ring.open()
    except OSError as exc:
        return exc.errno
    ring_close(cython.address(ring.memory))
    return 0


def _forget_all() -> None:
    for ring in list(_rings):
        ring._forked()


# After the poller's: the child's epoll set is made anew, with the parent's ring in it.
os.register_at_fork(after_in_child=_forget_all)
