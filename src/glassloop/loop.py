"""EventLoop: asyncio's own loop with its engine replaced. The table of contents of what is replaced by what.

    what runs per event                              here
    ready queue, timers, turn, tasks, futures        glassloop._core (the Engine below)
    epoll                                            glassloop._io.poller

Everything else (what runs once per connection or per program) is inherited from asyncio.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

from glassloop._core import Engine
from glassloop._io.poller import EpollPoller

_T = TypeVar("_T")


class EventLoop(Engine, asyncio.SelectorEventLoop):
    """An asyncio event loop on glassloop's engine.

    ``selector`` is any ``selectors.BaseSelector``; by default an ``EpollPoller``.
    """

    def __init__(self, selector: selectors.BaseSelector | None = None) -> None:
        if selector is None:
            selector = EpollPoller()
        self._use_poller(selector)
        super().__init__(selector)

    def close(self) -> None:
        super().close()
        self._forget_timers()


def new_event_loop() -> EventLoop:
    """Return a new glassloop event loop: the zero-argument factory that servers and test tools ask for."""
    return EventLoop()


def run(main: Coroutine[Any, Any, _T], *, debug: bool | None = None) -> _T:
    """Run a coroutine on a new glassloop event loop, as ``asyncio.run()`` does on asyncio's."""
    # asyncio.Runner takes a loop_factory since 3.11, asyncio.run() only since 3.12.
    with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        return runner.run(main)
