# What Python sees of ready.py.
import asyncio
from collections.abc import Iterator
from typing import Any, TypeAlias, final

from glassloop._core.source import IOSource

_Entry: TypeAlias = asyncio.Handle | asyncio.Task[Any] | IOSource

@final
class ReadyQueue:
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[_Entry]: ...
    def append(self, handle: asyncio.Handle) -> None: ...
    def clear(self) -> None: ...
