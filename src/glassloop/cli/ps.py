"""List the loops of this machine: what each process does with its loop, and whether it is stuck.

PID, the loop's thread, UTIL (the share of the last moment that the loop spent running, not waiting for
events), tasks, tasks that are ready to run, the 99th percentile of the scheduling delay (ready until
running, in that moment), and what the loop does: waiting, running, stuck and for how long.

What the programs wrote into shared memory is read; they need not answer. Only your own processes show;
root sees all.

The exit status is 0, also where there is no loop; 2 if the command line is wrong.
"""

import argparse
import json
import time
from dataclasses import dataclass

from glassloop.cli._targets import FINE, Style, prepare_stdout
from glassloop.glass import finder
from glassloop.glass.errors import ReadError
from glassloop.glass.layout import Phase
from glassloop.glass.model import Snapshot, share
from glassloop.glass.page import Page
from glassloop.glass.reader import take_snapshot
from glassloop.glass.text import duration, shorten

# Between the two looks from which the utilization comes.
MOMENT_S = 0.1
_MOMENT_NS = 100_000_000
_COLUMNS = ("PID", "THREAD", "UTIL", "TASKS", "READY", "P99", "STATUS", "COMMAND")
_COMMAND_WIDTH = 60


@dataclass(frozen=True, slots=True)
class Row:
    """One loop."""

    pid: int
    thread: str
    utilization: float
    tasks: int
    ready: int
    delay_p99_ns: int
    stuck_ns: int  # 0: it is not stuck
    status: str
    command: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser the verb's options."""
    parser.add_argument("--json", action="store_true", help="print the loops as one JSON object")
    parser.add_argument("--closed", action="store_true", help="also show loops that are closed")


def main(arguments: argparse.Namespace) -> int:
    """Look at every loop, print what it does, return the exit status."""
    prepare_stdout()
    rows, errors = look(with_closed=arguments.closed)
    if arguments.json:
        print(json.dumps({"loops": [as_json(row) for row in rows], "errors": errors}, indent=2))
        return FINE
    style = Style.of_stdout()
    for line in render(rows, style):
        print(line)
    for pid, error in errors.items():
        print(style.warn(f"process {pid}: {error}"))
    return FINE


def look(*, with_closed: bool = False) -> tuple[list[Row], dict[int, str]]:
    """Return the loops of this machine, and what is wrong with pages that cannot be read, by process."""
    first: list[tuple[Page, Snapshot]] = []
    errors: dict[int, str] = {}
    found = finder.find_all_pages(writable=True)
    rows = []
    try:
        for process in found:
            for error in process.errors:
                errors[process.pid] = str(error)
            for page in process.pages:
                try:
                    snapshot = take_snapshot(page, with_tasks=False)
                except ReadError as error:
                    errors[process.pid] = str(error)
                    continue
                if with_closed or snapshot.phase is not Phase.CLOSED:
                    page.ask_for_records(snapshot.clock.to_ticks(time.monotonic_ns() + _MOMENT_NS))
                    first.append((page, snapshot))
        if first:
            time.sleep(MOMENT_S)
        for page, earlier in first:
            try:
                rows.append(_row(earlier, take_snapshot(page, with_tasks=False)))
            except ReadError as error:
                errors[page.pid] = str(error)
    finally:
        for process in found:
            for page in process.pages:
                page.close()
    return rows, errors


def _row(earlier: Snapshot, now: Snapshot) -> Row:
    delays = now.delay_histogram.since(earlier.delay_histogram)
    busy_ns, idle_ns = now.busy_ns - earlier.busy_ns, now.idle_ns - earlier.idle_ns
    return Row(
        pid=now.pid,
        thread=now.thread_name,
        utilization=min(1.0, max(0.0, share(busy_ns, busy_ns + idle_ns))),
        tasks=now.unfinished,
        ready=now.ready,
        delay_p99_ns=now.quantile_ns(delays, 0.99),
        stuck_ns=now.stuck.for_ns if now.stuck is not None else 0,
        status=now.status,
        command=" ".join(now.command),
    )


def as_json(row: Row) -> dict[str, object]:
    """Return a loop as what ``--json`` prints."""
    return {
        "pid": row.pid,
        "thread": row.thread,
        "utilization": round(row.utilization, 4),
        "tasks": row.tasks,
        "ready": row.ready,
        "delay_p99_ns": row.delay_p99_ns,
        "stuck": row.stuck_ns > 0,
        "stuck_ns": row.stuck_ns,
        "status": row.status,
        "command": row.command,
    }


def render(rows: list[Row], style: Style) -> list[str]:
    """Return the table that a person reads."""
    if not rows:
        return ["No loop of glassloop's runs here that this user may see."]
    cells = [_COLUMNS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_COLUMNS))]
    lines = []
    for number, line in enumerate(cells):
        padded = [
            cell.rjust(width) if name in ("PID", "UTIL", "TASKS", "READY", "P99") else cell.ljust(width)
            for name, cell, width in zip(_COLUMNS, line, widths, strict=True)
        ]
        if number == 0:
            lines.append(style.strong("  ".join(padded).rstrip()))
        else:
            padded[6] = style.bad(padded[6]) if rows[number - 1].stuck_ns else padded[6]
            lines.append("  ".join(padded).rstrip())
    return lines


def _cells(row: Row) -> tuple[str, ...]:
    return (
        str(row.pid),
        shorten(row.thread, 20),
        f"{row.utilization:.0%}",
        str(row.tasks),
        str(row.ready),
        duration(row.delay_p99_ns) if row.delay_p99_ns else "-",
        row.status,
        shorten(row.command, _COMMAND_WIDTH),
    )
