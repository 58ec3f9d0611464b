"""Random programs run on asyncio and on glassloop: every step happens in the same turn, in the same order."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glassloop._core import native_status

from . import programs
from .virtual import new_loop

# More of them: GLASSLOOP_STRESS_EXAMPLES=100000 pytest tests/stress/test_programs.py
EXAMPLES = int(os.environ.get("GLASSLOOP_STRESS_EXAMPLES", "250"))
BOUNDED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="GLASSLOOP_STRESS_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def trace_of(kind: str, bodies: list[programs.Body], debug: bool) -> list[programs.TraceEntry]:
    """What happens when the program runs on a loop of this kind."""
    loop = new_loop(kind)
    try:
        loop.set_debug(debug)
        asyncio.set_event_loop(loop)  # for the locks of Python 3.11, which look it up when they are made
        return programs.Interpreter(loop, bodies).run()
    finally:
        asyncio.set_event_loop(None)
        loop.close()


@pytest.mark.parametrize("kind", ["glassloop", "glassloop-select"])
@given(bodies=programs.programs, debug=st.booleans())
@BOUNDED
def test_a_program_runs_as_on_asyncio(kind: str, bodies: list[programs.Body], debug: bool) -> None:
    assert trace_of(kind, bodies, debug) == trace_of("asyncio", bodies, debug)


@pytest.mark.skipif(native_status()[0] == "stock", reason="this run is on asyncio's own tasks already")
def test_programs_run_as_on_asyncio_with_its_own_tasks() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", __file__]
    environment = os.environ | {"GLASSLOOP_TASKS": "stock"}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert done.returncode == 0, done.stdout + done.stderr
