"""What the tests of files share: a program of file operations, run on Python's own file and on ours."""

import inspect
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Step(NamedTuple):
    """One call of a file's method."""

    method: str
    arguments: tuple[Any, ...] = ()

    def __repr__(self) -> str:
        return f"{self.method}({', '.join(map(repr, self.arguments))})"


class Outcome(NamedTuple):
    """What came of it: a value, or an error's type and text."""

    value: Any = None
    error: type[BaseException] | None = None
    text: str = ""


async def do(file: Any, step: Step) -> Outcome:
    """Take one step on either kind of file."""
    buffer = None
    arguments = step.arguments
    if step.method.startswith("readinto"):
        buffer = bytearray(arguments[0])
        arguments = (buffer,)
    try:
        value = getattr(file, step.method)(*arguments)
        if inspect.isawaitable(value):
            value = await value
    except Exception as error:  # noqa: BLE001 - whatever it is, both must raise it
        return Outcome(error=type(error), text=str(error))
    if buffer is not None:
        value = (value, bytes(buffer))
    return Outcome(value)


@dataclass
class Opened:
    """How a file is opened."""

    mode: str
    buffering: int = -1
    text: dict[str, Any] = field(default_factory=dict)

    def options(self) -> dict[str, Any]:
        return {"mode": self.mode, "buffering": self.buffering, **self.text}


@dataclass
class Program:
    """A file's contents, how it is opened, and what is done with it."""

    contents: bytes
    opened: Opened
    steps: list[Step]
