"""Watch a loop live: its tasks, what blocks it, its times and its descriptors.

  glassloop top            choose one of the loops of this machine
  glassloop top PID
  glassloop top FILE       what a program writes, or left, that runs with GLASSLOOP_RECORD=FILE

For a terminal; the keys are shown on the screen, ? shows them all. While it is watched a loop times each
step, which costs it some nanoseconds; while the screen is paused it does not. Needs Textual:

  pip install 'glassloop[top]'

The exit status is 0, or 3 if the loop cannot be looked into, or there is no terminal or no Textual.
"""

import argparse
import importlib.util
import sys

from glassloop.cli._targets import CANNOT_READ, FINE, report
from glassloop.glass import finder
from glassloop.glass.errors import ReadError
from glassloop.glass.layout import Phase
from glassloop.glass.page import Page

_SHORTEST_S, _LONGEST_S = 0.1, 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser the verb's options."""
    parser.add_argument(
        "target",
        nargs="?",
        metavar="PID|FILE",
        help="a process, or a file that GLASSLOOP_RECORD=FILE made a program write; default: choose",
    )
    parser.add_argument(
        "--interval",
        type=_interval,
        default=1.0,
        metavar="SECONDS",
        help="how long between two looks at the loop (default: 1)",
    )


def main(arguments: argparse.Namespace) -> int:
    """Show the screen until it is left; return the exit status."""
    if importlib.util.find_spec("textual") is None:
        return _refuse("this needs Textual, which is not installed: pip install 'glassloop[top]'")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return _refuse(
            "this is for a terminal, and there is none; for scripts there are `glassloop ps --json` and "
            "`glassloop why PID --json`"
        )
    try:
        pages = _pages(arguments.target)
    except ReadError as error:
        return report("top", error)
    # Only here: the other verbs, and the errors above, do without Textual.
    from glassloop.top.app import TopApp

    page = pages[0] if len(pages) == 1 else None
    for other in pages if page is None else ():
        other.close()
    app = TopApp(page, pid=int(arguments.target) if len(pages) > 1 else None, interval_s=arguments.interval)
    app.run(mouse=False)
    return app.return_code or FINE


def _pages(target: str | None) -> list[Page]:
    """Open the pages that are meant: none to choose one, several if the process has several loops."""
    if target is None:
        return []
    if not (target.isascii() and target.isdecimal()):
        return [finder.open_file(target)]
    from glassloop.top.loops import open_pages

    pages = open_pages(int(target))
    running = [page for page in pages if page.live().phase != Phase.CLOSED]
    for page in pages:
        if running and page not in running:
            page.close()
    return running or pages[:1]


def _refuse(why: str) -> int:
    print(f"glassloop top: {why}", file=sys.stderr)
    return CANNOT_READ


def _interval(word: str) -> float:
    value = float(word)
    if not _SHORTEST_S <= value <= _LONGEST_S:
        raise argparse.ArgumentTypeError(f"must lie between {_SHORTEST_S} and {_LONGEST_S:.0f}, not {word}")
    return value
