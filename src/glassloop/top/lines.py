"""The lines of each table: which columns a width has room for, and how a row looks."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from rich.text import Text

from glassloop.glass.layout import State
from glassloop.glass.model import BlockView, Frame, own_frame
from glassloop.glass.text import shorten
from glassloop.top.cells import fit, fit_path, length, percent, rate
from glassloop.top.descriptors import Descriptor
from glassloop.top.loops import LoopRow
from glassloop.top.task_list import Order, TaskList, TaskRow

STATE_STYLES = {
    State.RUNNING: "bold green",
    State.READY: "yellow",
    State.WAITING: "",
    State.DONE: "dim",
}

# From here on a screen has room for more than the most needed.
_WIDE = 100


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the list of tasks."""

    order: Order
    width: int  # negative: its share of what the others leave
    least: int = 0  # the width of the screen from which on it shows
    right: bool = True


# The widest table that fits on 80 columns, and what a wider screen has room for.
_COLUMNS = (
    Column(Order.NAME, -3, right=False),
    Column(Order.STATE, 7, right=False),
    Column(Order.FOR, 9),
    Column(Order.BUSY, 5),
    Column(Order.READY, 6),
    Column(Order.WAITING, 5),
    Column(Order.WAKEUPS, 6),
    Column(Order.CPU, 9, least=_WIDE),
    Column(Order.STEPS, 8, least=130),
    Column(Order.COROUTINE, -3, least=_WIDE, right=False),
    Column(Order.REASON, -4, right=False),
)


# Words that stand to the right of figures.
_AFTER_FIGURES = (Order.COROUTINE, Order.REASON)


