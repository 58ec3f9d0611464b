"""The Prometheus collector, through the real client library and what it exposes."""

import asyncio
import itertools
import math
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator

import pytest

import glassloop
from glassloop._core import native_status

pytest.importorskip("prometheus_client")

from prometheus_client import CollectorRegistry, generate_latest, start_http_server
from prometheus_client.parser import text_string_to_metric_families

from glassloop import prometheus

pytestmark = pytest.mark.skipif(
    os.environ.get("GLASSLOOP_PAGE") == "0", reason="pages are turned off in this run"
)
needs_own_tasks = pytest.mark.skipif(
    native_status()[0] != "native",
    reason="asyncio's own tasks, which this run uses, have no place in the page",
)
PID = str(os.getpid())


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def loop() -> Iterator[glassloop.EventLoop]:
    loop = glassloop.new_event_loop()
    yield loop
    loop.close()


def block(seconds: float) -> None:
    """Keep the loop from its work."""
    time.sleep(seconds)


def samples(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """What a scrape says, read by the library's own parser: (labels, value) by the sample's name."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def scrape(registry: CollectorRegistry) -> dict[str, list[tuple[dict[str, str], float]]]:
    return samples(generate_latest(registry).decode())


def test_counters_and_gauges(registry: CollectorRegistry, loop: glassloop.EventLoop) -> None:
    prometheus.register(loop, registry=registry)

    async def main() -> None:
        await asyncio.sleep(0)
        before = scrape(registry)
        for _ in range(100):
            await asyncio.sleep(0)
        timer = loop.call_later(100, lambda: None)
        block(0.02)
        await asyncio.sleep(0.02)
        after = scrape(registry)
        timer.cancel()
        passed = {name: after[name][0][1] - before[name][0][1] for name in after}
        assert passed["glassloop_turns_total"] == passed["glassloop_batch_entries_count"] >= 101
        assert passed["glassloop_steps_total"] >= 101 and after["glassloop_timers"][0][1] == 1
        assert passed["glassloop_busy_seconds_total"] > 0.019
        assert passed["glassloop_idle_seconds_total"] > 0.015
        assert 0 < after["glassloop_utilization_ratio"][0][1] < 1
        for name, found in after.items():
            for labels, _ in found:
                assert labels.keys() - {"state", "le"} == {"loop", "pid"}, name
                assert (labels["loop"], labels["pid"]) == (threading.current_thread().name, PID)

    loop.run_until_complete(main())


@needs_own_tasks
def test_tasks(registry: CollectorRegistry, loop: glassloop.EventLoop) -> None:
    prometheus.register(loop, registry=registry)

    async def main() -> None:
        event = asyncio.Event()
        waiting = [loop.create_task(event.wait()) for _ in range(5)]
        await asyncio.sleep(0)
        waiting.append(loop.create_task(event.wait()))
        found = scrape(registry)
        states = {labels["state"]: value for labels, value in found["glassloop_tasks"]}
        assert states == {"ready": 1, "running": 1, "waiting": 5}
        event.set()
        await asyncio.gather(*waiting)
        found = scrape(registry)
        assert found["glassloop_tasks_created_total"][0][1] == 7
        assert found["glassloop_tasks_finished_total"][0][1] == 6

    loop.run_until_complete(main())


@needs_own_tasks
def test_histograms(registry: CollectorRegistry, loop: glassloop.EventLoop) -> None:
    prometheus.register(loop, registry=registry, timing_s=math.inf)

    async def main() -> None:
        scrape(registry)
        await asyncio.sleep(0)
        before = scrape(registry)
        for _ in range(50):
            await asyncio.sleep(0)
        block(0.04)
        await asyncio.sleep(0)
        after = scrape(registry)
        for name in ("step_duration_seconds", "scheduling_delay_seconds"):
            earlier, later = (
                {labels["le"]: value for labels, value in found[f"glassloop_{name}_bucket"]}
                for found in (before, after)
            )
            assert list(later.values()) == sorted(later.values())
            assert len(later) == len(prometheus.SECONDS) + 1 and "1e-06" in later and "+Inf" in later
            assert later["+Inf"] == after[f"glassloop_{name}_count"][0][1]
            assert later["+Inf"] - earlier["+Inf"] == 51
        steps = {labels["le"]: value for labels, value in after["glassloop_step_duration_seconds_bucket"]}
        assert steps["+Inf"] - steps["0.025"] >= 1  # the one of 40 ms
        assert after["glassloop_step_duration_seconds_sum"][0][1] > 0.04 * 0.87
        batches = {labels["le"]: value for labels, value in after["glassloop_batch_entries_bucket"]}
        assert batches["1.0"] == batches["+Inf"] == after["glassloop_batch_entries_sum"][0][1]

    loop.run_until_complete(main())


def test_all_loops_of_the_process(registry: CollectorRegistry) -> None:
    """Also those that come later; a closed one is gone, and one that has not run has no numbers."""
    prometheus.register(registry=registry)
    fresh = glassloop.new_event_loop()
    started, end = threading.Barrier(3), threading.Event()

    async def main() -> None:
        started.wait()
        while not end.is_set():
            await asyncio.sleep(0.001)

    threads = [threading.Thread(target=lambda: glassloop.run(main()), name="one of two") for _ in range(2)]
    for thread in threads:
        thread.start()
    started.wait()
    loops = [labels["loop"] for labels, _ in scrape(registry)["glassloop_turns_total"]]
    ours = sorted(label for label in loops if label.startswith("one of two"))
    assert ours == ["one of two", "one of two 2"]
    end.set()
    for thread in threads:
        thread.join()
    loops = [labels["loop"] for labels, _ in scrape(registry).get("glassloop_turns_total", [])]
    assert not any(label.startswith("one of two") for label in loops)
    fresh.close()


def test_scraped_over_http_while_the_loop_is_stuck(loop: glassloop.EventLoop) -> None:
    registry = CollectorRegistry()
    prometheus.register(loop, registry=registry)
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    stuck, go_on = threading.Event(), threading.Event()

    async def main() -> None:
        stuck.set()
        go_on.wait()

    runner = threading.Thread(target=lambda: loop.run_until_complete(main()))
    runner.start()
    stuck.wait()
    block(0.02)
    with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics") as response:
        found = samples(response.read().decode())
    assert found["glassloop_turn_age_seconds"][0][1] > 0.019
    go_on.set()
    runner.join()
    server.shutdown()
    server.server_close()
    thread.join()


def test_counters_never_fall(registry: CollectorRegistry, loop: glassloop.EventLoop) -> None:
    prometheus.register(loop, registry=registry)
    seen: list[dict[str, float]] = []

    async def main() -> None:
        for _ in range(300):
            await asyncio.sleep(0.0001)
            found = scrape(registry)
            seen.append({name: found[name][0][1] for name in found if name.endswith("_total")})

    loop.run_until_complete(main())
    for earlier, later in itertools.pairwise(seen):
        assert all(later[name] >= earlier[name] for name in earlier)


def test_registered_twice_is_refused(registry: CollectorRegistry, loop: glassloop.EventLoop) -> None:
    prometheus.register(loop, registry=registry)
    with pytest.raises(ValueError, match="Duplicated"):
        prometheus.register(loop, registry=registry)


def run_program(source: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", source],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_without_a_page_nothing_is_collected_and_one_warning_given() -> None:
    done = run_program(
        """
import logging
logging.basicConfig()
import asyncio, glassloop, glassloop.prometheus
from prometheus_client import CollectorRegistry, generate_latest
registry = CollectorRegistry()
glassloop.prometheus.register(registry=registry)
async def main():
    await asyncio.sleep(0)
    for _ in range(3):
        print([line for line in generate_latest(registry).decode().splitlines() if line[0] != "#"])
glassloop.run(main())
""",
        GLASSLOOP_PAGE="0",
    )
    assert done.stdout == "[]\n" * 3
    assert done.stderr.count("WARNING") == 1 and "GLASSLOOP_PAGE=0" in done.stderr


def test_with_asyncio_s_own_tasks() -> None:
    done = run_program(
        """
import asyncio, glassloop, glassloop.prometheus
from prometheus_client import CollectorRegistry
registry = CollectorRegistry()
glassloop.prometheus.register(registry=registry)
async def main():
    await asyncio.sleep(0.001)
    [sample] = [s for m in registry.collect() for s in m.samples if s.name == "glassloop_turns_total"]
    print(sample.value > 0)
glassloop.run(main())
""",
        GLASSLOOP_TASKS="stock",
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_a_missing_library_is_named() -> None:
    done = run_program("import sys; sys.modules['prometheus_client'] = None; import glassloop.prometheus")
    assert "glassloop.prometheus needs prometheus-client" in done.stderr
    assert "pip install 'glassloop[prometheus]'" in done.stderr
