"""The widget of all lists here: a table of which only the lines on the screen are ever made."""

from collections.abc import Hashable
from typing import ClassVar, Protocol

from rich.segment import Segment
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip


class RowSource(Protocol):
    """What a table shows. It does not change; a new one takes its place."""

    def __len__(self) -> int: ...

    def heading(self, width: int) -> Text:
        """Return the line above the rows."""

    def line(self, index: int, width: int) -> Text:
        """Return one row."""

    def key(self, index: int) -> Hashable:
        """Return what tells this row from the others, also in the next source."""

    def find(self, key: Hashable) -> int | None:
        """Return where this row is now; None: it is gone."""


class Rows(ScrollView, can_focus=True):
    """A table with a cursor, which stays with its row as rows change places; at the top it stays there."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
        Binding("home,g", "go(0)", "top", show=False),
        Binding("end,G", "go(-1)", "end", show=False),
        Binding("enter", "choose", "open"),
    ]

    class Chosen(Message):
        """Enter was pressed on a row."""

        def __init__(self, rows: "Rows", index: int) -> None:
            super().__init__()
            self.rows = rows
            self.index = index

        @property
        def control(self) -> "Rows":
            """The table."""
            return self.rows

    class Moved(Message):
        """The cursor is on another row."""

        def __init__(self, rows: "Rows") -> None:
            super().__init__()
            self.rows = rows

        @property
        def control(self) -> "Rows":
            """The table."""
            return self.rows

    def __init__(self, empty: str = "", *, opens: bool = False, id: str | None = None) -> None:  # noqa: A002
        """``opens``: Enter does something. ``id`` is Textual's own name."""
        super().__init__(id=id)
        self.opens = opens
        self.empty = empty
        self.source: RowSource | None = None
        self.cursor = 0
        self._key: Hashable = None

    def show(self, source: RowSource, *, empty: str | None = None) -> None:
        """Show other rows."""
        self.source = source
        self.empty = self.empty if empty is None else empty
        count = len(source)
        if self.cursor and self._key is not None:
            found = source.find(self._key)
            if found is not None and found != self.cursor:
                on_screen = self.cursor - self.scroll_offset.y
                self.cursor = found
                self._resize(count)
                self.scroll_to(y=found - on_screen, animate=False)
        self.cursor = max(0, min(self.cursor, count - 1))
        self._resize(count)
        self._remember()
        self.refresh()

    def _resize(self, count: int) -> None:
        self.virtual_size = Size(self.size.width, count + 1)  # and the heading

    def _remember(self) -> None:
        source = self.source
        key = source.key(self.cursor) if source is not None and len(source) else None
        if key != self._key:
            self._key = key
            self.post_message(self.Moved(self))

    def render_line(self, y: int) -> Strip:
        """Return one line of the screen: the heading is the first and does not scroll."""
        width = self.scrollable_content_region.width  # without the scrollbar
        source = self.source
        if source is None:
            return Strip.blank(width, self.rich_style)
        if y == 0:
            return self._strip(source.heading(width), width)
        index = self.scroll_offset.y + y - 1
        if index >= len(source):
            text = self.empty if not len(source) and y == 2 else ""
            return self._strip(Text(text, style="dim"), width)
        line = source.line(index, width)
        if index == self.cursor and self.has_focus:
            line = Text(line.plain, style="reverse")  # one bar: its colours reversed would be patches
        return self._strip(line, width)

    def _strip(self, text: Text, width: int) -> Strip:
        text.no_wrap = True
        text.end = ""
        text.stylize_before(text.style)  # render() leaves it out where there are no spans
        segments: list[Segment] = list(text.render(self.app.console))
        last = segments[-1].style if segments else None
        strip = Strip(segments).adjust_cell_length(width, last)
        return strip.apply_style(self.rich_style)

    def _go(self, index: int) -> None:
        count = len(self.source) if self.source is not None else 0
        self.cursor = max(0, min(index, count - 1))
        self._remember()
        # The heading covers the first line, so the row is to lie below it.
        self.scroll_to_region(Region(0, self.cursor, 1, 2), animate=False, immediate=True)
        self.refresh()

    def action_move(self, by: int) -> None:
        """Move the cursor by so many rows."""
        self._go(self.cursor + by)

    def action_page(self, by: int) -> None:
        """Move the cursor by so many screens."""
        self._go(self.cursor + by * max(1, self.size.height - 2))

    def action_go(self, index: int) -> None:
        """Move the cursor to the first row, or to the last."""
        self._go(index if index >= 0 else len(self.source or ()) - 1)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Show Enter among the keys only where it does something."""
        return self.opens or action != "choose"

    def action_choose(self) -> None:
        """Tell that the row under the cursor was chosen."""
        if self.source is not None and len(self.source):
            self.post_message(self.Chosen(self, self.cursor))

    def on_resize(self) -> None:
        """Make the lines anew: they fill the width."""
        if self.source is not None:
            self._resize(len(self.source))
        self.refresh()
