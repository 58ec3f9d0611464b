"""What the exporters share: the numbers of this process's loops, look after look."""

import itertools
import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from glassloop._core.scheduler import loops
from glassloop.loop import EventLoop
from glassloop.metrics import LoopMetrics, NoMetricsError

_numbers = itertools.count()
# Under it a loop's order of being met is kept in the loop itself.
_ORDER: Final = "_glassloop_observed_as"


@dataclass(frozen=True, slots=True)
class Seen:
    """One loop at one look."""

    label: str  # its thread's name; made unique where several loops share it
    now: LoopMetrics
    passed: LoopMetrics  # the same since the look before


class Observer:
    """Looks at one loop, or at every loop that this process has at the time, and remembers the look before.

    Any thread may look. What has no numbers, as it has not run yet, is closed or has no page, is left out.
    """

    def __init__(self, loop: EventLoop | None, timing_s: float) -> None:
        """``timing_s`` is for how long each look has steps timed: see ``EventLoop.metrics``."""
        self._loop = loop
        self._timing_s = timing_s
        self._lock = threading.Lock()
        self._before: dict[int, LoopMetrics] = {}
        self._warned = False

    def look(self) -> list[Seen]:
        """Return what the loops' numbers are now, in the order in which the loops were first met."""
        with self._lock:
            found = {}
            for loop in all_loops() if self._loop is None else [self._loop]:
                try:
                    metrics = loop.metrics(timing_s=self._timing_s)
                except NoMetricsError as error:
                    self._warn(error)
                    continue
                found[loop.__dict__.setdefault(_ORDER, next(_numbers))] = metrics
            seen = []
            labels: dict[str, int] = {}
            for number, metrics in sorted(found.items(), key=lambda item: item[0]):
                now = _never_less(metrics, self._before.get(number))
                labels[now.thread_name] = count = labels.get(now.thread_name, 0) + 1
                label = f"{now.thread_name} {count}" if count > 1 else now.thread_name
                passed = now.since(self._before[number]) if number in self._before else now
                seen.append(Seen(label, now, passed))
                found[number] = now
            self._before = found
            return seen

    def _warn(self, error: NoMetricsError) -> None:
        if not self._warned and "GLASSLOOP_" in str(error):
            self._warned = True
            logging.getLogger("glassloop").warning("No metrics of the event loop are exported: %s", error)


def all_loops() -> Iterable[EventLoop]:
    """Return the loops of this process, some of which may be closed."""
    return [loop for loop in loops() if isinstance(loop, EventLoop)]


def _never_less(now: LoopMetrics, before: LoopMetrics | None) -> LoopMetrics:
    """Return the same with times that never fall: the clock they are told by is calibrated ever better.

    A counter that falls means a new beginning to whoever collects, however little it falls.
    """
    if before is None:
        return now
    return replace(now, busy_s=max(now.busy_s, before.busy_s), idle_s=max(now.idle_s, before.idle_s))
