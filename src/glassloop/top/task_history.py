"""One task's history since somebody follows it: when it ran, was ready, waited, and what woke it."""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from glassloop.glass import layout
from glassloop.glass.layout import Cause, Kind, Running, State
from glassloop.glass.model import TaskView
from glassloop.glass.raw import RawRecord
from glassloop.glass.reasons import wait_reason
from glassloop.glass.text import duration
from glassloop.top.look import Look

MOST_EVENTS = 1000
_MOST_INTERVALS = 20_000
RUNNING, RAN, READY, WAITING, UNKNOWN = "█", "▄", "▒", "░", " "
LEGEND = f"{RUNNING} runs  {RAN} runs in between  {READY} ready  {WAITING} waits"
_GLYPHS = {State.RUNNING: RUNNING, State.READY: READY, State.WAITING: WAITING, State.DONE: UNKNOWN}
# A page may hold any number.
_STATES = {state.value: state for state in State}
_CAUSES = {cause.value: cause for cause in Cause}


class Event(NamedTuple):
    """Something that happened to the task."""

    at_ns: int
    text: str


class Stretch(NamedTuple):
    """The task was in a state from here to there."""

    state: State
    start_ns: int
    end_ns: int


@dataclass(slots=True)
class _Open:
    """What the task is in as far as the records tell."""

    state: State
    since_ns: int


class TaskHistory:
    """What is known of one task."""

    def __init__(self, task_id: int) -> None:
        """Nothing is known yet: add looks."""
        self.task_id = task_id
        self.task: TaskView | None = None  # as it was last seen
        self.is_gone = False
        self.lost = 0
        self.events: deque[Event] = deque(maxlen=MOST_EVENTS)  # the newest last
        self.stretches: deque[Stretch] = deque(maxlen=_MOST_INTERVALS)
        self.now_ns = 0
        self._open: _Open | None = None

    def add(self, look: Look) -> None:
        """Take in one more look."""
        table = look.snapshot.table
        index = table.find(self.task_id)
        first = self.task is None
        if index is not None:
            (self.task,) = table.select([index]).views
        self.is_gone = index is None
        self.now_ns = look.snapshot.now_ns
        if look.lost and not first:
            self.lost += look.lost
            self._open = None
        if first and self.task is not None:
            # What came before is not known; since when it is as it is, the page says.
            self._open = _Open(self.task.state, self.task.since_ns)
            self.events.append(Event(self.task.since_ns, _state_text(self.task)))
            return
        for record in look.records:
            if record.task == self.task_id and record.kind != Kind.CALL:
                self._add_record(look, record)
        if self._open is None and self.task is not None and not self.is_gone:
            self._open = _Open(self.task.state, self.task.since_ns)
        if self.is_gone and self._open is not None:
            self._close(self.now_ns)
            if self._open.state is not State.DONE:
                self.events.append(Event(self.now_ns, "gone"))
            self._open = None

    def _add_record(self, look: Look, record: RawRecord) -> None:
        clock = look.snapshot.clock
        at_ns = clock.to_ns(record.ticks)
        if self._open is not None and at_ns < self._open.since_ns and record.kind == Kind.WAKE:
            return  # told already
        self._close(at_ns)
        if record.kind == Kind.WAKE:
            self._open = _Open(State.READY, at_ns)
            self.events.append(Event(at_ns, f"woken: {self._woken_by(look, record)}"))
            return
        end_ns = at_ns + clock.length_ns(record.duration)
        state = _STATES.get(record.state, State.WAITING)
        self.stretches.append(Stretch(State.RUNNING, at_ns, end_ns))
        then = {
            State.WAITING: self._wait_text(look, record.subject),
            State.READY: "yielded",
            State.DONE: "ended",
        }
        text = f"ran {duration(end_ns - at_ns)}, then {then.get(state, 'ran on')}"
        self.events.append(Event(at_ns, text))
        self._open = _Open(state, end_ns)

    def _close(self, at_ns: int) -> None:
        if self._open is not None and self._open.since_ns < at_ns:
            self.stretches.append(Stretch(self._open.state, self._open.since_ns, at_ns))

    def _woken_by(self, look: Look, record: RawRecord) -> str:
        cause = _CAUSES.get(record.cause, Cause.FUTURE_DONE)
        why = {
            Cause.CREATED: "it was made",
            Cause.YIELDED: "it had yielded",
            Cause.FUTURE_DONE: "what it awaited is done",
            Cause.THROWN: "cancelled, or an exception for it",
        }[cause]
        by = waker_text(look, record.cause_kind, record.subject)
        return f"{why}, by {by}" if by else why

    def _wait_text(self, look: Look, site: int) -> str:
        known = layout.Awaited.FUTURE if site else layout.Awaited.NOTHING
        reason = wait_reason(known, look.sites[site], 0, 0)
        return f"waits for {reason.text}" if site else "waits"

    def draw(self, columns: int, span_ns: int) -> str:
        """Return the last so many ns as characters, one for each share of them."""
        stretches = list(self.stretches)
        if self._open is not None:
            stretches.append(Stretch(self._open.state, self._open.since_ns, self.now_ns))
        start_ns = self.now_ns - span_ns
        column_ns = span_ns / columns
        covered = [dict.fromkeys(_GLYPHS, 0.0) for _ in range(columns)]
        for state, begins_ns, ends_ns in stretches:
            if ends_ns < start_ns:
                continue
            begin, end = max(0, begins_ns - start_ns), ends_ns - start_ns
            last = min(columns - 1, max(0, int((end - 1) / column_ns)))
            for column in range(min(columns - 1, int(begin / column_ns)), last + 1):
                length_ns = min(end, (column + 1) * column_ns) - max(begin, column * column_ns)
                covered[column][state] += max(
                    length_ns, 1
                )  # what is too short to measure was there all the same
        return "".join(map(_glyph, covered))


def _glyph(covered: dict[State, float]) -> str:
    """Return the character for a moment, by how long the task was in each state."""
    state = max(covered, key=covered.__getitem__)
    if not covered[state]:
        return UNKNOWN
    return RAN if covered[State.RUNNING] and state is not State.RUNNING else _GLYPHS[state]


def waker_text(look: Look, kind: int, subject: int) -> str:
    """Return in words what woke a task; empty: unknown."""
    if kind == Running.TASK and subject:
        index = look.snapshot.table.find(subject)
        return (
            f"task {look.snapshot.table.select([index]).names[0]}" if index is not None else f"task {subject}"
        )
    if kind == Running.SOURCE and 0 < subject < 1 << 31:
        return f"descriptor {subject - 1}"
    return "a callback" if kind in (Running.HANDLE, Running.FOREIGN) else ""


def _state_text(task: TaskView) -> str:
    if task.state is State.WAITING and task.reason is not None:
        return f"waits for {task.reason.text}"
    return {State.RUNNING: "runs", State.READY: "is ready"}.get(task.state, "has ended")
