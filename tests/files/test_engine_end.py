"""The engine's end, and its places: loops closed, forked, run again, in threads, on other selectors."""

import asyncio
import os
import resource
import selectors
import threading
from pathlib import Path
from typing import Any

import pytest

import glassloop
from glassloop._io.file_engine import FileEngine, engine_of
from glassloop._io.uring import try_ring

from .engine_support import MODES, PATIENCE_S, fifo, in_thread, kernel_ring, mode_is, open_descriptors, run

HAS_RING = try_ring() == 0
TASKRUN = 1 << 2  # IORING_SQ_TASKRUN
CREATE = os.O_RDWR | os.O_CREAT | os.O_TRUNC


@pytest.fixture(params=MODES, autouse=True)
def mode(request: pytest.FixtureRequest) -> Any:
    with mode_is(request.param):
        before = open_descriptors()
        yield request.param
        assert open_descriptors() == before


def test_writes_in_flight_are_written_when_the_loop_is_closed(tmp_path: Path) -> None:
    loop = glassloop.EventLoop()
    fd = os.open(tmp_path / "file", CREATE)
    data = os.urandom(10 << 20)

    async def begin() -> None:
        engine = engine_of(loop)
        for start in range(0, len(data), 1 << 16):  # some only now, some in the turn before
            engine.write(fd, data[start : start + (1 << 16)], start)
            if start == 5 << 20:
                await asyncio.sleep(0)

    loop.run_until_complete(begin())
    loop.close()
    assert (tmp_path / "file").read_bytes() == data
    os.close(fd)


def test_reads_in_flight_end_when_the_loop_is_closed(tmp_path: Path, mode: str) -> None:
    loop = glassloop.EventLoop()
    reader, writer = os.pipe()
    buffer = bytearray(10)
    operations = []

    async def begin() -> None:
        engine = engine_of(loop)
        operations.extend([engine.read(reader, 10), engine.read_into(reader, buffer)])
        await asyncio.sleep(0.01)
        operations.append(engine.read(reader, 10))

    loop.run_until_complete(begin())
    loop.close()
    os.write(writer, b"x" * 100)  # for threads, which nobody can stop
    os.close(writer)
    os.close(reader)


def test_the_engine_of_a_closed_loop(tmp_path: Path) -> None:
    loop = glassloop.EventLoop()
    engine = engine_of(loop)
    assert engine_of(loop) is engine
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        engine_of(loop)
    fd = os.open(tmp_path / "file", CREATE)
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        engine.write(fd, b"x")
    os.close(fd)
    loop.close()


def test_no_engine_for_another_kind_of_loop() -> None:
    loop = asyncio.SelectorEventLoop()
    with pytest.raises(TypeError, match="loop must be a glassloop event loop"):
        engine_of(loop)  # type: ignore[arg-type]
    loop.close()


def test_a_running_loop_keeps_its_engine(tmp_path: Path) -> None:
    async def test(engine: FileEngine) -> None:
        with pytest.raises(RuntimeError, match="running"):
            asyncio.get_running_loop().close()
        fd = await engine.open(tmp_path / "file", CREATE)
        assert await engine.write(fd, b"x") == 1
        await engine.close(fd)

    run(test)


def test_run_again_and_again(tmp_path: Path) -> None:
    loop = glassloop.EventLoop()
    engine = engine_of(loop)

    async def write(fd: int, number: int) -> None:
        await engine.write(fd, b"%d" % number, number)

    async def begin(fd: int) -> Any:
        return engine.write(fd, b"x", 10)

    fd = os.open(tmp_path / "file", CREATE)
    for number in range(10):
        loop.run_until_complete(write(fd, number))
    left = loop.run_until_complete(begin(fd))  # what one run begins, the next one ends

    async def end() -> None:
        assert await left == 1

    loop.run_until_complete(end())
    assert (tmp_path / "file").read_bytes() == b"0123456789x"
    loop.close()
    os.close(fd)


