"""Tasks that wait for the same kind of thing at the same place: quick also with 100,000 of them."""

from collections import defaultdict
from typing import NamedTuple

from glassloop.glass.layout import State
from glassloop.glass.model import TaskView
from glassloop.glass.reasons import WaitKind, wait_reason
from glassloop.glass.task_table import TaskTable


class WaitGroup(NamedTuple):
    """Tasks that wait for the same kind of thing at the same place."""

    kind: WaitKind
    text: str
    place: str  # the waiting tasks' coroutine
    table: TaskTable
    indexes: list[int]  # of the tasks, in the table's order
    first: int  # the index of the task that has waited longest

    @property
    def size(self) -> int:
        """How many tasks."""
        return len(self.indexes)

    @property
    def longest(self) -> TaskView:
        """The task that has waited longest."""
        return self.table.view(self.first)

    def by_wait(self) -> list[int]:
        """Return the indexes, the longest wait first."""
        return sorted(self.indexes, key=self.table.column("since_ticks").__getitem__)

    @property
    def tasks(self) -> tuple[TaskView, ...]:
        """The tasks, the longest wait first. Where there may be very many, ``indexes`` is quicker."""
        return self.table.select(self.by_wait()).views


def group_waits(table: TaskTable) -> list[WaitGroup]:
    """Return the waiting tasks by reason and coroutine, the longest wait first."""
    alike: defaultdict[tuple[int, int, int, int, bool], list[int]] = defaultdict(list)
    columns = zip(
        table.states,
        table.column("awaited"),
        table.column("site"),
        table.column("coroutine"),
        [deadline != 0 for deadline in table.column("deadline_ns")],
        strict=True,
    )
    for index, key in enumerate(columns):
        alike[key].append(index)
    groups: dict[tuple[WaitKind, str, str], list[int]] = {}
    for (state, awaited, site, coroutine, has_deadline), indexes in alike.items():
        if state == State.WAITING:
            reason = wait_reason(awaited, table.find_site(site), 0, has_deadline)
            text = "another task" if reason.kind is WaitKind.TASK else reason.text
            known = groups.setdefault((reason.kind, text, str(table.find_site(coroutine) or "")), indexes)
            if known is not indexes:
                known.extend(indexes)
    since = table.column("since_ticks").__getitem__
    found = [
        WaitGroup(kind, text, place, table, indexes, min(indexes, key=since))
        for (kind, text, place), indexes in groups.items()
    ]
    return sorted(found, key=lambda group: since(group.first))
