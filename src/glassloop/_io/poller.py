"""EpollPoller: asks the kernel, by epoll(7), which sources have events.

It is a ``selectors.BaseSelector``, so all that asyncio does with its selector goes on working; and it is a
``Poller``: transports and listeners register themselves, without keys, and go straight into the ready queue.
It never runs a callback.
"""

import os
import selectors
import weakref

import cython
from cython.cimports.cpython.mem import PyMem_Free, PyMem_Realloc
from cython.cimports.cpython.ref import Py_DECREF, Py_INCREF, PyObject
from cython.cimports.glassloop._core.ready import SOURCE, ReadyQueue, ready_push
from cython.cimports.glassloop._core.source import READABLE, WRITABLE, IOSource, Poller
from cython.cimports.glassloop._sys.calls import PyErr_CheckSignals
from cython.cimports.glassloop._sys.epoll import (
    EFD_CLOEXEC,
    EFD_NONBLOCK,
    EPOLL_CLOEXEC,
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    EPOLLET,
    EPOLLIN,
    EPOLLOUT,
    KEPT_SHIFT,
    close_fd,
    epoll_create1,
    epoll_event,
    epoll_harvest,
    epoll_set,
    eventfd,
    eventfd_drain,
    eventfd_signal,
    make_descriptor_room,
    without_threads,
)
from cython.cimports.libc.errno import EBADF, EEXIST, EINTR, ENOENT
from cython.cimports.libc.errno import errno as c_errno
from cython.cimports.libc.math import ceil
from cython.cimports.libc.stdint import uint32_t, uintptr_t
from cython.cimports.libc.string import memset

from glassloop._core.ready import ReadyQueue
from glassloop._core.source import IOSource, Poller

BATCH = cython.declare(cython.int, 512)
# Once there were more than these, so many are taken at once: what they bring is then handled while the CPU's
# cache still has it. Taken whole, a hundred streams of 16 KiB cost up to 10 % more. The kernel takes turns,
# so nobody is left out.
BUSY_BATCH = cython.declare(cython.int, 32)
# ... until there are only so few.
QUIET = cython.declare(cython.int, 16)
KEYED = cython.declare(uintptr_t, 1)


