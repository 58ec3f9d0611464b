"""TextFile: text over a BinaryFile, as io.TextIOWrapper is over a buffer.

The codecs and the translation of newlines are the standard library's. What was decoded and not read yet is
``_decoded[_used:]``. Where it came from is ``_snapshot``: the state of the decoder before the last chunk, and
that chunk; from it ``tell()`` finds its way back.
"""

import asyncio
import codecs
import functools
import io
import locale
import operator
import os
from asyncio import _get_running_loop
from types import EllipsisType
from typing import Any, NamedTuple, NoReturn

from glassloop.files.async_file import CLOSED, AsyncFile
from glassloop.files.binary_file import BinaryFile, detached
from glassloop.files.turns import in_turn

_CHUNK = 8192  # io's: where a write lands that follows a read depends on it

# A position of a text file is a number of several parts, as io packs it.
_POSITION_BITS = 64
_PART_BITS = 32


class Codec(NamedTuple):
    """How text becomes bytes and bytes text."""

    encoding: str
    errors: str
    newline: str | None
    make_decoder: Any
    make_encoder: Any
    is_stateless: bool  # each write may be encoded by itself


def codec_of(encoding: str | None, errors: str | None, newline: str | None) -> Codec:
    """Return the codec of these names. Raise what io raises if they are none."""
    encoding = io.text_encoding(encoding, 3)
    if encoding == "locale":
        encoding = locale.getencoding()
    return _codec(encoding, errors, newline)


@functools.lru_cache(maxsize=64)
def _codec(encoding: str, errors: str | None, newline: str | None) -> Codec:
    proof = io.TextIOWrapper(io.BytesIO(), encoding, errors, newline)
    return Codec(
        proof.encoding,
        proof.errors or "strict",
        newline,
        codecs.getincrementaldecoder(encoding),
        codecs.getincrementalencoder(encoding),
        codecs.lookup(encoding).name in ("ascii", "iso8859-1", "utf-8"),
    )


