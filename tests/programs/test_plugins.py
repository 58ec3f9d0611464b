"""pytest's plugins for asynchronous tests, told to use the loop under test, each in a pytest of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

FACTORIES = """
import asyncio
import glassloop
import pytest

factory = {{"asyncio": asyncio.SelectorEventLoop, "glassloop": glassloop.new_event_loop}}[{loop_name!r}]
"""

PYTEST_ASYNCIO_CONFTEST = """
def pytest_asyncio_loop_factories(config, item):
    return {"under-test": factory}
"""

ANYIO_CONFTEST = """
@pytest.fixture
def anyio_backend():
    return "asyncio", {"loop_factory": factory}
"""

PYTEST_ASYNCIO_TESTS = """
import asyncio
import pytest
import pytest_asyncio

def loop_name():
    return type(asyncio.get_running_loop()).__module__.split(".")[0]

@pytest_asyncio.fixture
async def server():
    async def echo(reader, writer):
        writer.write(await reader.readline())
        writer.close()
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()

@pytest.mark.asyncio
async def test_loop():
    assert loop_name() == {loop_name!r}

@pytest.mark.asyncio
async def test_fixture(server):
    reader, writer = await asyncio.open_connection(*server)
    writer.write(b"hello\\n")
    assert await reader.readline() == b"hello\\n"
    writer.close()
    await writer.wait_closed()

@pytest.mark.asyncio(loop_scope="module")
class TestOneLoop:
    loops = set()

    @pytest.mark.parametrize("number", range(3))
    async def test_shared(self, number):
        self.loops.add(asyncio.get_running_loop())
        assert len(self.loops) == 1
"""

ANYIO_TESTS = """
import asyncio
import anyio
import pytest

pytestmark = pytest.mark.anyio

@pytest.fixture
async def stream():
    send, receive = anyio.create_memory_object_stream(1)
    async with send, receive:
        yield send, receive

async def test_loop():
    assert type(asyncio.get_running_loop()).__module__.split(".")[0] == {loop_name!r}

async def test_fixture(stream):
    send, receive = stream
    await send.send(1)
    assert await receive.receive() == 1
"""


def run_pytest(folder: Path, loop_name: str, conftest: str, tests: str, options: str) -> str:
    """Run these tests, with this conftest, in a pytest of their own; its output."""
    (folder / "conftest.py").write_text(FACTORIES.format(loop_name=loop_name) + conftest)
    (folder / "test_it.py").write_text(tests.format(loop_name=loop_name))
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options.split(), str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_pytest_asyncio(loop_name: str, tmp_path: Path) -> None:
    pytest.importorskip("pytest_asyncio", "1.4", reason="pytest-asyncio with loop factories is not installed")
    options = "-p no:anyio -o asyncio_default_fixture_loop_scope=function"
    output = run_pytest(tmp_path, loop_name, PYTEST_ASYNCIO_CONFTEST, PYTEST_ASYNCIO_TESTS, options)
    assert "5 passed" in output


def test_anyio(loop_name: str, tmp_path: Path) -> None:
    pytest.importorskip("anyio", reason="anyio is not installed")
    assert "2 passed" in run_pytest(tmp_path, loop_name, ANYIO_CONFTEST, ANYIO_TESTS, "-p no:asyncio")