def test_several_loops_in_threads(tmp_path: Path) -> None:
    faults: list[BaseException] = []

    def work(name: str) -> None:
        async def test(engine: FileEngine) -> None:
            for number in range(30):
                data = name.encode() * number
                await engine.write_file(tmp_path / name, data, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                assert await engine.read_file(tmp_path / name) == data

        try:
            run(test)
        except BaseException as exc:  # noqa: BLE001 - whatever it is, the main thread tells it
            faults.append(exc)

    threads = [threading.Thread(target=work, args=[f"loop {number}"]) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert faults == [] and not any(thread.is_alive() for thread in threads)


def test_a_loop_that_moves_to_another_thread(tmp_path: Path) -> None:
    loop = glassloop.EventLoop()
    path = tmp_path / "file"

    async def there_and_back(data: bytes) -> None:
        engine = engine_of(loop)
        await engine.write_file(path, data, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        assert await engine.read_file(path) == data

    loop.run_until_complete(there_and_back(b"here"))
    in_thread(lambda: loop.run_until_complete(there_and_back(b"there")))
    loop.run_until_complete(there_and_back(b"here again"))
    assert path.read_bytes() == b"here again"
    loop.close()


def test_a_loop_that_leaves_operations_behind_in_a_thread(tmp_path: Path) -> None:
    """The kernel ends what a thread has begun with the thread. The loop's close leaves no memory to it."""
    loop = glassloop.EventLoop()
    reader, writer = os.pipe()

    async def begin() -> None:
        engine_of(loop).read(reader, 10)
        await asyncio.sleep(0.01)

    in_thread(lambda: loop.run_until_complete(begin()))
    loop.close()
    os.close(writer)
    os.close(reader)


def test_the_wrong_thread_is_told(tmp_path: Path, mode: str) -> None:
    if not HAS_RING or mode in {"inline", "threads"}:
        pytest.skip("only a ring belongs to a thread")
    fd = os.open(tmp_path / "file", CREATE)

    async def test(engine: FileEngine) -> None:
        said: list[BaseException] = []

        def ask() -> None:
            try:
                engine.write(fd, b"x")
            except RuntimeError as exc:
                said.append(exc)

        in_thread(ask)
        assert len(said) == 1 and "another thread" in str(said[0])
        assert await engine.write(fd, b"y") == 1

    run(test)
    os.close(fd)


@pytest.mark.parametrize(
    "selector", [selectors.SelectSelector, selectors.PollSelector, selectors.EpollSelector]
)
def test_on_another_selector(tmp_path: Path, selector: type[selectors.BaseSelector]) -> None:
    async def test(engine: FileEngine) -> None:
        fd = await engine.open(tmp_path / "file", CREATE)
        for number in range(50):
            assert await engine.write(fd, b"data", number * 4) == 4
        await engine.fsync(fd)
        assert await engine.read(fd, 1000, 0) == b"data" * 50
        await engine.close(fd)

    run(test, glassloop.EventLoop(selector()))


def test_stock_tasks_may_wait(tmp_path: Path) -> None:
    """And so may those of debug mode, of a factory, and of a loop whose call_soon is overridden."""

    class Watching(glassloop.EventLoop):
        def call_soon(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
            return super().call_soon(*args, **kwargs)

    async def test(engine: FileEngine) -> None:
        fd = await engine.open(tmp_path / "file", CREATE)
        assert await engine.write(fd, b"data", 0) == 4
        await engine.fsync(fd)
        assert await engine.read(fd, 10, 0) == b"data"
        await engine.close(fd)

    for loop in (glassloop.EventLoop(), glassloop.EventLoop(), Watching()):
        loop.set_debug(type(loop) is glassloop.EventLoop)
        run(test, loop)
    loop = glassloop.EventLoop()
    loop.set_task_factory(lambda loop, coro, **options: asyncio.Task(coro, loop=loop, **options))
    run(test, loop)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("selector", [None, selectors.PollSelector])
def test_the_child_of_a_fork_has_an_engine_of_its_own(tmp_path: Path, selector: Any) -> None:
    """What is in flight stays the parent's; neither feels what the other does."""
    loop = glassloop.EventLoop() if selector is None else glassloop.EventLoop(selector())
    engine = engine_of(loop)
    path = tmp_path / "file"

    async def there_and_back(data: bytes) -> bytes:
        fd = await engine.open(path, CREATE)
        await engine.write(fd, data, 0)
        await engine.fsync(fd)
        await engine.close(fd)
        return await engine.read_file(path)

    async def begin(fd: int) -> Any:
        reading = engine.read(fd, 10)
        await asyncio.sleep(0)
        return reading

    async def end(operation: Any) -> Any:
        return await operation

    assert loop.run_until_complete(there_and_back(b"before")) == b"before"
    reader, writer = os.pipe()
    reading = loop.run_until_complete(begin(reader))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if loop.run_until_complete(there_and_back(b"child")) == b"child":
                loop.close()
                status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert path.read_bytes() == b"child"
    os.write(writer, b"parent's")
    assert loop.run_until_complete(end(reading)) == b"parent's"
    assert loop.run_until_complete(there_and_back(b"after")) == b"after"
    loop.close()
    os.close(reader)
    os.close(writer)


def test_no_descriptors_left(tmp_path: Path) -> None:
    """EMFILE is told, and what was there before goes on."""
    (tmp_path / "file").write_bytes(b"data")

    async def test(engine: FileEngine) -> None:
        kept = await engine.open(tmp_path / "file", os.O_RDWR)
        await engine.run(len, b"")
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (kept + 1, before[1]))
        try:
            filler = []
            while True:
                try:
                    filler.append(os.dup(kept))
                except OSError:
                    break
            for flags in (os.O_RDONLY, os.O_RDWR | os.O_CREAT):
                with pytest.raises(OSError, match="Too many open files") as found:
                    await engine.open(tmp_path / "file", flags)
                assert found.value.filename == str(tmp_path / "file")
            with pytest.raises(OSError, match="Too many open files"):
                await engine.read_file(tmp_path / "file")
            assert await engine.read(kept, 10, 0) == b"data"
            assert await engine.write(kept, b"DATA", 0) == 4
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
            for fd in filler:
                os.close(fd)
        await engine.close(kept)

    run(test)


@pytest.mark.skipif(not HAS_RING, reason="the kernel refuses io_uring")
def test_a_late_flag_of_the_kernels_does_not_stop_the_loop(tmp_path: Path) -> None:
    """A worker of the kernel's says that it has something when that was already taken. Seen once a minute."""
    path = fifo(tmp_path)
    regular = tmp_path / "regular"
    regular.write_bytes(b"content")

    async def test(engine: FileEngine) -> None:
        opening = asyncio.ensure_future(engine.open(str(path), os.O_RDONLY, 0))  # waits in a worker
        await asyncio.sleep(0.01)
        with kernel_ring() as flags:
            flags[0] |= TASKRUN
            reading = asyncio.ensure_future(engine.open(str(regular), os.O_RDONLY, 0))
            while not reading.done():
                flags[0] |= TASKRUN
                await asyncio.sleep(0)
        os.close(await reading)
        writer = os.open(path, os.O_WRONLY)
        os.close(await opening)
        os.close(writer)

    with mode_is("uring"):
        run(test)
