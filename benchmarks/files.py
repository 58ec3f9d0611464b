"""Files: what a program on each loop has for them, in a process of its own that checks what it has read.

On glassloop that is glassloop's own files, on every other loop a library of threads: aiofiles, AnyIO, or the
loop's default executor; Node.js has its fs/promises. Also the program that is measured:
`benchmarks.files NAME LOOP COUNT`.
"""

import asyncio
import importlib.util
import os
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial

from benchmarks import loops, node, processes
from benchmarks.questions import Better, Effort, Figure, Question, Summary

_SMALL_SIZE = 4096
_SMALL_FILES = 256
_LARGE_SIZE = 64 << 20
_COLD_SIZE = 256 << 20
_AT_ONCE = 16
_COLD_AT_ONCE = 256
_STALL_READS = 5
_NODE_PERIOD = 251  # as node/files.mjs has it

Read = Callable[[str], Awaitable[bytes]]


def questions() -> list[Question]:
    """Return the questions of this family."""

    def question(name: str, title: str, figure: Figure, count: int, library: str | None = None) -> Question:
        absent = library is not None and importlib.util.find_spec(library) is None
        missing = f"{library} is not installed" if absent else None
        return Question(
            "files",
            name,
            title,
            (figure,),
            Summary.MEDIAN,
            partial(_measure, name, count),
            unavailable=missing,
            has_node=name == "small_aiofiles",
        )

    per_file = partial(Figure, "value", "µs per file", Better.LESS)
    return [
        question(
            "small_aiofiles",
            "open, read, close a 4 KiB file, 16 at a time (others: aiofiles; Node: fs/promises)",
            per_file(20),
            6000,
            "aiofiles",
        ),
        question(
            "small_anyio",
            "open, read, close a 4 KiB file, 16 at a time (others: AnyIO)",
            per_file(20),
            6000,
            "anyio",
        ),
        question(
            "cold_reads",
            "4 KiB from the disk at random, 256 at a time (others: the default executor)",
            Figure("value", "µs per read", Better.LESS, 5),
            20_000,
        ),
        question(
            "large_stall",
            "longest wait of the loop while a cached file of 64 MiB is read (others: aiofiles)",
            Figure("value", "ms", Better.LESS, target_value=5),
            1,
            "aiofiles",
        ),
    ]


def _measure(name: str, count: int, loop: str, effort: Effort) -> dict[str, float]:
    scaled = max(int(count * effort.scale), 1)
    if loop == loops.NODE:
        return {"value": _measure_node(scaled, effort)}
    command = [sys.executable, "-m", "benchmarks.files", name, loop, str(scaled)]
    return {"value": float(processes.run(command, time_limit_s=effort.time_limit_s))}


def _measure_node(count: int, effort: Effort) -> float:
    """Return how many microseconds a small file takes Node.js; its script compares what it reads."""
    with tempfile.TemporaryDirectory(prefix="glassloop-bench-") as folder:
        for number in range(_SMALL_FILES):
            _write(
                os.path.join(folder, str(number)),
                bytes((number + place) % _NODE_PERIOD for place in range(_SMALL_SIZE)),
            )
        command = node.script("files", folder, _SMALL_FILES, _SMALL_SIZE, count, _AT_ONCE)
        return float(processes.run(command, time_limit_s=effort.time_limit_s)) / count * 1e6


# -- what is measured -----------------------------------------------------------------------------


def _reader(library: str, loop: str) -> Read:
    """Return how a whole file is read on this loop."""
    if loop == "glassloop":
        from glassloop.files import read_bytes

        return read_bytes
    if library == "anyio":
        import anyio

        async def read_by_anyio(path: str) -> bytes:
            async with await anyio.open_file(path, "rb") as file:
                return await file.read()

        return read_by_anyio
    import aiofiles  # type: ignore[import-untyped]

    async def read_by_aiofiles(path: str) -> bytes:
        async with aiofiles.open(path, "rb") as file:
            data: bytes = await file.read()
            return data

    return read_by_aiofiles


