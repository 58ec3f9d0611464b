"""TLS: echo servers on each loop under one load generator in C over OpenSSL, and what a connection takes.

The load generator (`native/tls_load.c`) checks every byte that comes back. What OpenSSL itself takes is the
same for all, and so is in every figure. Each handshake is a full one, with a P-256 certificate.
"""

import importlib.util
import json
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path

from benchmarks import loops, node, processes, quiet
from benchmarks.native import Native
from benchmarks.questions import Better, Effort, Failed, Figure, Question, Summary

_CLIENTS = 32
_IDLE_CONNECTIONS = 1000
_IDLE_WARM = 100  # connections that stay open from before the first look at the memory

# Lives as long as the run: the certificate is in it.
_folder = tempfile.TemporaryDirectory(prefix="glassloop-bench-tls-")


@cache
def _certificate() -> str:
    """Return the path of a new certificate with its key."""
    path = Path(_folder.name) / "certificate.pem"
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subject = ["-subj", "/CN=localhost", "-days", "2"]
    command = ["openssl", "req", "-x509", *new_key, *subject, "-keyout", str(path), "-out", "/dev/stdout"]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode != 0:
        raise Failed(f"openssl makes no certificate: {made.stderr.strip()[-200:]}")
    with path.open("a") as file:
        file.write(made.stdout)
    return str(path)


def _command(kind: str, loop: str) -> list[str]:
    if loop == loops.NODE:
        return node.script("server", "tls-echo", _certificate(), _certificate())
    return [sys.executable, "-m", "benchmarks.tls_servers", kind, loop, _certificate()]


def _rates(native: Native, effort: Effort, *arguments: int | str) -> dict[str, float]:
    command = [native.tls_load, *map(str, arguments), str(effort.warmup_ms), str(effort.window_ms)]
    output = processes.run(command, time_limit_s=effort.time_limit_s, cpu=quiet.load_cpu())
    result: dict[str, float] = json.loads(output)
    return {
        "cpu": result["server_cpu_seconds"] / result["requests"] * 1e6,
        "rate": result["requests"] / result["seconds"],
    }


def _measure_echo(
    kind: str, connections: int, size: int, native: Native, loop: str, effort: Effort
) -> dict[str, float]:
    with processes.server(_command(kind, loop)) as server:
        return _rates(native, effort, "echo", server.port, server.pid, connections, size)


def _measure_handshakes(kind: str, native: Native, loop: str, effort: Effort) -> dict[str, float]:
    with processes.server(_command(kind, loop)) as server:
        return _rates(native, effort, "handshakes", server.port, server.pid, _CLIENTS)


def _measure_idle(kind: str, size: int, loop: str, effort: Effort) -> dict[str, float]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(_certificate())
    count = max(int(_IDLE_CONNECTIONS * effort.scale), 50)
    with processes.server(_command(kind, loop)) as server, ExitStack() as open_sockets:
        for _ in range(_IDLE_WARM):
            open_sockets.enter_context(_connect_and_echo(context, server.port, size))
        before = processes.user_bytes(server.pid)
        for _ in range(count):
            open_sockets.enter_context(_connect_and_echo(context, server.port, size))
        return {"value": (processes.user_bytes(server.pid) - before) / count / 1024}


def _connect_and_echo(context: ssl.SSLContext, port: int, size: int) -> ssl.SSLSocket:
    """Open a connection over which one message has gone both ways: what the server makes for it is made."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=10)
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # no TIME_WAIT is left
    client = context.wrap_socket(plain, server_hostname="localhost")
    message = b"%032d" % client.fileno() * (size // 32)
    client.sendall(message)
    answer = b""
    while len(answer) < len(message):
        part = client.recv(len(message) - len(answer))
        if not part:
            break
        answer += part
    if answer != message:
        client.close()
        raise Failed(f"{len(answer)} bytes came back for {len(message)}, or others")
    return client


def questions(native: Native) -> list[Question]:
    """Return the questions of this family."""
    missing = native.tls_missing or (None if shutil.which("openssl") else "no openssl on the PATH")
    no_aiofastnet = None if importlib.util.find_spec("aiofastnet") else "aiofastnet is not installed"
    asked = []
    for kind, of, absent in (("plain", "", None), ("aiofastnet", ", by aiofastnet", no_aiofastnet)):
        # Of aiofastnet the ratios are to aiofastnet on uvloop; its columns stand beside the loop's own.
        prefix = "tls" if kind == "plain" else "tls_aiofastnet"
        for size, title, target in ((1024, "1 KiB", 3.6), (16384, "16 KiB", 2.4)):
            wanted = target if kind == "plain" else None
            figures = (
                Figure("cpu", "server CPU µs per request", Better.LESS, wanted),
                Figure("rate", "requests/s", Better.MORE, wanted),
            )
            measure = partial(_measure_echo, kind, 100, size, native)
            asked.append(
                Question(
                    "tls",
                    f"{prefix}_{size // 1024}k_100",
                    f"TLS echo, {title} × 100 connections{of}",
                    figures,
                    Summary.MEDIAN,
                    measure,
                    unavailable=missing or absent,
                    has_node=kind == "plain",
                )
            )
        wanted = 1.0 if kind == "plain" else None
        asked.append(
            Question(
                "tls",
                f"{prefix}_handshakes",
                f"TLS handshakes{of}",
                (
                    Figure("cpu", "server CPU µs per handshake", Better.LESS, wanted),
                    Figure("rate", "handshakes/s", Better.MORE, wanted),
                ),
                Summary.MEDIAN,
                partial(_measure_handshakes, kind, native),
                unavailable=missing or absent,
                has_node=kind == "plain",
            )
        )
        for size, after in ((32, ""), (16384, " after 16 KiB each way")):
            limit = 26 if kind == "plain" and size == 32 else None
            asked.append(
                Question(
                    "tls",
                    f"{prefix}_idle{'' if size == 32 else '_16k'}",
                    f"idle TLS connection{after}, user memory{of}",
                    (Figure("value", "KiB", Better.LESS, target_value=limit),),
                    Summary.MEDIAN,
                    partial(_measure_idle, kind, size),
                    unavailable=missing or absent,
                    has_node=kind == "plain",
                )
            )
    return asked
