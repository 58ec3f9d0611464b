"""Which engine does the work: the loop's own on glassloop, threads on any other loop of asyncio's."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, TypeVarTuple
from weakref import WeakKeyDictionary

from glassloop._io.file_engine import engine_of
from glassloop.loop import EventLoop

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, StrOrBytesPath, WriteableBuffer

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")


class Engine(Protocol):
    """What files need of an engine. An offset of -1 is the position that the kernel keeps."""

    def open(self, path: "StrOrBytesPath", flags: int, mode: int = ..., /) -> Awaitable[int]: ...
    def read(self, fd: int, size: int, offset: int, /) -> Awaitable[bytes]: ...
    def read_into(self, fd: int, buffer: "WriteableBuffer", offset: int, /) -> Awaitable[int]: ...
    def write(self, fd: int, data: "ReadableBuffer", offset: int, /) -> Awaitable[int]: ...
    def fsync(self, fd: int, datasync: bool = ..., /) -> Awaitable[None]: ...
    def close(self, fd: int, /) -> Awaitable[None]: ...
    def truncate(self, fd: int, size: int, /) -> Awaitable[None]: ...
    def stat(
        self, target: "StrOrBytesPath | int", follow_symlinks: bool = ..., /
    ) -> Awaitable[os.stat_result]: ...
    def read_file(self, path: "StrOrBytesPath", /) -> Awaitable[bytes]: ...
    def write_file(
        self, path: "StrOrBytesPath", data: "ReadableBuffer", flags: int, mode: int = ..., /
    ) -> Awaitable[int]: ...
    def run(self, function: Callable[[*_Ts], _T], /, *args: *_Ts) -> Awaitable[_T]: ...


_of_other_loops: WeakKeyDictionary[asyncio.AbstractEventLoop, Engine] = WeakKeyDictionary()


def running_engine() -> Engine:
    """Return the engine of the running loop."""
    loop = asyncio.get_running_loop()
    if isinstance(loop, EventLoop):
        own: Any = engine_of(loop)
        engine: Engine = own
        return engine
    other = _of_other_loops.get(loop)
    if other is None:
        from glassloop.files.thread_engine import ThreadEngine

        other = _of_other_loops[loop] = ThreadEngine()
    return other
