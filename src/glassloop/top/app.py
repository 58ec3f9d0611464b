"""The application: which screen comes first, and how all of them look."""

import os
from typing import ClassVar

from textual.app import App
from textual.binding import BindingType

from glassloop.glass.page import Page
from glassloop.top.look import LoopSource
from glassloop.top.loop_screen import LoopScreen
from glassloop.top.loops import LoopFinder
from glassloop.top.loops_screen import LoopsScreen


class TopApp(App[None]):
    """Shows the loops to choose from, and one loop at once if it is given."""

    CSS_PATH = "top.tcss"
    TITLE = "glassloop top"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = []

    def __init__(self, page: Page | None = None, *, pid: int | None = None, interval_s: float = 1.0) -> None:
        """Show this page, if any; ``pid`` restricts the list of loops to one process."""
        # https://no-color.org: without the terminal's own colours Textual would take greys instead.
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)
        if self.no_color:
            self.theme = "ansi-dark"
        self.page = page
        self.interval_s = interval_s
        self.loops = LoopFinder(pid)

    def on_mount(self) -> None:
        """Show the list, and above it the loop that is meant."""
        self.push_screen(LoopsScreen(self.loops, self.interval_s, self.open))
        if self.page is not None:
            self.open(self.page)

    def open(self, page: Page) -> None:
        """Show a loop."""
        self.push_screen(LoopScreen(LoopSource(page, self.interval_s)))
