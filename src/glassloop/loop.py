"""EventLoop: asyncio's own loop with its engine replaced. The table of contents of what is replaced by what."""

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


class EventLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop on glassloop's engine."""


def new_event_loop() -> EventLoop:
    """Return a new glassloop event loop: the zero-argument factory that servers and test tools ask for."""
    return EventLoop()


def run(main: Coroutine[Any, Any, _T], *, debug: bool | None = None) -> _T:
    """Run a coroutine on a new glassloop event loop, as ``asyncio.run()`` does on asyncio's."""
    with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        return runner.run(main)


def install() -> None:
    """Make glassloop the loop of ``asyncio.new_event_loop()`` in this process, where asyncio still has policies."""
    if sys.version_info >= (3, 16):
        raise RuntimeError("asyncio has no policies on this Python")
    raise NotImplementedError
