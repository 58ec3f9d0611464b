"""What the reading side's tests share: synthetic pages and programs, which go away with their test."""

import os
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from .programs import HEAD, Program, Start
from .support import MakePage, SyntheticPage


@pytest.fixture
def make_page(monkeypatch: pytest.MonkeyPatch) -> Iterator[MakePage]:
    """Make synthetic pages whose writer counts as gone."""
    made: list[int] = []

    def make(tasks: int = 64, records: int = 64) -> SyntheticPage:
        fd = os.memfd_create("synthetic", os.MFD_CLOEXEC)
        made.append(fd)
        return SyntheticPage(fd, tasks, records)

    monkeypatch.setattr("glassloop.glass.finder.writer_of", lambda page: page.found_pid)
    yield make
    for fd in made:
        os.close(fd)


@pytest.fixture
def synthetic(make_page: MakePage) -> SyntheticPage:
    return make_page()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a program: the body of ``async def main()``, with functions before it if need be."""
    programs: list[Program] = []

    def run(body: str, before: str = "", **environment: str) -> Program:
        path = tmp_path / f"program{len(programs)}.py"
        main = "async def main():\n" + textwrap.indent(textwrap.dedent(body), "    ")
        path.write_text(HEAD + textwrap.dedent(before) + main + "\nglassloop.run(main())\n")
        programs.append(Program(path, environment))
        programs[-1].wait_until_ready()
        return programs[-1]

    yield run
    for program in programs:
        program.end()
