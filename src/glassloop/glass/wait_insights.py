"""Insights into what waits: full executors, locks and who holds them, rings, futures that nobody finishes."""
# ruff: noqa: D102 - the base class says what check and sentence do, each class what it is for

from collections.abc import Iterator
from dataclasses import dataclass

from glassloop.glass.answers import Holding
from glassloop.glass.insight import SECOND_NS, Evidence, Insight
from glassloop.glass.layout import State
from glassloop.glass.model import TaskView, group_waits
from glassloop.glass.reasons import INTERNAL, WaitKind
from glassloop.glass.text import duration


@dataclass(frozen=True, slots=True)
class Backlog:
    """Jobs that wait for a thread."""

    queued: int
    threads: int
    delay_ns: int
    is_own: bool  # it is the loop's own executor, which told so


class ExecutorFull(Insight[Backlog]):
    """More jobs wait for threads than there are."""

    name = "executor full"
    # The loop's own, and the watchdog's.
    OTHER_THREADS = 2

    def check(self, evidence: Evidence) -> Iterator[Backlog]:
        waits_ns = sorted(
            task.state_ns
            for task in evidence.snapshot.tasks
            if task.reason is not None and task.reason.kind in (WaitKind.EXECUTOR, WaitKind.DNS)
        )
        executor = evidence.answer.executor
        threads = evidence.snapshot.process_threads - self.OTHER_THREADS
        if executor is not None and executor.queued and executor.threads >= executor.most:
            # Jobs begin in the order of their coming: the newest are those that are queued.
            queued_ns = waits_ns[: executor.queued]
            yield Backlog(executor.queued, executor.threads, queued_ns[-1] if queued_ns else 0, is_own=True)
        elif threads > 0 and len(waits_ns) > threads:
            queued = len(waits_ns) - threads
            yield Backlog(queued, threads, waits_ns[queued - 1], is_own=False)

    def sentence(self, subject: Backlog) -> str:
        jobs = "1 job waits" if subject.queued == 1 else f"{subject.queued} jobs wait"
        delay = f", the longest for about {duration(subject.delay_ns)}" if subject.delay_ns else ""
        if subject.is_own:
            return (
                f"the executor is full: all its {subject.threads} threads are busy and {jobs} for one{delay}"
            )
        return (
            f"the executor is full: the process has {subject.threads} threads that could do jobs, and at "
            f"least {jobs} for one{delay}"
        )


@dataclass(frozen=True, slots=True)
class HeldLock:
    """Tasks that wait for the same lock, as far as that is known, and who holds it."""

    what: str
    waiters: tuple[TaskView, ...]  # the longest wait first
    place: str
    is_asked: bool  # the loop has told what it knows
    holders: tuple[tuple[TaskView, Holding], ...]


class LockWait(Insight[HeldLock]):
    """Tasks that have waited long for a lock: somebody holds it across a long wait."""

    name = "long wait for a lock"
    LONG_NS = SECOND_NS

    def check(self, evidence: Evidence) -> Iterator[HeldLock]:
        tasks = evidence.snapshot.by_id()
        holders = evidence.answer.holders()
        for group in group_waits(evidence.snapshot.tasks):
            if (
                group.kind not in (WaitKind.LOCK, WaitKind.SEMAPHORE)
                or group.tasks[0].state_ns <= self.LONG_NS
            ):
                continue
            by_lock: dict[str, list[TaskView]] = {}
            for task in group.tasks:
                by_lock.setdefault(evidence.told(task).lock, []).append(task)
            for lock, waiters in by_lock.items():
                if waiters[0].state_ns > self.LONG_NS:
                    place = evidence.place(waiters[0])
                    yield HeldLock(
                        evidence.told(waiters[0]).subject or group.text,
                        tuple(waiters),
                        str(place) if place is not None else group.place,
                        bool(lock),
                        tuple((tasks[who], held) for who, held in holders.get(lock, ()) if who in tasks),
                    )

    def sentence(self, subject: HeldLock) -> str:
        longest = subject.waiters[0]
        count = "1 task waits" if len(subject.waiters) == 1 else f"{len(subject.waiters)} tasks wait"
        where = f" at {subject.place}" if subject.place else ""
        waits = f"{count} for {subject.what}{where}, {longest.name} for {duration(longest.state_ns)}"
        if not subject.is_asked:
            return f"{waits}: its holder keeps it across a wait"
        if not subject.holders:
            return f"{waits}: no task of this loop is seen to hold it; it may never have been released"
        return f"{waits}: {_held_by(subject.holders[0])}" + (
            f" and {len(subject.holders) - 1} more" if len(subject.holders) > 1 else ""
        )


def _held_by(holder: tuple[TaskView, Holding]) -> str:
    task, holding = holder
    reason = f", which itself waits for {task.reason.text}" if task.reason is not None else ""
    return f"{'held' if holding.is_sure else 'held, it seems,'} by {task.label} at {holding.frame}{reason}"


