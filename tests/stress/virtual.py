"""Loops whose time stands still until nothing is ready: a program's trace is then a fact, not luck.

A daemon callback lies in every turn's batch. When it finds itself alone there, it sets the loop's time to the
next deadline. The loops need no other change: they poll, and choose what runs, by their own code.
"""

import asyncio
import itertools
import selectors
from collections.abc import Callable
from contextvars import Context
from typing import Any, Self

import glassloop


class VirtualTime:
    """What makes a loop's time virtual; comes before the loop's class among the bases."""

    now = 0.0
    turn = 0
    daemon_runs = False
    # Of debug mode: the daemon's own callback lets time pass. A property, for asyncio's __init__ sets 0.1.
    slow_callback_duration = property(lambda self: float("inf"), lambda self, seconds: None)
    # What asyncio adds to the present time before it looks which timers are due.
    _clock_resolution = 1e-9

    def time(self) -> float:
        return self.now

    def _write_to_self(self) -> None:
        """Nothing to wake: the loop never waits. (The wake-up of asyncio's would take turns of its own.)"""

    def run_until_idle(self: Any) -> None:
        """Run until nothing is ready and no timer is set; ``stop()`` ends this early, as ``run_forever``."""
        if not self.daemon_runs:
            self.daemon_runs = True
            self.call_soon(self.pass_time)
        self.run_forever()

    def pass_time(self: Any) -> None:
        """Count the turn; move the time on where this turn had nothing else to do."""
        self.turn += 1
        if not len(self._ready):
            deadlines = [timer.when() for timer in self._scheduled if not timer.cancelled()]
            if not deadlines:
                self.daemon_runs = False
                self.stop()
                return
            self.now = max(self.now, min(deadlines))
        self.call_soon(self.pass_time)


class Deadline(float):
    """A deadline that also knows the order of its making."""

    made = itertools.count()

    def __new__(cls, when: float) -> Self:
        self = super().__new__(cls, when)
        self.order = next(cls.made)
        return self

    order: int

    def __lt__(self, other: float) -> bool:
        if isinstance(other, Deadline):
            return (float(self), self.order) < (float(other), other.order)
        return float(self) < other


class AsyncioLoop(VirtualTime, asyncio.SelectorEventLoop):
    """asyncio's own loop. Its heap has no tie-break; here it gets the one that glassloop promises."""

    def call_at(  # type: ignore[override] # the arguments need no type of their own here
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return super().call_at(Deadline(when), callback, *args, context=context)


class GlassLoop(VirtualTime, glassloop.EventLoop):
    """glassloop's loop on its own poller."""


def new_loop(kind: str) -> Any:
    """A loop with virtual time: ``asyncio``, ``glassloop`` or ``glassloop-select``."""
    if kind == "asyncio":
        return AsyncioLoop()
    if kind == "glassloop":
        return GlassLoop()
    if kind == "glassloop-select":
        return GlassLoop(selectors.SelectSelector())
    raise ValueError(f"no such kind of loop: {kind!r}")
