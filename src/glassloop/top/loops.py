"""The loops of this machine, to choose one from: looked at again and again."""

import os
import time
from dataclasses import dataclass

from glassloop.glass import finder
from glassloop.glass.errors import ReadError
from glassloop.glass.histogram import Histogram
from glassloop.glass.layout import Phase
from glassloop.glass.model import Snapshot, share
from glassloop.glass.page import Page
from glassloop.glass.reader import take_snapshot
from glassloop.top.look import command_text

# For how long each loop times its steps after a look: enough for the scheduling delay, and nearly free.
_MOMENT_NS = 100_000_000


@dataclass(frozen=True, slots=True)
class LoopRow:
    """One loop."""

    pid: int
    inode: tuple[int, int]  # of its page: a process may have several
    thread: str
    utilization: float
    tasks: int
    ready: int
    delay_p99_ns: int  # 0: unknown
    status: str
    is_stuck: bool
    command: str


class LoopFinder:
    """Finds loops, and keeps what it saw of each for the next look."""

    def __init__(self, pid: int | None = None) -> None:
        """Look at all processes, or at one."""
        self.pid = pid
        self._before: dict[tuple[int, int], Snapshot] = {}

    def look(self) -> tuple[list[LoopRow], list[str]]:
        """Return the loops, and what is wrong with pages that cannot be read."""
        errors: list[str] = []
        rows = []
        seen: dict[tuple[int, int], Snapshot] = {}
        for page in self._pages(errors):
            with page:
                try:
                    snapshot = take_snapshot(page, with_tasks=False)
                except ReadError as error:
                    errors.append(str(error))
                    continue
                if snapshot.phase is Phase.CLOSED:
                    continue
                key = _key(page)
                seen[key] = snapshot
                rows.append(_row(key, snapshot, self._before.get(key)))
                page.ask_for_records(snapshot.clock.to_ticks(time.monotonic_ns() + _MOMENT_NS))
        self._before = seen
        return rows, errors

    def _pages(self, errors: list[str]) -> list[Page]:
        if self.pid is None:
            found = finder.find_all_pages(writable=True)
            errors.extend(str(error) for process in found for error in process.errors)
            return [page for process in found for page in process.pages]
        try:
            return open_pages(self.pid)
        except ReadError as error:
            errors.append(str(error))
            return []

    def open(self, row: LoopRow) -> Page:
        """Open the page of a row that was chosen; raise a ReadError if it is gone."""
        chosen = None
        for page in open_pages(row.pid):
            if chosen is None and _key(page) == row.inode:
                chosen = page
            else:
                page.close()
        if chosen is None:
            raise ReadError(f"the loop of process {row.pid} is gone")
        return chosen


def open_pages(pid: int) -> list[Page]:
    """Open the pages of a process: to ask its loop where that is allowed, else only to read."""
    try:
        return finder.find_pages(pid, writable=True)
    except ReadError:
        return finder.find_pages(pid)


def _key(page: Page) -> tuple[int, int]:
    found = os.fstat(page.fd)
    return found.st_dev, found.st_ino


def _row(key: tuple[int, int], now: Snapshot, before: Snapshot | None) -> LoopRow:
    busy_ns, idle_ns, delays = now.busy_ns, now.idle_ns, Histogram.empty()
    if before is not None:
        busy_ns, idle_ns = busy_ns - before.busy_ns, idle_ns - before.idle_ns
        delays = now.delay_histogram.since(before.delay_histogram)
    return LoopRow(
        pid=now.pid,
        inode=key,
        thread=now.thread_name,
        utilization=min(1.0, max(0.0, share(busy_ns, busy_ns + idle_ns))),
        tasks=now.unfinished,
        ready=now.ready,
        delay_p99_ns=now.quantile_ns(delays, 0.99),
        status=now.status,
        is_stuck=now.stuck is not None,
        command=command_text(now),
    )
