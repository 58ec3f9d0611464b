"""Await stacks on demand: the reader asks through a word in the page, the loop answers at its next turn.

What the answer looks like is told in ``answers.py``. A loop of very many tasks has more to tell than anybody
waits for, or than the page has room for: when the reader has no more patience it says so, and the loop ends
its answer with how many tasks are left.
"""

import time

from glassloop.glass.answers import Answer, parse_answer
from glassloop.glass.model import Frame
from glassloop.glass.page import TRIES, Page

# A loop that does not answer in this time, nor gets on with its turns, is stuck.
PATIENCE_S = 0.2
# One that gets on is given so many times as long: a turn of it may take its time.
_MOST_PATIENCE = 5
_LOOK_EVERY_S = 0.002


class Question:
    """Await stacks that a loop was asked for. It tells of them while the asker does something else."""

    def __init__(self, page: Page, first: int = 0) -> None:
        """Ask, of one task first of all if one is named."""
        self.page = page
        self.request = page.ask_for_stacks(first) if page.writable else 0
        self.asked_s = time.monotonic()
        self._turns = page.live().turns

    def wait(self, patience_s: float = PATIENCE_S, tell_s: float | None = None) -> Answer | None:
        """Return what the loop tells; None: no answer in time.

        It has ``patience_s`` from the question on to answer at all, and from then on ``tell_s`` to tell of
        its tasks, by default as long again; then it is asked to end its answer.
        """
        if not self.page.writable:
            return None
        tell_s = patience_s if tell_s is None else tell_s
        end_s = self.asked_s + patience_s + tell_s
        begun = ended = False
        while True:
            answer = self._answer()
            if answer is not None:
                return answer
            now_s = time.monotonic()
            if not begun and self._has_begun():
                begun, end_s = True, now_s + tell_s
            if not ended and now_s >= end_s:
                self.page.end_stacks(self.request)
                ended = True
            waited_s = now_s - self.asked_s
            if waited_s > patience_s and (
                waited_s > _MOST_PATIENCE * patience_s or self.page.live().turns == self._turns
            ):
                return None
            time.sleep(_LOOK_EVERY_S)

    def _has_begun(self) -> bool:
        given, length = self.page.given_stacks()
        return given == 0 and length > 0

    def _answer(self) -> Answer | None:
        for _ in range(TRIES):
            given, length = self.page.given_stacks()
            if given < self.request:
                break
            data = self.page.read(self.page.sections["stacks"].offset, length)
            if self.page.given_stacks() == (given, length):
                return parse_answer(data)
        return None


def ask(page: Page, patience_s: float = PATIENCE_S, first: int = 0) -> Answer | None:
    """Return all that the loop tells of its tasks when it is asked; None: no answer in time."""
    return Question(page, first).wait(patience_s)


def ask_for_stacks(
    page: Page, patience_s: float = PATIENCE_S, first: int = 0
) -> dict[int, tuple[Frame, ...]] | None:
    """Return the await stack of each waiting task by its number, innermost last; None: no answer in time."""
    answer = ask(page, patience_s, first)
    return None if answer is None else answer.stacks


def parse_stacks(data: bytes) -> dict[int, tuple[Frame, ...]]:
    """Return the answer's stacks by task; what does not look like one is left out."""
    return parse_answer(data).stacks
