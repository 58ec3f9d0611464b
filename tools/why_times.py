"""How long `glassloop why` takes to answer, in each of the troubles for which it is there.

    python tools/why_times.py [--runs 5] [--json] [NAME ...]

Each trouble is a program of its own. When it is stuck, waits or spins, the command is run so many times; the
table shows the median of its wall times and of its CPU times, and whether it said what it must. The exit
status is 1 if it did not say so, or if a median is above the target. A test runs the same programs, for what
is said alone.
"""

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

TARGET_MS = 300
PATIENCE_S = 30.0
# What a program prints when its trouble is about to begin, and how long that takes at most.
READY = b"ready\n"
SETTLE_S = 0.4


class Trouble(NamedTuple):
    """A program, and what `glassloop why` must say of it: a regular expression."""

    name: str
    body: str  # of ``async def main()``
    says: str
    before: str = ""  # functions of the program's own


_TAKE = """
async def take(first, second):
    async with first:
        await asyncio.sleep(0.01)
        async with second:  # HERE
            pass
"""
_BLOCKS = r"STUCK for .*task hog blocks the loop\n  at {file}:{line} work\n"
_HOG = 'ready()\nawait asyncio.create_task(work(), name="hog")'


def _blocking(name: str, line: str, imports: str = "") -> Trouble:
    return Trouble(name, _HOG, _BLOCKS, f"{imports}\nasync def work():\n    {line}  # HERE\n")


_MANY = """
tasks = [asyncio.create_task(wait(), name=f"waiter {{n}}") for n in range({count})]
await asyncio.sleep(0)
ready()
await asyncio.sleep(600)
"""
# Each waits for something of its own: a sleep, an event, a queue, a lock, a future, another task.
_MANY_KINDS = """
locks, tasks = [], []
for number in range({count}):
    match number % 6:
        case 0: waits = asyncio.sleep(600 + number)
        case 1: waits = asyncio.Event().wait()
        case 2: waits = asyncio.Queue().get()
        case 3: waits = wait()
        case 4:
            locks.append(asyncio.Lock())
            await locks[-1].acquire()
            waits = use(locks[-1])
        case _: waits = join(tasks[-1])
    tasks.append(asyncio.create_task(waits))
await asyncio.sleep(0)
ready()
await asyncio.sleep(600)
"""
_WAITERS = """
kept = []
async def wait():
    kept.append(asyncio.get_running_loop().create_future())
    await kept[-1]  # HERE
async def use(lock):
    async with lock:
        pass
async def join(task):
    await task
"""
_LISTENER = (
    "import socket\nserver = socket.create_server(('127.0.0.1', 0))\nclient = socket.create_connection("
)
TROUBLES = (
    _blocking("time.sleep", "time.sleep(600)"),
    _blocking("busy loop", "while True: pass"),
    _blocking("regular expression", 're.match("(a+)+$", "a" * 64 + "b")'),
    _blocking("socket.recv", "client.recv(1)", f"{_LISTENER}server.getsockname())"),
    _blocking(
        "HTTP request",
        'requests.get("http://127.0.0.1:%d" % server.getsockname()[1])',
        "import socket, requests\nserver = socket.create_server(('127.0.0.1', 0))",
    ),
    Trouble(
        "deadlock",
        """
        a, b = asyncio.Lock(), asyncio.Lock()
        tasks = [asyncio.create_task(take(a, b), name="one"), asyncio.create_task(take(b, a), name="two")]
        ready()
        await asyncio.wait(tasks)
        """,
        r"wait cycle: (one|two) \(take\) at {file}:{line} take waits for Lock at \w+, held by (one|two) ",
        _TAKE,
    ),
    Trouble(
        "lost future",
        'ready()\nawait asyncio.create_task(fetch(), name="fetcher")',
        r"task fetcher waits at {file}:{line} fetch for a future .*nobody can finish it",
        "async def fetch():\n    await asyncio.get_running_loop().create_future()  # HERE\n",
    ),
    Trouble(
        "full executor",
        """
        from concurrent.futures import ThreadPoolExecutor
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
        jobs = [asyncio.create_task(job()) for _ in range(8)]
        ready()
        await asyncio.sleep(600)
        """,
        r"8 tasks in program.py:{line} job for a thread[\s\S]*all its 2 threads are busy and 6 jobs wait",
        "async def job():\n    await asyncio.to_thread(time.sleep, 600)  # HERE\n",
    ),
    Trouble(
        "descriptor spin",
        """
        import socket
        a, b = socket.socketpair()
        b.send(b"x")
        asyncio.get_running_loop().add_reader(a, look)
        ready()
        await asyncio.sleep(600)
        """,
        r"file descriptor \d+ is always ready and its handler, {file}:{line} look, takes nothing off it",
        "def look():  # HERE\n    pass\n",
    ),
    Trouble(
        "1,000 tasks",
        _MANY.format(count=1000),
        r"1000 tasks in program.py:{line} wait for a future",
        _WAITERS,
    ),
    Trouble(
        "100,000 tasks",
        _MANY.format(count=100_000),
        r"100000 tasks in program.py:{line} wait for a future",
        _WAITERS,
    ),
    Trouble(
        "100,000, six kinds",
        _MANY_KINDS.format(count=100_002),
        r"16667 tasks in program.py:{line} wait for a future",
        _WAITERS,
    ),
)


