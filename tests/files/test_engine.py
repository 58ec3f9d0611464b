"""The engine below files: what each operation does and says is what the os module does and says."""

import asyncio
import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from glassloop._io.file_engine import FileEngine

from .engine_support import MODES, fifo, mode_is, open_descriptors, run

CREATE = os.O_RDWR | os.O_CREAT | os.O_TRUNC
SIZES = [0, 1, 4095, 4096, 65_535, 65_536, 70_000, 262_144, 262_145, 1_048_577, 5_000_000]


@pytest.fixture(params=MODES, autouse=True)
def mode(request: pytest.FixtureRequest) -> Any:
    with mode_is(request.param):
        before = open_descriptors()
        yield request.param
        assert open_descriptors() == before


def contents(size: int) -> bytes:
    """Bytes of which no two places of 251 look the same."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]


@pytest.mark.parametrize("size", SIZES)
def test_what_is_written_is_read(tmp_path: Path, size: int) -> None:
    async def test(engine: FileEngine) -> None:
        data = contents(size)
        path = tmp_path / "file"
        fd = await engine.open(path, CREATE, 0o600)
        assert await engine.write(fd, data, 0) == size
        assert path.read_bytes() == data
        assert await engine.read(fd, size, 0) == data
        assert await engine.read(fd, size + 10, 0) == data
        assert await engine.read(fd, size, size) == b""
        assert await engine.read(fd, size, size // 2) == data[size // 2 :]
        buffer = bytearray(size + 7)
        assert await engine.read_into(fd, buffer, 0) == size
        assert buffer == data + bytes(7)
        await engine.close(fd)
        assert await engine.read_file(path) == data
        assert await engine.write_file(path, data[:100], os.O_WRONLY) == min(size, 100)
        assert path.read_bytes() == data

    run(test)


def test_the_file_s_position(tmp_path: Path) -> None:
    async def test(engine: FileEngine) -> None:
        fd = await engine.open(tmp_path / "file", CREATE)
        assert await engine.write(fd, b"abc") == 3
        assert await engine.write(fd, b"defg") == 4
        assert os.lseek(fd, 0, os.SEEK_CUR) == 7
        os.lseek(fd, 1, os.SEEK_SET)
        assert await engine.read(fd, 3) == b"bcd"
        assert await engine.read(fd, 1, 0) == b"a"
        buffer = bytearray(10)
        assert await engine.read_into(fd, buffer) == 3 and buffer[:3] == b"efg"
        assert await engine.read(fd, 3) == b""
        await engine.close(fd)

    run(test)


def test_appending(tmp_path: Path) -> None:
    async def test(engine: FileEngine) -> None:
        path = tmp_path / "file"
        path.write_bytes(b"one")
        fd = await engine.open(path, os.O_WRONLY | os.O_APPEND)
        await engine.write(fd, b"two")
        await engine.write(fd, b"three", 0)  # the flag says more than the offset
        await engine.close(fd)
        assert path.read_bytes() == b"onetwothree"

    run(test)


def test_large_file_of_which_a_part_is_cached(tmp_path: Path) -> None:
    """Without memory for it the kernel keeps a part of a file: what is missing is read from the disk."""
    path = tmp_path / "file"
    data = contents(200_000)
    path.write_bytes(data)

    async def test(engine: FileEngine) -> None:
        fd = await engine.open(path, os.O_RDONLY)
        os.fsync(fd)
        for start in range(0, 200_000, 50_000):
            os.posix_fadvise(fd, start, 25_000, os.POSIX_FADV_DONTNEED)
        assert await engine.read(fd, 250_000, 0) == data
        os.posix_fadvise(fd, 100_000, 0, os.POSIX_FADV_DONTNEED)
        buffer = bytearray(150_000)
        assert await engine.read_into(fd, buffer, 50_000) == 150_000
        assert buffer == data[50_000:]
        os.posix_fadvise(fd, 100_000, 0, os.POSIX_FADV_DONTNEED)
        await engine.close(fd)
        assert await engine.read_file(path) == data

    run(test)


@pytest.mark.parametrize("path", ["/proc/self/status", "/proc/self/maps", "/dev/null"])
def test_what_has_no_size(path: str) -> None:
    beginning = Path(path).read_bytes()[:5]

    async def test(engine: FileEngine) -> None:
        data = await engine.read_file(path)
        assert data[:5] == beginning and data[-1:] in {b"\n", b""}
        fd = await engine.open(path, os.O_RDONLY)
        assert await engine.read(fd, 5) == data[:5]
        await engine.close(fd)

    run(test)


def test_a_descriptor_is_not_inherited_nor_left_nonblocking(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")

    async def test(engine: FileEngine) -> None:
        for flags in (os.O_RDONLY, os.O_RDWR, os.O_RDONLY | os.O_APPEND, os.O_WRONLY | os.O_CREAT):
            fd = await engine.open(path, flags)
            assert not os.get_inheritable(fd) and os.get_blocking(fd)
            await engine.close(fd)
        fd = await engine.open(path, os.O_RDONLY | os.O_NONBLOCK)
        assert not os.get_blocking(fd)
        await engine.close(fd)

    run(test)


def test_mode_and_directory(tmp_path: Path) -> None:
    async def test(engine: FileEngine) -> None:
        directory = await engine.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
        for _ in range(2):  # a new file, then one that is there
            fd = await engine.open("inside", os.O_RDWR | os.O_CREAT, 0o640, directory)
            assert await engine.write(fd, b"here", 0) == 4
            await engine.close(fd)
        fd = await engine.open("inside", os.O_RDONLY, dir_fd=directory)
        assert await engine.read(fd, 10, 0) == b"here"
        await engine.close(fd)
        await engine.close(directory)
        assert (await engine.stat(tmp_path / "inside")).st_mode & 0o777 == 0o640 & ~_umask()

    run(test)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_status_truncate_and_sync(tmp_path: Path) -> None:
    path = tmp_path / "file"
    link = tmp_path / "link"
    link.symlink_to(path)

    async def test(engine: FileEngine) -> None:
        fd = await engine.open(path, CREATE)
        await engine.write(fd, b"0123456789", 0)
        await engine.truncate(fd, 4)
        await engine.fsync(fd)
        await engine.fsync(fd, True)
        assert path.read_bytes() == b"0123"
        for target in (path, str(path), os.fsencode(path), link, fd):
            assert await engine.stat(target) == os.stat(target)
        assert await engine.stat(link, False) == os.lstat(link)
        assert await engine.stat("/proc/self/status") is not None
        await engine.close(fd)

    run(test)


def test_run_has_the_context_and_threads_of_its_own(tmp_path: Path) -> None:
    async def test(engine: FileEngine) -> None:
        def function(left: int, right: int) -> tuple[int, str]:
            return left + right, threading.current_thread().name

        total, name = await engine.run(function, 1, 2)
        assert total == 3 and name.startswith("glassloop-files")
        assert asyncio.get_running_loop()._default_executor is None  # type: ignore[attr-defined]
        with pytest.raises(ZeroDivisionError):
            await engine.run(divmod, 1, 0)
        with pytest.raises(RuntimeError, match="raised StopIteration"):
            await engine.run(next, iter(()))
        with pytest.raises(TypeError, match="function must be callable, not int"):
            engine.run(3)  # type: ignore[arg-type]

    run(test)


def outcome_of(error: OSError) -> tuple[type[OSError], int | None, str | None, Any]:
    return type(error), error.errno, error.strerror, error.filename


def test_errors_of_paths_are_those_of_os_open(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "link").symlink_to("file")
    cases: list[tuple[Any, int]] = [
        (tmp_path / "absent", os.O_RDONLY),
        (str(tmp_path / "absent"), os.O_RDONLY),
        (os.fsencode(tmp_path / "absent"), os.O_RDONLY),
        (tmp_path / "absent" / "below", CREATE),
        (tmp_path / "file" / "below", os.O_RDONLY),
        (tmp_path / "file", os.O_WRONLY | os.O_CREAT | os.O_EXCL),
        (tmp_path / "loop", os.O_RDONLY),
        (tmp_path / "link", os.O_RDONLY | os.O_NOFOLLOW),
        (tmp_path / ("x" * 300), os.O_RDONLY),
        (tmp_path, os.O_WRONLY),
        (tmp_path / "file", os.O_RDONLY | os.O_DIRECTORY),
        ("", os.O_RDONLY),
    ]

    async def test(engine: FileEngine) -> None:
        for path, flags in cases:
            with pytest.raises(OSError) as wanted:
                os.open(path, flags)
            with pytest.raises(OSError) as found:
                await engine.open(path, flags)
            assert outcome_of(found.value) == outcome_of(wanted.value)
            if flags & os.O_ACCMODE == os.O_RDONLY:
                with pytest.raises(OSError) as found:
                    await engine.read_file(path, flags)
                assert outcome_of(found.value) == outcome_of(wanted.value)
        with pytest.raises(OSError) as wanted:
            os.stat(tmp_path / "absent")
        with pytest.raises(OSError) as found:
            await engine.stat(tmp_path / "absent")
        assert outcome_of(found.value) == outcome_of(wanted.value)
        with pytest.raises(OSError) as wanted:
            open(tmp_path, "rb")  # noqa: ASYNC230
        with pytest.raises(OSError) as found:
            await engine.read_file(tmp_path)
        assert found.value.args == wanted.value.args
        with pytest.raises(FileExistsError):
            await engine.write_file(tmp_path / "file", b"", os.O_WRONLY | os.O_CREAT | os.O_EXCL)

    run(test)


def test_errors_of_descriptors(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123")

    async def test(engine: FileEngine) -> None:
        reading = await engine.open(path, os.O_RDONLY)
        writing = await engine.open(path, os.O_WRONLY)
        directory = await engine.open(tmp_path, os.O_RDONLY)
        unused = os.dup(0)
        os.close(unused)
        operations: list[tuple[Callable[[], Any], int]] = [
            (lambda: engine.write(reading, b"x", 0), errno.EBADF),
            (lambda: engine.read(writing, 1, 0), errno.EBADF),
            (lambda: engine.read_into(writing, bytearray(1), 0), errno.EBADF),
            (lambda: engine.read(directory, 1, 0), errno.EISDIR),
            (lambda: engine.read(unused, 1), errno.EBADF),
            (lambda: engine.write(unused, b"x"), errno.EBADF),
            (lambda: engine.close(unused), errno.EBADF),
            (lambda: engine.fsync(unused), errno.EBADF),
            (lambda: engine.truncate(unused, 0), errno.EBADF),
            (lambda: engine.stat(unused), errno.EBADF),
            (lambda: engine.truncate(reading, 0), errno.EINVAL),
        ]
        for operation, number in operations:
            with pytest.raises(OSError) as found:
                await operation()
            assert found.value.errno == number
        for fd in (reading, writing, directory):
            await engine.close(fd)

    run(test)


def test_a_full_disk_is_told() -> None:
    async def test(engine: FileEngine) -> None:
        fd = await engine.open("/dev/full", os.O_WRONLY)
        with pytest.raises(OSError) as found:
            await engine.write(fd, b"x")
        assert found.value.errno == errno.ENOSPC
        await engine.close(fd)
        with pytest.raises(OSError) as found:
            await engine.write_file("/dev/full", b"x", os.O_WRONLY)
        assert found.value.errno == errno.ENOSPC

    run(test)


def test_bad_arguments(tmp_path: Path) -> None:
    async def test(typed: FileEngine) -> None:
        engine: Any = typed
        calls: list[tuple[Callable[[], Any], type[Exception], str]] = [
            (lambda: engine.read(0, -5, 0), ValueError, "size must be 0 or more, not -5"),
            (lambda: engine.read(0, 5, -2), ValueError, "offset must be 0 or more"),
            (lambda: engine.open("a\0b", os.O_RDONLY), ValueError, "embedded null character"),
            (lambda: engine.read_file("a\0b"), ValueError, "embedded null character"),
            (lambda: engine.open(1.5, 0), TypeError, "expected str, bytes or os.PathLike object, not float"),
            (lambda: engine.read_file(3), TypeError, "expected str, bytes or os.PathLike object, not int"),
            (lambda: engine.write(0, "text"), TypeError, "a bytes-like object is required, not 'str'"),
            (lambda: engine.read_into(0, b"constant"), BufferError, "not writable"),
        ]
        for call, kind, text in calls:
            with pytest.raises(kind, match=text):
                call()

    run(test)


def test_many_at_once(tmp_path: Path) -> None:
    """More than a ring holds."""
    data = contents(3000 * 16)
    (tmp_path / "file").write_bytes(data)

    async def test(engine: FileEngine) -> None:
        fd = await engine.open(tmp_path / "file", os.O_RDWR)

        async def read(place: int) -> bytes:
            return await engine.read(fd, 16, place * 16)

        async def write(place: int) -> int:
            return await engine.write(fd, b"#" * 16, place * 16)

        assert b"".join(await asyncio.gather(*(read(place) for place in range(3000)))) == data
        assert sum(await asyncio.gather(*(write(place) for place in range(3000)))) == len(data)
        await engine.close(fd)
        assert (tmp_path / "file").read_bytes() == b"#" * len(data)

    run(test)


def test_many_whole_files(tmp_path: Path) -> None:
    async def test(engine: FileEngine) -> None:
        async def there_and_back(number: int) -> None:
            path = tmp_path / str(number)
            data = contents(number * 97)
            await engine.write_file(path, data, os.O_WRONLY | os.O_CREAT)
            assert await engine.read_file(path) == data

        await asyncio.gather(*(there_and_back(number) for number in range(300)))

    run(test)


def test_reading_in_a_circle_lets_others_run(tmp_path: Path) -> None:
    """What is cached needs no wait: all the same, who reads on and on must not keep the loop to himself."""
    (tmp_path / "file").write_bytes(bytes(100_000))

    async def test(engine: FileEngine) -> None:
        fd = await engine.open(tmp_path / "file", os.O_RDONLY)
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counter = asyncio.create_task(count())
        operations: list[Callable[[], Any]] = [
            lambda: engine.read(fd, 4096, 0),
            lambda: engine.read_file(tmp_path / "file"),
        ]
        for operation in operations:
            turns = 0
            for _ in range(1000):
                await operation()
                if turns >= 3:
                    break
            assert turns >= 3
        counter.cancel()
        await engine.close(fd)

    run(test)


def test_a_mutable_buffer_is_copied_or_held(tmp_path: Path) -> None:
    async def test(engine: FileEngine) -> None:
        fd = await engine.open(tmp_path / "file", CREATE)
        small = bytearray(b"before")
        writing = engine.write(fd, small, 0)
        small[:] = b"behind, and longer"
        assert await writing == 6
        assert (tmp_path / "file").read_bytes() == b"before"
        large = bytearray(2 << 20)
        writing = engine.write(fd, memoryview(large), 0)
        with pytest.raises(BufferError):
            large.clear()
        assert await writing == 2 << 20
        buffer = bytearray(100)
        reading = engine.read_into(fd, buffer, 0)
        assert await reading == 100
        del writing, reading
        await until_released(large, buffer)
        await engine.close(fd)

    run(test)


async def until_released(*buffers: bytearray) -> None:
    async with asyncio.timeout(20):
        for buffer in buffers:
            while True:
                try:
                    buffer.clear()
                    break
                except BufferError:
                    await asyncio.sleep(0.001)


def test_pipes_give_what_they_have(tmp_path: Path) -> None:
    async def test(engine: FileEngine) -> None:
        reader, writer = os.pipe()
        os.write(writer, b"some")
        assert await engine.read(reader, 100) == b"some"
        reading = asyncio.ensure_future(engine.read(reader, 100))
        await asyncio.sleep(0.01)
        assert not reading.done()
        assert await engine.write(writer, b"more") == 4
        assert await reading == b"more"
        large = contents(300_000)
        writing = asyncio.ensure_future(engine.write(writer, large))
        got = bytearray()
        while len(got) < len(large):
            got += await engine.read(reader, 50_000)
        assert got == large and await writing == len(large)
        await engine.close(writer)
        assert await engine.read(reader, 10) == b""
        await engine.close(reader)

    run(test)


def test_a_fifo_waits_for_its_other_end_but_not_the_loop(tmp_path: Path) -> None:
    path = fifo(tmp_path)

    async def test(engine: FileEngine) -> None:
        opening = asyncio.ensure_future(engine.open(path, os.O_RDONLY))
        whole = asyncio.ensure_future(engine.stat(path))
        await whole
        await asyncio.sleep(0.02)
        assert not opening.done()
        writer = await engine.open(path, os.O_WRONLY)
        reader = await opening
        await engine.write(writer, b"through")
        await engine.close(writer)
        assert await engine.read(reader, 100) == b"through"
        assert await engine.read(reader, 100) == b""
        await engine.close(reader)

        def write() -> None:
            path.write_bytes(b"all of it")

        thread = threading.Thread(target=write)
        reading = asyncio.ensure_future(engine.read_file(path))
        await asyncio.sleep(0.01)
        thread.start()
        assert await reading == b"all of it"
        thread.join()

    run(test)


def test_an_operation_is_awaited_once(tmp_path: Path) -> None:
    async def test(engine: FileEngine) -> None:
        fd = await engine.open(tmp_path / "file", CREATE)
        writing = engine.write(fd, b"x")
        await writing
        with pytest.raises(RuntimeError, match="awaited already"):
            await writing
        await engine.close(fd)

    run(test)


def test_a_descriptor_that_nobody_takes_is_closed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    async def test(engine: FileEngine) -> None:
        for flags in (os.O_RDONLY, os.O_RDWR | os.O_CREAT):
            engine.open(tmp_path / "file", flags)
        fd = await engine.open(tmp_path / "file", os.O_RDONLY)
        await engine.close(fd)

    run(test)  # the fixture looks what is left open
