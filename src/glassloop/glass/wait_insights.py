"""Insights into what waits: full executors, locks and who holds them, rings, futures that nobody finishes."""
# ruff: noqa: D102 - the base class says what check and sentence do, each class what it is for

from collections.abc import Iterator
from typing import NamedTuple

from glassloop.glass.answers import Holding
from glassloop.glass.insight import SECOND_NS, Evidence, Insight
from glassloop.glass.layout import Awaited, State
from glassloop.glass.model import TaskView
from glassloop.glass.reasons import INTERNAL, WaitKind
from glassloop.glass.text import duration
from glassloop.glass.wait_groups import WaitGroup


class Backlog(NamedTuple):
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
        snapshot = evidence.snapshot
        since = snapshot.table.column("since_ticks")
        began = [
            since[index]
            for group in evidence.groups
            if group.kind in (WaitKind.EXECUTOR, WaitKind.DNS)
            for index in group.indexes
        ]
        waits_ns = sorted(max(0, snapshot.now_ns - ns) for ns in snapshot.clock.all_to_ns(began))
        executor = evidence.answer.executor
        threads = snapshot.process_threads - self.OTHER_THREADS
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


class HeldLock(NamedTuple):
    """Tasks that wait for the same lock, as far as that is known, and who holds it."""

    what: str
    waiters: int
    longest: TaskView
    place: str
    is_asked: bool  # the loop has told what it knows of the one that waits longest
    is_all: bool  # ... and of all the others
    holders: tuple[tuple[TaskView, Holding], ...]


class LockWait(Insight[HeldLock]):
    """Tasks that have waited long for a lock: somebody holds it across a long wait."""

    name = "long wait for a lock"
    LONG_NS = SECOND_NS

    def check(self, evidence: Evidence) -> Iterator[HeldLock]:
        table = evidence.snapshot.table
        ids, since = table.column("id"), table.column("since_ticks")
        long_ago = evidence.before(self.LONG_NS)
        holders: dict[str, list[tuple[int, Holding]]] | None = None
        for group in evidence.groups:
            if group.kind not in (WaitKind.LOCK, WaitKind.SEMAPHORE) or since[group.first] >= long_ago:
                continue
            holders = evidence.answer.holders() if holders is None else holders
            by_lock: dict[str, list[int]] = {}
            for index in group.by_wait():
                by_lock.setdefault(evidence.told(ids[index]).lock, []).append(index)
            for lock, waiters in by_lock.items():
                if since[waiters[0]] < long_ago:
                    yield self._held(evidence, group, lock, waiters, holders.get(lock, []))

    def _held(
        self,
        evidence: Evidence,
        group: WaitGroup,
        lock: str,
        waiters: list[int],
        holders: list[tuple[int, Holding]],
    ) -> HeldLock:
        longest = evidence.view(waiters[0])
        place = evidence.place(longest.id)
        found = ((group.table.find(who), held) for who, held in holders)
        return HeldLock(
            evidence.told(longest.id).subject or group.text,
            len(waiters),
            longest,
            str(place) if place is not None else group.place,
            bool(lock),
            not evidence.answer.left,
            tuple((evidence.view(index), held) for index, held in found if index is not None),
        )

    def sentence(self, subject: HeldLock) -> str:
        longest = subject.longest
        count = "1 task waits" if subject.waiters == 1 else f"{subject.waiters} tasks wait"
        where = f" at {subject.place}" if subject.place else ""
        waits = f"{count} for {subject.what}{where}, {longest.name} for {duration(longest.state_ns)}"
        if not subject.is_asked:
            return f"{waits}: its holder keeps it across a wait"
        if not subject.holders and not subject.is_all:
            return f"{waits}: its holder is not among the tasks of which the loop had time to tell"
        if not subject.holders:
            return f"{waits}: no task of this loop is seen to hold it; it may never have been released"
        return f"{waits}: {_held_by(subject.holders[0])}" + (
            f" and {len(subject.holders) - 1} more" if len(subject.holders) > 1 else ""
        )


