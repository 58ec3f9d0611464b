"""`glassloop run` against plain `python`: the same programs, and all that a shell sees of them."""

import compileall
import os
import re
import signal
import subprocess
import sys
import zipapp
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SHOW_MAIN = """
import os, sys
names = "__name__ __file__ __spec__ __package__ __doc__ __cached__ __annotations__".split()
for name in names:
    print(name, repr(globals().get(name, "absent")))
print(type(__builtins__), type(__loader__), sys.modules["__main__"].__dict__ is globals())
print(sys.argv, sys.orig_argv, sys.path, sys.flags, sys.warnoptions, sys._xoptions)
print(sorted(item for item in os.environ.items() if item[0] != "_"))
"""

# Each is a whole program; what it prints, where, and how it ends must be the same.
PROGRAMS = {
    "main module": SHOW_MAIN,
    "exception": """
def fail():
    raise ValueError('bad')

fail()
""",
    "chained exception": """
try:
    1 / 0
except ZeroDivisionError as error:
    raise KeyError('k') from error
""",
    "exception group": "raise ExceptionGroup('two', [ValueError(1), TypeError(2)])\n",
    "exception with a note": """
error = OSError(2, 'no')
error.add_note('look here')
raise error
""",
    "recursion": """
def f():
    f()

try:
    f()
except RecursionError as error:
    print(error)
""",
    "syntax error": """
print('never')
if True print(1)
""",
    "indentation error": """
def f():
return 1
""",
    "exit": """
import sys
sys.exit()
""",
    "exit 0": "raise SystemExit(0)\n",
    "exit 3": """
import sys
sys.exit(3)
""",
    "exit -1": """
import sys
sys.exit(-1)
""",
    "exit 256": """
import sys
sys.exit(256)
""",
    "exit True": """
import sys
sys.exit(True)
""",
    "exit text": """
import sys
sys.exit('it went wrong: ä')
""",
    "exit tuple": """
import sys
sys.exit((1, 2))
""",
    "exit subclass": """
class Bye(SystemExit):
    code = 7

raise Bye
""",
    "exit in a thread": """
import sys, threading
threading.Thread(target=sys.exit, args=(5,)).start()
""",
    "os._exit": """
import os
print('lost in the buffer', end='')
os._exit(9)
""",
    "exit in finally": """
import sys
try:
    1 / 0
finally:
    sys.exit(4)
""",
    "stack": """
import traceback
traceback.print_stack()
""",
    "stack in a log": """
import logging
logging.warning('here', stack_info=True)
""",
    "warning at the caller": """
import warnings
warnings.warn('who called?', stacklevel=2)
""",
    "faulthandler": """
import faulthandler
faulthandler.dump_traceback(all_threads=False)
""",
    "atexit": """
import atexit
atexit.register(print, 'bye')
print('hello')
1 / 0
""",
    "late thread": """
import threading, time
threading.Thread(target=lambda: (time.sleep(0.1), print('late'))).start()
""",
    "excepthook": """
import sys
sys.excepthook = lambda *what: print('hook', what[0])
1 / 0
""",
    "unraisable": """
class C:
    def __del__(self):
        1 / 0

C()
kept = C()
""",
    "signal": """
import os, signal
os.kill(os.getpid(), signal.SIGTERM)
""",
    "keyboard interrupt": """
def wait():
    raise KeyboardInterrupt

wait()
""",
    "pickle": """
import pickle

class Point:
    x = 1

print(type(pickle.loads(pickle.dumps(Point()))) is Point)
print(pickle.dumps(Point, 0))
""",
    "standard input": """
import sys
print(sys.stdin.read().upper(), end='')
""",
    "unittest": """
import unittest

class T(unittest.IsolatedAsyncioTestCase):
    async def test(self):
        pass

if __name__ == '__main__':
    unittest.main(argv=['x', 'T.missing'])
""",
    "coroutine never awaited": """
async def f():
    pass

f()
""",
    "exit in a coroutine": """
import asyncio, sys

async def main():
    sys.exit(6)

asyncio.run(main())
""",
    "exception in a coroutine": """
import asyncio

async def main():
    await asyncio.sleep(0)
    1 / 0

asyncio.run(main())
""",
    "exception in a task": """
import asyncio

async def part():
    await asyncio.sleep(0)
    1 / 0

async def main():
    await asyncio.create_task(part())

asyncio.run(main())
""",
    "exceptions in a group": """
import asyncio

async def part():
    await asyncio.sleep(0.001)
    1 / 0

async def main():
    async with asyncio.TaskGroup() as group:
        group.create_task(part())
        group.create_task(part())

asyncio.run(main())
""",
    "timeout": """
import asyncio

async def main():
    async with asyncio.timeout(0.001):
        await asyncio.sleep(60)

asyncio.run(main())
""",
    "asyncio deprecations": """
import warnings
warnings.simplefilter('error')
import asyncio

async def main():
    await asyncio.sleep(0)

asyncio.run(main())
""",
}