@dataclass(frozen=True, slots=True)
class Link:
    """A task in a ring, and why it waits for the next one."""

    task: TaskView
    how: str = "awaits"
    place: str = ""  # where it waits


class WaitCycle(Insight[tuple[Link, ...]]):
    """Tasks that wait for each other in a ring, directly or through locks: none of them will ever go on."""

    name = "wait cycle"
    severe = True
    # In less time a loop may have got on between its answer and the snapshot.
    STANDING_NS = SECOND_NS // 20

    def check(self, evidence: Evidence) -> Iterator[tuple[Link, ...]]:
        tasks = evidence.snapshot.by_id()
        holders = evidence.answer.holders()
        done: set[int] = set()
        for start in tasks:
            path: dict[int, tuple[Link, Iterator[tuple[int, Link]]]] = {}
            at = start
            while True:
                if at in tasks and at not in done and at not in path:
                    path[at] = (Link(tasks[at]), self._links(evidence, tasks[at], holders))
                elif at in path:
                    ring = list(path)[list(path).index(at) :]
                    first = ring.index(min(ring))  # told the same way, wherever the search came upon it
                    yield tuple(path[task_id][0] for task_id in ring[first:] + ring[:first])
                    done.update(path)
                    break
                while path:  # on to the next task that the last one waits for, or back
                    last = next(reversed(path))
                    following = next(path[last][1], None)
                    if following is not None:
                        path[last] = (following[1], path[last][1])
                        at = following[0]
                        break
                    done.add(last)
                    del path[last]
                else:
                    break

    def _links(
        self, evidence: Evidence, task: TaskView, holders: dict[str, list[tuple[int, Holding]]]
    ) -> Iterator[tuple[int, Link]]:
        """Yield each task without which this one does not go on."""
        if task.awaited_id:
            yield task.awaited_id, Link(task)
        told = evidence.told(task)
        if task.state is not State.WAITING or task.state_ns < self.STANDING_NS:
            return
        place = evidence.place(task)
        where = str(place) if place is not None else ""
        for awaited in told.awaits:
            yield awaited, Link(task, "awaits", where)
        held_by = holders.get(told.lock, ()) if told.lock else ()
        if len(held_by) == 1:  # of many holders of a semaphore any one may let go
            seems = "" if held_by[0][1].is_sure else ", it seems,"
            yield held_by[0][0], Link(task, f"waits for {told.subject}, held{seems} by", where)

    def sentence(self, subject: tuple[Link, ...]) -> str:
        following = (*subject[1:], subject[0])
        if all(link.how == "awaits" and not link.place for link in subject):
            return "wait cycle: " + " awaits ".join(link.task.label for link in (*subject, subject[0]))
        return "wait cycle: " + "; ".join(
            f"{link.task.label}{' at ' + link.place if link.place else ''} {link.how} {other.task.label}"
            for link, other in zip(subject, following, strict=True)
        )


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


class LostFuture(Insight[tuple[TaskView, str]]):
    """A task that waits for a future which nobody else knows: nobody can finish it."""

    name = "lost future"

    def check(self, evidence: Evidence) -> Iterator[tuple[TaskView, str]]:
        for task in evidence.snapshot.tasks:
            if task.state is State.WAITING and evidence.told(task).is_lost:
                yield task, str(evidence.place(task) or "")

    def sentence(self, subject: tuple[TaskView, str]) -> str:
        task, place = subject
        reason = task.reason.text if task.reason is not None else "a future"
        return (
            f"task {task.label} waits{' at ' + place if place else ''} for {reason}, to which nothing else "
            "refers: nobody can finish it, only a cancel ends this wait"
        )


class Forgotten(Insight[TaskView]):
    """A task that waits long for a plain future, nobody awaits it, and who made it is gone."""

    name = "forgotten"
    LONG_NS = 60 * SECOND_NS

    def check(self, evidence: Evidence) -> Iterator[TaskView]:
        tasks = evidence.snapshot.by_id()
        awaited = {task.awaited_id for task in evidence.snapshot.tasks}
        awaited.update(number for told in evidence.answer.tasks.values() for number in told.awaits)
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


class CancelledYetRunning(Insight[TaskView]):
    """A task that was asked to end (task.cancel()), and waits for something all the same."""

    name = "cancelled yet running"
    LONG_NS = SECOND_NS

    def check(self, evidence: Evidence) -> Iterator[TaskView]:
        found = [
            task
            for task in evidence.snapshot.tasks
            if evidence.told(task).cancelling and task.state is State.WAITING and task.state_ns > self.LONG_NS
        ]
        yield from sorted(found, key=lambda task: -task.state_ns)

    def sentence(self, subject: TaskView) -> str:
        reason = subject.reason.text if subject.reason else "something"
        return (
            f"task {subject.label} was cancelled and yet has waited {duration(subject.state_ns)} for "
            f"{reason}: it caught CancelledError, or cleans up"
        )
