"""Writes into docs/what-is-my-loop-doing.md what its commands print, and the table of the page's layout.

    python tools/write_docs.py [--check]

A block ```` ```python ```` whose first line is a comment with a file's name is a program. A block
```` ```console ```` holds commands, each after `$ `, with their output. A command with ` &` at its end stays
in the background, under the number that the line `[1] NUMBER` gives it, until the next one; `kill -9 NUMBER`
ends it. A test compares what is printed with the page: numbers, times and bars may differ, words not.
"""

import argparse
import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path

from glassloop.glass import layout

PAGE = Path(__file__).parents[1] / "docs" / "what-is-my-loop-doing.md"
PATIENCE_S = 30.0
_LAYOUT = re.compile(r"(?<=<!-- layout:begin -->\n).*(?=<!-- layout:end -->)", re.DOTALL)
_BLOCK = re.compile(r"^```(python|console)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def mask(text: str) -> str:
    """Return what must be the same in every run: words, and that there is a number, a time, a bar."""
    text = re.sub(r"0x[0-9a-f]+", "#", text)
    text = re.sub(r"\d[\d,]*(\.\d+)*", "#", text)
    text = re.sub(r"# ?(ns|µs|ms|s|min|h)\b( # (s|min)\b)?", "# s", text)
    # Somebody else on this machine may have looked at the loop before: then it has timed its steps.
    text = re.sub(r"(ready until run|a step): .*", r"\1: #", text)
    text = re.sub(r"[█▒░][█▒░ ]*", "█ ", text)
    return "\n".join(" ".join(line.split()) for line in text.strip().splitlines())


class Session:
    """A folder, the programs of the page in it, and the one that runs in the background."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.background: subprocess.Popen[str] | None = None
        self.number = ""  # the page's, for the process

    def write_program(self, text: str) -> None:
        name = re.match(r"# (\S+\.py)\n", text)
        if name is not None:
            (self.folder / name[1]).write_text(text)

    def run(self, command: str, documented: str, *, patience_s: float) -> str:
        """Return what a command prints; look again and again: the program takes a moment to come to it."""
        words = shlex.split(command)
        if words[-1] == "&":
            return self.start(words[:-1], documented)
        if words[:2] == ["kill", "-9"]:
            self.end()
            return ""
        deadline_s = time.monotonic() + patience_s
        if not patience_s and self.background is not None:
            time.sleep(2)
        while True:
            shown = self.look(words)
            if mask(shown) == mask(documented) or time.monotonic() >= deadline_s:
                return shown
            time.sleep(0.05)

    def look(self, words: list[str]) -> str:
        number = str(self.background.pid) if self.background is not None else ""
        words = [number if word == self.number else word for word in words]
        done = subprocess.run(
            self._command(words),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            env=os.environ | {"NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"},
        )
        lines = done.stdout.strip("\n").splitlines()
        if words[:2] == ["glassloop", "ps"]:  # this machine may run others
            lines = [line for line in lines if "PID" in line or number in line.split()]
        text = "\n".join(line.rstrip() for line in lines)
        text = text.replace(f"{os.path.realpath(self.folder)}/", "/srv/").replace(f"{self.folder}/", "/srv/")
        text = text.replace(f"{os.path.dirname(os.__file__)}/", "").replace(sys.executable, "python")
        return re.sub(rf"\b{number}\b", self.number, text) if number else text

    def start(self, words: list[str], documented: str) -> str:
        self.end()
        self.background = subprocess.Popen(
            self._command(words),
            cwd=self.folder,
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        shown = re.search(r"\[1\] (\d+)", documented)
        self.number = shown[1] if shown else str(self.background.pid)
        return f"[1] {self.number}"

    def end(self) -> None:
        if self.background is not None:
            with contextlib.suppress(ProcessLookupError):
                self.background.send_signal(signal.SIGKILL)
            self.background.wait()
            self.background = None

    def _command(self, words: list[str]) -> list[str]:
        return [sys.executable, "-m", *words] if words[0] == "glassloop" else words


def rewrite(page: str, *, patience_s: float) -> str:
    """Return the page with what its commands print now; with patience, as near to the page as they come."""
    with tempfile.TemporaryDirectory() as folder:
        session = Session(Path(folder))

        def replace(found: re.Match[str]) -> str:
            kind, body = found[1], found[2]
            if kind == "python":
                session.write_program(body)
                return found[0]
            shown = []
            for command, documented in commands(body):
                output = session.run(command, documented, patience_s=patience_s)
                shown.append(f"$ {command}\n{output}".rstrip("\n"))
            return "```console\n" + "\n\n".join(shown) + "\n```"

        try:
            return _BLOCK.sub(replace, page)
        finally:
            session.end()


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Yield the commands of a block with what the page shows of their output."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output.strip("\n")


def layout_table() -> str:
    """Return the page's layout in Markdown, from the description that writer and reader share."""
    lines = [f"Version {layout.VERSION}. Numbers are little-endian. A loop's page has these parts:", ""]
    lines += ["| Offset | Bytes | Part |", "| ---: | ---: | --- |"]
    lines += [f"| {part.offset} | {part.size} | {part.name} |" for part in layout.sections().values()]
    lines += [
        "",
        (
            f"Histograms ({', '.join(layout.HISTOGRAMS)}) are {layout.BUCKETS} counts of 8 bytes each: "
            f"4 buckets for each power of two. A task's name has {layout.NAME_SIZE} bytes. A string lies "
            "behind two bytes of length."
        ),
    ]
    for structure in layout.STRUCTURES:
        lines += ["", f"**{structure.name}**, {structure.size} bytes", ""]
        lines += ["| Offset | Type | Field | Meaning |", "| ---: | --- | --- | --- |"]
        for field in structure.fields:
            kind = f"{field.type} bytes" if isinstance(field.type, int) else field.type
            meaning = field.meaning.replace("|", "\\|")
            lines.append(f"| {structure.offsets[field.name]} | {kind} | {field.name} | {meaning} |")
    kinds: tuple[type[IntEnum], ...] = (
        layout.State,
        layout.Cause,
        layout.Phase,
        layout.Running,
        layout.Awaited,
        layout.Kind,
    )
    lines += ["", "| Numbers of | |", "| --- | --- |"]
    for kind_of in kinds:
        members = ", ".join(f"{member.value} {member.name}" for member in kind_of)
        lines.append(f"| {kind_of.__name__} | {members} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page is not current")
    arguments = parser.parse_args()
    page = PAGE.read_text()
    new = rewrite(page, patience_s=PATIENCE_S if arguments.check else 0)
    new = _LAYOUT.sub(lambda _: layout_table(), new)
    if arguments.check:
        return int(mask(new) != mask(page))
    PAGE.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