def program_of(trouble: Trouble) -> str:
    """Return the program's source."""
    body = "\n    ".join(line for line in _dedent(trouble.body).splitlines())
    return (
        "import asyncio, re, time\nimport glassloop\n"
        'def ready():\n    print("ready", flush=True)\n'
        f"{trouble.before}\nasync def main():\n    {body}\nglassloop.run(main())\n"
    )


def _dedent(text: str) -> str:
    lines = text.strip("\n").splitlines()
    space = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    return "\n".join(line[space:] for line in lines)


def expectation(trouble: Trouble, path: Path) -> str:
    """Return the regular expression, with the program's own file and line."""
    lines = path.read_text().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if text.endswith("# HERE"))
    return trouble.says.replace("{file}", re.escape(str(path))).replace("{line}", str(line))


@contextmanager
def running(trouble: Trouble, folder: Path) -> Iterator[tuple[int, Path]]:
    """Run a program in a process of its own until its trouble has begun; yield its number and its file."""
    path = folder / "program.py"
    path.write_text(program_of(trouble))
    with subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE) as process:
        try:
            if process.stdout is None or process.stdout.readline() != READY:
                raise RuntimeError(f"{trouble.name}: the program ended early")
            yield process.pid, path
        finally:
            process.kill()


class Run(NamedTuple):
    """One run of the command."""

    wall_ms: float
    cpu_ms: float
    text: str


def ask(pid: int) -> Run:
    """Run `glassloop why` once."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began_s = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "glassloop", "why", str(pid)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    wall_s = time.perf_counter() - began_s
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(wall_s * 1e3, cpu_s * 1e3, done.stdout + done.stderr)


def ask_until_said(pid: int, says: str) -> Run:
    """Run the command until it says what it must: a trouble that has just begun may not show yet."""
    end_s = time.monotonic() + PATIENCE_S
    while True:
        run = ask(pid)
        if re.search(says, run.text) or time.monotonic() > end_s:
            return run


def _measure(trouble: Trouble, runs: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder, running(trouble, Path(folder)) as (pid, path):
        says = expectation(trouble, path)
        ask_until_said(pid, says)
        time.sleep(SETTLE_S)
        found = [ask(pid) for _ in range(runs)]
    return {
        "trouble": trouble.name,
        "wall_ms": round(statistics.median(run.wall_ms for run in found)),
        "most_ms": round(max(run.wall_ms for run in found)),
        "cpu_ms": round(statistics.median(run.cpu_ms for run in found)),
        "said": all(re.search(says, run.text) for run in found),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("names", nargs="*", metavar="NAME")
    given = parser.parse_args(arguments)
    rows = []
    for trouble in TROUBLES:
        if not given.names or trouble.name in given.names:
            rows.append(row := _measure(trouble, given.runs))
            if not given.json:
                said = "yes" if row["said"] else "NO"
                print(
                    f"{trouble.name:<20} {row['wall_ms']:>5} ms  at most {row['most_ms']:>5} ms  "
                    f"CPU {row['cpu_ms']:>4} ms  said: {said}",
                    flush=True,
                )
    if given.json:
        print(json.dumps(rows, indent=2))
    well = all(row["said"] and int(str(row["wall_ms"])) <= TARGET_MS for row in rows)
    return 0 if rows and well else 1


if __name__ == "__main__":
    os.environ.pop("GLASSLOOP_PAGE", None)
    sys.exit(main())
