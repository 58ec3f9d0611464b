"""scandir(): a directory's entries, fetched some hundreds at a time."""

import itertools
import os
import threading
from collections import deque
from collections.abc import Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any, AnyStr, Generic, Self, overload

from glassloop.files.engines import running_engine

if TYPE_CHECKING:
    from _typeshed import BytesPath, StrOrBytesPath, StrPath

_ONE_BATCH = 256


class Scan(Generic[AnyStr]):
    """The entries of a directory: ``async for``, or ``await`` for a list of all that are left."""

    __slots__ = ("_entries", "_found", "_is_open", "_lock", "_path")

    def __init__(self, path: Any) -> None:
        self._path = path
        self._found: deque[os.DirEntry[AnyStr]] = deque()
        self._entries: Any = None
        self._is_open = True
        # What a cancelled task has asked for goes on in its thread.
        self._lock = threading.Lock()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> os.DirEntry[AnyStr]:
        if not self._found and self._is_open:
            await running_engine().run(self._fetch, _ONE_BATCH)
        if not self._found:
            raise StopAsyncIteration
        return self._found.popleft()

    def __await__(self) -> Generator[Any, None, list[os.DirEntry[AnyStr]]]:
        return self._all().__await__()

    async def _all(self) -> list[os.DirEntry[AnyStr]]:
        if self._is_open:
            await running_engine().run(self._fetch, None)
        found = list(self._found)
        self._found.clear()
        return found

    def _fetch(self, count: int | None) -> None:
        with self._lock:
            if not self._is_open:
                return
            if self._entries is None:
                self._entries = os.scandir(self._path)
            before = len(self._found)
            self._found.extend(itertools.islice(self._entries, count))
            if count is None or len(self._found) - before < count:
                self.close()

    def close(self) -> None:
        """Close the directory, if it is not at its end."""
        self._is_open = False
        if self._entries is not None:
            self._entries.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._found.clear()
        self.close()


@overload
def scandir(path: "StrPath | int | None" = None) -> Scan[str]: ...
@overload
def scandir(path: "BytesPath") -> Scan[bytes]: ...
def scandir(path: "StrOrBytesPath | int | None" = None) -> Scan[Any]:
    """Fetch the entries of a directory, by ``async for`` one by one, or by ``await`` as a list.

    The entries are those of ``os.scandir``: what kind each is, they know, mostly; for more, await
    ``glassloop.stat(entry)``.
    """
    return Scan(path)
