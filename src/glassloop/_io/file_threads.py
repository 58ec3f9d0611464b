"""FileThreads: what may block, in threads of its own. The loop's default executor is the program's.

It is what files use where there is no io_uring, and everywhere for what io_uring has no operation for.
"""

import os
import stat
import weakref
from concurrent.futures import ThreadPoolExecutor, wait

import cython
from cython.cimports.glassloop._core.scheduler import Scheduler
from cython.cimports.glassloop._io.file_operation import FileOperation

from glassloop._io.file_operation import FileOperation, cancelled_by_kernel

# They wait for disks, not for processors; and one that opens a FIFO waits for its other end.
MOST_THREADS = 32

_pools: weakref.WeakSet = weakref.WeakSet()


@cython.cclass
class FileThreads:
    """The threads of one loop, which are started one by one as there is work for them."""

    def __init__(self, loop: Scheduler) -> None:
        self.loop = loop
        self.writes = set()
        _pools.add(self)

    @cython.cfunc
    def submit(self, job: ThreadJob) -> object:
        if self.loop is None or self.loop._closed:
            raise RuntimeError("Event loop is closed")
        if self.executor is None:
            self.executor = ThreadPoolExecutor(MOST_THREADS, thread_name_prefix="glassloop-files")
        future = self.executor.submit(job.function, *job.arguments)
        if job.writes:
            self.writes.add(future)
        return future

    def close(self) -> None:
        """Wait for what changes files; leave what only reads to itself."""
        executor = self.executor
        try:
            if executor is not None:
                wait(self.writes)
        finally:
            self.executor = None
            self.loop = None
            if executor is not None:
                executor.shutdown(wait=False, cancel_futures=True)

    def _forked(self) -> None:
        """In the child of a fork: the threads are the parent's."""
        self.executor = None
        self.writes = set()


@cython.cclass
class ThreadJob(FileOperation):
    """One call of a function in a thread."""

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def start(self) -> cython.int:
        self.running = self.threads.submit(self)
        self.running.add_done_callback(self.tell_loop)
        return 0

    def tell_loop(self, running: object) -> None:
        """In the thread: the function has returned."""
        try:
            self.loop.call_soon_threadsafe(self.job_is_done)
        except RuntimeError:
            # The loop was closed meanwhile: nobody takes the result.
            self.abandoned = True
            self.settle()

    def job_is_done(self) -> None:
        """In the loop's thread."""
        if self.writes:
            self.threads.writes.discard(self.running)
        self.settle()

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def settle(self) -> cython.int:
        running = self.running
        self.running = None
        self.function = None
        self.arguments = ()
        if running.cancelled():
            return self.fail(cancelled_by_kernel())
        error = running.exception()
        if isinstance(error, StopIteration):
            # In an await that would be its result.
            replaced = RuntimeError("the function in the thread raised StopIteration")
            replaced.__cause__ = error
            error = replaced
        if error is not None:
            return self.fail(error)
        if self.opens:
            return self.succeed_with_fd(running.result())
        return self.succeed(running.result())

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def abandon(self) -> cython.int:
        self.abandoned = True
        if not self.writes and self.running is not None:
            self.running.cancel()
        return 0


@cython.cfunc
def new_job(
    threads: FileThreads, function: object, arguments: tuple, writes: cython.bint, opens: cython.bint
) -> ThreadJob:
    job: ThreadJob = ThreadJob.__new__(ThreadJob)
    job.threads = threads
    job.function = function
    job.arguments = arguments
    job.writes = writes
    job.opens = opens
    return job


# -- what the threads do ---------------------------------------------------------------------------


def read_some(fd: int, size: int, offset: int) -> bytes:
    """Read so many bytes; fewer only at the end of a file, or of what a pipe has now."""
    parts: list = []
    while True:
        data: bytes = os.read(fd, size) if offset < 0 else os.pread(fd, size, offset)
        if len(data) == size or not data or not stat.S_ISREG(os.fstat(fd).st_mode):
            break
        parts.append(data)
        size -= len(data)
        if offset >= 0:
            offset += len(data)
    if not parts:
        return data
    parts.append(data)
    return b"".join(parts)


def read_into(fd: int, buffer: memoryview, offset: int) -> int:
    """Fill the buffer; less only at the end of a file, or with what a pipe has now."""
    done = 0
    while done < len(buffer):
        rest = buffer[done:]
        count = os.readv(fd, [rest]) if offset < 0 else os.preadv(fd, [rest], offset + done)
        done += count
        if count == 0 or not stat.S_ISREG(os.fstat(fd).st_mode):
            break
    return done


def write_all(fd: int, data: object, offset: int) -> int:
    """Write all of it."""
    rest = memoryview(data)
    done = 0
    while done < rest.nbytes:
        if offset < 0:
            done += os.write(fd, rest[done:])
        else:
            done += os.pwrite(fd, rest[done:], offset + done)
    return done


def read_whole(path: object, flags: int) -> bytes:
    """Open, read and close a file."""

    def opener(name: object, _: int) -> int:
        return os.open(name, flags)

    with open(path, "rb", buffering=0, opener=opener) as file:
        return file.read()


def write_whole(path: object, data: object, flags: int, mode: int) -> int:
    """Open, write and close a file."""
    fd = os.open(path, flags, mode)
    try:
        count = write_all(fd, data, -1)
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return count


def _forget_all() -> None:
    for threads in list(_pools):
        threads._forked()


os.register_at_fork(after_in_child=_forget_all)
