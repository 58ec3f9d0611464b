"""A loop's numbers, for the program itself: ``loop.metrics()``.

They come from the loop's own page, which is there anyway: to ask costs the asker some 60 microseconds and
the loop nothing, whichever thread asks. Counters count from the loop's beginning; ``since()`` gives what
came between two looks.
"""

import dataclasses
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glassloop._core import own_page
from glassloop.glass import layout, raw
from glassloop.glass.histogram import Histogram, bucket_bounds, split_histograms
from glassloop.glass.layout import Phase
from glassloop.glass.page import Page
from glassloop.glass.raw import RawLive
from glassloop.glass.text import decode
from glassloop.glass.ticks import read_clock

if TYPE_CHECKING:
    from glassloop.loop import EventLoop

_EVER = 2**64 - 1
# Beyond that it is for ever: a counter of ticks ends after some hundred years.
_LONGEST_S = 1e9


class NoMetricsError(RuntimeError):
    """The loop has no page to read its numbers from; the text says why."""


@dataclass(frozen=True, slots=True, repr=False)
class Distribution:
    """How often which values came: the page's histogram, with four buckets for each power of two.

    A value read off it lies within 12 % of the true one; whole numbers below 4 are exact.
    """

    histogram: Histogram
    unit: float  # what one unit of the histogram is, in seconds or entries

    def __repr__(self) -> str:
        return f"<Distribution count={self.count} p50={self.p50} p99={self.p99} p999={self.p999}>"

    @property
    def count(self) -> int:
        """How many values were counted."""
        return self.histogram.total

    def quantile(self, share: float) -> float | None:
        """Return the value below which this share (0 to 1) of the values lies; None if none was counted."""
        return self.histogram.quantile(share) * self.unit if self.count else None

    @property
    def p50(self) -> float | None:
        """The median; None if no value was counted."""
        return self.quantile(0.5)

    @property
    def p99(self) -> float | None:
        """The value that one in a hundred exceeds; None if no value was counted."""
        return self.quantile(0.99)

    @property
    def p999(self) -> float | None:
        """The value that one in a thousand exceeds; None if no value was counted."""
        return self.quantile(0.999)

    @property
    def sum(self) -> float:
        """All values together, as if each lay in the middle of its bucket."""
        return sum(middle * count for middle, count in self._middles())

    def up_to(self, bounds: Sequence[float]) -> list[int]:
        """Return for each of these rising bounds how many values are not above it, as far as buckets tell."""
        counts = [0] * (len(bounds) + 1)
        place = 0
        for middle, count in self._middles():
            while place < len(bounds) and middle > bounds[place]:
                place += 1
            counts[place] += count
        found, total = [], 0
        for count in counts[:-1]:
            total += count
            found.append(total)
        return found

    def since(self, earlier: "Distribution") -> "Distribution":
        """Return the values that came after an earlier look at the same loop."""
        return Distribution(self.histogram.since(earlier.histogram), self.unit)

    def _middles(self) -> Iterator[tuple[float, int]]:
        """Yield (middle, count) of each bucket that counted something, in rising order."""
        for bucket, count in enumerate(self.histogram.counts):
            if count:
                low, high = bucket_bounds(bucket)
                yield (low + high - 1) / 2 * self.unit, count


