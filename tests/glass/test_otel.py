"""The OpenTelemetry instruments, through the real SDK."""

import asyncio
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

import glassloop
from glassloop._core import native_status

pytest.importorskip("opentelemetry.sdk")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import Gauge, InMemoryMetricReader, Metric, NumberDataPoint, Sum

from glassloop import otel

pytestmark = pytest.mark.skipif(
    os.environ.get("GLASSLOOP_PAGE") == "0", reason="pages are turned off in this run"
)
needs_own_tasks = pytest.mark.skipif(
    native_status()[0] != "native",
    reason="asyncio's own tasks, which this run uses, have no place in the page",
)
TIMED = {
    f"glassloop.eventloop.{what}.{share}" for what in ("delay", "step") for share in ("p50", "p99", "p999")
}


def block(seconds: float) -> None:
    """Keep the loop from its work."""
    time.sleep(seconds)


class Collected:
    """A reader of its own, asked when the test likes."""

    def __init__(self) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)

    def metrics(self) -> dict[str, Metric]:
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def points(self) -> dict[str, list[NumberDataPoint]]:
        found = {}
        for name, metric in self.metrics().items():
            assert isinstance(metric.data, Gauge | Sum)
            if metric.data.data_points:
                found[name] = list(metric.data.data_points)
        return found

    def values(self) -> dict[str, float]:
        """Each metric's first value."""
        return {name: points[0].value for name, points in self.points().items()}


@pytest.fixture
def collected() -> Iterator[Collected]:
    collected = Collected()
    yield collected
    collected.provider.shutdown()


@pytest.fixture
def loop() -> Iterator[glassloop.EventLoop]:
    loop = glassloop.new_event_loop()
    yield loop
    loop.close()


@needs_own_tasks
def test_known_numbers(collected: Collected, loop: glassloop.EventLoop) -> None:
    otel.instrument(collected.provider, loop=loop)

    async def main() -> None:
        event = asyncio.Event()
        waiting = [loop.create_task(event.wait()) for _ in range(4)]
        await asyncio.sleep(0)
        waiting.append(loop.create_task(event.wait()))
        before = collected.values()
        points = collected.points()
        states = {
            point.attributes["glassloop.task.state"]: point.value
            for point in points["glassloop.task.count"]
            if point.attributes
        }
        assert states == {"ready": 1, "running": 1, "waiting": 4}
        for _ in range(100):
            await asyncio.sleep(0)
        event.set()
        await asyncio.gather(*waiting)
        after = collected.values()
        assert after["glassloop.task.created"] == 6 and after["glassloop.task.finished"] == 5
        assert after["glassloop.eventloop.turns"] - before["glassloop.eventloop.turns"] >= 100
        for found in points.values():
            for point in found:
                assert point.attributes is not None
                assert point.attributes["process.pid"] == os.getpid()
                assert point.attributes["thread.name"] == threading.current_thread().name

    loop.run_until_complete(main())


def test_time_and_utilization(collected: Collected, loop: glassloop.EventLoop) -> None:
    otel.instrument(collected.provider, loop=loop)

    def times() -> tuple[float, float]:
        by_state = {
            point.attributes["glassloop.eventloop.state"]: point.value
            for point in collected.points()["glassloop.eventloop.time"]
            if point.attributes
        }
        return by_state["active"], by_state["idle"]

    async def main() -> None:
        await asyncio.sleep(0)
        active, idle = times()
        block(0.02)
        await asyncio.sleep(0.02)
        later_active, later_idle = times()
        assert later_active - active > 0.019 and later_idle - idle > 0.015
        await asyncio.sleep(0.03)
        resting = collected.values()["glassloop.eventloop.utilization"]
        block(0.03)
        working = collected.values()["glassloop.eventloop.utilization"]
        assert resting < working == 1.0

    loop.run_until_complete(main())


@needs_own_tasks
@pytest.mark.skipif(
    bool(os.environ.get("GLASSLOOP_PAGE")), reason="the page is not the usual one in this run"
)
def test_quantiles_are_those_since_the_collection_before(
    collected: Collected, loop: glassloop.EventLoop
) -> None:
    otel.instrument(collected.provider, loop=loop, timing_s=math.inf)

    async def main() -> None:
        assert not TIMED & collected.values().keys()  # nothing is timed before the first collection
        await asyncio.sleep(0)
        block(0.03)
        await asyncio.sleep(0)
        found = collected.values()
        assert found.keys() >= TIMED and found["glassloop.eventloop.step.p999"] > 0.03 * 0.87
        for _ in range(1000):
            await asyncio.sleep(0)
        found = collected.values()
        assert found["glassloop.eventloop.step.p50"] <= found["glassloop.eventloop.step.p99"]
        assert found["glassloop.eventloop.step.p50"] < 0.03 * 0.87
        assert found["glassloop.eventloop.batch.p99"] == 1.0

    loop.run_until_complete(main())


def test_kinds_and_units(collected: Collected, loop: glassloop.EventLoop) -> None:
    otel.instrument(collected.provider, loop=loop)
    loop.run_until_complete(asyncio.sleep(0))
    metrics = collected.metrics()
    for name, unit, monotonic in (
        ("eventloop.time", "s", True),
        ("eventloop.turns", "{turn}", True),
        ("task.count", "{task}", False),
        ("eventloop.timers", "{timer}", False),
    ):
        metric = metrics[f"glassloop.{name}"]
        assert metric.unit == unit and isinstance(metric.data, Sum) and metric.data.is_monotonic == monotonic
    assert metrics["glassloop.eventloop.utilization"].unit == "1"
    assert isinstance(metrics["glassloop.eventloop.utilization"].data, Gauge)
    assert all(metric.description for metric in metrics.values())


def test_one_look_serves_all_instruments(
    collected: Collected, loop: glassloop.EventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    read = glassloop.EventLoop.metrics

    def counted(self: glassloop.EventLoop, *, timing_s: float = 1.0) -> glassloop.LoopMetrics:
        nonlocal looks
        looks += 1
        return read(self, timing_s=timing_s)

    monkeypatch.setattr(glassloop.EventLoop, "metrics", counted)
    otel.instrument(collected.provider, loop=loop)
    loop.run_until_complete(asyncio.sleep(0))
    for expected in (1, 2, 3):
        assert len(collected.values()) >= 10 and looks == expected


def test_loops_that_come_later(collected: Collected) -> None:
    otel.instrument(collected.provider)

    async def main() -> None:
        await asyncio.sleep(0)
        turns = collected.points()["glassloop.eventloop.turns"]
        assert threading.current_thread().name in [
            point.attributes["thread.name"] for point in turns if point.attributes
        ]

    glassloop.run(main())
    glassloop.run(main())


def test_a_missing_library_is_named() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.modules['opentelemetry'] = None; import glassloop.otel"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "glassloop.otel needs opentelemetry-api" in done.stderr
    assert "pip install 'glassloop[otel]'" in done.stderr
