"""The model over records: for each task its intervals of RUNNING, READY and WAITING, and what woke it.

A step's record is written when the step ends and tells when it began; wake-ups of other tasks that happen in
it stand before it in the ring. Between a step's end and the next wake-up a task waits; between that and its
next step it is ready. Where records were lost, nothing is claimed until the task shows itself again.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from glassloop.glass import layout
from glassloop.glass.layout import Cause, Kind, Running, State
from glassloop.glass.raw import RawRecord
from glassloop.glass.reader import SiteTable
from glassloop.glass.reasons import wait_reason
from glassloop.glass.recording import Recording

# A duration that does not fit shows as this.
_LONGEST_TICKS = 2**32 - 1
# A page may hold any number.
_STATES = {state.value: state for state in State}
_CAUSES = {cause.value: cause for cause in Cause}
_RUNNING = {running.value: running for running in Running}


class Interval(NamedTuple):
    """A task was in one state from here to there."""

    state: State
    start_ns: int
    end_ns: int
    site: int = 0  # where a waiting task waits

    @property
    def length_ns(self) -> int:
        """How long."""
        return self.end_ns - self.start_ns


class WakeUp(NamedTuple):
    """Something made a task ready."""

    at_ns: int
    task_id: int
    cause: Cause
    by: Running
    by_id: int  # the task, or the file descriptor plus 1; 0: unknown


class Call(NamedTuple):
    """A callback or an I/O handler ran."""

    start_ns: int
    end_ns: int
    running: Running
    fd: int  # -1: none


@dataclass(slots=True)
class Lane:
    """One task's line in a timeline."""

    task_id: int
    name: str
    function: str  # its coroutine's, or empty
    intervals: list[Interval] = field(default_factory=list)
    wakeups: list[WakeUp] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        """Whether it ended in the time shown."""
        return bool(self.intervals) and self.intervals[-1].state is State.DONE

    def total_ns(self, state: State) -> int:
        """How long it was in a state."""
        return sum(interval.length_ns for interval in self.intervals if interval.state is state)


@dataclass(slots=True)
class History:
    """What happened in a loop between two moments."""

    start_ns: int
    end_ns: int
    lanes: list[Lane]  # by when they first show
    calls: list[Call]
    sites: SiteTable
    records: int
    lost: int
    cut_ns: int  # the beginning of what was asked for that is not in it
    command: tuple[str, ...]
    pid: int

    @property
    def length_ns(self) -> int:
        """How long a time it covers."""
        return max(1, self.end_ns - self.start_ns)

    def wait_text(self, site: int) -> str:
        """Return what a task waits for at this site, in words."""
        return wait_reason(
            layout.Awaited.FUTURE if site else layout.Awaited.NOTHING, self.sites[site], 0, 0
        ).text

    def wakeups(self) -> Iterator[WakeUp]:
        """Yield all wake-ups, lane by lane."""
        for lane in self.lanes:
            yield from lane.wakeups


def build_history(recording: Recording) -> History:
    """Return the history that a recording tells."""
    return _Builder(recording).build()


