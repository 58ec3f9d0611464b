"""The reader: a page's bytes become a ``Snapshot``, without the program's help and without trust in it."""

import time
from collections.abc import Iterator

from glassloop.glass import finder, layout, raw
from glassloop.glass.errors import BadPageError
from glassloop.glass.histogram import split_histograms
from glassloop.glass.layout import Kind, Phase, Running
from glassloop.glass.model import BlockView, Frame, Snapshot, Stuck
from glassloop.glass.page import Page, SlotCopies
from glassloop.glass.raw import RawBlock, RawLive
from glassloop.glass.reasons import Site
from glassloop.glass.task_table import TaskTable, task_name, with_running_task
from glassloop.glass.text import clean, decode
from glassloop.glass.ticks import read_clock

_MOST_FRAMES = 128
# How long a step that no watchdog has reported is looked at before it counts as stuck.
_LOOKS = 10
_LOOK_EVERY_S = 0.005
# Letters of proc_pid_stat(5): no such process, a zombie, dead.
_ENDED = ("", "Z", "X")
# A page may hold any number.
_RUNNING = {running.value: running for running in Running}
_PHASES = {phase.value: phase for phase in Phase}


def take_snapshot(page: Page, *, with_tasks: bool = True, with_blocks: bool = True) -> Snapshot:
    """Return what the page says now; raise BadPageError if it cannot be true.

    Without blocks nothing counts as stuck: to tell that may take a moment.
    """
    return _SnapshotTaker(page).take(with_tasks=with_tasks, with_blocks=with_blocks)


def parse_frames(data: bytes) -> tuple[Frame, ...]:
    """Return the frames of lines of file, line, function, separated by tabs; what is none is left out."""
    found = []
    for line in data.split(b"\n"):
        parts = line.decode("utf-8", "replace").split("\t")
        if len(parts) == 3 and parts[1].isascii() and parts[1].isdecimal() and len(parts[1]) < 10:
            found.append(Frame(clean(parts[0]), int(parts[1]), clean(parts[2])))
            if len(found) == _MOST_FRAMES:
                break
    return tuple(found)


class SiteTable(dict[int, Site | None]):
    """The sites of a page by their numbers, each made once; None: unknown."""

    def __init__(self, page: Page, live: RawLive) -> None:
        """Copy the table and the strings that are in use now."""
        super().__init__({0: None})
        sites, strings = page.sections["sites"], page.sections["strings"]
        self._sites = page.read(sites.offset, live.sites * layout.SITE.size)
        self._strings = page.read(strings.offset, live.strings)

    def __missing__(self, number: int) -> Site | None:
        self[number] = site = self._make(number)
        return site

    def _make(self, number: int) -> Site | None:
        start = number * layout.SITE.size
        if start + layout.SITE.size > len(self._sites):
            return None
        found = raw.RawSite._make(raw.SITE.unpack_from(self._sites, start))
        return Site(self.string(found.name), self.string(found.file), found.line)

    def string(self, offset: int) -> str:
        """Return the string at an offset, where two bytes of length lie in front of it."""
        length = int.from_bytes(self._strings[offset : offset + 2], "little")
        return clean(self._strings[offset + 2 : offset + 2 + length].decode("utf-8", "replace")) or "?"