# What only rises: since() gives the difference.
_COUNTER = {"counter": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopMetrics:
    """What ``loop.metrics()`` returns: a loop's numbers at one moment.

    Names that end in ``_s`` are seconds. The loop counts each of its turns, steps and blocks. It times steps
    only while somebody asks it to (see ``EventLoop.metrics``): ``step_time`` and ``scheduling_delay`` are of
    those that were timed.
    """

    thread_name: str  # of the loop's thread
    phase: str  # "running", "polling" (it waits for events) or "stopped"
    time_s: float  # when this was read, as loop.time() tells it
    busy_s: float = dataclasses.field(metadata=_COUNTER)  # time spent running, while run_forever() ran
    idle_s: float = dataclasses.field(metadata=_COUNTER)  # time spent waiting for events
    turns: int = dataclasses.field(metadata=_COUNTER)  # turns so far: the heartbeat
    turn_age_s: float  # how long the turn that runs has lasted, or the step that is timed; 0 while it waits
    steps: int = dataclasses.field(metadata=_COUNTER)  # steps of tasks and other callbacks that ran
    tasks_ready: int
    tasks_running: int  # 1 or 0, but for tasks that step others
    tasks_waiting: int
    tasks_made: int = dataclasses.field(metadata=_COUNTER)
    tasks_done: int = dataclasses.field(metadata=_COUNTER)
    tasks_unseen: int = dataclasses.field(
        metadata=_COUNTER
    )  # tasks for which the page had no room: they are in no other number
    ready: int  # entries in the ready queue as the last turn began; 0 while it waits
    timers: int  # as the last turn began
    fds: int  # file descriptors watched, when the loop waited last
    step_time: Distribution = dataclasses.field(
        metadata=_COUNTER
    )  # how long steps and callbacks took, in seconds
    scheduling_delay: Distribution = dataclasses.field(
        metadata=_COUNTER
    )  # from READY to RUNNING, of tasks, in seconds
    batch: Distribution = dataclasses.field(metadata=_COUNTER)  # entries that a turn ran
    blocks: int = dataclasses.field(metadata=_COUNTER)  # steps that outlasted the limit (GLASSLOOP_SLOW_MS)
    longest_block_s: float  # of the last 64 blocks
    records: int = dataclasses.field(metadata=_COUNTER)  # written while steps were timed
    dropped_records: int = dataclasses.field(
        metadata=_COUNTER
    )  # of these, how many have been overwritten since

    @property
    def utilization(self) -> float:
        """The share of its time, 0 to 1, that the loop spent running and not waiting."""
        return self.busy_s / (self.busy_s + self.idle_s) if self.busy_s + self.idle_s > 0 else 0.0

    @property
    def tasks(self) -> int:
        """Unfinished tasks."""
        return self.tasks_ready + self.tasks_running + self.tasks_waiting

    def since(self, earlier: "LoopMetrics") -> "LoopMetrics":
        """Return the same with all counters and distributions counted from an earlier look at the loop."""
        changes: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            if field.metadata.get("counter"):
                now, then = getattr(self, field.name), getattr(earlier, field.name)
                changes[field.name] = now.since(then) if isinstance(now, Distribution) else max(now - then, 0)
        return dataclasses.replace(self, **changes)


def read_metrics(loop: "EventLoop", timing_s: float) -> LoopMetrics:
    """Return the loop's numbers; ask it to time its steps for so long from now on."""
    with open_page(loop) as (page, recorder):
        # The time first: what is added for the time since the counters were written is never too much.
        now_ns = time.monotonic_ns()
        live = RawLive._make(raw.LIVE.unpack(own_page.live_bytes(recorder).ljust(layout.LIVE.size, b"\0")))
        clock = read_clock(page.header, live)
        if timing_s > 0:
            until = _EVER if timing_s > _LONGEST_S else clock.to_ticks(now_ns + round(timing_s * 1e9))
            page.ask_for_records(until)
        histograms = split_histograms(page.histogram_counts())
        blocks = [max(0, block.seen_ticks - block.began_ticks) for _, block in page.blocks()]
        ready, running, waiting, _ = own_page.count_states(recorder)
    phase = Phase(live.phase)
    busy_ticks, idle_ticks, turn_ns = live.busy_ticks, live.idle_ticks, 0
    if phase is Phase.RUNNING:
        busy_ticks += max(0, clock.to_ticks(now_ns) - live.now_ticks)
        turn_ns = max(0, now_ns - clock.to_ns(live.step_ticks))
    elif phase is Phase.POLLING:
        idle_ticks += max(0, clock.to_ticks(now_ns) - live.poll_ticks)
    tick_s = clock.ns_per_tick / 1e9
    return LoopMetrics(
        thread_name=decode(page.header.thread_name),
        phase=phase.name.lower(),
        time_s=now_ns / 1e9,
        busy_s=busy_ticks * tick_s,
        idle_s=idle_ticks * tick_s,
        turns=live.turns,
        turn_age_s=turn_ns / 1e9,
        steps=live.steps,
        tasks_ready=ready,
        tasks_running=running,
        tasks_waiting=waiting,
        tasks_made=live.tasks_made,
        tasks_done=max(0, live.tasks_made - live.tasks),
        tasks_unseen=live.tasks_unseen,
        ready=live.ready if phase is Phase.RUNNING else 0,
        timers=live.timers,
        fds=live.fds,
        step_time=Distribution(histograms["step"], tick_s),
        scheduling_delay=Distribution(histograms["delay"], tick_s),
        batch=Distribution(histograms["batch"], 1.0),
        blocks=live.blocks,
        longest_block_s=max(blocks, default=0) * tick_s,
        records=live.records,
        dropped_records=max(0, live.records - page.header.record_capacity),
    )


@contextmanager
def open_page(loop: "EventLoop") -> "Iterator[tuple[Page, Any]]":
    """Open a loop's page; raise NoMetricsError if it has none, or lost it meanwhile."""
    recorder = own_page.recorder_of(loop)
    if recorder is None:
        raise NoMetricsError(_why_no_page(loop))
    fd = os.dup(own_page.page_fd(recorder))
    with Page(fd, "this loop's page", pid=os.getpid(), writable=True) as page:
        yield page, recorder
    if own_page.recorder_of(loop) is not recorder:  # another loop may have written it by now
        raise NoMetricsError(_why_no_page(loop))


def _why_no_page(loop: "EventLoop") -> str:
    if loop.is_closed():
        return "the loop is closed, and its numbers went with it"
    if os.environ.get("GLASSLOOP_PAGE") == "0":
        return "GLASSLOOP_PAGE=0 turns the loop's page off, which its numbers come from: start without it"
    if own_page.page_was_refused(loop):
        return (
            "the loop runs without a page, which its numbers come from: the system had no memory or "
            "descriptor for it, or the file of GLASSLOOP_RECORD could not be written"
        )
    return "the loop has neither run nor had a task yet: there are no numbers"
