"""What an insight is: a check of what is known of a loop, and words for what was found.

Most insights need nothing of the program but its page. What only the loop itself can tell (who holds a lock,
who was cancelled) comes from its answer, if it gave one. The sentences claim no more than that.

There may be 100,000 tasks: a check looks at columns of ``snapshot.table`` and makes views of what it found.
"""

import abc
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Generic, NamedTuple, TypeVar

from glassloop.glass.answers import Answer, TaskAnswer
from glassloop.glass.model import Frame, Snapshot, TaskView, own_frame
from glassloop.glass.raw import RawRecord
from glassloop.glass.wait_groups import WaitGroup, group_waits

Subject = TypeVar("Subject")

SECOND_NS = 1_000_000_000
_MOST_SHOWN = 3


class Evidence:
    """What the insights look at: the loop now, its newest records, the oldest first, and its answer."""

    def __init__(
        self, snapshot: Snapshot, records: Sequence[RawRecord] = (), answer: Answer | None = None
    ) -> None:
        self.snapshot = snapshot
        self.records = records
        self.answer = answer or Answer()

    @cached_property
    def groups(self) -> list[WaitGroup]:
        """The waiting tasks by what they wait for and where, the longest wait first."""
        return group_waits(self.snapshot.table)

    def told(self, task_id: int) -> TaskAnswer:
        """Return what the loop told of a task, before the snapshot was taken."""
        return self.answer.tasks.get(task_id, _NOTHING)

    def told_tasks(self) -> Iterator[tuple[TaskAnswer, int]]:
        """Yield what the loop told of the tasks that are still there, with their indexes in the table."""
        if self.answer.tasks:
            positions = self.snapshot.table.positions
            for number, told in self.answer.tasks.items():
                if (index := positions.get(number)) is not None:
                    yield told, index

    def place(self, task_id: int) -> Frame | None:
        """Return the line of the program's own code at which a task waits."""
        return own_frame(reversed(self.told(task_id).stack))

    def before(self, ns: int) -> int:
        """Return the ticks of so long ago: what has been so for longer has smaller ones."""
        return self.snapshot.clock.to_ticks(self.snapshot.now_ns - ns)

    def view(self, index: int) -> TaskView:
        """Return one task of the table."""
        return self.snapshot.table.view(index)


_NOTHING = TaskAnswer()


class Finding(NamedTuple):
    """One insight that holds."""

    insight: str
    sentence: str
    severe: bool  # it explains why a program does not get on


class Insight(abc.ABC, Generic[Subject]):
    """Something to look for. ``check`` yields what it was found in, ``sentence`` says it."""

    name: str
    severe = False

    @abc.abstractmethod
    def check(self, evidence: Evidence) -> Iterator[Subject]:
        """Yield each case, the worst first."""

    @abc.abstractmethod
    def sentence(self, subject: Subject) -> str:
        """Say one case in a sentence."""

    def findings(self, evidence: Evidence) -> Iterator[Finding]:
        """Yield what to show of it: the first few cases."""
        for number, subject in enumerate(self.check(evidence)):
            if number == _MOST_SHOWN:
                break
            yield Finding(self.name, self.sentence(subject), self.severe)