def columns_for(width: int) -> list[tuple[Column, int]]:
    """Return the columns that a screen of this width has room for, and the width of each."""
    shown = [column for column in _COLUMNS if column.least <= width]
    shares = -sum(column.width for column in shown if column.width < 0)
    gaps = sum(len(_gap(number, column)) for number, column in enumerate(shown))
    room = width - sum(max(0, column.width) for column in shown) - gaps
    found = [(one, one.width if one.width > 0 else max(6, -one.width * room // shares)) for one in shown]
    rest = width - gaps - sum(wide for _, wide in found)  # what the division left
    return [*found[:-1], (found[-1][0], max(6, found[-1][1] + rest))]


def sortable(width: int) -> list[Order]:
    """Return what the list can be sorted by where it is this wide: what is seen."""
    return [column.order for column, _ in columns_for(width)]


class TaskLines:
    """The list of tasks as rows."""

    def __init__(self, tasks: TaskList) -> None:
        self.tasks = tasks

    def __len__(self) -> int:
        return len(self.tasks)

    def heading(self, width: int) -> Text:
        """Return the columns' names; an arrow at the one by which the list is sorted."""
        found = Text()
        query = self.tasks.query
        for number, (column, wide) in enumerate(columns_for(width)):
            is_chosen = column.order is query.order
            arrow = ("▲" if query.is_reversed else "▼") if is_chosen else ""
            name = f"{arrow}{column.order.value}" if column.right else f"{column.order.value}{arrow}"
            found.append(_gap(number, column))
            found.append(fit(name, wide, right=column.right), "bold underline" if is_chosen else "bold")
        return found

    def line(self, index: int, width: int) -> Text:
        """Return one task."""
        row = self.tasks.row(index)
        found = Text()
        for number, (column, wide) in enumerate(columns_for(width)):
            text, style = _cell(row, column.order, wide)
            found.append(_gap(number, column))
            found.append(fit(text, wide, right=column.right), style)
        return found

    def key(self, index: int) -> Hashable:
        """Return the task's number."""
        return self.tasks.task_id(index)

    def find(self, key: Hashable) -> int | None:
        """Return the row of a task."""
        return self.tasks.find(key) if isinstance(key, int) else None


def _gap(number: int, column: Column) -> str:
    """Return what stands before a column: more where figures end and words begin."""
    return "" if not number else "  " if column.order in _AFTER_FIGURES else " "


def _cell(row: TaskRow, order: Order, width: int) -> tuple[str, str]:
    """Return (text, style) of one cell."""
    task = row.task
    match order:
        case Order.NAME:
            return shorten(task.name, width), "bold" if task.state is State.RUNNING else ""
        case Order.STATE:
            return task.state.name, STATE_STYLES[task.state]
        case Order.FOR:
            return length(task.state_ns), ""
        case Order.BUSY:
            return percent(row.busy), "green" if row.busy >= 0.05 else ""
        case Order.READY:
            return percent(row.ready), "yellow" if row.ready >= 0.05 else ""
        case Order.WAITING:
            return percent(row.waiting), "dim"
        case Order.WAKEUPS:
            return rate(row.wakeups), ""
        case Order.CPU:
            return length(task.cpu_ns) if task.cpu_ns else "·", ""
        case Order.STEPS:
            return str(task.steps), ""
        case Order.COROUTINE:
            return (task.coroutine.name if task.coroutine is not None else ""), ""
        case Order.REASON:
            return (task.reason.text if task.reason is not None else ""), ""


class BlockLines:
    """The steps that outlasted the limit, the newest first."""

    def __init__(self, blocks: Sequence[BlockView], now_ns: int) -> None:
        self.blocks = blocks
        self.now_ns = now_ns

    def __len__(self) -> int:
        return len(self.blocks)

    def heading(self, width: int) -> Text:
        """Return the columns' names."""
        return self._join(("BEGAN", "LASTED", "WHO", "LINE"), width, "bold")

    def line(self, index: int, width: int) -> Text:
        """Return one block."""
        block = self.blocks[index]
        lasted = f"{'≥' if not block.ended else ''}{length(block.length_ns)}"
        who = block.task_name if block.task_id else "a callback"
        line = own_frame(block.frames)
        began = f"{length(max(0, self.now_ns - block.began_ns))} ago"
        cells = (began, lasted, who, short_frame(line) if line is not None else "no stack was taken")
        return self._join(cells, width, "" if block.ended else "bold red")

    def _join(self, cells: tuple[str, str, str, str], width: int, style: str) -> Text:
        began, lasted, who, line = cells
        name = max(8, min(30, width // 4))
        parts = (
            fit(began, 14),
            fit(lasted, 10, right=True),
            fit(who, name),
            fit_path(line, max(1, width - 27 - name)),
        )
        return Text(" ".join(parts), style=style)

    def key(self, index: int) -> Hashable:
        """Return the block's number."""
        return self.blocks[index].number

    def find(self, key: Hashable) -> int | None:
        """Return the row of a block."""
        return next((index for index, block in enumerate(self.blocks) if block.number == key), None)


def frame_line(frame: Frame, width: int) -> Text:
    """Return one line of a stack; of a long path the end stays. The program's own code stands out."""
    where = fit_path(
        f"{frame.file}:{frame.line}", min(width, max(10, width - len(frame.function) - 1))
    ).rstrip()
    own = frame.is_own
    return Text.assemble((f"{where} ", "" if own else "dim"), (frame.function, "bold" if own else "dim"))


def short_frame(frame: Frame) -> str:
    """Return a line of code with the file's last part only."""
    return f"{frame.file.rpartition('/')[2]}:{frame.line} {frame.function}"


class DescriptorLines:
    """File descriptors."""

    _NAMES = ("FD", "FOR", "EVENTS/S", "BUSY", "WAKES/S", "WHAT")

    def __init__(self, descriptors: Sequence[Descriptor]) -> None:
        self.descriptors = descriptors

    def __len__(self) -> int:
        return len(self.descriptors)

    def heading(self, width: int) -> Text:
        """Return the columns' names."""
        return self._join(self._NAMES, width, "bold")

    def line(self, index: int, width: int) -> Text:
        """Return one descriptor."""
        one = self.descriptors[index]
        cells = (
            str(one.fd),
            one.wanted or "-",
            rate(one.events),
            percent(one.busy),
            rate(one.wakes),
            one.name,
        )
        return self._join(cells, width, "" if one.wanted else "dim")

    def _join(self, cells: tuple[str, ...], width: int, style: str) -> Text:
        fd, wanted, events, busy, wakes, what = cells
        parts = (
            fit(fd, 5, right=True),
            fit(wanted, 3),
            fit(events, 8, right=True),
            fit(busy, 5, right=True),
            fit(wakes, 7, right=True),
            fit(f" {what}", max(1, width - 33)),
        )
        return Text(" ".join(parts), style=style)

    def key(self, index: int) -> Hashable:
        """Return the descriptor."""
        return self.descriptors[index].fd

    def find(self, key: Hashable) -> int | None:
        """Return the row of a descriptor."""
        return next((index for index, one in enumerate(self.descriptors) if one.fd == key), None)


class LoopLines:
    """The loops of this machine."""

    _NAMES = ("PID", "UTIL", "TASKS", "READY", "P99", "STATUS", "THREAD", "COMMAND")

    def __init__(self, rows: Sequence[LoopRow]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def heading(self, width: int) -> Text:
        """Return the columns' names."""
        return self._join(self._NAMES, width, "bold")

    def line(self, index: int, width: int) -> Text:
        """Return one loop."""
        row = self.rows[index]
        delay = length(row.delay_p99_ns) if row.delay_p99_ns else "-"
        figures = (str(row.pid), f"{row.utilization:.0%}", str(row.tasks), str(row.ready), delay)
        return self._join(
            (*figures, row.status, row.thread, row.command), width, "bold red" if row.is_stuck else ""
        )

    def _join(self, cells: tuple[str, ...], width: int, style: str) -> Text:
        pid, util, tasks, ready, delay, status, thread, command = cells
        parts = [fit(pid, 7, right=True), fit(util, 5, right=True), fit(tasks, 7, right=True)]
        parts += [fit(ready, 6, right=True), fit(delay, 8, right=True), fit(status, 14)]
        parts += [fit(thread, 15)] if width >= _WIDE else []
        room = width - sum(len(part) + 1 for part in parts)
        return Text(" ".join([*parts, fit(command, max(1, room))]), style=style)

    def key(self, index: int) -> Hashable:
        """Return which page it is."""
        return self.rows[index].inode

    def find(self, key: Hashable) -> int | None:
        """Return the row of a loop."""
        return next((index for index, row in enumerate(self.rows) if row.inode == key), None)
