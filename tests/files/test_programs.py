"""Random programs of file operations on Python's own files and on ours: each step must come out the same."""

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from glassloop import files

from .support import Opened, Outcome, Program, Step, do

SIZES = st.one_of(st.integers(-1, 12), st.sampled_from([-1, 100, 4096, 8191, 8192, 8193, 20_000]))
SOME_SIZES = st.one_of(st.integers(0, 12), st.sampled_from([100, 8192, 8193, 20_000]))
BUFFERINGS = st.sampled_from([-1, -1, 2, 3, 7, 16, 8192])
TIMES = st.sampled_from([1, 1, 1, 3, 700, 3000])
NEWLINES = (None, "", "\n", "\r", "\r\n")
ENCODINGS = ("utf-8", "utf-8", "latin-1", "ascii", "utf-16", "utf-16-le", "utf-8-sig", "utf-32", "shift_jis")
ERRORS = ("strict", "replace", "ignore", "surrogateescape", "backslashreplace")


def step(method: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Step]:
    return st.tuples(*arguments).map(lambda values: Step(method, values))


def repeated(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.tuples(parts, TIMES).map(lambda pair: pair[0] * pair[1])


BYTES = repeated(st.binary(max_size=12) | st.text("ab\n", max_size=9).map(str.encode))
TEXT = repeated(st.text("ab\n\r \0é€😀", max_size=9))

POSITIONS = st.one_of(
    step("seek", st.integers(-3, 60)),
    step("seek", st.sampled_from([0, 4096, 8192, 30_000])),
    step("seek", st.integers(-30, 30), st.sampled_from([0, 1, 2, 3, 9])),
)
READS = st.one_of(
    step("read"),
    step("read", SIZES),
    step("readline"),
    step("readline", SIZES),
    step("readlines"),
    step("readlines", st.integers(-1, 40)),
)
WRITES = st.one_of(
    step("write", BYTES),
    step("write", BYTES.map(bytearray)),
    step("writelines", st.lists(st.binary(max_size=5), max_size=4)),
    step("truncate"),
    step("truncate", st.integers(0, 50)),
    step("flush"),
)
BINARY_STEPS = READS | WRITES | POSITIONS | step("tell") | step("readinto", SOME_SIZES)
# How much these give is up to the buffer. Of a file that is read and written ours has another one.
BUFFER_STEPS = (
    step("read1", SIZES) | step("read1") | step("peek") | step("peek", SIZES) | step("readinto1", SOME_SIZES)
)


@st.composite
def binary_programs(draw: st.DrawFn) -> Program:
    mode = draw(st.sampled_from(["rb", "rb", "wb", "ab", "xb", "r+b", "r+b", "w+b", "a+b", "x+b"]))
    buffering = draw(BUFFERINGS | st.just(0))
    steps = BINARY_STEPS
    if mode == "rb" and buffering:
        steps |= BUFFER_STEPS
    opened = Opened(mode, buffering)
    return Program(draw(BYTES), opened, draw(st.lists(steps, max_size=12)))


TEXT_STEPS = st.one_of(
    READS,
    step("seek", st.just(0), st.sampled_from([0, 0, 1, 2, 5])),
    step("seek", st.sampled_from([-2, 1]), st.sampled_from([0, 1, 2])),
    step("seek_back"),
    step("tell"),
    step("write", TEXT),
    step("write", TEXT),
    step("writelines", st.lists(st.text("ab\r\n", max_size=4), max_size=4)),
    step("truncate"),
    step("flush"),
)


@st.composite
def text_programs(draw: st.DrawFn) -> Program:
    mode = draw(st.sampled_from(["r", "r", "w", "a", "x", "r+", "w+", "a+"]))
    encoding = draw(st.sampled_from(ENCODINGS))
    options = {
        "encoding": encoding,
        "errors": draw(st.sampled_from(ERRORS)),
        "newline": draw(st.sampled_from(NEWLINES)),
    }
    text = draw(TEXT)
    contents = draw(st.just(text.encode(encoding, "ignore")) | BYTES)
    opened = Opened(mode, draw(BUFFERINGS | st.just(1)), options)
    return Program(contents, opened, draw(st.lists(TEXT_STEPS, max_size=12)))


class Pair:
    """The same program on two files of the same contents."""

    def __init__(self, program: Program, folder: Path) -> None:
        self.program = program
        self.stock_path, self.our_path = folder / "stock", folder / "ours"
        for path in (self.stock_path, self.our_path):
            path.unlink(missing_ok=True)
            if "x" not in program.opened.mode:
                path.write_bytes(program.contents)
        self.cookies: list[tuple[Any, Any]] = []
        self.last = ""
        self.log: list[str] = []

    def same(self, found: object, expected: object, what: str) -> None:
        """Fail with a text that does not grow with what was read."""
        if found != expected:
            story = "\n".join([f"{self.program.opened} of {self.program.contents!r:.200}", *self.log])
            text = f"{story}\n{what}: {found!r:.400}\nand io has: {expected!r:.400}"
            pytest.fail(text, pytrace=False)

    async def run(self) -> None:
        options = self.program.opened.options()
        stock = open(self.stock_path, **options)  # noqa: ASYNC230 - ours is compared with it
        ours = await files.open(self.our_path, **options)
        assert ours.mode == stock.mode
        try:
            for step in self.program.steps:
                if not await self.take(step, stock, ours):
                    break
        finally:
            closed, our_closed = await do(stock, Step("close")), await do(ours, Step("close"))
        self.same(our_closed, closed, "close()")
        self.same(self.our_path.read_bytes(), self.stock_path.read_bytes(), "what is in the file at the end")

    async def take(self, step: Step, stock: Any, ours: Any) -> bool:
        if step.method == "seek_back":
            if not self.cookies:
                return True
            where, our_where = self.cookies[-1]
            expected, found = (
                await do(stock, Step("seek", (where,))),
                await do(ours, Step("seek", (our_where,))),
            )
            self.log.append(f"seek({where}) -> {expected}")
            assert (found.value == our_where, found.error) == (expected.value == where, expected.error)
            return found.error is None
        if self.changes_direction(step) and "+" in self.program.opened.mode:
            # Whether a write after a read appends, and what is read after a write, io leaves to its buffer.
            if self.program.opened.text or "a" in self.program.opened.mode:
                for file in (stock, ours):
                    await do(file, Step("seek", (0, 2)))
        expected, found = await do(stock, step), await do(ours, step)
        self.log.append(f"{step!r:.100} -> {expected!s:.200}")
        if step.method == "tell" and expected.error is None:
            self.cookies.append((expected.value, found.value))
        if expected.text == "telling position disabled by next() call":
            return True  # ours tells it all the same
        self.same(found, expected, f"{step!r:.100}")
        if found.error is not None and issubclass(found.error, UnicodeError):
            return False  # where it stands then is no promise of io's
        # Before 3.13 io holds back a buffer that is just full: where it is appended shows later.
        holds_back = sys.version_info < (3, 13) and "a" in self.program.opened.mode
        if not self.program.opened.text and not holds_back:
            positions = await do(ours, Step("tell")), await do(stock, Step("tell"))
            self.same(*positions, f"the position after {step!r:.100}")
        return True

    def changes_direction(self, step: Step) -> bool:
        kind = (
            "w" if step.method.startswith("write") else "r" if step.method.startswith("read") else self.last
        )
        last, self.last = self.last, kind
        return kind != last


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


EXAMPLES = settings(
    max_examples=int(os.environ.get("GLASSLOOP_EXAMPLES", "300")),
    deadline=None,
    derandomize=True,  # GLASSLOOP_EXAMPLES=10000 finds more
    phases=set(Phase) - {Phase.explain},
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@EXAMPLES
@given(program=binary_programs())
def test_binary_programs(program: Program, loop: asyncio.AbstractEventLoop) -> None:
    with folder() as place:
        loop.run_until_complete(Pair(program, place).run())


@EXAMPLES
@given(program=text_programs())
def test_text_programs(program: Program, loop: asyncio.AbstractEventLoop) -> None:
    with folder() as place:
        loop.run_until_complete(Pair(program, place).run())


@pytest.mark.parametrize("mode", ["rb", "r"])
def test_outcomes_are_compared(mode: str, loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    """The tests above would be worth nothing if a difference did not show."""
    text = {} if "b" in mode else {"encoding": "utf-8"}
    pair = Pair(Program(b"abc", Opened(mode, -1, text), [Step("read")]), tmp_path)
    pair.our_path.write_bytes(b"abd")
    with pytest.raises(pytest.fail.Exception):
        loop.run_until_complete(pair.run())
    assert Outcome("abc") != Outcome("abd")
