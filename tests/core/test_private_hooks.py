"""asyncio's private hooks that glassloop overrides or calls: on this Python they still are what it relies on.

When a new Python fails here, look at what changed in asyncio; teach glassloop/loop.py, then this table.
"""

import asyncio
import inspect
import sys
from asyncio import (
    base_events,
    constants,
    format_helpers,
    futures,
    selector_events,
    sslproto,
    trsock,
    unix_events,
)
from collections.abc import Callable
from typing import Any

import pytest

import glassloop

from .own_tasks import OWN_TASKS

LOOP = asyncio.SelectorEventLoop
NEWER_THAN_3_15 = sys.version_info >= (3, 16)

# The hooks that EventLoop overrides: asyncio calls them with these parameters, in this order.
# "name" is positional, "*name" keyword-only, "name?" has a default.
OVERRIDDEN: dict[str, list[str]] = {
    "_make_socket_transport": ["sock", "protocol", "waiter?", "*extra?", "*server?"],
    "_make_ssl_transport": [
        "rawsock",
        "protocol",
        "sslcontext",
        "waiter?",
        "*server_side?",
        "*server_hostname?",
        "*extra?",
        "*server?",
        "*ssl_handshake_timeout?",
        "*ssl_shutdown_timeout?",
    ],
    "_make_datagram_transport": ["sock", "protocol", "address?", "waiter?", "extra?"],
    "_make_read_pipe_transport": ["pipe", "protocol", "waiter?", "extra?"],
    "_make_write_pipe_transport": ["pipe", "protocol", "waiter?", "extra?"],
    "_start_serving": [
        "protocol_factory",
        "sock",
        "sslcontext?",
        "server?",
        "backlog?",
        "ssl_handshake_timeout?",
        "ssl_shutdown_timeout?",
    ],
    "_stop_serving": ["sock"],
    "_ensure_fd_no_transport": ["fd"],
    "_sendfile_native": ["transp", "file", "offset", "count"],
    "_run_once": [],
    "run_forever": [],
    "close": [],
    "time": [],
    "create_future": [],
    "call_soon": ["callback", "args...", "*context?"],
    "call_soon_threadsafe": ["callback", "args...", "*context?"],
    "call_later": ["delay", "callback", "args...", "*context?"],
    "call_at": ["when", "callback", "args...", "*context?"],
}
# From 3.15 on these take a context for the protocol's calls.
TAKE_CONTEXT_SINCE_3_15 = {"_make_socket_transport", "_make_ssl_transport", "_start_serving"}

_CONTEXT_SINCE_3_15 = ["*context?"] if sys.version_info >= (3, 15) else []

# What glassloop calls and does not override.
CALLED: dict[str, list[str]] = {
    "_process_events": ["event_list"],
    "_add_reader": ["fd", "callback", "args...", *_CONTEXT_SINCE_3_15],
    "_remove_reader": ["fd"],
    "_add_writer": ["fd", "callback", "args...", *_CONTEXT_SINCE_3_15],
    "_remove_writer": ["fd"],
    "_check_closed": [],
    "_check_running": [],
    "_check_thread": [],
    "_check_callback": ["callback", "method"],
    "_write_to_self": [],
    "_read_from_self": [],
    "call_exception_handler": ["context"],
    "get_debug": [],
}


def shape(function: Callable[..., Any]) -> list[str]:
    """The parameters of a method, in the notation of the tables above."""
    shown: list[str] = []
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        name = parameter.name
        if parameter.kind is parameter.VAR_POSITIONAL:
            name += "..."
        elif parameter.kind is parameter.KEYWORD_ONLY:
            name = f"*{name}"
        if parameter.default is not parameter.empty:
            name += "?"
        shown.append(name)
    return shown


def without_context(parameters: list[str]) -> list[str]:
    return [name for name in parameters if name.strip("*?") != "context"]


@pytest.mark.parametrize("name", sorted(OVERRIDDEN))
def test_what_we_override_takes_what_we_expect(name: str) -> None:
    found = shape(getattr(LOOP, name))
    if name in TAKE_CONTEXT_SINCE_3_15 and sys.version_info >= (3, 15):
        assert found != without_context(found), "this hook has lost its context parameter"
        found = without_context(found)
    assert found == OVERRIDDEN[name], f"asyncio's {name} has changed: see glassloop/loop.py"


@pytest.mark.parametrize("name", sorted(CALLED))
def test_what_we_call_takes_what_we_give(name: str) -> None:
    assert shape(getattr(LOOP, name)) == CALLED[name], f"asyncio's {name} has changed: see who calls it"


