"""What this process's tasks do now: ``glassloop.tasks()``.

The facts come from the loop's page, where a step of a task leaves them anyway; each is joined with its task.
"""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glassloop._core import native_status
from glassloop.glass.layout import Running
from glassloop.glass.model import TaskView
from glassloop.glass.reader import take_snapshot
from glassloop.glass.reasons import Site, WaitKind
from glassloop.metrics import NoMetricsError, open_page

if TYPE_CHECKING:
    from glassloop.loop import EventLoop


@dataclass(frozen=True, slots=True)
class TaskInfo:
    """One unfinished task at one moment. Times are seconds, moments are those of ``loop.time()``.

    Moments are exact to the turn of the loop, and to the step while steps are timed (``EventLoop.metrics``).
    """

    task: "asyncio.Task[Any]"
    id: int  # as the page, `glassloop why` and the others number it
    name: str
    state: str  # "READY", "RUNNING" or "WAITING"
    since: float  # when it came into its state
    state_s: float  # for how long it has been in it
    wait_kind: WaitKind | None  # the kind of thing that it waits for; None: it does not wait
    waits_for: str  # the same in words; empty: it does not wait
    awaited: "asyncio.Task[Any] | None"  # the task that it awaits
    deadline: float | None  # when its sleep ends
    cause: str  # what made it ready last: "CREATED", "YIELDED", "FUTURE_DONE" or "THROWN"
    woken_by: str  # what ran at that time: "task NAME", "fd 8", "a callback"; empty: unknown
    waker: "asyncio.Task[Any] | None"  # the task that did it, if it is still there
    cpu_s: float  # time spent running: measured while steps are timed, else sampled
    steps: int  # how often it ran
    wakeups: int  # how often a future that it awaited was done
    age_s: float
    coroutine: Site | None  # its function: name, file, line
    created_in: Site | None  # the function that made it
    parent: "asyncio.Task[Any] | None"  # the task that made it, if it is still there

    def __str__(self) -> str:
        what = f" for {self.waits_for}" if self.waits_for else ""
        return f"{self.name}: {self.state.lower()}{what}, for {self.state_s:.3f} s"


def tasks(loop: "EventLoop | None" = None) -> list[TaskInfo]:
    """Return what each unfinished task of a loop does; of the running loop, where none is given.

    Any thread may ask. Raises RuntimeError if no loop is given and none runs here, ``NoMetricsError`` if the
    loop has no page, or its tasks are asyncio's own (``GLASSLOOP_TASKS=stock``), which have no place in it. A
    task that a task factory made of another class has none either, and is not in the list.
    """
    if loop is None:
        loop = _running_loop()
    if native_status()[0] != "native":
        raise NoMetricsError(
            f"asyncio's own tasks are in use, which the page does not know: {native_status()[1]}"
        )
    with open_page(loop) as (page, _):
        snapshot = take_snapshot(page, with_blocks=False)
        # After the page was read: what is new by now is not in it, what is done meanwhile is not here.
        by_id: dict[int, asyncio.Task[Any]] = {
            getattr(task, "_page_id", 0): task for task in loop._unfinished_tasks()
        }
    names = {task.id: task.name for task in snapshot.tasks}
    return [_info(view, by_id[view.id], by_id, names) for view in snapshot.tasks if view.id in by_id]


def _running_loop() -> "EventLoop":
    from glassloop.loop import EventLoop

    loop = asyncio.get_running_loop()
    if not isinstance(loop, EventLoop):
        raise NoMetricsError(f"the running loop is no loop of glassloop's, which alone have a page: {loop!r}")
    return loop


def _info(
    view: TaskView, task: "asyncio.Task[Any]", by_id: "dict[int, asyncio.Task[Any]]", names: dict[int, str]
) -> TaskInfo:
    waker = by_id.get(view.cause_id) if view.cause_running is Running.TASK else None
    return TaskInfo(
        task=task,
        id=view.id,
        name=task.get_name(),
        state=view.state.name,
        since=view.since_ns / 1e9,
        state_s=view.state_ns / 1e9,
        wait_kind=view.reason.kind if view.reason is not None else None,
        waits_for=view.reason.text if view.reason is not None else "",
        awaited=by_id.get(view.awaited_id),
        deadline=view.deadline_ns / 1e9 if view.deadline_ns else None,
        cause=view.cause.name,
        woken_by=_woken_by(view, names),
        waker=waker,
        cpu_s=view.cpu_ns / 1e9,
        steps=view.steps,
        wakeups=view.wakeups,
        age_s=view.age_ns / 1e9,
        coroutine=view.coroutine,
        created_in=view.creator,
        parent=by_id.get(view.parent_id),
    )


def _woken_by(view: TaskView, names: dict[int, str]) -> str:
    if view.cause_running is Running.TASK and view.cause_id:
        return f"task {names.get(view.cause_id) or view.cause_id}"
    if view.cause_running is Running.SOURCE and view.cause_id:
        return f"fd {view.cause_id - 1}"
    return "" if view.cause_running in (Running.NOTHING, Running.TASK) else "a callback"
