"""The lines above everything: whose loop it is, how busy, how many tasks, and what blocks it."""

from collections.abc import Iterator

from rich.text import Text

from glassloop.glass.histogram import Histogram
from glassloop.glass.layout import State
from glassloop.glass.model import Snapshot, share
from glassloop.glass.text import duration
from glassloop.top.cells import bar, fit, rate
from glassloop.top.lines import short_frame
from glassloop.top.look import command_text
from glassloop.top.rates import Rates

_BAR = 16


def head_lines(rates: Rates, width: int, note: str) -> Iterator[Text]:
    """Yield the lines; ``note`` says to the right of the first how the screen lives: every second, paused."""
    snapshot = rates.look.snapshot
    name = f"process {snapshot.pid}"
    room = max(1, width - len(name) - len(note) - 4)
    yield Text.assemble((name, "bold"), "  ", fit(command_text(snapshot), room), "  ", (note, "dim"))
    yield _doing(snapshot, width)
    yield _load(rates)
    yield _tasks(rates)


def _doing(snapshot: Snapshot, width: int) -> Text:
    age = duration(snapshot.now_ns - snapshot.started_ns)
    rest = f"  Python {snapshot.python} · {snapshot.thread_name} · for {age}"
    if snapshot.stuck is None:
        style = "bold yellow" if snapshot.is_over else "green"
        return Text.assemble((snapshot.status, style), (rest, "dim"))
    stuck = snapshot.stuck
    line = short_frame(stuck.line) if stuck.line is not None else "a line that is not known yet"
    when = "STUCK" if snapshot.alive else "died STUCK"
    before, after = f"{when} {duration(stuck.for_ns)}: ", f" at {line}"
    who = stuck.who[: max(8, width - len(before) - len(after))]
    return Text(f"{before}{who}{after}", style="bold red")


def _load(rates: Rates) -> Text:
    now = rates.look.snapshot
    then = rates.before.snapshot if rates.before is not None else None
    busy_ns = now.busy_ns - (then.busy_ns if then is not None else 0)
    idle_ns = now.idle_ns - (then.idle_ns if then is not None else 0)
    busy = min(1.0, max(0.0, share(busy_ns, busy_ns + idle_ns)))
    seconds = rates.length_ns / 1e9
    steps = (now.steps - (then.steps if then is not None else 0)) / seconds
    turns = (now.turns - (then.turns if then is not None else 0)) / seconds
    style = "red" if busy > 0.9 else "yellow" if busy > 0.7 else "green"
    figures = f" {busy:>4.0%} busy · {rate(steps, '0')} steps/s · {rate(turns, '0')} turns/s"
    return Text.assemble((bar(busy, _BAR), style), f"{figures} · timers {now.timers} · fds {now.fds}")


def _tasks(rates: Rates) -> Text:
    now = rates.look.snapshot
    found = Text(f"{len(now.table)} tasks: ")
    styles = ((State.RUNNING, "green"), (State.READY, "yellow"), (State.WAITING, ""))
    for number, (state, style) in enumerate(styles):
        found.append(", " if number else "")
        found.append(f"{now.table.count(state)} {state.name.lower()}", style)
    delays = now.delay_histogram.since(
        rates.before.snapshot.delay_histogram if rates.before is not None else Histogram.empty()
    )
    if delays.total:
        found.append(f" · delay p99 {duration(now.quantile_ns(delays, 0.99))}")
    if now.block_count:
        found.append(f" · {now.block_count} block{'s' * (now.block_count > 1)}", "yellow")
    return found
