"""Scheduling: the questions about tasks, futures, timers and callbacks, each to a worker process."""

import sys
from functools import partial

from benchmarks import loops, node, processes
from benchmarks.callbacks import CALLBACKS
from benchmarks.native import Native
from benchmarks.questions import Better, Effort, Figure, Question
from benchmarks.tasks import TASKS

_COUNT_MIN = 1000
_NODE_HAS = frozenset({"call_later_cancel", "concurrent_sleeps", "lateness"})

WORKLOADS = TASKS | CALLBACKS


def questions(native: Native) -> list[Question]:
    """Return the questions of this family."""
    return [
        Question(
            "scheduling",
            name,
            workload.title,
            (Figure("value", workload.unit, Better.LESS, workload.target_ratio, workload.target_value),),
            workload.summary,
            partial(_measure, name, native),
            has_limit=workload.coroutines is not None and native.drive_missing is None,
            has_node=name in _NODE_HAS,
        )
        for name, workload in WORKLOADS.items()
    ]


def _measure(name: str, native: Native, loop: str, effort: Effort) -> dict[str, float]:
    workload = WORKLOADS[name]
    count = max(int(workload.count * effort.scale), min(workload.count, _COUNT_MIN))
    repeats = effort.repeats if workload.repeats is None else workload.repeats
    if loop == loops.NODE:
        command = node.script("timers", name, count, repeats)
        return {"value": float(processes.run(command, time_limit_s=effort.time_limit_s))}
    command = [sys.executable, "-m", "benchmarks.worker", name, loop, str(count), str(repeats)]
    if loop == loops.LIMIT:
        command.append(native.drive)
    return {"value": float(processes.run(command, time_limit_s=effort.time_limit_s))}