@pytest.mark.parametrize("name", sorted(set(OVERRIDDEN) - {"_run_once"}))
def test_our_override_takes_all_that_asyncio_may_give(name: str) -> None:
    """Every parameter of asyncio's hook can be given to ours, under the same name."""
    theirs = inspect.signature(getattr(LOOP, name))
    mine = getattr(glassloop.EventLoop, name)
    try:
        ours = inspect.signature(mine)
    except ValueError:  # compiled, with no signature to look at
        assert name in vars(glassloop._core.Engine) or any(
            name in vars(base) for base in glassloop._core.Engine.__mro__
        )
        return
    takes_any_keyword = any(parameter.kind is parameter.VAR_KEYWORD for parameter in ours.parameters.values())
    takes_any_position = any(
        parameter.kind is parameter.VAR_POSITIONAL for parameter in ours.parameters.values()
    )
    for parameter in theirs.parameters.values():
        if parameter.name not in ours.parameters:
            assert takes_any_keyword or takes_any_position, f"{name} must take asyncio's {parameter.name}"


OF_OWN_TASKS = {"create_future", "create_task"}


def test_the_override_is_in_use() -> None:
    """asyncio's code reaches the hooks through ``self``: ours come first in the order of bases."""
    for name in OVERRIDDEN:
        if name in OF_OWN_TASKS and not OWN_TASKS:
            continue
        owner = next(base for base in glassloop.EventLoop.__mro__ if name in vars(base))
        assert owner.__module__.startswith("glassloop."), f"{name} of EventLoop is {owner.__qualname__}'s"


def test_a_server_s_bookkeeping() -> None:
    """Up to 3.12 a Server counts its connections, from then on it keeps the transports."""
    attach, detach = (shape(getattr(base_events.Server, name)) for name in ("_attach", "_detach"))
    assert attach == detach
    assert attach in ([], ["transport"])


def test_the_waiter_s_setter() -> None:
    setter = futures._set_result_unless_cancelled  # type: ignore[attr-defined]  # private
    assert list(inspect.signature(setter).parameters) == ["fut", "result"]


def test_the_callback_formatter() -> None:
    parameters = list(inspect.signature(format_helpers._format_callback_source).parameters)
    assert parameters[:2] == ["func", "args"] and parameters[2:] in ([], ["debug"])


def test_the_transports_that_ours_stand_for() -> None:
    for module, name in (
        (selector_events, "_SelectorSocketTransport"),
        (selector_events, "_SelectorDatagramTransport"),
        (unix_events, "_UnixReadPipeTransport"),
        (unix_events, "_UnixWritePipeTransport"),
    ):
        assert inspect.isclass(getattr(module, name))


def test_the_tls_protocol() -> None:
    """Its transport stands for ours, and what asyncio passes to it we are passed."""
    assert inspect.isclass(getattr(sslproto, "_SSLProtocolTransport"))  # noqa: B009 - private to the type checker
    for name, parameter in (
        ("_create_transport_context", ["server_side", "server_hostname"]),
        ("add_flowcontrol_defaults", ["high", "low", "kb"]),
    ):
        assert list(inspect.signature(getattr(sslproto, name)).parameters) == parameter
    parameters = list(inspect.signature(sslproto.SSLProtocol.__init__).parameters)
    assert parameters[:7] == [
        "self",
        "loop",
        "app_protocol",
        "sslcontext",
        "waiter",
        "server_side",
        "server_hostname",
    ]
    assert {"ssl_handshake_timeout", "ssl_shutdown_timeout"} <= set(parameters)


def test_the_constants() -> None:
    for name in (
        "ACCEPT_RETRY_DELAY",
        "LOG_THRESHOLD_FOR_CONNLOST_WRITES",
        "SSL_HANDSHAKE_TIMEOUT",
        "SSL_SHUTDOWN_TIMEOUT",
        "FLOW_CONTROL_HIGH_WATER_SSL_READ",
        "FLOW_CONTROL_HIGH_WATER_SSL_WRITE",
    ):
        assert isinstance(getattr(constants, name), (int, float))
    assert constants._SendfileMode.TRY_NATIVE
    assert issubclass(trsock.TransportSocket, object) and "socket" not in dir(trsock.TransportSocket)


def test_the_attributes_that_inherited_code_keeps_on_a_loop() -> None:
    """asyncio's own methods read and write these; the engine gives some of them a home of its own."""
    loop = asyncio.SelectorEventLoop()
    try:
        for name in (
            "_ready",
            "_scheduled",
            "_stopping",
            "_closed",
            "_debug",
            "_current_handle",
            "_task_factory",
        ):
            assert hasattr(loop, name), f"asyncio's loop has no {name} any more"
        for name in ("_selector", "_transports", "_clock_resolution", "_thread_id", "slow_callback_duration"):
            assert hasattr(loop, name), f"asyncio's loop has no {name} any more"
    finally:
        loop.close()


def test_sources_of_tasks() -> None:
    import _asyncio

    assert (
        callable(_asyncio._register_task)
        and callable(_asyncio._enter_task)
        and callable(_asyncio._leave_task)
    )
    if sys.version_info < (3, 14):
        assert type(_asyncio._current_tasks) is dict  # type: ignore[attr-defined]  # private
    else:
        assert callable(_asyncio._swap_current_task)


def test_this_python_is_one_that_was_looked_at() -> None:
    if NEWER_THAN_3_15:
        pytest.skip("a Python that is newer than this table: where all the above passes, add it here")
    assert (3, 11) <= sys.version_info < (3, 16)