def _held_by(holder: tuple[TaskView, Holding]) -> str:
    task, holding = holder
    reason = f", which itself waits for {task.reason.text}" if task.reason is not None else ""
    return f"{'held' if holding.is_sure else 'held, it seems,'} by {task.label} at {holding.frame}{reason}"


class Link(NamedTuple):
    """A task in a ring, and why it waits for the next one."""

    task: TaskView
    how: str = "awaits"
    place: str = ""  # where it waits


# A task without which another does not go on, and what it holds; None: it is awaited.
_Edge = tuple[int, Holding | None]
_MOST_ROUNDS = 20


class WaitCycle(Insight[tuple[Link, ...]]):
    """Tasks that wait for each other in a ring, directly or through locks: none of them will ever go on."""

    name = "wait cycle"
    severe = True
    # In less time a loop may have got on between its answer and the snapshot.
    STANDING_NS = SECOND_NS // 20

    def check(self, evidence: Evidence) -> Iterator[tuple[Link, ...]]:
        links = self._links(evidence)
        # Who waits for somebody that waits for nobody is in no ring: most, and quickly seen.
        for _ in range(_MOST_ROUNDS):
            before = len(links)
            links = {
                number: found
                for number, found in links.items()
                if any(awaited in links for awaited, _ in found)
            }
            if len(links) > 0.9 * before:
                break
        done: set[int] = set()
        for start in [number for number in evidence.snapshot.table.column("id") if number in links]:
            path: dict[int, Iterator[_Edge]] = {}
            at = start
            while True:
                if at in links and at not in done and at not in path:
                    path[at] = iter(links[at])
                elif at in path:
                    ring = list(path)
                    yield self._ring(evidence, ring[ring.index(at) :], links)
                    done.update(ring)
                    break
                while path:  # on to the next task that the last one waits for, or back
                    last = next(reversed(path))
                    following = next(path[last], None)
                    if following is not None:
                        at = following[0]
                        break
                    done.add(last)
                    del path[last]
                else:
                    break

    def _links(self, evidence: Evidence) -> "dict[int, list[_Edge]]":
        """Return for each task those without which it does not go on."""
        table = evidence.snapshot.table
        ids = table.column("id")
        found: dict[int, list[_Edge]] = {}
        kinds = table.column("awaited")
        if Awaited.TASK in kinds:
            columns = zip(ids, table.states, kinds, table.column("subject"), strict=True)
            for number, state, awaited, subject in columns:
                if awaited == Awaited.TASK and state == State.WAITING and subject:
                    found[number] = [(subject, None)]
        holders = evidence.answer.holders()
        since, standing = table.column("since_ticks"), evidence.before(self.STANDING_NS)
        for told, index in evidence.told_tasks():
            if table.states[index] == State.WAITING and since[index] <= standing:
                edges: list[_Edge] = [(awaited, None) for awaited in told.awaits]
                held_by = holders.get(told.lock, ()) if told.lock else ()
                if len(held_by) == 1:  # of many holders of a semaphore any one may let go
                    edges.append(held_by[0])
                if edges:
                    found.setdefault(ids[index], []).extend(edges)
        return found

    def _ring(self, evidence: Evidence, ring: list[int], links: "dict[int, list[_Edge]]") -> tuple[Link, ...]:
        positions = evidence.snapshot.table.positions
        first = ring.index(min(ring))
        ring = ring[first:] + ring[:first]  # the same ring is always told in the same words
        found = []
        for number, following in zip(ring, (*ring[1:], ring[0]), strict=True):
            task = evidence.view(positions[number])
            place = evidence.place(number)
            where = str(place) if place is not None else ""
            held = next(held for awaited, held in links[number] if awaited == following)
            if held is not None:
                seems = "" if held.is_sure else ", it seems,"
                how = f"waits for {evidence.told(number).subject}, held{seems} by"
                found.append(Link(task, how, where))
            else:
                found.append(Link(task) if task.awaited_id == following else Link(task, "awaits", where))
        return tuple(found)

    def sentence(self, subject: tuple[Link, ...]) -> str:
        following = (*subject[1:], subject[0])
        if all(link.how == "awaits" and not link.place for link in subject):
            return "wait cycle: " + " awaits ".join(link.task.label for link in (*subject, subject[0]))
        return "wait cycle: " + "; ".join(
            f"{link.task.label}{' at ' + link.place if link.place else ''} {link.how} {other.task.label}"
            for link, other in zip(subject, following, strict=True)
        )


