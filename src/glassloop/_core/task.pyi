# What Python sees of task.py. All else of a Task is asyncio's.
import asyncio
import sys
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Literal, Self, TypeVar

_T_co = TypeVar("_T_co", covariant=True)

class Task(asyncio.Task[_T_co]):
    # As asyncio's stubs have it: further keywords go to asyncio.Task.
    if sys.version_info >= (3, 12):
        def __init__(
            self,
            coro: Coroutine[Any, Any, _T_co],
            *,
            loop: asyncio.AbstractEventLoop | None = None,
            name: object = None,
            context: Context | None = None,
            eager_start: bool = False,
        ) -> None: ...
    else:
        def __init__(
            self,
            coro: Coroutine[Any, Any, _T_co],
            *,
            loop: asyncio.AbstractEventLoop | None = None,
            name: object = None,
            context: Context | None = None,
        ) -> None: ...

    def task_wakeup(self, future: asyncio.Future[Any]) -> None: ...
    def get_name(self) -> str: ...
    def set_name(self, value: object, /) -> None: ...
    @property
    def run_state(self) -> Literal["READY", "RUNNING", "WAITING", "DONE"]: ...
    @property
    def cause(self) -> Literal["CREATED", "YIELDED", "FUTURE_DONE", "THROWN"]: ...
    @property
    def _callbacks(self) -> list[tuple[Callable[[Self], Any], Context]]: ...
    def _throw(self, error: BaseException) -> None: ...
