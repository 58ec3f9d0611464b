"""create_server and the Server object: sockets, serving, closing and clients."""

import asyncio
import contextlib
import errno
import gc
import os
import resource
import socket
import sys
import threading
import warnings
import weakref
from asyncio import constants, trsock
from typing import Any

import pytest

from .server_support import address_of, start
from .support import (
    PATIENCE,
    Context,
    Echo,
    Loop,
    Recorder,
    Run,
    end,
    open_descriptors,
    run_turns,
    turns,
    until,
)


def test_the_server_object(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await start()
        assert isinstance(server, asyncio.base_events.Server)
        assert isinstance(server, asyncio.AbstractServer)
        assert server.get_loop() is loop
        assert server.is_serving()
        assert isinstance(server.sockets, tuple)
        (sock,) = server.sockets
        assert isinstance(sock, trsock.TransportSocket)
        assert sock.family == socket.AF_INET
        assert sock.getsockname()[1] != 0
        assert repr(server).startswith("<Server sockets=(<asyncio.TransportSocket fd=")
        server.close()
        assert not server.is_serving()
        assert server.sockets == ()
        assert repr(server) == "<Server sockets=()>"
        await end(server)

    run(main())


def test_start_serving_later(run: Run) -> None:
    async def main() -> None:
        server = await start(start_serving=False)
        assert not server.is_serving()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address_of(server))
        await server.start_serving()
        assert server.is_serving()
        await server.start_serving()
        reader, writer = await asyncio.open_connection(*address_of(server))
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        await end(server)

    run(main())


def test_serve_forever(run: Run) -> None:
    async def main() -> None:
        server = await start(start_serving=False)
        serving = asyncio.create_task(server.serve_forever())
        await until(server.is_serving)
        with pytest.raises(RuntimeError, match="is already being awaited on serve_forever"):
            await server.serve_forever()
        _reader, writer = await asyncio.open_connection(*address_of(server))
        writer.close()
        await writer.wait_closed()
        await asyncio.sleep(0.001)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert not server.is_serving()
        assert server.sockets == ()
        with pytest.raises(RuntimeError, match="is closed"):
            await server.serve_forever()

    run(main())


def test_serve_forever_ends_with_close(run: Run) -> None:
    async def main() -> None:
        server = await start()
        serving = asyncio.create_task(server.serve_forever())
        await turns(2)
        server.close()
        with pytest.raises(asyncio.CancelledError):
            await serving

    run(main())


def test_a_server_as_a_context(run: Run) -> None:
    async def main() -> None:
        async with await start() as server:
            assert server.is_serving()
        assert not server.is_serving()

    run(main())


def test_close_stops_accepting(run: Run) -> None:
    async def main() -> None:
        server = await start()
        address = address_of(server)
        server.close()
        await turns(2)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)

    run(main())


def test_close_leaves_connections_open(run: Run) -> None:
    async def main() -> None:
        server = await start()
        reader, writer = await asyncio.open_connection(*address_of(server))
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        server.close()
        await turns(2)
        writer.write(b"two")
        assert await reader.readexactly(3) == b"two"
        writer.close()
        await writer.wait_closed()
        await server.wait_closed()

    run(main())


@pytest.mark.skipif(
    sys.version_info < (3, 12), reason="wait_closed() waits for the clients since Python 3.12"
)
def test_wait_closed_waits_for_the_clients(run: Run) -> None:
    async def main() -> None:
        server = await start()
        reader, writer = await asyncio.open_connection(*address_of(server))
        writer.write(b"x")
        await reader.readexactly(1)
        early = asyncio.create_task(server.wait_closed())
        await turns(3)
        assert not early.done()
        server.close()
        late = asyncio.create_task(server.wait_closed())
        await turns(3)
        assert not early.done() and not late.done()
        writer.close()
        await asyncio.wait_for(asyncio.gather(early, late), 10)

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 13), reason="Server.close_clients() is new in Python 3.13")
@pytest.mark.parametrize("method", ["close_clients", "abort_clients"])
def test_ending_the_clients(run: Run, method: str) -> None:
    async def main() -> None:
        protocols: list[Recorder] = []

        def factory() -> Recorder:
            protocols.append(Recorder())
            return protocols[-1]

        server: Any = await start(factory)
        clients = [await asyncio.open_connection(*address_of(server)) for _ in range(5)]
        await until(lambda: len(protocols) == 5)
        server.close()
        getattr(server, method)()
        for protocol in protocols:
            assert await protocol.lost is None
        await server.wait_closed()
        for reader, writer in clients:
            assert await reader.read() == b""
            writer.close()

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 13), reason="Server.close_clients() is new in Python 3.13")
def test_a_server_does_not_keep_its_lost_transports(run: Run) -> None:
    async def main() -> None:
        refs: list[Any] = []

        class Forgetful(asyncio.Protocol):
            def connection_made(self, transport: Any) -> None:
                refs.append(weakref.ref(transport))
                transport.pause_reading()

        server = await start(Forgetful)
        _reader, writer = await asyncio.open_connection(*address_of(server))
        await until(lambda: refs)
        await turns(3)
        gc.collect()
        assert refs[0]() is None
        server.close()
        await asyncio.wait_for(server.wait_closed(), 10)
        writer.close()

    with warnings.catch_warnings():
        # A warning that pytest records would keep the transport that it is about.
        warnings.simplefilter("ignore", ResourceWarning)
        run(main())


