"""Callbacks that raise, close, cancel, stop and re-enter, wherever the loop calls out: nothing breaks."""

import asyncio
import contextlib
import gc
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import glassloop

from .support import new_loop, run_program, run_turn


@pytest.fixture(params=["epoll", "select"])
def loop(request: pytest.FixtureRequest) -> Iterator[glassloop.EventLoop]:
    loop = new_loop(request.param)
    yield loop
    if not loop.is_closed():
        run_turn(loop, 3)
        loop.close()


class Calls(asyncio.Protocol):
    """A protocol that does something in one of its methods."""

    def __init__(self, name: str, action: Callable[["Calls"], object]) -> None:
        self.name = name
        self.action = action
        self.calls: list[str] = []
        self.transport: Any = None
        self.lost = False

    def called(self, name: str) -> None:
        self.calls.append(name)
        if name == self.name:
            self.action(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.called("connection_made")

    def data_received(self, data: bytes) -> None:
        self.called("data_received")

    def eof_received(self) -> bool:
        self.called("eof_received")
        return True

    def pause_writing(self) -> None:
        self.called("pause_writing")

    def resume_writing(self) -> None:
        self.called("resume_writing")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost = True
        self.called("connection_lost")


class BufferedCalls(Calls, asyncio.BufferedProtocol):
    """The same, receiving into a buffer of its own."""

    def get_buffer(self, sizehint: int) -> bytearray:
        self.buffer = bytearray(100)
        self.called("get_buffer")
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.called("buffer_updated")


METHODS = [
    "connection_made",
    "data_received",
    "eof_received",
    "pause_writing",
    "resume_writing",
    "connection_lost",
    "get_buffer",
    "buffer_updated",
]


def fail(_calls: Calls) -> None:
    raise ValueError("raised by the protocol")


def close(calls: Calls) -> None:
    calls.transport.close()


def abort(calls: Calls) -> None:
    calls.transport.abort()


def write_and_close(calls: Calls) -> None:
    calls.transport.write(b"x" * 100)
    calls.transport.close()


def write_and_abort(calls: Calls) -> None:
    calls.transport.write(b"x" * 100)
    calls.transport.abort()


def write_eof(calls: Calls) -> None:
    calls.transport.write_eof()


def pause_and_resume(calls: Calls) -> None:
    calls.transport.pause_reading()
    calls.transport.resume_reading()


def change_protocol(calls: Calls) -> None:
    calls.transport.set_protocol(Calls("", fail))


def drop_buffer(calls: Calls) -> None:
    calls.buffer = None  # type: ignore[attr-defined]
    gc.collect()


def empty_buffer(calls: Calls) -> None:
    if hasattr(calls, "buffer"):
        calls.buffer.clear()


def stop_loop(calls: Calls) -> None:
    asyncio.get_running_loop().stop()


def close_loop(calls: Calls) -> None:
    with pytest.raises(RuntimeError, match="Cannot close a running event loop"):
        asyncio.get_running_loop().close()


def run_again(calls: Calls) -> None:
    loop = asyncio.get_running_loop()
    with pytest.raises(RuntimeError, match="This event loop is already running"):
        loop.run_forever()
    future = loop.create_future()
    with pytest.raises(RuntimeError, match="This event loop is already running"):
        loop.run_until_complete(future)
    other = glassloop.EventLoop()
    with pytest.raises(RuntimeError, match="Cannot run the event loop while another loop is running"):
        other.run_forever()
    other.close()


def collect(calls: Calls) -> None:
    gc.collect()


ACTIONS = [
    fail,
    close,
    abort,
    write_and_close,
    write_and_abort,
    write_eof,
    pause_and_resume,
    change_protocol,
    drop_buffer,
    empty_buffer,
    stop_loop,
    close_loop,
    run_again,
    collect,
]


@pytest.mark.parametrize("buffered", [False, True], ids=["protocol", "buffered"])
@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.__name__)
@pytest.mark.parametrize("method", METHODS)
def test_a_protocol_may_do_anything_anywhere(
    loop: glassloop.EventLoop, method: str, action: Callable[[Calls], object], buffered: bool
) -> None:
    """The connection lives on or ends in order; its neighbour on the same loop notices nothing."""
    loop.set_exception_handler(lambda _loop, context: errors.append(context))
    errors: list[dict[str, Any]] = []
    near, far = socket.socketpair()
    neighbour, far_neighbour = socket.socketpair()
    for sock in (near, far, neighbour, far_neighbour):
        sock.setblocking(False)
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    protocol = (BufferedCalls if buffered else Calls)(method, action)
    other = Calls("", fail)
    connected = loop.create_task(loop.create_connection(lambda: protocol, sock=near))
    loop.create_task(loop.create_connection(lambda: other, sock=neighbour))
    run_turn(loop, 8)

    def drain() -> None:
        with contextlib.suppress(OSError):
            while far.recv(1 << 16):
                pass

    def write_much() -> None:
        if protocol.transport is not None and not protocol.transport._eof:
            protocol.transport.write(b"x" * 400_000)

    with far, far_neighbour:
        with contextlib.suppress(OSError):
            far.send(b"hello")
        far_neighbour.send(b"hello")
        run_turn(loop, 3)
        loop.call_soon(write_much)
        run_turn(loop, 2)
        for _ in range(60):
            drain()
            run_turn(loop, 1)
        with contextlib.suppress(OSError):
            far.shutdown(socket.SHUT_WR)
        run_turn(loop, 5)
        far_neighbour.send(b"hello again")
        run_turn(loop, 3)
        if protocol.transport is not None:
            protocol.transport.abort()
        run_turn(loop, 3)
        assert connected.done()
        if action is collect and (buffered or not method.startswith(("get_", "buffer_"))):
            assert method in protocol.calls or (buffered and method == "data_received")
        if action is not change_protocol:
            assert protocol.lost, protocol.calls
            assert protocol.calls.count("connection_lost") == 1
        assert other.calls.count("data_received") == 2 and not other.lost
        if action is not fail and not (action in (empty_buffer, drop_buffer) and buffered):
            assert errors == [] or action is change_protocol
        other.transport.abort()
        run_turn(loop, 3)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("method", METHODS[:-2])
