"""A history as JSON: everything, for other programs to read. Times are ns from the beginning."""

import json
from typing import Any

from glassloop.glass.history import History, Lane, WakeUp
from glassloop.glass.layout import Running, State


def to_json(history: History) -> str:
    """Return the history as one JSON object."""
    return json.dumps(describe(history), indent=1)


def describe(history: History) -> dict[str, Any]:
    """Return the history as plain values."""
    start_ns = history.start_ns
    return {
        "pid": history.pid,
        "command": list(history.command),
        "start_ns": start_ns,
        "length_ns": history.end_ns - start_ns,
        "records": history.records,
        "lost_records": history.lost,
        "missing_before_ns": history.cut_ns,
        "tasks": [_lane(lane, history) for lane in history.lanes],
        "calls": [
            {
                "start_ns": call.start_ns - start_ns,
                "end_ns": call.end_ns - start_ns,
                "running": call.running.name.lower(),
                "descriptor": call.fd if call.fd >= 0 else None,
            }
            for call in history.calls
        ],
    }


def _lane(lane: Lane, history: History) -> dict[str, Any]:
    return {
        "id": lane.task_id,
        "name": lane.name,
        "coroutine": lane.function or None,
        "intervals": [
            {
                "state": interval.state.name.lower(),
                "start_ns": interval.start_ns - history.start_ns,
                "end_ns": interval.end_ns - history.start_ns,
                **(
                    {"waits_for": history.wait_text(interval.site)} if interval.state is State.WAITING else {}
                ),
            }
            for interval in lane.intervals
        ],
        "wakeups": [_wakeup(wakeup, history) for wakeup in lane.wakeups],
    }


def _wakeup(wakeup: WakeUp, history: History) -> dict[str, Any]:
    by_task = wakeup.by is Running.TASK
    return {
        "at_ns": wakeup.at_ns - history.start_ns,
        "cause": wakeup.cause.name.lower(),
        "by": wakeup.by.name.lower(),
        "task": wakeup.by_id if by_task and wakeup.by_id else None,
        "descriptor": wakeup.by_id - 1 if not by_task and wakeup.by_id else None,
    }
