"""Await stacks on demand: the reader asks through a word in the page, the loop answers at its next turn.

The answer is text: for each waiting task a line ``#`` and its number, then a line of file, line and function,
separated by tabs, for each coroutine in its chain of awaits, the task's own coroutine first.
"""

import time

from glassloop.glass.model import Frame
from glassloop.glass.page import TRIES, Page
from glassloop.glass.reader import parse_frames

# A loop that does not answer in this time is stuck.
PATIENCE_S = 0.2
_LOOK_EVERY_S = 0.002


def ask_for_stacks(page: Page, patience_s: float = PATIENCE_S) -> dict[int, tuple[Frame, ...]] | None:
    """Return the await stack of each waiting task by its number, innermost last; None: no answer in time."""
    if not page.writable:
        return None
    request = page.ask_for_stacks()
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        for _ in range(TRIES):
            given, length = page.given_stacks()
            if given < request:
                break
            data = page.read(page.sections["stacks"].offset, length)
            if page.given_stacks() == (given, length):
                return parse_stacks(data)
        time.sleep(_LOOK_EVERY_S)
    return None


def parse_stacks(data: bytes) -> dict[int, tuple[Frame, ...]]:
    """Return the answer's stacks by task; what does not look like one is left out."""
    found = {}
    for part in (b"\n" + data).split(b"\n#")[1:]:
        number, _, lines = part.partition(b"\n")
        if number.isdigit() and len(number) <= 20:
            found[int(number)] = parse_frames(lines)
    return found
