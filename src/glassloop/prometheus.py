"""A Prometheus collector: ``pip install glassloop[prometheus]``.

    from prometheus_client import start_http_server
    import glassloop.prometheus

    glassloop.prometheus.register()
    start_http_server(8000)
    glassloop.run(main())

Utilization over any interval, with ``busy`` for ``glassloop_busy_seconds_total`` and ``idle`` likewise, is
``rate(busy[5m]) / (rate(busy[5m]) + rate(idle[5m]))``.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from itertools import starmap

try:
    from prometheus_client import REGISTRY, CollectorRegistry
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
    from prometheus_client.registry import Collector
    from prometheus_client.utils import floatToGoString
except ImportError as error:
    raise ImportError(
        f"glassloop.prometheus needs prometheus-client ({error}): pip install 'glassloop[prometheus]'",
        name=error.name,
    ) from error

from glassloop._observer import Observer, Seen
from glassloop.loop import EventLoop
from glassloop.metrics import Distribution, LoopMetrics

# The same on every machine, so that histograms of several can be added: 1 microsecond to 10 seconds.
SECONDS: tuple[float, ...] = (
    *(float(f"{digits}e{power}") for power in range(-6, 1) for digits in (1, 2.5, 5)),
    10.0,
)
ENTRIES: tuple[float, ...] = tuple(float(1 << power) for power in range(17))
_LABELS = ("loop", "pid")

_COUNTERS: tuple[tuple[str, str, Callable[[LoopMetrics], float]], ...] = (
    ("busy_seconds", "Time that the event loop spent running.", lambda m: m.busy_s),
    ("idle_seconds", "Time that the event loop spent waiting for events.", lambda m: m.idle_s),
    ("turns", "Turns of the event loop: its heartbeat.", lambda m: m.turns),
    ("steps", "Steps of tasks and other callbacks that ran.", lambda m: m.steps),
    ("tasks_created", "Tasks made.", lambda m: m.tasks_made),
    ("tasks_finished", "Tasks done.", lambda m: m.tasks_done),
    ("blocks", "Steps that kept the event loop for longer than GLASSLOOP_SLOW_MS.", lambda m: m.blocks),
    ("dropped_records", "Records of steps that were overwritten by later ones.", lambda m: m.dropped_records),
)
_GAUGES: tuple[tuple[str, str, Callable[[LoopMetrics], float]], ...] = (
    (
        "utilization_ratio",
        "Share of its time that the event loop ran, since it was made.",
        lambda m: m.utilization,
    ),
    ("ready_entries", "Entries of the ready queue as the last turn began.", lambda m: m.ready),
    ("timers", "Timers as the last turn began.", lambda m: m.timers),
    ("watched_fds", "File descriptors watched when the event loop waited last.", lambda m: m.fds),
    ("turn_age_seconds", "How long the turn that runs has lasted; 0 while it waits.", lambda m: m.turn_age_s),
    ("longest_block_seconds", "The longest of the last 64 blocks.", lambda m: m.longest_block_s),
)
_HISTOGRAMS: tuple[tuple[str, str, Sequence[float], Callable[[LoopMetrics], Distribution]], ...] = (
    (
        "step_duration_seconds",
        "Length of steps and callbacks, of those timed.",
        SECONDS,
        lambda m: m.step_time,
    ),
    (
        "scheduling_delay_seconds",
        "Time from READY to RUNNING of tasks, of those timed.",
        SECONDS,
        lambda m: m.scheduling_delay,
    ),
    ("batch_entries", "Entries of the ready queue that a turn ran.", ENTRIES, lambda m: m.batch),
)


class LoopCollector(Collector):
    """Collects the numbers of one loop, or of every loop that this process has at the time.

    Its labels are ``loop``, the name of the loop's thread, and ``pid``. Each scrape has steps timed for the
    next ``timing_s`` seconds, so that the two histograms of times are of a sample: ``math.inf`` times all.
    A loop without numbers (``GLASSLOOP_PAGE=0``) is left out, with one warning of the logger ``glassloop``.
    """

    def __init__(self, loop: EventLoop | None = None, *, timing_s: float = 1.0) -> None:
        self._observer = Observer(loop, timing_s)

    def describe(self) -> list[Metric]:
        """Return the families without values: a registry asks for their names."""
        return list(_families([]))

    def collect(self) -> Iterator[Metric]:
        """Yield each family with the loops' values as they are now; any thread may ask."""
        return _families(self._observer.look())


def register(
    loop: EventLoop | None = None, *, registry: CollectorRegistry = REGISTRY, timing_s: float = 1.0
) -> LoopCollector:
    """Register a collector, and return it. ValueError if the registry has one already."""
    collector = LoopCollector(loop, timing_s=timing_s)
    registry.register(collector)
    return collector


def _families(seen: list[Seen]) -> Iterator[Metric]:
    pid = str(os.getpid())
    loops = [((one.label, pid), one.now) for one in seen]
    for name, text, value in _COUNTERS:
        counter = CounterMetricFamily(f"glassloop_{name}", text, labels=_LABELS)
        for labels, metrics in loops:
            counter.add_metric(labels, value(metrics))
        yield counter
    for name, text, value in _GAUGES:
        gauge = GaugeMetricFamily(f"glassloop_{name}", text, labels=_LABELS)
        for labels, metrics in loops:
            gauge.add_metric(labels, value(metrics))
        yield gauge
    tasks = GaugeMetricFamily(
        "glassloop_tasks", "Unfinished tasks by their state.", labels=(*_LABELS, "state")
    )
    for labels, metrics in loops:
        tasks.add_metric((*labels, "ready"), metrics.tasks_ready)
        tasks.add_metric((*labels, "running"), metrics.tasks_running)
        tasks.add_metric((*labels, "waiting"), metrics.tasks_waiting)
    yield tasks
    for name, text, bounds, distribution in _HISTOGRAMS:
        histogram = HistogramMetricFamily(f"glassloop_{name}", text, labels=_LABELS)
        for labels, metrics in loops:
            counted = distribution(metrics)
            buckets = list(starmap(_bucket, zip(bounds, counted.up_to(bounds), strict=True)))
            histogram.add_metric(labels, [*buckets, ("+Inf", float(counted.count))], counted.sum)
        yield histogram


def _bucket(bound: float, count: int) -> tuple[str, float]:
    return floatToGoString(bound), float(count)  # type: ignore[no-untyped-call]  # it has no types
