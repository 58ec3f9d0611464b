"""ThreadEngine: files on a loop that is not glassloop's. Each call is made by a thread of a small pool.

The pool is this package's own, so that files that wait for a disk never keep ``asyncio.to_thread`` waiting.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, StrOrBytesPath, WriteableBuffer

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

_MOST_THREADS = 16


class ThreadEngine:
    """One loop's engine of plain threads."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="glassloop-files")

    def run(self, function: Callable[[*_Ts], _T], /, *args: *_Ts) -> asyncio.Future[_T]:
        """Call a function in a thread."""
        return asyncio.get_running_loop().run_in_executor(self._pool, function, *args)

    def open(self, path: "StrOrBytesPath", flags: int, mode: int = 0o777, /) -> asyncio.Future[int]:
        return self.run(os.open, path, flags, mode)

    def read(self, fd: int, size: int, offset: int, /) -> asyncio.Future[bytes]:
        if offset < 0:
            return self.run(os.read, fd, size)
        return self.run(os.pread, fd, size, offset)

    def read_into(self, fd: int, buffer: "WriteableBuffer", offset: int, /) -> asyncio.Future[int]:
        return self.run(_read_into, fd, buffer, offset)

    def write(self, fd: int, data: "ReadableBuffer", offset: int, /) -> asyncio.Future[int]:
        return self.run(_write, fd, data, offset)

    def fsync(self, fd: int, datasync: bool = False, /) -> asyncio.Future[None]:
        return self.run(os.fdatasync if datasync else os.fsync, fd)

    def close(self, fd: int, /) -> asyncio.Future[None]:
        return self.run(os.close, fd)

    def truncate(self, fd: int, size: int, /) -> asyncio.Future[None]:
        return self.run(os.ftruncate, fd, size)

    def stat(
        self, target: "StrOrBytesPath | int", follow_symlinks: bool = True, /
    ) -> asyncio.Future[os.stat_result]:
        return self.run(lambda: os.stat(target, follow_symlinks=follow_symlinks))

    def read_file(self, path: "StrOrBytesPath", /) -> asyncio.Future[bytes]:
        return self.run(_read_file, path)

    def write_file(
        self, path: "StrOrBytesPath", data: "ReadableBuffer", flags: int, mode: int = 0o666, /
    ) -> asyncio.Future[int]:
        return self.run(_write_file, path, data, flags, mode)


def _read_into(fd: int, buffer: "WriteableBuffer", offset: int) -> int:
    if offset < 0:
        return os.readv(fd, [buffer])
    return os.preadv(fd, [buffer], offset)


def _write(fd: int, data: "ReadableBuffer", offset: int) -> int:
    left = memoryview(data).cast("B")
    done = 0
    try:
        while done < len(left):
            part = left[done:]
            done += os.write(fd, part) if offset < 0 else os.pwrite(fd, part, offset + done)
    except OSError as error:
        error.characters_written = done  # type: ignore[attr-defined]
        raise
    return done


def _read_file(path: "StrOrBytesPath") -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.readall()


def _write_file(path: "StrOrBytesPath", data: "ReadableBuffer", flags: int, mode: int) -> int:
    fd = os.open(path, flags, mode)
    try:
        return _write(fd, data, -1)
    finally:
        os.close(fd)
