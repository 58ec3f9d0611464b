# What Python sees of scheduler.py.
import asyncio
import selectors
from asyncio.events import _TaskFactory
from collections.abc import Callable, Iterable
from contextvars import Context
from typing import Any, TypeVarTuple

from glassloop._core.handle import Handle
from glassloop._core.ready import ReadyQueue
from glassloop._core.source import IOSource
from glassloop._core.timers import TimerHandle

_Ts = TypeVarTuple("_Ts")

class Scheduler:
    _closed: bool
    _stopping: bool
    _debug: bool
    _task_factory: _TaskFactory | None
    _current_handle: asyncio.Handle | asyncio.Task[Any] | IOSource | None
    def __hash__(self) -> int: ...
    def time(self) -> float: ...
    def call_soon(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> Handle: ...
    def call_soon_threadsafe(
        self, callback: Callable[[*_Ts], object], *args: *_Ts, context: Context | None = None
    ) -> Handle: ...
    def call_later(
        self,
        delay: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> TimerHandle: ...
    def call_at(
        self,
        when: float,
        callback: Callable[[*_Ts], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> TimerHandle: ...
    def run_forever(self) -> None: ...
    def _run_once(self) -> None: ...
    def _use_poller(self, selector: selectors.BaseSelector) -> None: ...
    def _forget_timers(self) -> None: ...
    def _forget_page(self) -> None: ...
    def _close_page(self) -> None: ...
    @property
    def _ready(self) -> ReadyQueue: ...
    @_ready.setter
    def _ready(self, handles: Iterable[asyncio.Handle]) -> None: ...
    @property
    def _scheduled(self) -> list[TimerHandle]: ...
    @_scheduled.setter
    def _scheduled(self, timers: Iterable[TimerHandle]) -> None: ...
