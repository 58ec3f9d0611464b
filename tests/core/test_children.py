"""Child processes: their ends are told by pidfds, and none is lost where there are none."""

import asyncio
import contextlib
import errno
import os
import signal
import sys
import threading
import warnings
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from typing import Any

import pytest

import glassloop
from glassloop import _children

needs_pidfds = pytest.mark.skipif(
    not _children.kernel_has_pidfds(), reason="the kernel gives no pidfd to this process"
)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Let Python 3.12 and 3.13 say in peace that their child watchers will go."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


async def output_of(*command: str, given: bytes = b"") -> bytes:
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    output, _ = await process.communicate(given)
    assert process.returncode == 0
    return output


def children_of_this_process() -> list[str]:
    own = threading.get_native_id()
    with open(f"/proc/self/task/{own}/children") as children:
        return children.read().split()


@needs_pidfds
def test_a_child_takes_no_thread() -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        names = [thread.name for thread in threading.enumerate()]
        assert not any("waitpid" in name or name.startswith("asyncio") for name in names)
        await process.communicate(b"")

    glassloop.run(main())


def test_two_hundred_at_once() -> None:
    """No output is lost, none is another's, and no process stays behind."""

    async def main() -> None:
        given = [bytes([number]) * (1000 * (number % 7) + 1) for number in range(200)]
        found = await asyncio.gather(*(output_of("cat", given=data) for data in given))
        assert found == given

    before = children_of_this_process()
    glassloop.run(main())
    assert children_of_this_process() == before


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EPERM, errno.ENOSYS])
def test_no_pidfd_is_to_be_had_for_a_child(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        if _children.kernel_has_pidfds():
            monkeypatch.setattr(os, "pidfd_open", fail)
        assert await output_of("cat", given=b"through a thread") == b"through a thread"

    def fail(pid: int, flags: int = 0) -> int:
        raise OSError(number, os.strerror(number))

    glassloop.run(main())


def test_a_kernel_without_pidfds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_children, "kernel_has_pidfds", lambda: False)

    async def main() -> None:
        assert await output_of("cat", given=b"asyncio's way") == b"asyncio's way"

    glassloop.run(main())


@needs_pidfds
@pytest.mark.filterwarnings("ignore:.*SIGCHLD.*")
def test_somebody_else_has_the_exit_code(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> int:
        process = await asyncio.create_subprocess_exec("sleep", "600")
        os.kill(process.pid, signal.SIGKILL)
        os.waitpid(process.pid, 0)  # noqa: ASYNC222 - before the loop can look
        return await process.wait()

    assert glassloop.run(main()) == 255
    assert "Unknown child process pid" in caplog.text


def test_children_that_nobody_waits_for_when_sigchld_is_ignored() -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        assert (await process.communicate(b"x"))[0] == b"x"

    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        glassloop.run(main())
    finally:
        signal.signal(signal.SIGCHLD, before)


@needs_pidfds
def test_a_loop_that_is_closed_lets_go_of_its_children() -> None:
    loop = glassloop.new_event_loop()
    made = loop.subprocess_exec(
        asyncio.SubprocessProtocol, "sleep", "600", stdin=None, stdout=None, stderr=None
    )
    transport, _ = loop.run_until_complete(made)
    transport.close()  # which kills it; that it has ended nobody hears any more
    loop.close()
    names = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            names.append(os.readlink(f"/proc/self/fd/{fd}"))
    assert names
    assert not any("pidfd" in name for name in names)


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="Python 3.14 has no child watchers")
def test_a_watcher_that_the_program_chose_is_asked() -> None:
    asked: list[int] = []

    class Watcher(asyncio.ThreadedChildWatcher):
        def add_child_handler(  # type: ignore[override]
            self, pid: int, callback: Any, *args: Any
        ) -> None:
            asked.append(pid)
            super().add_child_handler(pid, callback, *args)

    async def main() -> None:
        assert await output_of("cat", given=b"by the watcher") == b"by the watcher"

    asyncio.set_child_watcher(Watcher())
    try:
        glassloop.run(main())
    finally:
        asyncio.set_child_watcher(None)  # type: ignore[arg-type]
    assert len(asked) == 1
