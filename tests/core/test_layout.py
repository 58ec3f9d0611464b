"""The proof of CPython's layouts: it holds here, and a failed one falls back to asyncio's own tasks."""

import asyncio
import os
import subprocess
import sys

import pytest

import glassloop
from glassloop._core import layout, native_status


def test_the_layouts_of_this_interpreter_are_as_built() -> None:
    assert layout.fault() is None


def test_the_proof_can_be_repeated_and_leaves_nothing_behind() -> None:
    before = len(asyncio.all_tasks(asyncio.new_event_loop()))
    assert [layout.fault() for _ in range(100)] == [None] * 100
    assert before == 0


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)


REPORT = """
import asyncio, glassloop
from glassloop._core import native_status
async def main():
    loop = asyncio.get_running_loop()
    task = loop.create_task(asyncio.sleep(0))
    await task
    print(native_status()[0], type(task).__module__, type(loop.create_future()).__module__)
glassloop.run(main())
"""


@pytest.mark.parametrize(
    ("tasks", "shown"),
    [
        ("native", "native glassloop._core.task glassloop._core.future"),
        ("stock", "stock _asyncio _asyncio"),
    ],
)
def test_the_environment_chooses_the_tasks(tasks: str, shown: str) -> None:
    done = run_python(REPORT, GLASSLOOP_TASKS=tasks)
    assert done.stdout.strip() == shown, done.stderr


def test_an_unknown_choice_is_refused_with_the_fix() -> None:
    done = run_python(REPORT, GLASSLOOP_TASKS="fast")
    assert done.returncode != 0
    assert "GLASSLOOP_TASKS='fast' is neither 'native' nor 'stock'" in done.stderr


def test_where_asyncio_s_task_was_replaced_glassloop_uses_that_one() -> None:
    """A debugger or a test tool may put the pure-Python Task in place before glassloop is imported."""
    replace = "import asyncio\nasyncio.Task = asyncio.tasks.Task = asyncio.tasks._PyTask\n"
    done = run_python(replace + REPORT, GLASSLOOP_TASKS="native")
    assert done.stdout.strip() == "stock asyncio.tasks _asyncio", done.stderr


def test_the_status_says_why() -> None:
    which, why = native_status()
    assert which == os.environ.get("GLASSLOOP_TASKS", "native")
    assert why


def test_isinstance_holds() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, glassloop.EventLoop)
        assert isinstance(loop, asyncio.BaseEventLoop) and isinstance(loop, asyncio.SelectorEventLoop)
        assert isinstance(asyncio.current_task(), asyncio.Task)
        assert isinstance(loop.create_future(), asyncio.Future)

    glassloop.run(main())
