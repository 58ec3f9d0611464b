"""Job: one call of offload(), from when it is asked for until its function has returned.

A job belongs to the loop's thread, but for what says otherwise. Its future is what the task waits for; the
inner future is the executor's. A job outlives its task where that was cancelled: then it is abandoned, and
goes on under its name until the function returns, for nobody can stop a thread.
"""

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from typing import Any

logger = logging.getLogger("glassloop")

# What an inner future came to: its value, or its exception, in words that help.
Outcome = tuple[Any, BaseException | None]


def name_of(function: object) -> str:
    """Return a function's module and qualified name; of a partial, those of the function in it."""
    while isinstance(function, functools.partial):
        function = function.func
    module = getattr(function, "__module__", None)
    name = getattr(function, "__qualname__", None)
    if name is None:  # an object that can be called
        module, name = type(function).__module__, type(function).__qualname__
    return f"{module}.{name}" if module else str(name)


def outcome_of(inner: "Future[Any]") -> Outcome:
    """Return what a finished future holds. A cancelled one holds a CancelledError."""
    try:
        error = inner.exception()
    except CancelledError as cancelled:
        return None, cancelled
    return (inner.result(), None) if error is None else (None, error)


class Job:
    """One call, and who waits for it. ``where`` says in words where it runs: "in a thread"."""

    __slots__ = (
        "_forget",
        "_inner",
        "_loop",
        "asked_s",
        "began_s",
        "future",
        "is_abandoned",
        "name",
        "where",
    )

    def __init__(
        self,
        future: "asyncio.Future[Any]",
        name: str,
        where: str,
        forget: Callable[["Job"], object],
    ) -> None:
        self.future = future
        self.name = name
        self.where = where
        self.asked_s = time.monotonic()
        self.began_s: float | None = None  # written by the thread that runs it; others do not know
        self.is_abandoned = False
        self._loop = future.get_loop()
        self._forget = forget
        self._inner: Future[Any] | None = None

    def __str__(self) -> str:
        if self.began_s is not None:
            time_text = f"for {time.monotonic() - self.began_s:.1f} s"
        else:
            time_text = f"asked for {time.monotonic() - self.asked_s:.1f} s ago"
        abandoned = ", its task was cancelled" if self.is_abandoned else ""
        return f"{self.name} {self.where}, {time_text}{abandoned}"

    @property
    def is_running(self) -> bool:
        """Whether the function runs, as far as the executor tells."""
        return self.began_s is not None or (self._inner is not None and self._inner.running())

    def begins(self, where: str) -> None:
        """Note where it runs, and since when; in the thread that runs it."""
        self.where = where
        self.began_s = time.monotonic()

    def follow(self, inner: "Future[Any]", conclude: Callable[["Future[Any]"], Outcome] = outcome_of) -> None:
        """Wait for an executor's future, which ``conclude`` makes an outcome of; in any thread."""
        self._inner = inner
        if self.is_abandoned:  # meanwhile: abandon() has seen no future to cancel
            inner.cancel()
        inner.add_done_callback(functools.partial(self._inner_is_done, conclude))

    def fail(self, error: BaseException) -> None:
        """End without having run; in any thread."""
        self._forget(self)
        self._tell(None, error)

    def abandon(self) -> None:
        """Cancel the job where it has not begun; where it has, leave it to end by itself."""
        self.is_abandoned = True
        inner = self._inner
        if inner is not None and not inner.cancel() and not inner.done():
            logger.info("glassloop.offload(): the task was cancelled, the function goes on: %s", self)

    def _inner_is_done(self, conclude: Callable[["Future[Any]"], Outcome], inner: "Future[Any]") -> None:
        self._forget(self)
        self._inner = None  # or an exception, whose traceback may hold this job, would hold itself
        if self.is_abandoned:
            return
        try:
            value, error = conclude(inner)
        except BaseException as unexpected:  # noqa: BLE001 - or the task would wait for ever
            value, error = None, unexpected
        self._tell(value, error)

    def _tell(self, value: object, error: BaseException | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._settle, value, error)

    def _settle(self, value: object, error: BaseException | None) -> None:
        future = self.future
        del self.future  # for the same reason
        if future.done():
            return
        if error is None:
            future.set_result(value)
        elif isinstance(error, CancelledError):  # whoever has the executor cancelled it
            future.cancel()
        elif isinstance(error, StopIteration):
            # A future does not take it, for a coroutine would end by it.
            stopped = RuntimeError(f"{self.name} raised StopIteration")
            stopped.__cause__ = error
            future.set_exception(stopped)
        else:
            future.set_exception(error)
