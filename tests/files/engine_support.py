"""What the tests of the engine below files share."""

import asyncio
import ctypes
import mmap
import os
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import glassloop
from glassloop._io.file_engine import VARIABLE, FileEngine, engine_of
from glassloop._io.uring import try_ring

PATIENCE_S = 20

MODES = [
    "auto",
    "inline",
    pytest.param("uring", marks=pytest.mark.skipif(try_ring() != 0, reason="the kernel refuses io_uring")),
    "threads",
]


@contextmanager
def mode_is(mode: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, mode)
        yield


def run(test: Callable[[FileEngine], Any], loop: asyncio.AbstractEventLoop | None = None) -> None:
    """Run a test with the engine of a loop, which is closed at the end; nothing may be left open."""

    async def main() -> None:
        await asyncio.wait_for(test(engine_of(asyncio.get_running_loop())), PATIENCE_S)  # type: ignore[arg-type]

    if loop is None:
        loop = glassloop.EventLoop()
    reports: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: reports.append(context))
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    assert reports == []


def open_descriptors() -> set[str]:
    """What this process has open, without what only looking opens and the page that the next loop uses."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if "memfd:glassloop" not in target:
            found.add(f"{name} {target}")
    return found


def fifo(folder: Path) -> Path:
    path = folder / "fifo"
    os.mkfifo(path)
    return path


def in_thread(function: Callable[[], object]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something is so."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.001)


@contextmanager
def kernel_ring() -> Iterator[memoryview]:
    """The flags of this process's one submission queue, as the kernel and the loop see them: one uint32."""
    parameters = bytearray(120)  # struct io_uring_params, whose sq_off.flags says where they lie
    made = ctypes.CDLL(None, use_errno=True).syscall(
        425, 4, (ctypes.c_char * len(parameters)).from_buffer(parameters)
    )
    assert made >= 0, os.strerror(ctypes.get_errno())
    os.close(made)
    (offset,) = struct.unpack_from("=I", parameters, 56)
    (ring,) = (int(name.split()[0]) for name in open_descriptors() if "io_uring" in name)
    with mmap.mmap(ring, mmap.PAGESIZE, offset=0) as memory, memoryview(memory) as view:
        with view[offset : offset + 4] as part, part.cast("I") as flags:
            yield flags
