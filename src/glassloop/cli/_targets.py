"""What the verbs that look into a loop share: which one is meant, how it is opened, what errors look like."""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TextIO

from glassloop.glass import finder
from glassloop.glass.errors import ReadError
from glassloop.glass.layout import Phase
from glassloop.glass.page import Page

# The exit statuses of ps, why and trace, besides argparse's 2 for a wrong command line.
FINE = 0
TROUBLE = 1
CANNOT_READ = 3


def add_target(parser: argparse.ArgumentParser) -> None:
    """Give the parser the argument that names a loop."""
    parser.add_argument(
        "target",
        metavar="PID|FILE",
        help="a process, or a file that `glassloop run --record FILE` wrote",
    )


@contextlib.contextmanager
def open_target(target: str, *, writable: bool = False) -> Iterator[list[Page]]:
    """Yield the pages that are meant, one a loop, those of closed loops only if there is no other."""
    pages = (
        find_pages_as_allowed(int(target), writable=writable)
        if target.isascii() and target.isdecimal()
        else [finder.open_file(target)]
    )
    try:
        running = [page for page in pages if page.live().phase != Phase.CLOSED]
        yield running or pages
    finally:
        for page in pages:
            page.close()


def find_pages_as_allowed(pid: int, *, writable: bool) -> list[Page]:
    """Return the pages of a process; only for reading where the kernel allows no more."""
    if writable:
        with contextlib.suppress(ReadError):
            return finder.find_pages(pid, writable=True)
    return finder.find_pages(pid)


def report(verb: str, error: ReadError) -> int:
    """Say on standard error why nothing can be shown; return the exit status."""
    print(f"glassloop {verb}: {error}", file=sys.stderr)
    return CANNOT_READ


class Style:
    """Colours for a terminal, and none for anything else."""

    def __init__(self, *, in_colour: bool) -> None:
        self.in_colour = in_colour

    @classmethod
    def of(cls, stream: TextIO) -> "Style":
        """Return the style that fits where the stream goes; https://no-color.org is obeyed."""
        return cls(in_colour=stream.isatty() and not os.environ.get("NO_COLOR"))

    @classmethod
    def of_stdout(cls) -> "Style":
        """Return the style that fits where standard output goes."""
        return cls.of(sys.stdout)

    def paint(self, text: str, code: str) -> str:
        """Return the text in a colour, given as the parameters of ECMA-48's SGR."""
        return f"\033[{code}m{text}\033[0m" if self.in_colour and text else text

    def bad(self, text: str) -> str:
        """Return the text as something that is wrong."""
        return self.paint(text, "31;1")

    def good(self, text: str) -> str:
        """Return the text as something that is well."""
        return self.paint(text, "32")

    def warn(self, text: str) -> str:
        """Return the text as something to look at."""
        return self.paint(text, "33")

    def dim(self, text: str) -> str:
        """Return the text as something of less weight."""
        return self.paint(text, "2")

    def strong(self, text: str) -> str:
        """Return the text as something of more weight."""
        return self.paint(text, "1")


def prepare_stdout() -> None:
    """Make sure that no character can make printing fail, whatever encoding standard output has."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
