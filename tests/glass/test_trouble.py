"""What `glassloop why` says in each trouble of tools/why_times.py, which measures how quickly it does."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest


def load_tool() -> ModuleType:
    path = Path(__file__).parents[2] / "tools" / "why_times.py"
    spec = importlib.util.spec_from_file_location("why_times", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


tool = load_tool()
MANY = ("100,000 tasks", "100,000, six kinds")


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(one, id=one.name, marks=[pytest.mark.slow] if one.name in MANY else [])
        for one in tool.TROUBLES
    ],
)
def test_why_says_what_is_wrong(trouble: object, tmp_path: Path) -> None:
    with tool.running(trouble, tmp_path) as (pid, path):
        says = tool.expectation(trouble, path)
        run = tool.ask_until_said(pid, says)
    assert re.search(says, run.text), run.text
    assert "Traceback" not in run.text
