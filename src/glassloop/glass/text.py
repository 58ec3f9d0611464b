"""Text out of a page, made fit to be shown: whatever the program wrote, no terminal takes it for a command.

Every text that leaves a page goes through ``clean`` or ``decode``, whether it is to be printed, put into JSON
or into a web page.
"""

import re

# ECMA-48 control sequences, operating system commands (titles, clipboard), device control strings, escapes of
# two characters; with ESC or with the 8-bit C1 codes.
_ESCAPES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
_SPACES = re.compile(r"[\t\n\v\f\r\x85\u2028\u2029]+")
LONGEST = 400


def clean(text: str, limit: int = LONGEST) -> str:
    """Return the text on one line, without control characters and escape codes, at most ``limit`` long.

    What is neither printable nor a space becomes ``?``: also the marks that reverse the direction of writing.
    """
    text = text[: 2 * limit]
    if not text.isprintable():
        text = _SPACES.sub(" ", _ESCAPES.sub("", text))
        text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def decode(data: bytes, limit: int = LONGEST) -> str:
    """Return the clean text of UTF-8 bytes, up to the first zero; what is no UTF-8 shows as ``�``."""
    return clean(data.partition(b"\0")[0][: 8 * limit].decode("utf-8", "replace"), limit)


def shorten(text: str, width: int) -> str:
    """Return the text in at most ``width`` characters; its middle goes, for names differ at the ends."""
    if len(text) <= width:
        return text
    if width < 5:
        return text[:width]
    tail = (width - 1) // 2
    return text[: width - 1 - tail] + "…" + text[len(text) - tail :]


def duration(ns: float) -> str:
    """Return a length of time as people read it: three digits and a unit."""
    if ns < 0:
        return "-" + duration(-ns)
    for unit, size in (("ns", 1), ("µs", 1e3), ("ms", 1e6)):
        if ns < 999.5 * size:
            value = ns / size
            return f"{value:.0f} {unit}" if unit == "ns" or value >= 99.95 else f"{value:.3g} {unit}"
    seconds = ns / 1e9
    if seconds < 99.95:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{int(seconds // 60)} min {int(seconds % 60)} s"
    hours = int(seconds // 3600)
    if hours < 48:
        return f"{hours} h {int(seconds % 3600 // 60)} min"
    return f"{hours // 24} d {hours % 24} h"
