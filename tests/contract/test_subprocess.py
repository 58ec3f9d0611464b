"""Child processes: streams, protocols, transports, ends and errors."""

import asyncio
import os
import signal
import sys
import warnings
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import Iterator
from typing import Any

import pytest

from .support import Run, open_descriptors, pattern, until

PYTHON = sys.executable


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Let Python 3.12 and 3.13 say in peace that their child watchers will go."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def python(code: str) -> tuple[str, ...]:
    """Return the arguments that run a piece of Python."""
    return (PYTHON, "-S", "-E", "-c", code)


def test_communicate(run: Run) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        assert process.pid > 0
        assert process.returncode is None
        result: Any = await process.communicate(b"through cat")
        assert result == (b"through cat", None)
        assert process.returncode == 0
        assert await process.wait() == 0

    run(main())


def test_shell(run: Run) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_shell(
            "echo out; echo err >&2; exit 3", stdout=PIPE, stderr=PIPE
        )
        out, err = await process.communicate()
        assert (out, err) == (b"out\n", b"err\n")
        assert process.returncode == 3

    run(main())


def test_much_data(run: Run) -> None:
    async def main() -> None:
        data = pattern(2_000_000)
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        out, _ = await process.communicate(data)
        assert out == data

    run(main())


def test_where_output_goes(run: Run) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_shell("echo out; echo err >&2", stdout=PIPE, stderr=STDOUT)
        assert sorted((await process.communicate())[0].split()) == [b"err", b"out"]
        process = await asyncio.create_subprocess_shell(
            "cat; echo out", stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL
        )
        result: Any = await process.communicate()
        assert result == (None, None)
        assert process.stdin is None and process.stdout is None and process.stderr is None

    run(main())


def test_reading_line_by_line(run: Run) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        assert process.stdin is not None and process.stdout is not None
        for number in range(10):
            process.stdin.write(b"line %d\n" % number)
            await process.stdin.drain()
            assert await process.stdout.readline() == b"line %d\n" % number
        process.stdin.close()
        assert await process.stdout.read() == b""
        assert await process.wait() == 0

    run(main())


@pytest.mark.parametrize(
    ("method", "number"),
    [("terminate", signal.SIGTERM), ("kill", signal.SIGKILL), ("send_signal", signal.SIGINT)],
)
def test_signals(run: Run, method: str, number: int) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec("sleep", "1000")
        getattr(process, method)(*([number] if method == "send_signal" else []))
        assert await process.wait() == -number
        assert process.returncode == -number
        # It is gone: another signal is an error or nothing, but never reaches a stranger.
        if method == "send_signal":
            with pytest.raises(ProcessLookupError):
                process.send_signal(number)

    run(main())


def test_wait_from_several_tasks(run: Run) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE)
        waiters = [asyncio.create_task(process.wait()) for _ in range(5)]
        await asyncio.sleep(0.005)
        assert not any(waiter.done() for waiter in waiters)
        assert process.stdin is not None
        process.stdin.close()
        assert list(await asyncio.gather(*waiters)) == [0] * 5

    run(main())


def test_cancelling_wait_and_communicate(run: Run) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(process.wait(), 0.01)
        assert process.stdin is not None and process.stdout is not None
        reading = asyncio.create_task(process.stdout.read())
        await asyncio.sleep(0.005)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        process.kill()
        assert await process.wait() == -signal.SIGKILL

    run(main())


