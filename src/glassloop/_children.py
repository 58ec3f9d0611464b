"""Child processes: asyncio's transport for one, with its pipes connected at once and its end told by a pidfd.

asyncio looks for a child's end with the watcher of its event loop policy, which on Python 3.11 takes a
thread for each child. A pidfd is a file descriptor like any other. Where the kernel has none, or where the
program has chosen a watcher, asyncio's way is taken (`ends_are_told_by_pidfd`).
"""

import asyncio
import functools
import os
import sys
from asyncio import base_events, base_subprocess, events
from asyncio.log import logger
from typing import Any

# asyncio's stubs do not tell of what is private there.
_unix: Any = asyncio.unix_events
_Transport: Any = _unix._UnixSubprocessTransport


@functools.cache
def kernel_has_pidfds() -> bool:
    """Whether a pidfd can be had: Linux 5.3 has them, and a container may forbid them."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def ends_are_told_by_pidfd(loop: Any) -> bool:
    """Whether nobody has asked for another way to learn of the ends of children."""
    if sys.version_info >= (3, 14):
        return type(loop._watcher) is _unix._PidfdChildWatcher
    if not kernel_has_pidfds():
        return False
    policy: Any = asyncio.get_event_loop_policy()
    get_child_watcher = type(policy).get_child_watcher
    if get_child_watcher is events.AbstractEventLoopPolicy.get_child_watcher:
        return True  # which only says that it has none
    if get_child_watcher is not _unix.DefaultEventLoopPolicy.get_child_watcher:
        return False
    default = _unix.PidfdChildWatcher if sys.version_info >= (3, 12) else _unix.ThreadedChildWatcher
    return type(policy._watcher) in (type(None), default)


class ChildTransport(_Transport):  # type: ignore[misc]
    """A child process."""

    _pending_calls: list[tuple[Any, ...]] | None

    async def _connect_pipes(self, waiter: asyncio.Future[None] | None) -> None:
        # asyncio waits for one pipe after the other. Nothing is to be waited for: each pipe's
        # connection_made() is on its way into the ready queue before the process's.
        loop, process = self._loop, self._proc
        if loop._debug or not _connects_pipes_as_asyncio(loop):
            await super()._connect_pipes(waiter)
            return
        try:
            for number, pipe in ((0, process.stdin), (1, process.stdout), (2, process.stderr)):
                if pipe is None:
                    continue
                if number == 0:
                    protocol: Any = base_subprocess.WriteSubprocessPipeProto(self, 0)
                    protocol.pipe = loop._make_write_pipe_transport(pipe, protocol)
                else:
                    protocol = base_subprocess.ReadSubprocessPipeProto(self, number)
                    protocol.pipe = loop._make_read_pipe_transport(pipe, protocol)
                self._pipes[number] = protocol
            loop.call_soon(self._protocol.connection_made, self)
            for callback, data in self._pending_calls or ():
                loop.call_soon(callback, *data)
            self._pending_calls = None
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:  # noqa: BLE001 - it is raised where the start is waited for
            for protocol in self._pipes.values():
                if protocol is not None:
                    protocol.pipe.close()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
            if waiter is not None and not waiter.cancelled():
                waiter.set_exception(exc)
        else:
            if waiter is not None and not waiter.cancelled():
                waiter.set_result(None)

    def send_signal(self, signal: int) -> None:
        """Send a signal to the process, unless it has ended."""
        # Its number may be somebody else's by now. (Up to 3.13 asyncio's own does not look.)
        self._check_proc()
        if self._returncode is None:
            super().send_signal(signal)


def _connects_pipes_as_asyncio(loop: Any) -> bool:
    cls, own = type(loop), loop.__dict__
    return (
        cls.connect_read_pipe is base_events.BaseEventLoop.connect_read_pipe
        and cls.connect_write_pipe is base_events.BaseEventLoop.connect_write_pipe
        and "connect_read_pipe" not in own
        and "connect_write_pipe" not in own
    )


class Children:
    """The children of one loop that run, and the pidfds by which their ends are told."""

    def __init__(self) -> None:
        self._pidfds: set[int] = set()

    def watch(self, loop: Any, transport: ChildTransport) -> None:
        """Tell the transport when its process ends."""
        pid = transport._pid
        try:
            pidfd = os.pidfd_open(pid)
        except ProcessLookupError:
            # It has ended, and whoever waits for all children has its status; or nobody: SIGCHLD is ignored.
            loop.call_soon(loop._child_watcher_callback, pid, _exit_code(transport), transport)
            return
        except (
            OSError
        ):  # no descriptor is free, say: the process has started, so that a thread must wait for it
            _threads().add_child_handler(pid, loop._child_watcher_callback, transport)
            return
        self._pidfds.add(pidfd)
        loop._add_reader(pidfd, self._ended, loop, pidfd, transport)

    def _ended(self, loop: Any, pidfd: int, transport: ChildTransport) -> None:
        loop._remove_reader(pidfd)
        self._pidfds.discard(pidfd)
        os.close(pidfd)
        loop._child_watcher_callback(transport._pid, _exit_code(transport), transport)

    def close(self) -> None:
        """Let go of the children that still run."""
        while self._pidfds:
            os.close(self._pidfds.pop())


def _exit_code(transport: ChildTransport) -> int:
    """The exit code of a process that has ended."""
    try:
        _, status = os.waitpid(transport._pid, 0)
    except ChildProcessError:
        code: int | None = transport._proc.returncode
        if code is not None:
            return code  # the Popen object was asked before us, by transport.close() for one
        logger.warning("Unknown child process pid %d, will report returncode 255", transport._pid)
        return 255
    known: int = _unix.waitstatus_to_exitcode(status)
    return known


class ChildMethods(asyncio.SelectorEventLoop):
    """How the loop starts a child process."""

    _children: Children | None = None  # made by the first child process

    async def _make_subprocess_transport(
        self,
        protocol: asyncio.SubprocessProtocol,
        args: Any,
        shell: bool,
        stdin: Any,
        stdout: Any,
        stderr: Any,
        bufsize: int,
        extra: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> asyncio.SubprocessTransport:
        if not ends_are_told_by_pidfd(self):
            make = super()._make_subprocess_transport  # type: ignore[misc]
            made: asyncio.SubprocessTransport = await make(
                protocol, args, shell, stdin, stdout, stderr, bufsize, extra, **kwargs
            )
            return made
        waiter = self.create_future()
        transport = ChildTransport(
            self, protocol, args, shell, stdin, stdout, stderr, bufsize, waiter=waiter, extra=extra, **kwargs
        )
        if self._children is None:
            self._children = Children()
        self._children.watch(self, transport)
        try:
            await waiter
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            transport.close()
            await asyncio.shield(transport._wait())
            raise
        return transport


@functools.cache
def _threads() -> Any:
    """asyncio's watcher that takes a thread for each child."""
    watcher = getattr(_unix, "ThreadedChildWatcher", None) or _unix._ThreadedChildWatcher
    return watcher()
