"""BinaryFile: a buffered binary file, as io.BufferedReader, io.BufferedWriter and io.BufferedRandom are.

What was read ahead lies here, what is to be written in the descriptor, and never both:

    _ahead[_at:]        comes before the descriptor's position: the file's own position is that much smaller
    descriptor.pending  comes after it: the file's own position is that much larger

A read takes from ``_ahead`` only in its last step. Until then all that it got is put back if it fails.
"""

import io
import operator
import os
from asyncio import _get_running_loop
from typing import TYPE_CHECKING, Any

from glassloop.files.async_file import CLOSED, AsyncFile
from glassloop.files.descriptor import Descriptor
from glassloop.files.raw_file import RawFile, readable_bytes, writable_view
from glassloop.files.turns import in_turn

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

_WHENCES = (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END, os.SEEK_DATA, os.SEEK_HOLE)


class BinaryFile(AsyncFile[bytes]):
    """What ``glassloop.open(path, "rb")`` gives, and "wb", "ab", "xb", "r+b" and so on."""

    __slots__ = ("_ahead", "_at", "_buffer_size", "_raw")

    def __init__(self, descriptor: Descriptor, name: Any, mode: str, buffer_size: int) -> None:
        super().__init__(descriptor, name, mode)
        self._ahead = b""
        self._at = 0
        self._buffer_size = buffer_size
        self._raw: RawFile | None = None

    @property
    def raw(self) -> RawFile:
        """The same file without the buffer."""
        if self._raw is None:
            self._raw = RawFile(self._descriptor, self._name, self._mode)
        return self._raw

    @in_turn
    async def detach(self) -> RawFile:
        """Write what is buffered, and return the raw file; this one is of no use any more."""
        await self._flush_now()
        raw, self._descriptor = self.raw, detached("raw stream has been detached")
        self._ahead, self._at = b"", 0
        return raw

    # -- reading --------------------------------------------------------------------------------------

    async def read(self, size: int | None = -1, /) -> bytes:
        """Read so many bytes, or less only at the end of the file; without a size, all up to there."""
        end = self._at + (size or 0)
        if self._at < end <= len(self._ahead) and self._is_free():
            data = self._ahead[self._at : end]
            self._at = end
            return data
        return await self._read_in_turn(size)

    @in_turn
    async def _read_in_turn(self, size: int | None) -> bytes:
        self._check_readable("read")
        size = -1 if size is None else operator.index(size)
        if size < -1:
            raise ValueError("read length must be non-negative or -1")
        self._check_open("read of closed file")
        return await (self._read_all_now() if size == -1 else self._read_now(size))

    @in_turn
    async def read1(self, size: int = -1, /) -> bytes:
        """Read at most so many bytes, with at most one call of the kernel's."""
        self._check_readable("read1")
        self._check_open("read of closed file")
        return await self._read1_now(self._buffer_size if size < 0 else size)

    @in_turn
    async def peek(self, size: int = 0, /) -> bytes:
        """Return what comes next without moving the position: what is buffered, or one buffer full."""
        self._check_readable("peek")
        self._check_open("peek of closed file")
        if self._writable:
            await self._flush_now()
        if self._at == len(self._ahead):
            self._ahead, self._at = await self._descriptor.read(self._buffer_size), 0
        return self._ahead[self._at :]

    @in_turn
    async def readinto(self, buffer: "WriteableBuffer", /) -> int:
        """Read into a buffer, and return how many bytes: less than fit only at the end of the file."""
        self._check_readable("read")
        view = writable_view(buffer)
        self._check_open("readinto of closed file")
        return await self._read_into_now(view, once=False)

    @in_turn
    async def readinto1(self, buffer: "WriteableBuffer", /) -> int:
        """Read into a buffer with at most one call of the kernel's, and return how many bytes."""
        self._check_readable("read1")
        view = writable_view(buffer)
        self._check_open("readinto of closed file")
        return await self._read_into_now(view, once=True)

    async def readline(self, size: int | None = -1, /) -> bytes:
        """Read a line, or at most so much of it; empty at the end of the file."""
        if size == -1:
            end = self._ahead.find(b"\n", self._at) + 1
            if end and self._is_free():
                line = self._ahead[self._at : end]
                self._at = end
                return line
        return await self._readline_in_turn(size)

    def _is_free(self) -> bool:
        """Whether an operation that waits for nothing may be done at once."""
        descriptor = self._descriptor
        return not descriptor.taken and _get_running_loop() is descriptor.loop

    def _check_readable(self, what: str) -> None:
        if not self._readable:
            self._check_attached()
            self._refuse(what)

    def _check_attached(self) -> None:
        _ = self._descriptor.fd

    async def _read_now(self, size: int) -> bytes:
        end = self._at + size
        if end <= len(self._ahead):
            data = self._ahead[self._at : end]
            self._at = end
            return data
        await self._make_way()
        descriptor = self._descriptor
        parts = [self._ahead[self._at :]]
        remaining = size - len(parts[0])
        whole_blocks = remaining - remaining % self._buffer_size
        buffer = b""
        try:
            # Whole blocks go around the buffer, and the rest is cut out of one.
            while whole_blocks > 0 and (part := await descriptor.read(whole_blocks)):
                parts.append(part)
                remaining -= len(part)
                whole_blocks = remaining - remaining % self._buffer_size
            if not whole_blocks:
                while len(buffer) < remaining and (
                    part := await descriptor.read(self._buffer_size - len(buffer))
                ):
                    buffer = buffer + part if buffer else part
        except BaseException:
            self._ahead, self._at = b"".join([*parts, buffer]), 0
            raise
        self._ahead, self._at = buffer, min(remaining, len(buffer))
        parts.append(buffer[: self._at])
        return b"".join(parts)

    async def _read_all_now(self) -> bytes:
        await self._make_way()
        rest = await self._descriptor.read_all()
        if self._at < len(self._ahead):
            rest = self._ahead[self._at :] + rest
        self._ahead, self._at = b"", 0
        return rest

    async def _read1_now(self, size: int) -> bytes:
        if self._at == len(self._ahead) and size:
            await self._make_way()
            self._ahead, self._at = b"", 0
            return await self._descriptor.read(size)
        data = self._ahead[self._at : self._at + size]
        self._at += len(data)
        return data

    async def _read_into_now(self, view: memoryview, *, once: bool) -> int:
        done = min(len(self._ahead) - self._at, len(view))
        view[:done] = self._ahead[self._at : self._at + done]
        if done == len(view):
            self._at += done
            return done
        await self._make_way()
        descriptor = self._descriptor
        buffer, at = b"", 0
        try:
            while done < len(view) and not (once and done):
                if len(view) - done > self._buffer_size:
                    count = await descriptor.read_into(view[done:])
                    if once:
                        done += count
                        break
                else:
                    buffer = await descriptor.read(self._buffer_size)
                    count = at = min(len(buffer), len(view) - done)
                    view[done : done + count] = buffer[:count]
                if not count:
                    break
                done += count
        except BaseException:
            self._ahead, self._at = bytes(view[:done]) + buffer[at:], 0
            raise
        self._ahead, self._at = buffer, at
        return done

    async def _readline_now(self, size: int) -> bytes:
        if size:
            self._check_readable("read")
        self._check_open("readline of closed file")
        parts: list[bytes] = []
        length = 0
        try:
            while True:
                ahead, at = self._ahead, self._at
                end = len(ahead) if size < 0 else min(len(ahead), at + size - length)
                feed = ahead.find(b"\n", at, end)
                if feed >= 0:
                    end = feed + 1
                length += end - at
                if feed >= 0 or length == size:
                    parts.append(ahead[at:end])
                    self._at = end
                    return b"".join(parts)
                await self._make_way()
                data = await self._descriptor.read(self._buffer_size)
                parts.append(ahead[at:end])
                self._ahead, self._at = data, 0
                if not data:
                    return b"".join(parts)
        except BaseException:
            self._put_back(b"".join(parts))
            raise

    async def _readlines_now(self, hint: int) -> list[bytes]:
        self._check_open(CLOSED + ".")
        self._check_readable("read")
        if hint <= 0:
            return io.BytesIO(await self._read_all_now()).readlines()
        lines: list[bytes] = []
        length = 0
        try:
            while length <= hint and (line := await self._readline_now(-1)):
                lines.append(line)
                length += len(line)
        except BaseException:
            self._put_back(b"".join(lines))
            raise
        return lines

    def _put_back(self, data: bytes) -> None:
        """Give back what was read by an operation that did not come to its end."""
        self._ahead, self._at = data + self._ahead[self._at :], 0

    # -- writing --------------------------------------------------------------------------------------

    async def write(self, data: "ReadableBuffer", /) -> int:
        """Write all of the data, and return how many bytes that is.

        The file has accepted them when this returns, and writes them in their order. If it is cancelled, it
        has accepted all or none: ``tell()`` says which.
        """
        data = readable_bytes(data)
        descriptor = self._descriptor
        if (
            len(descriptor.pending) + len(data) <= self._buffer_size
            and len(data) < self._buffer_size  # a whole buffer goes at once, as io's does
            and self._writable
            and not self._ahead
            and descriptor.fd >= 0
            and descriptor.unseen_error is None
            and self._is_free()
        ):
            descriptor.pending += data
            return len(data)
        return await self._write_in_turn(data)

    @in_turn
    async def _write_in_turn(self, data: bytes) -> int:
        if not self._writable:
            self._refuse("write")
        self._check_open("write to closed file")
        await self._write_now(data)
        return len(data)

    async def _write_now(self, data: bytes) -> None:
        descriptor = self._descriptor
        descriptor.raise_unseen_error()
        self._step_back()
        if len(descriptor.pending) + len(data) <= self._buffer_size and len(data) < self._buffer_size:
            descriptor.pending += data
        else:
            await descriptor.to_its_end(self._write_through(data))

    async def _write_through(self, data: bytes) -> None:
        descriptor = self._descriptor
        await descriptor.write_pending()
        if len(data) >= self._buffer_size:
            await descriptor.write(data)
        else:
            descriptor.pending += data

    async def _make_way(self) -> None:
        """Write what is pending, before a read."""
        if self._descriptor.pending:
            await self._descriptor.to_its_end(self._descriptor.write_pending())

    def _step_back(self) -> None:
        """Move the descriptor's position back to this file's own: forget what was read ahead."""
        if self._ahead:
            unread = len(self._ahead) - self._at
            if unread:
                self._descriptor.seek(-unread, os.SEEK_CUR)
            self._ahead, self._at = b"", 0

    async def _flush_now(self) -> None:
        self._check_open("flush of closed file" if self._writable else CLOSED + ".")
        if self._writable:
            await self._make_way()
            self._step_back()
            self._descriptor.raise_unseen_error()

    async def _close_now(self) -> None:
        try:
            await super()._close_now()
        finally:
            if self._descriptor.fd < 0:
                self._ahead, self._at = b"", 0

    # -- the position ---------------------------------------------------------------------------------

    async def _tell_now(self) -> int:
        self._check_open()
        return self._position()

    def _position(self) -> int:
        descriptor = self._descriptor
        return descriptor.tell() - (len(self._ahead) - self._at) + len(descriptor.pending)

    async def _seek_now(self, offset: int, whence: int) -> int:
        if whence not in _WHENCES:
            raise ValueError(f"whence value {whence} unsupported")
        self._check_open("seek of closed file")
        if not self._descriptor.is_seekable():
            self._refuse("File or stream is not seekable.")
        offset = operator.index(offset)
        ahead = len(self._ahead) - self._at
        if ahead and whence in (os.SEEK_SET, os.SEEK_CUR):
            step = offset if whence == os.SEEK_CUR else offset - self._position()
            if -self._at <= step <= ahead:
                self._at += step
                return self._position()
        await self._make_way()
        if whence == os.SEEK_CUR:
            offset -= ahead
        position = await self._descriptor.move(offset, whence)
        self._ahead, self._at = b"", 0
        return position

    async def _truncate_now(self, size: int | None) -> int:
        self._check_open("truncate of closed file")
        if not self._writable:
            self._refuse("truncate")
        await self._flush_now()
        if size is None:
            size = self._descriptor.tell()
        await self._descriptor.engine.truncate(self._descriptor.fd, size)
        return size


class _Detached:
    """Stands where a descriptor was; says so to whoever looks for it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __getattr__(self, name: str) -> Any:
        raise ValueError(self._text)


def detached(text: str) -> Any:
    """Return what a file that was detached has instead of a descriptor."""
    return _Detached(text)
