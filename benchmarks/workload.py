"""What a scheduling workload is, and the table of all of them.

A workload runs `count` operations on a fresh loop and returns its figure for one of them. It checks, outside
of what is timed, that the operations had their effect. Figures are CPU time of the thread, but where said
otherwise.
"""

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any

from benchmarks.questions import Summary

Loop = asyncio.AbstractEventLoop
Coroutines = list[Coroutine[Any, Any, None]]
Measure = Callable[[Loop, int], float]

CPU_NS = "CPU ns per operation"


@dataclass(frozen=True)
class Workload:
    """A function that measures, with what the report has to know about its figure."""

    measure: Measure
    title: str
    unit: str
    count: int
    target_ratio: float | None
    target_value: float | None
    repeats: int | None  # where a second time in the same process would not measure the same
    summary: Summary
    coroutines: Callable[[int], Coroutines] | None  # the same work for the limit


class Table(dict[str, Workload]):
    """Workloads by the name of the function that measures, in the order in which they were added."""

    def add(
        self,
        title: str,
        *,
        count: int,
        unit: str = CPU_NS,
        target_ratio: float | None = None,
        target_value: float | None = None,
        repeats: int | None = None,
        summary: Summary = Summary.BEST,
        coroutines: Callable[[int], Coroutines] | None = None,
    ) -> Callable[[Measure], Measure]:
        """Add the decorated function."""

        def register(measure: Measure) -> Measure:
            self[measure.__name__] = Workload(
                measure, title, unit, count, target_ratio, target_value, repeats, summary, coroutines
            )
            return measure

        return register


def check(holds: bool, what: str) -> None:
    """Raise unless the operations had their effect. (An `assert` would go under -O.)"""
    if not holds:
        raise AssertionError(what)


@types.coroutine
def yield_once() -> Generator[None, None, None]:
    """Suspend the task for one turn, the cheapest way there is."""
    yield
