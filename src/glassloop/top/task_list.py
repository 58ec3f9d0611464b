"""The list of tasks: its columns, how it is sorted, and which tasks a filter lets through.

Made for 100,000 tasks: the order is a list of indexes, computed column by column; text is made only of the
lines that are shown.
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from glassloop.glass.layout import State
from glassloop.glass.model import TaskView
from glassloop.top.rates import Rates


class Order(enum.Enum):
    """What the list may be sorted by, in the order of the columns."""

    NAME = "TASK"
    STATE = "STATE"
    FOR = "FOR"
    BUSY = "BUSY"
    READY = "READY"
    WAITING = "WAIT"
    WAKEUPS = "WAKE/S"
    CPU = "CPU"
    STEPS = "STEPS"
    COROUTINE = "COROUTINE"
    REASON = "WAITS FOR"


# Where the least comes first; of everything else one looks for the most.
_ASCENDING = {Order.NAME, Order.COROUTINE, Order.REASON}
_LAST = chr(0x10FFFF)
# What one looks at first comes first.
_STATE_RANK = {State.RUNNING: 0, State.READY: 1, State.WAITING: 2, State.DONE: 3}


@dataclass(frozen=True, slots=True)
class Query:
    """What is wanted of the list."""

    order: Order = Order.BUSY
    is_reversed: bool = False
    words: tuple[str, ...] = ()  # in lower case; a task is shown if each of them is in one of its texts


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One line: a task and its figures."""

    task: TaskView
    busy: float
    ready: float
    waiting: float
    wakeups: float


class TaskList:
    """The tasks of one look, sorted and filtered."""

    def __init__(self, rates: Rates, query: Query) -> None:
        """Nothing is computed until ``order`` is asked for."""
        self.rates = rates
        self.query = query
        self.table = rates.table

    def __len__(self) -> int:
        return len(self.order)

    @property
    def total(self) -> int:
        """How many tasks there are without the filter."""
        return len(self.table)

    @cached_property
    def order(self) -> list[int]:
        """Indexes of the table, as they are to be shown. Equals keep the order of their making."""
        indexes = self._matching() if self.query.words else range(len(self.table))
        keys = self._keys()
        down = (self.query.order not in _ASCENDING) != self.query.is_reversed
        made = self.table.column("created_ticks")
        if made != sorted(made):
            indexes = sorted(indexes, key=made.__getitem__)
        return sorted(indexes, key=keys.__getitem__, reverse=down)

    def _keys(self) -> "list[int] | list[float] | list[str]":
        table, rates = self.table, self.rates
        match self.query.order:
            case Order.NAME:
                return [_natural(name) for name in table.names]
            case Order.STATE:
                return [-_STATE_RANK[State(state)] for state in table.states]
            case Order.FOR:
                return [-ticks for ticks in table.column("since_ticks")]
            case Order.BUSY:
                return rates.busy
            case Order.READY:
                return rates.ready
            case Order.WAITING:
                return rates.waiting
            case Order.WAKEUPS:
                return rates.wakeups
            case Order.CPU:
                return table.column("cpu_ticks")
            case Order.STEPS:
                return table.column("steps")
            case Order.COROUTINE:
                return [site.name if site is not None else _LAST for site in table.coroutines]
            case Order.REASON:
                return [reason.text if reason is not None else _LAST for reason in table.reasons]

    def _matching(self) -> Iterable[int]:
        """Return the indexes of the tasks that the filter lets through."""
        words = self.query.words
        texts: dict[tuple[int, int, int], str] = {}  # what many tasks share is lowered once
        found = []
        table = self.table
        columns = zip(
            table.names, table.states, table.column("coroutine"), table.reasons, table.coroutines, strict=True
        )
        for index, (name, state, number, reason, coroutine) in enumerate(columns):
            key = (state, number, id(reason))
            text = texts.get(key)
            if text is None:
                parts = [State(state).name, str(coroutine or ""), reason.text if reason is not None else ""]
                text = texts[key] = "\n".join(parts).lower()
            lowered = name.lower()
            if all(word in lowered or word in text for word in words):
                found.append(index)
        return found

    def row(self, place: int) -> TaskRow:
        """Return one line by its place in the list."""
        index = self.order[place]
        (task,) = self.table.select([index]).views
        rates = self.rates
        return TaskRow(
            task, rates.busy[index], rates.ready[index], rates.waiting[index], rates.wakeups[index]
        )

    def task_id(self, place: int) -> int:
        """Return which task a line is of."""
        return self.table.column("id")[self.order[place]]

    def find(self, task_id: int) -> int | None:
        """Return the place of a task's line; None: it has none."""
        index = self.table.find(task_id)
        if index is None:
            return None
        try:
            return self.order.index(index)
        except ValueError:
            return None


def _natural(name: str) -> str:
    """Return a name to sort by: Task-9 comes before Task-10."""
    head = name.rstrip("0123456789")
    digits = name[len(head) :]
    return (
        f"{head.lower()}{int(digits):020d}"
        if digits.isascii() and digits and len(digits) < 20
        else name.lower()
    )
