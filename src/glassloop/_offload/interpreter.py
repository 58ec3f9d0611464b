"""Subinterpreters: where there are any, and in words what cannot go into one."""

import sys
from collections.abc import Callable
from concurrent import futures
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any

from glassloop._offload.job import Outcome, name_of, outcome_of

# What a program would have to import for these: from CPython 3.14 on.
_CANNOT_CROSS = frozenset({"NotShareableError", "PicklingError"})


def pool_class() -> type[Executor]:
    """Return InterpreterPoolExecutor, or raise RuntimeError where Python has none."""
    found: type[Executor] | None = getattr(futures, "InterpreterPoolExecutor", None)
    if found is None:
        version = ".".join(map(str, sys.version_info[:3]))
        raise RuntimeError(
            f'offload(to="interpreter") needs CPython 3.14 or newer, and this is {version}: use to="process"'
        )
    return found


def is_pool(executor: object) -> bool:
    """Whether this is an executor of subinterpreters."""
    found = getattr(futures, "InterpreterPoolExecutor", None)
    return found is not None and isinstance(executor, found)


def conclude_for(function: Callable[..., Any]) -> Callable[["Future[Any]"], Outcome]:
    """Return what explains the outcome of this function."""
    return partial(_conclude, function)


def _conclude(function: Callable[..., Any], inner: "Future[Any]") -> Outcome:
    value, error = outcome_of(inner)
    if error is None or type(error).__name__ not in _CANNOT_CROSS:
        return value, error
    explained = TypeError(
        f'offload(to="interpreter"): {name_of(function)}, an argument or the result cannot be sent to '
        f"another interpreter ({error}). The function must be at the top level of a module, and what it "
        'takes and returns must be picklable; or use to="thread".'
    )
    explained.__cause__ = error
    return None, explained