def mask_what_varies(outcome: Any) -> Any:
    """Take addresses and unittest's duration, which differ from run to run, out of what a program wrote."""
    stdout, stderr = (
        re.sub(r"0x[0-9a-f]{4,}|in \d\.\d{3}s", "…", text) for text in (outcome.stdout, outcome.stderr)
    )
    return outcome._replace(stdout=stdout, stderr=stderr)


def same(launch: Callable[..., Any], words: list[str], **how: Any) -> Any:
    """Run the words both ways, demand the same of both, and return it."""
    plain = mask_what_varies(launch(words, on_glassloop=False, **how))
    ours = mask_what_varies(launch(words, on_glassloop=True, **how))
    assert ours == plain
    return plain


@pytest.mark.parametrize("name", PROGRAMS)
def test_script_is_as_with_plain_python(launch: Callable[..., Any], tmp_path: Path, name: str) -> None:
    (tmp_path / "program.py").write_text(PROGRAMS[name])
    same(launch, ["program.py", "--help", "-m", "two words", "--", "-"], stdin="text\n")


@pytest.mark.parametrize(
    "options",
    [
        ["-X", "dev"],
        ["-W", "error::UserWarning"],
        ["-O"],
        ["-u"],
        ["-B", "-q"],
        ["-P"],
        ["-b", "-X", "utf8=1"],
    ],
    ids=" ".join,
)
def test_the_interpreters_options_reach_the_program(
    launch: Callable[..., Any], tmp_path: Path, options: list[str]
) -> None:
    (tmp_path / "program.py").write_text(SHOW_MAIN)
    outcome = same(launch, ["program.py"], options=options)
    assert outcome.status == 0


