"""One task's page: what it is, where it waits, what it did lately."""

from collections.abc import Iterator
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer, Static

from glassloop.glass.errors import ReadError
from glassloop.glass.layout import Cause, State
from glassloop.glass.model import Frame, TaskView
from glassloop.glass.text import duration
from glassloop.top.cells import percent, rate
from glassloop.top.lines import STATE_STYLES, frame_line
from glassloop.top.look import LoopSource
from glassloop.top.rates import Rates
from glassloop.top.task_history import LEGEND, TaskHistory, waker_text

# What the line of the last moments covers, and how many events are listed.
_SPAN_S = 10
_MOST_EVENTS = 200
# The loop is not asked for await stacks more often than this.
_ASK_EVERY_NS = 2_000_000_000
_CAUSES = {
    Cause.CREATED: "it was made",
    Cause.YIELDED: "it had yielded",
    Cause.FUTURE_DONE: "what it awaited was done",
    Cause.THROWN: "it was cancelled, or an exception came",
}


class TaskScreen(Screen[None]):
    """Follows one task. The screen below hands over each look."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "app.quit", "quit"),
        Binding("escape,backspace", "back", "back", key_display="esc"),
        Binding("a", "awaited", "awaited task"),
        Binding("p", "parent", "parent"),
        Binding("up,k", "scroll(-1)", "up", show=False),
        Binding("down,j", "scroll(1)", "down", show=False),
    ]

    class Answered(Message):
        """The loop told its await stacks, or did not; from the thread that asked."""

        def __init__(self, task_id: int, frames: tuple[Frame, ...] | None) -> None:
            super().__init__()
            self.task_id = task_id
            self.frames = frames

    def __init__(self, source: LoopSource, rates: Rates, task_id: int) -> None:
        """Follow a task from this look on."""
        super().__init__()
        self.source = source
        self.rates = rates
        self.history = TaskHistory(task_id)
        self.history.add(rates.look)
        self.frames: tuple[Frame, ...] = ()
        self.stack_note = "asking the loop …"
        self.is_asking = False
        self._asked_ns = 0
        self._asked_steps = -1

    def compose(self) -> ComposeResult:
        """One long page, and the keys."""
        with VerticalScroll(id="task-page"):
            yield Static(id="task-head")
            yield Static(id="task-stack")
            yield Static(id="task-history")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Show what is known, ask for the rest."""
        self.query_one("#task-page").focus()
        self._ask()
        self.show()

    def add(self, rates: Rates) -> None:
        """Take in one more look."""
        self.rates = rates
        self.history.add(rates.look)
        self._ask()
        self.show()

    def _ask(self) -> None:
        """Ask where the task waits, if that may have changed, and there is somebody to answer."""
        task, snapshot = self.history.task, self.rates.look.snapshot
        if task is None or self.history.is_gone or snapshot.is_over:
            self.frames, self.stack_note = (
                (),
                "the task is gone" if not snapshot.is_over else "the loop is over",
            )
        elif snapshot.stuck is not None:
            self.stack_note = "the loop is stuck and cannot answer"
        elif not self.source.page.writable:
            self.stack_note = "this user may not write into the page, so the loop cannot be asked"
        elif (
            not self.is_asking
            and task.steps != self._asked_steps
            and snapshot.now_ns - self._asked_ns >= _ASK_EVERY_NS
        ):
            self.is_asking = True
            self._asked_ns, self._asked_steps = snapshot.now_ns, task.steps
            self.run_worker(lambda: self._ask_in_thread(task.id), thread=True, group="ask")

    def _ask_in_thread(self, task_id: int) -> None:
        try:
            frames = self.source.await_stack(task_id)
        except (ReadError, OSError):
            frames = None
        self.post_message(self.Answered(task_id, frames))

    def on_task_screen_answered(self, message: Answered) -> None:
        """Show the answer."""
        self.is_asking = False
        if message.task_id != self.history.task_id:
            self._ask()
            return
        if message.frames is None:
            self.stack_note = "the loop did not answer in time: shown is what its page knows"
            self._asked_steps = -1
        else:
            self.frames = message.frames
            self.stack_note = (
                "" if message.frames else "the loop told nothing of this task: it does not wait now"
            )
        self.show()

    # ---- showing

    def show(self) -> None:
        """Show all that is known, unless the widgets are still to come (then on_mount() does), or gone."""
        if not self.query("#task-head"):
            return
        task = self.history.task
        if task is None:
            self.query_one("#task-head", Static).update(Text("this task is gone", style="bold yellow"))
            return
        self.query_one("#task-head", Static).update(Text("\n").join(self._head(task)))
        self.query_one("#task-stack", Static).update(Text("\n").join(self._stack(task)))
        self.query_one("#task-history", Static).update(Text("\n").join(self._history()))

    def _head(self, task: TaskView) -> Iterator[Text]:
        state = "gone" if self.history.is_gone else task.state.name
        style = "bold yellow" if self.history.is_gone else STATE_STYLES[task.state] or "bold"
        since = "" if self.history.is_gone else f" for {duration(task.state_ns)}"
        yield Text.assemble(("task ", "dim"), (task.name, "bold"), "  ", (f"{state}{since}", style))
        stuck = self.rates.look.snapshot.stuck
        if stuck is not None and stuck.task_id == task.id:
            line = f" at {stuck.line}" if stuck.line is not None else ""
            yield Text(f"it BLOCKS the loop for {duration(stuck.for_ns)}{line}", style="bold red")
        if task.state is State.WAITING and task.reason is not None and not self.history.is_gone:
            yield _fact("waits for", task.reason.text + self._deadline(task))
        yield _fact("coroutine", str(task.coroutine) if task.coroutine is not None else "unknown")
        creator = f" in {task.creator}" if task.creator is not None else ""
        parent = f" by {self._name_of(task.parent_id)}" if task.parent_id else ""
        yield _fact("made", f"{duration(task.age_ns)} ago{parent}{creator}")
        by = waker_text(self.rates.look, task.cause_running, task.cause_id)
        yield _fact(
            "woken", _CAUSES[task.cause] + (f", by {by}" if by and task.cause is not Cause.CREATED else "")
        )
        yield _fact("did", f"{task.steps} steps, {task.wakeups} wake-ups, {duration(task.cpu_ns)} CPU")
        index = self.rates.table.find(task.id)
        if index is not None:
            yield _fact("lately", self._shares(index))

    def _shares(self, index: int) -> str:
        rates = self.rates
        shares = (("busy", rates.busy), ("ready", rates.ready), ("waiting", rates.waiting))
        shown = ", ".join(f"{percent(column[index], '0%')} {name}" for name, column in shares)
        return f"{shown}; {rate(rates.wakeups[index], '0')} wake-ups/s"

    def _deadline(self, task: TaskView) -> str:
        if not task.deadline_ns:
            return ""
        left_ns = task.deadline_ns - self.rates.look.snapshot.now_ns
        return f", {duration(left_ns)} more" if left_ns > 0 else ", due"

    def _name_of(self, task_id: int) -> str:
        table = self.rates.table
        index = table.find(task_id)
        return f"task {table.select([index]).names[0]}" if index is not None else f"task {task_id}, now gone"

    def _stack(self, task: TaskView) -> Iterator[Text]:
        stuck = self.rates.look.snapshot.stuck
        if stuck is not None and stuck.task_id == task.id and stuck.frames:
            yield Text("\nstack, taken while it blocks; innermost line last", style="bold")
            frames = stuck.frames[::-1]
        else:
            yield Text("\nawait stack, the task's own coroutine first", style="bold")
            frames = self.frames
            if self.stack_note:
                yield Text(f"  {self.stack_note}", style="dim")
        width = max(20, self.size.width - 6)
        for depth, frame in enumerate(frames):
            indent = "  " * min(1 + depth, 8)
            yield Text(indent) + frame_line(frame, width - len(indent))
        if not frames and task.site is not None:
            yield Text(f"  it awaits a future made in {task.site}")

    def _history(self) -> Iterator[Text]:
        width = max(20, self.size.width - 8)
        yield Text(f"\nthe last {_SPAN_S} s    {LEGEND}", style="bold")
        yield Text("  " + self.history.draw(width, _SPAN_S * 1_000_000_000))
        yield Text("\nhistory, the newest first", style="bold")
        if self.history.lost:
            yield Text(f"  {self.history.lost} records of this loop came too quickly to be read", style="dim")
        now_ns = self.history.now_ns
        for number, event in enumerate(reversed(self.history.events)):
            if number == _MOST_EVENTS:
                break
            yield Text.assemble((f"  {duration(now_ns - event.at_ns):>12} ago  ", "dim"), event.text)

    # ---- keys

    def action_back(self) -> None:
        """Go to the list."""
        self.dismiss()

    def action_scroll(self, by: int) -> None:
        """Move the page by lines."""
        self.query_one("#task-page").scroll_relative(y=by, animate=False)

    def action_awaited(self) -> None:
        """Go to the task that this one awaits."""
        task = self.history.task
        self._follow(task.awaited_id if task is not None else 0, "it awaits no other task")

    def action_parent(self) -> None:
        """Go to the task that made this one."""
        task = self.history.task
        self._follow(task.parent_id if task is not None else 0, "no task made it")

    def _follow(self, task_id: int, otherwise: str) -> None:
        if not task_id:
            self.notify(otherwise, timeout=3)
        elif self.rates.table.find(task_id) is None:
            self.notify(f"task {task_id} is gone", timeout=3)
        else:
            self.app.push_screen(TaskScreen(self.source, self.rates, task_id))


def _fact(name: str, text: str) -> Text:
    return Text.assemble((f"  {name:<10}", "dim"), text)
