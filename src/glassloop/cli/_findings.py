"""A finding: one line of what `glassloop doctor` says about this machine."""

import dataclasses
import enum
from pathlib import Path


class State(enum.StrEnum):
    """How good a value is."""

    OK = "ok"
    NOTE = "note"  # fine, but worth knowing
    POOR = "poor"  # works, with a price that the advice names
    BROKEN = "broken"  # a program on glassloop does not work here


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One value of this machine, how good it is, and what to do about it if it is not."""

    section: str
    name: str
    value: str
    state: State = State.OK
    advice: str = ""


def read_text(path: Path) -> str | None:
    """Return a small file's text without the space around it; None where it is absent or closed to us."""
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None


def read_int(path: Path) -> int | None:
    """Return the first number of a file under /proc or /sys; None where there is none."""
    text = read_text(path)
    try:
        return int(text.split()[0]) if text else None
    except ValueError:
        return None
