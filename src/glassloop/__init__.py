"""glassloop: a drop-in event loop for asyncio.

The public face of the package; everything else is an implementation detail of it.
"""

# No more than this: `glassloop why` needs none of asyncio, and is to answer at once.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from glassloop._offload.offloading import offload
    from glassloop._policy import install
    from glassloop.instrument import Instrument
    from glassloop.loop import EventLoop, new_event_loop, run
    from glassloop.metrics import LoopMetrics, NoMetricsError
    from glassloop.task_info import TaskInfo, tasks

__all__ = [
    "EventLoop",
    "Instrument",
    "LoopMetrics",
    "NoMetricsError",
    "TaskInfo",
    "__version__",
    "install",
    "new_event_loop",
    "offload",
    "run",
    "tasks",
]

__version__ = "0.1.0"

# Imported when they are first used.
_LATER = {
    "EventLoop": "glassloop.loop",
    "Instrument": "glassloop.instrument",
    "LoopMetrics": "glassloop.metrics",
    "NoMetricsError": "glassloop.metrics",
    "TaskInfo": "glassloop.task_info",
    "install": "glassloop._policy",
    "new_event_loop": "glassloop.loop",
    "offload": "glassloop._offload.offloading",
    "run": "glassloop.loop",
    "tasks": "glassloop.task_info",
}


def __getattr__(name: str) -> "Any":
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    globals()[name] = value = getattr(import_module(_LATER[name]), name)
    return value


def __dir__() -> "list[str]":
    return sorted({*globals(), *__all__})
