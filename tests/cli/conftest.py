"""What the command line's tests share: a program run by plain Python and by glassloop, as a shell would."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

Launch = Callable[..., "Outcome"]


class Outcome(NamedTuple):
    """All that a shell sees of a program that has ended."""

    stdout: str
    stderr: str
    status: int


@pytest.fixture
def launch(tmp_path: Path) -> Launch:
    """Run ``python [options] words…`` in the test's folder to its end, and return what a shell sees."""

    def start(
        words: Sequence[str],
        *,
        on_glassloop: bool,
        options: Sequence[str] = (),
        stdin: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> Outcome:
        through = ["-m", "glassloop", "run"] if on_glassloop else []
        done = subprocess.run(
            [sys.executable, *options, *through, *words],
            check=False,
            cwd=tmp_path,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, **(environment or {})},
        )
        return Outcome(done.stdout, done.stderr, done.returncode)

    return start
