"""What ``glassloop why`` found, as text for a screen and as JSON."""

from collections.abc import Iterator
from typing import NamedTuple

from glassloop.cli._targets import Style
from glassloop.glass.answers import Answer
from glassloop.glass.histogram import Histogram
from glassloop.glass.insight import Evidence, Finding
from glassloop.glass.layout import Cause, Phase
from glassloop.glass.model import Frame, Snapshot, Stuck, TaskView
from glassloop.glass.text import duration, shorten
from glassloop.glass.wait_groups import WaitGroup

_MOST_GROUPS = 8
_MOST_FRAMES = 6
_WIDTH = 100


class Diagnosis(NamedTuple):
    """What is known of a loop, and what was made of it."""

    evidence: Evidence
    findings: list[Finding]
    answer: Answer | None  # the loop's own; None: it gave none
    asked: bool = False

    @property
    def snapshot(self) -> Snapshot:
        """The loop now."""
        return self.evidence.snapshot

    @property
    def is_trouble(self) -> bool:
        """Whether the loop is stuck, or tasks wait for ever."""
        return self.snapshot.stuck is not None or any(finding.severe for finding in self.findings)


def render(diagnosis: Diagnosis, style: Style, *, everything: bool = False) -> Iterator[str]:
    """Yield the lines that a person reads."""
    snapshot = diagnosis.snapshot
    yield from _heading(snapshot, style)
    yield from _verdict(diagnosis, style)
    yield ""
    yield from _figures(snapshot, style)
    groups = diagnosis.evidence.groups
    if groups:
        yield ""
        yield from _waits(diagnosis, groups, style, everything=everything)
    others = [finding for finding in diagnosis.findings if not finding.severe]
    if others:
        yield ""
        yield style.strong("insights")
        yield from (f"  {style.warn('!')} {finding.sentence}" for finding in others)
    if diagnosis.asked and diagnosis.answer is None and snapshot.stuck is None:
        yield ""
        yield style.dim("The loop gave no await stacks in time: shown is what its page knows.")
    if diagnosis.answer is not None and diagnosis.answer.left:
        left = diagnosis.answer.left
        yield ""
        yield style.dim(
            f"The loop told of {len(diagnosis.answer.tasks):,} tasks in time; "
            f"of {left:,} more its page tells."
        )


def _heading(snapshot: Snapshot, style: Style) -> Iterator[str]:
    age = duration(snapshot.now_ns - snapshot.started_ns)
    yield style.strong(f"process {snapshot.pid}") + f"  {shorten(' '.join(snapshot.command), 70)}"
    yield style.dim(f"Python {snapshot.python} · loop in thread {snapshot.thread_name} · for {age}")


def _verdict(diagnosis: Diagnosis, style: Style) -> Iterator[str]:
    snapshot = diagnosis.snapshot
    severe = [finding for finding in diagnosis.findings if finding.severe]
    if snapshot.stuck is not None:
        yield from _stuck(snapshot, snapshot.stuck, style)
    elif not snapshot.alive and snapshot.phase is not Phase.CLOSED:
        yield style.warn("The process has ended without closing its loop; this is what it left.")
    elif snapshot.process_state == "T":
        yield style.warn("The process is stopped by a signal (SIGSTOP): nothing in it runs.")
    elif not severe:
        doing = {
            Phase.POLLING: "The loop waits for events: it is not blocked.",
            Phase.RUNNING: "The loop runs: it is not blocked.",
            Phase.STOPPED: "The loop does not run now.",
            Phase.CLOSED: "The loop is closed.",
        }
        yield style.good(doing[snapshot.phase])
    for finding in severe:
        yield style.bad(finding.sentence)


def _stuck(snapshot: Snapshot, stuck: Stuck, style: Style) -> Iterator[str]:
    when = "STUCK for" if snapshot.alive else "It died while STUCK, for"
    yield style.bad(f"{when} {duration(stuck.for_ns)}: {stuck.who} blocks the loop")
    line = stuck.line
    if line is None:
        yield "  no stack was taken of it (yet)"
        return
    yield f"  at {style.strong(str(line))}"
    for frame in stuck.frames[:_MOST_FRAMES]:
        mark = ">" if frame == line else " "
        yield style.dim(f"    {mark} {frame}")
    if len(stuck.frames) > _MOST_FRAMES:
        yield style.dim(f"      and {len(stuck.frames) - _MOST_FRAMES} more")


def _figures(snapshot: Snapshot, style: Style) -> Iterator[str]:
    counts = snapshot.counts()
    states = ", ".join(f"{count} {state.name.lower()}" for state, count in counts.items() if count)
    yield (
        f"{style.strong('tasks')}  {len(snapshot.table)}{': ' if states else ''}{states} · "
        f"{snapshot.timers} timers · {snapshot.fds} descriptors · {snapshot.turns} turns"
    )
    yield (
        f"{style.strong('time')}   {snapshot.utilization:.0%} busy since the start · "
        f"ready until run: {_quantiles(snapshot, snapshot.delay_histogram)}"
    )
    yield f"       a step: {_quantiles(snapshot, snapshot.step_histogram)}"
    if snapshot.block_count:
        blocks = f"{snapshot.block_count} steps longer than {duration(snapshot.slow_ns)}"
        yield f"{style.strong('blocks')} {blocks}"


def _quantiles(snapshot: Snapshot, histogram: Histogram) -> str:
    if not histogram.total:
        return "none"
    parts = [f"p{at * 100:g} {duration(snapshot.quantile_ns(histogram, at))}" for at in (0.5, 0.99, 0.999)]
    return ", ".join(parts)


