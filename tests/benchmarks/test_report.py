"""The report of a benchmark run, of made-up answers: one table, losses and failures too; and its picture."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from benchmarks import loops, plot, report
from benchmarks.questions import SMOKE, Better, Effort, Failed, Figure, Question, Summary
from benchmarks.session import Asked, ask_all

LOOPS = ("asyncio", "uvloop", "glassloop", "rloop", "node")
MACHINE = {"CPU": "a CPU", "Python": "3.13.0 (GCC)", "date": "today"}


def question(
    name: str, values: dict[str, float | str], figure: Figure, family: str = "network", **more: Any
) -> Question:
    """A question to which each loop has the given answer; a text is why it fails."""

    def measure(loop: str, effort: Effort) -> dict[str, float]:
        value = values[loop]
        if isinstance(value, str):
            raise Failed(value)
        return {"value": value}

    return Question(family, name, f"title of {name}", (figure,), Summary.MEDIAN, measure, **more)


LESS = Figure("value", "µs", Better.LESS, target_ratio=2.0)
MORE = Figure("value", "requests/s", Better.MORE, target_ratio=2.0)


def ask(*questions: Question) -> list[Asked]:
    return ask_all(questions, LOOPS, SMOKE, 1, lambda line: None)


@pytest.fixture
def results() -> list[Asked]:
    return ask(
        question(
            "quick",
            {"asyncio": 20.0, "uvloop": 10.0, "glassloop": 4.0, "rloop": 8.0, "node": 30.0, "limit": 2.0},
            LESS,
            has_limit=True,
            has_node=True,
        ),
        question("slow", {"asyncio": 50.0, "uvloop": 100.0, "glassloop": 80.0, "rloop": 160.0}, MORE),
        question(
            "other", {"asyncio": 1.0, "uvloop": 2.0, "glassloop": 6.0, "rloop": "it hangs"}, MORE, "tls"
        ),
        question("absent", {}, LESS, unavailable="no such tool"),
    )


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_one_table_of_all(results: list[Asked]) -> None:
    text = report.markdown(results, LOOPS, MACHINE)
    table = [line for line in text.splitlines() if line.startswith("|")]
    head, rule, *rows = table
    assert len({len(line) for line in table}) == 1, "the columns are aligned"
    assert cells(head) == ["", "unit", *LOOPS, "limit", "target", "verdict"]
    assert [cells(row)[0] for row in rows] == [
        "**Network**",
        "title of quick",
        "title of slow",
        "**TLS**",
        "title of other",
    ]
    quick = "µs ↓|20.0 ×0.50|10.0|4.00 ×2.50|8.00 ×1.25|30.0 ×0.33|2.00 ×5.00|≥ ×2|met"
    assert cells(rows[1])[1:] == quick.split("|")
    slow = "requests/s ↑|50.0 ×0.50|100|80.0 ×0.80|160 ×1.60|||≥ ×2|MISSED"
    assert cells(rows[2])[1:] == slow.split("|")
    assert cells(rows[4])[5] == "fails"
    assert set(rule) <= set("|-: ")


def test_losses_failures_and_the_machine_are_below_it(results: list[Asked]) -> None:
    text = report.markdown(results, LOOPS, MACHINE)
    assert "## Targets missed\n\n- title of slow (requests/s): 80.0 ×0.80, target ≥ ×2" in text
    assert "title of slow (requests/s): uvloop ×1.25, rloop ×2.00" in text
    assert "- title of other: rloop: it hangs" in text
    assert "- title of absent: no such tool" in text
    assert "- CPU: a CPU" in text


def test_node_is_asked_only_what_it_can_answer(results: list[Asked]) -> None:
    assert [loops.NODE in asked.answers for asked in results] == [True, False, False, False]


def test_rows_of_the_picture(results: list[Asked]) -> None:
    rows = plot.rows_of(json.loads(json.dumps(report.as_json(results, MACHINE, {}))))
    third = 10.0 / 30.0
    assert rows == [
        plot.Row("network", "title of quick", "µs", 2.5, ("rloop", 1.25), third, 5.0),
        plot.Row("network", "title of slow", "requests/s", 0.8, ("rloop", 1.6), None, None),
        plot.Row("tls", "title of other", "requests/s", 3.0, ("asyncio", 0.5), None, None),
    ]


def test_the_picture(results: list[Asked], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    source, target = tmp_path / "results.json", tmp_path / "folder" / "picture.svg"
    source.write_text(json.dumps(report.as_json(results, MACHINE, {})))
    plot.draw(plot.rows_of(json.loads(source.read_text())), MACHINE, target)
    assert ET.parse(target).getroot().tag.endswith("svg")
    first = target.read_bytes()
    plot.draw(plot.rows_of(json.loads(source.read_text())), MACHINE, target)
    assert target.read_bytes() == first, "the same results are the same file"


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "`make bench` writes it"), ('{"questions": [], "machine": {}}', "has no answers of glassloop's")],
)
def test_no_results(
    content: str | None,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = tmp_path / "results.json"
    if content is not None:
        source.write_text(content)
    monkeypatch.setattr("sys.argv", ["plot", str(source), str(tmp_path / "picture.svg")])
    assert plot.main() == 1
    assert said in capsys.readouterr().err


def test_the_readme_shows_the_picture() -> None:
    root = Path(__file__).parents[2]
    assert "docs/benchmarks.svg" in (root / "README.md").read_text()
    assert ET.parse(root / "docs" / "benchmarks.svg").getroot().tag.endswith("svg")
