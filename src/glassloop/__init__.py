"""glassloop: a drop-in event loop for asyncio.

The public face of the package; everything else is an implementation detail of it.
"""

from typing import TYPE_CHECKING, Any

from glassloop._policy import install
from glassloop.loop import EventLoop, new_event_loop, run

if TYPE_CHECKING:
    from glassloop.instrument import Instrument
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
    "run",
    "tasks",
]

__version__ = "0.1.0"

# Imported when they are first used: most programs never look at themselves.
_LATER = {
    "Instrument": "glassloop.instrument",
    "LoopMetrics": "glassloop.metrics",
    "NoMetricsError": "glassloop.metrics",
    "TaskInfo": "glassloop.task_info",
    "tasks": "glassloop.task_info",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    globals()[name] = value = getattr(import_module(_LATER[name]), name)
    return value
