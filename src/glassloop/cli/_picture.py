"""The timeline as text for a stream: as wide as the terminal, in characters that the stream has."""

import os
from collections.abc import Iterator
from typing import TextIO

from glassloop.cli._targets import Style
from glassloop.glass.history import History
from glassloop.glass.timeline_text import LEGEND, READY, RUNNING, WAITING, draw

_WIDTH_WITHOUT_TERMINAL = 100
MOST_LANES = 40
_IN_ASCII = str.maketrans({RUNNING: "#", READY: "=", WAITING: ".", "→": ">", "…": "~", "µ": "u"})


def picture(history: History, style: Style, stream: TextIO, most_lanes: int = MOST_LANES) -> Iterator[str]:
    """Yield the lines of the picture."""
    plain = not _can_show(stream, LEGEND + "→…")
    for line in draw(history, _width(stream), most_lanes):
        text = line.translate(_IN_ASCII) if plain else line
        yield style.dim(text) if line == LEGEND else text


def _can_show(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding)
    except UnicodeEncodeError:
        return False
    return True


def _width(stream: TextIO) -> int:
    if not stream.isatty():
        return _WIDTH_WITHOUT_TERMINAL
    try:
        return os.get_terminal_size(stream.fileno()).columns or _WIDTH_WITHOUT_TERMINAL
    except OSError:
        return _WIDTH_WITHOUT_TERMINAL
