"""uvicorn with a FastAPI application, called by httpx and websockets.

As people run it: in a process of its own with ``uvicorn --loop glassloop:new_event_loop``, and through
``uvicorn.Server`` in a loop that runs already. The clients run on the loop under test too.
"""

import asyncio
import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from .support import PATIENCE_S, PAYLOAD, PAYLOAD_SHA256, Run, pieces

uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed")
httpx = pytest.importorskip("httpx", reason="httpx is not installed")
websockets = pytest.importorskip("websockets", reason="websockets is not installed")
pytest.importorskip("fastapi", reason="FastAPI is not installed")

LOOP_OPTIONS = {"asyncio": "asyncio", "glassloop": "glassloop:new_event_loop"}


@pytest.fixture(params=["httptools", "h11"])
def http(request: pytest.FixtureRequest) -> str:
    """The parser of HTTP that uvicorn uses: each has its own protocol class."""
    if request.param == "httptools":
        pytest.importorskip("httptools", reason="httptools is not installed")
    name: str = request.param
    return name


@pytest.fixture
def server(loop_name: str, http: str) -> Iterator[str]:
    """uvicorn in a process of its own. It must end well at SIGTERM, with the lifespan ended before."""
    command = [sys.executable, "-m", "uvicorn", "fastapi_app:app", "--app-dir", str(Path(__file__).parent)]
    command += ["--port", "0", "--http", http, "--loop", LOOP_OPTIONS[loop_name], "--no-access-log"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        output = ""
        for line in process.stdout:
            output += line
            if found := re.search(r"running on (http://\S+)", line):
                break
        else:
            pytest.fail(f"uvicorn did not start:\n{output}")
        try:
            yield found[1]
            process.send_signal(signal.SIGTERM)
            output += process.communicate(timeout=PATIENCE_S)[0]
        finally:
            process.kill()
    assert "lifespan ended" in output
    assert "Finished server process" in output
    assert "Traceback" not in output
    assert process.returncode in (0, -signal.SIGTERM)


@contextlib.asynccontextmanager
async def serve_here() -> AsyncIterator[str]:
    """uvicorn in the running loop."""
    from .fastapi_app import app

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.001)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await task


async def exercise(url: str, loop_name: str) -> None:
    """Use all that the application has, and look at each answer."""
    async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S, verify=False) as client:
        assert (await client.get("/loop")).json() == {"loop": loop_name}
        assert (await client.get("/items/x")).status_code == 422
        assert (await client.get("/threads/7")).json() == {"item": 7}
        answer = (await client.post("/sum", content=pieces(PAYLOAD))).json()
        assert answer == {"sha256": PAYLOAD_SHA256, "length": len(PAYLOAD)}
        async with client.stream("GET", "/stream/500") as response:
            assert [line async for line in response.aiter_lines()] == [f"line {n}" for n in range(500)]
        for name in ("one", "two", "three"):
            assert (await client.post(f"/jobs/{name}")).json() == {"queued": name}
        assert (await client.get("/jobs")).json() == ["ONE", "TWO", "THREE"]


async def exercise_websockets(url: str) -> None:
    """Echo messages of several sizes, and be refused."""
    url = url.replace("http", "ws")
    async with websockets.connect(f"{url}/echo", max_size=None) as socket:
        for size in (0, 1, 125, 126, 65_535, 65_536, 1_000_000):
            await socket.send("x" * size)
            assert await socket.recv() == "x" * size
    async with websockets.connect(f"{url}/refuse") as socket:
        with pytest.raises(websockets.ConnectionClosedError) as closed:
            await socket.recv()
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "not today")


async def fifty_clients(url: str) -> None:
    """Fifty connections at once, ten requests on each."""

    async def one(number: int) -> None:
        async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_S, verify=False) as client:
            for turn in range(10):
                wanted = 100 * number + turn
                kind = "threads" if turn % 5 == 4 else "items"
                assert (await client.get(f"/{kind}/{wanted}")).json() == {"item": wanted}

    async with asyncio.TaskGroup() as clients:
        for number in range(50):
            clients.create_task(one(number))


def test_uvicorn_in_its_own_process(run: Run, server: str, loop_name: str) -> None:
    async def main() -> None:
        await exercise(server, loop_name)
        await exercise_websockets(server)
        await fifty_clients(server)

    run(main())


def test_uvicorn_in_the_running_loop(run: Run, loop_name: str) -> None:
    async def main() -> None:
        async with serve_here() as url:
            await exercise(url, loop_name)
            await exercise_websockets(url)
            await fifty_clients(url)

    run(main())


def test_a_client_that_leaves_in_the_middle_of_a_stream(run: Run) -> None:
    async def main() -> None:
        async with serve_here() as url, httpx.AsyncClient(base_url=url) as client:
            async with client.stream("GET", "/stream/1000000") as response:
                async for _line in response.aiter_lines():
                    break
            assert (await client.get("/items/1")).json() == {"item": 1}

    run(main())
