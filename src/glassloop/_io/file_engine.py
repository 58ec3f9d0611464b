"""FileEngine: does file operations for one loop, and never lets the loop wait for a disk.

    what                                     inline                          else
    opens, reads of what is cached           openat2 and preadv2 that        ring, or threads
                                             refuse to wait
    large reads, writes, fsync, other opens  never                           ring, or threads
    closes of what was only read             close                           ring, or threads
    status                                   of what is cached               threads
    truncate, all else                       never                           threads

The ring is io_uring (uring.py), the threads are the engine's own (file_threads.py). The environment's
``GLASSLOOP_FILES`` chooses: ``auto`` is inline and ring, or threads where the kernel allows no ring;
``inline`` is inline and threads; ``uring`` and ``threads`` do nothing inline.

An operation on a descriptor, and an open, starts when its method is called; a whole file's may start when it
is awaited. Each is awaited once. What the kernel refuses is raised by the await, a bad argument by the call.
Operations on one descriptor are not ordered among each other, but for a close, which waits for all others.
"""

import errno
import os
import sys
from contextvars import copy_context
from stat import S_ISDIR, S_ISREG

import cython
from cython.cimports.cpython.buffer import (
    PyBUF_SIMPLE,
    PyBUF_WRITABLE,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from cython.cimports.cpython.bytes import PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cython.cimports.glassloop._core.scheduler import Scheduler
from cython.cimports.glassloop._core.source import IOSource
from cython.cimports.glassloop._io.file_operation import Busy, FileOperation, failed, finished, opened
from cython.cimports.glassloop._io.file_threads import FileThreads, new_job
from cython.cimports.glassloop._io.uring import Ring, new_call, new_open, new_transfer
from cython.cimports.glassloop._sys.io_uring import FSYNC_DATASYNC, OP_CLOSE, OP_FSYNC, OP_READ, OP_WRITE
from cython.cimports.glassloop._sys.nowait import (
    AT_FDCWD,
    at_end,
    bytes_left,
    can_open_cached,
    close_fd,
    closes_quickly,
    find_cached,
    is_local,
    is_regular,
    make_blocking,
    open_cached,
    read_cached,
)
from cython.cimports.libc.errno import EACCES, EBADF, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR
from cython.cimports.libc.errno import errno as c_errno
from cython.cimports.libc.stdint import int64_t

from glassloop._core.scheduler import Scheduler
from glassloop._core.source import IOSource
from glassloop._io.file_operation import (
    Busy,
    Closing,
    FileOperation,
    Opening,
    Reading,
    Syncing,
    Working,
    Writing,
    os_error,
)
from glassloop._io.file_threads import (
    FileThreads,
    read_into,
    read_some,
    read_whole,
    write_all,
    write_whole,
)
from glassloop._io.uring import Ring, try_ring

VARIABLE = "GLASSLOOP_FILES"
CHOICES: tuple = ("auto", "inline", "uring", "threads")

# What is copied in one call on the loop's thread: some 50 microseconds' worth.
INLINE_MOST = cython.declare(int64_t, 256 << 10)
# And in all calls of one batch of callbacks: then the rest of the program has its turn.
INLINE_BUDGET = cython.declare(int64_t, 1 << 20)
# What an operation costs at least, in bytes that could be copied meanwhile.
INLINE_LEAST = cython.declare(int64_t, 4 << 10)
# What is not cached comes from the disk in one piece up to this; the kernel copies it on the loop's thread.
ON_LOOP_MOST = cython.declare(int64_t, 64 << 10)
# Up to this the bytes of a mutable buffer are copied before they are written.
COPY_MOST = cython.declare(int64_t, 1 << 20)
CHUNK = cython.declare(int64_t, 64 << 10)
_READ_FLAGS: int = os.O_RDONLY | os.O_CLOEXEC


def _setting() -> str:
    chosen = os.environ.get(VARIABLE) or "auto"
    if chosen not in CHOICES:
        raise ValueError(f"{VARIABLE}={chosen!r} in the environment is none of {', '.join(CHOICES)}")
    return chosen


def explain_choice() -> tuple:
    """Return which engine files use here, ``io_uring`` or ``threads``, whether inline too, and why."""
    chosen = _setting()
    told = f"the environment says {VARIABLE}={chosen}"
    if chosen in ("threads", "inline"):
        return "threads", chosen == "inline", told
    number = try_ring()
    if chosen == "uring":
        if number:
            raise RuntimeError(_no_ring(number))
        return "io_uring", False, told
    if number:
        return "threads", True, f"the kernel refuses io_uring: {os.strerror(number)}"
    return "io_uring", True, "the kernel allows io_uring"


def _no_ring(number: int) -> str:
    return (
        f"{VARIABLE}=uring, but the kernel refuses io_uring: {os.strerror(number)}; "
        "`glassloop doctor` says whose setting that is. Unset the variable, or set it to auto"
    )


def engine_of(loop: object) -> FileEngine:
    """The engine of a glassloop loop, which is made at its first use and goes with the loop."""
    engine = getattr(loop, "_file_engine", None)
    if engine is None:
        if not isinstance(loop, Scheduler):
            raise TypeError(
                f"loop must be a glassloop event loop, not {type(loop).__qualname__}: "
                "run the program with glassloop.run(), or on glassloop.new_event_loop()"
            )
        if loop.is_closed():
            raise RuntimeError("Event loop is closed")
        engine = loop._file_engine = FileEngine(loop)
    return engine


@cython.cclass
class InlineBudget(IOSource):
    """How much may be done inline in one batch, so that who reads in a loop lets others run."""

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def spend(self, amount: int64_t) -> cython.bint:
        """Whether there is that much left."""
        if self.left < INLINE_LEAST:
            return False
        if not self.counting:
            self.loop.batch_enders.append(self)
            self.counting = True
        self.left -= max(amount, INLINE_LEAST)
        return True

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def on_batch_end(self) -> cython.int:
        self.counting = False
        self.left = INLINE_BUDGET
        return 0


@cython.cclass
class FileEngine:
    def __init__(self, loop: Scheduler) -> None:
        chosen = _setting()
        self.loop = loop
        self.busy = Busy()
        self.budget = InlineBudget()
        self.budget.loop = loop
        self.budget.left = INLINE_BUDGET
        self.threads = FileThreads(loop)
        self.inline = chosen in ("auto", "inline")
        self.opens_inline = self.inline and can_open_cached()
        self.name = "threads"
        if chosen in ("auto", "uring"):
            try:
                self.ring = Ring(loop)
                self.name = "io_uring"
            except OSError as exc:
                if chosen == "uring":
                    raise RuntimeError(_no_ring(exc.errno)) from exc

    def __repr__(self) -> str:
        return f"<FileEngine {self.name}{' and inline' if self.inline else ''}>"

    def shut_down(self) -> None:
        """Wait for what changes files, end all else. The loop, which is about to be closed, calls it."""
        try:
            if self.ring is not None:
                self.ring.close()
        finally:
            self.threads.close()

    @cython.cfunc
    def begin(self, operation: FileOperation, kind: object, subject: object, fd: cython.int) -> object:
        operation.begin(self.loop, self.busy, kind, subject, fd)
        return operation

    @cython.cfunc
    def in_thread(
        self,
        kind: object,
        subject: object,
        fd: cython.int,
        writes: cython.bint,
        opens: cython.bint,
        function: object,
        arguments: tuple,
    ) -> object:
        return self.begin(new_job(self.threads, function, arguments, writes, opens), kind, subject, fd)

    # -- one operation --------------------------------------------------------------------------

    def open(
        self, path: object, flags: cython.int, mode: cython.int = 0o777, dir_fd: object = None
    ) -> object:
        """Open a file as ``os.open()`` does; the descriptor is not inheritable."""
        size: int64_t = 0
        fd: cython.int
        directory: cython.int = AT_FDCWD if dir_fd is None else dir_fd
        path = os.fspath(path)
        encoded: bytes = _encode(path, "open")
        sys.audit("open", path, None, flags)
        flags |= os.O_CLOEXEC
        if self.opens_inline and self.budget.spend(2 * INLINE_LEAST):
            fd = open_cached(directory, encoded, flags, False, cython.address(size))
            if fd >= 0:
                return opened(fd)
            if is_final(fd):
                return failed(os_error(-fd, path))
        if self.ring is not None:
            return self.begin(new_open(self.ring, directory, encoded, flags, mode, path), Opening, path, -1)
        return self.in_thread(Opening, path, -1, False, True, _open, (path, flags, mode, dir_fd))

    def read(self, fd: cython.int, size: cython.Py_ssize_t, offset: int64_t = -1) -> object:
        """Read so many bytes at an offset, or (-1) at the file's position.

        Fewer come at the end of a file only; from a pipe or a device, what it has.
        """
        left: int64_t
        got: int64_t = 0
        large: cython.bint = size > INLINE_MOST
        _check_transfer(fd, size, offset)
        if size == 0:
            return finished(b"")
        if large:
            left = bytes_left(fd, offset)
            if 0 <= left < size:
                size = max(left, 1)  # nobody needs memory for more; one byte more is asked for at the end
                large = size > INLINE_MOST
        if self.ring is None and (large or not self.inline):
            return self.in_thread(Reading, fd, fd, False, False, read_some, (fd, size, offset))
        data: bytes = PyBytes_FromStringAndSize(cython.NULL, size)
        if self.inline and not large:
            if not self.budget.spend(size):
                if self.ring is None:
                    return self.read_in_next_turn(fd, size, offset)
            else:
                got = read_cached(fd, PyBytes_AS_STRING(data), size, offset)
                if got == size:
                    return finished(data)
                if got >= 0 and is_all(fd, got, offset):
                    return finished(data[:got])
                if got == -EBADF or got == -EISDIR:
                    return failed(os_error(-got))
                got = max(got, 0)
                large = got == 0 and size > ON_LOOP_MOST
        return self.read_slowly(fd, data, size, got, offset, large)

    @cython.cfunc
    def read_slowly(
        self, fd: cython.int, data: bytes, size: int64_t, moved: int64_t, offset: int64_t, large: cython.bint
    ) -> object:
        """Have the rest of the bytes read, `moved` of which are there."""
        if self.ring is not None:
            return self.begin(
                new_transfer(self.ring, OP_READ, data, PyBytes_AS_STRING(data), size, moved, offset, large),
                Reading,
                fd,
                fd,
            )
        if moved == 0:
            return self.in_thread(Reading, fd, fd, False, False, read_some, (fd, size, offset))
        if offset >= 0:
            offset += moved
        return self.in_thread(
            Reading, fd, fd, False, False, _read_rest, (data[:moved], fd, size - moved, offset)
        )

    async def read_in_next_turn(self, fd: int, size: int, offset: int) -> bytes:
        """Let others run first."""
        await _NextTurn()
        return await self.read(fd, size, offset)

    def read_into(self, fd: cython.int, buffer: object, offset: int64_t = -1) -> object:
        """Read into a writable buffer, as ``read()`` does; the buffer is held meanwhile."""
        view: Pinned = Pinned(buffer, True)
        size: int64_t = view.buffer.len
        got: int64_t = 0
        large: cython.bint = size > INLINE_MOST
        _check_transfer(fd, size, offset)
        if size == 0:
            return finished(0)
        if self.inline and not large and self.budget.spend(size):
            got = read_cached(fd, view.memory(), size, offset)
            if got == size or (got >= 0 and is_all(fd, got, offset)):
                return finished(got)
            if got == -EBADF or got == -EISDIR:
                return failed(os_error(-got))
            got = max(got, 0)
            large = got == 0 and size > ON_LOOP_MOST
        if self.ring is not None:
            return self.begin(
                new_transfer(self.ring, OP_READ, view, view.memory(), size, got, offset, large),
                Reading,
                fd,
                fd,
            )
        rest = memoryview(buffer).cast("B")
        return self.in_thread(Reading, fd, fd, False, False, _read_into_rest, (fd, rest, got, offset))

    def write(self, fd: cython.int, data: object, offset: int64_t = -1) -> object:
        """Write all of the data at an offset, or (-1) at the file's position; return how many bytes.

        ``bytes`` are kept by reference. Of another buffer a copy is made up to 1 MiB; a larger one is held,
        and its bytes must not be changed before the write is done. A write that has begun is done to the end,
        also when the task that awaits it is cancelled, unless it goes to a pipe or device.
        """
        size: int64_t
        memory: cython.p_char
        kept: object = data
        if type(data) is not bytes:
            view: Pinned = Pinned(data, False)
            size = view.buffer.len
            memory = view.memory()
            if size <= COPY_MOST:
                kept = PyBytes_FromStringAndSize(memory, size)
                memory = PyBytes_AS_STRING(kept)
            else:
                kept = view
        else:
            size = PyBytes_GET_SIZE(data)
            memory = PyBytes_AS_STRING(data)
        _check_transfer(fd, size, offset)
        if self.ring is not None:
            return self.begin(
                new_transfer(self.ring, OP_WRITE, kept, memory, size, 0, offset, size > ON_LOOP_MOST),
                Writing,
                fd,
                fd,
            )
        if type(kept) is not bytes:
            kept = memoryview(data).cast("B")
        return self.in_thread(Writing, fd, fd, is_regular(fd), False, write_all, (fd, kept, offset))

    def fsync(self, fd: cython.int, datasync: cython.bint = False) -> object:
        """Have the disk keep what was written: ``os.fsync()``, or ``os.fdatasync()``."""
        _check_fd(fd)
        if self.ring is not None:
            flags: cython.int = FSYNC_DATASYNC if datasync else 0
            return self.begin(new_call(self.ring, OP_FSYNC, flags), Syncing, fd, fd)
        function = os.fdatasync if datasync else os.fsync
        return self.in_thread(Syncing, fd, fd, True, False, function, (fd,))

    def close(self, fd: cython.int) -> object:
        """Close a descriptor, once all other operations on it are done. Nothing stops it from then on."""
        operation: FileOperation
        _check_fd(fd)
        if self.inline and fd not in self.busy.counts and closes_quickly(fd):
            return finished(None) if close_fd(fd) == 0 else failed(os_error(c_errno))
        if self.ring is not None:
            operation = new_call(self.ring, OP_CLOSE, 0)
        else:
            operation = new_job(self.threads, os.close, (fd,), True, False)
        operation.begin_alone(self.loop, self.busy, Closing, fd, fd)
        return operation

    def truncate(self, fd: cython.int, size: int64_t) -> object:
        """Make a file that long: ``os.ftruncate()``."""
        _check_fd(fd)
        return self.in_thread(Writing, fd, fd, True, False, os.ftruncate, (fd, size))

    def stat(self, target: object, follow_symlinks: cython.bint = True) -> object:
        """What is known of a file, by path or descriptor: ``os.stat()``."""
        fd: cython.int
        if isinstance(target, int):
            fd = target
            _check_fd(fd)
            if self.inline and is_local(fd):
                return finished(os.stat(fd))
            return self.in_thread(Working, os.stat, fd, False, False, os.stat, (fd,))
        path = os.fspath(target)
        encoded: bytes = _encode(path, "stat")
        if self.opens_inline and self.budget.spend(INLINE_LEAST):
            fd = find_cached(AT_FDCWD, encoded, not follow_symlinks)
            if fd >= 0:
                try:
                    return finished(os.stat(fd))
                finally:
                    close_fd(fd)
            if is_final(fd) and fd != -ELOOP:
                return failed(os_error(-fd, path))
        return self.in_thread(Working, path, -1, False, False, _stat, (path, None, follow_symlinks))

    def run(self, function: object, *args: object) -> object:
        """Call any other function in a thread of the engine's, in a copy of the present context."""
        if not callable(function):
            raise TypeError(f"function must be callable, not {type(function).__qualname__}")
        return self.in_thread(Working, function, -1, True, False, copy_context().run, (function, *args))

    # -- a whole file ---------------------------------------------------------------------------

    def read_file(self, path: object, flags: cython.int = _READ_FLAGS) -> object:
        """All that a file holds: open, read, close."""
        path = os.fspath(path)
        encoded: bytes = _encode(path, "open")
        if self.opens_inline and self.budget.spend(3 * INLINE_LEAST):
            sys.audit("open", path, None, flags)
            return self.read_file_inline(path, encoded, flags | os.O_CLOEXEC)
        if self.opens_inline:
            return self.read_file_in_next_turn(path, flags)
        if self.ring is not None:
            return self.read_file_by_steps(path, flags)
        return self.in_thread(Reading, path, -1, False, False, read_whole, (path, flags))

    @cython.cfunc
    def read_file_inline(self, path: object, encoded: bytes, flags: cython.int) -> object:
        size: int64_t = 0
        got: int64_t
        fd: cython.int = open_cached(AT_FDCWD, encoded, flags, True, cython.address(size))
        if fd < 0:
            if is_final(fd):
                return failed(os_error(-fd, path))
            if self.ring is not None:
                return self.read_file_by_steps(path, flags)
            return self.in_thread(Reading, path, -1, False, False, read_whole, (path, flags))
        if size < 0:
            close_fd(fd)
            return failed(os_error(EISDIR, path))
        try:
            if size <= INLINE_MOST:
                data: bytes = PyBytes_FromStringAndSize(cython.NULL, max(size, 1))
                got = read_cached(fd, PyBytes_AS_STRING(data), max(size, 1), 0)
                if got == -EBADF:
                    close_fd(fd)
                    return failed(os_error(EBADF))
                if got >= 0:
                    self.budget.spend(got)
                    if at_end(fd, got):
                        close_fd(fd)
                        return finished(data if got == PyBytes_GET_SIZE(data) else data[:got])
            got = make_blocking(fd)
            return self.read_open_file(fd, path)
        except BaseException:
            close_fd(fd)
            raise

    async def read_file_in_next_turn(self, path: object, flags: int) -> bytes:
        """Let others run first."""
        await _NextTurn()
        return await self.read_file(path, flags)

    async def read_file_by_steps(self, path: object, flags: int) -> bytes:
        return await self.read_open_file(await self.open(path, flags), path)

    async def read_open_file(self, fd: int, path: object) -> bytes:
        """All that an open file holds, from its beginning, which is then closed."""
        parts: list = []
        done = 0
        try:
            status = os.fstat(fd)
            if S_ISDIR(status.st_mode):
                raise os_error(errno.EISDIR, path)
            regular = S_ISREG(status.st_mode)
            while True:
                left = status.st_size - done if regular else 0
                data = await self.read(fd, left if left > 0 else CHUNK, done if regular else -1)
                done += len(data)
                if data:
                    parts.append(data)
                if not data or (0 < left == len(data) and os.fstat(fd).st_size == done):
                    break
        except BaseException:
            self.close(fd)  # it closes without anybody to wait for it
            raise
        await self.close(fd)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def write_file(self, path: object, data: object, flags: int, mode: int = 0o666) -> object:
        """Open with these flags, write all of the data, close; return how many bytes."""
        path = os.fspath(path)
        if type(data) is not bytes:
            data = memoryview(data)
            data = bytes(data) if data.nbytes <= COPY_MOST else data.cast("B")
        if self.ring is None:
            return self.in_thread(Writing, path, -1, True, False, write_whole, (path, data, flags, mode))
        return self.write_file_by_steps(path, data, flags, mode)

    async def write_file_by_steps(self, path: object, data: object, flags: int, mode: int) -> int:
        fd = await self.open(path, flags, mode)
        try:
            count = await self.write(fd, data, -1)
        except BaseException:
            self.close(fd)
            raise
        await self.close(fd)
        return count


@cython.cclass
class Pinned:
    """A buffer of somebody else's, which can neither go away nor be moved meanwhile."""

    buffer: Py_buffer
    held: cython.bint

    def __init__(self, owner: object, writable: cython.bint) -> None:
        PyObject_GetBuffer(owner, cython.address(self.buffer), PyBUF_WRITABLE if writable else PyBUF_SIMPLE)
        self.held = True

    def __dealloc__(self) -> None:
        if self.held:
            PyBuffer_Release(cython.address(self.buffer))

    @cython.cfunc
    @cython.exceptval(check=False)
    def memory(self) -> cython.p_char:
        return cython.cast(cython.p_char, self.buffer.buf)


@cython.cclass
class _NextTurn:
    """Awaited, it lets everything else that is ready run."""

    yielded: cython.bint

    def __await__(self) -> object:
        return self

    def __iter__(self) -> object:
        return self

    def __next__(self) -> object:
        if self.yielded:
            raise StopIteration
        self.yielded = True
        return None


@cython.cfunc
@cython.exceptval(check=False)
def is_all(fd: cython.int, got: int64_t, offset: int64_t) -> cython.bint:
    """Whether fewer bytes than asked for are all there are: of a pipe or device always, if there are any."""
    return at_end(fd, -1 if offset < 0 else offset + got) or (got > 0 and not is_regular(fd))


@cython.cfunc
@cython.exceptval(check=False)
def is_final(error: cython.int) -> cython.bint:
    """Whether an answer from the kernel's caches is the whole truth."""
    return (
        error == -ENOENT or error == -ENOTDIR or error == -EACCES or error == -ELOOP or error == -ENAMETOOLONG
    )


@cython.cfunc
def _encode(path: object, function: str) -> bytes:
    encoded: bytes = os.fsencode(path)
    if b"\0" in encoded:
        raise ValueError(f"{function}: embedded null character in path")
    return encoded


@cython.cfunc
@cython.exceptval(-1, check=False)
def _check_fd(fd: cython.int) -> cython.int:
    if fd < 0:
        raise os_error(EBADF)
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def _check_transfer(fd: cython.int, size: int64_t, offset: int64_t) -> cython.int:
    _check_fd(fd)
    if size < 0:
        raise ValueError(f"size must be 0 or more, not {size}")
    if offset < -1:
        raise ValueError(f"offset must be 0 or more, or -1 for the file's position, not {offset}")
    return 0


# -- what the threads do ---------------------------------------------------------------------------


def _open(path: object, flags: int, mode: int, dir_fd: int | None) -> int:
    return os.open(path, flags, mode, dir_fd=dir_fd)


def _stat(path: object, dir_fd: int | None, follow_symlinks: bool) -> os.stat_result:
    return os.stat(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)


def _read_rest(beginning: bytes, fd: int, size: int, offset: int) -> bytes:
    return beginning + read_some(fd, size, offset)


def _read_into_rest(fd: int, buffer: memoryview, moved: int, offset: int) -> int:
    return moved + read_into(fd, buffer[moved:], offset + moved if offset >= 0 else -1)
