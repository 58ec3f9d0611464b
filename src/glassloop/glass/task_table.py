"""The tasks of a page at one moment, by columns: quick also where there are 100,000 of them.

What was copied out of the page stays as it is until somebody asks. A column is a list of one field's values,
made at once for all tasks; a ``TaskView`` is made only of the tasks that are looked at.
"""

from collections.abc import Callable, Sequence

from glassloop.glass import layout
from glassloop.glass.layout import Awaited, Cause, Running, State
from glassloop.glass.model import TaskView
from glassloop.glass.page import SlotCopies
from glassloop.glass.reasons import Site, WaitReason, wait_reason
from glassloop.glass.text import decode
from glassloop.glass.ticks import TickClock

_SIZE = layout.TASK.size
_OFFSETS = layout.TASK.offsets
_SIZES = {field.name: field.size for field in layout.TASK.fields}
_SIGNED = {field.name for field in layout.TASK.fields if field.type == "i64"}
# A page may hold any number.
_STATES = [State(number) if number < len(State) else State.WAITING for number in range(256)]
_STATE_BYTES = bytes(_STATES)
_CAUSES = [Cause(number) if number < len(Cause) else Cause.CREATED for number in range(256)]
_RUNNING = [Running(number) if number < len(Running) else Running.NOTHING for number in range(256)]

# The site of a number; None: unknown.
FindSite = Callable[[int], Site | None]


def task_name(number: int, stored: bytes) -> str:
    """Return a task's name; one that was never given a name has the one that asyncio would make."""
    return (decode(stored) if stored[:1] > b"\0" else "") or f"Task-{number}"


