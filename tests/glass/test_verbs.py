"""`glassloop ps`, `why` and `trace` on pages that the test writes: words, JSON, exit statuses, errors."""

import io
import json
import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from glassloop import cli
from glassloop.cli._targets import Style
from glassloop.glass import layout
from glassloop.glass.layout import Awaited, Phase, Running, State

from .support import START_NS, SyntheticPage

MS = 1_000_000
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def left(tmp_path: Path) -> Iterator[SyntheticPage]:
    """The page that a program left in a file; no process of its number is there any more."""
    fd = os.open(tmp_path / "left", os.O_RDWR | os.O_CREAT)
    page = SyntheticPage(fd)
    page.set_header(pid=4194999)
    yield page
    os.close(fd)


@pytest.fixture
def own_page() -> Iterator[SyntheticPage]:
    """A page of the process that runs the tests."""
    fd = os.memfd_create("glassloop", os.MFD_CLOEXEC)
    page = SyntheticPage(fd)
    page.set_header(thread_name=b"synthetic")
    mapping = mmap.mmap(fd, layout.page_size(64, 64))
    yield page
    mapping.close()
    os.close(fd)


@pytest.fixture
def file(left: SyntheticPage, tmp_path: Path) -> str:
    return str(tmp_path / "left")


def run(capsys: Capture, *words: str) -> tuple[int, str]:
    status = cli.main(words)
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out + shown.err, "no colour and no escape code where there is no terminal"
    return status, shown.out + shown.err


def run_json(capsys: Capture, *words: str) -> tuple[int, Any]:
    status = cli.main(words)
    return status, json.loads(capsys.readouterr().out)


def quiet(page: SyntheticPage) -> None:
    page.waits(1, 1, "tasks", "sleep", name="sleeper")
    page.set_live(phase=Phase.POLLING, now_ticks=page.at(50), now_ns=START_NS + 50 * MS, timers=1)


def stuck(page: SyntheticPage) -> None:
    work = page.add_site("work", "/app/main.py", 10)
    page.set_task(1, 7, name="hog", coroutine=work)
    page.add_block(10, 700, b"/usr/lib/python3.13/json/x.py\t1\tdumps\n/app/main.py\t17\twork\n", task=7)
    page.set_live(running_kind=Running.TASK, running_slot=1, step_ticks=page.at(10))


def test_why_all_is_well(left: SyntheticPage, file: str, capsys: Capture) -> None:
    quiet(left)
    status, text = run(capsys, "why", file)
    assert status == 0
    assert "process 4194999" in text and "python app.py --fast" in text
    assert "1 waiting" in text and "sleeper for a sleep to end" in text
    assert "has ended without closing its loop" in text


def test_why_of_a_closed_loop(left: SyntheticPage, file: str, capsys: Capture) -> None:
    left.set_live(phase=Phase.CLOSED)
    status, text = run(capsys, "why", file)
    assert status == 0 and "The loop is closed." in text


def test_why_names_the_line_that_blocks(left: SyntheticPage, file: str, capsys: Capture) -> None:
    stuck(left)
    status, text = run(capsys, "why", file)
    assert status == 1
    assert "STUCK, for 690 ms: task hog blocks the loop" in text
    assert "at /app/main.py:17 work" in text


def test_why_as_json(left: SyntheticPage, file: str, capsys: Capture) -> None:
    stuck(left)
    status, read = run_json(capsys, "why", file, "--json")
    (loop,) = read["loops"]
    assert status == 1 and loop["trouble"] is True and loop["alive"] is False
    assert loop["stuck"]["line"] == {"file": "/app/main.py", "line": 17, "function": "work"}
    assert loop["stuck"]["for_ns"] == 690 * MS and len(loop["stuck"]["stack"]) == 2
    (task,) = loop["tasks"]
    assert task["state"] == "running" and task["coroutine"] == "main.py:10 work"
    assert loop["states"] == {"ready": 0, "running": 1, "waiting": 0, "done": 0}


