"""The report of a run: markdown tables that read as plain text too, and every sample as JSON."""

from collections.abc import Sequence
from typing import Any

from benchmarks import loops
from benchmarks.questions import Better, Figure
from benchmarks.session import Asked

_OURS = "glassloop"
_NOTICEABLE = 1.02  # a peer is called faster from here on


def markdown(results: Sequence[Asked], loop_names: Sequence[str], machine: dict[str, str]) -> str:
    """Return the whole report."""
    parts = ["# glassloop's benchmarks", _key(), _table(results, loop_names)]
    parts += [
        _section("Targets missed", _missed(results)),
        _section("Where another loop is better (×n: n times as good as glassloop)", _losses(results)),
    ]
    parts += [_section("Fails", _failures(results)), _section("Skipped", _skipped(results))]
    parts.append(_section("Machine", [f"{name}: {value}" for name, value in machine.items()]))
    return "\n\n".join(part for part in parts if part) + "\n"


def verdict(asked: Asked, figure: Figure) -> str:
    """Return "met", "MISSED" or "FAILS" for our loop, or nothing where it has no target or was not asked."""
    answers = asked.answers.get(_OURS)
    if answers is None:
        return ""
    if answers.failure is not None:
        return "FAILS"
    value, ratio = asked.value(figure, _OURS), asked.ratio(figure, _OURS)
    if figure.target_value is not None and value is not None:
        return "met" if value <= figure.target_value else "MISSED"
    if figure.target_ratio is not None and ratio is not None:
        return "met" if round(ratio, 2) >= figure.target_ratio else "MISSED"  # as the table shows it
    return ""


def as_json(results: Sequence[Asked], machine: dict[str, str], settings: dict[str, Any]) -> dict[str, Any]:
    """Return everything that was measured, for machines."""
    questions = []
    for asked in results:
        question = asked.question
        questions.append(
            {
                "name": question.name,
                "family": question.family,
                "title": question.title,
                "summary": question.summary.value,
                "seconds": round(asked.seconds, 2),
                "skipped": question.unavailable,
                "failures": {name: a.failure for name, a in asked.answers.items() if a.failure is not None},
                "samples": {name: a.samples for name, a in asked.answers.items()},
                "figures": [_figure_as_json(asked, figure) for figure in question.figures],
            }
        )
    return {"machine": machine, "settings": settings, "reference": loops.REFERENCE, "questions": questions}


def _figure_as_json(asked: Asked, figure: Figure) -> dict[str, Any]:
    return {
        "key": figure.key,
        "unit": figure.unit,
        "better": figure.better.value,
        "target_ratio": figure.target_ratio,
        "target_value": figure.target_value,
        "verdict": verdict(asked, figure),
        "values": {name: asked.value(figure, name) for name in asked.answers},
        "ratios": {name: asked.ratio(figure, name) for name in asked.answers},
    }


def _key() -> str:
    return (
        f"×n: n times as good as {loops.REFERENCE} (above 1 is better, whichever way the unit goes: ↓ less, "
        "↑ more is better). "
        f"“limit”: C alone, no event loop. “target” and “verdict” are glassloop's."
    )


def _table(results: Sequence[Asked], loop_names: Sequence[str]) -> str:
    """One table of all: a row for each figure, each family under a row with its name."""
    asked_here = [asked for asked in results if asked.question.unavailable is None]
    columns = [name for name in loop_names if any(name in asked.answers for asked in asked_here)]
    if any(loops.LIMIT in asked.answers for asked in asked_here):
        columns.append(loops.LIMIT)
    head = ["", "unit", *columns, "target", "verdict"]
    rows: list[list[str]] = []
    for family in dict.fromkeys(asked.question.family for asked in asked_here):
        rows.append([f"**{_heading(family)}**", *[""] * (len(head) - 1)])
        for asked in asked_here:
            if asked.question.family == family:
                rows += [_row(asked, figure, columns) for figure in asked.question.figures]
    return "\n".join(_aligned(head, rows)) if rows else ""


def _heading(family: str) -> str:
    return family.upper() if family in ("http", "tls") else family.capitalize()


def _row(asked: Asked, figure: Figure, columns: Sequence[str]) -> list[str]:
    arrow = "↓" if figure.better is Better.LESS else "↑"
    values = [_cell(asked, figure, name) for name in columns]
    return [
        asked.question.title,
        f"{figure.unit} {arrow}",
        *values,
        _target(figure),
        verdict(asked, figure),
    ]


def _aligned(head: list[str], rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = []
    for row in [head, *rows]:
        padded = [
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("| " + " | ".join(padded) + " |")
    rule = ["-" * width if column < 2 else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    lines.insert(1, "| " + " | ".join(rule) + " |")
    return lines


def _cell(asked: Asked, figure: Figure, name: str) -> str:
    answers = asked.answers.get(name)
    if answers is None:
        return ""
    value = asked.value(figure, name)
    if value is None:
        return "fails"
    ratio = None if name == loops.REFERENCE else asked.ratio(figure, name)
    return _number(value) if ratio is None else f"{_number(value)} ×{ratio:.2f}"


def _number(value: float) -> str:
    """Return three significant digits, and no exponent."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def _target(figure: Figure) -> str:
    if figure.target_value is not None:
        return f"≤ {figure.target_value:g}"
    return "" if figure.target_ratio is None else f"≥ ×{figure.target_ratio:g}"


def _missed(results: Sequence[Asked]) -> list[str]:
    return [
        f"{asked.question.title} ({figure.unit}): {_cell(asked, figure, _OURS)}, target {_target(figure)}"
        for asked in results
        for figure in asked.question.figures
        if verdict(asked, figure) == "MISSED"
    ]


def _losses(results: Sequence[Asked]) -> list[str]:
    lines = []
    for asked in results:
        for figure in asked.question.figures:
            ahead = [
                f"{name} ×{ratio:.2f}"
                for name in asked.answers
                if name not in (_OURS, loops.LIMIT)
                and (ratio := asked.ratio(figure, name, reference=_OURS)) is not None
                and ratio >= _NOTICEABLE
            ]
            if ahead:
                lines.append(f"{asked.question.title} ({figure.unit}): {', '.join(ahead)}")
    return lines


def _failures(results: Sequence[Asked]) -> list[str]:
    return [
        f"{asked.question.title}: {name}: {answers.failure}"
        for asked in results
        for name, answers in asked.answers.items()
        if answers.failure is not None
    ]


def _skipped(results: Sequence[Asked]) -> list[str]:
    return [
        f"{asked.question.title}: {asked.question.unavailable}"
        for asked in results
        if asked.question.unavailable is not None
    ]


def _section(title: str, lines: list[str]) -> str:
    return f"## {title}\n\n" + "\n".join(f"- {line}" for line in lines) if lines else ""
