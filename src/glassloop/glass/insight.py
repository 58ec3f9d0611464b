"""What an insight is: a check of what is known of a loop, and words for what was found.

Most insights need nothing of the program but its page. What only the loop itself can tell (who holds a lock,
who was cancelled) comes from its answer, if it gave one. The sentences claim no more than that.
"""

import abc
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from glassloop.glass.answers import Answer, TaskAnswer
from glassloop.glass.model import Frame, Snapshot, TaskView, own_frame
from glassloop.glass.raw import RawRecord

Subject = TypeVar("Subject")

SECOND_NS = 1_000_000_000
_MOST_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the insights look at: the loop now, its newest records, the oldest first, and its answer."""

    snapshot: Snapshot
    records: tuple[RawRecord, ...] = ()
    answer: Answer = field(default_factory=Answer)

    def told(self, task: TaskView) -> TaskAnswer:
        """Return what the loop told of a task, before the snapshot was taken."""
        return self.answer.tasks.get(task.id, _NOTHING)

    def place(self, task: TaskView) -> Frame | None:
        """Return the line of the program's own code at which a task waits."""
        return own_frame(reversed(self.told(task).stack))


_NOTHING = TaskAnswer()


@dataclass(frozen=True, slots=True)
class Finding:
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
