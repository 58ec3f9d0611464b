"""open(): what Python's own open() takes and says, awaited."""

import asyncio
import io
import operator
import os
import stat
import sys
import warnings
from collections.abc import Callable, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, NoReturn, TypeVar, overload

from glassloop.files.async_file import AsyncFile
from glassloop.files.binary_file import BinaryFile
from glassloop.files.descriptor import Descriptor
from glassloop.files.engines import Engine, running_engine
from glassloop.files.raw_file import RawFile
from glassloop.files.text_file import Codec, TextFile, codec_of
from glassloop.files.turns import Turns

if TYPE_CHECKING:
    from _typeshed import (
        FileDescriptorOrPath,
        OpenBinaryMode,
        OpenTextMode,
    )


_F = TypeVar("_F", bound=AsyncFile[Any])

_LARGEST_BUFFER = 8 << 20  # for what a file system may wish, as io has it since CPython 3.14


@overload
def open(
    file: "FileDescriptorOrPath",
    mode: "OpenTextMode" = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: "Callable[[str, int], int] | None" = None,
) -> "Opening[TextFile]": ...
@overload
def open(  # type: ignore[overload-overlap]  # an int may be 0
    file: "FileDescriptorOrPath",
    mode: "OpenBinaryMode",
    buffering: Literal[0],
    encoding: None = None,
    errors: None = None,
    newline: None = None,
    closefd: bool = True,
    opener: "Callable[[str, int], int] | None" = None,
) -> "Opening[RawFile]": ...
@overload
def open(
    file: "FileDescriptorOrPath",
    mode: "OpenBinaryMode",
    buffering: int = -1,
    encoding: None = None,
    errors: None = None,
    newline: None = None,
    closefd: bool = True,
    opener: "Callable[[str, int], int] | None" = None,
) -> "Opening[BinaryFile]": ...
@overload
def open(
    file: "FileDescriptorOrPath",
    mode: str,
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: "Callable[[str, int], int] | None" = None,
) -> "Opening[Any]": ...
def open(
    file: "FileDescriptorOrPath",
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: "Callable[[str, int], int] | None" = None,
) -> "Opening[Any]":
    """Open a file: ``async with glassloop.open(path) as file:``, or ``file = await glassloop.open(path)``.

    The parameters are those of Python's own ``open()``, and so are the errors. The file is a ``TextFile``; in
    binary mode a ``BinaryFile``, or a ``RawFile`` if ``buffering`` is 0. An ``opener`` runs in a thread.
    """
    wanted = _Wanted(file, mode, buffering, closefd, opener)
    if wanted.is_text:
        wanted.codec = codec_of(encoding, errors, newline)
    else:
        for name, value in (("encoding", encoding), ("errors", errors), ("newline", newline)):
            if value is not None:
                raise ValueError(f"binary mode doesn't take an {name} argument".replace("an n", "a n"))
        if buffering == 1:
            warnings.warn(
                "line buffering (buffering=1) isn't supported in binary mode, "
                "the default buffer size will be used",
                RuntimeWarning,
                2,
            )
    return Opening(wanted)


class Opening(Generic[_F]):
    """A file that is going to be opened: by ``await``, or by ``async with``, which closes it too."""

    __slots__ = ("_file", "_wanted")

    def __init__(self, wanted: "_Wanted") -> None:
        self._wanted = wanted
        self._file: _F | None = None

    def __await__(self) -> Generator[Any, None, _F]:
        return self._wanted.open().__await__()

    async def __aenter__(self) -> _F:
        file: _F = await self._wanted.open()
        self._file = file
        return file

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            await file.close()

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(
            f"{type(self).__name__!r} object has no attribute {name!r}: the file is not open yet. "
            "Use `async with glassloop.open(...) as file:` or `file = await glassloop.open(...)`"
        )

    def __repr__(self) -> str:
        return f"<glassloop.open({self._wanted.file!r}, {self._wanted.mode!r}), not awaited>"


