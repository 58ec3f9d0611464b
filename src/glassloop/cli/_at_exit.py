"""What `glassloop run --timeline` and `--why-on-exit` print when the program has ended: to standard error."""

import os
import sys
from collections.abc import Iterator
from typing import TextIO

from glassloop.cli._picture import picture
from glassloop.cli._targets import Style
from glassloop.cli._why_text import Diagnosis, render
from glassloop.glass.errors import ReadError
from glassloop.glass.history import build_history
from glassloop.glass.insight import Evidence
from glassloop.glass.insights import find_insights
from glassloop.glass.onlooker import Look, Onlooker

# asyncio makes these two when it closes a loop; they are nobody's work.
_CLOSING = (
    "BaseEventLoop.shutdown_asyncgens",
    "BaseEventLoop.shutdown_default_executor",
    "EventLoop.shutdown_default_executor",
)


def print_reports(onlooker: Onlooker, shows: list[str]) -> None:
    """Print what was asked for. Called by atexit, in the process that ran the program, after all else."""
    stream = sys.__stderr__
    if os.getpid() != onlooker.pid or stream is None or stream.closed:
        return
    _flush(sys.stdout)  # so that what the program printed last stands above
    try:
        onlooker.look_at_the_rest()
    except (ReadError, OSError) as error:
        onlooker.errors.append(str(error))
    style = Style.of(stream)
    try:
        for line in _reports(onlooker, shows, style, stream):
            stream.write(line.encode(stream.encoding, "replace").decode(stream.encoding) + "\n")
        stream.flush()
    except OSError:
        pass  # nobody reads it any more


def _reports(onlooker: Onlooker, shows: list[str], style: Style, stream: TextIO) -> Iterator[str]:
    for error in onlooker.errors:
        yield f"glassloop run: {error}"
    if not onlooker.looks:
        yield "glassloop run: no loop of glassloop's ran in this program, or GLASSLOOP_PAGE is off"
    for look in onlooker.looks:
        if "timeline" in shows:
            yield ""
            yield from _timeline(look, style, stream, several=len(onlooker.looks) > 1)
        if "why" in shows:
            yield ""
            yield from render(_diagnosis(look), style)


def _timeline(look: Look, style: Style, stream: TextIO, *, several: bool) -> Iterator[str]:
    history = build_history(look.recording)
    history.lanes = [lane for lane in history.lanes if lane.function not in _CLOSING]
    if several:
        snapshot = look.recording.snapshot
        yield style.strong(f"the loop in thread {snapshot.thread_name}, {snapshot.steps:,} steps")
    yield from picture(history, style, stream)
    for sentence in look.recording.what_is_missing():
        yield style.warn(f"glassloop run: {sentence}")


def _diagnosis(look: Look) -> Diagnosis:
    records = tuple(record for chunk in look.recording.chunks for record in chunk.records())
    evidence = Evidence(look.snapshot, records, look.answer)
    return Diagnosis(evidence, find_insights(evidence), look.answer)


def _flush(stream: TextIO | None) -> None:
    try:
        if stream is not None:
            stream.flush()
    except (OSError, ValueError):
        pass  # Python tries again at its end, and says what is wrong
