# What Python sees of held_locks.py.
import asyncio
from types import CodeType, CoroutineType, FrameType
from typing import Any

LOCKS: tuple[type, ...]

def plain(text: str) -> str: ...
def identity(thing: object) -> str: ...
def named(thing: object) -> str: ...
def holdings(
    chain: list[tuple[FrameType | None, CodeType, CoroutineType[Any, Any, Any]]],
    waited: asyncio.Lock | asyncio.Semaphore | None,
) -> list[str]: ...
