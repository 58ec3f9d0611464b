"""The reader: a page's bytes become a ``Snapshot``, without the program's help and without trust in it."""

import time
from collections.abc import Iterator
from pathlib import Path

from glassloop.glass import finder, layout, raw
from glassloop.glass.errors import BadPageError
from glassloop.glass.histogram import split_histograms
from glassloop.glass.layout import Awaited, Cause, Kind, Phase, Running, State
from glassloop.glass.model import BlockView, Frame, Snapshot, Stuck, TaskView
from glassloop.glass.page import Page
from glassloop.glass.raw import RawBlock, RawLive, RawTask
from glassloop.glass.reasons import Site, WaitReason, wait_reason
from glassloop.glass.text import clean, decode
from glassloop.glass.ticks import read_clock

_MOST_FRAMES = 128
# How long a step that no watchdog has reported is looked at before it counts as stuck.
_LOOKS = 10
_LOOK_EVERY_S = 0.005
# A page may hold any number.
_STATES = {state.value: state for state in State}
_CAUSES = {cause.value: cause for cause in Cause}
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


def task_name(number: int, stored: bytes) -> str:
    """Return a task's name; one that was never given a name has the one that asyncio would make."""
    return (decode(stored) if stored[:1] > b"\0" else "") or f"Task-{number}"


class SiteTable:
    """The sites of a page, each made once."""

    def __init__(self, page: Page, live: RawLive) -> None:
        """Copy the table and the strings that are in use now."""
        sites, strings = page.sections["sites"], page.sections["strings"]
        self._sites = page.read(sites.offset, live.sites * layout.SITE.size)
        self._strings = page.read(strings.offset, live.strings)
        self._made: dict[int, Site | None] = {0: None}

    def __getitem__(self, number: int) -> Site | None:
        """Return the site of this number; None: unknown."""
        try:
            return self._made[number]
        except KeyError:
            self._made[number] = site = self._make(number)
            return site

    def _make(self, number: int) -> Site | None:
        start = number * layout.SITE.size
        if start + layout.SITE.size > len(self._sites):
            return None
        found = raw.RawSite._make(raw.SITE.unpack_from(self._sites, start))
        return Site(self._string(found.name), self._string(found.file), found.line)

    def _string(self, offset: int) -> str:
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
        # Where each step is timed the step's beginning, else the turn's, unless a block tells better.
        self.began_ticks = self.live.step_ticks
        self.block: BlockView | None = None
        self.reasons: dict[tuple[int, int, int, bool], WaitReason] = {}

    def take(self, *, with_tasks: bool, with_blocks: bool) -> Snapshot:
        """Read all of it."""
        page, header, live, clock = self.page, self.header, self.live, self.clock
        raw_tasks = list(page.slots(live.slots_used)) if with_tasks else []
        self.sites = SiteTable(page, page.live())  # after the slots: they may name sites that are new
        blocks = tuple(self._block(number, block) for number, block in page.blocks()) if with_blocks else ()
        histograms = split_histograms(page.histogram_counts())
        now_ns = time.monotonic_ns() if self.writer_pid is not None else self._last_ns(raw_tasks)
        phase = _PHASES.get(live.phase, Phase.STOPPED)
        running = _RUNNING.get(live.running_kind, Running.NOTHING)
        tasks = tuple(self._task(slot, task, name, now_ns) for slot, task, name in raw_tasks)
        self._look_for_a_block(phase, blocks)
        running_id = next((task.id for slot, task, _ in raw_tasks if slot == live.running_slot), 0)
        step_ns = max(0, now_ns - clock.to_ns(self.began_ticks)) if phase is Phase.RUNNING else 0
        state, threads = _process(self.writer_pid)
        return Snapshot(
            source=page.name,
            pid=page.pid,
            thread_id=header.thread_id,
            thread_name=decode(header.thread_name),
            python=decode(header.python).partition(" ")[0],
            command=tuple(decode(word) for word in header.command.rstrip(b"\0").split(b"\0")),
            alive=self.writer_pid is not None,
            process_state=state,
            process_threads=threads,
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
            stuck=self._stuck(step_ns, running, running_id, tasks) if with_blocks else None,
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
            tasks_torn=max(0, live.tasks - len(tasks)) if with_tasks else 0,
            record_count=live.records,
            block_count=live.blocks,
            blocks=blocks,
            step_histogram=histograms["step"],
            delay_histogram=histograms["delay"],
            batch_histogram=histograms["batch"],
            tasks=tasks,
        )

    def _task(self, slot: int, task: RawTask, name: bytes, now_ns: int) -> TaskView:
        clock, sites, live = self.clock, self.sites, self.live
        state = _STATES.get(task.state, State.WAITING)
        since_ticks, cpu_ticks = task.since_ticks, task.cpu_ticks
        if slot == live.running_slot and live.running_kind == Running.TASK:
            # The slot is written when the step ends: its own state is the one before.
            state, since_ticks = State.RUNNING, self.began_ticks
            if live.step_ticks < live.full_until:  # else the watchdog counts as it goes
                cpu_ticks += max(0, clock.to_ticks(now_ns) - live.step_ticks)
        since_ns, created_ns = clock.to_ns(since_ticks), clock.to_ns(task.created_ticks)
        waits = state is State.WAITING
        return TaskView(
            id=task.id,
            name=task_name(task.id, name),
            state=state,
            since_ns=since_ns,
            state_ns=max(0, now_ns - since_ns),
            reason=self._reason(task) if waits else None,
            awaited_id=task.subject if waits and task.awaited == Awaited.TASK else 0,
            deadline_ns=task.deadline_ns if waits else 0,
            cause=_CAUSES.get(task.cause, Cause.CREATED),
            cause_running=_RUNNING.get(task.cause_kind, Running.NOTHING),
            cause_id=task.cause_subject,
            cpu_ns=clock.length_ns(cpu_ticks),
            created_ns=created_ns,
            age_ns=max(0, now_ns - created_ns),
            parent_id=task.parent,
            steps=task.steps,
            wakeups=task.wakeups,
            coroutine=sites[task.coroutine],
            site=sites[task.site] if waits else None,
            site_number=task.site if waits else 0,
            creator=sites[task.creator],
        )

    def _reason(self, task: RawTask) -> WaitReason:
        key = (
            task.awaited,
            task.site,
            task.subject if task.awaited == Awaited.TASK else 0,
            bool(task.deadline_ns),
        )
        if key not in self.reasons:
            self.reasons[key] = wait_reason(key[0], self.sites[key[1]], key[2], task.deadline_ns)
        return self.reasons[key]

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
        self, step_ns: int, running: Running, running_id: int, tasks: tuple[TaskView, ...]
    ) -> Stuck | None:
        """Return what blocks the loop now, or did when its process died."""
        newest = self.block
        if newest is None and (step_ns <= self.header.slow_ms * 1_000_000 or self._gets_on()):
            return None
        name = next(
            (task.name for task in tasks if task.id == running_id), newest.task_name if newest else ""
        )
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

    def _last_ns(self, tasks: list[tuple[int, RawTask, bytes]]) -> int:
        """Return the latest time that the page of a dead process knows."""
        live = self.live
        last_ticks = [live.step_ticks, live.now_ticks, live.poll_ticks, self.header.start_ticks]
        last_ticks.extend(block.seen_ticks for _, block in self.page.blocks(1))
        last_ticks.extend(task.since_ticks for _, task, _ in tasks)
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
        words = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
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
