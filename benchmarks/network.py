"""Network: TCP servers on each loop under the same load generator, in processes and on CPUs apart.

The load generator is in C (`native/load.c`) and checks every byte that comes back. The limit is an echo
server in C. Server CPU per request tells what the loop costs; requests/s is what clients see, and depends on
the load generator too.
"""

import json
import resource
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from functools import partial

from benchmarks import loops, node, processes, quiet
from benchmarks.native import Native
from benchmarks.processes import Server
from benchmarks.questions import Better, Effort, Failed, Figure, Question, Summary

_IDLE_CONNECTIONS = 5000
_IDLE_WARM = 100  # connections that stay open from before the first look at the memory
_STORM_CLIENTS = 1000
_STORM_SIZE = 64
_CHURN_CLIENTS = 64
_CHURN_SIZE = 64

# What the limit does for a kind of server, where it is not to echo over connections that stay open.
_LIMITS = {"echo-close": "close", "echo-datagrams": "datagrams"}


def _server(kind: str, native: Native, loop: str) -> AbstractContextManager[Server]:
    if loop == loops.NODE:
        return processes.server(node.script("server", kind))
    if loop == loops.LIMIT:
        return processes.server([native.echo, _LIMITS.get(kind, "keep")])
    return processes.server([sys.executable, "-m", "benchmarks.servers", kind, loop])


def _load(native: Native, effort: Effort, *arguments: int | str) -> dict[str, float]:
    command = [native.load, *map(str, arguments)]
    output = processes.run(command, time_limit_s=effort.time_limit_s, cpu=quiet.load_cpu())
    result: dict[str, float] = json.loads(output)
    return result


def _rates(result: dict[str, float]) -> dict[str, float]:
    return {
        "cpu": result["server_cpu_seconds"] / result["requests"] * 1e6,
        "rate": result["requests"] / result["seconds"],
        "load_busy": result["load_cpu_seconds"] / result["seconds"],
    }


def measure_echo(
    kind: str, connections: int, size: int, depth: int, native: Native, loop: str, effort: Effort
) -> dict[str, float]:
    """Return server CPU time and rate of an echo server of this kind, over connections or to peers."""
    with _server(kind, native, loop) as server:
        window = (effort.warmup_ms, effort.window_ms)
        mode = "datagrams" if kind == "echo-datagrams" else "echo"
        return _rates(_load(native, effort, mode, server.port, server.pid, connections, size, depth, *window))


def _measure_churn(native: Native, loop: str, effort: Effort) -> dict[str, float]:
    with _server("echo-close", native, loop) as server:
        window = (effort.warmup_ms, effort.window_ms)
        return _rates(
            _load(native, effort, "churn", server.port, server.pid, _CHURN_CLIENTS, _CHURN_SIZE, *window)
        )


def _measure_storm(kind: str, native: Native, loop: str, effort: Effort) -> dict[str, float]:
    with _server(kind, native, loop) as server:
        result = _load(native, effort, "storm", server.port, _STORM_CLIENTS, _STORM_SIZE)
        return {"value": result["seconds"] * 1e3}


def _measure_idle(native: Native, loop: str, effort: Effort) -> dict[str, float]:
    count = max(int(_IDLE_CONNECTIONS * effort.scale), _IDLE_WARM)
    with _server("echo", native, loop) as server, ExitStack() as open_sockets:
        for _ in range(_IDLE_WARM):
            open_sockets.enter_context(_connect_and_echo(server.port))
        before = processes.user_bytes(server.pid)
        for _ in range(count):
            open_sockets.enter_context(_connect_and_echo(server.port))
        return {"value": (processes.user_bytes(server.pid) - before) / count}


def _measure_client(kind: str, count: int, native: Native, loop: str, effort: Effort) -> dict[str, float]:
    """The server is asyncio's for all loops; where the measured one has both ends, it only waits."""
    count = max(int(count * effort.scale), 1000)
    with _server("close", native, "asyncio") as server:
        command = [sys.executable, "-m", "benchmarks.clients", kind, loop, str(server.port), str(count)]
        return {
            "value": float(processes.run(command, time_limit_s=effort.time_limit_s, cpu=quiet.load_cpu()))
        }


def _connect_and_echo(port: int) -> socket.socket:
    """Open a connection over which one message has gone both ways: what the server makes for it is made."""
    client = socket.create_connection(("127.0.0.1", port), timeout=10)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # no TIME_WAIT is left
    message = b"%032d" % client.fileno()
    client.sendall(message)
    answer = client.recv(len(message), socket.MSG_WAITALL)
    if answer != message:
        client.close()
        raise Failed(f"{answer!r} came back for {message!r}")
    return client


def _raise_file_limit() -> str | None:
    """Allow as many open files as the idle connections take, or return why not. Servers inherit it."""
    needed = _IDLE_CONNECTIONS + _IDLE_WARM + 200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        return f"it takes {needed} open files, and the hard limit is {hard}"
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    return None


