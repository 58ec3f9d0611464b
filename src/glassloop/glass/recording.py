"""Records out of a page's ring: what is in it now, or all that passes through it for a while."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from glassloop.glass import layout, raw
from glassloop.glass.layout import Cause, Kind, Running, State
from glassloop.glass.model import Snapshot, TaskView
from glassloop.glass.page import Page
from glassloop.glass.raw import RawRecord
from glassloop.glass.reader import SiteTable, take_snapshot
from glassloop.glass.text import duration
from glassloop.glass.ticks import TickClock

# What is kept of a long recording: its end.
MOST_RECORDS = 400_000
_LONGEST_PAUSE_S = 0.02
_SHORTEST_PAUSE_S = 0.0002
# Tasks come and go; their names are looked up this often, while there are not too many.
_NAMES_EVERY_S = 0.1
_LEASE_NS = 1_000_000_000
_MOST_NAMED = 5000


@dataclass(frozen=True, slots=True)
class Chunk:
    """Records that follow each other without a gap, and how many were lost before the first."""

    lost: int
    data: bytes

    def __len__(self) -> int:
        return len(self.data) // layout.RECORD.size

    def records(self) -> list[RawRecord]:
        """Unpack them."""
        return [RawRecord._make(fields) for fields in raw.RECORD.iter_unpack(self.data)]


@dataclass(slots=True)
class Recording:
    """Records with all that is needed to name what they tell about."""

    snapshot: Snapshot  # taken at the end
    sites: SiteTable
    start_ns: int  # what lies before was not asked for
    end_ns: int
    chunks: list[Chunk] = field(default_factory=list)
    tasks: dict[int, TaskView] = field(default_factory=dict)  # all that were seen, also those that are gone
    at_start: tuple[TaskView, ...] = ()  # as they were before the first record
    cut_ns: int = 0  # how much of the beginning was dropped: there were too many records
    overran: int = 0  # how many records the ring had lost before anybody read it

    @property
    def lost(self) -> int:
        """How many records were overwritten before we came to read them."""
        return sum(chunk.lost for chunk in self.chunks)

    def __len__(self) -> int:
        return sum(len(chunk) for chunk in self.chunks)

    def what_is_missing(self) -> Iterator[str]:
        """Say in sentences what was asked for and is not in it; nothing, where all is."""
        if self.overran:
            yield (
                f"the ring holds the newest {len(self):,} of {len(self) + self.overran:,} records: "
                f"the first {duration(self.cut_ns)} are missing"
            )
            return
        if self.lost:
            yield (
                f"the loop was too quick: {self.lost:,} of {self.lost + len(self):,} records were "
                "overwritten before they were read; gaps show as empty"
            )
        if self.cut_ns > 0:
            shown = duration(self.end_ns - self.start_ns)
            yield f"too much happened: only the last {shown} are shown"


def read_ring(page: Page, snapshot: Snapshot | None = None) -> Recording:
    """Return what the ring holds now."""
    overran, data, _ = page.records()
    snapshot = snapshot or take_snapshot(page)
    chunks = [Chunk(0, data)]
    first = _first_ticks(data)
    start_ns = snapshot.started_ns if first is None else snapshot.clock.to_ns(first)
    start_ns = min(start_ns, snapshot.now_ns)
    tasks = {task.id: task for task in snapshot.tasks}
    found = Recording(snapshot, SiteTable(page, page.live()), start_ns, snapshot.now_ns, chunks, tasks)
    if overran:
        found.overran = overran
        found.cut_ns = max(0, start_ns - snapshot.started_ns)
    _name_those_that_are_gone(found)
    return found


def _first_ticks(data: bytes) -> int | None:
    """Return when the first record begins that tells of a moment; None: there is none."""
    for fields in raw.RECORD.iter_unpack(data):
        record = RawRecord._make(fields)
        if record.kind not in (Kind.NONE, Kind.NAME):
            return record.ticks
    return None


def _name_those_that_are_gone(recording: Recording) -> None:
    """Add the tasks that ended: their slots have gone to others, and a record says what they were."""
    clock, sites = recording.snapshot.clock, recording.sites
    for chunk in recording.chunks:
        for fields in raw.RECORD.iter_unpack(chunk.data):
            if fields[1] != Kind.NAME:
                continue
            record = RawRecord._make(fields)
            name, parent_id = record.subject & 0xFFFFFFFF, record.subject >> 32
            recording.tasks[record.task] = TaskView(
                id=record.task,
                name=sites.string(name) if name else f"Task-{record.task}",
                state=State.DONE,
                since_ns=0,
                state_ns=0,
                reason=None,
                awaited_id=0,
                deadline_ns=0,
                cause=Cause.CREATED,
                cause_running=Running.NOTHING,
                cause_id=0,
                cpu_ns=0,
                created_ns=clock.to_ns(record.ticks),
                age_ns=0,
                parent_id=parent_id,
                steps=0,
                wakeups=0,
                coroutine=sites[record.duration],
                site=None,
                site_number=0,
                creator=None,
            )


def _lease(page: Page, clock: TickClock) -> float:
    """Have each step recorded for a while; return when to ask again. A reader that dies leaves nothing on."""
    page.ask_for_records(clock.to_ticks(time.monotonic_ns() + _LEASE_NS))
    return time.monotonic() + _LEASE_NS / 2e9


def record(page: Page, seconds: float) -> Recording:
    """Read the ring for a while, often enough not to lose records, and return all that came."""
    number = page.live().records
    first = take_snapshot(page, with_blocks=False)
    lease_s = _lease(page, first.clock)
    tasks = {task.id: task for task in first.tasks}
    chunks: list[Chunk] = []
    kept = 0
    pause_s = 0.001
    end_s = time.monotonic() + seconds
    names_s = time.monotonic() + _NAMES_EVERY_S
    capacity = page.header.record_capacity
    while (now_s := time.monotonic()) < end_s:
        try:
            time.sleep(min(pause_s, end_s - now_s))
        except KeyboardInterrupt:  # that is enough
            end_s = now_s
        begin, data, end = page.records(number)
        if data:
            chunks.append(Chunk(begin - number, data))
            kept += len(chunks[-1])
            while kept - len(chunks[0]) > MOST_RECORDS:
                kept -= len(chunks.pop(0))
        # A fourth of the ring between two looks leaves room for a look that comes late.
        pause_s = pause_s / 2 if end - number > capacity // 4 else pause_s * 1.2
        pause_s = min(max(pause_s, _SHORTEST_PAUSE_S), _LONGEST_PAUSE_S)
        number = end
        if time.monotonic() >= lease_s:
            lease_s = _lease(page, first.clock)
        if time.monotonic() >= names_s and len(tasks) < _MOST_NAMED:
            tasks.update((task.id, task) for task in take_snapshot(page, with_blocks=False).tasks)
            names_s = time.monotonic() + _NAMES_EVERY_S
    end_ns = time.monotonic_ns()  # what comes later, while the tasks are looked at, is not shown
    begin, data, _ = page.records(number)
    if data:
        chunks.append(Chunk(begin - number, data))
    snapshot = take_snapshot(page, with_blocks=False)
    start_ns = first.now_ns
    if chunks and kept + len(chunks[-1]) > MOST_RECORDS:  # its beginning went
        start_ns = max(start_ns, snapshot.clock.to_ns(_first_ticks(chunks[0].data) or 0))
    tasks.update((task.id, task) for task in snapshot.tasks)
    sites = SiteTable(page, page.live())
    cut_ns = start_ns - first.now_ns
    at_start = () if cut_ns else first.tasks
    found = Recording(snapshot, sites, start_ns, max(start_ns, end_ns), chunks, tasks, at_start, cut_ns)
    _name_those_that_are_gone(found)
    return found
