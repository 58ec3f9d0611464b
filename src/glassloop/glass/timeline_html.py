"""A history as one web page that needs nothing else: no network, no other file.

The page itself is ``timeline.html`` beside this module; here its data are made and put into it.
"""

import json
from importlib import resources
from typing import Any

from glassloop.glass.history import History, Lane
from glassloop.glass.layout import Running, State

_DATA_MARK = "/*DATA*/null"
_TITLE_MARK = "<!--TITLE-->"


def to_html(history: History) -> str:
    """Return the page's text."""
    page = resources.files("glassloop.glass").joinpath("timeline.html").read_text(encoding="utf-8")
    # In a script, `<` could end it: JSON has another way to write it.
    data = json.dumps(pack(history), separators=(",", ":")).replace("<", "\\u003c")
    title = " ".join(history.command).replace("&", "&amp;").replace("<", "&lt;")
    return page.replace(_TITLE_MARK, title, 1).replace(_DATA_MARK, data, 1)


def pack(history: History) -> dict[str, Any]:
    """Return what the page draws. Long lists are flat; times are ns from the beginning.

    ``states``: of each lane state, start, length, site, and again. ``wakes``: time, the waker's lane or -1,
    the lane, the cause, what ran, and the descriptor or -1.
    """
    numbers = {lane.task_id: number for number, lane in enumerate(history.lanes)}
    used = sorted({interval.site for lane in history.lanes for interval in lane.intervals if interval.site})
    wakes: list[int] = []
    for lane in history.lanes:
        for wakeup in lane.wakeups:
            by_task = wakeup.by is Running.TASK
            wakes += (
                wakeup.at_ns - history.start_ns,
                numbers.get(wakeup.by_id, -1) if by_task else -1,
                numbers[lane.task_id],
                wakeup.cause,
                wakeup.by,
                -1 if by_task else wakeup.by_id - 1,
            )
    calls: list[int] = []
    for call in history.calls:
        calls += (call.start_ns - history.start_ns, call.end_ns - call.start_ns, call.running, call.fd)
    return {
        "pid": history.pid,
        "command": " ".join(history.command),
        "length": history.length_ns,
        "records": history.records,
        "lost": history.lost,
        "cut": history.cut_ns,
        "lanes": [
            {
                "id": lane.task_id,
                "name": lane.name,
                "function": lane.function,
                "done": lane.is_done,
                "states": _states(lane, history.start_ns),
            }
            for lane in history.lanes
        ],
        "sites": {str(site): history.wait_text(site) for site in used},
        "wakes": wakes,
        "calls": calls,
    }


def _states(lane: Lane, start_ns: int) -> list[int]:
    flat: list[int] = []
    for interval in lane.intervals:
        if interval.state is not State.DONE:
            flat += (interval.state, interval.start_ns - start_ns, interval.length_ns, interval.site)
    return flat
