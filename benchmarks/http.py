"""HTTP: the frameworks that people run, saying hello on each loop, under wrk on a CPU apart."""

import http.client
import importlib.util
import json
import shutil
import sys
from functools import partial
from pathlib import Path

from benchmarks import loops, node, processes, quiet
from benchmarks.processes import Server
from benchmarks.questions import Better, Effort, Failed, Figure, Question, Summary
from benchmarks.servers import HELLO

_CONNECTIONS = 64
_SUMMARY_SCRIPT = Path(__file__).parent / "native" / "summary.lua"


def questions() -> list[Question]:
    """Return the questions of this family."""
    figures = (
        Figure("rate", "requests/s", Better.MORE),
        Figure("cpu", "server CPU µs per request", Better.LESS),
    )
    frameworks = (
        ("uvicorn", "uvicorn[httptools] hello, wrk", 1.4, ("uvicorn", "httptools")),
        ("aiohttp", "aiohttp hello, wrk", 1.45, ("aiohttp",)),
    )
    return [
        Question(
            "http",
            name,
            title,
            tuple(Figure(figure.key, figure.unit, figure.better, target) for figure in figures),
            Summary.MEDIAN,
            partial(_measure, name),
            unavailable=_missing(packages),
            has_node=True,
        )
        for name, title, target, packages in frameworks
    ]


def _missing(packages: tuple[str, ...]) -> str | None:
    if shutil.which("wrk") is None:
        return "wrk is not installed (Debian: apt-get install wrk)"
    absent = [package for package in packages if importlib.util.find_spec(package) is None]
    return f"not installed: {', '.join(absent)}" if absent else None


def _measure(kind: str, loop: str, effort: Effort) -> dict[str, float]:
    # Node's own HTTP stands beside each framework: what its users would take for the same.
    of_python = [sys.executable, "-m", "benchmarks.servers", kind, loop]
    with processes.server(node.script("server", "http") if loop == loops.NODE else of_python) as server:
        response_size = _check_response(server)
        command = ["wrk", "-t1", f"-c{_CONNECTIONS}", f"-d{effort.wrk_seconds}s"]
        command += ["-s", str(_SUMMARY_SCRIPT), f"http://127.0.0.1:{server.port}/"]
        before = server.cpu_seconds()
        output = processes.run(command, time_limit_s=effort.time_limit_s, cpu=quiet.load_cpu())
        cpu_seconds = server.cpu_seconds() - before
    summary: dict[str, float] = json.loads(output.splitlines()[-1])
    _check_summary(summary, response_size)
    requests = summary["requests"]
    return {"rate": requests / summary["seconds"], "cpu": cpu_seconds / requests * 1e6}


def _check_response(server: Server) -> int:
    """Ask once; check status and body and return the size of the whole response in bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("GET", "/")
        response = connection.getresponse()
        body = response.read()
        if response.status != 200 or body != HELLO:
            raise Failed(f"status {response.status} with {body[:80]!r}")
        head = b"HTTP/1.1 200 OK\r\n" + b"".join(
            f"{name}: {value}\r\n".encode() for name, value in response.getheaders()
        )
        return len(head) + len(b"\r\n") + len(body)
    except OSError as error:
        raise Failed(f"no response: {error}") from None
    finally:
        connection.close()


def _check_summary(summary: dict[str, float], response_size: int) -> None:
    """Check that every response was 200, and that as many bytes came as so many responses have."""
    failures = {kind: number for kind, number in summary.items() if kind.startswith("error_") and number}
    if failures or not summary["requests"]:
        raise Failed(f"wrk counted {failures or 'no responses'}")
    # The responses on their way at the end are counted in part.
    missing = abs(summary["bytes"] - summary["requests"] * response_size)
    if missing > _CONNECTIONS * response_size:
        raise Failed(f"{summary['bytes']:.0f} bytes are not {summary['requests']:.0f} × {response_size}")