def test_a_storm_of_clients(run: Run) -> None:
    async def main() -> None:
        server = await start(backlog=200)
        loop = asyncio.get_running_loop()
        socks = []
        for _ in range(200):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(address_of(server))
            socks.append(sock)
        for number, sock in enumerate(socks):
            await loop.sock_sendall(sock, b"client %03d" % number)
        for number, sock in enumerate(socks):
            assert await loop.sock_recv(sock, 100) == b"client %03d" % number
            sock.close()
        await end(server)

    run(main())


def test_clients_that_leave_at_once(run: Run) -> None:
    async def main() -> None:
        protocols: list[Recorder] = []

        def factory() -> Recorder:
            protocols.append(Recorder())
            return protocols[-1]

        server = await start(factory)
        for _ in range(50):
            socket.create_connection(address_of(server)).close()
        await until(lambda: len(protocols) == 50 and all(protocol.lost.done() for protocol in protocols))
        assert {tuple(protocol.calls) for protocol in protocols} == {("made", "eof", "lost")}
        await end(server)

    run(main())


def test_closing_while_clients_connect(run: Run) -> None:
    async def main() -> None:
        server = await start(backlog=100)
        socks = [socket.create_connection(address_of(server)) for _ in range(20)]
        # They are in the queue of the kernel: accepted or reset, but nothing is left hanging.
        server.close()
        for sock in socks:
            sock.settimeout(10)
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
                assert await asyncio.to_thread(sock.recv, 1) == b""
            sock.close()
        await asyncio.wait_for(server.wait_closed(), 10)

    run(main())


def test_closing_inside_connection_made(run: Run) -> None:
    async def main() -> None:
        class Last(Echo):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                server.close()

        server = await start(Last)
        reader, writer = await asyncio.open_connection(*address_of(server))
        writer.write(b"still served")
        assert await reader.readexactly(12) == b"still served"
        writer.close()
        await asyncio.wait_for(server.wait_closed(), 10)

    run(main())


@pytest.mark.parametrize("debug", [False, True])
def test_a_failing_factory(run: Run, errors: list[Context], debug: bool) -> None:
    async def main() -> None:
        calls: list[str] = []

        def factory() -> Echo:
            calls.append("call")
            if len(calls) == 1:
                raise LookupError("no protocol")
            return Echo()

        server = await start(factory)
        with socket.create_connection(address_of(server)) as sock:
            await until(lambda: calls)
            await turns(3)
            gc.collect()
            if not debug:
                sock.settimeout(10)
                assert await asyncio.to_thread(sock.recv, 1) == b""
        reader, writer = await asyncio.open_connection(*address_of(server))
        writer.write(b"ok")
        assert await reader.readexactly(2) == b"ok"
        writer.close()
        await end(server)

    run(main(), debug=debug)
    # asyncio says so in debug mode only.
    assert [error["message"] for error in errors] == (
        ["Error on transport creation for incoming connection"] if debug else []
    )
    assert all(isinstance(error["exception"], LookupError) for error in errors)


