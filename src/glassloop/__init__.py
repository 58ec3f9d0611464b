"""glassloop: a drop-in event loop for asyncio.

The public face of the package; everything else is an implementation detail of it.
"""

# No more than this: `glassloop why` needs none of asyncio, and is to answer at once.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from glassloop._offload.offloading import offload
    from glassloop._policy import install
    from glassloop.files import *  # noqa: F403 - its __all__ is also ours: see _FILES
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

# What glassloop.files has. It is not in __all__: a star import must not hide Python's own open().
# fmt: off
_FILES = frozenset((
    "BinaryFile", "RawFile", "TextFile", "access", "chmod", "chown", "copy", "copy2", "copyfile",
    "copytree", "exists", "is_dir", "is_file", "is_symlink", "lexists", "link", "listdir", "lstat",
    "makedirs", "mkdir", "move", "open", "read_bytes", "read_text", "readlink", "remove", "removedirs",
    "rename", "renames", "replace", "rmdir", "rmtree", "samefile", "scandir", "stat", "statvfs",
    "symlink", "touch", "truncate", "unlink", "utime", "walk", "write_bytes", "write_text",
))
# fmt: on


def __getattr__(name: str) -> "Any":
    module = "glassloop.files" if name in _FILES else _LATER.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    globals()[name] = value = getattr(import_module(module), name)
    return value


def __dir__() -> "list[str]":
    return sorted({*globals(), *__all__, *_FILES})
