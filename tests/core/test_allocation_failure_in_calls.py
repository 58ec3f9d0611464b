"""Memory runs out in sock_* calls and in files: what was accepted is there, in its order; nothing hangs."""

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import pytest

import glassloop
from glassloop._io.file_engine import engine_of
from glassloop._io.uring import try_ring

from .allocation import one_by_one, run_fails_at, run_turn
from .own_tasks import needs_own_tasks

# asyncio's own futures forget whom to wake where memory ends.
pytestmark = needs_own_tasks

ENOUGH = 150


def quiet_loop() -> glassloop.EventLoop:
    loop = glassloop.EventLoop()
    loop.set_exception_handler(lambda _loop, context: None)
    return loop


def outcome(loop: glassloop.EventLoop, task: asyncio.Task[Any]) -> Any:
    """The task's result, or its MemoryError."""
    run_turn(loop)  # a turn that failed early has left its stop() behind
    try:
        return loop.run_until_complete(asyncio.wait_for(task, 10))
    except MemoryError as exc:
        return exc


@pytest.mark.parametrize("is_there", [False, True], ids=["waiting", "at once"])
def test_sock_recv(is_there: bool) -> None:
    outcomes = set()
    for start, stop in one_by_one():
        loop = quiet_loop()
        near, far = socket.socketpair()
        near.setblocking(False)
        if is_there:
            far.send(b"one")
        task = loop.create_task(loop.sock_recv(near, 100))
        if not is_there:
            run_turn(loop, 2)
            far.send(b"one")
        run_fails_at(start, stop, loop)
        got = outcome(loop, task)
        outcomes.add(type(got))
        assert isinstance(got, MemoryError) or got == b"one", f"at allocation {start}"
        far.send(b"two")
        assert loop.run_until_complete(asyncio.wait_for(loop.sock_recv(near, 100), 10)).endswith(b"two")
        near.close()
        far.close()
        loop.close()
        if start > ENOUGH // 3:
            break
    assert outcomes >= {bytes, MemoryError}


def test_sock_sendall() -> None:
    """It fails, or all of it is sent."""
    data = bytes(range(256)) * 2000
    outcomes = set()
    for start, stop in one_by_one():
        loop = quiet_loop()
        near, far = socket.socketpair()
        for sock in (near, far):
            sock.setblocking(False)
        task = loop.create_task(loop.sock_sendall(near, data))
        if start % 2:
            run_turn(loop)
        received = bytearray()
        for _ in range(10_000):
            run_fails_at(start, stop, loop)
            run_turn(loop)
            try:
                received += far.recv(1 << 16)
            except BlockingIOError:
                if task.done():
                    break
        assert task.done(), f"at allocation {start}"
        outcomes.add(type(task.exception()))
        assert data.startswith(received)
        if task.exception() is None:
            assert received == data, f"at allocation {start}"
        near.close()
        far.close()
        loop.close()
        if start > ENOUGH // 3:
            break
    assert outcomes == {type(None), MemoryError}


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files by io_uring: the standard library's threads crash without memory."""
    if try_ring() != 0:
        pytest.skip("the kernel refuses io_uring")
    monkeypatch.setenv("GLASSLOOP_FILES", "uring")
    quiet_loop().close()  # what stays open is opened


@pytest.mark.usefixtures("ring")
def test_writing_a_file(tmp_path: Path) -> None:
    """Each write is refused, or in the file."""
    failures = 0
    for start, stop in one_by_one():
        loop = quiet_loop()
        loop.run_until_complete(asyncio.sleep(0))
        engine = engine_of(loop)
        path = tmp_path / f"{start}"
        with path.open("wb", buffering=0) as file:
            begun: list[Any] = []

            async def wait_for(operation: Any) -> Any:
                return await operation

            def begin(file: Any = file, begun: list[Any] = begun, engine: Any = engine) -> None:
                begun.append(engine.write(file.fileno(), b"contents", 0))

            loop.run_until_complete(asyncio.sleep(0))
            loop.call_soon(begin)
            run_fails_at(start, stop, loop)
            if begun:
                got = outcome(loop, loop.create_task(wait_for(begun[0])))
                failures += isinstance(got, MemoryError)
                assert isinstance(got, MemoryError) or got == 8, f"at allocation {start}"
                if got == 8:
                    assert path.read_bytes() == b"contents"
            else:
                failures += 1
            loop.close()
            assert path.read_bytes() in {b"", b"contents"}
        if start > ENOUGH // 2:
            break
    assert failures > 0


@pytest.mark.usefixtures("ring")
def test_opening_leaves_no_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"contents")
    before = len(os.listdir("/proc/self/fd"))
    outcomes = set()
    for start, stop in one_by_one():
        loop = quiet_loop()
        loop.run_until_complete(asyncio.sleep(0))
        engine = engine_of(loop)

        async def open_it(engine: Any = engine) -> int:
            fd: int = await engine.open(str(path), os.O_RDONLY, 0)
            return fd

        task = loop.create_task(open_it())
        for _ in range(3):
            run_fails_at(start, stop, loop)
        got = outcome(loop, task)
        outcomes.add(type(got))
        if not isinstance(got, MemoryError):
            assert os.read(got, 10) == b"contents"
            os.close(got)
        del task
        loop.close()
        assert len(os.listdir("/proc/self/fd")) <= before, f"at allocation {start}"
        if start > ENOUGH // 2:
            break
    assert outcomes == {int, MemoryError}
