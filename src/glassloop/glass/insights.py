"""Insights: what an expert would say after a look at the page. Each is one small class: a check, and words.

None of them needs the program's help, so none can know more than the page tells; the sentences claim no more.
"""
# ruff: noqa: D102 - the base class says what check and sentence do, each class what it is for

import abc
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from glassloop.glass.layout import Cause, Kind, Running, State
from glassloop.glass.model import BlockView, Snapshot, TaskView, WaitGroup, group_waits, share
from glassloop.glass.raw import RawRecord
from glassloop.glass.reasons import INTERNAL, WaitKind
from glassloop.glass.text import duration

Subject = TypeVar("Subject")

SECOND_NS = 1_000_000_000
_MOST_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the insights look at: the loop now, and the newest records of its ring, oldest first."""

    snapshot: Snapshot
    records: tuple[RawRecord, ...] = ()


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


class Blocked(Insight[BlockView]):
    """A step that held up the loop, now over: the one that blocks now has the top of the screen."""

    name = "blocked the loop"

    def check(self, evidence: Evidence) -> Iterator[BlockView]:
        ended = [block for block in evidence.snapshot.blocks if block.ended]
        yield from sorted(ended, key=lambda block: -block.length_ns)[:1]

    def sentence(self, subject: BlockView) -> str:
        who = f"task {subject.task_name}" if subject.task_id else "a callback"
        line = next((frame for frame in subject.frames if frame.is_own), None)
        where = f" at {line}" if line else ""
        return f"{who} blocked the loop for at least {duration(subject.length_ns)}{where}"


class NeverYields(Insight[TaskView]):
    """A task whose steps are long as a rule: it computes where it should await, or use a thread."""

    name = "seldom yields"
    LEAST_STEPS = 3

    def check(self, evidence: Evidence) -> Iterator[TaskView]:
        slow_ns = evidence.snapshot.slow_ns
        found = [
            task
            for task in evidence.snapshot.tasks
            if task.steps >= self.LEAST_STEPS
            and task.cpu_ns / task.steps > slow_ns / 2
            and share(task.cpu_ns, task.age_ns) > 0.5
        ]
        yield from sorted(found, key=lambda task: -task.cpu_ns)

    def sentence(self, subject: TaskView) -> str:
        return (
            f"task {subject.label} seldom yields: {duration(subject.cpu_ns / subject.steps)} a step over "
            f"{subject.steps} steps, {share(subject.cpu_ns, subject.age_ns):.0%} of its life"
        )


class WakesItself(Insight[tuple[str, int, int]]):
    """A task that yields only to run again at once: a spin, such as ``while not done: await sleep(0)``."""

    name = "wakes itself"
    LEAST_STEPS = 500

    def check(self, evidence: Evidence) -> Iterator[tuple[str, int, int]]:
        steps = Counter(record.task for record in evidence.records if record.kind == Kind.STEP)
        yielded = Counter(
            record.task
            for record in evidence.records
            if record.kind == Kind.STEP and record.state == State.READY and record.cause == Cause.YIELDED
        )
        tasks = evidence.snapshot.by_id()
        for task_id, count in yielded.most_common():
            if count >= self.LEAST_STEPS and count > 0.9 * steps[task_id] and task_id in tasks:
                yield tasks[task_id].label, count, steps[task_id]

    def sentence(self, subject: tuple[str, int, int]) -> str:
        label, count, steps = subject
        return (
            f"task {label} spins: {count} of its last {steps} steps ended in a bare yield, such as sleep(0)"
        )


class DescriptorSpins(Insight[tuple[int, int]]):
    """A descriptor that is always ready while nobody is woken by it: its data are never read."""

    name = "descriptor never read"
    LEAST_CALLS = 500

    def check(self, evidence: Evidence) -> Iterator[tuple[int, int]]:
        calls = Counter(r.task - 1 for r in evidence.records if r.kind == Kind.CALL and r.task)
        woke = {
            r.subject - 1
            for r in evidence.records
            if r.kind == Kind.WAKE and r.cause_kind != Running.TASK and r.subject
        }
        all_calls = sum(1 for record in evidence.records if record.kind in (Kind.CALL, Kind.STEP))
        for fd, count in calls.most_common():
            if count >= self.LEAST_CALLS and count > 0.5 * all_calls and fd not in woke:
                yield fd, count

    def sentence(self, subject: tuple[int, int]) -> str:
        fd, count = subject
        return (
            f"file descriptor {fd} is always ready and its handler takes nothing off it, it seems: "
            f"{count} of the last events were its own, and woke nobody"
        )


class ExecutorFull(Insight[tuple[int, int, int]]):
    """More jobs wait for threads than the process has."""

    name = "executor full"

    def check(self, evidence: Evidence) -> Iterator[tuple[int, int, int]]:
        threads = evidence.snapshot.process_threads
        waiting = [
            task
            for task in evidence.snapshot.tasks
            if task.reason is not None and task.reason.kind in (WaitKind.EXECUTOR, WaitKind.DNS)
        ]
        # One thread is the loop's, whatever the others do.
        if threads and len(waiting) > threads - 1:
            yield len(waiting), threads - 1, max(task.state_ns for task in waiting)

    def sentence(self, subject: tuple[int, int, int]) -> str:
        waiting, threads, longest_ns = subject
        return (
            f"the executor is full: {waiting} tasks wait for jobs and the process has {threads} other "
            f"threads, so at least {waiting - threads} jobs are queued; "
            f"the longest wait is {duration(longest_ns)}"
        )


class LockWait(Insight[WaitGroup]):
    """Tasks that have waited long for a lock: somebody holds it across a long wait."""

    name = "long wait for a lock"
    LONG_NS = SECOND_NS

    def check(self, evidence: Evidence) -> Iterator[WaitGroup]:
        for group in group_waits(evidence.snapshot.tasks):
            if group.kind in (WaitKind.LOCK, WaitKind.SEMAPHORE) and group.tasks[0].state_ns > self.LONG_NS:
                yield group

    def sentence(self, subject: WaitGroup) -> str:
        longest = subject.tasks[0]
        count = "1 task waits" if len(subject.tasks) == 1 else f"{len(subject.tasks)} tasks wait"
        where = f" in {subject.place}" if subject.place else ""
        return (
            f"{count} for {subject.text}{where}, {longest.name} for {duration(longest.state_ns)}: "
            "its holder keeps it across a wait"
        )


class WaitCycle(Insight[tuple[TaskView, ...]]):
    """Tasks that await each other in a ring: none of them will ever go on."""

    name = "wait cycle"
    severe = True

    def check(self, evidence: Evidence) -> Iterator[tuple[TaskView, ...]]:
        tasks = evidence.snapshot.by_id()
        done: set[int] = set()
        for start in tasks:
            path: dict[int, None] = {}
            at = start
            while at in tasks and at not in done and at not in path:
                path[at] = None
                at = tasks[at].awaited_id
            if at in path:
                ring = list(path)
                yield tuple(tasks[task_id] for task_id in ring[ring.index(at) :])
            done.update(path)

    def sentence(self, subject: tuple[TaskView, ...]) -> str:
        return "wait cycle: " + " awaits ".join(task.label for task in (*subject, subject[0]))


class NothingCanWake(Insight[tuple[TaskView, ...]]):
    """All tasks wait for each other's doing, and no timer and no I/O is there that could start one."""

    name = "deadlock"
    severe = True
    LONG_NS = SECOND_NS // 10

    def check(self, evidence: Evidence) -> Iterator[tuple[TaskView, ...]]:
        snapshot = evidence.snapshot
        tasks = [task for task in snapshot.tasks if task.state is not State.DONE]
        # What is watched may wake a task; so may another thread, of which the page knows nothing.
        if snapshot.ready or snapshot.timers or snapshot.fds or snapshot.running_id or not tasks:
            return
        if all(
            task.state is State.WAITING
            and task.reason is not None
            and task.reason.kind in INTERNAL
            and task.state_ns > self.LONG_NS
            for task in tasks
        ):
            yield tuple(sorted(tasks, key=lambda task: -task.state_ns))

    def sentence(self, subject: tuple[TaskView, ...]) -> str:
        waits = "; ".join(
            f"{task.label} for {task.reason.text if task.reason else '?'}" for task in subject[:4]
        )
        more = f"; and {len(subject) - 4} more" if len(subject) > 4 else ""
        return f"nothing in this loop can go on by itself: no timer, no I/O, every task waits: {waits}{more}"


