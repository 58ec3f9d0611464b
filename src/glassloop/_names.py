"""The loop's look-ups of names and addresses, which the system makes in threads of the loop's own.

A look-up never takes a thread of the program's executor, and never waits for one. What takes no look-up,
such as an address in numbers, needs no thread (`takes_no_look_up`, `names_nothing`). Who asks what is being
looked up already waits for the same answer.

All of this belongs to the loop's thread, but for the queue: a worker thread takes a look-up from it, makes
it, and hands it back by ``call_soon_threadsafe``. The threads are daemons: a name server that does not answer
holds up neither the loop's end nor the interpreter's.
"""

import asyncio
import copy
import os
import queue
import socket
import sys
import threading
from asyncio import base_events
from collections.abc import Callable, Hashable
from contextlib import suppress
from types import BuiltinFunctionType
from typing import Any

# As many threads at most as asyncio's own executor ever has. A program that gave its loop a larger executor
# may have done so for its look-ups: then as many as that has.
THREADS_MAX = 32

# What asyncio calls: programs and tests put functions of their own there. Its stubs do not tell of it.
_asyncio: Any = base_events

_Question = tuple[Hashable, ...]


class _LookUp:
    """One question to the system, and those who wait for the answer."""

    __slots__ = ("answer", "arguments", "error", "function", "is_made", "question", "waiters")

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.function = function
        self.arguments = arguments
        self.question = _question(function, arguments)
        self.waiters: dict[asyncio.Future[Any], None] = {}  # in the order of their coming
        self.answer: Any = None
        self.error: BaseException | None = None
        self.is_made = False

    def make(self) -> None:
        """Ask the system, unless nobody wants to know any more. In a worker thread."""
        if self.waiters:
            try:
                self.answer = self.function(*self.arguments)
            except BaseException as exc:  # noqa: BLE001 - it is raised where the answer is waited for
                self.error = exc
            self.is_made = True

    def tell(self) -> None:
        """Answer all who wait, each with a list or an exception of its own."""
        for number, waiter in enumerate(self.waiters):
            if waiter.done():
                continue
            if self.error is not None:
                waiter.set_exception(self.error if number == 0 else _copy_of(self.error))
            else:
                waiter.set_result(list(self.answer) if type(self.answer) is list else self.answer)