@cython.cclass
class EpollCore(Poller):
    """The compiled half: the table of owners, and the harvest."""

    def __cinit__(self) -> None:
        self.epoll_fd = self.wake_fd = -1
        self.batch_size = BATCH
        open_fds(self)

    def __dealloc__(self) -> None:
        release_owners(self)
        PyMem_Free(self.owners)
        close_fds(self)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def watch(self, source: IOSource, events: uint32_t) -> cython.int:
        owner: uintptr_t = 0
        if events == source.watched:
            return 0
        if events:
            owner = cython.cast(uintptr_t, cython.cast(cython.pointer(PyObject), source))
        self.claim(source.fd, owner, source.watched, events)
        source.watched = events
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def claim(self, fd: cython.int, owner: uintptr_t, before: uint32_t, events: uint32_t) -> cython.int:
        """Set what is watched of fd, and for whom. On an error all is as it was."""
        previous: uintptr_t
        kept: IOSource
        if fd < 0:
            raise ValueError(f"Invalid file descriptor: {fd}")
        if fd >= self.capacity:
            grow(self, fd)
        previous = self.owners[fd]
        if previous > KEYED and previous != owner:
            kept = cython.cast(IOSource, cython.cast(cython.pointer(PyObject), previous))
            if kept.kept:
                self.control(fd, kept.kept, events)
                self.replace(fd, owner)
                kept.kept = kept.watched = 0
                self.keeping -= 1
                kept.on_displaced()
                return 0
        self.control(fd, before, events)
        self.replace(fd, owner)
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def replace(self, fd: cython.int, owner: uintptr_t) -> cython.void:
        previous: uintptr_t = self.owners[fd]
        self.watching += (owner != 0) - (previous != 0)
        if owner > KEYED:
            Py_INCREF(cython.cast(object, cython.cast(cython.pointer(PyObject), owner)))
        self.owners[fd] = owner
        if previous > KEYED:
            Py_DECREF(cython.cast(object, cython.cast(cython.pointer(PyObject), previous)))

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def keep(self, source: IOSource, events: uint32_t) -> cython.int:
        # By edges, because a registration may outlive its descriptor here: where another process, or a copy
        # of the descriptor, has the socket open, the kernel goes on reporting it, and nobody can take it
        # back. By level that would turn the loop round for ever; by edges it costs a wake-up now and then.
        # The mark in the event's data tells it from those of the descriptor's next owner.
        fd: cython.int = source.fd
        owner: uintptr_t = cython.cast(uintptr_t, cython.cast(cython.pointer(PyObject), source))
        mask: uint32_t = kernel_mask(events) | EPOLLET
        result: cython.int
        if self.epoll_fd < 0:
            raise ValueError("I/O operation on closed epoll object")
        if fd >= self.capacity:
            grow(self, fd)
        result = epoll_set(self.epoll_fd, EPOLL_CTL_MOD if source.kept else EPOLL_CTL_ADD, fd, mask)
        if result == -ENOENT:
            result = epoll_set(self.epoll_fd, EPOLL_CTL_ADD, fd, mask)
        elif result == -EEXIST:
            result = epoll_set(self.epoll_fd, EPOLL_CTL_MOD, fd, mask)
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        if self.owners[fd] != owner:
            self.replace(fd, owner)
            self.keeping += 1
        source.kept = events
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def forget(self, source: IOSource) -> cython.void:
        """The source keeps its descriptor no longer, which is another file's now: the kernel is not asked."""
        source.watched = source.kept = 0
        self.keeping -= 1
        self.replace(source.fd, 0)

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def control(self, fd: cython.int, before: uint32_t, events: uint32_t) -> cython.int:
        """One epoll_ctl(2)."""
        result: cython.int
        if self.epoll_fd < 0:
            raise ValueError("I/O operation on closed epoll object")
        if events == 0:
            result = epoll_set(self.epoll_fd, EPOLL_CTL_DEL, fd, 0)
            # Closed already: the kernel has forgotten it.
            if result == -EBADF or result == -ENOENT:
                result = 0
        else:
            result = epoll_set(
                self.epoll_fd, EPOLL_CTL_MOD if before else EPOLL_CTL_ADD, fd, kernel_mask(events)
            )
            if result == -ENOENT:
                # The descriptor was closed and opened again behind our back.
                result = epoll_set(self.epoll_fd, EPOLL_CTL_ADD, fd, kernel_mask(events))
        if result < 0:
            raise OSError(-result, os.strerror(-result))
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def harvest(self, ready: ReadyQueue, timeout: cython.double) -> cython.int:
        batch: epoll_event[512]
        count: cython.int
        if timeout == 0.0:
            count = epoll_harvest(self.epoll_fd, batch, self.batch_size, 0)
        else:
            timeout_ns: cython.longlong = (
                -1 if timeout < 0 else cython.cast(cython.longlong, ceil(timeout * 1e9))
            )
            with cython.nogil:
                count = epoll_harvest(self.epoll_fd, batch, self.batch_size, timeout_ns)
        if count < 0:
            if count == -EINTR:
                # A signal: its handler runs now, and the turn goes on.
                PyErr_CheckSignals()
                return 0
            raise OSError(-count, os.strerror(-count))
        # A burst is taken whole, as asyncio's: only when it goes on in slices.
        if count > BUSY_BATCH:
            self.batch_size = BUSY_BATCH
        elif count < QUIET:
            self.batch_size = BATCH
        if self.keeping == 0:
            return self.deliver(ready, batch, count)
        try:
            self.deliver(ready, batch, count)
        except BaseException:
            self.seen_again()
            raise
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def deliver(self, ready: ReadyQueue, batch: cython.pointer(epoll_event), count: cython.int) -> cython.int:
        """Push what has events onto the ready queue."""
        i: cython.int
        fd: cython.int
        mask: uint32_t
        owner: uintptr_t
        source: IOSource
        for i in range(count):
            fd = cython.cast(cython.int, batch[i].data.u64)
            if fd == self.wake_fd:
                eventfd_drain(fd)
                self.wake_pending = False
                continue
            owner = self.owners[fd] if fd < self.capacity else 0
            if owner == 0:
                continue
            if batch[i].data.u64 >> KEPT_SHIFT and (
                owner == KEYED or not cython.cast(IOSource, cython.cast(cython.pointer(PyObject), owner)).kept
            ):
                continue  # of a socket that was closed here, and that somebody else has open
            # An error or a hang-up shows itself to whoever reads or writes, whichever is wanted.
            mask = (0 if batch[i].events & ~EPOLLOUT == 0 else READABLE) | (
                0 if batch[i].events & ~EPOLLIN == 0 else WRITABLE
            )
            if owner == KEYED:
                key = self._fd_to_key.get(fd)
                if key is not None and mask & key.events:
                    self.process_events([(key, mask & key.events)])
                continue
            source = cython.cast(IOSource, cython.cast(cython.pointer(PyObject), owner))
            mask &= source.watched
            if mask:
                if source.occurred == 0:
                    ready_push(ready, cython.cast(cython.pointer(PyObject), source), SOURCE)
                source.occurred |= mask
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def seen_again(self) -> cython.int:
        """Have the kernel report once more what comes by edges: a part of a batch was lost."""
        fd: cython.int
        source: IOSource
        for fd in range(self.capacity):
            if self.owners[fd] > KEYED:
                source = cython.cast(IOSource, cython.cast(cython.pointer(PyObject), self.owners[fd]))
                if source.kept and source.watched:
                    epoll_set(self.epoll_fd, EPOLL_CTL_MOD, fd, kernel_mask(source.kept) | EPOLLET)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def wake(self) -> cython.int:
        if not self.wake_pending and self.wake_fd >= 0:
            self.wake_pending = True
            eventfd_signal(self.wake_fd)
        return 0

    def wake_up(self) -> None:
        """End the wait of the loop, which may be in another thread."""
        self.wake()

    def attach(self, process_events: object, ready: ReadyQueue) -> None:
        """Serve a loop: its ``_process_events`` takes what has a selectors key, ``ready`` the rest."""
        self.process_events = process_events
        self.ready = ready

    def watch_key(self, fd: cython.int, before: cython.uint, events: cython.uint) -> None:
        """Watch fd for a selectors key: READABLE | WRITABLE, 0 for no longer."""
        if (
            before == 0
            and fd < self.capacity
            and fd >= 0
            and self.owners[fd] > KEYED
            and not cython.cast(IOSource, cython.cast(cython.pointer(PyObject), self.owners[fd])).kept
        ):
            raise RuntimeError(
                f"File descriptor {fd!r} is used by transport "
                f"{cython.cast(object, cython.cast(cython.pointer(PyObject), self.owners[fd]))!r}"
            )
        self.claim(fd, KEYED if events else 0, before, events)

    def source_of(self, fd: cython.int) -> object:
        """The transport or listener that watches fd, or None."""
        source: IOSource
        if 0 <= fd < self.capacity and self.owners[fd] > KEYED:
            source = cython.cast(IOSource, cython.cast(cython.pointer(PyObject), self.owners[fd]))
            return None if source.kept else source
        return None

    def release(self) -> None:
        """Close the epoll set; nothing is watched any more, and the loop is let go of."""
        release_owners(self)
        close_fds(self)
        self.process_events = None

    def rebuild(self) -> None:
        """In the child of a fork: an epoll set of its own, with the same descriptors in it."""
        fd: cython.int
        events: uint32_t
        source: IOSource
        if self.epoll_fd < 0:
            return
        close_fds(self)
        self.wake_pending = False
        open_fds(self)
        for fd in range(self.capacity):
            if self.owners[fd] == KEYED:
                events = kernel_mask(self._fd_to_key[fd].events)
            elif self.owners[fd]:
                source = cython.cast(IOSource, cython.cast(cython.pointer(PyObject), self.owners[fd]))
                events = kernel_mask(source.kept) | EPOLLET if source.kept else kernel_mask(source.watched)
            else:
                continue
            epoll_set(self.epoll_fd, EPOLL_CTL_ADD, fd, events)


