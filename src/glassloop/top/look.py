"""The source: one look at a loop's page at a time, each with the records that came since the one before."""

import os
import time
from dataclasses import dataclass

from glassloop.glass import raw
from glassloop.glass.layout import Kind
from glassloop.glass.model import Frame, Snapshot
from glassloop.glass.page import Page
from glassloop.glass.raw import RawRecord
from glassloop.glass.reader import SiteTable, take_snapshot
from glassloop.glass.stacks import PATIENCE_S, ask_for_stacks

# How much longer than until the next look the loop is asked to time each step: a look may come late.
_LEASE_MORE_S = 1.0


@dataclass(frozen=True, slots=True)
class Look:
    """A loop at one moment, and what it has recorded since the look before."""

    snapshot: Snapshot
    records: tuple[RawRecord, ...]  # without those that only name a task
    lost: int  # records that were overwritten before we came
    since_ns: int  # from when on the records are complete
    sites: SiteTable


class LoopSource:
    """Looks at one loop. Used by one thread at a time."""

    def __init__(self, page: Page, interval_s: float) -> None:
        """Take over an open page, for a look every so often."""
        self.page = page
        self.interval_s = interval_s
        self._next_record = page.live().records
        self._last_ns = 0

    def close(self) -> None:
        """Let go of the page."""
        self.page.close()

    def look(self) -> Look:
        """Return what the page says now; raise a ReadError if it cannot be read."""
        first, data, end = self.page.records(self._next_record)
        lost, self._next_record = max(0, first - self._next_record), end
        snapshot = take_snapshot(self.page)
        lease_ns = round((2 * self.interval_s + _LEASE_MORE_S) * 1e9)
        self.page.ask_for_records(snapshot.clock.to_ticks(time.monotonic_ns() + lease_ns))
        records = tuple(map(RawRecord._make, raw.RECORD.iter_unpack(data)))
        records = tuple(one for one in records if Kind.STEP <= one.kind <= Kind.CALL)
        since_ns = self._last_ns or snapshot.now_ns
        if lost and records:
            since_ns = max(since_ns, snapshot.clock.to_ns(records[0].ticks))
        self._last_ns = snapshot.now_ns
        return Look(
            snapshot, records, lost, min(since_ns, snapshot.now_ns), SiteTable(self.page, self.page.live())
        )

    def await_stack(self, task_id: int) -> tuple[Frame, ...] | None:
        """Ask the loop where a task waits; the innermost frame is last. None: no answer."""
        stacks = ask_for_stacks(self.page, PATIENCE_S, task_id)
        return None if stacks is None else stacks.get(task_id, ())


def command_text(snapshot: Snapshot) -> str:
    """Return the command line, the interpreter's own path shortened to its name."""
    first, *rest = snapshot.command or ("?",)
    return " ".join([os.path.basename(first), *rest])