class TaskTable:
    """The tasks in the order of their slots. What it gives is made once and kept; nobody may change it."""

    def __init__(self, copies: SlotCopies, clock: TickClock, now_ns: int, find_site: FindSite) -> None:
        """Take over what was copied."""
        self.slots = copies.numbers
        self.clock = clock
        self.now_ns = now_ns
        self._data = copies.slots
        self._names = copies.names
        self.find_site = find_site
        self._columns: dict[str, list[int]] = {}
        self._states: bytes | None = None
        self._reasons: list[WaitReason | None] | None = None
        self._task_names: list[str] | None = None
        self._views: tuple[TaskView, ...] | None = None
        self._positions: dict[int, int] | None = None

    def __len__(self) -> int:
        return len(self.slots)

    def column(self, name: str) -> list[int]:
        """Return the values of one field of ``layout.TASK``, as they are in the page."""
        found = self._columns.get(name)
        if found is None:
            size = _SIZES[name]
            view = memoryview(self._data)
            values = (
                view.cast("q")
                if name in _SIGNED
                else view.cast("Q")
                if size == 8
                else view.cast("I")
                if size == 4
                else view
            )
            found = self._columns[name] = values[_OFFSETS[name] // size :: _SIZE // size].tolist()
        return found

    @property
    def states(self) -> bytes:
        """The State of each task, a byte each."""
        if self._states is None:
            self._states = bytes(self._data[_OFFSETS["state"] :: _SIZE]).translate(_STATE_BYTES)
        return self._states

    @property
    def reasons(self) -> list[WaitReason | None]:
        """What each task waits for; None: it does not wait."""
        if self._reasons is None:
            made: dict[tuple[int, int, int, bool], WaitReason] = {}
            found: list[WaitReason | None] = []
            for state, awaited, site, subject, deadline in zip(
                self.states,
                self.column("awaited"),
                self.column("site"),
                self.column("subject"),
                self.column("deadline_ns"),
                strict=True,
            ):
                if state != State.WAITING:
                    found.append(None)
                    continue
                key = (awaited, site, subject if awaited == Awaited.TASK else 0, deadline != 0)
                reason = made.get(key)
                if reason is None:
                    reason = made[key] = wait_reason(awaited, self.find_site(site), key[2], deadline)
                found.append(reason)
            self._reasons = found
        return self._reasons

    @property
    def names(self) -> list[str]:
        """The name of each task."""
        if self._task_names is None:
            size, names = layout.NAME_SIZE, self._names
            self._task_names = [
                task_name(number, names[at : at + size]) if names[at] else f"Task-{number}"
                for number, at in zip(self.column("id"), range(0, len(names), size), strict=True)
            ]
        return self._task_names

    @property
    def coroutines(self) -> list[Site | None]:
        """The coroutine's function of each task."""
        return self._sites("coroutine")

    def _sites(self, column: str) -> list[Site | None]:
        numbers = self.column(column)
        made = {number: self.find_site(number) for number in set(numbers)}
        return [made[number] for number in numbers]

    def select(self, indexes: Sequence[int]) -> "TaskTable":
        """Return a table of some of the tasks, in this order."""
        name_size = layout.NAME_SIZE
        copies = SlotCopies(
            numbers=[self.slots[index] for index in indexes],
            slots=b"".join(self._data[index * _SIZE : (index + 1) * _SIZE] for index in indexes),
            names=b"".join(self._names[index * name_size : (index + 1) * name_size] for index in indexes),
        )
        return TaskTable(copies, self.clock, self.now_ns, self.find_site)

    def find(self, task_id: int) -> int | None:
        """Return the index of a task; None: it is not here."""
        try:
            return self.column("id").index(task_id)
        except ValueError:
            return None

    @property
    def positions(self) -> dict[int, int]:
        """The index of each task, by its number: for those who look for many."""
        if self._positions is None:
            self._positions = {number: index for index, number in enumerate(self.column("id"))}
        return self._positions

    def view(self, index: int) -> TaskView:
        """Return one task."""
        return self._views[index] if self._views is not None else self.select((index,)).views[0]

    def count(self, state: State) -> int:
        """Return how many tasks are in a state."""
        return self.states.count(state)

    @property
    def views(self) -> tuple[TaskView, ...]:
        """A TaskView of each task."""
        if self._views is None:
            self._views = tuple(map(TaskView._make, zip(*self._view_columns(), strict=True)))
        return self._views

    def _view_columns(self) -> tuple[Sequence[object], ...]:
        """Return the columns in the order of TaskView's fields."""
        column, now_ns = self.column, self.now_ns
        waits = [state == State.WAITING for state in self.states]
        since_ns = self.clock.all_to_ns(column("since_ticks"))
        created_ns = self.clock.all_to_ns(column("created_ticks"))
        awaited = zip(waits, column("awaited"), column("subject"), strict=True)
        sites = self._sites("site")
        return (
            column("id"),
            self.names,
            [_STATES[state] for state in self.states],
            since_ns,
            [max(0, now_ns - since) for since in since_ns],
            self.reasons,
            [subject if is_waiting and kind == Awaited.TASK else 0 for is_waiting, kind, subject in awaited],
            [ns if is_waiting else 0 for is_waiting, ns in zip(waits, column("deadline_ns"), strict=True)],
            [_CAUSES[cause] for cause in column("cause")],
            [_RUNNING[kind] for kind in column("cause_kind")],
            column("cause_subject"),
            self.clock.all_lengths_ns(column("cpu_ticks")),
            created_ns,
            [max(0, now_ns - created) for created in created_ns],
            column("parent"),
            column("steps"),
            column("wakeups"),
            self.coroutines,
            [site if is_waiting else None for is_waiting, site in zip(waits, sites, strict=True)],
            [site if is_waiting else 0 for is_waiting, site in zip(waits, column("site"), strict=True)],
            self._sites("creator"),
        )


def with_running_task(copies: SlotCopies, slot: int, since_ticks: int, more_cpu_ticks: int) -> SlotCopies:
    """Return copies in which a task runs: its slot, written when its step ends, tells the state before."""
    try:
        start = copies.numbers.index(slot) * _SIZE
    except ValueError:
        return copies
    data = bytearray(copies.slots)
    data[start + _OFFSETS["state"]] = State.RUNNING
    cpu_at = start + _OFFSETS["cpu_ticks"]
    cpu_ticks = int.from_bytes(data[cpu_at : cpu_at + 8], "little") + more_cpu_ticks
    for offset, value in ((_OFFSETS["since_ticks"], since_ticks), (_OFFSETS["cpu_ticks"], cpu_ticks)):
        fits = min(max(0, value), 2**64 - 1)  # a page may hold any number
        data[start + offset : start + offset + 8] = fits.to_bytes(8, "little")
    return SlotCopies(copies.numbers, bytes(data), copies.names)