def rate_figures(target_ratio: float | None) -> tuple[Figure, ...]:
    """Return the figures of a server: what a request costs it, and how many are answered."""
    return (
        Figure("cpu", "server CPU µs per request", Better.LESS, target_ratio),
        Figure("rate", "requests/s", Better.MORE, target_ratio),
    )


def _one_figure(
    unit: str, target_value: float | None = None, target_ratio: float | None = None
) -> tuple[Figure, ...]:
    return (Figure("value", unit, Better.LESS, target_ratio, target_value),)


def questions(native: Native) -> list[Question]:
    """Return the questions of this family."""
    file_limit = _raise_file_limit()

    def ask(
        name: str,
        title: str,
        figures: tuple[Figure, ...],
        measure: Callable[[str, Effort], dict[str, float]],
        unavailable: str | None = None,
        has_limit: bool = True,
        has_node: bool = True,
    ) -> Question:
        reason = native.programs_missing or unavailable
        return Question(
            "network", name, title, figures, Summary.MEDIAN, measure, has_limit, reason, has_node=has_node
        )

    def echo(
        name: str,
        title: str,
        connections: int,
        size: int,
        target: float | None,
        depth: int = 1,
        kind: str = "echo",
    ) -> Question:
        measure = partial(measure_echo, kind, connections, size, depth, native)
        return ask(name, title, rate_figures(target), measure, has_node=kind == "echo")

    def client(
        name: str, title: str, kind: str, count: int, target: float | None, unit: str = "CPU µs per operation"
    ) -> Question:
        measure = partial(_measure_client, kind, count, native)
        figures = _one_figure(unit, target_ratio=target)
        return ask(name, title, figures, measure, has_limit=False, has_node=False)

    storm = partial(_measure_storm, "echo-default-backlog", native)
    storm_with_room = partial(_measure_storm, "echo", native)
    idle = partial(_measure_idle, native)
    churn = partial(_measure_churn, native)
    return [
        echo("echo_64_100", "Protocol echo, 64 B × 100 connections", 100, 64, 1.15),
        echo("echo_64_1000", "Protocol echo, 64 B × 1000", 1000, 64, 1.15),
        echo("echo_1k_100", "Protocol echo, 1 KiB × 100", 100, 1024, 1.15),
        echo("echo_1k_1000", "Protocol echo, 1 KiB × 1000", 1000, 1024, 1.15),
        echo("echo_16k_100", "Protocol echo, 16 KiB × 100", 100, 16384, 1.0),
        echo("echo_16k_1000", "Protocol echo, 16 KiB × 1000", 1000, 16384, 1.0),
        echo("echo_128k_100", "Protocol echo, 128 KiB × 100", 100, 131072, 1.0),
        echo("echo_128k_1000", "Protocol echo, 128 KiB × 1000", 1000, 131072, 1.0),
        echo("echo_1k_1", "Protocol echo, 1 KiB × 1", 1, 1024, 1.0),
        echo("echo_1k_100_deep", "Protocol echo, 1 KiB × 100, 16 in flight each", 100, 1024, 1.0, depth=16),
        echo("apart_1k_100", "header and body in 2 writes, 1 KiB × 100", 100, 1024, 2.3, kind="echo-apart"),
        echo(
            "in_four_1k_100", "headers and body in 4 writes, 1 KiB × 100", 100, 1024, 2.3, kind="echo-in-four"
        ),
        echo("streams_1k_100", "streams echo, 1 KiB × 100", 100, 1024, 1.4, kind="echo-streams"),
        echo("streams_16k_100", "streams echo, 16 KiB × 100", 100, 16384, 1.4, kind="echo-streams"),
        echo("buffered_1k_100", "BufferedProtocol echo, 1 KiB × 100", 100, 1024, None, kind="echo-buffered"),
        client("streams_both", "streams echo, both ends on the loop, 1 KiB × 50", "streams", 20_000, 1.3),
        client("unix_both", "Unix echo, both ends on the loop, 1 KiB × 50", "unix", 30_000, 1.15),
        client("connect", "open_connection and close, 10 at a time", "connect", 3000, 1.2),
        client(
            "spawn",
            "start a process and communicate, 10 at a time",
            "spawn",
            1000,
            2.5,
            "wall µs per process",
        ),
        client("pipe", "a pipe, both ends on the loop, 64 KiB a write", "pipe", 20_000, 1.2),
        client("sendfile", "loop.sendfile, or read and write, of 4 MiB", "sendfile", 1000, None),
        ask("churn", "accept, one request, close", rate_figures(1.1), churn),
        ask(
            "storm",
            "1000 clients at once until all are answered, default backlog",
            _one_figure("ms", 40),
            storm,
        ),
        ask(
            "storm_backlog",
            "1000 clients at once until all are answered, backlog 4096",
            _one_figure("ms"),
            storm_with_room,
        ),
        ask(
            "idle_connection",
            "idle connection, user memory",
            _one_figure("bytes", 600),
            idle,
            unavailable=file_limit,
            has_limit=False,
        ),
    ]
