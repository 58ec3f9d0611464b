"""What the stress tests share: programs in a process of their own, limits, and the process's own figures."""

import asyncio
import os
import resource
import selectors
import subprocess
import sys
import textwrap

import glassloop

SANITIZED = "GLASSLOOP_SANITIZE" in os.environ


def new_loop(kind: str) -> glassloop.EventLoop:
    """A loop on the poller of its own (``epoll``) or on ``select``."""
    return glassloop.EventLoop(selectors.SelectSelector() if kind == "select" else None)


def run_program(source: str, *args: object, timeout_s: float = 100) -> str:
    """Run Python source in a process of its own; what it prints. It must end with exit code 0."""
    command = [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(source), *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
    assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def raise_descriptor_limit(wanted: int) -> int:
    """Allow this process ``wanted`` file descriptors, or as many as it may; how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        return allowed
    return max(soft, allowed)


def open_descriptors() -> int:
    """How many file descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))


def run_turn(loop: asyncio.AbstractEventLoop, turns: int = 1) -> None:
    """Let a loop turn that is not running."""
    for _ in range(turns):
        loop.stop()
        loop.run_forever()
