"""Show what a loop's tasks do over time: when each runs, is ready, waits, and what wakes it.

  glassloop trace PID --seconds 5                  a picture in the terminal
  glassloop trace PID --seconds 5 -o trace.html    one page to zoom and search in, without network
  glassloop trace PID --seconds 5 -o trace.pftrace for https://ui.perfetto.dev
  glassloop trace PID --seconds 5 -o trace.json    for other programs
  glassloop trace FILE                             the end of what GLASSLOOP_RECORD=FILE made a program leave

While it is recorded a loop times each step, which costs it some nanoseconds; it waits for nobody. Ctrl-C
ends the recording early. With --seconds 0, and for a program that has ended, what the ring of records holds
is shown.

The exit status is 0, or 3 if the loop cannot be looked into.
"""

import argparse
import os
import shutil
import sys

from glassloop.cli._targets import (
    CANNOT_READ,
    FINE,
    Style,
    add_target,
    open_target,
    prepare_stdout,
    report,
)
from glassloop.glass import finder
from glassloop.glass.errors import ReadError
from glassloop.glass.history import History, build_history
from glassloop.glass.page import Page
from glassloop.glass.recording import read_ring, record
from glassloop.glass.text import duration
from glassloop.glass.timeline_html import to_html
from glassloop.glass.timeline_json import to_json
from glassloop.glass.timeline_perfetto import to_perfetto
from glassloop.glass.timeline_text import LEGEND, draw

_DEFAULT_SECONDS = 2.0
_LONGEST_SECONDS = 3600.0
_WIDTH_WITHOUT_TERMINAL = 100
_KINDS = (".html", ".pftrace", ".json")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Give the parser the verb's options."""
    add_target(parser)
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=_DEFAULT_SECONDS,
        metavar="N",
        help="how long to record (default: 2)",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=_output,
        metavar="OUT",
        help="write to this file, .html, .pftrace or .json, instead of drawing in the terminal",
    )


def main(arguments: argparse.Namespace) -> int:
    """Record, and draw or write the history; return the exit status."""
    prepare_stdout()
    try:
        with open_target(arguments.target, writable=True) as pages:
            page = _busiest(pages)
            history = _record(page, arguments.seconds)
    except ReadError as error:
        return report("trace", error)
    if history.lost:
        print(
            f"glassloop trace: the loop was too quick: {history.lost} of {history.lost + history.records} "
            "records were overwritten before they were read; gaps show as empty",
            file=sys.stderr,
        )
    if history.cut_ns > 0:
        print(
            f"glassloop trace: too much happened: only the last {duration(history.length_ns)} are shown",
            file=sys.stderr,
        )
    if arguments.output is None:
        _print(history)
        return FINE
    try:
        _write(history, arguments.output)
    except OSError as error:
        print(f"glassloop trace: cannot write {arguments.output}: {error.strerror}", file=sys.stderr)
        return CANNOT_READ
    print(
        f"{arguments.output}: {len(history.lanes)} tasks, {history.records} records, "
        f"{history.length_ns / 1e9:.2f} s"
    )
    return FINE


def _record(page: Page, seconds: float) -> History:
    lives = finder.writer_of(page) is not None
    return build_history(record(page, seconds) if lives and seconds > 0 else read_ring(page))


def _busiest(pages: list[Page]) -> Page:
    """Return the page of the loop that has done most; say so where there are others."""
    chosen = max(pages, key=lambda page: page.live().steps)
    if len(pages) > 1:
        print(
            f"glassloop trace: the process has {len(pages)} loops; this is the one that has run most, "
            f"{chosen.name}",
            file=sys.stderr,
        )
    return chosen


def _print(history: History) -> None:
    style = Style.of_stdout()
    width = shutil.get_terminal_size((_WIDTH_WITHOUT_TERMINAL, 24)).columns
    for line in draw(history, width if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL):
        print(style.dim(line) if line == LEGEND else line)


def _write(history: History, name: str) -> None:
    kind = os.path.splitext(name)[1]
    if kind == ".pftrace":
        data = to_perfetto(history)
    else:
        data = (to_html(history) if kind == ".html" else to_json(history)).encode()
    with open(name, "wb") as file:
        file.write(data)


def _seconds(word: str) -> float:
    value = float(word)
    if not 0 <= value <= _LONGEST_SECONDS:
        raise argparse.ArgumentTypeError(f"must lie between 0 and {_LONGEST_SECONDS:.0f}, not {word}")
    return value


def _output(word: str) -> str:
    if os.path.splitext(word)[1] not in _KINDS:
        raise argparse.ArgumentTypeError(f"{word!r} must end in one of {', '.join(_KINDS)}")
    return word
