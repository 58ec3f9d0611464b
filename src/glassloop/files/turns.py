"""Turns: one operation at a time on an open file, in the order in which they came.

Two rules hold for every operation on a file, and both are kept here:

- An operation has the file to itself from its first to its last step, however many tasks use the file.
- What changes the file is never left half done. Once it has begun, it runs to its end, also when the task
  that waits for it is cancelled; whoever comes next waits for that end.
"""

import asyncio
import functools
from asyncio import _get_running_loop
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Turns:
    """Who uses an open file now, and who is next."""

    __slots__ = ("_is_left", "_waiting", "going_on", "loop", "taken", "unseen_error")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.taken = False
        # What runs to its end, whether its task still waits for it or not.
        self.going_on: _Operation | _Beginning | None = None
        # How an operation failed whose task had been cancelled: the next that writes or closes must say so.
        self.unseen_error: BaseException | None = None
        self._is_left = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def come(self) -> None:
        """Wait until all that came before have left."""
        waiter = self.loop.create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled():
                self.leave()  # the turn came together with the cancellation
            raise

    def leave(self) -> None:
        """Let the next one come, as soon as nothing is going on any more."""
        if self.going_on is not None:
            self._is_left = True
            return
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done() and not self.loop.is_closed():
                waiter.set_result(None)
                return
        self.taken = False

    def has_ended(self) -> None:
        """Note that what was going on is over."""
        self.going_on = None
        if self._is_left:
            self._is_left = False
            self.leave()

    async def to_its_end(
        self,
        work: Coroutine[Any, Any, _T],
        unwanted: Callable[[_T], object] | None = None,
        *,
        stay: bool = False,
    ) -> _T:
        """Run a coroutine to its end, even if the calling task is cancelled meanwhile.

        A result for which nobody waits any more is given to ``unwanted``. With ``stay`` a cancelled task goes
        on waiting, and is cancelled when the work is over.
        """
        if self.going_on is not None:
            return await work  # it is a part of what runs to its end
        self.going_on = _BEGINNING
        try:
            awaited = work.send(None)
        except StopIteration as end:
            self.going_on = None
            result: _T = end.value
            return result
        except BaseException:
            self.going_on = None
            raise
        operation = self.going_on = _Operation(self, work, unwanted)
        operation.wait_for(awaited)
        ended: _T = await (operation.ended_and_stayed() if stay else operation.ended())
        return ended

    def stop_abandoned_reading(self) -> None:
        """Cancel a read whose task was cancelled already: it may wait for ever, and a close must not."""
        if isinstance(self.going_on, _Operation):
            self.going_on.stop_if_abandoned()

    def raise_unseen_error(self) -> None:
        """Raise what an operation failed with after its task had been cancelled, once."""
        if self.unseen_error is not None:
            error, self.unseen_error = self.unseen_error, None
            raise error


class _Beginning:
    """Stands for an operation in its first step, which often is its last."""


_BEGINNING = _Beginning()


class _Operation:
    """A coroutine on its way to its end. It is no task: nobody cancels it at the end of the program."""

    __slots__ = ("_awaited", "_is_over", "_turns", "_unwanted", "_waiter", "_work")

    def __init__(
        self, turns: Turns, work: Coroutine[Any, Any, Any], unwanted: Callable[[Any], object] | None
    ) -> None:
        self._turns = turns
        self._work = work
        self._unwanted = unwanted
        self._awaited: asyncio.Future[Any] | None = None
        self._waiter: asyncio.Future[Any] = turns.loop.create_future()
        self._is_over = False

    def wait_for(self, awaited: Any) -> None:
        """Take the next step when a future is done, as a task does."""
        self._awaited = awaited
        if awaited is None:
            self._turns.loop.call_soon(self._step)
        else:
            awaited._asyncio_future_blocking = False
            awaited.add_done_callback(self._step)

    def _step(self, _: object = None) -> None:
        try:
            awaited = self._work.send(None)
        except StopIteration as end:
            self._end(end.value, None)
        except BaseException as error:
            self._end(None, error)
            if isinstance(error, (SystemExit, KeyboardInterrupt)):
                raise
        else:
            self.wait_for(awaited)

    def _end(self, result: Any, error: BaseException | None) -> None:
        self._is_over = True
        self._awaited = None
        if self._waiter.done():
            self._let_go_of(result, error)
        elif error is None:
            self._waiter.set_result(result)
        elif isinstance(error, asyncio.CancelledError):
            self._waiter.cancel()
        else:
            self._waiter.set_exception(error)
        self._turns.has_ended()

    def _let_go_of(self, result: Any, error: BaseException | None) -> None:
        """Nobody waits any more for how it has ended."""
        if isinstance(error, Exception):
            self._turns.unseen_error = error
        elif error is None and self._unwanted is not None:
            self._unwanted(result)

    async def ended(self) -> Any:
        """Return its result when it has ended."""
        try:
            return await self._waiter
        except asyncio.CancelledError:
            if self._waiter.done() and not self._waiter.cancelled():
                # It ended, and then the task was cancelled before it could learn of that.
                error = self._waiter.exception()
                self._let_go_of(None if error else self._waiter.result(), error)
            raise

    async def ended_and_stayed(self) -> Any:
        """Return its result when it has ended; a cancellation waits for that too."""
        cancelled: asyncio.CancelledError | None = None
        while True:
            try:
                result = await self._waiter
            except asyncio.CancelledError as error:
                if self._is_over:
                    raise
                cancelled = error
                self._waiter = self._turns.loop.create_future()
            except Exception:
                if cancelled is not None:
                    raise cancelled from None
                raise
            else:
                if cancelled is not None:
                    raise cancelled
                return result

    def stop_if_abandoned(self) -> None:
        if self._waiter.cancelled() and self._unwanted is not None and self._awaited is not None:
            self._awaited.cancel()


class HasTurns(Protocol):
    """A file, of which the descriptor keeps the turns."""

    @property
    def _descriptor(self) -> Turns: ...


_File = TypeVar("_File", bound=HasTurns)


def wrong_loop(file: object) -> RuntimeError:
    """The error of using a file where it was not opened."""
    return RuntimeError(
        f"{file!r} belongs to the event loop on which it was opened; it was used from another loop or "
        "thread. Open it there too, or use asyncio.run_coroutine_threadsafe()"
    )


def in_turn(
    method: Callable[Concatenate[_File, _P], Awaitable[_T]],
) -> Callable[Concatenate[_File, _P], Coroutine[Any, Any, _T]]:
    """Make a file's method wait for its turn."""

    @functools.wraps(method)
    async def in_its_turn(self: _File, /, *args: _P.args, **keywords: _P.kwargs) -> _T:
        turns = self._descriptor
        if _get_running_loop() is not turns.loop:
            raise wrong_loop(self)
        if turns.taken:
            await turns.come()
        else:
            turns.taken = True
        try:
            return await method(self, *args, **keywords)
        finally:
            turns.leave()

    return in_its_turn
