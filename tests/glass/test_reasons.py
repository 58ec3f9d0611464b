"""Wait reasons: asyncio's own waiting places are known, on the Python that runs this; others are named."""

import asyncio
import inspect
from types import CodeType, FunctionType
from typing import Any

import pytest

from glassloop.glass.layout import Awaited
from glassloop.glass.reasons import TABLE, Site, WaitKind, wait_reason

SLEEP = Site("sleep", "/usr/lib/python3.13/asyncio/tasks.py", 1)


def site_of(function: Any) -> Site:
    """The site that a loop would record for a future that this function makes."""
    code = inspect.unwrap(function).__code__
    return Site(code.co_qualname, code.co_filename, code.co_firstlineno)


def kind_of(site: Site) -> WaitKind:
    return wait_reason(Awaited.FUTURE, site, 0, 0).kind


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (asyncio.sleep, WaitKind.TIMER),
        (asyncio.gather, WaitKind.GATHER),
        (asyncio.shield, WaitKind.SHIELD),
        (asyncio.Lock.acquire, WaitKind.LOCK),
        (asyncio.Event.wait, WaitKind.EVENT),
        (asyncio.Semaphore.acquire, WaitKind.SEMAPHORE),
        (asyncio.Condition.wait, WaitKind.CONDITION),
        (asyncio.Queue.get, WaitKind.QUEUE_GET),
        (asyncio.Queue.put, WaitKind.QUEUE_PUT),
        (asyncio.StreamReader._wait_for_data, WaitKind.STREAM_READ),  # type: ignore[attr-defined]
        (asyncio.wrap_future, WaitKind.EXECUTOR),
        (asyncio.BaseEventLoop.run_in_executor, WaitKind.EXECUTOR),
        (asyncio.BaseEventLoop.getaddrinfo, WaitKind.DNS),
        (asyncio.SelectorEventLoop.sock_recv, WaitKind.SOCKET),
        (asyncio.SelectorEventLoop.sock_sendall, WaitKind.SOCKET),
        (asyncio.SelectorEventLoop.sock_accept, WaitKind.SOCKET),
        (asyncio.SelectorEventLoop.sock_connect, WaitKind.CONNECT),
        (asyncio.base_events.Server.serve_forever, WaitKind.SERVER),
    ],
)
def test_asyncio_s_own_places(function: Any, kind: WaitKind) -> None:
    assert kind_of(site_of(function)) is kind


def functions_of(module: Any) -> list[CodeType]:
    """The code of all functions of a module, those in classes too."""
    found = []
    for holder in [module, *(value for value in vars(module).values() if isinstance(value, type))]:
        if getattr(holder, "__module__", module.__name__) == module.__name__:
            found += [value.__code__ for value in vars(holder).values() if isinstance(value, FunctionType)]
    return found


@pytest.mark.parametrize("module", ["locks", "queues", "streams", "taskgroups", "tasks", "base_subprocess"])
def test_every_function_of_asyncio_that_makes_a_future_is_in_the_table(module: str) -> None:
    """A new Python with a new waiting place shows here."""
    not_waited_for = {
        "ensure_future",
        "run_coroutine_threadsafe",
        "BaseSubprocessTransport.__init__",
        "_GatheringFuture.__init__",
        "StreamWriter.__init__",  # done from the start
    }
    makers = [
        code
        for code in functions_of(__import__(f"asyncio.{module}", fromlist=["x"]))
        if {"create_future", "_GatheringFuture"} & set(code.co_names)
        and code.co_qualname not in not_waited_for
    ]
    assert makers, "nothing was found, so nothing was checked"
    for code in makers:
        site = Site(code.co_qualname, code.co_filename, code.co_firstlineno)
        assert kind_of(site) is not WaitKind.FUTURE, f"asyncio.{module}.{code.co_qualname} is not in TABLE"


def test_each_row_can_match() -> None:
    assert all(row.text for row in TABLE)
    assert len({(row.module, row.function) for row in TABLE}) == len(TABLE)


def test_a_function_of_the_same_name_elsewhere_is_another_place() -> None:
    reason = wait_reason(Awaited.FUTURE, Site("Lock.acquire", "/app/locks.py", 7), 0, 0)
    assert reason.kind is WaitKind.FUTURE and reason.text == "a future made in locks.py:7 Lock.acquire"


def test_other_waits() -> None:
    assert wait_reason(Awaited.TASK, SLEEP, 12, 0).text == "task 12"
    assert wait_reason(Awaited.TASK, None, 0, 0).kind is WaitKind.TASK
    assert wait_reason(Awaited.FUTURE, None, 0, 0).text == "a future"
    assert wait_reason(Awaited.FUTURE, None, 0, 5).kind is WaitKind.TIMER
    assert wait_reason(Awaited.NOTHING, None, 0, 0).kind is WaitKind.UNKNOWN
    assert wait_reason(Awaited.OTHER, None, 0, 0).kind is WaitKind.OTHER
    gathering = wait_reason(Awaited.OTHER, Site("_GatheringFuture", "asyncio.tasks", 0), 0, 0)
    assert gathering.kind is WaitKind.GATHER
    assert wait_reason(Awaited.OTHER, Site("Job", "app.jobs", 0), 0, 0).text == "a app.jobs.Job"
    assert "app.py:3 f" in wait_reason(Awaited.OTHER, Site("f", "app.py", 3), 0, 0).text
