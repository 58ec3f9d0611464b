"""What a question is: how it is measured, which figures it gives, and what glassloop has to reach."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Better(Enum):
    """Which way a figure improves."""

    LESS = "less is better"
    MORE = "more is better"


class Summary(Enum):
    """How the figures of all rounds become one. CPU time errs upwards only: its best round is the truest."""

    BEST = "best"
    MEDIAN = "median"


@dataclass(frozen=True)
class Effort:
    """How much work one run does."""

    scheduling_rounds: int
    network_rounds: int
    repeats: int  # in one worker, of which the best counts
    scale: float  # of the number of operations in a scheduling measurement
    window_ms: int  # of a network measurement, after the warm-up
    warmup_ms: int
    wrk_seconds: int
    time_limit_s: float  # of one measurement


FULL = Effort(5, 3, repeats=3, scale=1, window_ms=1000, warmup_ms=150, wrk_seconds=2, time_limit_s=60)
QUICK = Effort(2, 2, repeats=2, scale=0.4, window_ms=300, warmup_ms=100, wrk_seconds=1, time_limit_s=30)
SMOKE = Effort(1, 1, repeats=1, scale=0.02, window_ms=30, warmup_ms=10, wrk_seconds=1, time_limit_s=20)


@dataclass(frozen=True)
class Figure:
    """One number that a question gives, and its target."""

    key: str
    unit: str
    better: Better
    target_ratio: float | None = None  # to the reference loop, above 1 is better
    target_value: float | None = None  # in the figure's own unit


@dataclass(frozen=True)
class Question:
    """One question to every loop. `measure` answers for the named loop, in processes made for that."""

    family: str
    name: str
    title: str
    figures: tuple[Figure, ...]
    summary: Summary
    measure: Callable[[str, Effort], dict[str, float]]
    has_limit: bool = False
    unavailable: str | None = None  # why it cannot be asked on this machine
    has_node: bool = False  # Node.js answers it too: `measure` takes loops.NODE


class Failed(Exception):
    """A loop did not answer a question, or not rightly; the text is the reason."""