class EpollPoller(EpollCore, selectors._BaseSelectorImpl):
    """The default selector of ``EventLoop`` on Linux."""

    def __init__(self) -> None:
        super().__init__()
        _pollers.add(self)

    def fileno(self) -> int:
        """The epoll set's file descriptor."""
        return self.epoll_fd

    def register(self, fileobj: object, events: int, data: object = None) -> selectors.SelectorKey:
        key = super().register(fileobj, events, data)
        try:
            self.watch_key(key.fd, 0, events)
        except BaseException:
            super().unregister(fileobj)
            raise
        return key

    def unregister(self, fileobj: object) -> selectors.SelectorKey:
        key = super().unregister(fileobj)
        self.watch_key(key.fd, key.events, 0)
        return key

    def modify(self, fileobj: object, events: int, data: object = None) -> selectors.SelectorKey:
        key = self.get_key(fileobj)
        if events != key.events:
            if not events or events & ~(selectors.EVENT_READ | selectors.EVENT_WRITE):
                raise ValueError(f"Invalid events: {events!r}")
            self.watch_key(key.fd, key.events, events)
        changed = key._replace(events=events, data=data)
        self._fd_to_key[key.fd] = changed
        return changed

    def select(self, timeout: float | None = None) -> list:
        """As any selector: what is registered under a key and has events."""
        found: list = []
        harvest_into(self, found, -1.0 if timeout is None else max(timeout, 0.0))
        return found

    def close(self) -> None:
        self.release()
        super().close()


