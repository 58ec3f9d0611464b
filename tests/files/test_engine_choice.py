"""Which engine files use: the environment, what the kernel allows, and what is said of it."""

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

import glassloop
from glassloop._io.file_engine import engine_of, explain_choice
from glassloop._io.uring import try_ring

from .engine_support import mode_is

HAS_RING = try_ring() == 0


@pytest.mark.parametrize(
    ("mode", "name", "inline"),
    [
        ("", "io_uring" if HAS_RING else "threads", True),
        ("auto", "io_uring" if HAS_RING else "threads", True),
        ("inline", "threads", True),
        ("threads", "threads", False),
        pytest.param(
            "uring", "io_uring", False, marks=pytest.mark.skipif(not HAS_RING, reason="no io_uring")
        ),
    ],
)
def test_each_choice(mode: str, name: str, inline: bool) -> None:
    loop = glassloop.EventLoop()
    with mode_is(mode):
        engine = engine_of(loop)
        chosen = explain_choice()
    assert (engine.name, engine.inline) == (name, inline) == chosen[:2]
    assert (f"GLASSLOOP_FILES={mode}" in chosen[2]) == (mode not in {"", "auto"})
    loop.close()


def test_an_unknown_choice_is_an_error() -> None:
    loop = glassloop.EventLoop()
    with mode_is("thread"):
        asking: list[Callable[[], object]] = [explain_choice, lambda: engine_of(loop)]
        for ask in asking:
            with pytest.raises(
                ValueError, match="GLASSLOOP_FILES='thread' .* none of auto, inline, uring, threads"
            ):
                ask()
    loop.close()


# A filter that refuses io_uring_setup, as container runtimes have one: a classic BPF program.
REFUSED = """
import ctypes, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
program = b"".join(struct.pack("HBBI", *line) for line in [
    (0x20, 0, 0, 0), (0x15, 0, 1, 425), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7fff0000)])
kept = ctypes.create_string_buffer(program)
code = ctypes.create_string_buffer(struct.pack("HxxxxxxP", 4, ctypes.addressof(kept)))
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, code, 0, 0):
    sys.exit(77)
import asyncio, os, glassloop
from glassloop._io.file_engine import engine_of, explain_choice
async def main():
    engine = engine_of(asyncio.get_running_loop())
    print(engine.name, engine.inline, len(await engine.read_file(sys.executable)) > 0)
print(*explain_choice())
glassloop.run(main())
os.environ["GLASSLOOP_FILES"] = "uring"
try:
    glassloop.run(main())
except RuntimeError as exc:
    print(exc)
"""


def test_where_the_kernel_refuses_io_uring() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "GLASSLOOP_FILES"}
    done = subprocess.run(
        [sys.executable, "-c", REFUSED], capture_output=True, text=True, timeout=60, env=environment
    )
    if done.returncode == 77:
        pytest.skip("no filter can be set here")
    assert done.stdout.splitlines() == [
        "threads True the kernel refuses io_uring: Operation not permitted",
        "threads True True",
        (
            "GLASSLOOP_FILES=uring, but the kernel refuses io_uring: Operation not permitted; "
            "`glassloop doctor` says whose setting that is. Unset the variable, or set it to auto"
        ),
    ], done.stderr
