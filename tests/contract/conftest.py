"""Fixtures that run every contract test over asyncio's own loop and over glassloop's."""

import asyncio
import gc
import inspect
import pathlib
import selectors
import socket
import ssl
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from .deviations import DEVIATIONS
from .support import Context, Loop, LoopFactory, Run, T, tcp_pair, unix_pair

LOOPS = ("asyncio", "glassloop", "glassloop-select")
TIMEOUT_SECONDS = 20


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        callspec = getattr(item, "callspec", None)
        if item.path.parent != pathlib.Path(__file__).parent or callspec is None:
            continue
        # Short, for a loop that forgets to wake something up stands still for ever.
        item.add_marker(pytest.mark.timeout(TIMEOUT_SECONDS))
        deviation = DEVIATIONS.get(getattr(item, "originalname", item.name))
        if deviation and deviation.asyncio_fails and callspec.params.get("loop_factory") == "asyncio":
            item.add_marker(pytest.mark.xfail(strict=True, reason=deviation.reason))


def _new_loop(kind: str) -> Loop:
    if kind == "asyncio":
        return asyncio.SelectorEventLoop()
    # Imported here, so that the body can be proven on asyncio alone.
    import glassloop

    loop: Loop = glassloop.EventLoop(selectors.SelectSelector() if kind == "glassloop-select" else None)
    return loop


def _close(loop: Loop) -> None:
    """End what a test left on its loop, and close it."""
    if loop.is_closed():
        return
    if tasks := asyncio.all_tasks(loop):
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


@pytest.fixture
def errors() -> list[Context]:
    """What reached the loop's exception handler. A test that does not ask for this must cause none."""
    return []


@pytest.fixture(params=LOOPS)
def loop_factory(request: pytest.FixtureRequest, errors: list[Context]) -> Iterator[LoopFactory]:
    """Make loops of the kind under test."""
    made: list[Loop] = []

    def make() -> Loop:
        loop = _new_loop(request.param)
        loop.set_exception_handler(lambda _loop, context: errors.append(context))
        made.append(loop)
        return loop

    yield make
    for loop in made:
        _close(loop)
    if "errors" not in inspect.signature(request.function).parameters:
        assert errors == []


@pytest.fixture
def loop(loop_factory: LoopFactory) -> Loop:
    """A new loop that is not running."""
    return loop_factory()


@pytest.fixture
def run(loop_factory: LoopFactory) -> Run:
    """Run one coroutine to its end on a new loop."""

    def run_main(main: Coroutine[Any, Any, T], *, debug: bool | None = None) -> T:
        with asyncio.Runner(loop_factory=loop_factory, debug=debug) as runner:
            return runner.run(main)

    return run_main


@pytest.fixture
def no_gc() -> Iterator[None]:
    """Keep the cyclic garbage collector off: what goes away does so by reference counts alone."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(params=["tcp", "unix"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of a stream connection: one for the loop, one for the test to use as a plain socket."""
    near, far = tcp_pair() if request.param == "tcp" else unix_pair()
    with near, far:
        yield near, far


@pytest.fixture(scope="session")
def authority() -> Any:
    """A certificate authority of our own."""
    return pytest.importorskip("trustme").CA()


@pytest.fixture(scope="session")
def server_tls(authority: Any) -> ssl.SSLContext:
    """The server's side of TLS, with a certificate for localhost."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def client_tls(authority: Any) -> ssl.SSLContext:
    """The client's side of TLS, which trusts the authority."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context
