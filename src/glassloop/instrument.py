"""Instrument: what a program's own object may hear of a loop, with the names of ``trio.abc.Instrument``.

    class Steps(glassloop.Instrument):
        def before_task_step(self, task): ...

    loop.add_instrument(Steps())

An instrument for trio works unchanged where it uses of a task only what an ``asyncio.Task`` has too.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from glassloop._core import native_status
from glassloop._core.instruments import HOOKS

if TYPE_CHECKING:
    from glassloop.loop import EventLoop


class Instrument:
    """A base for instruments, which they may also do without: what is not overridden is not called.

    The methods run in the loop's thread, between steps: no task is the current one. They must be quick, and
    must not raise: whoever does is removed, and the loop's exception handler is told. Tasks are the loop's
    own (``glassloop doctor`` says whether it has any); of asyncio's, which a task factory may make, nothing
    is told.
    """

    def before_run(self) -> None:
        """Hear that the loop begins to run: ``asyncio.run()`` runs it three or four times."""

    def after_run(self) -> None:
        """Hear that the loop has stopped."""

    def task_spawned(self, task: "asyncio.Task[Any]") -> None:
        """Hear of a new task."""

    def task_scheduled(self, task: "asyncio.Task[Any]") -> None:
        """Hear that a task is ready to run: it is new, gave way, or what it awaited is done."""

    def before_task_step(self, task: "asyncio.Task[Any]") -> None:
        """Hear that a task is about to run until it awaits."""

    def after_task_step(self, task: "asyncio.Task[Any]") -> None:
        """Hear that it did."""

    def task_exited(self, task: "asyncio.Task[Any]") -> None:
        """Hear that a task is done, in its last step."""

    def before_io_wait(self, timeout: float) -> None:
        """Hear that the kernel is about to be asked for events, for so many seconds.

        0: there is work to do; ``math.inf``: nothing but an event will bring any.
        """

    def after_io_wait(self, timeout: float) -> None:
        """Hear that it has answered. ``timeout`` is what ``before_io_wait`` was told."""


def implemented(instrument: object) -> dict[str, Callable[..., object]]:
    """Return an instrument's own methods by the names of the hooks; raise TypeError if it has none."""
    found = {}
    for name in HOOKS:
        method = getattr(instrument, name, None)
        if method is not None and getattr(method, "__func__", method) is not getattr(Instrument, name):
            found[name] = method
    if not found:
        raise TypeError(f"{instrument!r} is no instrument: it implements none of {', '.join(HOOKS)}")
    return found


def install(loop: "EventLoop", instrument: object) -> None:
    """Add an instrument to a loop."""
    methods = implemented(instrument)
    of_tasks = [name for name in methods if "task" in name]
    if of_tasks and native_status()[0] != "native":
        logging.getLogger("glassloop").warning(
            "%r will not be told of tasks (%s): asyncio's own are in use, as %s",
            instrument,
            ", ".join(of_tasks),
            native_status()[1],
        )
    loop._install(instrument, methods)
