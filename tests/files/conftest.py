"""Fixtures that run every test of files over each engine, and over threads on asyncio's own loop."""

import asyncio
import os
import warnings
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import pytest

import glassloop
from glassloop._io.file_engine import explain_choice

T = TypeVar("T")
Run = Callable[[Coroutine[Any, Any, T]], T]

VARIABLE = "GLASSLOOP_FILES"


def _allows(setting: str) -> bool:
    """Whether this machine's kernel allows what a setting of the variable demands."""
    before = os.environ.get(VARIABLE)
    os.environ[VARIABLE] = setting
    try:
        explain_choice()
    except RuntimeError:
        return False
    finally:
        del os.environ[VARIABLE]
        if before is not None:
            os.environ[VARIABLE] = before
    return True


ENGINES = [
    pytest.param(
        "uring", marks=pytest.mark.skipif(not _allows("uring"), reason="the kernel refuses io_uring")
    ),
    "auto",
    "inline",
    "threads",
    "asyncio",
]


@pytest.fixture(params=ENGINES)
def loop(
    request: pytest.FixtureRequest, errors: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[asyncio.AbstractEventLoop]:
    """A loop whose files are worked by the engine under test."""
    loop: asyncio.AbstractEventLoop
    if request.param == "asyncio":
        loop = asyncio.SelectorEventLoop()
    else:
        monkeypatch.setenv(VARIABLE, request.param)
        loop = glassloop.EventLoop()
    loop.set_exception_handler(lambda _, context: errors.append(context))
    yield loop
    if not loop.is_closed():
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


@pytest.fixture
def errors() -> list[dict[str, Any]]:
    """What reached the loop's exception handler."""
    return []


@pytest.fixture
def run(loop: asyncio.AbstractEventLoop) -> Run[Any]:
    """Run a coroutine to its end; a file that it forgets to close is an error."""

    def run_main(main: Coroutine[Any, Any, T]) -> T:
        with warnings.catch_warnings():
            warnings.simplefilter("error", ResourceWarning)
            return loop.run_until_complete(main)

    return run_main
