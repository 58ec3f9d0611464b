# What Python sees of native.py.
import asyncio
import sys
from asyncio import _CoroutineLike
from contextvars import Context
from typing import Any, TypeVar

from glassloop._core.scheduler import Scheduler

_T = TypeVar("_T")

class NativeScheduler(Scheduler):
    def create_future(self) -> asyncio.Future[Any]: ...
    # As asyncio's stubs have it: further keywords go to the task, or to the task factory.
    if sys.version_info >= (3, 13):
        def create_task(
            self,
            coro: _CoroutineLike[_T],
            *,
            name: object = None,
            context: Context | None = None,
            eager_start: bool | None = None,
        ) -> asyncio.Task[_T]: ...
    else:
        def create_task(
            self, coro: _CoroutineLike[_T], *, name: object = None, context: Context | None = None
        ) -> asyncio.Task[_T]: ...

    def _unfinished_tasks(self) -> list[asyncio.Task[Any]]: ...