class TextFile(AsyncFile[str]):
    """What ``glassloop.open(path)`` gives."""

    __slots__ = (
        "_buffer",
        "_bytes_by_character",
        "_chunks",
        "_codec",
        "_decoded",
        "_decoder",
        "_encoder",
        "_line_buffering",
        "_newline",
        "_snapshot",
        "_used",
        "_write_through",
        "_written_newline",
    )

    def __init__(self, buffer: BinaryFile, mode: str, codec: Codec, *, line_buffering: bool = False) -> None:
        super().__init__(buffer._descriptor, buffer.name, mode)
        self._buffer = buffer
        self._decoder: Any = None
        self._encoder: Any = None
        self._decoded = ""
        self._used = 0
        self._snapshot: tuple[int, bytes] | None = None
        self._chunks: list[bytes] = []  # what the operation that is going on has read
        self._bytes_by_character = 0.0
        self._line_buffering = line_buffering
        self._write_through = False
        self._use(codec)

    def _use(self, codec: Codec) -> None:
        self._codec = codec
        # What ends a line, where that is one string; empty where it may be any of three.
        self._newline = "\n" if codec.newline is None else codec.newline
        written = os.linesep if codec.newline is None else codec.newline
        self._written_newline = None if written in ("", "\n") else written
        self._encoder = None
        if self._writable and not codec.is_stateless:
            self._encoder = codec.make_encoder(codec.errors)
            if self._descriptor.is_seekable() and self._buffer._position():
                self._encoder.setstate(0)  # no byte order mark in the middle of a file

    # -- what is known without asking the kernel ------------------------------------------------------

    @property
    def buffer(self) -> BinaryFile:
        """The same file as bytes."""
        return self._buffer

    @property
    def encoding(self) -> str:
        """The name of its encoding."""
        return self._codec.encoding

    @property
    def errors(self) -> str:
        """What becomes of text or bytes that the encoding does not know."""
        return self._codec.errors

    @property
    def newlines(self) -> str | tuple[str, ...] | None:
        """Which ends of lines were read, if they are translated."""
        found: str | tuple[str, ...] | None = getattr(self._decoder, "newlines", None)
        return found

    @property
    def line_buffering(self) -> bool:
        """Whether a written end of a line flushes."""
        return self._line_buffering

    @property
    def write_through(self) -> bool:
        """What ``reconfigure`` was told; each write is passed to the buffer at once in any case."""
        return self._write_through

    def __repr__(self) -> str:
        return f"{super().__repr__()[:-1]} encoding={self.encoding!r}>"

    # -- reading --------------------------------------------------------------------------------------

    @in_turn
    async def read(self, size: int | None = -1, /) -> str:
        """Read so many characters, or less only at the end of the file; without a size, all up to there."""
        self._check_open(CLOSED + ".")
        self._check_readable()
        size = -1 if size is None else operator.index(size)
        return await (self._read_all_now() if size < 0 else self._read_now(size))

    async def readline(self, size: int | None = -1, /) -> str:
        """Read a line, or at most so much of it; empty at the end of the file."""
        if size == -1 and self._newline:
            end = self._decoded.find(self._newline, self._used)
            descriptor = self._descriptor
            if end >= 0 and not descriptor.taken and _get_running_loop() is descriptor.loop:
                end += len(self._newline)
                line = self._decoded[self._used : end]
                self._used = end
                return line
        return await self._readline_in_turn(size)

    def _check_readable(self) -> None:
        if not self._readable:
            self._refuse("not readable")

    def _made_decoder(self) -> Any:
        decoder = self._decoder
        if decoder is None:
            decoder = self._codec.make_decoder(self._codec.errors)
            if not self._codec.newline:
                decoder = io.IncrementalNewlineDecoder(decoder, self._codec.newline is None)
            self._decoder = decoder
        return decoder

    async def _decode_more(self, characters: int = 0) -> bool:
        """Put the next chunk's text in the place of what was decoded; False at the end of the file."""
        decoder = self._made_decoder()
        held, flags = decoder.getstate()
        size = max(_CHUNK, int(max(self._bytes_by_character, 1.0) * characters))
        data = await self._buffer._read1_now(size)
        self._chunks.append(data)
        self._set_decoded(decoder.decode(data, not data))
        self._bytes_by_character = len(data) / len(self._decoded) if self._decoded else 0.0
        self._snapshot = (flags, held + data)
        return bool(data or self._decoded)  # what the decoder held may be the last of it

    def _set_decoded(self, text: str) -> None:
        self._decoded, self._used = text, 0

    def _take(self, size: int) -> str:
        text = self._decoded[self._used : self._used + size]
        self._used += len(text)
        return text

    def _forget_decoded(self) -> None:
        self._set_decoded("")
        self._snapshot = None

    def _mark(self) -> tuple[Any, ...]:
        """Return what ``_return_to`` needs to undo a read that is cancelled."""
        self._chunks = []
        state = None if self._decoder is None else self._decoder.getstate()
        return (self._decoded, self._used, self._snapshot, self._bytes_by_character, state)

    def _return_to(self, mark: tuple[Any, ...]) -> None:
        self._decoded, self._used, self._snapshot, self._bytes_by_character, state = mark
        if state is None:
            self._decoder = None
        else:
            self._decoder.setstate(state)
        self._buffer._put_back(b"".join(self._chunks))

    async def _read_all_now(self) -> str:
        decoder = self._made_decoder()
        data = await self._buffer._read_all_now()
        text: str = decoder.decode(data, True)
        rest = self._decoded[self._used :]
        self._forget_decoded()
        return rest + text if rest else text

    async def _read_now(self, size: int) -> str:
        mark = self._mark()
        parts = [self._take(size)]
        remaining = size - len(parts[0])
        try:
            while remaining > 0 and await self._decode_more(remaining):
                parts.append(self._take(remaining))
                remaining -= len(parts[-1])
        except asyncio.CancelledError:
            self._return_to(mark)
            raise
        if remaining > 0:
            parts.append(self._take(remaining))  # what the decoder still held
        return "".join(parts)

    async def _readline_now(self, size: int) -> str:
        self._check_open(CLOSED + ".")
        self._check_readable()
        self._made_decoder()
        mark = self._mark()
        line = self._decoded[self._used :]
        searched = 0
        try:
            # As io, which also reads for a line of no characters where none is known yet.
            while (end := self._end_of_line(line, searched)) < 0 and (
                size < 0 or len(line) < size or not line
            ):
                searched = max(len(line) - 1, 0)
                while await self._decode_more() and not self._decoded:
                    pass
                if not self._decoded:
                    self._forget_decoded()
                    return line
                line += self._decoded
        except asyncio.CancelledError:
            self._return_to(mark)
            raise
        if end < 0 or 0 <= size < end:
            end = size
        # What lies behind the line is the end of what was decoded last.
        self._used = len(self._decoded) - (len(line) - end)
        return line[:end]

    def _end_of_line(self, text: str, start: int) -> int:
        """Return the index behind the first end of a line, or -1. A decoder never splits CR LF."""
        if self._newline:
            found = text.find(self._newline, start)
            return found if found < 0 else found + len(self._newline)
        feed, carriage_return = text.find("\n", start), text.find("\r", start)
        if carriage_return < 0 or 0 <= feed < carriage_return:
            return feed if feed < 0 else feed + 1
        return carriage_return + (2 if feed == carriage_return + 1 else 1)

    async def _readlines_now(self, hint: int) -> list[str]:
        self._check_open(CLOSED + ".")
        mark = self._mark()
        chunks: list[bytes] = []
        lines: list[str] = []
        length = 0
        try:
            while (hint <= 0 or length <= hint) and (line := await self._readline_now(-1)):
                lines.append(line)
                length += len(line)
                chunks += self._chunks
        except asyncio.CancelledError:
            self._chunks = chunks
            self._return_to(mark)
            raise
        return lines

    # -- writing --------------------------------------------------------------------------------------

    async def write(self, text: str, /) -> int:
        """Write all of the text, and return how many characters that is.

        The file has accepted it when this returns, and writes it in its order. If it is cancelled, it has
        accepted all or nothing: ``tell()`` says which.
        """
        if (
            self._codec.is_stateless
            and self._written_newline is None
            and self._snapshot is None
            and not self._line_buffering
            and self._writable
            and isinstance(text, str)
        ):
            descriptor = self._descriptor
            if descriptor.fd >= 0 and not descriptor.taken:
                await self._buffer.write(text.encode(self._codec.encoding, self._codec.errors))
                return len(text)
        return await self._write_in_turn(text)

    @in_turn
    async def _write_in_turn(self, text: str) -> int:
        self._check_open(CLOSED + ".")
        if not isinstance(text, str):
            io.StringIO().write(text)  # raises what io does
        if not self._writable:
            self._refuse("not writable")
        await self._descriptor.to_its_end(self._write_now(text))
        return len(text)

    async def _write_now(self, text: str) -> None:
        flushes = self._line_buffering and ("\n" in text or "\r" in text)
        if self._written_newline is not None:
            text = text.replace("\n", self._written_newline)
        if self._encoder is None:
            data: bytes = text.encode(self._codec.encoding, self._codec.errors)
        else:
            data = self._encoder.encode(text)
        await self._buffer._write_now(data)
        if flushes:
            await self._buffer._flush_now()
        if self._snapshot is not None:
            self._forget_decoded()
        if self._decoder is not None:
            self._decoder.reset()

    async def _flush_now(self) -> None:
        self._check_open(CLOSED + ".")
        await self._buffer._flush_now()

    async def _close_now(self) -> None:
        await self._buffer._close_now()

    # -- the position ---------------------------------------------------------------------------------

    async def _tell_now(self) -> int:
        self._check_open(CLOSED + ".")
        if not self._descriptor.is_seekable():
            self._refuse("underlying stream is not seekable")
        await self._buffer._flush_now()
        position = self._buffer._position()
        if self._snapshot is None:
            return position
        flags, chunk = self._snapshot
        position -= len(chunk)
        if not self._used:
            return position | flags << _POSITION_BITS
        # io finds the position in a copy of the chunk, behind one byte: a position of 0 means a new file.
        copy = io.TextIOWrapper(io.BytesIO(b"\0" + chunk), *self._codec[:3])
        # It is there so that tests can set it.
        copy._CHUNK_SIZE = len(chunk) or 1  # type: ignore[attr-defined]
        copy.seek(1 | flags << _POSITION_BITS)
        copy.read(self._used)
        return position - 1 + copy.tell()

    async def _seek_now(self, offset: int, whence: int) -> int:
        self._check_open(CLOSED + ".")
        if not self._descriptor.is_seekable():
            self._refuse("underlying stream is not seekable")
        if whence not in (os.SEEK_SET, os.SEEK_CUR, os.SEEK_END):
            raise ValueError(
                f"invalid whence ({whence}, should be {os.SEEK_SET}, {os.SEEK_CUR} or {os.SEEK_END})"
            )
        if whence == os.SEEK_CUR and offset:
            self._refuse("can't do nonzero cur-relative seeks")
        if whence == os.SEEK_END and offset:
            self._refuse("can't do nonzero end-relative seeks")
        if whence == os.SEEK_CUR:
            offset = await self._tell_now()
        if offset < 0:
            raise ValueError(f"negative seek position {offset!r}")
        return await self._descriptor.to_its_end(self._seek_to(offset, whence == os.SEEK_END))

    async def _seek_to(self, cookie: int, to_the_end: bool) -> int:
        await self._buffer._flush_now()
        if to_the_end:
            cookie = await self._buffer._seek_now(0, os.SEEK_END)
            self._forget_decoded()
            if self._decoder is not None:
                self._decoder.reset()
            self._reset_encoder(cookie)
            return cookie
        rest, position = divmod(cookie, 1 << _POSITION_BITS)
        rest, flags = divmod(rest, 1 << _PART_BITS)
        rest, size = divmod(rest, 1 << _PART_BITS)
        at_the_end, characters = divmod(rest, 1 << _PART_BITS)
        await self._buffer._seek_now(position, os.SEEK_SET)
        self._forget_decoded()
        is_start = not position and not flags
        if self._readable:
            if is_start:
                self._made_decoder().reset()
            else:
                self._made_decoder().setstate((b"", flags))
            self._snapshot = (flags, b"")
        if characters:
            chunk = await self._buffer._read_now(size)
            self._set_decoded(self._made_decoder().decode(chunk, bool(at_the_end)))
            self._snapshot = (flags, chunk)
            if len(self._decoded) < characters:
                raise OSError("can't restore logical file position")
            self._used = characters
        self._reset_encoder(0 if is_start else 1)
        return cookie

    def _reset_encoder(self, position: int) -> None:
        """A byte order mark is written at the beginning of a file only."""
        if self._encoder is not None:
            if position:
                self._encoder.setstate(0)
            else:
                self._encoder.reset()

    async def _truncate_now(self, size: int | None) -> int:
        self._check_open(CLOSED + ".")
        # Without a size this cuts where the buffer is, which may have read ahead of the text: io does so.
        await self._buffer._flush_now()
        return await self._buffer._truncate_now(size)

    # -- to change what it is -----------------------------------------------------------------------------

    @in_turn
    async def detach(self) -> BinaryFile:
        """Write what is buffered, and return the binary file; this one is of no use any more."""
        await self._flush_now()
        self._descriptor = detached("underlying buffer has been detached")
        self._forget_decoded()
        return self._buffer

    @in_turn
    async def reconfigure(
        self,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | EllipsisType | None = ...,
        line_buffering: bool | None = None,
        write_through: bool | None = None,
    ) -> None:
        """Change how text is written or, before the first read, how it is read."""
        given = encoding is not None or errors is not None or newline is not ...
        if given and self._decoder is not None:
            self._refuse("It is not possible to set the encoding or newline of stream after the first read")
        if encoding is None:
            errors = self.errors if errors is None else errors
        codec = codec_of(
            encoding or self.encoding, errors, self._codec.newline if newline is ... else newline
        )
        await self._flush_now()
        if line_buffering is not None:
            self._line_buffering = line_buffering
        if write_through is not None:
            self._write_through = write_through
        if given:
            self._use(codec)

    def _refuse(self, what: str) -> NoReturn:
        raise io.UnsupportedOperation(what)
