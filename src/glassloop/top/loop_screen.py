"""The screen of one loop: its tasks, what blocked it, its times, its descriptors."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.screen import Screen
from textual.widgets import ContentSwitcher, Footer, Input, Static
from textual.worker import get_current_worker

from glassloop.glass.errors import ReadError
from glassloop.glass.text import duration
from glassloop.top.descriptors import list_descriptors
from glassloop.top.distribution import draw_histograms
from glassloop.top.head_lines import head_lines
from glassloop.top.help_screen import HelpScreen
from glassloop.top.lines import BlockLines, DescriptorLines, TaskLines, frame_line, sortable
from glassloop.top.look import Look, LoopSource
from glassloop.top.rates import Rates
from glassloop.top.rows import Rows
from glassloop.top.task_list import Query, TaskList
from glassloop.top.task_screen import TaskScreen

_SORT = Binding.Group("sort", compact=True)
_TABS = {"tasks": "Tasks", "blocks": "Blocks", "times": "Times", "io": "I/O"}


class LoopScreen(Screen[None]):
    """Looks at the loop every so often, in a thread, and shows what it sees."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "app.quit", "quit"),
        Binding("question_mark", "help", "help", key_display="?"),
        Binding("slash", "filter", "filter", key_display="/"),
        Binding("less_than_sign,left", "sort(-1)", "left", key_display="<", group=_SORT),
        Binding("greater_than_sign,right", "sort(1)", "right", key_display=">", group=_SORT),
        Binding("r", "reverse", "reverse"),
        Binding("space", "pause", "pause"),
        Binding("l", "loops", "loops"),
        Binding("escape", "clear", "clear filter"),
        *(
            Binding(str(number), f"tab('{name}')", title, show=False)
            for number, (name, title) in enumerate(_TABS.items(), 1)
        ),
        Binding("tab", "next_tab(1)", "next", show=False, priority=True),
        Binding("shift+tab", "next_tab(-1)", "previous", show=False, priority=True),
    ]

    class Looked(Message):
        """A look is done, by the thread that looks."""

        def __init__(self, rates: Rates) -> None:
            super().__init__()
            self.rates = rates

    class Listed(Message):
        """The list of tasks is sorted and filtered, by a thread too."""

        def __init__(self, tasks: TaskList) -> None:
            super().__init__()
            self.tasks = tasks

    class Failed(Message):
        """The page could not be read."""

        def __init__(self, error: str) -> None:
            super().__init__()
            self.error = error

    def __init__(self, source: LoopSource) -> None:
        """Show the loop of this source, and let go of it at the end."""
        super().__init__()
        self.source = source
        self.query_now = Query()
        self.first: Look | None = None
        self.rates: Rates | None = None
        self.is_paused = False
        self.is_looking = False
        self.error = ""

    def compose(self) -> ComposeResult:
        """Head, tabs, what the tab shows, filter, keys."""
        yield Static(id="head")
        yield Static(id="tabs")
        with ContentSwitcher(initial="tasks", id="content"):
            yield Rows("no task", opens=True, id="tasks")
            with VerticalScroll(id="blocks"):
                yield Rows(id="block-list")
                yield Static(id="stack")
            with VerticalScroll(id="times"):
                yield Static(id="histograms")
            yield Rows("no descriptor is watched", id="io")
        yield Input(placeholder="words that a task's name, state, coroutine or wait must have", id="filter")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Begin to look."""
        self.query_one("#filter").display = False
        self.query_one("#tasks").focus()
        self._show_tabs()
        self.set_interval(self.source.interval_s, self.tick)
        self.tick()

    def on_unmount(self) -> None:
        """Let go of the page, unless a thread reads it yet: then that does."""
        if not self.is_looking:
            self.source.close()

    # ---- looking: in threads

    def tick(self) -> None:
        """Look once more, unless that is paused, still under way, or nothing new can come."""
        is_last = self.rates is not None and self.rates.look.snapshot.is_over
        if not (self.is_paused or self.is_looking or is_last):
            self.is_looking = True
            self.run_worker(self._look, thread=True, group="look", exit_on_error=True)

    def _look(self) -> None:
        worker = get_current_worker()
        try:
            look = self.source.look()
            # Of a loop that is over the figures are those of its whole life.
            before = self.rates.look if self.rates is not None else None
            rates = Rates(look, None if look.snapshot.is_over else before)
            _ = rates.busy, rates.ready, rates.waiting, rates.wakeups  # computed here, not while it is drawn
        except ReadError as error:
            self.post_message(self.Failed(str(error)))
        else:
            self.post_message(self.Looked(rates))
        finally:
            self.is_looking = False
            if worker.is_cancelled:
                self.source.close()

    def _list(self) -> None:
        """Sort and filter the last look anew."""
        rates, query = self.rates, self.query_now
        if rates is not None:
            self.run_worker(lambda: self._make_list(rates, query), thread=True, group="list", exclusive=True)

    def _make_list(self, rates: Rates, query: Query) -> None:
        tasks = TaskList(rates, query)
        _ = tasks.order
        self.post_message(self.Listed(tasks))

    # ---- showing

    def on_loop_screen_looked(self, message: Looked) -> None:
        """Show a new look."""
        self.error = ""
        self.rates = message.rates
        self.first = self.first or message.rates.look
        self._list()
        self.show_all()
        page = self.app.screen
        if isinstance(page, TaskScreen):
            page.add(message.rates)

    def on_loop_screen_listed(self, message: Listed) -> None:
        """Show the list, if it is still the one that is wanted."""
        if message.tasks.query == self.query_now and message.tasks.rates is self.rates:
            empty = "no task has these words: escape clears the filter" if self.query_now.words else "no task"
            self.query_one("#tasks", Rows).show(TaskLines(message.tasks), empty=empty)
            self._show_tabs(message.tasks)

    def on_loop_screen_failed(self, message: Failed) -> None:
        """Say what is wrong; the last look stays."""
        self.error = message.error
        self.show_all()

    def show_all(self) -> None:
        """Show what is known, in all parts but the list of tasks."""
        head = self.query_one("#head", Static)
        width = max(20, self.size.width - 2)
        if self.rates is None:
            head.update(Text(self.error or "looking …", style="bold red" if self.error else "dim"))
            return
        lines = list(head_lines(self.rates, width, self._note()))
        if self.error:
            lines[1] = Text(self.error, style="bold red", no_wrap=True, overflow="ellipsis")
        for line in lines:
            line.no_wrap, line.overflow = True, "ellipsis"
        head.update(Text("\n").join(lines))
        snapshot = self.rates.look.snapshot
        nothing = f"no step has outlasted {duration(snapshot.slow_ns)} so far"
        blocks = self.query_one("#block-list", Rows)
        blocks.show(BlockLines(snapshot.blocks, snapshot.now_ns), empty=nothing)
        # As high as need be, up to half of the room: below it is the stack.
        blocks.styles.height = max(
            4, min(len(snapshot.blocks) + 1, self.query_one("#content").size.height // 2)
        )
        self._show_stack()
        self._show_times()
        if self.query_one(ContentSwitcher).current == "io":
            self._show_descriptors()

    def _note(self) -> str:
        if self.is_paused:
            return "PAUSED"
        if self.rates is not None and self.rates.look.snapshot.is_over:
            return "over"
        return f"every {self.source.interval_s:g} s"

    def _show_tabs(self, tasks: TaskList | None = None) -> None:
        current = self.query_one(ContentSwitcher).current
        found = Text(no_wrap=True, overflow="ellipsis")
        for number, (name, title) in enumerate(_TABS.items(), 1):
            found.append(f" {number} {title} ", "reverse bold" if name == current else "")
            found.append(" ")
        if self.query_now.words:
            found.append(f"  filter: {' '.join(self.query_now.words)}", "yellow")
            if tasks is not None:
                found.append(f" ({len(tasks)} of {tasks.total})", "dim")
        self.query_one("#tabs", Static).update(found)

    def _show_stack(self) -> None:
        rows = self.query_one("#block-list", Rows)
        source = rows.source
        found = Text()
        if isinstance(source, BlockLines) and len(source):
            block = source.blocks[rows.cursor]
            found.append("taken while it lasted, innermost line first", "dim")
            for frame in block.frames:
                found.append("\n").append(frame_line(frame, max(20, self.size.width - 4)))
        self.query_one("#stack", Static).update(found)

    def _show_times(self) -> None:
        if self.rates is None or self.first is None:
            return
        size = self.query_one("#content").size
        before = self.rates.before
        lines = draw_histograms(self.rates.look, self.first, before, max(20, size.width - 4), size.height)
        self.query_one("#histograms", Static).update(Text("\n").join(lines))

    def _show_descriptors(self) -> None:
        if self.rates is not None:
            self.query_one("#io", Rows).show(DescriptorLines(list_descriptors(self.rates.look, self.rates)))

    def on_resize(self) -> None:
        """What is as wide as the screen is made anew."""
        self.call_after_refresh(self.show_all)

    def on_rows_moved(self, message: Rows.Moved) -> None:
        """Show the stack of the block under the cursor."""
        if message.rows.id == "block-list":
            self._show_stack()

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        """Open a task's page."""
        source = message.rows.source
        if isinstance(source, TaskLines) and self.rates is not None:
            self.app.push_screen(TaskScreen(self.source, self.rates, source.tasks.task_id(message.index)))

    # ---- keys

    def action_help(self) -> None:
        """Show all keys."""
        self.app.push_screen(HelpScreen())

    def action_tab(self, name: str) -> None:
        """Show one of the parts."""
        switcher = self.query_one(ContentSwitcher)
        switcher.current = name
        self._show_tabs()
        if name == "io":
            self._show_descriptors()
        self.query_one({"blocks": "#block-list"}.get(name, f"#{name}")).focus()
        self.refresh_bindings()

    def action_next_tab(self, by: int) -> None:
        """Show the next part, or the one before."""
        names = list(_TABS)
        current = self.query_one(ContentSwitcher).current or names[0]
        self.action_tab(names[(names.index(current) + by) % len(names)])

    def action_sort(self, by: int) -> None:
        """Sort by the column to the right or left."""
        orders = sortable(self.size.width)
        order = self.query_now.order
        at = orders.index(order) if order in orders else 0
        self._ask(Query(orders[(at + by) % len(orders)], words=self.query_now.words))

    def action_reverse(self) -> None:
        """Turn the list round."""
        query = self.query_now
        self._ask(Query(query.order, not query.is_reversed, query.words))

    def _ask(self, query: Query) -> None:
        self.query_now = query
        self._list()

    def action_pause(self) -> None:
        """Stop looking, or go on."""
        self.is_paused = not self.is_paused
        self.show_all()
        self.tick()

    def action_filter(self) -> None:
        """Let words be typed."""
        self.action_tab("tasks")
        box = self.query_one("#filter", Input)
        box.display = True
        box.focus()

    def on_input_changed(self, message: Input.Changed) -> None:
        """Filter while it is typed."""
        query = self.query_now
        self._ask(Query(query.order, query.is_reversed, tuple(message.value.lower().split())))
        self._show_tabs()
        self.refresh_bindings()

    def on_input_submitted(self) -> None:
        """Enter: the filter stays, the keys are the table's again."""
        self._close_filter()

    def action_clear(self) -> None:
        """Escape: no filter."""
        self.query_one("#filter", Input).value = ""
        self._close_filter()

    def _close_filter(self) -> None:
        self.query_one("#filter").display = False
        self.query_one("#tasks").focus()

    def action_loops(self) -> None:
        """Go to the list of loops."""
        self.dismiss()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Show the keys that do something here."""
        if action == "clear":
            return bool(self.query_now.words) or isinstance(self.focused, Input)
        in_list = self.query_one(ContentSwitcher).current == "tasks" if self.is_mounted else True
        return in_list or action not in ("sort", "reverse")
