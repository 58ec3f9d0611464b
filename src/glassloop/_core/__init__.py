"""The scheduling core: clock, handles, ready queue, timers, futures, tasks, and the turn."""

# asyncio comes first: it takes its pure-Python Task where _asyncio was imported before it.
import asyncio  # noqa: F401
import os
from typing import TYPE_CHECKING

from glassloop._core.scheduler import Scheduler

__all__ = ["Engine", "native_status"]


def _choose_scheduler() -> tuple[type[Scheduler], str, str]:
    """The scheduler class, which tasks it uses (``native`` or ``stock``), and why."""
    wanted = os.environ.get("GLASSLOOP_TASKS") or "native"
    if wanted == "stock":
        return Scheduler, "stock", "the environment says GLASSLOOP_TASKS=stock"
    if wanted != "native":
        raise ImportError(
            f"GLASSLOOP_TASKS={wanted!r} is neither 'native' nor 'stock'; set one of these or neither"
        )
    try:
        from glassloop._core import layout

        fault = layout.fault()
        if fault is None:
            from glassloop._core.native import NativeScheduler

            return NativeScheduler, "native", "the layout of CPython's Task and Future was proven at import"
    except (ImportError, ValueError) as exc:
        # Cython compares the sizes of the stock types when a module that uses their layout is imported.
        fault = str(exc)
    return Scheduler, "stock", f"this CPython is not the one that glassloop was built for: {fault}"


_engine, _tasks_in_use, _reason = _choose_scheduler()

if TYPE_CHECKING:
    # A base class must be known before the program runs: this is the usual one, which has all there is.
    from glassloop._core.native import NativeScheduler as Engine
else:
    Engine = _engine


def native_status() -> tuple[str, str]:
    """Which Task implementation is in use, ``native`` or ``stock``, and why."""
    return _tasks_in_use, _reason
