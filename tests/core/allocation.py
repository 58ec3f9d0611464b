"""Making memory allocations fail, each in turn, by CPython's own test hook (_testcapi.set_nomemory)."""

import asyncio
import gc
from asyncio import coroutines
from collections.abc import Callable, Iterator
from typing import Any

import pytest

_testcapi = pytest.importorskip("_testcapi", reason="this Python came without its test modules")

if coroutines._is_debug_mode():  # type: ignore[attr-defined]  # private
    pytest.skip(
        "debug mode walks the stack in Python, where CPython itself crashes without memory",
        allow_module_level=True,
    )

# An operation that is done within so many allocations.
MAX_ALLOCATIONS = 500

Attempts = Iterator[tuple[int, int]]


def one_by_one() -> Attempts:
    """Let the first allocation fail, then the second, and so on: always one."""
    return ((start, start + 1) for start in range(MAX_ALLOCATIONS))


def all_from_one_on() -> Attempts:
    """Let the first allocation fail and all that follow, then all from the second on, and so on."""
    return ((start, 0) for start in range(MAX_ALLOCATIONS))


def run_turn(loop: asyncio.AbstractEventLoop, turns: int = 1) -> None:
    """Let the loop turn."""
    for _ in range(turns):
        loop.stop()
        loop.run_forever()


def fails_at(start: int, stop: int, operation: Callable[..., object], *args: object) -> MemoryError | None:
    """Call with the allocations from ``start`` to before ``stop`` failing (0: all after it too).

    Returns the MemoryError, or None where the operation had enough.
    """
    error: MemoryError | None = None
    # The collector calls hooks of pytest's and hypothesis's, which would fail and complain.
    gc.disable()
    try:
        _testcapi.set_nomemory(start, stop)
        operation(*args)
    except MemoryError as exc:
        error = exc
    finally:
        _testcapi.remove_mem_hooks()
        gc.enable()
    return error


def run_fails_at(start: int, stop: int, loop: Any) -> MemoryError | None:
    """Let the loop turn once, with the allocations failing meanwhile; the MemoryError, or None."""
    loop.stop()
    error = fails_at(start, stop, loop.run_forever)
    # What asyncio's own code does after the last turn may have failed as well.
    asyncio._set_running_loop(None)
    loop._thread_id = None
    return error
