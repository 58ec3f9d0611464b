"""docs/files.md: its program is run, and must print what stands below it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from glassloop import files
from glassloop._io.file_engine import CHOICES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "files.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize(("source", "printed"), BLOCKS)
def test_a_program_prints_what_stands_below_it(source: str, printed: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", source],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout + done.stderr == printed


def test_the_page_says_what_there_is() -> None:
    assert len(BLOCKS) == TEXT.count("```python") >= 1
    told = set(re.findall(r"^\| `(\w+)`", TEXT, re.MULTILINE))
    assert told == set(CHOICES)
    functions = re.search(r"^- (`stat`.*) are `os`'s", TEXT, re.DOTALL | re.MULTILINE)
    assert functions is not None
    assert set(re.findall(r"`(\w+)`", functions[1])) <= set(files.__all__)


def test_the_page_is_linked() -> None:
    assert "docs/files.md" in (ROOT / "README.md").read_text()
