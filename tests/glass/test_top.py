"""`glassloop top` on real programs: in Textual's pilot, and once in a terminal of its own."""

import asyncio
import contextlib
import importlib.util
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from glassloop import cli
from glassloop.glass.errors import BadPageError
from glassloop.top.app import TopApp
from glassloop.top.lines import LoopLines, TaskLines
from glassloop.top.loop_screen import LoopScreen
from glassloop.top.loops import open_pages
from glassloop.top.loops_screen import LoopsScreen
from glassloop.top.rows import Rows
from glassloop.top.task_list import Order
from glassloop.top.task_screen import TaskScreen

from .programs import PATIENCE_S, Program, Start
from .support import MakePage

Capture = pytest.CaptureFixture[str]
TWO_TASKS = """
    lock = asyncio.Lock()
    await lock.acquire()
    tasks = [asyncio.create_task(lock.acquire(), name="[red]waiter[/]")]
    tasks.append(asyncio.create_task(ticker(), name="ticker"))
    ready()
    await asyncio.gather(*tasks)
"""
TICKER = """
async def ticker():
    while True:
        await asyncio.sleep(0.005)
"""


def text_of(app: TopApp, selector: str) -> str:
    return str(app.screen.query_one(selector, Static).content)


def names_in(app: TopApp) -> list[str]:
    source = app.screen.query_one("#tasks", Rows).source
    return (
        [source.tasks.row(n).task.name for n in range(len(source))] if isinstance(source, TaskLines) else []
    )