def test_why_shows_who_waits_for_whom(left: SyntheticPage, file: str, capsys: Capture) -> None:
    left.set_task(1, 1, name="a", awaited=Awaited.TASK, subject=2)
    left.set_task(2, 2, name="b", awaited=Awaited.TASK, subject=1)
    left.set_live(phase=Phase.POLLING, now_ticks=left.at(50), now_ns=START_NS + 50 * MS)
    status, text = run(capsys, "why", file)
    assert status == 1 and "wait cycle: a awaits b awaits a" in text


def test_why_fits_on_a_screen(left: SyntheticPage, file: str, capsys: Capture) -> None:
    for number in range(1, 50):
        site = left.add_site(f"function_{number}", "/app/main.py", number)
        left.set_task(number, number, site=site, awaited=Awaited.FUTURE, coroutine=site)
    left.set_live(phase=Phase.POLLING)
    _, text = run(capsys, "why", file)
    assert len(text.splitlines()) <= 24 and "and 41 more places: --all shows them" in text
    _, text = run(capsys, "why", file, "--all")
    assert "function_49" in text


def test_why_of_a_living_process(own_page: SyntheticPage, capsys: Capture) -> None:
    """Its clock is the machine's, and its step has lasted since the machine's start."""
    own_page.set_header(start_ns=0, start_ticks=0, slow_ms=3600_000)
    own_page.set_live(running_kind=Running.HANDLE, step_ticks=1, now_ticks=1, now_ns=1)
    _, read = run_json(capsys, "why", str(os.getpid()), "--json")
    loop = next(one for one in read["loops"] if one["thread"] == "synthetic")
    assert loop["alive"] is True and loop["pid"] == os.getpid()


@pytest.mark.parametrize("verb", ["why", "trace"])
def test_what_cannot_be_read(verb: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "text").write_text("no page")
    for target, words in (
        ("4194999", "there is no process 4194999"),
        (str(tmp_path / "absent"), "there is no file"),
        (str(tmp_path / "text"), "is no page of a loop"),
    ):
        status, text = run(capsys, verb, target)
        assert status == 3 and text.startswith(f"glassloop {verb}: ") and words in text


def test_why_with_a_hostile_page(left: SyntheticPage, file: str, capsys: Capture) -> None:
    evil = b"\x1b]0;title\x07\x1b[2J\x9b31m\r\nx"
    site = left.add_site(evil, evil, 1)
    left.set_task(1, 1, name=evil, site=site, coroutine=site, creator=site, awaited=Awaited.FUTURE)
    left.set_header(command=evil, thread_name=evil, python=evil)
    left.add_block(0, 500, evil + b"\t7\t" + evil + b"\n", name=evil, task=1)
    left.set_live(running_kind=Running.TASK, running_slot=1, step_ticks=left.at(0))
    status, text = run(capsys, "why", file)
    assert status == 1 and "\x9b" not in text and "\r" not in text
    assert "title" not in text


