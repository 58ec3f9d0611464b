"""Programs on glassloop in processes of their own, to be looked at from outside."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from glassloop.glass import finder
from glassloop.glass.model import Snapshot, TaskView
from glassloop.glass.reader import take_snapshot
from glassloop.glass.reasons import WaitKind

Start = Callable[..., "Program"]
PATIENCE_S = 45.0
# Each program's task under test; `ready()` tells the test that the loop runs.
HEAD = """
import asyncio, os, re, sys, time, threading, glassloop
def ready():
    print("ready", flush=True)
"""


class Program:
    """A program on glassloop, in a process of its own."""

    def __init__(self, path: Path, environment: dict[str, str]) -> None:
        self.path = path
        self.process = subprocess.Popen(
            [sys.executable, str(path)],
            stdout=subprocess.PIPE,
            env=os.environ | environment,
            start_new_session=True,
        )
        self.pid = self.process.pid

    def wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"ready\n", "the program ended early"

    def look(self) -> Snapshot:
        (page,) = finder.find_pages(self.pid)
        with page:
            return take_snapshot(page)

    def look_until(self, condition: Callable[[Snapshot], object]) -> Snapshot:
        """Look until the page says so: what a program does after `ready()` takes it a moment."""
        deadline = time.monotonic() + PATIENCE_S
        snapshot = self.look()
        while not condition(snapshot):
            assert time.monotonic() < deadline, f"never so: {snapshot}"
            time.sleep(0.01)
            snapshot = self.look()
        return snapshot

    def command(self, *words: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "glassloop", *words], capture_output=True, text=True, timeout=60
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout + done.stderr

    def line_of(self, text: str, *, in_function: str = "") -> int:
        """The number of the program's line that holds this text: the only one, or the first of a function."""
        lines = list(enumerate(self.path.read_text().splitlines(), 1))
        if in_function:
            first = next(n for n, line in lines if f"def {in_function}(" in line)
            return next(n for n, line in lines if n > first and text in line)
        (number,) = [n for n, line in lines if text in line]
        return number

    def end(self) -> None:
        """End the program and its children; doing it twice does no harm."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def named(snapshot: Snapshot, name: str) -> TaskView:
    (task,) = [task for task in snapshot.tasks if task.name == name]
    return task


def waits_as(name: str, kind: WaitKind) -> Callable[[Snapshot], bool]:
    def holds(snapshot: Snapshot) -> bool:
        return any(
            task.name == name and task.reason is not None and task.reason.kind is kind
            for task in snapshot.tasks
        )

    return holds


def start_ring(start: Start) -> Program:
    """Start a program of two tasks, one and two, that await each other, and wait until they do."""
    program = start(
        """
        tasks = []
        tasks.append(asyncio.create_task(wait_for(tasks, 1), name="one"))
        tasks.append(asyncio.create_task(wait_for(tasks, 0), name="two"))
        ready()
        await asyncio.sleep(60)
        """,
        "async def wait_for(tasks, number):\n    await asyncio.sleep(0)\n    await tasks[number]\n",
    )
    program.look_until(
        lambda look: waits_as("one", WaitKind.TASK)(look) and waits_as("two", WaitKind.TASK)(look)
    )
    return program
