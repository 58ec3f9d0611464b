"""Descriptor: an open file descriptor, its position, and what was written and is not on its way yet.

The files of this package are views of it, and all that must outlive them is here: a file that is forgotten
unclosed still writes what it has accepted.

Where the next byte is read or written is one of two things:

- ``position`` >= 0: this object's own. So it is for a regular file that was opened by its path: each read and
  write names its offset, and a cancelled read has changed nothing.
- ``KERNEL``: the kernel's, of which other processes and other descriptors may have a share. So it is for
  everything else: pipes and devices, append mode, a descriptor that was handed in, and any file from the
  moment that somebody has asked for its ``fileno()``.
"""

import asyncio
import functools
import os
import stat
import warnings
from collections.abc import Callable
from typing import Any, Final

from glassloop.files.engines import Engine
from glassloop.files.turns import Turns

KERNEL: Final = -1
# How much is read at once up to the end of a file whose size is not known.
_ONE_READ = 1 << 18


class Descriptor(Turns):
    """An open file descriptor. Its coroutines are called by one operation at a time."""

    __slots__ = (
        "__weakref__",
        "block_size",
        "closes",
        "description",
        "engine",
        "fd",
        "kind",
        "pending",
        "position",
        "unread",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        engine: Engine,
        fd: int,
        *,
        closes: bool,
        is_shared: bool,
    ) -> None:
        super().__init__(loop)
        self.engine = engine
        self.fd = fd
        self.closes = closes  # the descriptor with itself
        self.description = ""  # of its file, for the warning to who forgot to close it
        self.pending = bytearray()  # was accepted, and belongs at the position
        self.unread = b""  # came from the kernel after the task that wanted it was cancelled
        self.position: int = KERNEL
        # Memory has it since the file was opened: this waits for nothing.
        status = os.fstat(fd)
        self.kind = stat.S_IFMT(status.st_mode)
        self.block_size = status.st_blksize
        if not is_shared and self.kind == stat.S_IFREG:
            try:
                self.position = os.lseek(fd, 0, os.SEEK_CUR)
            except OSError:  # such files are in /proc and /sys
                self.position = KERNEL

    # -- reading ----------------------------------------------------------------------------------

    async def read(self, size: int) -> bytes:
        """Read at most so many bytes; none at the end of the file."""
        if self.position >= 0:
            data = await self.engine.read(self.fd, size, self.position)
            self.position += len(data)
            return data
        if self.unread:
            data, self.unread = self.unread[:size], self.unread[size:]
            return data
        return await self.to_its_end(self._read_from_kernel(size), self._keep)

    async def _read_from_kernel(self, size: int) -> bytes:
        while True:
            try:
                return await self.engine.read(self.fd, size, KERNEL)
            except BlockingIOError:
                await self._until_ready(self.loop.add_reader, self.loop.remove_reader)

    def _keep(self, data: bytes) -> None:
        self.unread += data

    async def read_all(self) -> bytes:
        """Read to the end of the file. If that fails or is cancelled, nothing was read."""
        start = self.position
        rest = self._known_rest()
        size = rest + 1 if rest > 0 else _ONE_READ
        parts: list[bytes] = []
        try:
            while part := await self.read(size):
                parts.append(part)
                if len(part) <= rest:
                    break  # a regular file gives less than was asked for only at its end
                rest, size = 0, _ONE_READ
        except BaseException:
            if start >= 0 and self.position >= 0:
                self.position = start
            else:
                self.unread = b"".join(parts) + self.unread
            raise
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _known_rest(self) -> int:
        """Return how many bytes there are up to the end of the file; 0 where that is not known."""
        return os.fstat(self.fd).st_size - self.position if self.position >= 0 else 0

    async def read_into(self, view: memoryview) -> int:
        """Read at most as much as fits; 0 at the end of the file. Then the kernel is done with it."""
        if self.position < 0:
            data = await self.read(len(view))
            view[: len(data)] = data
            return len(data)
        count = await self.to_its_end(self._read_into(view), stay=True)
        self.position += count
        return count

    async def _read_into(self, view: memoryview) -> int:
        return await self.engine.read_into(self.fd, view, self.position)

    # -- writing: each is called as a part of what runs to its end ----------------------------------

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write all of the data."""
        if self.position >= 0:
            await self.engine.write(self.fd, data, self.position)
            self.position += len(data)
            return
        self._give_back_unread()
        while True:
            before = self._kernel_position()
            try:
                await self.engine.write(self.fd, data, KERNEL)
            except OSError as error:
                done = self._done_before(error, before)
                if not isinstance(error, BlockingIOError):
                    error.characters_written = done  # type: ignore[attr-defined]
                    raise
                data = memoryview(data)[done:]
                await self._until_ready(self.loop.add_writer, self.loop.remove_writer)
            else:
                return

    def _done_before(self, error: OSError, before: int | None) -> int:
        """Return how many bytes of a write that failed were written all the same."""
        told: int | None = getattr(error, "characters_written", None)
        if told is not None:
            return told
        after = self._kernel_position()
        return 0 if before is None or after is None else max(after - before, 0)

    def _kernel_position(self) -> int | None:
        if self.kind != stat.S_IFREG:
            return None
        return os.lseek(self.fd, 0, os.SEEK_CUR)

    async def write_pending(self) -> None:
        """Write what is pending; what could not be written is kept."""
        if not self.pending:
            return
        try:
            await self.write(self.pending)
        except OSError as error:
            # Where this object has the position itself, the next try begins there anew.
            done = getattr(error, "characters_written", 0) if self.position < 0 else 0
            self.pending = self.pending[done:]
            raise
        self.pending = bytearray()

    # -- the position -------------------------------------------------------------------------------

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position, and return it. Nothing may be pending."""
        if self.position >= 0:
            if whence == os.SEEK_CUR:
                offset, whence = self.position + offset, os.SEEK_SET
            self.position = os.lseek(self.fd, offset, whence)
            return self.position
        if whence == os.SEEK_CUR:
            offset -= len(self.unread)
        position = os.lseek(self.fd, offset, whence)
        self.unread = b""
        return position

    async def move(self, offset: int, whence: int) -> int:
        """Move the position; where data or a hole begins is asked outside of the loop."""
        if whence in (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END):
            return self.seek(offset, whence)
        return self.seek(await self.engine.run(os.lseek, self.fd, offset, whence))

    def tell(self) -> int:
        """Return the position, before what is pending."""
        if self.position >= 0:
            return self.position
        return os.lseek(self.fd, 0, os.SEEK_CUR) - len(self.unread)

    def is_seekable(self) -> bool:
        """Whether it has a position at all."""
        if self.position >= 0:
            return True
        try:
            os.lseek(self.fd, 0, os.SEEK_CUR)
        except OSError:
            return False
        return True

    def _give_back_unread(self) -> None:
        """Step back before what was read for nobody, so that a write lands where it should."""
        if self.unread and self.is_seekable():
            self.seek(0, os.SEEK_CUR)

    def share(self) -> int:
        """Return the descriptor to somebody who may use it: from now on the kernel keeps the position."""
        if self.position >= 0:
            os.lseek(self.fd, self.position, os.SEEK_SET)
            self.position = KERNEL
        return self.fd

    # -- the end --------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Write what is pending, and close the descriptor in any case."""
        try:
            await self.write_pending()
            self.raise_unseen_error()
        finally:
            self.pending = bytearray()
            fd, self.fd = self.fd, -1
            if self.closes:
                await self.engine.close(fd)

    def let_go(self) -> int:
        """Forget the descriptor without closing it."""
        fd, self.fd = self.fd, -1
        return fd

    def __del__(self, warn: Any = warnings.warn, os: Any = os) -> None:
        fd = getattr(self, "fd", -1)
        if fd < 0:
            return
        self.fd = -1
        if self.closes:
            warn(f"unclosed file {self.description}", ResourceWarning, 2, self)
        try:
            data = memoryview(self.pending)
            while data:
                data = data[self._write_at_once(os, fd, data) :]
        finally:
            if self.closes:
                os.close(fd)

    def _write_at_once(self, os: Any, fd: int, data: memoryview) -> int:
        """Write without the loop, which may be gone: as io does when an unclosed file is forgotten."""
        if self.position < 0:
            count: int = os.write(fd, data)
        else:
            count = os.pwrite(fd, data, self.position)
            self.position += count
        return count

    # -- descriptors that do not block ------------------------------------------------------------------

    async def _until_ready(
        self, add: Callable[[int, Callable[[], object]], object], remove: Callable[[int], object]
    ) -> None:
        """Wait until a descriptor that was handed in as non-blocking has data, or room."""
        ready = self.loop.create_future()
        add(self.fd, functools.partial(_wake, ready))
        try:
            await ready
        finally:
            remove(self.fd)


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