def test_ps(own_page: SyntheticPage, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    own_page.set_live(phase=Phase.POLLING, tasks=3)
    monkeypatch.setattr("time.sleep", lambda _: own_page.count("delay", *[50_000] * 100))
    status, text = run(capsys, "ps")
    (line,) = [line for line in text.splitlines() if "synthetic" in line]
    assert status == 0 and text.split()[:3] == ["PID", "THREAD", "UTIL"]
    assert line.split()[0] == str(os.getpid()) and "waiting" in line and "µs" in line
    assert line.endswith("python app.py --fast")


def test_ps_as_json_tells_who_is_stuck(own_page: SyntheticPage, capsys: Capture) -> None:
    own_page.set_header(start_ns=0, start_ticks=0)
    own_page.set_live(running_kind=Running.TASK, running_slot=1, step_ticks=1, now_ticks=1, now_ns=1)
    status, read = run_json(capsys, "ps", "--json")
    loop = next(one for one in read["loops"] if one["thread"] == "synthetic")
    assert (
        status == 0 and loop["stuck"] is True and loop["stuck_ns"] > 0 and loop["status"].startswith("STUCK")
    )


def test_ps_leaves_out_closed_loops(own_page: SyntheticPage, capsys: Capture) -> None:
    own_page.set_live(phase=Phase.CLOSED)
    assert "synthetic" not in run(capsys, "ps")[1]
    assert "synthetic" in run(capsys, "ps", "--closed")[1]


def test_ps_goes_on_past_a_damaged_page(own_page: SyntheticPage, capsys: Capture) -> None:
    own_page.set_header(version=99)
    status, text = run(capsys, "ps")
    assert status == 0 and f"process {os.getpid()}" in text and "version 99" in text


def fill(page: SyntheticPage) -> None:
    page.step(1, 0, 10, State.WAITING, page.asyncio_site("tasks", "sleep"))
    page.wake(1, 900, Running.HANDLE)
    page.step(1, 900, 100, State.DONE)
    page.set_live(phase=Phase.CLOSED, now_ticks=page.at(1000), now_ns=START_NS + 1000 * MS)


def test_trace_in_the_terminal(left: SyntheticPage, file: str, capsys: Capture) -> None:
    fill(left)
    status, text = run(capsys, "trace", file)
    lines = text.splitlines()
    assert status == 0 and lines[0].startswith("time →") and lines[0].endswith("1.0s")
    assert lines[1].startswith("Task-1") and lines[1].endswith("█ done")


@pytest.mark.parametrize(
    ("suffix", "begins"), [(".html", b"<!DOCTYPE html>"), (".json", b"{"), (".pftrace", b"\x0a")]
)
def test_trace_into_a_file(
    left: SyntheticPage, file: str, tmp_path: Path, capsys: Capture, suffix: str, begins: bytes
) -> None:
    fill(left)
    out = tmp_path / f"out{suffix}"
    status, text = run(capsys, "trace", file, "-o", str(out))
    assert status == 0 and "1 tasks, 3 records" in text
    assert out.read_bytes().startswith(begins)


def test_trace_as_json(left: SyntheticPage, file: str, capsys: Capture) -> None:
    fill(left)
    status, read = run_json(capsys, "trace", file, "--json")
    assert status == 0 and read["length_ns"] == 1000 * MS and read["missing_before_ns"] == 0
    assert [one["state"] for one in read["tasks"][0]["intervals"]] == [
        "running",
        "waiting",
        "running",
        "done",
    ]


def test_trace_draws_as_many_tasks_as_asked_for(left: SyntheticPage, file: str, capsys: Capture) -> None:
    for number in range(5):
        left.step(number + 1, number, 0.5, State.DONE)
    status, text = run(capsys, "trace", file, "--tasks", "2")
    assert status == 0 and "and 3 more tasks, which ran less" in text


class Terminal(io.StringIO):
    """A stream that calls itself a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        raise OSError(25, "Inappropriate ioctl for device")


@pytest.mark.parametrize(("value", "colours"), [(None, True), ("", True), ("1", False), ("0", False)])
def test_colours_are_for_terminals_and_no_color_is_obeyed(
    monkeypatch: pytest.MonkeyPatch, value: str | None, colours: bool
) -> None:
    """https://no-color.org: any value but the empty one."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    if value is not None:
        monkeypatch.setenv("NO_COLOR", value)
    assert Style.of(Terminal()).in_colour is colours
    assert not Style.of(io.StringIO()).in_colour


def test_trace_into_a_file_that_cannot_be_written(left: SyntheticPage, file: str, capsys: Capture) -> None:
    status, text = run(capsys, "trace", file, "-o", "/nonexistent/x.html")
    assert status == 3 and "cannot write /nonexistent/x.html: No such file" in text


@pytest.mark.parametrize(
    "words",
    [
        ["trace"],
        ["trace", "1", "-o", "x.txt"],
        ["trace", "1", "--seconds", "-1"],
        ["trace", "1", "--seconds", "x"],
    ]
    + [["trace", "1", "--tasks", "0"], ["trace", "1", "--tasks", "many"]]
    + [["why"], ["why", "1", "2"], ["ps", "1"], ["trace", "1", "--seconds", "nan"]],
    ids=str,
)
def test_a_wrong_command_line(words: list[str], capsys: Capture) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: glassloop")
