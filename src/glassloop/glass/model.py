"""What a reader knows of a loop at one moment: plain values, in nanoseconds, with clean texts.

All times are CLOCK_MONOTONIC of the loop's machine.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from glassloop.glass.histogram import Histogram
from glassloop.glass.layout import Cause, Phase, Running, State
from glassloop.glass.reasons import Site, WaitReason
from glassloop.glass.text import duration
from glassloop.glass.ticks import TickClock

if TYPE_CHECKING:  # it makes TaskViews, so it imports this
    from glassloop.glass.task_table import TaskTable

# Parts of the names of files that are nobody's own code: the interpreter's, asyncio's, installed packages'.
_NOT_OWN = ("/site-packages/", "/dist-packages/", "/lib/python3", "<frozen", "/glassloop/")


class Frame(NamedTuple):
    """One line of a stack."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.function}"

    @property
    def is_own(self) -> bool:
        """Whether the program itself is meant, as far as its file's name tells."""
        return not any(part in self.file for part in _NOT_OWN)


def own_frame(frames: Iterable[Frame]) -> Frame | None:
    """Return the innermost line of the program's own code; without any, the innermost line."""
    found = list(frames)
    return next((frame for frame in found if frame.is_own), found[0] if found else None)


class BlockView(NamedTuple):
    """One step that outlasted the limit, with the stack that was taken meanwhile, innermost line first."""

    number: int
    running: Running
    task_id: int
    task_name: str
    began_ns: int
    seen_ns: int
    ended: bool
    frames: tuple[Frame, ...]

    @property
    def length_ns(self) -> int:
        """How long it had lasted when the watchdog last looked."""
        return max(0, self.seen_ns - self.began_ns)


class TaskView(NamedTuple):
    """One task. A tuple, for there may be 100,000 of them."""

    id: int
    name: str
    state: State
    since_ns: int  # when it came into its state
    state_ns: int  # for how long it has been in it
    reason: WaitReason | None  # only while it waits
    awaited_id: int  # the task that it awaits, or 0
    deadline_ns: int  # when its sleep ends, or 0
    cause: Cause  # what made it ready last
    cause_running: Running  # what ran when that happened
    cause_id: int  # the task, or the file descriptor plus 1, that woke it; or 0
    cpu_ns: int
    created_ns: int
    age_ns: int
    parent_id: int
    steps: int
    wakeups: int
    coroutine: Site | None
    site: Site | None  # who made the future that it awaits
    site_number: int  # as records name it; 0: unknown
    creator: Site | None  # who made the task

    @property
    def label(self) -> str:
        """Its name, and the coroutine's where that says more."""
        function = self.coroutine.name if self.coroutine is not None else ""
        return f"{self.name} ({function})" if function and function not in self.name else self.name


class Stuck(NamedTuple):
    """What keeps a loop from its other work."""

    for_ns: int
    running: Running
    task_id: int
    task_name: str
    fd: int  # -1: none
    frames: tuple[Frame, ...]  # innermost first; empty until the watchdog has looked

    @property
    def line(self) -> Frame | None:
        """The line of the program's own code at which it is stuck."""
        return own_frame(self.frames)

    @property
    def who(self) -> str:
        """What runs, in words."""
        if self.task_id:
            return f"task {self.task_name}"
        if self.fd >= 0:
            return f"the handler of file descriptor {self.fd}"
        if self.running is Running.NOTHING:
            return "a callback, or the loop itself,"
        return "a callback"


_DOINGS = {Phase.POLLING: "waiting", Phase.RUNNING: "running", Phase.STOPPED: "not running"}


class Snapshot(NamedTuple):
    """A loop at one moment."""

    source: str  # where the page was found
    pid: int
    thread_id: int
    thread_name: str
    python: str
    command: tuple[str, ...]
    alive: bool  # the process is there; a file's page may outlive it
    process_state: str  # as in proc_pid_stat(5), such as R, S, T; or empty
    process_threads: int  # 0: unknown
    clock: TickClock
    started_ns: int
    started_realtime_ns: int
    now_ns: int
    slow_ns: int
    phase: Phase
    running: Running
    running_id: int  # the task that runs, or 0
    running_fd: int  # the descriptor whose events are handled, or -1
    step_ns: int  # for how long what runs has been running
    stuck: Stuck | None
    turns: int
    steps: int
    busy_ns: int
    idle_ns: int
    ready: int
    timers: int
    fds: int
    unfinished: int
    tasks_unseen: int
    tasks_torn: int  # slots that were written whenever we looked
    record_count: int
    block_count: int
    blocks: tuple[BlockView, ...]  # the newest first
    step_histogram: Histogram  # ticks
    delay_histogram: Histogram  # ticks
    batch_histogram: Histogram  # entries
    table: "TaskTable"

    @property
    def tasks(self) -> tuple[TaskView, ...]:
        """All tasks. Where there may be very many, and few are shown, ``table`` is quicker."""
        return self.table.views

    @property
    def is_over(self) -> bool:
        """Whether nothing new will come from this page: its loop is closed, or its process has ended."""
        return not self.alive or self.phase is Phase.CLOSED

    @property
    def status(self) -> str:
        """What the loop does, in a word or two."""
        if self.phase is Phase.CLOSED:
            return "closed"
        if not self.alive:
            return "process ended"
        if self.process_state == "T":
            return "stopped by a signal"
        if self.stuck is not None:
            return f"STUCK {duration(self.stuck.for_ns)}"
        return _DOINGS[self.phase]

    @property
    def utilization(self) -> float:
        """The share of its time that the loop spent running, since its start: 0 to 1."""
        return share(self.busy_ns, self.busy_ns + self.idle_ns)

    def by_id(self) -> dict[int, TaskView]:
        """Return the tasks by their numbers."""
        return {task.id: task for task in self.tasks}

    def counts(self) -> dict[State, int]:
        """Return how many tasks are in each state."""
        return {state: self.table.count(state) for state in State}

    def quantile_ns(self, histogram: Histogram, at: float) -> int:
        """Return a quantile of one of the histograms in ticks, as ns."""
        return self.clock.length_ns(round(histogram.quantile(at)))


def share(part: float, whole: float) -> float:
    """Return part / whole, 0 where there is nothing."""
    return part / whole if whole > 0 else 0.0
