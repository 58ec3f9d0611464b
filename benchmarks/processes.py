"""The processes of a measurement: each in its own session, with a time limit, and with its errors kept."""

import os
import select
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO

from benchmarks import quiet
from benchmarks.questions import Failed

_START_LIMIT_S = 15.0


def run(command: list[str], *, time_limit_s: float, cpu: int | None = None) -> str:
    """Return what a command printed; raise `Failed` with its last words if it failed or hung."""
    with tempfile.TemporaryFile("w+") as errors:
        process = _start(quiet.pinned(command, cpu), errors)
        try:
            output, _ = process.communicate(timeout=time_limit_s)
        except subprocess.TimeoutExpired:
            raise Failed(_reason(f"no end within {time_limit_s:g} s", errors)) from None
        finally:
            _end(process)
        if process.returncode != 0:
            raise Failed(_reason(_how_it_ended(process.returncode), errors))
        return output


@dataclass(frozen=True)
class Server:
    """A server process that has started."""

    pid: int
    port: int

    def cpu_seconds(self) -> float:
        """Return the CPU time that it has used so far, user and kernel, to a hundredth of a second."""
        with open(f"/proc/{self.pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def user_bytes(pid: int) -> int:
    """Return the bytes of memory of a process's own: no file pages, nothing of the kernel's side."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("Anonymous:"))


@contextmanager
def server(command: list[str]) -> Iterator[Server]:
    """Start a server that prints its port, and end it after use. A failure tells what the server said."""
    with tempfile.TemporaryFile("w+") as errors:
        process = _start(quiet.pinned(command, quiet.server_cpu()), errors)
        try:
            yield Server(process.pid, _read_port(process))
        except Failed as failure:
            raise Failed(_reason(str(failure), errors)) from None
        finally:
            _end(process)


def _start(command: list[str], errors: IO[str]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,
        text=True,
        start_new_session=True,
    )
    quiet.prioritize(process.pid)
    return process


def _read_port(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], _START_LIMIT_S)
    if not readable:
        raise Failed(f"the server did not start within {_START_LIMIT_S:g} s")
    line = process.stdout.readline()
    if not line.strip().isdigit():
        raise Failed(f"the server did not start: {_how_it_ended(process.wait(_START_LIMIT_S))}")
    return int(line)


def _end(process: subprocess.Popen[str]) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # a session of its own: its children go with it
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _how_it_ended(status: int) -> str:
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


def _reason(what: str, errors: IO[str]) -> str:
    errors.seek(0)
    lines = [line.strip() for line in errors.read().splitlines() if line.strip()]
    return f"{what}: {lines[-1][:300]}" if lines else what
