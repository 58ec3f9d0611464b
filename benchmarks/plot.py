"""`python -m benchmarks.plot [RESULTS.json [PICTURE]]`: what `make bench` wrote, as one picture.

A bar for each question: how many times as good as uvloop glassloop is, by the question's first figure. Beside
the bar the best other loop, Node.js, and the limit, where they were asked. The axis is logarithmic: twice as
good is as far to the right of 1 as half as good is to the left. Needs matplotlib (requirements/bench.txt).
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import loops

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_OURS = "glassloop"
_RESULTS = Path("bench-results/latest.json")
_PICTURE = Path(__file__).parents[1] / "docs" / "benchmarks.svg"
_ROW_INCHES = 0.235
_WIDTH_INCHES = 11.0
_LEFT, _PLOT_WIDTH = 0.485, 0.325  # of the picture's width; titles to the left, figures to the right
_TITLE_AT, _OURS_AT, _PEER_AT = -1.43, 1.18, 1.56  # where titles begin and figures end, in widths of the axes
_LEAST, _MOST = 0.25, 16.0  # of the axis; what lies beyond says so

_INK, _PALE, _GRID = "#1f2328", "#59636e", "#d1d9e0"
_AHEAD, _BEHIND = "#0f766e", "#c2410c"
_PEER, _NODE, _LIMIT = "#7c3aed", "#3f8f29", "#1f2328"


@dataclass(frozen=True)
class Row:
    """One question: its family, title with unit, and the ratios to the reference loop."""

    family: str
    title: str
    unit: str
    ours: float | None  # None: it fails
    peer: tuple[str, float] | None  # the best of the others
    node: float | None
    limit: float | None


def rows_of(results: dict[str, Any]) -> list[Row]:
    """Return the rows of a run's results, in its order; without the questions that were skipped."""
    rows = []
    for question in results["questions"]:
        figures = question["figures"]
        if question["skipped"] is not None or not figures or _OURS not in figures[0]["ratios"]:
            continue
        ratios = {name: ratio for name, ratio in figures[0]["ratios"].items() if ratio is not None}
        peers = {
            name: ratio
            for name, ratio in ratios.items()
            if name not in (_OURS, loops.REFERENCE, loops.NODE, loops.LIMIT)
        }
        best = max(peers.items(), key=lambda item: item[1], default=None)
        rows.append(
            Row(
                question["family"],
                question["title"],
                figures[0]["unit"],
                ratios.get(_OURS),
                best,
                ratios.get(loops.NODE),
                ratios.get(loops.LIMIT),
            )
        )
    return rows


