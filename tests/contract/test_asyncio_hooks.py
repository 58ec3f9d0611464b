"""The private parts of asyncio that glassloop stands on: their names and parameters, on every Python.

Nothing here runs over the loops. It fails where a new Python changes what glassloop overrides or calls, and
says what to look at.
"""

import asyncio
import inspect
from typing import Any

import pytest

LOOP: Any = asyncio.SelectorEventLoop

# Parameters that must be there, in this order; a newer Python may have more after them, with defaults.
HOOKS = {
    "_make_socket_transport": ["sock", "protocol", "waiter", "extra", "server"],
    "_make_ssl_transport": [
        "rawsock", "protocol", "sslcontext", "waiter", "server_side", "server_hostname", "extra", "server",
        "ssl_handshake_timeout", "ssl_shutdown_timeout",
    ],
    "_make_datagram_transport": ["sock", "protocol", "address", "waiter", "extra"],
    "_make_read_pipe_transport": ["pipe", "protocol", "waiter", "extra"],
    "_make_write_pipe_transport": ["pipe", "protocol", "waiter", "extra"],
    "_start_serving": [
        "protocol_factory", "sock", "sslcontext", "server", "backlog", "ssl_handshake_timeout",
        "ssl_shutdown_timeout",
    ],
    "_stop_serving": ["sock"],
    "_ensure_fd_no_transport": ["fd"],
    "_sendfile_native": ["transp", "file", "offset", "count"],
    "_process_events": ["event_list"],
    "_add_reader": ["fd", "callback", "args"],
    "_remove_reader": ["fd"],
    "_add_writer": ["fd", "callback", "args"],
    "_remove_writer": ["fd"],
    "_run_once": [],
    "_write_to_self": [],
    "_check_closed": [],
    "_check_thread": [],
    "_check_callback": ["callback", "method"],
    "_timer_handle_cancelled": ["handle"],
}  # fmt: skip


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook(name: str) -> None:
    function = getattr(LOOP, name, None)
    assert function is not None, f"asyncio has no {name}() any more: see who in glassloop.loop overrides it"
    parameters = list(inspect.signature(function).parameters.values())[1:]
    expected = HOOKS[name]
    assert [parameter.name for parameter in parameters[: len(expected)]] == expected, f"{name}() has changed"
    for parameter in parameters[len(expected) :]:
        optional = parameter.default is not inspect.Parameter.empty or parameter.kind in (
            inspect.Parameter.VAR_POSITIONAL,
            inspect.Parameter.VAR_KEYWORD,
        )
        assert optional, f"{name}() needs {parameter.name!r}, which glassloop does not pass"


def test_the_attributes_of_a_loop() -> None:
    loop: Any = LOOP()
    try:
        for name in (
            "_selector", "_ready", "_scheduled", "_stopping", "_closed", "_debug", "_thread_id",
            "_clock_resolution", "_transports", "_ssock", "_csock",
            "_exception_handler", "_task_factory", "_current_handle",
            "_signal_handlers", "_timer_cancelled_count", "slow_callback_duration",
        ):  # fmt: skip
            assert hasattr(loop, name), f"asyncio's loop has no {name} any more"
    finally:
        loop.close()


def test_the_parts_of_a_server() -> None:
    server: Any = asyncio.base_events.Server
    for name in ("_attach", "_detach", "_wakeup", "_start_serving"):
        assert hasattr(server, name), f"asyncio's Server has no {name} any more"


def test_the_registers_of_tasks() -> None:
    tasks: Any = asyncio.tasks
    for name in ("_register_task", "_unregister_task", "_enter_task", "_leave_task", "_PyTask", "_CTask"):
        assert hasattr(tasks, name), f"asyncio.tasks has no {name} any more"
    assert tasks.Task is tasks._CTask, "asyncio runs on its tasks in Python: glassloop needs those in C"
