"""A history as a picture of characters: one line a task, time from left to right."""

from collections.abc import Iterator

from glassloop.glass.history import History, Lane
from glassloop.glass.layout import State
from glassloop.glass.text import duration, shorten

RUNNING, READY, WAITING = "█", "▒", "░"
LEGEND = f"{RUNNING} runs  {READY} ready to run  {WAITING} waits"
_LABEL_WIDTH = 24
_SUFFIX_WIDTH = 30
_NARROWEST = 20


def draw(history: History, width: int = 100, most_lanes: int = 40) -> Iterator[str]:
    """Yield the picture's lines: a scale, a line a task (those that ran most, if too many), a legend."""
    lanes = history.lanes
    if len(lanes) > most_lanes:
        busiest = sorted(lanes, key=lambda lane: -lane.total_ns(State.RUNNING))[:most_lanes]
        chosen = {lane.task_id for lane in busiest}
        lanes = [lane for lane in lanes if lane.task_id in chosen]
    labels = [shorten(_label(lane), _LABEL_WIDTH) for lane in lanes]
    label_width = max([8, *(len(label) for label in labels)])
    suffixes = [shorten(_ends_as(lane, history), _SUFFIX_WIDTH) for lane in lanes]
    columns = max(_NARROWEST, width - label_width - max([0, *(len(suffix) for suffix in suffixes)]) - 2)
    yield "time →".ljust(label_width) + " " + _scale(history.length_ns, columns)
    for lane, label, suffix in zip(lanes, labels, suffixes, strict=True):
        yield f"{label:<{label_width}} {''.join(cells(lane, history, columns)).rstrip()} {suffix}".rstrip()
    if len(lanes) < len(history.lanes):
        yield f"and {len(history.lanes) - len(lanes)} more tasks, which ran less"
    yield LEGEND


def cells(lane: Lane, history: History, columns: int) -> list[str]:
    """Return the characters of one lane. A task that ran at all in a column's time shows as running."""
    share_ns = history.length_ns / columns
    ran = [False] * columns
    ready = [0.0] * columns
    waiting = [0.0] * columns
    for interval in lane.intervals:
        if interval.state is State.DONE:
            continue
        start, end = interval.start_ns - history.start_ns, interval.end_ns - history.start_ns
        first = min(columns - 1, int(start / share_ns))
        last = min(columns - 1, max(first, int((end - 1) / share_ns)))
        for column in range(first, last + 1):
            if interval.state is State.RUNNING:
                ran[column] = True
            else:
                length = min(end, (column + 1) * share_ns) - max(start, column * share_ns)
                (ready if interval.state is State.READY else waiting)[column] += length
    return [
        RUNNING
        if ran[i]
        else " "
        if ready[i] + waiting[i] <= 0
        else READY
        if ready[i] > waiting[i]
        else WAITING
        for i in range(columns)
    ]


def _scale(length_ns: int, columns: int) -> str:
    ends = f"{length_ns / 1e9:.1f}s" if length_ns >= 100_000_000 else duration(length_ns).replace(" ", "")
    return "0.0s".ljust(max(0, columns - len(ends))) + ends


def _label(lane: Lane) -> str:
    function = lane.function.rpartition(".")[2]  # without its class, or the function around it
    return f"{lane.name} {function}" if function and function not in lane.name else lane.name


def _ends_as(lane: Lane, history: History) -> str:
    """Return in words what became of the task in the time shown."""
    if not lane.intervals:
        return ""
    last = lane.intervals[-1]
    if last.state is State.DONE:
        return "done"
    if last.end_ns < history.end_ns:
        return ""
    if last.state is State.WAITING:
        return f"waits for {history.wait_text(last.site)}" if last.site else "waits"
    return "runs" if last.state is State.RUNNING else "ready"
