"""docs/what-is-my-loop-doing.md: its programs and commands are run, and must print what the page shows."""

import difflib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "what-is-my-loop-doing.md"
HOW = "run `python tools/write_docs.py`, and look at what it changes"


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    """The module that writes the page."""
    spec = importlib.util.spec_from_file_location("write_docs", ROOT / "tools" / "write_docs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_the_commands_print_is_current(writer: ModuleType) -> None:
    page = PAGE.read_text()
    real = writer.rewrite(page, patience_s=writer.PATIENCE_S)
    shown, printed = writer.mask(page).splitlines(), writer.mask(real).splitlines()
    difference = "\n".join(difflib.unified_diff(shown, printed, "the page", "real output", lineterm="", n=1))
    assert not difference, f"{HOW}:\n{difference}"


def test_the_layout_is_current(writer: ModuleType) -> None:
    page = PAGE.read_text()
    table = re.search(r"<!-- layout:begin -->\n(.*)<!-- layout:end -->", page, re.DOTALL)
    assert table is not None and table[1] == writer.layout_table(), HOW


def test_the_layout_names_every_field(writer: ModuleType) -> None:
    from glassloop.glass import layout

    table = writer.layout_table()
    for structure in layout.STRUCTURES:
        for field in structure.fields:
            assert f"| {structure.offsets[field.name]} | " in table and f" | {field.name} | " in table


def test_the_mask_keeps_words(writer: ModuleType) -> None:
    assert writer.mask("at a.py:12 f for 3.3 s, 1,234 µs") == writer.mask("at  a.py:7 f for 10 ms, 2 ns")
    assert writer.mask("task1 ██░░ ▒ done") == writer.mask("task1 █ done")
    assert writer.mask("a waits") != writer.mask("a runs")


def test_every_command_has_output(writer: ModuleType) -> None:
    blocks = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    found = [pair for block in blocks for pair in writer.commands(block)]
    assert {command.split()[1] for command, _ in found if command.startswith("glassloop")} >= {
        "ps",
        "why",
        "trace",
        "run",
    }
    assert all(output for command, output in found if not command.startswith("kill"))


def test_the_page_is_linked() -> None:
    for name in ("README.md", "ARCHITECTURE.md"):
        assert "docs/what-is-my-loop-doing.md" in (ROOT / name).read_text()


def test_the_readme_opens_with_a_real_picture(writer: ModuleType) -> None:
    opening = (ROOT / "README.md").read_text().partition("```\n")[2].partition("```")[0]
    command, _, shown = opening.partition("\n")
    assert command == "$ glassloop run --timeline examples/breakfast.py"
    done = subprocess.run(
        [sys.executable, "-m", *command.removeprefix("$ ").split()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and writer.mask(done.stderr) == writer.mask(shown)
    eggs = next(line for line in done.stderr.splitlines() if line.startswith("eggs"))
    assert re.search("█░+▒+.*░+█ done", eggs), "the eggs are ready, and cannot run"
