"""What a loop answers when it is asked for its await stacks: text, parsed here without trust in it.

The form is described where it is written (``_core/await_stacks.py``): for each task a line ``#`` and its
number, a line of file, line and function for each coroutine, and facts, lines that begin with ``!``.
"""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from glassloop.glass.model import Frame
from glassloop.glass.text import clean

_MOST_FRAMES = 128
_MOST_FACTS = 256
_MOST_DIGITS = 20


class Holding(NamedTuple):
    """A task holds a lock, or a permit of a semaphore."""

    lock: str  # its identity
    text: str
    frame: Frame  # the coroutine that holds it, and where that stands
    is_sure: bool  # else it only looks so


class TaskAnswer(NamedTuple):
    """What the loop told of one task."""

    stack: tuple[Frame, ...] = ()  # the innermost last
    lock: str = ""  # identity of the lock that it waits for, or empty
    subject: str = ""  # what exactly it waits for, in words
    awaits: tuple[int, ...] = ()  # tasks that all must end before it goes on
    holds: tuple[Holding, ...] = ()
    is_lost: bool = False  # it waits for a future to which nothing else refers
    cancelling: int = 0  # how often it was asked to end


class ExecutorAnswer(NamedTuple):
    """The loop's own executor."""

    threads: int
    most: int
    queued: int


class ReadyHandler(NamedTuple):
    """A handler of add_reader() or add_writer() whose file descriptor is ready."""

    fd: int
    function: Frame  # with the line where it begins


_NO_TASKS: Mapping[int, TaskAnswer] = {}


class Answer(NamedTuple):
    """All that the loop told."""

    tasks: Mapping[int, TaskAnswer] = _NO_TASKS
    executor: ExecutorAnswer | None = None
    ready: tuple[ReadyHandler, ...] = ()
    left: int = 0  # tasks of which it did not get to tell

    @property
    def stacks(self) -> dict[int, tuple[Frame, ...]]:
        """The await stack of each task by its number, the innermost frame last."""
        return {number: task.stack for number, task in self.tasks.items()}

    def holders(self) -> dict[str, list[tuple[int, Holding]]]:
        """Return who holds each lock: those that surely do, or else those that look so."""
        found: dict[str, list[tuple[int, Holding]]] = {}
        for number, task in self.tasks.items():
            for holding in task.holds:
                found.setdefault(holding.lock, []).append((number, holding))
        for lock, holdings in found.items():
            certain = [one for one in holdings if one[1].is_sure]
            found[lock] = certain or holdings
        return found

    def waiters(self) -> Counter[str]:
        """Return how many tasks wait for each lock."""
        return Counter(task.lock for task in self.tasks.values() if task.lock)


def parse_answer(data: bytes) -> Answer:
    """Return what an answer says; what does not look like one is left out."""
    tasks: dict[int, TaskAnswer] = {}
    executor = None
    ready: tuple[ReadyHandler, ...] = ()
    left = 0
    for part in (b"\n" + data).split(b"\n#")[1:]:
        head, _, rest = part.partition(b"\n")
        number = _number(head.decode("ascii", "replace"))
        lines = [
            line.decode("utf-8", "replace").split("\t")
            for line in rest.split(b"\n", _MOST_FACTS)[:_MOST_FACTS]
        ]
        if number:
            tasks[number] = _task(lines)
        elif number == 0:
            executor = executor or next((_executor(line) for line in lines if line[0] == "!executor"), None)
            ready = ready or tuple(filter(None, (_ready(line) for line in lines if line[0] == "!ready")))
            left = left or max((_left(line) for line in lines), default=0)
    return Answer(tasks, executor, ready, left)


def _task(lines: list[list[str]]) -> TaskAnswer:
    stack: list[Frame] = []
    holds: list[Holding] = []
    lock = subject = ""
    awaits: tuple[int, ...] = ()
    is_lost = False
    cancelling = 0
    for line in lines:
        match line:
            case ["!waits", identity, text]:
                lock, subject = clean(identity), clean(text)
            case ["!awaits", numbers]:
                awaits = tuple(filter(None, map(_number, numbers.split(",")[:_MOST_FACTS])))
            case ["!holds", how, identity, text, *frame]:
                where = _frame(frame)
                if where is not None:
                    holds.append(Holding(clean(identity), clean(text), where, how == "sure"))
            case ["!lost"]:
                is_lost = True
            case ["!cancelling", count]:
                cancelling = _number(count) or 0
            case _:
                where = _frame(line)
                if where is not None and len(stack) < _MOST_FRAMES:
                    stack.append(where)
    return TaskAnswer(tuple(stack), lock, subject, awaits, tuple(holds), is_lost, cancelling)


def _executor(line: list[str]) -> ExecutorAnswer | None:
    match line:
        case ["!executor", "threads", threads, "of", most, "queued", queued]:
            found = [_number(threads), _number(most), _number(queued)]
            return None if None in found else ExecutorAnswer(*(number or 0 for number in found))
        case _:
            return None


def _left(line: list[str]) -> int:
    return (_number(line[1]) or 0) if len(line) == 2 and line[0] == "!left" else 0


def _ready(line: list[str]) -> ReadyHandler | None:
    fd = _number(line[1]) if len(line) == 5 else None
    function = _frame(line[2:])
    return ReadyHandler(fd, function) if fd is not None and fd < 2**31 and function is not None else None


def _frame(parts: list[str]) -> Frame | None:
    if len(parts) != 3 or parts[0].startswith("!"):
        return None
    line = _number(parts[1])
    return None if line is None or line >= 10**9 else Frame(clean(parts[0]), line, clean(parts[2]))


def _number(text: str) -> int | None:
    """Return the number that these decimal digits are; None if they are none, or too many."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= _MOST_DIGITS else None
