"""AsyncFile: what all files of this package have in common, as io.IOBase is for those of io."""

import io
import os
from asyncio import _get_running_loop
from collections.abc import Iterable
from types import TracebackType
from typing import Any, AnyStr, Generic, NoReturn, Self

from glassloop.files.descriptor import Descriptor
from glassloop.files.turns import in_turn

CLOSED = "I/O operation on closed file"


class AsyncFile(Generic[AnyStr]):
    """An open file whose operations are awaited.

    Operations of several tasks on one file are done one after the other, in the order in which they were
    called. A read that is cancelled has read nothing. What changes the file, once it has begun, is done to
    its end, also when its task is cancelled.
    """

    __slots__ = ("__weakref__", "_descriptor", "_mode", "_name", "_readable", "_writable")

    def __init__(self, descriptor: Descriptor, name: Any, mode: str) -> None:
        self._descriptor = descriptor
        self._name = name
        self._mode = mode
        self._readable = "r" in mode or "+" in mode
        self._writable = "r" not in mode or "+" in mode

    # -- what is known without asking the kernel ------------------------------------------------------

    @property
    def name(self) -> Any:
        """The path or the descriptor with which it was opened."""
        return self._name

    @property
    def mode(self) -> str:
        """How it was opened."""
        return self._mode

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._descriptor.fd < 0

    def readable(self) -> bool:
        """Whether it can be read."""
        self._check_open()
        return self._readable

    def writable(self) -> bool:
        """Whether it can be written."""
        self._check_open()
        return self._writable

    def seekable(self) -> bool:
        """Whether it has a position: pipes have none."""
        self._check_open()
        return self._descriptor.is_seekable()

    def fileno(self) -> int:
        """Return the file descriptor. What is buffered is not seen there: flush() first."""
        self._check_open()
        return self._descriptor.share()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        self._check_open()
        return os.isatty(self._descriptor.fd)

    def _check_open(self, text: str = CLOSED) -> None:
        if self._descriptor.fd < 0:
            raise ValueError(text)

    def _refuse(self, what: str) -> NoReturn:
        raise io.UnsupportedOperation(what)

    # -- operations -----------------------------------------------------------------------------------

    async def close(self) -> None:
        """Write what is buffered, and close the file. It is closed also if that fails, which is raised."""
        descriptor = self._descriptor
        if descriptor.going_on is not None and _get_running_loop() is descriptor.loop:
            descriptor.stop_abandoned_reading()
        await self._close_in_turn()

    @in_turn
    async def _close_in_turn(self) -> None:
        await self._close_now()

    async def _close_now(self) -> None:
        if self._descriptor.fd >= 0:
            await self._descriptor.to_its_end(self._descriptor.close())

    @in_turn
    async def flush(self) -> None:
        """Write what is buffered. What could not be written is kept for the next try, or for the close."""
        await self._flush_now()

    @in_turn
    async def fsync(self, *, datasync: bool = False) -> None:
        """Write what is buffered, and wait until the disk has it: os.fsync(), or os.fdatasync()."""
        await self._flush_now()
        await self._descriptor.to_its_end(self._sync(datasync))

    async def _sync(self, datasync: bool) -> None:
        await self._descriptor.engine.fsync(self._descriptor.fd, datasync)

    @in_turn
    async def tell(self) -> int:
        """Return the position."""
        return await self._tell_now()

    @in_turn
    async def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move the position, and return it."""
        return await self._seek_now(offset, whence)

    @in_turn
    async def truncate(self, size: int | None = None, /) -> int:
        """Cut the file, or fill it with zeros, to a size; to the position by default. Return the size."""
        return await self._descriptor.to_its_end(self._truncate_now(size))

    async def readline(self, size: int | None = -1, /) -> AnyStr:
        """Read a line, or at most so much of it; empty at the end of the file."""
        return await self._readline_in_turn(size)

    @in_turn
    async def readlines(self, hint: int | None = -1, /) -> list[AnyStr]:
        """Read all lines, or as many as have at least so many bytes or characters together."""
        return await self._readlines_now(-1 if hint is None else hint)

    async def writelines(self, lines: Iterable[AnyStr], /) -> None:
        """Write all of these; nothing is put between them."""
        self._check_open()
        for line in lines:
            await self.write(line)

    async def write(self, data: AnyStr, /) -> int:
        """Write all of it, and return how much that is."""
        raise NotImplementedError

    @in_turn
    async def _readline_in_turn(self, size: int | None) -> AnyStr:
        return await self._readline_now(-1 if size is None else size)

    # -- each kind of file has its own; nobody else uses the file meanwhile -----------------------------

    async def _flush_now(self) -> None:
        raise NotImplementedError

    async def _tell_now(self) -> int:
        raise NotImplementedError

    async def _seek_now(self, offset: int, whence: int) -> int:
        raise NotImplementedError

    async def _truncate_now(self, size: int | None) -> int:
        raise NotImplementedError

    async def _readline_now(self, size: int) -> AnyStr:
        raise NotImplementedError

    async def _readlines_now(self, hint: int) -> list[AnyStr]:
        raise NotImplementedError

    # -- async with, async for ----------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._check_open(CLOSED + ".")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        self._check_open(CLOSED + ".")
        return self

    async def __anext__(self) -> AnyStr:
        if line := await self.readline():
            return line
        raise StopAsyncIteration

    def __repr__(self) -> str:
        return f"<glassloop.{type(self).__name__} name={self._name!r} mode={self._mode!r}>"
