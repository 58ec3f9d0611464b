"""A real gunicorn with two GlassWorkers: it serves on glassloop, and SIGTERM ends it."""

import http.client
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

NEEDED = ("gunicorn", "uvicorn", "uvicorn_worker")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]

APP = """
import asyncio, json, os

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    loop = type(asyncio.get_running_loop())
    name = f"{loop.__module__}.{loop.__qualname__}"
    body = json.dumps({"loop": name, "pid": os.getpid(), "path": scope["path"]})
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body.encode()})
"""


@pytest.fixture
def gunicorn(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A running gunicorn and its port; it has been seen to listen with both workers booted."""
    if MISSING:
        pytest.skip(f"not installed: {', '.join(MISSING)}")
    (tmp_path / "program.py").write_text(APP)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        # gunicorn adopts the listening socket, so that nobody can take the port in between.
        process = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-k", "glassloop.gunicorn.GlassWorker", "-w", "2"]
            + ["-b", f"fd://{listener.fileno()}", "--worker-tmp-dir", str(tmp_path), "program:app"],
            cwd=tmp_path,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            pass_fds=[listener.fileno()],
            stderr=subprocess.PIPE,
            text=True,
        )
    assert process.stderr is not None
    try:
        booted = 0
        while booted < 2:
            line = process.stderr.readline()
            assert line, f"gunicorn ended with status {process.wait()}"
            booted += "Application startup complete" in line
        yield process, port
    finally:
        process.kill()
        process.communicate()


def ask(port: int) -> dict[str, object]:
    """Request a page on a connection of its own and return what the worker says of itself."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/where")
    response = connection.getresponse()
    assert response.status == 200
    answer: dict[str, object] = json.loads(response.read())
    connection.close()
    return answer


def test_gunicorn_serves_on_glassloop_and_stops_on_sigterm(
    gunicorn: tuple[subprocess.Popen[str], int],
) -> None:
    process, port = gunicorn
    answers = [ask(port) for _ in range(8)]
    assert {answer["loop"] for answer in answers} == {"glassloop.loop.EventLoop"}
    assert {answer["path"] for answer in answers} == {"/where"}
    assert process.pid not in {answer["pid"] for answer in answers}
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert "Traceback" not in log


def test_without_gunicorn_the_error_says_what_to_install() -> None:
    code = (
        "import sys\nsys.modules['uvicorn_worker'] = None\ntry:\n    import glassloop.gunicorn\n"
        "except ImportError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert "pip install 'glassloop[gunicorn]'" in done.stdout
    assert "needs gunicorn, uvicorn and uvicorn-worker" in done.stdout
