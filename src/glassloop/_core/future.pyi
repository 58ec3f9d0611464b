# What Python sees of future.py. All else of a Future is asyncio's.
import asyncio
from collections.abc import Callable
from contextvars import Context
from typing import Any, Self, TypeVar

_T = TypeVar("_T")

class Future(asyncio.Future[_T]):
    def set_result(self, result: _T) -> None: ...
    @property
    def _callbacks(self) -> list[tuple[Callable[[Self], Any], Context]]: ...
