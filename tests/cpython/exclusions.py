"""Reads exclusions.toml: which of CPython's tests are not run on glassloop, and why.

A pattern is a test's id below ``test.test_asyncio``: its module spelled out, the rest with ``*`` at will.
"""

import fnmatch
import os
import sys
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGE = "test.test_asyncio."
HEADINGS = ("other", "private", "environment")


def _has_no_pty() -> bool:
    try:
        master, slave = os.openpty()
    except OSError:
        return True
    os.close(master)
    os.close(slave)
    return False


# What a machine may lack: an exclusion under [[environment]] names one of these.
LACKS: dict[str, Callable[[], bool]] = {
    "pty": _has_no_pty,
    "/dev/stdin": lambda: not os.path.exists("/dev/stdin"),
}


@dataclass(frozen=True)
class Exclusion:
    """Patterns of tests that are not run, all for one reason."""

    heading: str
    tests: tuple[str, ...]
    reason: str
    backported: bool = False

    def matches(self, test_id: str) -> bool:
        """Whether a test, named below ``test.test_asyncio``, is excluded."""
        return any(fnmatch.fnmatchcase(test_id, pattern) for pattern in self.tests)

    def unused(self, test_ids: Iterable[str], modules: Iterable[str]) -> list[str]:
        """The patterns that match none of the tests, of those that are for the modules that were loaded."""
        if self.backported:
            return []
        known = list(test_ids)
        loaded = set(modules)
        return [
            pattern
            for pattern in self.tests
            if pattern.split(".")[0] in loaded and not fnmatch.filter(known, pattern)
        ]


def short_id(test_id: str) -> str:
    """A test's id below ``test.test_asyncio``."""
    return test_id.removeprefix(PACKAGE)


def _applies(entry: dict[str, Any], loop: str, tasks: str) -> bool:
    version = sys.version_info[:3]
    since = tuple(map(int, entry.get("since", "3.0").split(".")))
    before = tuple(map(int, entry.get("before", "4.0").split(".")))
    return (
        since <= version < before
        and entry.get("loop", loop) == loop
        and entry.get("tasks", tasks) == tasks
        and ("lacks" not in entry or LACKS[entry["lacks"]]())
    )


def load(loop: str, tasks: str) -> list[Exclusion]:
    """The exclusions for this Python, this machine, a loop and an implementation of tasks."""
    path = Path(__file__).with_name("exclusions.toml")
    written = tomllib.loads(path.read_text(encoding="utf-8"))
    if unknown := set(written) - set(HEADINGS):
        raise ValueError(f"{path.name}: unknown headings {sorted(unknown)}; the known ones are {HEADINGS}")
    return [
        Exclusion(heading, tuple(entry["tests"]), entry["reason"], entry.get("backported", False))
        for heading in HEADINGS
        if loop == "glassloop" or heading == "environment"
        for entry in written.get(heading, [])
        if _applies(entry, loop, tasks)
    ]
