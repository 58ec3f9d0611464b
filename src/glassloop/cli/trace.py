"""Show what a loop's tasks do over time: when each runs, is ready, waits, and what wakes it.

  glassloop trace PID --seconds 5                  a picture in the terminal
  glassloop trace PID --seconds 5 -o trace.html    one page to zoom and search in, without network
  glassloop trace PID --seconds 5 -o trace.pftrace for https://ui.perfetto.dev
  glassloop trace PID --seconds 5 -o trace.json    for other programs; --json prints the same
  glassloop trace FILE                             what a program left that `glassloop run --record FILE` ran

While it is recorded a loop times each step, which costs it some nanoseconds; it waits for nobody. Ctrl-C
ends the recording early. With --seconds 0, and for a program that has ended, what the ring of records holds
is shown; where it overran, how much is missing is said.

The exit status is 0; 2 if the command line is wrong; 3 if the loop cannot be looked into, or OUT not written.
"""

import argparse
import os
import sys

from glassloop.cli._picture import MOST_LANES, picture
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
from glassloop.glass.recording import Recording, read_ring, record
from glassloop.glass.timeline_html import to_html
from glassloop.glass.timeline_json import to_json
from glassloop.glass.timeline_perfetto import to_perfetto

_DEFAULT_SECONDS = 2.0
_LONGEST_SECONDS = 3600.0
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
    parser.add_argument(
        "--tasks",
        type=_count,
        default=MOST_LANES,
        metavar="N",
        help=f"draw at most so many tasks, those that ran most (default: {MOST_LANES})",
    )
    parser.add_argument("--json", action="store_true", help="print all of it as one JSON object")


def main(arguments: argparse.Namespace) -> int:
    """Record, and draw or write the history; return the exit status."""
    prepare_stdout()
    try:
        with open_target(arguments.target, writable=True) as pages:
            recording = _record(_busiest(pages), arguments.seconds)
    except ReadError as error:
        return report("trace", error)
    for sentence in recording.what_is_missing():
        print(f"glassloop trace: {sentence}", file=sys.stderr)
    history = build_history(recording)
    if arguments.json:
        print(to_json(history))
        return FINE
    if arguments.output is None:
        for line in picture(history, Style.of_stdout(), sys.stdout, arguments.tasks):
            print(line)
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


def _record(page: Page, seconds: float) -> Recording:
    lives = finder.writer_of(page) is not None
    return record(page, seconds) if lives and seconds > 0 else read_ring(page)


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


def _count(word: str) -> int:
    value = int(word)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {word}")
    return value


def _output(word: str) -> str:
    if os.path.splitext(word)[1] not in _KINDS:
        raise argparse.ArgumentTypeError(f"{word!r} must end in one of {', '.join(_KINDS)}")
    return word
