"""Puts glassloop's loop, Task and Future where CPython's test_asyncio takes asyncio's.

The tests come by a loop in these ways, all of them names that are looked up when they are used, and so can be
bound anew:

    asyncio.SelectorEventLoop(...), EventLoop()     the names
    new_event_loop(), run(), policies               the loop factory of asyncio's policy
    base_events.BaseEventLoop()                     a loop without I/O, for tests of callbacks, timers, tasks
    utils.TestLoop                                  such a loop whose clock the test sets

Classes of tests for the C Task and Future take ``tasks._CTask`` and ``futures._CFuture`` when they are
imported, so the swap comes before that.
"""

import asyncio
import importlib
from typing import Any

import glassloop
from glassloop import _core

_LOOP_NAMES = ("SelectorEventLoop", "EventLoop", "_UnixSelectorEventLoop")
# What BaseEventLoop leaves to loops with I/O, and where it says so.
_IO_HOOKS = (
    "_make_socket_transport",
    "_make_ssl_transport",
    "_make_datagram_transport",
    "_make_read_pipe_transport",
    "_make_write_pipe_transport",
    "_make_subprocess_transport",
    "_sendfile_native",
    "_sock_sendfile_native",
    "_process_events",
    "_write_to_self",
)


def has_native_tasks() -> bool:
    """Whether glassloop's own Task and Future are in use in this process."""
    return _core.native_status()[0] == "native"


def _module(name: str) -> Any:
    """A module, to bind its names to what their types do not foresee."""
    return importlib.import_module(name)


def _classes_without_io() -> tuple[type, type]:
    """glassloop's loop in the part of BaseEventLoop, and in that of the tests' own TestLoop."""
    utils = _module("test.test_asyncio.utils")
    stock_test_loop: Any = utils.TestLoop

    class LoopWithoutIO(glassloop.EventLoop):
        """It asks a selector that knows no file, and which a test may replace by a mock."""

        def __init__(self) -> None:
            super().__init__(utils.TestSelector())

        def _make_self_pipe(self) -> None:
            pass

        def _close_self_pipe(self) -> None:
            pass

    # What a loop with I/O adds to BaseEventLoop is taken away again.
    for name in _IO_HOOKS:
        setattr(LoopWithoutIO, name, getattr(asyncio.BaseEventLoop, name))

    class TestLoop(stock_test_loop, LoopWithoutIO):  # type: ignore[misc]  # its base is untyped
        """The tests' own clock and turn, on glassloop's engine."""

    return LoopWithoutIO, TestLoop


def use_glassloop() -> None:
    """Make asyncio's names give glassloop's loop, and its Task and Future where they are in use."""
    loop_without_io, test_loop = _classes_without_io()
    for name in _LOOP_NAMES:
        for owner in (_module("asyncio"), _module("asyncio.unix_events")):
            if hasattr(owner, name):
                setattr(owner, name, glassloop.EventLoop)
    policy = getattr(_module("asyncio.unix_events"), "_UnixDefaultEventLoopPolicy", None)
    if policy is not None:
        policy._loop_factory = glassloop.EventLoop
    _module("asyncio").BaseEventLoop = loop_without_io
    _module("asyncio.base_events").BaseEventLoop = loop_without_io
    _module("test.test_asyncio.utils").TestLoop = test_loop
    if has_native_tasks():
        _use_native_types()


def keep_stock_types_in(name: str) -> None:
    """Leave asyncio's C Task and Future in place while a module's tests run.

    test_graph binds ``asyncio.Future`` to ``futures._CFuture``, and asks whether the loop's tasks are
    instances of it. Of asyncio's Future they are: glassloop's Task and Future derive from it, side by side.
    """
    module = _module(name)
    module.setUpModule, module.tearDownModule = _use_stock_types, _use_native_types


def _use_native_types() -> None:
    _module("asyncio.tasks")._CTask = _module("glassloop._core.task").Task
    _module("asyncio.futures")._CFuture = _module("glassloop._core.future").Future


def _use_stock_types() -> None:
    _module("asyncio.tasks")._CTask = _module("_asyncio").Task
    _module("asyncio.futures")._CFuture = _module("_asyncio").Future