class Standstill(NamedTuple):
    """A loop in which nothing happens any more: how many tasks wait, and those that have waited longest."""

    tasks: int
    longest: tuple[TaskView, ...]


class NothingCanWake(Insight[Standstill]):
    """All tasks wait for each other's doing, and no timer and no I/O is there that could start one."""

    name = "deadlock"
    severe = True
    LONG_NS = SECOND_NS // 10
    MOST_NAMED = 4

    def check(self, evidence: Evidence) -> Iterator[Standstill]:
        snapshot, table = evidence.snapshot, evidence.snapshot.table
        count = len(table) - table.count(State.DONE)
        # What is watched may wake a task; so may another thread, of which the page knows nothing.
        if snapshot.ready or snapshot.timers or snapshot.fds or snapshot.running_id or not count:
            return
        since, long_ago = table.column("since_ticks"), evidence.before(self.LONG_NS)
        waits = [index for group in evidence.groups for index in group.indexes]
        if (
            len(waits) == count
            and all(group.kind in INTERNAL for group in evidence.groups)
            and max(map(since.__getitem__, waits)) < long_ago
        ):
            longest = sorted(waits, key=since.__getitem__)[: self.MOST_NAMED]
            yield Standstill(count, tuple(map(evidence.view, longest)))

    def sentence(self, subject: Standstill) -> str:
        waits = "; ".join(
            f"{task.label} for {task.reason.text if task.reason else '?'}" for task in subject.longest
        )
        others = subject.tasks - len(subject.longest)
        more = f"; and {others} more" if others else ""
        return f"nothing in this loop can go on by itself: no timer, no I/O, every task waits: {waits}{more}"


class LostFuture(Insight[tuple[TaskView, str]]):
    """A task that waits for a future which nobody else knows: nobody can finish it."""

    name = "lost future"

    def check(self, evidence: Evidence) -> Iterator[tuple[TaskView, str]]:
        for told, index in evidence.told_tasks():
            if told.is_lost and (task := evidence.view(index)).state is State.WAITING:
                yield task, str(evidence.place(task.id) or "")

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
        table, long_ago = evidence.snapshot.table, evidence.before(self.LONG_NS)
        groups = [
            group
            for group in evidence.groups
            if group.kind in (WaitKind.FUTURE, WaitKind.OTHER, WaitKind.EVENT)
            and table.column("since_ticks")[group.first] < long_ago
        ]
        if not groups:
            return
        ids, parents, since = table.column("id"), table.column("parent"), table.column("since_ticks")
        there = set(ids)
        awaited = {
            subject
            for kind, state, subject in zip(
                table.column("awaited"), table.states, table.column("subject"), strict=True
            )
            if kind == Awaited.TASK and state == State.WAITING
        }
        awaited.update(number for told in evidence.answer.tasks.values() for number in told.awaits)
        found = [
            index
            for group in groups
            for index in group.indexes
            if since[index] < long_ago
            and parents[index]
            and parents[index] not in there
            and ids[index] not in awaited
        ]
        yield from map(evidence.view, sorted(found, key=since.__getitem__))

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
            for told, index in evidence.told_tasks()
            if told.cancelling
            and (task := evidence.view(index)).state is State.WAITING
            and task.state_ns > self.LONG_NS
        ]
        yield from sorted(found, key=lambda task: -task.state_ns)

    def sentence(self, subject: TaskView) -> str:
        reason = subject.reason.text if subject.reason else "something"
        return (
            f"task {subject.label} was cancelled and yet has waited {duration(subject.state_ns)} for "
            f"{reason}: it caught CancelledError, or cleans up"
        )