def test_what_a_factory_schedules_comes_before_connection_made(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        happened: list[str] = []

        class Protocol(Recorder):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                happened.append("connection_made")
                super().connection_made(transport)

        def factory() -> Protocol:
            loop.call_soon(happened.append, "scheduled")
            return Protocol()

        server = await loop.create_server(factory, "127.0.0.1", 0)
        async with server:
            _, writer = await asyncio.open_connection(*address_of(server))
            await until(lambda: len(happened) == 2)
            writer.close()
        assert happened == ["scheduled", "connection_made"]

    run(main())


def test_cancelling_all_tasks_while_a_factory_blocks(run: Run) -> None:
    """A thread that ends the program then closes the connection which is being accepted."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        own = asyncio.current_task()

        def cancel_all() -> None:
            for task in asyncio.all_tasks():
                if task is not own:
                    task.cancel()

        def factory() -> Recorder:
            thread = threading.Thread(target=loop.call_soon_threadsafe, args=(cancel_all,))
            thread.start()
            thread.join()
            return Recorder()

        server = await loop.create_server(factory, "127.0.0.1", 0)
        async with server:
            with socket.socket() as client:
                client.setblocking(False)
                await loop.sock_connect(client, address_of(server))
                assert await loop.sock_recv(client, 1) == b""

    run(main())


def test_the_transport_of_a_server_connection(run: Run) -> None:
    async def main() -> None:
        protocols: list[Recorder] = []

        def factory() -> Recorder:
            protocols.append(Recorder())
            return protocols[-1]

        server = await start(factory)
        _reader, writer = await asyncio.open_connection(*address_of(server))
        await until(lambda: protocols and protocols[0].calls)
        transport = protocols[0].transport
        assert isinstance(transport, asyncio.Transport)
        assert transport.get_extra_info("peername") == writer.get_extra_info("sockname")
        assert transport.get_extra_info("sockname") == writer.get_extra_info("peername")
        sock = transport.get_extra_info("socket")
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert sock.gettimeout() == 0
        writer.close()
        await protocols[0].lost
        await end(server)

    run(main())


def test_a_server_leaves_no_descriptor_open(run: Run) -> None:
    async def main() -> None:
        await asyncio.sleep(0)
        before = open_descriptors()
        for _ in range(3):
            server = await start()
            clients = [await asyncio.open_connection(*address_of(server)) for _ in range(5)]
            for _reader, writer in clients:
                writer.close()
                await writer.wait_closed()
            server.close()
            await server.wait_closed()
            await until(lambda: open_descriptors() == before)

    run(main())


def test_a_server_outlives_a_pause_of_its_loop(loop: Loop) -> None:
    async def begin() -> asyncio.Server:
        return await start()

    async def talk() -> bytes:
        reader, writer = await asyncio.open_connection(*address_of(server))
        writer.write(b"hello")
        answer = await reader.readexactly(5)
        writer.close()
        return answer

    server = loop.run_until_complete(begin())
    run_turns(loop, 3)
    assert loop.run_until_complete(talk()) == b"hello"
    assert loop.run_until_complete(talk()) == b"hello"
    server.close()
    loop.run_until_complete(server.wait_closed())


def test_two_servers_of_one_loop(run: Run) -> None:
    async def main() -> None:
        servers = [await start() for _ in range(3)]
        for number, server in enumerate(servers):
            reader, writer = await asyncio.open_connection(*address_of(server))
            writer.write(b"%d" % number)
            assert await reader.readexactly(1) == b"%d" % number
            writer.close()
        servers[1].close()
        with pytest.raises(ConnectionRefusedError):
            await turns(2)
            await asyncio.open_connection("127.0.0.1", 1)
        for server in servers:
            await end(server)

    run(main())


def test_out_of_descriptors(run: Run, errors: list[Context], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ACCEPT_RETRY_DELAY", 0.01)

    async def main() -> None:
        server = await start()
        address = address_of(server)
        clients = [socket.socket() for _ in range(3)]
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(open_descriptors()) + 2, hard))
        fillers: list[int] = []
        try:
            with contextlib.suppress(OSError):
                while True:
                    fillers.append(os.dup(0))
            for client in clients:
                client.settimeout(PATIENCE)
                client.connect(address)
                client.sendall(b"hello")
            await until(lambda: errors)
            await asyncio.sleep(0.03)
        finally:
            for filler in fillers:
                os.close(filler)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        # Once there are descriptors again, everyone is served.
        for client in clients:
            assert await asyncio.to_thread(client.recv, 5) == b"hello"
            client.close()
        # Later than every retry that may still be due: one on a closed server would be an error.
        await asyncio.sleep(0.03)
        await end(server)

    run(main())
    assert {error["message"] for error in errors} == {"socket.accept() out of system resource"}
    assert {error["exception"].errno for error in errors} == {errno.EMFILE}