class NameResolver:
    """The look-ups in flight of one loop, and the threads that make them.

    It does not hold the loop, which would else not go away with its last user.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._queue: queue.SimpleQueue[tuple[asyncio.AbstractEventLoop, NameResolver, _LookUp] | None]
        self._queue = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._in_flight: dict[_Question, _LookUp] = {}
        self._unfinished = 0  # how many were queued and have not come back

    async def ask(
        self, loop: asyncio.AbstractEventLoop, function: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> Any:
        """Return ``function(*arguments)``, called in a thread, once for all who ask it at the same time."""
        if self._process != os.getpid():
            self._begin()  # in the child of a fork: the threads stayed behind
        look_up = _LookUp(function, arguments)
        known = self._in_flight.get(look_up.question) if look_up.question is not None else None
        if known is not None:
            look_up = known
        else:
            self._have_a_thread(loop)
        waiter = loop.create_future()
        look_up.waiters[waiter] = None
        if known is None:
            if look_up.question is not None:
                self._in_flight[look_up.question] = look_up
            self._unfinished += 1
            self._queue.put((loop, self, look_up))
        try:
            return await waiter
        finally:
            look_up.waiters.pop(waiter, None)
            del waiter, look_up, known  # a traceback holds this frame, and the exception would hold itself

    def _have_a_thread(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start one more thread, if all are taken and there may be more."""
        count = len(self._threads)
        executor_size = getattr(getattr(loop, "_default_executor", None), "_max_workers", 0)
        if self._unfinished < count or count >= max(THREADS_MAX, executor_size):
            return
        thread = threading.Thread(
            target=_work, args=(self._queue,), name=f"glassloop_names_{count}", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # the system has no more
            if not self._threads:
                raise
        else:
            self._threads.append(thread)

    def come_back(self, loop: asyncio.AbstractEventLoop, look_up: _LookUp) -> None:
        """Take a look-up back from its thread."""
        if not look_up.is_made and look_up.waiters:
            # Everybody had given up when a thread came to it, and somebody has come since.
            self._queue.put((loop, self, look_up))
            return
        self._unfinished -= 1
        if look_up.question is not None and self._in_flight.get(look_up.question) is look_up:
            del self._in_flight[look_up.question]
        look_up.tell()

    def close(self) -> None:
        """End the threads: at once those that wait for work, the others when they have their answer."""
        if self._process != os.getpid():
            return
        with suppress(queue.Empty):
            while True:
                self._queue.get_nowait()
        for _ in self._threads:
            self._queue.put(None)
        # As asyncio.run() leaves no thread behind, but never waiting for a look-up. While the interpreter
        # ends, daemons run no more: nobody can wait for them.
        if self._unfinished == 0 and not sys.is_finalizing():
            for thread in self._threads:
                if thread is not threading.current_thread():
                    thread.join()
        self._begin()


def _work(
    work: "queue.SimpleQueue[tuple[asyncio.AbstractEventLoop, NameResolver, _LookUp] | None]",
) -> None:
    """Make look-ups until told to end: what a thread does."""
    while (item := work.get()) is not None:
        loop, resolver, look_up = item
        look_up.make()
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(resolver.come_back, loop, look_up)
        del item, loop, resolver, look_up  # nothing is kept alive by a thread that waits


def _question(function: Callable[..., Any], arguments: tuple[Any, ...]) -> _Question | None:
    """What makes two look-ups the same; None for arguments of which that is not known."""
    # Types count too: ports 1 and True are equal, and only one of them is a port.
    parts: list[Hashable] = [function]
    for argument in arguments:
        if isinstance(argument, tuple):
            inner = _question(len, argument)
            if inner is None:
                return None
            parts += inner
        elif argument is None or isinstance(argument, (int, str, bytes)):
            parts += (type(argument).__name__, argument)
        else:
            return None
    try:
        hash(function)
    except TypeError:
        return None
    return tuple(parts)


def _copy_of(error: BaseException) -> BaseException:
    """The same exception again, as each who raises one writes its traceback into it."""
    try:
        twin = copy.copy(error)
    except Exception:  # noqa: BLE001 - one that cannot be copied is shared
        return error
    if type(twin) is not type(error):
        return error
    twin.__cause__, twin.__context__ = error.__cause__, error.__context__
    twin.__suppress_context__ = error.__suppress_context__
    return twin.with_traceback(error.__traceback__)


class NameMethods(asyncio.SelectorEventLoop):
    """The loop's two look-ups, in threads of its own."""

    _debug: bool
    _resolver: NameResolver | None = None  # made by the first look-up

    async def getaddrinfo(
        self,
        host: bytes | str | None,
        port: bytes | str | int | None,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 - as asyncio names it
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """Return what ``socket.getaddrinfo()`` does: at once for an address, else asked in a thread."""
        arguments = (host, port, family, type, proto, flags)
        loop: Any = self
        look_up = loop._getaddrinfo_debug if self._debug else _asyncio.socket.getaddrinfo
        found: list[Any]
        if self._has_its_own_executor():
            found = await self.run_in_executor(None, look_up, *arguments)
            return found
        loop._check_closed()
        loop._check_default_executor()
        if takes_no_look_up(host, port, family):
            found = look_up(*arguments)
        else:
            found = await self._ask(look_up, arguments)
        return found

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> tuple[str, str]:
        """Return what ``socket.getnameinfo()`` does: at once in numbers, else asked in a thread."""
        loop: Any = self
        look_up = _asyncio.socket.getnameinfo
        found: tuple[str, str]
        if self._has_its_own_executor():
            found = await self.run_in_executor(None, look_up, sockaddr, flags)
            return found
        loop._check_closed()
        loop._check_default_executor()
        if names_nothing(flags):
            found = look_up(sockaddr, flags)
        else:
            found = await self._ask(look_up, (sockaddr, flags))
        return found

    async def _ask(self, look_up: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        if self._resolver is None:
            self._resolver = NameResolver()
        return await self._resolver.ask(self, look_up, arguments)

    def _has_its_own_executor(self) -> bool:
        # A program that runs the loop's jobs in its own way wants its look-ups among them.
        return (
            "run_in_executor" in self.__dict__
            or self.__class__.run_in_executor is not asyncio.BaseEventLoop.run_in_executor
        )


# -- what needs no look-up ------------------------------------------------------------------------


def takes_no_look_up(host: object, port: object, family: object) -> bool:
    """Whether ``socket.getaddrinfo()`` answers this at once: no host or an address, and a port in numbers.

    Only what is surely so: not where the program has put a function of its own into socket's place.
    """
    if getattr(_asyncio.socket.getaddrinfo, "__globals__", None) is not vars(socket):
        return False
    if type(port) is str:
        # A number is not looked for among the names of services.
        if not (port.isascii() and port.isdecimal()):
            return False
    elif port is not None and type(port) is not int:
        return False
    if host is None:
        return True
    if type(host) is not str or not (host[-1:].isdigit() or ":" in host):
        return False
    is_v6 = ":" in host
    # An address of the other family is an error: whether the system asks somebody first is its own affair.
    if family not in (socket.AF_UNSPEC, socket.AF_INET6 if is_v6 else socket.AF_INET):
        return False
    try:
        # Stricter than getaddrinfo(), which also reads "127.1", and "fe80::1%eth0", whose scope is looked up.
        socket.inet_pton(socket.AF_INET6 if is_v6 else socket.AF_INET, host)
    except (OSError, ValueError):
        return False
    return True


def names_nothing(flags: object) -> bool:
    """Whether ``socket.getnameinfo()`` answers in numbers, which takes no look-up."""
    numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    return (
        isinstance(flags, int)
        and flags & numeric == numeric
        and type(_asyncio.socket.getnameinfo) is BuiltinFunctionType
    )
