"""Errors that a protocol's own methods raise: who is told, and what becomes of the connection."""

import asyncio
import socket
from typing import Any

import pytest

from .support import (
    BufferedRecorder,
    Context,
    Loop,
    Recorder,
    Run,
    attach,
    pattern,
    receive_to_end,
    shrink_buffers,
    turns,
    until,
)

Pair = tuple[socket.socket, socket.socket]


class Failure(Exception):
    """Raised by the protocols here."""


def failing(base: type[Any], method: str, error: type[BaseException] = Failure) -> Any:
    """Make a protocol that raises in one method, after it was recorded."""

    def fail(self: Any, *args: Any) -> Any:
        getattr(base, method)(self, *args)
        raise error(method)

    return type("Failing", (base,), {method: fail})()


def test_connection_made(run: Run, pair: Pair, errors: list[Context]) -> None:
    async def main() -> None:
        protocol = failing(Recorder, "connection_made")
        transport = await attach(pair[0], protocol)
        # asyncio reports it and keeps the connection.
        (context,) = errors
        assert set(context) == {"message", "exception", "handle"}
        assert context["message"].startswith("Exception in callback ")
        assert isinstance(context["exception"], Failure)
        pair[1].sendall(b"data")
        await protocol.until_received(4)
        transport.close()
        await protocol.lost

    run(main())


@pytest.mark.parametrize(
    ("base", "method", "message"),
    [
        (Recorder, "data_received", "Fatal error: protocol.data_received() call failed."),
        (BufferedRecorder, "buffer_updated", "Fatal error: protocol.buffer_updated() call failed."),
        (BufferedRecorder, "get_buffer", "Fatal error: protocol.get_buffer() call failed."),
    ],
)
def test_reading(
    run: Run, pair: Pair, errors: list[Context], base: type[Any], method: str, message: str
) -> None:
    async def main() -> None:
        protocol = failing(base, method)
        transport = await attach(pair[0], protocol)
        pair[1].sendall(b"data")
        exc = await protocol.lost
        assert isinstance(exc, Failure)
        assert transport.is_closing()
        (context,) = errors
        assert set(context) == {"message", "exception", "transport", "protocol"}
        assert context["message"] == message
        assert context["exception"] is exc
        assert context["transport"] is transport
        assert context["protocol"] is protocol

    run(main())


def test_eof_received(run: Run, pair: Pair, errors: list[Context]) -> None:
    async def main() -> None:
        protocol = failing(Recorder, "eof_received")
        await attach(pair[0], protocol)
        pair[1].shutdown(socket.SHUT_WR)
        exc = await protocol.lost
        assert isinstance(exc, Failure)
        (context,) = errors
        assert context["message"] == "Fatal error: protocol.eof_received() call failed."
        assert context["exception"] is exc
        assert protocol.calls == ["made", "eof", "lost"]

    run(main())


def test_an_empty_buffer(run: Run, pair: Pair, errors: list[Context]) -> None:
    async def main() -> None:
        protocol = BufferedRecorder(0)
        await attach(pair[0], protocol)
        pair[1].sendall(b"data")
        exc = await protocol.lost
        assert isinstance(exc, RuntimeError)
        assert str(exc) == "get_buffer() returned an empty buffer"
        assert errors[0]["message"] == "Fatal error: protocol.get_buffer() call failed."

    run(main())


@pytest.mark.parametrize("buffer", [b"not writable", 42, None, "text"])
def test_a_buffer_that_is_none(run: Run, pair: Pair, errors: list[Context], buffer: Any) -> None:
    async def main() -> None:
        class Odd(BufferedRecorder):
            def get_buffer(self, sizehint: int) -> Any:
                return buffer

        protocol = Odd()
        await attach(pair[0], protocol)
        pair[1].sendall(b"data")
        assert isinstance(await protocol.lost, (TypeError, BufferError))
        assert len(errors) == 1
        assert "data" not in protocol.calls

    run(main())


def test_connection_lost(run: Run, pair: Pair, errors: list[Context]) -> None:
    async def main() -> None:
        protocol = failing(Recorder, "connection_lost")
        transport = await attach(pair[0], protocol)
        transport.close()
        await protocol.lost
        await turns(2)
        (context,) = errors
        assert isinstance(context["exception"], Failure)
        assert context["message"].startswith("Exception in callback ")
        assert pair[0].fileno() == -1

    run(main())


