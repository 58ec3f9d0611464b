"""docs/offload.md: its programs are run, and must print what stands below them."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "offload.md"
BLOCKS = re.findall(
    r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE
)
PACKAGES = ("distributed", "ray")


def needs(source: str) -> str | None:
    """The package beside glassloop that a program imports."""
    return next(
        (name for name in PACKAGES if re.search(rf"^(import|from) {name}\b", source, re.MULTILINE)), None
    )


def same(text: str) -> str:
    """What must be the same each time: all but times, and how a version of Python words a pickling error."""
    text = re.sub(r"\d+\.\d s", "# s", text)
    return re.sub(r"(cannot be sent to a process )\(.*\)", r"\1(...)", text).strip()


def test_the_page_has_programs() -> None:
    assert len(BLOCKS) == PAGE.read_text().count("```python") >= 5
    assert [needs(source) for source, _ in BLOCKS].count(None) >= 3


@pytest.mark.parametrize(
    ("source", "printed"),
    [
        pytest.param(source, printed, marks=pytest.mark.slow if needs(source) == "ray" else ())
        for source, printed in BLOCKS
    ],
    ids=range(len(BLOCKS)),
)
def test_a_program_prints_what_stands_below_it(source: str, printed: str, tmp_path: Path) -> None:
    package = needs(source)
    if package is not None and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    program = tmp_path / "program.py"
    program.write_text(source)
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert same(done.stdout if package else done.stdout + done.stderr) == same(printed)


def test_the_page_is_linked() -> None:
    assert "docs/offload.md" in (ROOT / "README.md").read_text()
