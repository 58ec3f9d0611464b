"""The screen on which one chooses a loop."""

from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer, Static

from glassloop.glass.errors import ReadError
from glassloop.glass.page import Page
from glassloop.top.help_screen import HelpScreen
from glassloop.top.lines import LoopLines
from glassloop.top.loops import LoopFinder, LoopRow
from glassloop.top.rows import Rows


class LoopsScreen(Screen[None]):
    """Looks for loops every so often, in a thread."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "app.quit", "quit"),
        Binding("question_mark", "help", "help", key_display="?"),
    ]

    class Found(Message):
        """A look is done, by the thread that looks."""

        def __init__(self, rows: list[LoopRow], errors: list[str]) -> None:
            super().__init__()
            self.rows = rows
            self.errors = errors

    def __init__(self, finder: LoopFinder, interval_s: float, on_choice: Callable[[Page], None]) -> None:
        """Hand the page of the loop that is chosen to ``on_choice``."""
        super().__init__()
        self.finder = finder
        self.interval_s = interval_s
        self.on_choice = on_choice
        self.is_looking = False

    def compose(self) -> ComposeResult:
        """Title, list, what is wrong, keys."""
        yield Static(id="head")
        yield Rows(opens=True, id="loops")
        yield Static(id="errors")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Begin to look."""
        whose = "on this machine" if self.finder.pid is None else f"of process {self.finder.pid}"
        self.query_one("#head", Static).update(Text(f"loops {whose}", style="bold"))
        self.query_one("#loops").focus()
        self.set_interval(self.interval_s, self.tick)
        self.tick()

    def tick(self) -> None:
        """Look once more, if anybody sees it."""
        if not self.is_looking and self.app.screen is self:
            self.is_looking = True
            self.run_worker(self._look, thread=True, group="look")

    def _look(self) -> None:
        try:
            self.post_message(self.Found(*self.finder.look()))
        finally:
            self.is_looking = False

    def on_screen_resume(self) -> None:
        """Somebody came back."""
        if self.is_mounted:
            self.tick()

    def on_loops_screen_found(self, message: Found) -> None:
        """Show what is there."""
        empty = "no loop of glassloop's runs here that this user may see"
        self.query_one("#loops", Rows).show(LoopLines(message.rows), empty=empty)
        self.query_one("#errors", Static).update(Text("\n".join(message.errors[:3]), style="yellow"))

    def on_rows_chosen(self, message: Rows.Chosen) -> None:
        """Open the loop."""
        source = message.rows.source
        if isinstance(source, LoopLines):
            try:
                self.on_choice(self.finder.open(source.rows[message.index]))
            except ReadError as error:
                self.notify(str(error), severity="warning", timeout=5, markup=False)

    def action_help(self) -> None:
        """Show all keys."""
        self.app.push_screen(HelpScreen())