def _waits(diagnosis: Diagnosis, groups: list[WaitGroup], style: Style, *, everything: bool) -> Iterator[str]:
    yield style.strong("waiting, the longest first")
    shown = groups if everything else groups[:_MOST_GROUPS]
    for group in shown:
        first = group.longest
        who = first.name if group.size == 1 else f"{group.size} tasks"
        place = _place(diagnosis.evidence, group)
        what = f"{who}{' in ' + place if place else ''}"
        since = f"{duration(first.state_ns):>11}"
        awaited = _what(diagnosis.evidence, first, group)
        yield f"  {since}  {shorten(what, _WIDTH - 50)} for {shorten(awaited, 70)}"
    if len(shown) < len(groups):
        yield style.dim(f"  {'':>11}  and {len(groups) - len(shown)} more places: --all shows them")


def _place(evidence: Evidence, group: WaitGroup) -> str:
    """Return the line of the program's own code at which the tasks wait, as far as the loop told of one."""
    ids = group.table.column("id")
    told = evidence.answer.tasks
    at = group.first if ids[group.first] in told else next((i for i in group.indexes if ids[i] in told), None)
    frame = evidence.place(ids[at]) if at is not None else None
    return f"{frame.file.rpartition('/')[2]}:{frame.line} {frame.function}" if frame else group.place


def _what(evidence: Evidence, task: TaskView, group: WaitGroup) -> str:
    if group.size > 1 or task.reason is None:
        return group.text
    awaited = group.table.find(task.awaited_id) if task.awaited_id else None
    if awaited is not None:
        return f"task {group.table.view(awaited).label}"
    subject = evidence.told(task.id).subject
    return f"{task.reason.text}: {subject}" if subject else task.reason.text


def as_json(diagnosis: Diagnosis) -> dict[str, object]:
    """Return what ``--json`` prints of one loop."""
    snapshot = diagnosis.snapshot
    return {
        "pid": snapshot.pid,
        "command": list(snapshot.command),
        "python": snapshot.python,
        "thread": snapshot.thread_name,
        "alive": snapshot.alive,
        "phase": snapshot.phase.name.lower(),
        "trouble": diagnosis.is_trouble,
        "stuck": _stuck_json(snapshot.stuck),
        "utilization": round(snapshot.utilization, 4),
        "turns": snapshot.turns,
        "steps": snapshot.steps,
        "timers": snapshot.timers,
        "descriptors": snapshot.fds,
        "tasks_unseen": snapshot.tasks_unseen,
        "tasks_untold": diagnosis.answer.left if diagnosis.answer is not None else None,
        "states": {state.name.lower(): count for state, count in snapshot.counts().items()},
        "delay_ns": _quantiles_json(snapshot, snapshot.delay_histogram),
        "step_ns": _quantiles_json(snapshot, snapshot.step_histogram),
        "blocks": [
            {
                "task": block.task_id or None,
                "name": block.task_name,
                "length_ns": block.length_ns,
                "ended": block.ended,
                "stack": [_frame_json(frame) for frame in block.frames],
            }
            for block in snapshot.blocks
        ],
        "insights": [
            {"insight": one.insight, "sentence": one.sentence, "severe": one.severe}
            for one in diagnosis.findings
        ],
        "tasks": [_task_json(task, diagnosis) for task in snapshot.tasks],
    }


def _stuck_json(stuck: Stuck | None) -> dict[str, object] | None:
    if stuck is None:
        return None
    return {
        "for_ns": stuck.for_ns,
        "running": stuck.running.name.lower(),
        "task": stuck.task_id or None,
        "name": stuck.task_name,
        "descriptor": stuck.fd if stuck.fd >= 0 else None,
        "line": _frame_json(stuck.line) if stuck.line is not None else None,
        "stack": [_frame_json(frame) for frame in stuck.frames],
    }


def _frame_json(frame: Frame) -> dict[str, object]:
    return {"file": frame.file, "line": frame.line, "function": frame.function}


def _quantiles_json(snapshot: Snapshot, histogram: Histogram) -> dict[str, int]:
    return {f"p{at * 100:g}": snapshot.quantile_ns(histogram, at) for at in (0.5, 0.99, 0.999)}


def _task_json(task: TaskView, diagnosis: Diagnosis) -> dict[str, object]:
    told = diagnosis.evidence.told(task.id)
    return {
        "id": task.id,
        "name": task.name,
        "state": task.state.name.lower(),
        "state_ns": task.state_ns,
        "wait": task.reason.kind.value if task.reason is not None else None,
        "reason": task.reason.text if task.reason is not None else None,
        "awaits": task.awaited_id or None,
        "deadline_ns": task.deadline_ns or None,
        "cause": task.cause.name.lower(),
        "cause_by": task.cause_running.name.lower(),
        "cause_subject": None if task.cause is Cause.YIELDED else task.cause_id or None,
        "cpu_ns": task.cpu_ns,
        "age_ns": task.age_ns,
        "steps": task.steps,
        "wakeups": task.wakeups,
        "parent": task.parent_id or None,
        "coroutine": str(task.coroutine) if task.coroutine is not None else None,
        "creator": str(task.creator) if task.creator is not None else None,
        "site": str(task.site) if task.site is not None else None,
        "subject": told.subject or None,
        "awaits_all": list(told.awaits),
        "holds": [
            {"lock": held.text, "sure": held.is_sure, "at": _frame_json(held.frame)} for held in told.holds
        ],
        "cancelling": told.cancelling,
        "await_stack": [_frame_json(frame) for frame in told.stack] if told.stack else None,
    }
