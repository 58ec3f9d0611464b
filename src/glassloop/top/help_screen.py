"""All keys, and what the columns mean."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

_KEYS = (
    ("↑ ↓ PgUp PgDn Home End", "move; also k j g G"),
    ("Enter", "open a loop, or a task's page"),
    ("Esc", "back; in the list: clear the filter"),
    ("1 2 3 4, Tab", "tasks, blocks, times, I/O"),
    ("< >, ← →", "sort by the next column"),
    ("r", "reverse the order"),
    ("/", "filter: words in name, state, coroutine, wait"),
    ("Space", "pause, go on"),
    ("l", "the list of loops"),
    ("a, p", "on a task's page: what it awaits, its parent"),
    ("?, q", "this help, quit"),
)
_COLUMNS = (
    ("FOR", "how long it has been in its state"),
    ("BUSY", "the share of the last moment that it ran"),
    ("READY", "the share that it could have run, and others did"),
    ("WAIT", "the rest: it waited"),
    ("WAKE/S", "how often a second something woke it"),
)


class HelpScreen(ModalScreen[None]):
    """Closed by any of the keys that lead out."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q,enter,space", "dismiss", "back"),
    ]

    def compose(self) -> ComposeResult:
        """One box."""
        found = Text()
        for title, lines in (("keys", _KEYS), ("columns", _COLUMNS)):
            found.append(f"{title}\n", "bold")
            for key, meaning in lines:
                found.append(f"  {key:<23}", "bold green")
                found.append(f"{meaning}\n")
        found.append("Esc closes this.", "dim")
        with VerticalScroll(id="help"):
            yield Static(found)