def test_an_interrupt_in_a_protocol_ends_the_run_and_the_loop_can_go_on(
    loop: glassloop.EventLoop, method: str, error: type[BaseException]
) -> None:
    def interrupt(_calls: Calls) -> None:
        raise error

    near, far = socket.socketpair()
    far.setblocking(False)
    protocol = Calls(method, interrupt)
    loop.create_task(loop.create_connection(lambda: protocol, sock=near))
    raised = 0

    def turn(count: int) -> None:
        nonlocal raised
        for _ in range(count):
            try:
                run_turn(loop)
            except error:
                raised += 1

    with far:
        turn(5)
        far.send(b"hello")
        turn(3)
        try:
            protocol.transport.write(b"x" * 4_000_000)
        except error:
            raised += 1
        for _ in range(60):
            with contextlib.suppress(OSError):
                while far.recv(1 << 16):
                    pass
            turn(1)
        far.shutdown(socket.SHUT_WR)
        turn(3)
        protocol.transport.abort()
        turn(3)
    assert raised >= 1
    future = loop.create_future()
    loop.call_soon(future.set_result, "goes on")
    assert loop.run_until_complete(future) == "goes on"


def test_what_others_wrote_leaves_though_a_callback_interrupts_the_turn(loop: glassloop.EventLoop) -> None:
    """What a transport holds back until a callback or a batch is over must not be forgotten with it."""
    pairs = [socket.socketpair() for _ in range(4)]
    transports: list[Any] = []
    for near, _ in pairs:
        transport, _protocol = loop.run_until_complete(loop.create_connection(asyncio.Protocol, sock=near))
        transports.append(transport)

    def write_all() -> None:
        for transport in transports:
            transport.write(b"header")
            transport.write(b"body")
        raise KeyboardInterrupt

    loop.call_soon(write_all)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    run_turn(loop, 2)
    for _, far in pairs:
        far.settimeout(5)
        assert far.recv(100) == b"headerbody"
        far.close()
    for transport in transports:
        transport.abort()


