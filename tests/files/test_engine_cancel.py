"""A file operation whose task is cancelled, in each phase: nothing is lost, leaked, or left half owned."""

import asyncio
import fcntl
import gc
import os
import struct
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glassloop._io.file_engine import FileEngine

from .engine_support import MODES, fifo, mode_is, open_descriptors, run, until

CREATE = os.O_RDWR | os.O_CREAT | os.O_TRUNC


@pytest.fixture(params=MODES, autouse=True)
def mode(request: pytest.FixtureRequest) -> Any:
    with mode_is(request.param):
        before = open_descriptors()
        yield request.param
        gc.collect()
        assert open_descriptors() == before


async def awaiting(operation: Any) -> Any:
    return await operation


def unread_bytes(reader: int) -> int:
    return struct.unpack("i", fcntl.ioctl(reader, termios.FIONREAD, b"\0" * 4))[0]  # type: ignore[no-any-return]


async def cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.filterwarnings(
    "ignore:coroutine .* was never awaited:RuntimeWarning"
)  # cancelled before its start
@pytest.mark.parametrize("turns", [0, 1, 2, 5, 50])
def test_cancelled_after_some_turns(tmp_path: Path, turns: int) -> None:
    """Wherever the operation is by then: not begun, with the kernel, done, or done and not yet taken."""
    path = tmp_path / "file"
    path.write_bytes(bytes(100_000))

    async def test(engine: FileEngine) -> None:
        fd = os.open(path, os.O_RDWR)
        buffer = bytearray(70_000)
        makers: list[Callable[[], Any]] = [
            lambda: engine.open(path, os.O_RDONLY),
            lambda: engine.open(path, os.O_RDWR | os.O_CREAT),
            lambda: engine.read(fd, 70_000, 0),
            lambda: engine.read_into(fd, buffer, 0),
            lambda: engine.write(fd, bytes(70_000), 0),
            lambda: engine.fsync(fd),
            lambda: engine.read_file(path),
            lambda: engine.write_file(path, bytes(100_000), os.O_WRONLY),
            lambda: engine.stat(path),
            lambda: engine.run(len, b""),
        ]
        for number, make in enumerate(makers):
            task = asyncio.ensure_future(awaiting(make()))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            if number < 2 and not task.cancelled():
                os.close(task.result())  # it was done by then
        await engine.close(fd)  # waits for what is still in flight

    run(test)


def test_a_write_is_done_though_its_task_is_cancelled(tmp_path: Path) -> None:
    async def test(engine: FileEngine) -> None:
        fd = await engine.open(tmp_path / "file", CREATE)
        data = os.urandom(3 << 20)
        task = asyncio.ensure_future(awaiting(engine.write(fd, data, 0)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await engine.close(fd)
        assert (tmp_path / "file").read_bytes() == data

    run(test)


def test_a_close_waits_for_all_others_and_is_not_cancelled(tmp_path: Path) -> None:
    async def test(engine: FileEngine) -> None:
        fd = await engine.open(tmp_path / "file", CREATE)
        writes = [engine.write(fd, b"%04d" % number * 1000, number * 4000) for number in range(100)]
        closing = asyncio.ensure_future(awaiting(engine.close(fd)))
        await asyncio.sleep(0)
        await cancelled(closing)
        for writing in writes:
            assert await writing == 4000
        await until(lambda: not os.path.exists(f"/proc/self/fd/{fd}"))
        assert (tmp_path / "file").read_bytes() == b"".join(b"%04d" % n * 1000 for n in range(100))

    run(test)


def test_two_closes_are_told_apart(tmp_path: Path) -> None:
    async def test(engine: FileEngine) -> None:
        fd = await engine.open(tmp_path / "file", CREATE)
        writing = engine.write(fd, b"x", 0)
        closes = await asyncio.gather(engine.close(fd), engine.close(fd), return_exceptions=True)
        assert closes[0] is None and isinstance(closes[1], OSError)
        assert await writing == 1

    run(test)


def test_a_read_of_an_empty_pipe_is_given_up(tmp_path: Path, mode: str) -> None:
    async def test(engine: FileEngine) -> None:
        reader, writer = os.pipe()
        for _ in range(3):
            task = asyncio.ensure_future(awaiting(engine.read(reader, 100)))
            await asyncio.sleep(0.01)
            await cancelled(task)
            if engine.name == "threads":
                os.write(writer, b"for the thread")  # which nobody can stop
                await until(lambda: unread_bytes(reader) == 0)
        # All of them have ended: else the close would wait.
        await engine.close(reader)
        await engine.close(writer)

    run(test)


def test_a_write_to_a_full_pipe_is_given_up(mode: str) -> None:
    async def test(engine: FileEngine) -> None:
        if engine.name == "threads":
            pytest.skip("a thread that waits for a pipe cannot be stopped")
        reader, writer = os.pipe()
        task = asyncio.ensure_future(awaiting(engine.write(writer, bytes(1 << 20))))
        await asyncio.sleep(0.01)
        await cancelled(task)
        await engine.close(writer)
        await engine.close(reader)

    run(test)


def test_an_open_of_a_fifo_is_given_up(tmp_path: Path) -> None:
    path = fifo(tmp_path)

    async def test(engine: FileEngine) -> None:
        tasks = [asyncio.ensure_future(awaiting(engine.open(path, os.O_RDONLY))) for _ in range(3)]
        await asyncio.sleep(0.01)
        for task in tasks:
            await cancelled(task)
        if engine.name == "threads":
            os.close(os.open(path, os.O_RDWR))  # lets the threads go on
            fd = os.open(path, os.O_WRONLY | os.O_NONBLOCK) if threads_wait(path) else -1
            if fd >= 0:
                os.close(fd)
        await engine.run(len, b"")

    run(test)


def threads_wait(path: Path) -> bool:
    """Whether somebody still waits for a writer."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def test_cancelled_with_a_time_out(tmp_path: Path) -> None:
    async def test(engine: FileEngine) -> None:
        reader, writer = os.pipe()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(engine.read(reader, 10), 0.01)
        os.write(writer, b"x")
        await engine.close(writer)
        await engine.close(reader)

    run(test)


def test_a_coroutine_that_is_thrown_away_ends_its_operation(tmp_path: Path) -> None:
    async def test(engine: FileEngine) -> None:
        reader, writer = os.pipe()
        coroutine = awaiting(engine.read(reader, 10))
        coroutine.send(None)
        coroutine.close()
        os.write(writer, b"x")
        await engine.close(writer)
        await engine.close(reader)

    run(test)


def test_a_buffer_is_held_until_the_kernel_is_done(tmp_path: Path) -> None:
    """A read that its task has left still fills the buffer: nobody may take the memory away before."""

    async def test(engine: FileEngine) -> None:
        reader, writer = os.pipe()
        buffer = bytearray(1000)
        task = asyncio.ensure_future(awaiting(engine.read_into(reader, buffer)))
        await asyncio.sleep(0.01)
        with pytest.raises(BufferError):
            buffer.clear()
        await cancelled(task)
        del task
        os.write(writer, b"late")

        def free() -> bool:
            try:
                buffer.clear()
            except BufferError:
                return False
            return True

        await until(free)
        await engine.close(reader)
        await engine.close(writer)

    run(test)
