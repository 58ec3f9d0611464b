"""What the page costs: the same work with GLASSLOOP_PAGE=0 and by default, in one interleaved run.

    python tools/page_overhead.py [--rounds 7] [--quick] [--json]

Each measurement has a process of its own, and the two ways take turns. Of tasks the least CPU time of all
rounds counts, of servers the median of their CPU time for a request. The exit status is 1 if a target is
missed. Servers need gcc, wrk, uvicorn with httptools, aiohttp: what is missing is skipped, with the reason.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from benchmarks.questions import Effort

# Prints one number: CPU ns for each operation, or bytes for each task.
_HEAD = """
import asyncio, gc, os, time, types
import glassloop
@types.coroutine
def give_way():
    yield
async def nothing():
    pass
def ns_each(count, main):
    best = None
    for _ in range(5):
        began = time.process_time_ns()
        glassloop.run(main(count))
        took = (time.process_time_ns() - began) / count
        best = took if best is None else min(best, took)
    print(best)
"""
_YIELD = """
async def worker(count):
    for _ in range(count):
        await give_way()
async def main(count):
    await asyncio.gather(*(worker(count // 10) for _ in range(10)))
ns_each(300_000, main)
"""
_RUN = """
best = None
for _ in range(30):
    began = time.process_time_ns()
    for _ in range(100):
        RUN(nothing())
    took = (time.process_time_ns() - began) / 100
    best = took if best is None else min(best, took)
print(best)
"""
# What the page takes of shared memory: a memfd has blocks where it was written.
_BYTES = """
async def main():
    loop = asyncio.get_running_loop()
    page = next((fd for fd in os.listdir("/proc/self/fd") if "memfd:glassloop" in link(fd)), None)
    def used():
        return os.stat(f"/proc/self/fd/{page}").st_blocks * 512 if page is not None else 0
    async def wait():
        await loop.create_future()
    async def fill(count):
        tasks.extend([loop.create_task(wait()) for _ in range(count)])
        await asyncio.sleep(0)
    tasks = []
    await fill(1_000)
    before = used()
    await fill(100_000)
    print((used() - before) / 100_000)
    for task in tasks:
        task.cancel()
def link(fd):
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""
glassloop.run(main())
"""


class Row(NamedTuple):
    """One question, answered: without the page (or by asyncio), with it."""

    name: str
    unit: str
    without: float
    with_page: float
    most: float | None  # the target: of the ratio, or of the number where nothing is compared

    @property
    def value(self) -> float:
        """What the target is about."""
        return self.with_page / self.without if self.without else self.with_page

    @property
    def is_met(self) -> bool:
        """Whether the target is met, where there is one."""
        return self.most is None or self.value <= self.most


@contextmanager
def _page(setting: str | None) -> Iterator[None]:
    """What is started meanwhile has GLASSLOOP_PAGE so; None: by default."""
    before = os.environ.pop("GLASSLOOP_PAGE", None)
    if setting is not None:
        os.environ["GLASSLOOP_PAGE"] = setting
    try:
        yield
    finally:
        os.environ.pop("GLASSLOOP_PAGE", None)
        if before is not None:
            os.environ["GLASSLOOP_PAGE"] = before


def _number_of(source: str) -> float:
    command = [sys.executable, "-c", _HEAD + source]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _compare(
    name: str,
    unit: str,
    most: float | None,
    rounds: int,
    measure: Callable[[], float],
    choose: Callable[[list[float]], float],
) -> Row:
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for samples, setting in zip(found, ("0", None), strict=True):
            with _page(setting):
                samples.append(measure())
    return Row(name, unit, choose(found[0]), choose(found[1]), most)


def task_rows(rounds: int) -> Iterator[Row]:
    """Ask what tasks cost."""
    for name, source in (
        ("bare yield", _YIELD),
        ("sleep(0)", _YIELD.replace("give_way()", "asyncio.sleep(0)")),
    ):
        yield _compare(name, "CPU ns a switch", 1.12, rounds, partial(_number_of, source), min)
    ours, stock = [], []
    for _ in range(rounds):
        stock.append(_number_of(_RUN.replace("RUN", "asyncio.run")))
        ours.append(_number_of(_RUN.replace("RUN", "glassloop.run")))
    yield Row("run(noop()) against asyncio's", "CPU ns", min(stock), min(ours), 1.0)
    yield Row("memory", "bytes a task", 0, _number_of(_BYTES), 100)


def _cpu_of(measure: "Callable[[str, Effort], dict[str, float]]", effort: "Effort") -> float:
    return measure("glassloop", effort)["cpu"]


def server_rows(rounds: int, *, quick: bool) -> Iterator[Row | str]:
    """Ask what requests cost; yield the reason where a question cannot be asked."""
    from benchmarks import http, network, questions, quiet
    from benchmarks.native import compile_native

    effort = questions.QUICK if quick else questions.FULL
    quiet.isolate()
    with tempfile.TemporaryDirectory() as folder:
        asked = [*network.questions(compile_native(Path(folder))), *http.questions()]
        for name, title in (
            ("echo_1k_100", "TCP echo 1 KiB × 100"),
            ("uvicorn", "uvicorn"),
            ("aiohttp", "aiohttp"),
        ):
            question = next(one for one in asked if one.name == name)
            if question.unavailable:
                yield f"{title}: {question.unavailable}"
                continue
            yield _compare(
                title,
                "CPU µs a request",
                1.03,
                rounds,
                partial(_cpu_of, question.measure, effort),
                statistics.median,
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="shorter measurements of servers")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    sys.path.insert(0, str(Path(__file__).parents[1]))  # the benchmarks' servers
    os.chdir(Path(__file__).parents[1])
    rows: list[Row] = []
    for source in (task_rows(given.rounds), server_rows(given.rounds, quick=given.quick)):
        for row in source:
            if isinstance(row, str):
                print(f"skipped: {row}", file=sys.stderr)
                continue
            rows.append(row)
            if not given.json:
                ratio = f"× {row.value:.3f}" if row.without else f"  {row.value:.0f}"
                target = f"at most {row.most:g}{'' if row.is_met else '  MISSED'}"
                print(
                    f"{row.name:<30} {row.without:>9.2f} → {row.with_page:>9.2f} {row.unit:<17} "
                    f"{ratio:>9}  {target}",
                    flush=True,
                )
    if given.json:
        print(json.dumps([row._asdict() | {"is_met": row.is_met} for row in rows], indent=2))
    return 0 if all(row.is_met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
