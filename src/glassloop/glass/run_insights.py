"""Insights into what runs: steps that block, tasks that spin, descriptors that nobody reads, starvation."""
# ruff: noqa: D102 - the base class says what check and sentence do, each class what it is for

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from glassloop.glass.insight import Evidence, Insight
from glassloop.glass.layout import Cause, Kind, Running, State
from glassloop.glass.model import BlockView, Frame, TaskView, share
from glassloop.glass.text import duration


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
        table, slow_ns = evidence.snapshot.table, evidence.snapshot.slow_ns
        least_ticks = table.clock.length_ticks(self.LEAST_STEPS * slow_ns / 2)
        ran_long = [index for index, ticks in enumerate(table.column("cpu_ticks")) if ticks > least_ticks]
        found = [
            task
            for task in table.select(ran_long).views
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
        for task_id, count in yielded.most_common():
            if count >= self.LEAST_STEPS and count > 0.9 * steps[task_id]:
                index = evidence.snapshot.table.find(task_id)
                if index is not None:
                    yield evidence.view(index).label, count, steps[task_id]

    def sentence(self, subject: tuple[str, int, int]) -> str:
        label, count, steps = subject
        return (
            f"task {label} spins: {count} of its last {steps} steps ended in a bare yield, such as sleep(0)"
        )


class BusyDescriptor(NamedTuple):
    """A descriptor, how often it was ready, and the function that handles it, where that is known."""

    fd: int
    calls: int
    handler: Frame | None


class DescriptorSpins(Insight[BusyDescriptor]):
    """A descriptor that is always ready while nobody is woken by it: its data are never read."""

    name = "descriptor never read"
    LEAST_CALLS = 500

    def check(self, evidence: Evidence) -> Iterator[BusyDescriptor]:
        ran = [record for record in evidence.records if record.kind in (Kind.CALL, Kind.STEP)]
        calls = [record for record in ran if record.kind == Kind.CALL]
        wakes = [record for record in evidence.records if record.kind == Kind.WAKE]
        woke = {
            record.subject - 1 for record in wakes if record.cause_kind != Running.TASK and record.subject
        }
        for fd, count in Counter(record.task - 1 for record in calls if record.task).most_common():
            if count >= self.LEAST_CALLS and count > 0.5 * len(ran) and fd not in woke:
                yield BusyDescriptor(fd, count, None)
        # What add_reader() watches is called by a handle: which descriptors are ready only the loop knows.
        count = sum(1 for record in calls if not record.task)
        woken = sum(1 for record in wakes if record.cause_kind in (Running.HANDLE, Running.FOREIGN))
        if count >= self.LEAST_CALLS and count > 0.5 * len(ran) and woken < 0.01 * count:
            for handler in evidence.answer.ready:
                yield BusyDescriptor(handler.fd, count, handler.function)

    def sentence(self, subject: BusyDescriptor) -> str:
        if subject.handler is None:
            whose = "its handler"
            count = f"{subject.calls} of the last events were its own"
        else:
            whose = f"its handler, {subject.handler},"
            count = f"{subject.calls} callbacks ran of late"
        return (
            f"file descriptor {subject.fd} is always ready and {whose} takes nothing off it, it seems: "
            f"{count}, and woke nobody"
        )


class Starved(Insight[tuple[int, TaskView]]):
    """Tasks that could run and do not get to."""

    name = "starvation"

    def check(self, evidence: Evidence) -> Iterator[tuple[int, TaskView]]:
        table = evidence.snapshot.table
        if not table.count(State.READY):
            return
        since, long_ago = table.column("since_ticks"), evidence.before(evidence.snapshot.slow_ns)
        ready = [
            index
            for index, state in enumerate(table.states)
            if state == State.READY and since[index] < long_ago
        ]
        if ready:
            yield len(ready), evidence.view(min(ready, key=since.__getitem__))

    def sentence(self, subject: tuple[int, TaskView]) -> str:
        count, longest = subject
        tasks = "1 task is" if count == 1 else f"{count} tasks are"
        return f"{tasks} ready and not run, the longest, {longest.label}, since {duration(longest.state_ns)}"


class TasksUnseen(Insight[int]):
    """The page has fewer slots than the loop has tasks."""

    name = "tasks unseen"

    def check(self, evidence: Evidence) -> Iterator[int]:
        if evidence.snapshot.tasks_unseen:
            yield evidence.snapshot.tasks_unseen

    def sentence(self, subject: int) -> str:
        return f"{subject} tasks had no slot in the page: nothing here tells of them"
