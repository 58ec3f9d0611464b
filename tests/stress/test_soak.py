"""A short soak passes, and one that goes wrong says so and fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import glassloop

from .support import SANITIZED

SOAK = Path(__file__).with_name("soak.py")
KINDS = ["tcp", "tls", "udp", "processes", "pipes", "offload"]
if hasattr(glassloop, "open"):
    KINDS.append("files")


def soak(*words: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run the soak in a process of its own, after some Python."""
    start = f"import runpy, sys; sys.argv = {[str(SOAK), *words]!r}\n"
    program = f"{start}{before}\nrunpy.run_path({str(SOAK)!r}, run_name='__main__')"
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=110, env=os.environ
    )


@pytest.mark.skipif(SANITIZED, reason="what is freed stays in quarantine: memory grows")
def test_a_few_seconds() -> None:
    done = soak("--seconds", "3", "--only", ",".join(KINDS))
    *_, last = done.stdout.splitlines()
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    assert last.startswith("soak: ok: 3 s, ") and "no error, no lost byte; memory " in last
    assert all(f"{kind} " in last and f"{kind} 0" not in last for kind in KINDS)


# Each breaks something on purpose.
FAULTS = {
    "a byte that changes": (
        "tcp",
        """
import asyncio
plain = asyncio.StreamReader.readexactly
async def readexactly(self, count):
    data = await plain(self, count)
    return b"?" + data[1:] if data[:1] != b"?" else b"!" + data[1:]
asyncio.StreamReader.readexactly = readexactly
""",
        "tcp: ",
    ),
    "a descriptor that stays open": (
        "udp",
        """
import glassloop, os
plain = glassloop.EventLoop.create_datagram_endpoint
async def create_datagram_endpoint(self, *arguments, **options):
    os.dup(0)
    return await plain(self, *arguments, **options)
glassloop.EventLoop.create_datagram_endpoint = create_datagram_endpoint
""",
        "left behind: ",
    ),
    "memory that stays": (
        "offload",
        """
import zlib
kept, plain = [], zlib.crc32
def crc32(data):
    kept.append(bytes(1 << 16))
    return plain(data)
zlib.crc32 = crc32
""",
        "it is not flat",
    ),
    "an error that the loop reports": (
        "offload",
        """
import asyncio, glassloop
plain = glassloop.EventLoop.set_exception_handler
def set_exception_handler(self, handler):
    plain(self, handler)
    self.call_soon(int, "no number")
glassloop.EventLoop.set_exception_handler = set_exception_handler
""",
        "the loop reported 1 errors",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_found(name: str) -> None:
    kind, before, text = FAULTS[name]
    done = soak("--seconds", "2", "--only", kind, before=before)
    assert done.returncode == 1, f"{done.stdout}{done.stderr}"
    last = done.stdout.splitlines()[-1]
    assert last.startswith("soak: FAILED: ") and text in last


def test_bad_words() -> None:
    done = soak("--only", "tcp,carrier-pigeon")
    assert done.returncode == 2 and "no such kind: carrier-pigeon" in done.stderr