def test_a_command_that_is_not_there(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(FileNotFoundError):
            await asyncio.create_subprocess_exec("/no/such/program", stdin=PIPE, stdout=PIPE)
        with pytest.raises(PermissionError):
            await asyncio.create_subprocess_exec("/", stdout=PIPE)

    run(main())


def test_what_is_refused(run: Run) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        factory = asyncio.SubprocessProtocol
        for options, text in (
            ({"universal_newlines": True}, "universal_newlines must be False"),
            ({"shell": True}, "shell must be False"),
            ({"bufsize": 10}, "bufsize must be 0"),
            ({"text": True}, "text must be False"),
            ({"encoding": "utf-8"}, "encoding must be None"),
            ({"errors": "strict"}, "errors must be None"),
        ):
            with pytest.raises(ValueError, match=text):
                await loop.subprocess_exec(factory, "true", **options)
        with pytest.raises(ValueError, match="cmd must be a string"):
            await loop.subprocess_shell(factory, 42)
        with pytest.raises(ValueError, match="shell must be True"):
            await loop.subprocess_shell(factory, "true", shell=False)

    run(main())


def test_options_are_passed_on(run: Run, tmp_path: Any) -> None:
    async def main() -> None:
        code = "import os; print(os.getcwd(), os.environ['COLOUR'], os.getpgid(0) == os.getpid())"
        process = await asyncio.create_subprocess_exec(
            *python(code), stdout=PIPE, cwd=tmp_path, env={"COLOUR": "red"}, start_new_session=True
        )
        out, _ = await process.communicate()
        assert out.decode().split() == [str(tmp_path), "red", "True"]

    run(main())


def test_descriptors_are_passed_on(run: Run) -> None:
    async def main() -> None:
        read_end, write_end = os.pipe()
        process = await asyncio.create_subprocess_exec(
            *python(f"import os; os.write({write_end}, b'hello')"), pass_fds=(write_end,)
        )
        os.close(write_end)
        assert await process.wait() == 0
        assert os.read(read_end, 100) == b"hello"
        os.close(read_end)

    run(main())


def test_many_at_once(run: Run) -> None:
    async def main() -> None:
        async def one(number: int) -> bytes:
            process = await asyncio.create_subprocess_exec("echo", str(number), stdout=PIPE)
            out, _ = await process.communicate()
            assert process.returncode == 0
            return out

        results = await asyncio.gather(*(one(number) for number in range(12)))
        assert list(results) == [b"%d\n" % number for number in range(12)]

    run(main())


def test_a_process_that_ends_before_anyone_looks(run: Run) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec("echo", "done", stdout=PIPE)
        await until(lambda: process.returncode is not None)
        assert process.stdout is not None
        assert await process.stdout.read() == b"done\n"
        assert await process.wait() == 0

    run(main())


def test_writing_to_a_process_that_ended(run: Run) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_exec("true", stdin=PIPE)
        await process.wait()
        # communicate() forgives a broken pipe.
        result: Any = await process.communicate(pattern(500_000))
        assert result == (None, None)

    run(main())


class Recording(asyncio.SubprocessProtocol):
    """Records what it is told."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.data: dict[int, bytes] = {1: b"", 2: b""}
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.calls.append("made")
        self.transport = transport

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        self.data[fd] += data

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self.calls.append(f"pipe {fd} lost")

    def process_exited(self) -> None:
        self.calls.append("exited")

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("lost")
        self.lost.set_result(None)


def test_the_protocol(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.subprocess_shell(Recording, "cat; echo err >&2; exit 5")
        assert isinstance(transport, asyncio.SubprocessTransport)
        assert protocol.calls == ["made"]
        assert transport.get_pid() > 0
        assert transport.get_returncode() is None
        assert transport.get_extra_info("subprocess").pid == transport.get_pid()
        stdin: Any = transport.get_pipe_transport(0)
        assert isinstance(stdin, asyncio.WriteTransport)
        assert isinstance(transport.get_pipe_transport(1), asyncio.ReadTransport)
        assert isinstance(transport.get_pipe_transport(2), asyncio.ReadTransport)
        assert transport.get_pipe_transport(3) is None
        stdin.write(b"to cat")
        stdin.close()
        await protocol.lost
        assert protocol.data == {1: b"to cat", 2: b"err\n"}
        assert protocol.calls[0] == "made" and protocol.calls[-1] == "lost"
        assert sorted(protocol.calls[1:-1]) == ["exited", "pipe 0 lost", "pipe 1 lost", "pipe 2 lost"]
        assert transport.get_returncode() == 5
        with pytest.raises(ProcessLookupError):
            transport.send_signal(signal.SIGTERM)
        transport.close()

    run(main())


def test_closing_the_transport_kills(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.subprocess_exec(Recording, "sleep", "1000")
        assert not transport.is_closing()
        transport.close()
        assert transport.is_closing()
        await protocol.lost
        assert transport.get_returncode() == -signal.SIGKILL
        transport.close()

    run(main())


def test_a_process_that_closes_its_output_and_goes_on(run: Run) -> None:
    async def main() -> None:
        code = "import os, sys; os.close(1); os.close(2); os.read(0, 1)"
        process = await asyncio.create_subprocess_exec(*python(code), stdin=PIPE, stdout=PIPE)
        assert process.stdin is not None and process.stdout is not None
        assert await process.stdout.read() == b""
        assert process.returncode is None
        process.stdin.close()
        assert await process.wait() == 0

    run(main())


def test_a_grandchild_that_holds_the_pipe(run: Run) -> None:
    async def main() -> None:
        process = await asyncio.create_subprocess_shell("sleep 1000 & echo $!", stdout=PIPE)
        assert process.stdout is not None
        grandchild = int(await process.stdout.readline())
        await until(lambda: process.returncode is not None)
        reading = asyncio.create_task(process.stdout.read())
        await asyncio.sleep(0.005)
        assert not reading.done()
        os.kill(grandchild, signal.SIGKILL)
        assert await reading == b""

    run(main())


def test_no_descriptor_stays_open(run: Run) -> None:
    async def main() -> None:
        async def one() -> None:
            process = await asyncio.create_subprocess_exec("cat", stdin=PIPE, stdout=PIPE, stderr=PIPE)
            await process.communicate(b"x")

        await one()
        before = open_descriptors()
        for _ in range(3):
            await one()
        await until(lambda: open_descriptors() == before)

    run(main())


def test_other_work_goes_on(run: Run) -> None:
    async def main() -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        ticker = asyncio.create_task(tick())
        process = await asyncio.create_subprocess_exec(*python("print(6 * 7)"), stdout=PIPE)
        out, _ = await process.communicate()
        assert out == b"42\n"
        assert ticks > 1
        ticker.cancel()

    run(main())
