"""Fixtures that run every program on asyncio's own loop, as the control, and on glassloop's."""

import asyncio
import ssl
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

import glassloop

from .support import PATIENCE_S, LoopFactory, Run, T

LOOPS: dict[str, LoopFactory] = {"asyncio": asyncio.SelectorEventLoop, "glassloop": glassloop.new_event_loop}


@pytest.fixture(params=LOOPS)
def loop_name(request: pytest.FixtureRequest) -> str:
    """The loop under test."""
    name: str = request.param
    return name


@pytest.fixture
def errors() -> list[dict[str, Any]]:
    """What reached the exception handler of the loop. A program that runs well causes none."""
    return []


@pytest.fixture
def loop_factory(loop_name: str, errors: list[dict[str, Any]]) -> Iterator[LoopFactory]:
    """Make loops of the kind under test, and see that no error reached one."""

    def make() -> asyncio.AbstractEventLoop:
        loop = LOOPS[loop_name]()
        loop.set_exception_handler(lambda _loop, context: errors.append(context))
        return loop

    yield make
    assert errors == []


@pytest.fixture
def run(loop_factory: LoopFactory) -> Run:
    """Run one coroutine to its end on a new loop."""

    async def within_time(main: Coroutine[Any, Any, T]) -> T:
        async with asyncio.timeout(2 * PATIENCE_S):
            return await main

    def run_main(main: Coroutine[Any, Any, T]) -> T:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(within_time(main))

    return run_main


@pytest.fixture(scope="session")
def authority() -> Any:
    """A certificate authority of this run's own."""
    trustme = pytest.importorskip("trustme", reason="makes the certificates")
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(authority: Any) -> ssl.SSLContext:
    """TLS for a server on this machine."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def client_tls(authority: Any) -> ssl.SSLContext:
    """TLS for a client that trusts this run's authority alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context