async def _all(works: list[Callable[[], Awaitable[None]]], at_once: int) -> float:
    """Do all of it, so many at a time; return the seconds that it took."""
    left = iter(works)

    async def work() -> None:
        for one in left:
            await one()

    began = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(at_once)))
    return time.perf_counter() - began


async def _small(library: str, loop: str, count: int, folder: str) -> float:
    read = _reader(library, loop)
    paths = [os.path.join(folder, str(number)) for number in range(_SMALL_FILES)]
    contents = [os.urandom(_SMALL_SIZE) for _ in paths]
    for path, data in zip(paths, contents, strict=True):
        _write(path, data)

    async def check(number: int) -> None:
        if await read(paths[number]) != contents[number]:
            raise AssertionError(f"{paths[number]} was not read as it is")

    await check(0)
    took = await _all([partial(check, number % _SMALL_FILES) for number in range(count)], _AT_ONCE)
    return took / count * 1e6


async def _cold(loop: str, count: int, folder: str) -> float:
    path = os.path.join(folder, "cold")
    block = os.urandom(1 << 20)
    _write(path, *(number.to_bytes(8, "little") + block[8:] for number in range(_COLD_SIZE >> 20)))
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    pages = _COLD_SIZE // _SMALL_SIZE
    places = [place * _SMALL_SIZE for place in random.sample(range(pages), min(count, pages))]
    running = asyncio.get_running_loop()
    read: Callable[[int], Awaitable[bytes]]
    if loop == "glassloop":
        from glassloop._io.file_engine import engine_of

        read = partial(_read_at, engine_of(running).read, fd)  # type: ignore[arg-type]
    else:
        read = partial(_read_in_executor, running, fd)

    async def check(place: int) -> None:
        within = place % (1 << 20)
        if (await read(place))[8:] != block[within + 8 : within + _SMALL_SIZE]:
            raise AssertionError(f"what lies at {place} was not read as it is")

    took = await _all([partial(check, place) for place in places], _COLD_AT_ONCE)
    os.close(fd)
    return took / len(places) * 1e6


def _read_at(read: Callable[[int, int, int], Awaitable[bytes]], fd: int, place: int) -> Awaitable[bytes]:
    return read(fd, _SMALL_SIZE, place)


def _read_in_executor(loop: asyncio.AbstractEventLoop, fd: int, place: int) -> Awaitable[bytes]:
    return loop.run_in_executor(None, os.pread, fd, _SMALL_SIZE, place)


async def _stall(loop: str, folder: str) -> float:
    read = _reader("aiofiles", loop)
    path = os.path.join(folder, "large")
    _write(path, *[os.urandom(1 << 20)] * (_LARGE_SIZE >> 20))
    longest_s = 0.0
    reading = True

    async def watch() -> None:
        nonlocal longest_s
        last = time.perf_counter()
        while reading:
            await asyncio.sleep(0)
            now = time.perf_counter()
            longest_s = max(longest_s, now - last)
            last = now

    await read(path)
    watching = asyncio.create_task(watch())
    for _ in range(_STALL_READS):
        await asyncio.sleep(0)
        if len(await read(path)) != _LARGE_SIZE:
            raise AssertionError(f"{path} was not read as it is")
    reading = False
    await watching
    return longest_s * 1e3


def _write(path: str, *parts: bytes) -> None:
    with open(path, "wb") as file:
        file.writelines(parts)


def main() -> None:
    name, loop_name, count = sys.argv[1:]
    loop = loops.make_loop(loop_name)
    with tempfile.TemporaryDirectory(prefix="glassloop-bench-") as folder:
        match name.split("_"):
            case "small", library:
                value = loop.run_until_complete(_small(library, loop_name, int(count), folder))
            case "cold", _:
                value = loop.run_until_complete(_cold(loop_name, int(count), folder))
            case _:
                value = loop.run_until_complete(_stall(loop_name, folder))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    print(value)


if __name__ == "__main__":
    main()
