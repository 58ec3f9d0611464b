"""The loop's three histograms as text: quantiles, and a picture of how the values lie."""

from collections.abc import Callable, Iterator

from rich.text import Text

from glassloop.glass.histogram import Histogram, bucket_bounds
from glassloop.glass.text import duration
from glassloop.top.cells import fit
from glassloop.top.look import Look

QUANTILES = (0.5, 0.99, 0.999)
_PARTS = " ▁▂▃▄▅▆▇█"
_COLUMN = 11
_TITLE = 18
# Buckets of the page that one column of the picture holds: half a power of two.
_JOINED = 2

Format = Callable[[float], str]


def draw_histograms(look: Look, first: Look, before: Look | None, width: int, height: int) -> Iterator[Text]:
    """Yield lines: for each histogram its quantiles, in the last moment and since we look, and a picture."""
    snapshot = look.snapshot

    def as_time(ticks: float) -> str:
        return duration(snapshot.clock.length_ns(round(ticks)))

    def as_count(entries: float) -> str:
        return f"{entries:.0f}"

    parts: tuple[tuple[str, str, str, Format], ...] = (
        ("step_histogram", "step time", "how long a step of a task, or a callback, ran", as_time),
        ("delay_histogram", "scheduling delay", "how long tasks were ready until they ran", as_time),
        ("batch_histogram", "batch", "how many entries of the ready queue a turn ran", as_count),
    )
    # Each part is at least 5 lines, and a blank one between them; the rest is for pictures.
    spare = max(0, height - 6 * len(parts) + 1)
    with_meaning = spare >= len(parts)
    lines = 1 + min(6, (spare - len(parts) * with_meaning) // len(parts))
    heading = "".join(fit(name, _COLUMN, right=True) for name in ("count", "p50", "p99", "p99.9", "most"))
    for number, (field, title, meaning, form) in enumerate(parts):
        if number:
            yield Text("")
        now: Histogram = getattr(snapshot, field)
        whole = now.since(getattr(first.snapshot, field)) if first is not look else now
        moment = now.since(getattr(before.snapshot, field)) if before is not None else whole
        yield Text.assemble((fit(title, _TITLE), "bold"), (heading, "dim"))
        if with_meaning:
            yield Text(fit(meaning, max(0, width)), style="dim")
        yield Text(fit("  last moment", _TITLE) + _figures(moment, form))
        yield Text(
            fit("  since top ran" if first is not look else "  since start", _TITLE) + _figures(whole, form)
        )
        yield from (Text(line) for line in draw_values(whole, form, width, lines))


def _figures(histogram: Histogram, form: Format) -> str:
    if not histogram.total:
        return fit("none", _COLUMN, right=True)
    texts = [
        f"{histogram.total}",
        *(form(histogram.quantile(at)) for at in QUANTILES),
        form(_most(histogram)),
    ]
    return "".join(fit(text, _COLUMN, right=True) for text in texts)


def _most(histogram: Histogram) -> float:
    last = max(bucket for bucket, count in enumerate(histogram.counts) if count)
    return sum(bucket_bounds(last)) / 2


def draw_values(histogram: Histogram, form: Format, width: int, lines: int) -> Iterator[str]:
    """Yield a picture: from left to right the values, on a logarithmic scale, upwards how many there were."""
    if not histogram.total:
        return
    joined = [sum(histogram.counts[at : at + _JOINED]) for at in range(0, len(histogram.counts), _JOINED)]
    used = [at for at, count in enumerate(joined) if count]
    first, last = used[0], used[-1]
    shown = joined[first : last + 1]
    wide = max(1, min(6, (width - 2) // len(shown)))
    shown = shown[: max(1, (width - 2) // wide)]
    most = max(shown)
    # What came at all shows, be it ever so rare.
    heights = [max(1, round(count / most * lines * 8)) if count else 0 for count in shown]
    for line in range(lines - 1, -1, -1):
        yield "  " + "".join(_PARTS[max(0, min(8, height - 8 * line))] * wide for height in heights)
    left = form(bucket_bounds(first * _JOINED)[0])
    right = form(bucket_bounds(last * _JOINED + _JOINED - 1)[1])
    room = len(shown) * wide
    if len(left) + len(right) + 1 > room:
        yield f"  {left} to {right}"
    else:
        yield f"  {left}{right.rjust(room - len(left))}"
