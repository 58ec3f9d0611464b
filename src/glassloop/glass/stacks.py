"""Await stacks on demand: the reader asks through a word in the page, the loop answers at its next turn.

What the answer looks like is told in ``answers.py``.
"""

import time

from glassloop.glass.answers import Answer, parse_answer
from glassloop.glass.model import Frame
from glassloop.glass.page import TRIES, Page

# A loop that does not answer in this time, nor gets on with its turns, is stuck.
PATIENCE_S = 0.2
# One that gets on is given so many times as long: it may have very many tasks to tell of.
_MOST_PATIENCE = 5
_LOOK_EVERY_S = 0.002


def ask_for_stacks(page: Page, patience_s: float = PATIENCE_S) -> dict[int, tuple[Frame, ...]] | None:
    """Return the await stack of each waiting task by its number, innermost last; None: no answer in time."""
    answer = ask(page, patience_s)
    return None if answer is None else answer.stacks


def ask(page: Page, patience_s: float = PATIENCE_S) -> Answer | None:
    """Return all that the loop tells of its tasks when it is asked; None: no answer in time."""
    if not page.writable:
        return None
    request = page.ask_for_stacks()
    turns = page.live().turns
    began_s = time.monotonic()
    while True:
        waited_s = time.monotonic() - began_s
        if waited_s > patience_s and (page.live().turns == turns or waited_s > _MOST_PATIENCE * patience_s):
            return None
        for _ in range(TRIES):
            given, length = page.given_stacks()
            if given < request:
                break
            data = page.read(page.sections["stacks"].offset, length)
            if page.given_stacks() == (given, length):
                return parse_answer(data)
        time.sleep(_LOOK_EVERY_S)


def parse_stacks(data: bytes) -> dict[int, tuple[Frame, ...]]:
    """Return the answer's stacks by task; what does not look like one is left out."""
    return parse_answer(data).stacks