class _Builder:
    """Walks the records once, in their order, and keeps for each task its state and since when."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.clock = recording.snapshot.clock
        self.start_ns, self.end_ns = recording.start_ns, recording.end_ns
        self.lanes: dict[int, Lane] = {}
        self.open: dict[int, Interval] = {}  # what each task is in now; its end is not known yet
        self.calls: list[Call] = []

    def build(self) -> History:
        for task in self.recording.at_start:
            if task.state is not State.DONE:
                self.open[task.id] = Interval(task.state, task.since_ns, 0, task.site_number)
        for chunk in self.recording.chunks:
            if chunk.lost:
                self.open.clear()
            records = chunk.records()
            for index, record in enumerate(records):
                if record.kind == Kind.WAKE:
                    self._wake(record)
                elif record.kind in (Kind.STEP, Kind.CALL):
                    following = records[index + 1 : index + 65] if record.duration == _LONGEST_TICKS else ()
                    self._ran(record, next((one.ticks for one in following if one.kind != Kind.WAKE), 0))
        self._add_what_is_known_otherwise()
        self._close_all()
        recording = self.recording
        lanes = [lane for lane in self.lanes.values() if lane.intervals or lane.wakeups]
        return History(
            start_ns=self.start_ns,
            end_ns=self.end_ns,
            lanes=sorted(lanes, key=_first_shown),
            calls=self.calls,
            sites=recording.sites,
            records=len(recording),
            lost=recording.lost,
            cut_ns=recording.cut_ns,
            command=recording.snapshot.command,
            pid=recording.snapshot.pid,
        )

    def _lane(self, task_id: int) -> Lane:
        lane = self.lanes.get(task_id)
        if lane is None:
            task = self.recording.tasks.get(task_id)
            function = task.coroutine.name if task is not None and task.coroutine is not None else ""
            name = task.name if task is not None else f"Task-{task_id}"
            lane = self.lanes[task_id] = Lane(task_id, name, function)
        return lane

    def _add(self, task_id: int, state: State, start_ns: int, end_ns: int, site: int = 0) -> None:
        """Add an interval, as far as it lies in the time shown."""
        start_ns, end_ns = max(start_ns, self.start_ns), min(end_ns, self.end_ns)
        if start_ns < end_ns or (state is State.RUNNING and start_ns == end_ns):
            intervals = self._lane(task_id).intervals
            while intervals and intervals[-1].end_ns > start_ns:  # what is known better comes later
                last = intervals.pop()
                if last.start_ns < start_ns:
                    intervals.append(last._replace(end_ns=start_ns))
            intervals.append(Interval(state, start_ns, end_ns, site))

    def _before(self, task_id: int, at_ns: int, otherwise: State | None) -> None:
        """Close what the task was in until now; what it was in if nothing is known is ``otherwise``."""
        was = self.open.pop(task_id, None)
        if was is None and task_id not in self.lanes:
            task = self.recording.tasks.get(task_id)
            if task is not None and task.created_ns >= self.start_ns:
                was = Interval(State.READY, task.created_ns, 0)
            elif otherwise is not None:
                was = Interval(otherwise, self.start_ns, 0)
        if was is not None:
            self._add(task_id, was.state, was.start_ns, at_ns, was.site)

    def _wake(self, record: RawRecord) -> None:
        at_ns = self.clock.to_ns(record.ticks)
        was = self.open.get(record.task)
        if was is not None and was.start_ns > at_ns:
            return  # before the step that told us its state ended
        if was is None or was.state is not State.READY:
            self._before(record.task, at_ns, State.WAITING)
            self.open[record.task] = Interval(State.READY, at_ns, 0)
        if at_ns >= self.start_ns:
            cause = _CAUSES.get(record.cause, Cause.FUTURE_DONE)
            by = _RUNNING.get(record.cause_kind, Running.NOTHING)
            self._lane(record.task).wakeups.append(WakeUp(at_ns, record.task, cause, by, record.subject))

    def _ran(self, record: RawRecord, next_ticks: int) -> None:
        start_ns = self.clock.to_ns(record.ticks)
        end_ns = self.clock.to_ns(max(record.ticks + record.duration, next_ticks))
        if end_ns < self.start_ns:
            return
        if record.kind == Kind.CALL:
            running = _RUNNING.get(record.cause, Running.NOTHING)
            self.calls.append(
                Call(max(start_ns, self.start_ns), min(end_ns, self.end_ns), running, record.task - 1)
            )
            return
        self._before(record.task, start_ns, None)
        self._add(record.task, State.RUNNING, start_ns, end_ns)
        state = _STATES.get(record.state, State.WAITING)
        self.open[record.task] = Interval(state, end_ns, 0, record.subject if state is State.WAITING else 0)

    def _add_what_is_known_otherwise(self) -> None:
        """Add what no record tells: tasks that did nothing, the step that is not over, who made whom."""
        snapshot = self.recording.snapshot
        for task in snapshot.tasks:
            if task.since_ns > self.end_ns:
                continue
            if task.state is State.RUNNING:
                self._before(task.id, task.since_ns, None)
                self.open[task.id] = Interval(State.RUNNING, task.since_ns, 0)
            elif task.id not in self.open:
                self._lane(task.id)
                self.open[task.id] = Interval(task.state, task.since_ns, 0, task.site_number)
        for task in self.recording.tasks.values():
            if self.start_ns <= task.created_ns <= self.end_ns and task.parent_id:
                made = WakeUp(task.created_ns, task.id, Cause.CREATED, Running.TASK, task.parent_id)
                self._lane(task.id).wakeups.insert(0, made)

    def _close_all(self) -> None:
        for task_id, interval in self.open.items():
            lane = self._lane(task_id)
            if interval.state is State.DONE:
                at_ns = min(max(interval.start_ns, self.start_ns), self.end_ns)
                if lane.intervals:
                    lane.intervals.append(Interval(State.DONE, at_ns, at_ns))
            else:
                self._add(task_id, interval.state, interval.start_ns, self.end_ns, interval.site)


def count_calls_by_fd(calls: list[Call]) -> Counter[int]:
    """Return how often each file descriptor's handler ran."""
    return Counter(call.fd for call in calls if call.fd >= 0)


def _first_shown(lane: Lane) -> tuple[int, int]:
    start_ns = lane.intervals[0].start_ns if lane.intervals else lane.wakeups[0].at_ns
    return start_ns, lane.task_id