def draw(rows: Sequence[Row], machine: dict[str, str], target: Path) -> None:
    """Draw the rows, grouped by family, into an SVG or PNG file."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "glassloop"  # the same picture is the same file
    mpl.rcParams["font.size"] = 8.5
    families = list(dict.fromkeys(row.family for row in rows))
    slots = len(rows) + 1.6 * len(families)
    height = slots * _ROW_INCHES + 1.2
    figure = Figure(figsize=(_WIDTH_INCHES, height), facecolor="white")
    axes = figure.add_axes((_LEFT, 0.55 / height, _PLOT_WIDTH, 1 - 1.2 / height))
    axes.set_facecolor("white")
    axes.set_xscale("log", base=2)
    axes.set_xlim(_LEAST, _MOST)
    axes.set_ylim(slots, -0.4)
    beside = axes.get_yaxis_transform()  # x in widths of the axes
    for x, text in ((_OURS_AT, "glassloop"), (_PEER_AT, "best other loop")):
        axes.text(x, 0.75, text, transform=beside, ha="right", color=_PALE, size=8)
    place = 0.0
    for family in families:
        place += 1.0
        heading = family.upper() if family in ("http", "tls") else family.capitalize()
        axes.text(
            _TITLE_AT - 0.02, place - 0.25, heading, transform=beside, weight="bold", color=_INK, size=10
        )
        place += 0.6
        for row in rows:
            if row.family == family:
                _draw_row(axes, row, place)
                place += 1.0
    ticks = [0.25, 0.5, 1, 2, 4, 8, 16]
    axes.set_xticks(ticks, [f"{tick:g}×" for tick in ticks])
    axes.tick_params(axis="x", which="both", top=True, labeltop=True, length=0, labelcolor=_INK)
    axes.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    axes.set_yticks([])
    axes.grid(axis="x", color=_GRID, linewidth=0.6, zorder=0)
    axes.axvline(1, color=_PALE, linewidth=1.2, zorder=1)
    for side in axes.spines.values():
        side.set_visible(False)
    _legend(figure, height)
    python = machine.get("Python", "").partition(" ")[0]
    foot = [f"times as good as {loops.REFERENCE} (= 1×), to the right is better", f"CPython {python}"]
    foot += [machine[name] for name in ("CPU", "date") if name in machine]
    figure.text(0.5, 0.12 / height, " · ".join(foot), color=_PALE, ha="center", size=8)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=150, metadata={"Date": None} if target.suffix == ".svg" else None)


def _draw_row(axes: "Axes", row: Row, place: float) -> None:
    beside = axes.get_yaxis_transform()
    title, _, note = row.title.partition(" (")  # what a long title adds stands small
    axes.text(_TITLE_AT, place, title, transform=beside, va="center", color=_INK)
    unit = f"{note.removesuffix(')')} · {row.unit}" if note else row.unit
    axes.text(-0.025, place, unit, transform=beside, ha="right", va="center", color=_PALE, size=7)
    color = _AHEAD if row.ours is not None and row.ours >= 1 else _BEHIND
    if row.ours is not None:
        axes.barh(place, _within(row.ours) - 1, left=1, height=0.62, color=color, zorder=2)
    label = "fails" if row.ours is None else _times(row.ours)
    axes.text(_OURS_AT, place, label, transform=beside, ha="right", va="center", color=color, weight="bold")
    if row.peer is not None:
        label = f"{row.peer[0]} {_times(row.peer[1])}"
        axes.text(_PEER_AT, place, label, transform=beside, ha="right", va="center", color=_INK)
    for value, marker, color in (
        (row.limit, "|", _LIMIT),
        (row.node, "s", _NODE),
        (row.peer[1] if row.peer else None, "D", _PEER),
    ):
        if value is not None:
            axes.plot(
                _within(value),
                place,
                marker,
                color=color,
                markersize=11 if marker == "|" else 5.5,
                markeredgecolor=color if marker == "|" else "white",
                markeredgewidth=1.3 if marker == "|" else 0.6,
                zorder=5,
                clip_on=False,
            )


def _within(ratio: float) -> float:
    return min(max(ratio, _LEAST), _MOST)


def _times(ratio: float) -> str:
    return f"{ratio:.2f}×" if ratio < 9.95 else f"{ratio:.0f}×"


def _legend(figure: "Figure", height: float) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    entries = [
        Patch(color=_AHEAD, label=f"glassloop, ahead of {loops.REFERENCE}"),
        Patch(color=_BEHIND, label="glassloop, behind"),
        Line2D(
            [], [], color=_PEER, marker="D", linestyle="", markersize=5.5, label="the best of the other loops"
        ),
        Line2D([], [], color=_NODE, marker="s", linestyle="", markersize=5.5, label="Node.js"),
        Line2D([], [], color=_LIMIT, marker="|", linestyle="", markersize=11, label="limit: C, no loop"),
    ]
    figure.legend(
        handles=entries,
        ncols=len(entries),
        loc="upper center",
        bbox_to_anchor=(0.5, 1 - 0.05 / height),
        frameon=False,
        labelcolor=_INK,
        fontsize=8.5,
        columnspacing=1.4,
        handletextpad=0.5,
    )


def main() -> int:
    """Draw what the last run gave."""
    given = [Path(word) for word in sys.argv[1:]]
    source = given[0] if given else _RESULTS
    target = given[1] if len(given) > 1 else _PICTURE
    if not source.exists():
        print(f"{source} is not there: `make bench` writes it", file=sys.stderr)
        return 1
    results = json.loads(source.read_text(encoding="utf-8"))
    rows = rows_of(results)
    if not rows:
        print(f"{source} has no answers of glassloop's beside {loops.REFERENCE}'s", file=sys.stderr)
        return 1
    draw(rows, results["machine"], target)
    print(f"{target}: {len(rows)} questions")
    return 0


if __name__ == "__main__":
    sys.exit(main())
