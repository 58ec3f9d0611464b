"""Probes of what runs: versions, the Task implementation in use, and whether a loop works at all."""

import asyncio
import os
import platform
import socket
import struct
import sys
import sysconfig
from pathlib import Path

import glassloop
from glassloop._core import native_status
from glassloop.cli._findings import Finding, State


def probe_versions() -> list[Finding]:
    """Return the versions of glassloop and of all that it stands on."""
    python = (
        f"{platform.python_implementation()} {platform.python_version()}, {struct.calcsize('P') * 8} bits"
    )
    kernel = f"{platform.system()} {platform.release()} {platform.machine()}"
    return [
        Finding("versions", "glassloop", glassloop.__version__),
        Finding("versions", "Python", f"{python}, {sys.executable}"),
        Finding("versions", "kernel", kernel),
        Finding("versions", "libc", _find_libc()),
        _probe_openssl(),
    ]


def probe_engine() -> list[Finding]:
    """Return which tasks glassloop uses and what slows every loop of this interpreter down."""
    implementation, reason = native_status()
    if implementation == "native":
        tasks = Finding("engine", "tasks", f"native: {reason}")
    else:
        tasks = Finding(
            "engine",
            "tasks",
            f"{implementation}: {reason}",
            State.POOR,
            "all works, but slower: glassloop's own tasks need the version of CPython that it was built for",
        )
    return [tasks, *_probe_interpreter(), _probe_loop()]


def _probe_interpreter() -> list[Finding]:
    findings = []
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        gil_is_on = getattr(sys, "_is_gil_enabled", lambda: True)()
        findings.append(
            Finding(
                "engine",
                "free threading",
                "with the GIL on" if gil_is_on else "with the GIL off",
                State.NOTE if gil_is_on else State.POOR,
                "glassloop is tested with the GIL; on a free-threaded build it runs with the GIL on",
            )
        )
    if hasattr(sys, "gettotalrefcount"):
        advice = "this Python was built with --with-pydebug: good for finding faults, several times slower"
        findings.append(Finding("engine", "debug build", "yes", State.NOTE, advice))
    if sys.flags.dev_mode or os.environ.get("PYTHONASYNCIODEBUG"):
        advice = "-X dev or PYTHONASYNCIODEBUG is set: every loop starts in debug mode, several times slower"
        findings.append(Finding("engine", "asyncio debug mode", "on", State.NOTE, advice))
    return findings


def _probe_loop() -> Finding:
    """Run a small program on glassloop: a timer, a thread, an echo over TCP on loopback."""
    try:
        glassloop.run(asyncio.wait_for(_exercise(), 20))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the finding
        advice = (
            "glassloop does not work here; please report this output and `python -m glassloop doctor --json`"
        )
        return Finding("engine", "a loop runs", f"no: {error!r}", State.BROKEN, advice)
    return Finding("engine", "a loop runs", "yes: timer, thread, TCP echo")


async def _exercise() -> None:
    loop = asyncio.get_running_loop()
    if not isinstance(loop, glassloop.EventLoop):
        raise TypeError(f"the loop that runs is a {type(loop).__qualname__}")
    await asyncio.sleep(0.001)
    await loop.run_in_executor(None, os.getpid)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(5))
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0, family=socket.AF_INET)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"hello")
    answer = await reader.read()
    writer.close()
    server.close()
    if answer != b"hello":
        raise RuntimeError(f"an echo server answered {answer!r} to b'hello'")


def _probe_openssl() -> Finding:
    try:
        import ssl
    except ImportError as error:
        return Finding(
            "versions", "OpenSSL", f"none: {error}", State.NOTE, "this Python was built without TLS"
        )
    return Finding("versions", "OpenSSL", ssl.OPENSSL_VERSION)


def _find_libc() -> str:
    try:
        name = os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):
        name = None
    if name:
        return name
    musl = next(Path("/lib").glob("ld-musl-*"), None)
    return f"musl ({musl.name})" if musl else "unknown"