class LostFuture(Insight[TaskView]):
    """A task that waits long for a plain future, nobody awaits it, and who made it is gone."""

    name = "forgotten"
    LONG_NS = 60 * SECOND_NS

    def check(self, evidence: Evidence) -> Iterator[TaskView]:
        tasks = evidence.snapshot.by_id()
        awaited = {task.awaited_id for task in evidence.snapshot.tasks}
        found = [
            task
            for task in evidence.snapshot.tasks
            if task.reason is not None
            and task.reason.kind in (WaitKind.FUTURE, WaitKind.OTHER, WaitKind.EVENT)
            and task.state_ns > self.LONG_NS
            and task.id not in awaited
            and task.parent_id
            and task.parent_id not in tasks
        ]
        yield from sorted(found, key=lambda task: -task.state_ns)

    def sentence(self, subject: TaskView) -> str:
        reason = subject.reason.text if subject.reason else "?"
        return (
            f"task {subject.label} has waited {duration(subject.state_ns)} for {reason}; "
            "the task that made it is gone and no task awaits it"
        )


class Starved(Insight[tuple[int, TaskView]]):
    """Tasks that could run and do not get to."""

    name = "starvation"

    def check(self, evidence: Evidence) -> Iterator[tuple[int, TaskView]]:
        slow_ns = evidence.snapshot.slow_ns
        ready = [
            task for task in evidence.snapshot.tasks if task.state is State.READY and task.state_ns > slow_ns
        ]
        if ready:
            yield len(ready), max(ready, key=lambda task: task.state_ns)

    def sentence(self, subject: tuple[int, TaskView]) -> str:
        count, longest = subject
        tasks = "1 task is" if count == 1 else f"{count} tasks are"
        return f"{tasks} ready and not run, the longest, {longest.label}, since {duration(longest.state_ns)}"