@cython.cfunc
@cython.exceptval(-1, check=False)
def harvest_into(poller: EpollCore, found: list, timeout: cython.double) -> cython.int:
    process_events = poller.process_events
    poller.process_events = found.extend
    try:
        poller.harvest(ReadyQueue() if poller.ready is None else poller.ready, timeout)
    finally:
        poller.process_events = process_events
    return 0


@cython.cfunc
@cython.exceptval(check=False)
@cython.inline
def kernel_mask(events: uint32_t) -> uint32_t:
    return (EPOLLIN if events & READABLE else 0) | (EPOLLOUT if events & WRITABLE else 0)


@cython.cfunc
@cython.exceptval(-1, check=False)
def grow(poller: EpollCore, fd: cython.int) -> cython.int:
    capacity: cython.int = max(64, 2 * poller.capacity, fd + 1)
    owners: cython.pointer(uintptr_t) = cython.cast(
        cython.pointer(uintptr_t), PyMem_Realloc(poller.owners, capacity * cython.sizeof(uintptr_t))
    )
    if owners is cython.NULL:
        raise MemoryError("no memory for the poller's table of file descriptors")
    memset(owners + poller.capacity, 0, (capacity - poller.capacity) * cython.sizeof(uintptr_t))
    poller.owners = owners
    poller.capacity = capacity
    return 0


@cython.cfunc
@cython.exceptval(check=False)
def release_owners(poller: EpollCore) -> cython.void:
    fd: cython.int
    owner: uintptr_t
    source: IOSource
    poller.watching = poller.keeping = 0
    for fd in range(poller.capacity):
        owner = poller.owners[fd]
        poller.owners[fd] = 0
        if owner > KEYED:
            source = cython.cast(IOSource, cython.cast(cython.pointer(PyObject), owner))
            source.watched = source.kept = 0
            source = None
            Py_DECREF(cython.cast(object, cython.cast(cython.pointer(PyObject), owner)))


@cython.cfunc
@cython.exceptval(check=False)
def clear_for_collector(poller: cython.pointer(PyObject)) -> cython.int:
    release_owners(cython.cast(EpollCore, poller))
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def let_collector_see(poller: EpollCore) -> cython.int:
    set_owner_slots(
        cython.cast(cython.pointer(PyObject), EpollCore),
        cython.cast(cython.pointer(PyObject), poller),
        cython.address(poller.owners),
        cython.address(poller.capacity),
        clear_for_collector,
    )
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def open_fds(poller: EpollCore) -> cython.int:
    """An epoll set, and the eventfd that wakes who waits for it: later there might be no descriptor left."""
    result: cython.int = 0
    if without_threads():  # else the watchdog's thread does it: there it takes milliseconds
        make_descriptor_room()
    poller.epoll_fd = epoll_create1(EPOLL_CLOEXEC)
    if poller.epoll_fd >= 0:
        poller.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    if poller.wake_fd < 0:
        result = c_errno
    else:
        result = -epoll_set(poller.epoll_fd, EPOLL_CTL_ADD, poller.wake_fd, EPOLLIN)
    if result != 0:
        close_fds(poller)
        raise OSError(result, os.strerror(result))
    return 0


@cython.cfunc
@cython.exceptval(check=False)
def close_fds(poller: EpollCore) -> cython.void:
    if poller.epoll_fd >= 0:
        close_fd(poller.epoll_fd)
        poller.epoll_fd = -1
    if poller.wake_fd >= 0:
        close_fd(poller.wake_fd)
        poller.wake_fd = -1


let_collector_see(EpollCore())
_pollers: weakref.WeakSet = weakref.WeakSet()


def _rebuild_all() -> None:
    for poller in list(_pollers):
        poller.rebuild()


# The kernel shares an epoll set with the child of a fork: what the child changes in it, the parent feels.
os.register_at_fork(after_in_child=_rebuild_all)
