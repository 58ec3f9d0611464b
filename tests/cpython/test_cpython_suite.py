"""CPython's own test_asyncio on glassloop, a module at a time, each in a process of its own (see run.py).

It takes more than a minute, most of it waiting: ``make test`` leaves it out, ``make test-all`` runs it.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from . import run, swap

pytestmark = [pytest.mark.cpython, pytest.mark.timeout(300)]

MODULES = run.modules()
# What runs on asyncio's own Task too. The other modules are about I/O, and would only do the same once more.
TASK_MODULES = (
    "test_context",
    "test_eager_task_factory",
    "test_futures",
    "test_futures2",
    "test_locks",
    "test_queues",
    "test_runners",
    "test_streams",
    "test_taskgroups",
    "test_tasks",
    "test_timeouts",
    "test_waitfor",
)
TIMEOUT_S = 280


def _runs() -> list[tuple[str, str]]:
    if not swap.has_native_tasks():
        return [(module, "stock") for module in MODULES]
    return [(module, "native") for module in MODULES] + [
        (module, "stock") for module in TASK_MODULES if module in MODULES
    ]


@pytest.mark.skipif(
    not MODULES, reason="this Python has no test.test_asyncio (Debian: libpython3.X-testsuite)"
)
@pytest.mark.parametrize(("module", "tasks"), _runs())
def test_module_passes(module: str, tasks: str) -> None:
    command = [sys.executable, run.__file__, module, "--tasks", tasks, "--timeout", str(TIMEOUT_S)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
