"""Ticks of the processor's counter as nanoseconds of CLOCK_MONOTONIC.

A page gives two pairs of (ticks, ns): one from when it was made, one from the last turn that waited. Where
they lie far enough apart their slope is better than any rate that was measured in a hurry when the page was
made.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

from glassloop.glass.errors import BadPageError
from glassloop.glass.raw import RawHeader, RawLive

APART_NS = 10_000_000
# A pair that was read while it was written would give a slope far from the measured rate.
_AGREE = 0.2


class TickClock(NamedTuple):
    """The straight line through a known pair of (ticks, ns)."""

    ticks: int
    ns: int
    ns_per_tick: float

    def to_ns(self, ticks: int) -> int:
        """Return CLOCK_MONOTONIC, in ns, at this count."""
        return self.ns + round((ticks - self.ticks) * self.ns_per_tick)

    def to_ticks(self, ns: int) -> int:
        """Return the count at this time."""
        return self.ticks + round((ns - self.ns) / self.ns_per_tick)

    def length_ns(self, ticks: int) -> int:
        """Return how long so many ticks take."""
        return round(ticks * self.ns_per_tick)

    def length_ticks(self, ns: float) -> int:
        """Return how many ticks so long a time has."""
        return round(ns / self.ns_per_tick)

    def all_to_ns(self, counts: Iterable[int]) -> list[int]:
        """Return ``to_ns`` of each, quicker than one by one."""
        ticks, ns, rate = self.ticks, self.ns, self.ns_per_tick
        return [ns + round((count - ticks) * rate) for count in counts]

    def all_lengths_ns(self, counts: Iterable[int]) -> list[int]:
        """Return ``length_ns`` of each, quicker than one by one."""
        rate = self.ns_per_tick
        return [round(count * rate) for count in counts]


def read_clock(header: RawHeader, live: RawLive) -> TickClock:
    """Return the clock of a page; raise BadPageError if its figures cannot be one."""
    rate = header.ticks_per_us
    if not math.isfinite(rate) or not 1e-3 <= rate <= 1e6:
        raise BadPageError(f"the page is damaged: {rate!r} ticks in a microsecond are no clock")
    measured = 1e3 / rate
    apart_ns, apart_ticks = live.now_ns - header.start_ns, live.now_ticks - header.start_ticks
    if apart_ns >= APART_NS and apart_ticks > 0 and abs(apart_ns / apart_ticks / measured - 1) < _AGREE:
        return TickClock(live.now_ticks, live.now_ns, apart_ns / apart_ticks)
    return TickClock(header.start_ticks, header.start_ns, measured)