@pytest.mark.parametrize("method", ["pause_writing", "resume_writing"])
def test_flow_control(run: Run, pair: Pair, errors: list[Context], method: str) -> None:
    async def main() -> None:
        shrink_buffers(*pair)
        protocol = failing(Recorder, method)
        transport = await attach(pair[0], protocol)
        data = pattern(1_000_000)
        transport.write(data)
        transport.close()
        assert await asyncio.to_thread(receive_to_end, pair[1]) == data
        assert await protocol.lost is None
        (context,) = errors
        assert context["message"] == f"protocol.{method}() failed"
        assert isinstance(context["exception"], Failure)
        assert context["transport"] is transport
        assert context["protocol"] is protocol

    run(main())


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize(
    ("base", "method"),
    [
        (Recorder, "connection_made"),
        (Recorder, "data_received"),
        (Recorder, "eof_received"),
        (Recorder, "connection_lost"),
        (BufferedRecorder, "get_buffer"),
        (BufferedRecorder, "buffer_updated"),
    ],
)
def test_exit_and_interrupt_leave_the_loop(
    loop: Loop, pair: Pair, errors: list[Context], kind: type[BaseException], base: type[Any], method: str
) -> None:
    protocol: Any = None

    async def main() -> None:
        nonlocal protocol
        protocol = failing(base, method, kind)
        pair[1].sendall(b"data")
        pair[1].shutdown(socket.SHUT_WR)
        await attach(pair[0], protocol)
        await asyncio.sleep(1000)

    task = loop.create_task(main())
    with pytest.raises(kind, match=method):
        loop.run_until_complete(task)
    assert errors == []
    task.cancel()
    protocol.transport.abort()
    with pytest.raises((asyncio.CancelledError, kind)):
        loop.run_until_complete(task)


def test_a_base_exception_of_another_kind(run: Run, pair: Pair, errors: list[Context]) -> None:
    async def main() -> None:
        protocol = failing(Recorder, "data_received", GeneratorExit)
        await attach(pair[0], protocol)
        pair[1].sendall(b"data")
        assert isinstance(await protocol.lost, GeneratorExit)
        assert len(errors) == 1

    run(main())


def test_an_os_error_is_not_reported(run: Run, pair: Pair, errors: list[Context]) -> None:
    async def main() -> None:
        # An OSError counts as the connection's own end, even if the protocol raises it.
        protocol = failing(Recorder, "data_received", ConnectionAbortedError)
        await attach(pair[0], protocol)
        pair[1].sendall(b"data")
        assert isinstance(await protocol.lost, ConnectionAbortedError)

    run(main())
    assert errors == []


def test_an_error_after_close(run: Run, pair: Pair, errors: list[Context]) -> None:
    async def main() -> None:
        class Closing(Recorder):
            def data_received(self, data: bytes) -> None:
                super().data_received(data)
                self.transport.close()
                raise Failure

        protocol = Closing()
        await attach(pair[0], protocol)
        pair[1].sendall(b"data")
        assert await protocol.lost is None
        assert len(errors) == 1
        assert protocol.calls == ["made", "data", "lost"]

    run(main())


def test_other_connections_go_on(run: Run, errors: list[Context]) -> None:
    async def main() -> None:
        from .support import unix_pair

        pairs = [unix_pair() for _ in range(6)]
        protocols = [failing(Recorder, "data_received") if number % 2 else Recorder() for number in range(6)]
        for (near, far), protocol in zip(pairs, protocols, strict=True):
            await attach(near, protocol)
            far.sendall(b"data")
        await until(lambda: all(protocol.received for protocol in protocols))
        await until(lambda: sum(protocol.lost.done() for protocol in protocols) == 3)
        for (_near, far), protocol in zip(pairs, protocols, strict=True):
            if not protocol.lost.done():
                far.sendall(b"more")
                await protocol.until_received(8)
            far.close()
        await until(lambda: all(protocol.lost.done() for protocol in protocols))
        assert len(errors) == 3

    run(main())


def test_the_default_handler_says_which_transport(
    run: Run, pair: Pair, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(None)
        protocol = failing(Recorder, "data_received")
        await attach(pair[0], protocol)
        pair[1].sendall(b"data")
        await protocol.lost

    run(main())
    message = caplog.records[0].getMessage()
    assert message.startswith("Fatal error: protocol.data_received() call failed.\nprotocol: <")
    assert "\ntransport: <" in message