class CancelledYetRunning(Insight[TaskView]):
    """A task that was cancelled (an exception was thrown into it), and waits for something all the same."""

    name = "cancelled yet running"
    LONG_NS = SECOND_NS

    def check(self, evidence: Evidence) -> Iterator[TaskView]:
        found = [
            task
            for task in evidence.snapshot.tasks
            if task.cause is Cause.THROWN and task.state is State.WAITING and task.state_ns > self.LONG_NS
        ]
        yield from sorted(found, key=lambda task: -task.state_ns)

    def sentence(self, subject: TaskView) -> str:
        reason = subject.reason.text if subject.reason else "something"
        return (
            f"task {subject.label} was cancelled {duration(subject.state_ns)} ago and still waits for "
            f"{reason}: it caught CancelledError, or cleans up"
        )


class TasksUnseen(Insight[int]):
    """The page has fewer slots than the loop has tasks."""

    name = "tasks unseen"

    def check(self, evidence: Evidence) -> Iterator[int]:
        if evidence.snapshot.tasks_unseen:
            yield evidence.snapshot.tasks_unseen

    def sentence(self, subject: int) -> str:
        return f"{subject} tasks had no slot in the page: nothing here tells of them"


INSIGHTS: tuple[Insight[Any], ...] = (
    WaitCycle(),
    NothingCanWake(),
    Blocked(),
    NeverYields(),
    WakesItself(),
    DescriptorSpins(),
    ExecutorFull(),
    LockWait(),
    Starved(),
    CancelledYetRunning(),
    LostFuture(),
    TasksUnseen(),
)


def find_insights(evidence: Evidence) -> list[Finding]:
    """Return what holds, the severe first."""
    found = [finding for insight in INSIGHTS for finding in insight.findings(evidence)]
    return sorted(found, key=lambda finding: not finding.severe)
