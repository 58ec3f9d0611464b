"""The demonstration: 10,000 downloads at once on glassloop and on stock asyncio, and what threads would take.

    make demo        or        python examples/demo.py [--at-once 10000] [--requests 30000]

It ends with a look into the loop: the timeline of such downloads, and a task that blocks them, found by name.
Needs no network but loopback. Each program is an ordinary asyncio program in a process of its own; the only
difference between the two columns is `python program.py` and `glassloop run program.py`.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parent
PYTHON = [sys.executable]
GLASSLOOP = [sys.executable, "-m", "glassloop", "run"]
THREADS_MEASURED = 1000
LOOKED_INTO = 500  # downloads at once where each step is recorded
BLOCK_SECONDS = 0.3
KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


def heading(text: str) -> None:
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() and "NO_COLOR" not in os.environ else ("", "")
    print(f"\n{bold}{text}{plain}", flush=True)


def run(how: list[str], program: str, *words: str) -> Any:
    """Run an example, let its progress through to the terminal, and return the JSON that it prints."""
    done = subprocess.run(
        [*how, str(EXAMPLES / program), *words], stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != 0:
        sys.exit(f"examples/{program} ended with status {done.returncode}")
    return json.loads(done.stdout)


def size(count: float) -> str:
    """Say a number of bytes so that a person can compare it."""
    for unit, name in ((GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")):
        if count >= 10 * unit or (unit > KIB and count >= unit):
            return f"{count / unit:,.1f} {name}"
    return f"{count:,.0f} B"


def print_table(rows: list[tuple[str, ...]]) -> None:
    """Print rows whose first cell is a name and whose first row is the heading."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
        ]
        print("  " + "   ".join(cells).rstrip())


def print_downloads(ours: dict[str, Any], stock: dict[str, Any]) -> None:
    runs = (ours, stock)
    print_table(
        [
            ("", "glassloop", "asyncio"),
            ("time", *(f"{run['seconds']:.2f} s" for run in runs)),
            ("requests per second", *(f"{run['requests'] / run['seconds']:,.0f}" for run in runs)),
            ("processor time of the client", *(f"{run['processor_seconds']:.2f} s" for run in runs)),
            ("requests waiting at once, at most", *(f"{run['waiting_max']:,}" for run in runs)),
            ("  of these at the server", *(f"{run['waiting_max_at_the_site']:,}" for run in runs)),
            ("pages that came back right", *(f"{run['requests']:,}" for run in runs)),
            (
                "memory per waiting request",
                *(size(run["resident_bytes_per_request_waiting"]) for run in runs),
            ),
        ]
    )
    print("  (memory per request: the task with its connection and all that the HTTP client keeps for it)")


def print_memory(
    at_once: int, ours: dict[str, float], stock: dict[str, float], thread: dict[str, float]
) -> None:
    print_table(
        [
            ("", "resident", "address space"),
            ("1 task on glassloop", *_sizes(ours, 1)),
            ("1 task on asyncio", *_sizes(stock, 1)),
            ("1 thread", *_sizes(thread, 1)),
            (f"{at_once:,} tasks on glassloop", *_sizes(ours, at_once)),
            (f"{at_once:,} tasks on asyncio", *_sizes(stock, at_once)),
            (f"{at_once:,} threads, extrapolated from {THREADS_MEASURED:,}", *_sizes(thread, at_once)),
        ]
    )
    print(
        f"  (tasks: {at_once:,} real ones in asyncio.sleep(); threads: {THREADS_MEASURED:,} in Event.wait();"
    )
    print("   the kernel's own stack of each thread, 16 KiB, is not counted)")


def _sizes(measured: dict[str, float], times: int) -> tuple[str, str]:
    return size(measured["resident_bytes_each"] * times), size(measured["virtual_bytes_each"] * times)


def tell(file: str, *words: str) -> str:
    """Show a command that a person would type, and return what it prints."""
    print(f"$ glassloop {' '.join(words)}", flush=True)
    command = [sys.executable, "-m", "glassloop", *(file if word == "FILE" else word for word in words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode not in (0, 1):  # 1: there is trouble in the loop
        sys.exit(f"glassloop {words[0]} ended with status {done.returncode}")
    return done.stdout


def look_into_it(at_once: int) -> None:
    """Download with one task that blocks; show the timeline, and have the recorder name the task's line."""
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "record")
        words = [f"--at-once={at_once}", f"--requests={2 * at_once}", f"--block={BLOCK_SECONDS}", "--json"]
        print(f"$ glassloop run --record FILE examples/download_10k.py {' '.join(words[:-1])}", flush=True)
        run([*GLASSLOOP, "--record", file], "download_10k.py", *words)
        print(tell(file, "trace", "FILE", "--tasks", "14"), end="")
        found = json.loads(tell(file, "why", "FILE", "--json"))
    blocks = [block for loop in found["loops"] for block in loop["blocks"] if block["name"] == "clumsy"]
    if not blocks:
        sys.exit("the task that blocked the loop was not found")
    frame = next(frame for frame in blocks[0]["stack"] if frame["file"].endswith("download_10k.py"))
    place = f"{os.path.relpath(frame['file'])}:{frame['line']}, in {frame['function']}"
    print(f"task clumsy blocked the loop for {blocks[0]['length_ns'] / 1e6:.0f} ms at {place}")


def main(at_once: int, requests: int) -> None:
    start = time.perf_counter()
    words = [f"--at-once={at_once}", f"--requests={requests}", "--json"]

    heading(f"{requests:,} downloads, {at_once:,} at once, on glassloop (a page takes half a second)")
    ours = run(GLASSLOOP, "download_10k.py", *words)
    heading("The same program on stock asyncio")
    stock = run(PYTHON, "download_10k.py", *words)
    if (ours["loop"], stock["loop"]) != ("glassloop", "asyncio"):
        sys.exit(f"the loops that ran were {ours['loop']} and {stock['loop']}")
    at_once = ours["waiting_max"]

    heading("What happened")
    print_downloads(ours, stock)

    heading("What waiting costs")
    print_memory(
        at_once,
        run(GLASSLOOP, "waiting_memory.py", "tasks", str(at_once)),
        run(PYTHON, "waiting_memory.py", "tasks", str(at_once)),
        run(PYTHON, "waiting_memory.py", "threads", str(THREADS_MEASURED)),
    )

    heading("Two tasks that sleep one second each, on glassloop")
    sys.stdout.flush()
    subprocess.run([*GLASSLOOP, str(EXAMPLES / "two_sleeps.py")], check=True)

    heading("A look into the loop: each step recorded, and one task that blocks it on purpose")
    look_into_it(min(at_once, LOOKED_INTO))
    print(f"\nThe demonstration took {time.perf_counter() - start:.0f} s.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--at-once", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=30_000)
    arguments = parser.parse_args()
    main(arguments.at_once, arguments.requests)