def test_absolute_path_and_compiled_script(launch: Callable[..., Any], tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(SHOW_MAIN)
    assert same(launch, [str(script), "x"]).status == 0
    assert compileall.compile_file(script, legacy=True, quiet=1)
    assert same(launch, [str(script) + "c", "x"]).status == 0


def test_program_from_standard_input(launch: Callable[..., Any]) -> None:
    assert same(launch, ["-", "a", "-b"], stdin=SHOW_MAIN).status == 0
    assert same(launch, ["-"], stdin="1 / 0\n").status == 1


def test_code_from_the_command_line(launch: Callable[..., Any]) -> None:
    assert same(launch, ["-c", SHOW_MAIN, "a", "-b"]).status == 0
    assert same(launch, ["-c", "1 / 0"]).status == 1


def test_folder_and_zip_with_a_main(launch: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "__main__.py").write_text("import helper\n" + SHOW_MAIN + "helper.fail()\n")
    (folder / "helper.py").write_text("def fail():\n    raise ValueError('inside')\n")
    zipapp.create_archive(folder, tmp_path / "app.pyz")
    for name in ("app", "app.pyz"):
        outcome = same(launch, [name, "x"])
        assert "ValueError: inside" in outcome.stderr


def test_module_and_package(launch: Callable[..., Any], tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text("from . import part\n" + SHOW_MAIN + "part.fail()\n")
    (package / "part.py").write_text(
        "from .deep import nothing\n\ndef fail():\n    raise ValueError\n\n"
        "if __name__ == '__main__':\n    fail()\n"
    )
    (package / "deep.py").write_text("nothing = 0\n")
    for words in (["-m", "package", "-v", "x"], ["-m", "package.part"], ["-mpackage"]):
        outcome = same(launch, words)
        assert outcome.stderr.endswith("ValueError\n")


@pytest.mark.parametrize(
    "words",
    [
        ["missing.py"],
        ["-m", "missing"],
        ["-m", "package"],
        ["-m", "package.missing"],
        ["folder"],
        ["binary.pyc"],
        ["-m"],
    ],
    ids=" ".join,
)
def test_what_cannot_be_run_is_told_in_the_same_words(
    launch: Callable[..., Any], tmp_path: Path, words: list[str]
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "binary.pyc").write_bytes(b"no bytecode at all")
    assert same(launch, words).status != 0


def test_the_environments_module_path_is_kept(launch: Callable[..., Any], tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    (library / "sitecustomize.py").write_text(
        "import asyncio\nfrom asyncio import new_event_loop\nprint('mine')\n"
    )
    (tmp_path / "program.py").write_text(
        SHOW_MAIN + "import sitecustomize, subprocess\nprint(sitecustomize.__file__)\n"
        "child = [sys.executable, '-c', 'import os, sys; print(os.environ[\"PYTHONPATH\"], sys.path)']\n"
        "sys.stdout.flush()\nsubprocess.run(child, check=True)\n"
    )
    path = os.pathsep.join([str(library), str(tmp_path / "other")])
    plain = launch(["program.py"], on_glassloop=False, environment={"PYTHONPATH": path})
    ours = launch(["program.py"], on_glassloop=True, environment={"PYTHONPATH": path})
    assert plain.status == 0
    # Once for the interpreter in which `glassloop run` itself began.
    assert mask_what_varies(ours) == mask_what_varies(plain._replace(stdout="mine\n" + plain.stdout))


def test_a_broken_sitecustomize_is_told_as_python_tells_it(
    launch: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "library" / "sitecustomize.py").write_text("import missing_module\n")
    plain = launch(
        ["-c", "print(1)"], on_glassloop=False, environment={"PYTHONPATH": str(tmp_path / "library")}
    )
    ours = launch(
        ["-c", "print(1)"], on_glassloop=True, environment={"PYTHONPATH": str(tmp_path / "library")}
    )
    assert "missing_module" in plain.stderr
    assert ours == plain._replace(stderr=2 * plain.stderr)


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
def test_child_interpreters_of_multiprocessing(
    launch: Callable[..., Any], tmp_path: Path, method: str
) -> None:
    (tmp_path / "program.py").write_text(
        "import asyncio, multiprocessing, sys\n\n"
        "class Point:\n    def __init__(self, x):\n        self.x = x\n\n"
        "async def double(point):\n    await asyncio.sleep(0)\n    return Point(point.x * 2)\n\n"
        "def work(point):\n    return asyncio.run(double(point))\n\nasync def main():\n"
        "    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:\n"
        "        print([point.x for point in pool.map(work, [Point(1), Point(2)])])\n\n"
        "if __name__ == '__main__':\n    asyncio.run(main())\n"
    )
    assert (
        same(launch, ["program.py", method], options=["-W", "ignore::DeprecationWarning"]).stdout
        == "[2, 4]\n"
    )


def run_through_shell(line: str, folder: Path) -> tuple[str, int]:
    done = subprocess.run(
        ["bash", "-c", line], check=False, cwd=folder, capture_output=True, text=True, timeout=60
    )
    return done.stderr, done.returncode


def test_broken_pipe(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text("for number in range(100_000):\n    print(number)\n")
    tail = "program.py | head -n 1 >first.txt; exit ${PIPESTATUS[0]}"
    plain = run_through_shell(f"{sys.executable} {tail}", tmp_path)
    assert run_through_shell(f"{sys.executable} -m glassloop run {tail}", tmp_path) == plain
    assert "BrokenPipeError" in plain[0]


# The program sends itself the signal of Ctrl-C: from outside it could arrive between two lines.
INTERRUPTED = {
    "in plain code": """
import signal
signal.raise_signal(signal.SIGINT)
print('never')
""",
    "caught": """
import signal
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print('kept')
""",
    "beside a thread": """
import signal, threading
threading.Thread(target=print, args=('a thread',)).start()
signal.raise_signal(signal.SIGINT)
""",
}


@pytest.mark.parametrize("name", INTERRUPTED)
def test_ctrl_c(launch: Callable[..., Any], tmp_path: Path, name: str) -> None:
    (tmp_path / "program.py").write_text(INTERRUPTED[name])
    assert same(launch, ["program.py"]).status == (0 if name == "caught" else -signal.SIGINT)


@pytest.mark.parametrize("on_glassloop", [False, True], ids=["python", "glassloop"])
def test_ctrl_c_in_asyncio_cancels_the_main_task(tmp_path: Path, on_glassloop: bool) -> None:
    """From outside this time: when it comes varies, and so the middle of the traceback."""
    (tmp_path / "program.py").write_text(
        "import asyncio\n\nasync def main():\n    try:\n        print('ready', flush=True)\n"
        "        while True:\n            await asyncio.sleep(0.01)\n"
        "    finally:\n        print('cleaned up')\n\nasyncio.run(main())\n"
    )
    words = ["-m", "glassloop", "run", "program.py"] if on_glassloop else ["program.py"]
    process = subprocess.Popen(
        [sys.executable, *words], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert (stdout, process.returncode) == ("cleaned up\n", -signal.SIGINT)
    assert stderr.startswith("Traceback (most recent call last):\n")
    assert stderr.endswith("\nKeyboardInterrupt\n")
    assert os.path.join("glassloop", "cli") not in stderr
