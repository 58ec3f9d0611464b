"""Looks at a program's loops from inside of it, for `glassloop run --timeline` and `--why-on-exit`.

The recorder tells when a loop has stopped, and when its page is about to be given up. What is worth keeping
is copied out of the page then; words are made of it when the program has ended.
"""

import asyncio
import os
import sys
from dataclasses import dataclass
from types import FrameType

from glassloop.glass import finder
from glassloop.glass.answers import Answer, parse_answer
from glassloop.glass.errors import ReadError
from glassloop.glass.layout import Phase
from glassloop.glass.model import Snapshot
from glassloop.glass.page import Page
from glassloop.glass.reader import take_snapshot
from glassloop.glass.recording import Recording, read_ring

# A test suite makes hundreds of loops: those that did most are kept.
MOST_LOOKS = 4
# asyncio ends a program's loop here: it cancels what is left, and runs the loop again and again for that.
_CLOSING = asyncio.Runner.close.__code__


@dataclass(frozen=True, slots=True)
class Look:
    """What a loop left: its tasks when it last stopped by itself, and all that its ring held at its end."""

    snapshot: Snapshot
    answer: Answer  # what the loop told of those tasks
    recording: Recording


class Onlooker:
    """Keeps what the loops of this process leave. Call it as ``recorder.listen`` says."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.looks: list[Look] = []
        self.errors: list[str] = []
        self._stopped: dict[int, tuple[Snapshot | None, Answer]] = {}  # by the page's inode

    def __call__(self, descriptor: int, closed: bool) -> None:
        """Look at the page of a loop that stopped, or is closed. Never raises: the program comes first."""
        try:
            page = Page(os.dup(descriptor), "this process", pid=self.pid)
            with page:
                self._look(page, closed=closed)
        except (ReadError, OSError) as error:
            self.errors.append(str(error))

    def look_at_the_rest(self) -> None:
        """Look at the loops that were never closed. The program has ended, or this is its last thread."""
        try:
            pages = finder.find_pages(self.pid)
        except ReadError:
            return  # there are none
        for page in pages:
            with page:
                if page.live().phase != Phase.CLOSED:
                    self._look(page, closed=True)

    def _look(self, page: Page, *, closed: bool) -> None:
        inode = os.fstat(page.fd).st_ino
        if not closed:
            if not _is_being_closed(sys._getframe()):
                self._stopped[inode] = take_snapshot(page), _answer(page)
            return
        snapshot, answer = self._stopped.pop(inode, (None, Answer()))
        self.looks.append(Look(snapshot or take_snapshot(page), answer, read_ring(page)))
        if len(self.looks) > MOST_LOOKS:
            self.looks.remove(min(self.looks, key=lambda look: look.recording.snapshot.steps))


def _is_being_closed(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code is _CLOSING:
            return True
        frame = frame.f_back
    return False


def _answer(page: Page) -> Answer:
    """Return what the recorder has written for us of the unfinished tasks."""
    return parse_answer(page.read(page.sections["stacks"].offset, page.given_stacks()[1]))
