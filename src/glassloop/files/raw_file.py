"""RawFile: a binary file without a buffer, as io.FileIO is. Each call is one call of the kernel's."""

import io
import os
from typing import TYPE_CHECKING

from glassloop.files.async_file import CLOSED, AsyncFile
from glassloop.files.turns import in_turn

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

# How far a line is looked for at once, where what was read too much can be left again.
_LINE_PART = 1024


class RawFile(AsyncFile[bytes]):
    """What ``glassloop.open(path, "rb", buffering=0)`` gives."""

    __slots__ = ()

    def _check_readable(self) -> None:
        self._check_open()
        if not self._readable:
            self._refuse("File not open for reading")

    def _check_writable(self) -> None:
        self._check_open()
        if not self._writable:
            self._refuse("File not open for writing")

    # -- reading --------------------------------------------------------------------------------------

    @in_turn
    async def read(self, size: int | None = -1, /) -> bytes:
        """Read at most so many bytes with one call; without a size, to the end of the file."""
        self._check_readable()
        if size is None or size < 0:
            return await self._descriptor.read_all()
        return await self._descriptor.read(size)

    @in_turn
    async def readall(self) -> bytes:
        """Read to the end of the file."""
        self._check_readable()
        return await self._descriptor.read_all()

    @in_turn
    async def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Read into a buffer with one call, and return how many bytes; 0 at the end of the file."""
        view = writable_view(buffer)
        self._check_readable()
        return await self._descriptor.read_into(view)

    async def _readline_now(self, size: int) -> bytes:
        if size:
            self._check_readable()
        descriptor = self._descriptor
        line = b""
        try:
            while size < 0 or len(line) < size:
                part = _LINE_PART if descriptor.position >= 0 else 1
                data = await descriptor.read(part if size < 0 else min(part, size - len(line)))
                end = data.find(b"\n") + 1
                if end:
                    if end < len(data):
                        descriptor.seek(end - len(data), os.SEEK_CUR)
                    return line + data[:end]
                line += data
                if not data:
                    break
        except BaseException:
            self._unread(line)
            raise
        return line

    async def _readlines_now(self, hint: int) -> list[bytes]:
        self._check_open(CLOSED + ".")
        lines: list[bytes] = []
        length = 0
        try:
            while line := await self._readline_now(-1):
                lines.append(line)
                length += len(line)
                if 0 < hint < length:
                    break
        except BaseException:
            self._unread(b"".join(lines))
            raise
        return lines

    def _unread(self, data: bytes) -> None:
        """Give back what was read by an operation that did not come to its end."""
        descriptor = self._descriptor
        if descriptor.position >= 0:
            descriptor.position -= len(data)
        else:
            descriptor.unread = data + descriptor.unread

    # -- writing --------------------------------------------------------------------------------------

    @in_turn
    async def write(self, data: "ReadableBuffer", /) -> int:
        """Write all of the data, and return how many bytes that is."""
        data = readable_bytes(data)
        self._check_writable()
        self._descriptor.raise_unseen_error()
        await self._descriptor.to_its_end(self._descriptor.write(data))
        return len(data)

    async def _flush_now(self) -> None:
        self._check_open(CLOSED + ".")
        self._descriptor.raise_unseen_error()

    # -- the position ---------------------------------------------------------------------------------

    async def _tell_now(self) -> int:
        self._check_open()
        return self._descriptor.tell()

    async def _seek_now(self, offset: int, whence: int) -> int:
        self._check_open()
        return await self._descriptor.move(offset, whence)

    async def _truncate_now(self, size: int | None) -> int:
        self._check_writable()
        if size is None:
            size = self._descriptor.tell()
        await self._descriptor.engine.truncate(self._descriptor.fd, size)
        return size


def writable_view(buffer: "WriteableBuffer") -> memoryview:
    """Return a buffer's bytes, to be written into."""
    view = memoryview(buffer).cast("B")
    if view.readonly:
        io.BytesIO().readinto(buffer)  # raises what io does
    return view


def readable_bytes(data: "ReadableBuffer") -> bytes:
    """Return what is to be written, as it is now: it may wait, and its owner may go on changing it."""
    return data if type(data) is bytes else memoryview(data).tobytes()