@pytest.mark.parametrize("where", ["factory", "connection_made", "data_received"])
def test_a_server_may_be_closed_from_anywhere(loop: glassloop.EventLoop, where: str) -> None:
    """From connection_made, in the middle of a batch of accepted connections; from the protocol factory."""
    made: list[Calls] = []

    def close_server(_calls: object) -> None:
        server.close()

    def factory() -> Calls:
        if where == "factory":
            close_server(None)
        made.append(Calls(where, close_server))
        return made[-1]

    server = loop.run_until_complete(loop.create_server(factory, "127.0.0.1", 0))
    address = server.sockets[0].getsockname()
    clients = [socket.create_connection(address) for _ in range(5)]
    for client in clients:
        with contextlib.suppress(OSError):
            client.send(b"hello")
    run_turn(loop, 10)
    assert made and not server.is_serving()
    for client in clients:
        client.close()
    run_turn(loop, 5)
    for calls in made:
        if calls.transport is not None:
            calls.transport.abort()
    run_turn(loop, 3)
    assert all(calls.lost for calls in made if calls.transport is not None)


def test_a_factory_that_raises_closes_its_connection_and_no_other(loop: glassloop.EventLoop) -> None:
    loop.set_exception_handler(lambda _loop, context: None)
    made: list[Calls] = []

    def factory() -> Calls:
        made.append(Calls("", fail))
        if len(made) % 2:
            raise ValueError("refused")
        return made[-1]

    server = loop.run_until_complete(loop.create_server(factory, "127.0.0.1", 0))
    clients = [socket.create_connection(server.sockets[0].getsockname(), timeout=10) for _ in range(6)]
    run_turn(loop, 10)
    assert len(made) == 6
    open_ones = [calls for calls in made if calls.transport is not None]
    assert len(open_ones) == 3
    for calls in open_ones:
        calls.transport.write(b"welcome")
    run_turn(loop, 2)
    gc.collect()  # where asyncio's own code accepts, nobody closes the socket but its destructor
    received = sorted(client.recv(100) for client in clients)
    assert received == [b"", b"", b"", b"welcome", b"welcome", b"welcome"]
    for client in clients:
        client.close()
    server.close()
    run_turn(loop, 5)
    for calls in open_ones:
        calls.transport.abort()
    run_turn(loop, 3)


def test_a_callback_that_clears_the_ready_queue(loop: glassloop.EventLoop) -> None:
    """As asyncio's close() does: the batch under way must notice."""
    ran: list[int] = []
    loop.call_soon(ran.append, 1)
    loop.call_soon(loop._ready.clear)
    for number in range(200):
        loop.call_soon(ran.append, 2 + number)
    run_turn(loop)
    assert ran == [1]


def test_readers_that_remove_each_other(loop: glassloop.EventLoop) -> None:
    pairs = [socket.socketpair() for _ in range(10)]
    seen: list[int] = []

    def ready(number: int) -> None:
        seen.append(number)
        for near, _ in pairs:
            loop.remove_reader(near)

    for number, (near, far) in enumerate(pairs):
        loop.add_reader(near, ready, number)
        far.send(b"x")
    run_turn(loop, 5)
    assert len(seen) == 1, "a reader that was removed was called"
    for near, far in pairs:
        near.close()
        far.close()


def test_a_loop_that_is_closed_between_two_runs_drops_all(loop: glassloop.EventLoop) -> None:
    near, far = socket.socketpair()
    loop.add_reader(near, print)
    loop.call_soon(print, "never")
    loop.call_later(0, print, "never")
    loop.close()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.call_soon(print)
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.run_forever()
    near.close()
    far.close()


EMFILE_AND_CLOSE = """
    import asyncio, resource, socket, sys
    import glassloop

    async def main():
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        told = loop.create_future()

        def handler(_loop, context):
            if isinstance(context.get("exception"), OSError) and not told.done():
                server.close()
                told.set_result(context["message"])

        loop.set_exception_handler(handler)
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(address)
        others = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (60, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        try:
            while True:
                others.append(socket.socket())
        except OSError:
            pass
        print(await told)
        await asyncio.sleep(0.01)
        for sock in [client, *others]:
            sock.close()

    glassloop.run(main())
"""


def test_the_exception_handler_may_close_the_server_that_has_no_descriptors_left() -> None:
    assert run_program(EMFILE_AND_CLOSE) == "socket.accept() out of system resource\n"
