"""What each task did between two looks: the shares of its time, and how often it was woken.

Time spent running is measured by the loop and told by the page, so BUSY is exact. READY comes from the
records: from each wake-up, or yield, to the beginning of the next step. Where the ring could not hold all
records it is the share in the stretch of time that it does hold. WAITING is the rest. The first look has no
look before it: its figures are those of each task's whole life.
"""

from functools import cached_property

from glassloop.glass.layout import Kind, State
from glassloop.glass.model import share
from glassloop.top.look import Look


class Rates:
    """Columns of figures, one entry a task, in the order of ``look.snapshot.table``."""

    def __init__(self, look: Look, before: Look | None) -> None:
        """Compare two looks at the same loop."""
        self.look = look
        self.before = before
        self.table = look.snapshot.table

    @property
    def length_ns(self) -> int:
        """The time between the looks; since the loop's start, if there is only one."""
        start_ns = self.look.snapshot.started_ns if self.before is None else self.before.snapshot.now_ns
        return max(1, self.look.snapshot.now_ns - start_ns)

    @cached_property
    def _lengths_ns(self) -> list[int]:
        """For how much of that time each task was there."""
        now_ns, length_ns = self.look.snapshot.now_ns, self.length_ns
        created_ns = self.table.clock.all_to_ns(self.table.column("created_ticks"))
        return [min(length_ns, max(1, now_ns - created)) for created in created_ns]

    def _delta(self, name: str) -> list[int]:
        """Return by how much a counter of each task has grown."""
        now = self.table.column(name)
        if self.before is None:
            return now
        table = self.before.snapshot.table
        then = table.column(name)
        if table.column("id") == self.table.column("id"):
            return [max(0, new - old) for new, old in zip(now, then, strict=True)]
        by_id = dict(zip(table.column("id"), then, strict=True))
        return [
            max(0, new - by_id.get(task, 0)) for new, task in zip(now, self.table.column("id"), strict=True)
        ]

    @cached_property
    def wakeups(self) -> list[float]:
        """Wake-ups a second."""
        pairs = zip(self._delta("wakeups"), self._lengths_ns, strict=True)
        return [count * 1e9 / length_ns if count else 0.0 for count, length_ns in pairs]

    @cached_property
    def busy(self) -> list[float]:
        """The share of its time that each task ran: 0 to 1."""
        rate = self.table.clock.ns_per_tick
        pairs = zip(self._delta("cpu_ticks"), self._lengths_ns, strict=True)
        return [min(1.0, ticks * rate / length_ns) if ticks else 0.0 for ticks, length_ns in pairs]

    @cached_property
    def ready(self) -> list[float]:
        """The share of its time that each task could have run, and did not."""
        ready_ns = self._ready_ns()
        window_ns = max(1, self.look.snapshot.now_ns - self._since_ns)
        return [
            min(1.0 - busy, share(ready_ns.get(task, 0), min(window_ns, length_ns)))
            for task, busy, length_ns in zip(
                self.table.column("id"), self.busy, self._lengths_ns, strict=True
            )
        ]

    @cached_property
    def waiting(self) -> list[float]:
        """The share of its time that each task waited for something."""
        return [max(0.0, 1.0 - busy - ready) for busy, ready in zip(self.busy, self.ready, strict=True)]

    @property
    def _since_ns(self) -> int:
        """From when on it is known which tasks were ready."""
        return self.look.since_ns if self.before is not None else self.look.snapshot.started_ns

    def _ready_ns(self) -> dict[int, int]:
        """Return for how long each task was ready, of those that were."""
        clock = self.table.clock
        found: dict[int, int] = {}
        since = self._ready_at_start()
        start_ns = self._since_ns
        for record in self.look.records:
            if record.kind == Kind.CALL:
                continue
            at_ns = max(start_ns, clock.to_ns(record.ticks))
            if record.kind == Kind.WAKE:
                since.setdefault(record.task, at_ns)
                continue
            began = since.pop(record.task, None)
            if began is not None:
                found[record.task] = found.get(record.task, 0) + max(0, at_ns - began)
            if record.state == State.READY:
                since[record.task] = at_ns + clock.length_ns(record.duration)
        now_ns = self.look.snapshot.now_ns
        for task, since_ns in self._ready_now():
            since.setdefault(task, max(start_ns, since_ns))
            found[task] = found.get(task, 0) + max(0, now_ns - since[task])
        return found

    def _ready_at_start(self) -> dict[int, int]:
        """Return the tasks that were ready when the records begin."""
        if self.before is None or self.look.lost:
            return {}
        table = self.before.snapshot.table
        if not table.count(State.READY):
            return {}
        pairs = zip(table.column("id"), table.states, strict=True)
        return {task: self._since_ns for task, state in pairs if state == State.READY}

    def _ready_now(self) -> list[tuple[int, int]]:
        """Return (task, since when) of those that are ready now."""
        table = self.table
        if not table.count(State.READY):
            return []
        columns = zip(table.column("id"), table.states, table.column("since_ticks"), strict=True)
        return [(task, table.clock.to_ns(ticks)) for task, state, ticks in columns if state == State.READY]
