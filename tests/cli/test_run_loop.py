"""Which loop a program gets from `glassloop run`: glassloop's, except where it names another itself."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SHOW = """
import asyncio
async def show():
    print(type(asyncio.get_running_loop()).__module__.partition(".")[0])
"""

LEFT_TO_ASYNCIO = {
    "asyncio.run": "asyncio.run(show())\n",
    "imported names": """
from asyncio import run
run(show())
""",
    "Runner": """
with asyncio.Runner() as runner:
    runner.run(show())
""",
    "Runner without a factory": """
with asyncio.Runner(loop_factory=None) as runner:
    runner.run(show())
""",
    "new_event_loop": """
from asyncio import new_event_loop
loop = new_event_loop()
loop.run_until_complete(show())
loop.close()
""",
    "the policy": """
import warnings
warnings.simplefilter('ignore')
if hasattr(asyncio, 'get_event_loop_policy'):
    loop = asyncio.get_event_loop_policy().new_event_loop()
else:
    loop = asyncio.new_event_loop()
loop.run_until_complete(show())
loop.close()
""",
    "policy reset": """
import warnings
warnings.simplefilter('ignore')
if hasattr(asyncio, 'set_event_loop_policy'):
    asyncio.set_event_loop_policy(None)
asyncio.run(show())
""",
    "a thread": """
import threading
thread = threading.Thread(target=lambda: asyncio.run(show()))
thread.start()
thread.join()
""",
    "a forked child": """
import os, warnings
warnings.simplefilter('ignore')
if os.fork() == 0:
    asyncio.run(show())
else:
    assert os.wait()[1] == 0
""",
    "IsolatedAsyncioTestCase": """
import unittest

class T(unittest.IsolatedAsyncioTestCase):
    async def test(self):
        await show()

unittest.main()
""",
}

NAMED_BY_THE_PROGRAM = {
    "a class": """
with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
    runner.run(show())
""",
    "a loop": """
loop = asyncio.SelectorEventLoop()
loop.run_until_complete(show())
loop.close()
""",
}


@pytest.mark.parametrize("name", LEFT_TO_ASYNCIO)
def test_glassloop_where_the_program_leaves_it_to_asyncio(
    launch: Callable[..., Any], tmp_path: Path, name: str
) -> None:
    (tmp_path / "program.py").write_text(SHOW + LEFT_TO_ASYNCIO[name] + "\n")
    outcome = launch(["program.py"], on_glassloop=True)
    assert (outcome.stdout, outcome.status) == ("glassloop\n", 0), outcome.stderr


@pytest.mark.parametrize("name", NAMED_BY_THE_PROGRAM)
def test_the_programs_own_choice_is_honoured(launch: Callable[..., Any], tmp_path: Path, name: str) -> None:
    (tmp_path / "program.py").write_text(SHOW + NAMED_BY_THE_PROGRAM[name] + "\n")
    outcome = launch(["program.py"], on_glassloop=True)
    assert (outcome.stdout, outcome.status) == ("asyncio\n", 0), outcome.stderr


@pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed")
def test_uvloop_run_stays_uvloop(launch: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(SHOW + "import uvloop\nuvloop.run(show())\n")
    assert launch(["program.py"], on_glassloop=True).stdout == "uvloop\n"


@pytest.mark.skipif(sys.version_info >= (3, 16), reason="this Python has no event loop policies")
def test_the_programs_own_policy_is_honoured(launch: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        SHOW
        + "import warnings\nwarnings.simplefilter('ignore')\nclass Policy(asyncio.DefaultEventLoopPolicy):\n"
        "    _loop_factory = asyncio.SelectorEventLoop\n\n"
        "asyncio.set_event_loop_policy(Policy())\nasyncio.run(show())\n"
    )
    assert launch(["program.py"], on_glassloop=True).stdout == "asyncio\n"


@pytest.mark.parametrize(
    "call", ["asyncio.get_event_loop()", "asyncio.get_event_loop_policy().get_event_loop()"]
)
def test_get_event_loop_gives_glassloop_where_asyncio_makes_one(
    launch: Callable[..., Any], tmp_path: Path, call: str
) -> None:
    """Up to 3.13 asyncio makes a loop here; later it raises, and then as with plain Python."""
    (tmp_path / "program.py").write_text(
        SHOW + f"import warnings\nwarnings.simplefilter('ignore')\nloop = {call}\n"
        "loop.run_until_complete(show())\nloop.close()\n"
    )
    plain = launch(["program.py"], on_glassloop=False)
    ours = launch(["program.py"], on_glassloop=True)
    if plain.status == 0:
        assert ours == plain._replace(stdout="glassloop\n")
    else:
        assert ours == plain


def test_programs_without_asyncio_run_too(launch: Callable[..., Any]) -> None:
    assert launch(["-c", "print('hello')"], on_glassloop=True) == ("hello\n", "", 0)


@pytest.mark.parametrize("option", ["-I", "-E"])
def test_options_that_shut_glassloop_out_are_refused(launch: Callable[..., Any], option: str) -> None:
    outcome = launch(["-c", "print('never')"], on_glassloop=True, options=[option])
    assert outcome.status == 2
    assert outcome.stdout == ""
    assert option in outcome.stderr
    assert "glassloop.run(main())" in outcome.stderr


def test_a_glassloop_that_does_not_import_ends_the_program_before_it_begins(
    launch: Callable[..., Any], tmp_path: Path
) -> None:
    """It would be worse to run on another loop without a word."""
    import glassloop.cli.run

    hook = Path(glassloop.cli.run.HOOK_FOLDER) / "sitecustomize.py"
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(
        "import sys\nsys.modules['glassloop'] = None\n" + hook.read_text()
    )
    outcome = launch(
        ["-c", "print('never')"], on_glassloop=False, environment={"PYTHONPATH": str(tmp_path / "hook")}
    )
    assert outcome.status == 1
    assert outcome.stdout == ""
    assert outcome.stderr.startswith("glassloop run: glassloop does not work in ")
