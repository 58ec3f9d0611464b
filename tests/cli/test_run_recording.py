"""`glassloop run --timeline`, `--record` and `--why-on-exit`: and that the program does not notice."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Launch = Callable[..., Any]
RUN = [sys.executable, "-m", "glassloop", "run"]
PAST = "time →"

THREE_TASKS = """
import asyncio

async def fetch(seconds):
    await asyncio.sleep(seconds)

async def main():
    async with asyncio.TaskGroup() as group:
        group.create_task(fetch(0.01), name="first")
        group.create_task(fetch(0.03), name="second")

asyncio.run(main())
print("done")
"""


def picture(stderr: str) -> dict[str, str]:
    """The picture's lanes by the first word of their names."""
    lines = stderr[stderr.index(PAST) :].splitlines()
    end = next(number for number, line in enumerate(lines) if line.startswith("█ runs"))
    return {line.split()[0]: line for line in lines[1:end]}


def test_timeline(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(THREE_TASKS)
    outcome = launch(["--timeline", "program.py"], on_glassloop=True)
    assert (outcome.stdout, outcome.status) == ("done\n", 0)
    lanes = picture(outcome.stderr)
    assert list(lanes) == ["Task-1", "first", "second"], "the tasks are gone, and have their names"
    assert re.fullmatch(r"Task-1 main +█[█▒░]+█ done", lanes["Task-1"])
    assert re.fullmatch(r"first fetch +█[█▒░]+█ done", lanes["first"])
    assert len(lanes["second"]) > len(lanes["first"]), "it slept longer"
    assert "\x1b" not in outcome.stderr


def test_timeline_and_record_and_why(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(THREE_TASKS)
    outcome = launch(["--why-on-exit", "--record=out.rec", "--timeline", "program.py"], on_glassloop=True)
    assert outcome.status == 0 and "first" in picture(outcome.stderr)
    assert outcome.stderr.count("process ") == 1 and (tmp_path / "out.rec").exists()


def test_record_is_quiet(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(THREE_TASKS)
    assert launch(["--record", "out.rec", "program.py"], on_glassloop=True) == ("done\n", "", 0)
    assert (tmp_path / "out.rec").stat().st_mode & 0o777 == 0o600


SHOW = """
import asyncio, atexit, os, sys
atexit.register(print, "the program's own farewell")
print(sys.argv, sys.orig_argv, sys.path, sys.flags)
print(sorted(item for item in os.environ.items() if item[0] != "_"))
asyncio.run(asyncio.sleep(0))
"""
ENDS = {
    "returns": "",
    "raises": "1 / 0\n",
    "exits": "sys.exit(7)\n",
    "exits with words": "sys.exit('it went wrong')\n",
    "is interrupted": "import signal\nsignal.raise_signal(signal.SIGINT)\n",
    "prints without a newline": "print('no newline', end='')\n",
    "leaves a thread": "import threading\nthreading.Thread(target=print, args=('from a thread',)).start()\n",
    "closes its standard error": "sys.stderr.close()\n",
    "replaces its standard error": "import io\nsys.stderr = io.StringIO()\n",
}


@pytest.mark.parametrize("end", ENDS)
def test_the_program_sees_nothing_of_it(launch: Launch, tmp_path: Path, end: str) -> None:
    (tmp_path / "program.py").write_text(SHOW + ENDS[end])
    words = ["program.py", "--timeline", "-x"]
    plain = launch(words, on_glassloop=False)
    ours = launch(["--timeline", "--why-on-exit", "--record", "out.rec", *words], on_glassloop=True)
    assert (ours.stdout, ours.status) == (plain.stdout, plain.status)
    assert ours.stderr.startswith(plain.stderr)
    added = ours.stderr[len(plain.stderr) :]
    assert (PAST in added) == (end != "closes its standard error"), "what is added stands behind"
    assert "Traceback" not in added and "Exception ignored" not in added


def test_modules_and_code(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(THREE_TASKS)
    for words in (["-m", "module"], ["-c", THREE_TASKS], ["-"]):
        outcome = launch(["--timeline", *words], on_glassloop=True, stdin=THREE_TASKS)
        assert (outcome.stdout, outcome.status) == ("done\n", 0)
        assert "second" in picture(outcome.stderr)


def test_ctrl_c_in_the_loop(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import asyncio, signal\n\nasync def stuck():\n    await asyncio.Event().wait()\n\n"
        "async def main():\n    task = asyncio.create_task(stuck(), name='left')\n"
        "    await asyncio.sleep(0)\n"
        "    signal.raise_signal(signal.SIGINT)\n    await asyncio.sleep(60)\n\nasyncio.run(main())\n"
    )
    outcome = launch(["--why-on-exit", "--timeline", "program.py"], on_glassloop=True)
    assert outcome.status == -signal.SIGINT
    assert outcome.stderr.startswith("Traceback") and "KeyboardInterrupt\n\ntime →" in outcome.stderr
    assert re.search(r"left in program.py:4 stuck for an event", outcome.stderr), (
        "before asyncio.run cancelled it"
    )


def test_a_broken_pipe_is_told_as_python_tells_it(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("import asyncio\nasyncio.run(asyncio.sleep(0))\nprint('x' * 10)\n")
    outcomes = []
    for command in ([sys.executable], [*RUN, "--timeline"]):
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(
            [*command, "program.py"],
            cwd=tmp_path,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            env=os.environ | {"PYTHONUNBUFFERED": ""},
        )
        os.close(writing)
        outcomes.append(done)
    plain, ours = outcomes
    assert plain.returncode == ours.returncode == 120 and "BrokenPipeError" in plain.stderr
    assert ours.stderr.endswith(plain.stderr) and PAST in ours.stderr


def test_why_on_exit(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import asyncio, time\n\nasync def work(queue):\n    await queue.get()\n\n"
        "async def main():\n    task = asyncio.create_task(work(asyncio.Queue()), name='worker')\n"
        "    await asyncio.sleep(0)\n    time.sleep(0.3)  # blocks\n\nasyncio.run(main())\n"
    )
    outcome = launch(["--why-on-exit", "program.py"], on_glassloop=True)
    assert outcome.status == 0 and PAST not in outcome.stderr
    assert "worker in program.py:4 work for an item of a queue" in outcome.stderr
    assert "1 steps longer than 100 ms" in outcome.stderr
    assert re.search(r"task Task-1 blocked the loop for .* at \S*program.py:9 main", outcome.stderr)


def test_loops_that_are_never_closed(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import asyncio\n\nasync def forever():\n    await asyncio.Event().wait()\n\n"
        "async def main():\n    global task\n    task = asyncio.create_task(forever(), name='left')\n"
        "    await asyncio.sleep(0)\n\nloop = asyncio.new_event_loop()\nloop.run_until_complete(main())\n"
    )
    outcome = launch(["--timeline", "--why-on-exit", "program.py"], on_glassloop=True)
    assert picture(outcome.stderr)["left"].endswith("waits for an event")
    assert "left in program.py:4 forever for an event" in outcome.stderr


def test_of_many_loops_those_that_did_most(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import asyncio\n\nasync def main(count):\n    asyncio.current_task().set_name(f'loop{count}')\n"
        "    for _ in range(count):\n        await asyncio.sleep(0)\n\n"
        "for count in (500, 1, 400, 2, 300, 3, 200):\n    asyncio.run(main(count))\n"
    )
    outcome = launch(["--timeline", "program.py"], on_glassloop=True)
    assert re.findall(r"^loop\d+", outcome.stderr, re.MULTILINE) == [
        "loop500",
        "loop400",
        "loop300",
        "loop200",
    ]


def test_a_program_without_a_loop(launch: Launch) -> None:
    outcome = launch(["--timeline", "-c", "print('hello')"], on_glassloop=True)
    assert (outcome.stdout, outcome.status) == ("hello\n", 0)
    assert "no loop of glassloop's ran in this program" in outcome.stderr


def test_a_forked_child_prints_nothing_of_its_own(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import asyncio, os, sys, warnings\nwarnings.simplefilter('ignore')\n"
        "asyncio.run(asyncio.sleep(0))\nchild = os.fork()\n"
        "if child:\n    os.waitpid(child, 0)\nelse:\n    asyncio.run(asyncio.sleep(0))\n"
    )
    outcome = launch(["--timeline", "--record", "out.rec", "program.py"], on_glassloop=True)
    assert outcome.status == 0 and outcome.stderr.count(PAST) == 1
    (child,) = (path for path in tmp_path.glob("out.rec.*"))
    assert child.suffix[1:].isdecimal(), "FILE.PID: the parent's is not touched"


def test_each_loop_has_a_file(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import asyncio\nfor _ in range(3):\n    asyncio.run(asyncio.sleep(0))\n"
    )
    assert launch(["--record", "out.rec", "program.py"], on_glassloop=True).status == 0
    assert sorted(path.name for path in tmp_path.glob("out.rec*")) == ["out.rec", "out.rec.2", "out.rec.3"]


def test_there_is_a_limit_to_files(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import asyncio\nfor _ in range(25):\n    asyncio.run(asyncio.sleep(0))\n"
    )
    outcome = launch(
        ["--record", "out.rec", "program.py"], on_glassloop=True, environment={"GLASSLOOP_RECORDS": "64"}
    )
    assert outcome.status == 0 and len(list(tmp_path.glob("out.rec*"))) == 20
    assert outcome.stderr.count("there are 20 files already") == 1


def test_a_ring_that_overran_says_what_is_missing(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import asyncio\n\nasync def main():\n    for _ in range(500):\n        await asyncio.sleep(0)\n\n"
        "asyncio.run(main())\n"
    )
    outcome = launch(
        ["--timeline", "--record", "out.rec", "program.py"],
        on_glassloop=True,
        environment={"GLASSLOOP_RECORDS": "100"},
    )
    said = r"the ring holds the newest 127 of 5\d\d records: the first \d.* are missing"
    assert re.search(said, outcome.stderr)
    done = subprocess.run(
        [sys.executable, "-m", "glassloop", "trace", "out.rec"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 and re.search(said, done.stderr) and PAST in done.stdout


def test_what_kill_9_leaves(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import asyncio, os, signal\n\nasync def victim():\n    await asyncio.sleep(0.02)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n\nasync def bystander(event):\n    await event.wait()\n\n"
        "async def main():\n    task = asyncio.create_task(bystander(asyncio.Event()), name='bystander')\n"
        "    await asyncio.create_task(victim(), name='victim')\n\nasyncio.run(main())\n"
    )
    process = subprocess.Popen([*RUN, "--record", "out.rec", "program.py"], cwd=tmp_path)
    assert process.wait(60) == -signal.SIGKILL
    assert (tmp_path / "out.rec").stat().st_mode & 0o777 == 0o600
    shown = {}
    for verb in ("why", "trace"):
        done = subprocess.run(
            [sys.executable, "-m", "glassloop", verb, "out.rec"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stderr == "" and done.returncode in (0, 1)
        shown[verb] = done.stdout
    assert "has ended without closing its loop" in shown["why"] or "It died while" in shown["why"]
    assert "bystander" in shown["why"] and "an event" in shown["why"]
    lanes = picture(shown["trace"])
    assert lanes["bystander"].endswith("waits for an event") and "█" in lanes["victim"]
    assert lanes["victim"].endswith("runs"), "what killed it ran then"


REFUSED = {
    "a folder that is not there": ("nowhere/out.rec", "No such file or directory"),
    "a full device": ("/dev/full", "it is no regular file"),
    "something else": ("program.py", "it holds something else, and is left alone"),
    "a folder": (".", "it is no regular file"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_record_that_cannot_be_made(launch: Launch, tmp_path: Path, why: str) -> None:
    (tmp_path / "program.py").write_text(THREE_TASKS)
    name, words = REFUSED[why]
    outcome = launch(["--timeline", "--record", name, "program.py"], on_glassloop=True)
    assert (outcome.stdout, outcome.status) == ("done\n", 0)
    assert (
        outcome.stderr.startswith("glassloop: The loop runs without a record: ") and words in outcome.stderr
    )
    assert "first" in picture(outcome.stderr), "the page is in memory then"
    assert (tmp_path / "program.py").read_text() == THREE_TASKS


def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(THREE_TASKS)
    done = subprocess.run(
        ["prlimit", "--fsize=1000000", *RUN, "--record", "out.rec", "program.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.returncode) == ("done\n", 0)
    assert "File too large" in done.stderr and not (tmp_path / "out.rec").exists()


MANY_TASKS = """
import asyncio, glassloop.glass.finder as finder

async def main():
    event = asyncio.Event()
    tasks = [asyncio.create_task(event.wait()) for _ in range(40_000)]
    await asyncio.sleep(0)
    event.set()
    await asyncio.gather(*tasks)
    print(len(tasks), "done")

asyncio.run(main())
"""


def on_a_small_disk(size: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a program whose record goes to a small file system, mounted where nobody else sees it."""
    disk = folder / "disk"
    disk.mkdir()
    script = f'mount -t tmpfs -o size={size} none {disk} && cd {folder} && exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "--map-root-user", "sh", "-c", script, "sh", *words],
        capture_output=True,
        text=True,
        timeout=100,
    )
    if "unshare:" in done.stderr or "mount:" in done.stderr:
        pytest.skip("file systems cannot be mounted here")
    return done


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed")
def test_a_disk_that_is_full_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(THREE_TASKS)
    done = on_a_small_disk("1m", tmp_path, *RUN, "--record", "disk/out.rec", "program.py")
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr
    assert "No space left on device" in done.stderr


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare is not installed")
def test_a_disk_that_becomes_full(tmp_path: Path) -> None:
    """More tasks than there is room for: those are not shown, and the program does not notice."""
    (tmp_path / "program.py").write_text(MANY_TASKS)
    look = (
        f"{' '.join(RUN)} --record disk/out.rec program.py && "
        f"{sys.executable} -m glassloop why --json disk/out.rec"
    )
    words = ["env", "GLASSLOOP_RECORDS=1024", "sh", "-c", look]
    done = on_a_small_disk("9m", tmp_path, *words)
    assert done.stdout.startswith("40000 done\n"), done.stderr
    unseen = re.search(r'"tasks_unseen": (\d+)', done.stdout)
    assert unseen is not None and 0 < int(unseen[1]) < 40_000, done.stdout[:2000]


def test_a_record_of_before_is_replaced(launch: Launch, tmp_path: Path) -> None:
    """The old file is unlinked, not cut short: a loop that still runs in it must not lose its memory."""
    (tmp_path / "program.py").write_text(THREE_TASKS)
    launch(["--record", "out.rec", "program.py"], on_glassloop=True)
    with (tmp_path / "out.rec").open("rb") as before:
        size = os.fstat(before.fileno()).st_size
        outcome = launch(["--record", "out.rec", "program.py"], on_glassloop=True)
        assert outcome == ("done\n", "", 0)
        assert os.fstat(before.fileno()).st_size == size and os.fstat(before.fileno()).st_nlink == 0


def test_a_terminal_that_has_no_such_characters(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(THREE_TASKS)
    outcome = launch(
        ["--timeline", "program.py"], on_glassloop=True, environment={"PYTHONIOENCODING": "ascii"}
    )
    assert outcome.status == 0 and re.search(r"^first fetch +#[#=.]+# done$", outcome.stderr, re.MULTILINE)
    assert "time >" in outcome.stderr and outcome.stderr.isascii()


@pytest.mark.parametrize(
    "words",
    [["--timeline"], ["--record", "out.rec"], ["--record"], ["--timeline", "--fly", "x.py"], ["--record="]],
    ids=" ".join,
)
def test_options_without_a_program(launch: Launch, words: list[str], tmp_path: Path) -> None:
    outcome = launch(words, on_glassloop=True)
    assert outcome.status == 2 and outcome.stderr.startswith("usage: glassloop")
    assert list(tmp_path.iterdir()) == []