class _Wanted:
    """What open() was asked for, checked by io's rules."""

    __slots__ = ("buffering", "closefd", "codec", "file", "flags", "is_text", "mode", "opener", "raw_mode")

    def __init__(
        self, file: Any, mode: str, buffering: int, closefd: bool, opener: "Callable[[str, int], int] | None"
    ) -> None:
        if not isinstance(file, int):
            file = os.fspath(file)
        if not isinstance(mode, str):
            raise TypeError(f"open() argument 'mode' must be str, not {type(mode).__name__}")
        kinds = set(mode)
        if kinds - set("axrwb+t") or len(mode) > len(kinds):
            raise ValueError(f"invalid mode: {mode!r}")
        if {"t", "b"} <= kinds:
            raise ValueError("can't have text and binary mode at once")
        if len(kinds & set("axrw")) != 1:
            raise ValueError("must have exactly one of create/read/write/append mode")
        self.is_text = "b" not in kinds
        if self.is_text and buffering == 0:
            raise ValueError("can't have unbuffered text I/O")
        if isinstance(file, int) and file < 0:
            raise ValueError("negative file descriptor")
        if not closefd and not isinstance(file, int):
            raise ValueError("Cannot use closefd=False with file name")
        self.file = file
        self.mode = mode
        self.buffering = operator.index(buffering)
        self.closefd = closefd
        self.opener = opener
        self.codec: Codec | None = None
        self.flags = _flags(kinds)
        self.raw_mode = _raw_mode(kinds)

    async def open(self) -> Any:
        """Open the file."""
        sys.audit("open", self.file, self.raw_mode.replace("b", ""), self.flags)
        engine = running_engine()
        loop = asyncio.get_running_loop()
        if isinstance(self.file, int):
            fd = operator.index(self.file)
        else:
            # If this is cancelled, the descriptor is closed as soon as it is there.
            fd = await Turns(loop).to_its_end(self._open(engine), os.close)
        # No task is left to notice if anything fails from here on: the descriptor closes itself.
        try:
            descriptor = Descriptor(
                loop,
                engine,
                fd,
                closes=self.closefd,
                is_shared=isinstance(self.file, int) or self.opener is not None or "a" in self.mode,
            )
        except OSError:
            if not isinstance(self.file, int):
                os.close(fd)
            raise
        try:
            return self._file_on(descriptor)
        except BaseException:
            if isinstance(self.file, int):
                descriptor.let_go()
            else:
                await descriptor.close()
            raise

    async def _open(self, engine: Engine) -> int:
        if self.opener is None:
            return await engine.open(self.file, self.flags, 0o666)
        fd = await engine.run(self.opener, self.file, self.flags)
        if not isinstance(fd, int):
            raise TypeError("expected integer from opener")
        if fd < 0:
            raise ValueError(f"opener returned {fd}")
        os.set_inheritable(fd, False)
        return fd

    def _file_on(self, descriptor: Descriptor) -> RawFile | BinaryFile | TextFile:
        if descriptor.kind == stat.S_IFDIR:
            raise IsADirectoryError(21, os.strerror(21), self.file)
        if "a" in self.mode and descriptor.is_seekable():
            descriptor.seek(0, os.SEEK_END)
        is_line_buffered = self.buffering == 1 or (
            self.buffering < 0 and descriptor.kind == stat.S_IFCHR and os.isatty(descriptor.fd)
        )
        size = self.buffering
        if size < 0 or size == 1:
            size = _buffer_size(descriptor.block_size)
        file: RawFile | BinaryFile | TextFile
        if size == 0:
            file = RawFile(descriptor, self.file, self.raw_mode)
        else:
            if "+" in self.mode and not descriptor.is_seekable():
                raise io.UnsupportedOperation("File or stream is not seekable.")
            file = BinaryFile(descriptor, self.file, self.raw_mode, size)
            if self.codec is not None:
                file = TextFile(file, self.mode, self.codec, line_buffering=is_line_buffered)
        descriptor.description = repr(file)
        return file


def _flags(kinds: set[str]) -> int:
    flags = os.O_CLOEXEC
    if "+" in kinds:
        flags |= os.O_RDWR
    else:
        flags |= os.O_RDONLY if "r" in kinds else os.O_WRONLY
    if "w" in kinds:
        flags |= os.O_CREAT | os.O_TRUNC
    elif "x" in kinds:
        flags |= os.O_CREAT | os.O_EXCL
    elif "a" in kinds:
        flags |= os.O_CREAT | os.O_APPEND
    return flags


def _raw_mode(kinds: set[str]) -> str:
    """Return the mode that io.FileIO would name."""
    if "+" not in kinds:
        return next(iter(kinds & set("axrw"))) + "b"
    if "w" in kinds and sys.version_info < (3, 15):
        return "rb+"
    return next(iter(kinds & set("axrw"))) + "b+"


def _buffer_size(block_size: int) -> int:
    if sys.version_info >= (3, 14):
        return max(min(block_size, _LARGEST_BUFFER), io.DEFAULT_BUFFER_SIZE)
    return block_size if block_size > 1 else io.DEFAULT_BUFFER_SIZE