async def until(pilot: Pilot[None], condition: Callable[[], Any]) -> None:
    """Wait until the screen shows it: the program, and the looks at it, take their time."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never showed"
        await pilot.pause(0.02)


@contextlib.asynccontextmanager
async def watching(program: Program, interval_s: float = 0.1) -> AsyncIterator[tuple[TopApp, Pilot[None]]]:
    (page,) = open_pages(program.pid)
    app = TopApp(page, interval_s=interval_s)
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: names_in(app))
        yield app, pilot


def test_list_filter_and_a_tasks_page(start: Start) -> None:
    program = start(TWO_TASKS, TICKER)

    async def look() -> None:
        async with watching(program) as (app, pilot):
            await until(pilot, lambda: sorted(names_in(app)) == ["Task-1", "[red]waiter[/]", "ticker"])
            assert f"process {program.pid}" in text_of(app, "#head") and "3 tasks" in text_of(app, "#head")
            await pilot.press("slash", *"waiter lock")
            await until(pilot, lambda: names_in(app) == ["[red]waiter[/]"])
            assert "filter: waiter lock" in text_of(app, "#tabs")
            await pilot.press("enter", "enter")
            await until(pilot, lambda: isinstance(app.screen, TaskScreen))
            assert "[red]waiter[/]" in text_of(app, "#task-head") and "a lock" in text_of(app, "#task-head")
            await until(pilot, lambda: "Lock.acquire" in text_of(app, "#task-stack"))
            await pilot.press("p")
            await until(pilot, lambda: "Task-1" in text_of(app, "#task-head").splitlines()[0])
            line = program.line_of("await asyncio.gather")
            await until(pilot, lambda: f"{program.path.name}:{line} main" in text_of(app, "#task-stack"))
            await pilot.press("escape", "escape")
            await until(pilot, lambda: isinstance(app.screen, LoopScreen))
            await pilot.press("escape")
            await until(pilot, lambda: len(names_in(app)) == 3)

    asyncio.run(look())


def test_a_tasks_history_grows(start: Start) -> None:
    program = start(TWO_TASKS, TICKER)

    async def look() -> None:
        async with watching(program) as (app, pilot):
            await pilot.press("slash", *"ticker", "enter")
            await until(pilot, lambda: names_in(app) == ["ticker"])
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(app.screen, TaskScreen))
            await until(pilot, lambda: "then waits for a sleep to end" in text_of(app, "#task-history"))
            assert "woken: what it awaited is done, by a callback" in text_of(app, "#task-history")

    asyncio.run(look())


def test_sort_reverse_and_pause(start: Start) -> None:
    program = start(TWO_TASKS, TICKER)

    async def look() -> None:
        async with watching(program) as (app, pilot):
            screen = app.screen
            assert isinstance(screen, LoopScreen) and screen.query_now.order is Order.BUSY
            await pilot.press("left", "left", "left")
            await until(pilot, lambda: names_in(app) == ["[red]waiter[/]", "Task-1", "ticker"])
            await pilot.press("r")
            await until(pilot, lambda: names_in(app) == ["ticker", "Task-1", "[red]waiter[/]"])
            await pilot.press("down", "down", "space")
            await until(pilot, lambda: "PAUSED" in text_of(app, "#head") and not screen.is_looking)
            await pilot.pause(0.2)
            rates = screen.rates
            await pilot.pause(0.4)
            assert screen.rates is rates, "a screen that is paused does not look"
            await pilot.press("space")
            await until(pilot, lambda: screen.rates is not rates)
            await pilot.press("r")
            rows = screen.query_one("#tasks", Rows)
            await until(pilot, lambda: names_in(app)[0] == "[red]waiter[/]")
            assert rows.cursor == 0, "the cursor goes with its row"

    asyncio.run(look())


def test_a_stuck_loop_shows_the_line_that_blocks(start: Start) -> None:
    program = start(
        "ready()\nawait asyncio.create_task(work(), name='hog')", "async def work():\n    time.sleep(60)\n"
    )
    line = f"{program.path.name}:{program.line_of('time.sleep(60)')} work"

    async def look() -> None:
        async with watching(program) as (app, pilot):
            await until(pilot, lambda: "STUCK" in text_of(app, "#head") and line in text_of(app, "#head"))
            await pilot.press("2")
            await until(pilot, lambda: f"{program.path}:" in text_of(app, "#stack"))
            await pilot.press("1", "enter")
            await until(pilot, lambda: isinstance(app.screen, TaskScreen))
            assert "BLOCKS the loop" in text_of(app, "#task-head")
            assert "work" in text_of(app, "#task-stack")

    asyncio.run(look())


@pytest.mark.parametrize(("kill", "words"), [(True, "process ended"), (False, "closed")])
def test_a_loop_that_ends_meanwhile(start: Start, kill: bool, words: str) -> None:
    ending = "asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, asyncio.current_task().cancel)"
    program = start(
        f"import signal\n{ending}\nready()\nawait asyncio.sleep(60)",
        "import atexit\natexit.register(time.sleep, 60)\n",
    )

    async def look() -> None:
        async with watching(program) as (app, pilot):
            os.kill(program.pid, signal.SIGKILL if kill else signal.SIGUSR1)
            await until(pilot, lambda: words in text_of(app, "#head"))
            await until(pilot, lambda: "over" in text_of(app, "#head").splitlines()[0])
            await pilot.press("2", "3", "4", "tab", "l")
            await until(pilot, lambda: isinstance(app.screen, LoopsScreen))

    asyncio.run(look())


def test_choosing_a_loop(start: Start) -> None:
    program = start(TWO_TASKS, TICKER)

    async def look() -> None:
        app = TopApp(pid=program.pid, interval_s=0.1)
        async with app.run_test(size=(80, 24)) as pilot:

            def listed() -> list[int]:
                source = app.screen.query_one("#loops", Rows).source
                return [row.pid for row in source.rows] if isinstance(source, LoopLines) else []

            await until(pilot, lambda: listed() == [program.pid])
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(app.screen, LoopScreen) and len(names_in(app)) == 3)
            await pilot.press("question_mark", "escape", "l")
            await until(pilot, lambda: isinstance(app.screen, LoopsScreen))
            program.end()
            await until(pilot, lambda: not listed())

    asyncio.run(look())


def test_a_page_that_turns_bad(make_page: MakePage) -> None:
    page = make_page(tasks=64)
    page.set_task(1, 7, name="seven")

    async def look() -> None:
        app = TopApp(page.open(), interval_s=60)
        async with app.run_test() as pilot:
            await until(pilot, lambda: names_in(app) == ["seven"])
            screen = app.screen
            assert isinstance(screen, LoopScreen)
            screen.rates = None  # else nothing new is expected of a program that is gone
            page.set_live(slots_used=65)
            screen.tick()
            await until(pilot, lambda: "the page is damaged: 65 slots used of 64" in text_of(app, "#head"))
            page.set_live(slots_used=2)
            screen.tick()
            await until(pilot, lambda: "damaged" not in text_of(app, "#head"))

    asyncio.run(look())


def test_an_error_of_any_other_look_does_not_end_it(
    make_page: MakePage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise BadPageError("the page is\x1b[2J gone")

    page = make_page()
    monkeypatch.setattr("glassloop.top.look.take_snapshot", fail)

    async def look() -> None:
        app = TopApp(page.open(), interval_s=60)
        async with app.run_test() as pilot:
            await until(pilot, lambda: "the page is" in text_of(app, "#head"))
            await pilot.press("1", "2", "3", "4", "left", "r", "space", "enter", "slash", "a", "escape")

    asyncio.run(look())


def test_a_hundred_thousand_tasks(make_page: MakePage) -> None:
    """Only the lines on the screen are made, wherever they are in the list."""
    page = make_page(tasks=100_001)
    page.set_live(slots_used=100_001)
    slots = b"".join(
        (2).to_bytes(4, "little") + b"\2\0\0\0" + number.to_bytes(8, "little") + bytes(80)
        for number in range(100_001)
    )
    page.write("tasks", slots)

    async def look() -> None:
        app = TopApp(page.open(), interval_s=60)
        async with app.run_test(size=(80, 24)) as pilot:
            rows = app.screen.query_one("#tasks", Rows)
            await until(pilot, lambda: rows.source is not None and len(rows.source) == 100_000)
            assert isinstance(rows.source, TaskLines)
            made: list[int] = []
            line = rows.source.line
            rows.source.line = lambda index, width: made.append(index) or line(index, width)  # type: ignore[method-assign, func-returns-value]
            await pilot.press("end")
            await until(pilot, lambda: 99_999 in made)
            assert rows.cursor == 99_999 and len(set(made)) < 100
            await pilot.press("pageup", "up", "home")
            assert rows.cursor == 0

    asyncio.run(look())


def in_a_terminal(words: list[str], keys: bytes, **environment: str) -> tuple[int, bytes]:
    """Run a command in a terminal of its own; press the keys once it has drawn the name of the task."""
    try:
        controller, terminal = pty.openpty()
    except OSError as error:
        pytest.skip(f"no pseudo-terminal here: {error}")
    process = subprocess.Popen(
        [sys.executable, "-m", "glassloop", *words],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env=os.environ | {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"} | environment,
        start_new_session=True,
    )
    os.close(terminal)
    shown = b""
    pressed = False
    try:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if select.select([controller], [], [], 0.1)[0]:
                try:
                    shown += os.read(controller, 65536)
                except OSError:
                    break
            if not pressed and b"ticker" in shown:
                os.write(controller, keys)
                pressed = True
            if process.poll() is not None:
                break
        return process.wait(timeout=PATIENCE_S), shown
    finally:
        process.kill()
        process.wait()
        os.close(controller)


def test_in_a_terminal_without_colours(start: Start) -> None:
    program = start(TWO_TASKS, TICKER)
    status, shown = in_a_terminal(["top", str(program.pid), "--interval", "0.2"], b"q", NO_COLOR="1")
    assert status == 0 and b"ticker" in shown
    colours = [
        code
        for parameters in re.findall(rb"\x1b\[([0-9;]*)m", shown)
        for code in parameters.split(b";")
        if code and int(code) not in (39, 49) and (30 <= int(code) <= 49 or int(code) >= 90)
    ]
    assert colours == []


def test_no_terminal(capsys: Capture) -> None:
    assert cli.main(["top"]) == 3
    error = capsys.readouterr().err
    assert "this is for a terminal" in error and "glassloop why PID --json" in error


def test_no_textual(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *rest: None if name == "textual" else find(name, *rest)
    )
    assert cli.main(["top", "1"]) == 3
    assert "pip install 'glassloop[top]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("target", "words"), [("4194999", "no process 4194999"), ("/absent", "there is no file")]
)
def test_what_cannot_be_read(
    target: str, words: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert cli.main(["top", target]) == 3
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["1", "2"], ["--interval", "0"], ["--interval", "x"], ["--interval", "nan"]], ids=str
)
def test_a_wrong_command_line(words: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["top", *words])
    assert ended.value.code == 2 and "usage: glassloop" in capsys.readouterr().err