class _SnapshotTaker:
    """One look at a page."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.header = page.header
        self.live = page.live()
        self.clock = read_clock(self.header, self.live)
        self.writer_pid = finder.writer_of(page)
        self.process_state, self.process_threads = _process(self.writer_pid)
        if self.process_state in _ENDED:
            self.writer_pid = None  # a page outlives its process for as long as we keep it open
        # Where each step is timed the step's beginning, else the turn's, unless a block tells better.
        self.began_ticks = self.live.step_ticks
        self.block: BlockView | None = None

    def take(self, *, with_tasks: bool, with_blocks: bool) -> Snapshot:
        """Read all of it."""
        page, header, live, clock = self.page, self.header, self.live, self.clock
        copies = page.copy_tasks(live.slots_used if with_tasks else 0)
        self.sites = SiteTable(page, page.live())  # after the slots: they may name sites that are new
        blocks = tuple(self._block(number, block) for number, block in page.blocks()) if with_blocks else ()
        histograms = split_histograms(page.histogram_counts())
        now_ns = time.monotonic_ns() if self.writer_pid is not None else self._last_ns(copies)
        phase = _PHASES.get(live.phase, Phase.STOPPED)
        running = _RUNNING.get(live.running_kind, Running.NOTHING)
        self._look_for_a_block(phase, blocks)
        table = self._table(copies, running, now_ns)
        at = copies.numbers.index(live.running_slot) if live.running_slot in copies.numbers else None
        running_id = table.column("id")[at] if at is not None else 0
        step_ns = max(0, now_ns - clock.to_ns(self.began_ticks)) if phase is Phase.RUNNING else 0
        return Snapshot(
            source=page.name,
            pid=page.pid,
            thread_id=header.thread_id,
            thread_name=decode(header.thread_name),
            python=decode(header.python).partition(" ")[0],
            command=tuple(decode(word) for word in header.command.rstrip(b"\0").split(b"\0")),
            alive=self.writer_pid is not None,
            process_state=self.process_state,
            process_threads=self.process_threads,
            clock=clock,
            started_ns=header.start_ns,
            started_realtime_ns=header.start_realtime_ns,
            now_ns=now_ns,
            slow_ns=header.slow_ms * 1_000_000,
            phase=phase,
            running=running,
            running_id=running_id,
            running_fd=live.running_fd - 1,
            step_ns=step_ns,
            stuck=self._stuck(step_ns, running, running_id, table, at) if with_blocks else None,
            turns=live.turns,
            steps=live.steps,
            busy_ns=clock.length_ns(live.busy_ticks)
            + (max(0, now_ns - clock.to_ns(live.now_ticks)) if phase is Phase.RUNNING else 0),
            idle_ns=clock.length_ns(live.idle_ticks)
            + (max(0, now_ns - clock.to_ns(live.poll_ticks)) if phase is Phase.POLLING else 0),
            ready=0 if phase is Phase.POLLING else live.ready,  # it counts what the last turn ran
            timers=live.timers,
            fds=live.fds,
            unfinished=live.tasks,
            tasks_unseen=live.tasks_unseen,
            tasks_torn=max(0, live.tasks - len(table)) if with_tasks else 0,
            record_count=live.records,
            block_count=live.blocks,
            blocks=blocks,
            step_histogram=histograms["step"],
            delay_histogram=histograms["delay"],
            batch_histogram=histograms["batch"],
            table=table,
        )

    def _table(self, copies: SlotCopies, running: Running, now_ns: int) -> TaskTable:
        live, clock = self.live, self.clock
        if running is Running.TASK:
            timed = live.step_ticks < live.full_until  # else the watchdog counts as it goes
            used_ticks = max(0, clock.to_ticks(now_ns) - live.step_ticks) if timed else 0
            copies = with_running_task(copies, live.running_slot, self.began_ticks, used_ticks)
        return TaskTable(copies, clock, now_ns, self.sites.__getitem__)

    def _block(self, number: int, block: RawBlock) -> BlockView:
        return BlockView(
            number=number,
            running=_RUNNING.get(block.running_kind, Running.NOTHING),
            task_id=block.task,
            task_name=task_name(block.task, block.name) if block.task else "",
            began_ns=self.clock.to_ns(block.began_ticks),
            seen_ns=self.clock.to_ns(block.seen_ticks),
            ended=bool(block.ended),
            frames=parse_frames(block.stack[: min(block.length, len(block.stack))]),
        )

    def _look_for_a_block(self, phase: Phase, blocks: tuple[BlockView, ...]) -> None:
        """See whether the newest block is of the step that runs: then that began when the block did."""
        if phase is not Phase.RUNNING or not blocks or blocks[0].ended:
            return
        if self.clock.to_ns(self.live.step_ticks) <= blocks[0].seen_ns:  # else the loop has got on since
            self.block = blocks[0]
            self.began_ticks = max(self.began_ticks, self.clock.to_ticks(blocks[0].began_ns))

    def _stuck(
        self, step_ns: int, running: Running, running_id: int, table: TaskTable, at: int | None
    ) -> Stuck | None:
        """Return what blocks the loop now, or did when its process died."""
        newest = self.block
        if newest is None and (step_ns <= self.header.slow_ms * 1_000_000 or self._gets_on()):
            return None
        name = newest.task_name if newest else ""
        if at is not None:
            (name,) = table.select([at]).names
        return Stuck(
            for_ns=max(step_ns, newest.length_ns if newest else 0),
            running=running,
            task_id=running_id or (newest.task_id if newest else 0),
            task_name=name,
            fd=self.live.running_fd - 1,
            frames=newest.frames if newest else (),
        )

    def _gets_on(self) -> bool:
        """Say whether a long turn is one of many steps: whether one of them ends while we look."""
        if self.writer_pid is None:
            return False
        for _ in range(_LOOKS):
            time.sleep(_LOOK_EVERY_S)
            live = self.page.live()
            if live.steps != self.live.steps or live.phase != Phase.RUNNING:
                return True
        return False

    def _last_ns(self, copies: SlotCopies) -> int:
        """Return the latest time that the page of a dead process knows."""
        live = self.live
        last_ticks = [live.step_ticks, live.now_ticks, live.poll_ticks, self.header.start_ticks]
        last_ticks.extend(block.seen_ticks for _, block in self.page.blocks(1))
        last_ticks.extend(TaskTable(copies, self.clock, 0, self.sites.__getitem__).column("since_ticks"))
        _, data, _ = self.page.records(max(0, live.records - 1))
        for record in raw.RECORD.iter_unpack(data):
            fields = raw.RawRecord._make(record)
            if fields.kind != Kind.NONE:
                last_ticks.append(fields.ticks + fields.duration)
        return self.clock.to_ns(max(last_ticks))


def _process(pid: int | None) -> tuple[str, int]:
    """Return (state letter, number of threads) of a process."""
    if pid is None:
        return "", 0
    try:
        # The name in parentheses may hold anything.
        with open(f"/proc/{pid}/stat", errors="replace") as file:
            words = file.read().rpartition(")")[2].split()
        return words[0], int(words[17])
    except (OSError, IndexError, ValueError):
        return "", 0


def read_all(pages: list[Page]) -> Iterator[Snapshot | BadPageError]:
    """Yield a snapshot of each page, or what is wrong with it."""
    for page in pages:
        try:
            yield take_snapshot(page)
        except BadPageError as error:
            yield error
