"""create_connection to an address, which takes no look-up: its steps, failures, cancellation."""

import asyncio
import gc
import socket
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from .support import Context, LoopFactory, Recorder, Run, end, turns

HOST = "127.0.0.1"


@contextmanager
def listening(backlog: int = 5) -> Iterator[tuple[socket.socket, int]]:
    """A socket that listens, and its port."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        sock.listen(backlog)
        yield sock, sock.getsockname()[1]


def closed_port() -> int:
    """A port on which nobody listens."""
    with listening() as (_, port):
        return port


@contextmanager
def full_backlog() -> Iterator[int]:
    """A port to which a connection is neither made nor refused."""
    with listening(0) as (_, port):
        waiting = []
        for _ in range(4):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex((HOST, port))
            waiting.append(sock)
        yield port
        for sock in waiting:
            sock.close()


def test_what_is_known_of_a_connection(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with listening() as (server, port):
            transport, protocol = await loop.create_connection(Recorder, HOST, port)
            peer, address = server.accept()
            with peer:
                sock = transport.get_extra_info("socket")
                assert (sock.family, sock.type, sock.proto) == (
                    socket.AF_INET,
                    socket.SOCK_STREAM,
                    socket.IPPROTO_TCP,
                )
                assert sock.gettimeout() == 0
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
                assert transport.get_extra_info("peername") == (HOST, port)
                assert transport.get_extra_info("sockname") == address
                peer.sendall(b"hello")
                assert await protocol.until_received(5) == b"hello"
                transport.close()
                await protocol.lost
                assert transport.get_extra_info("peername") == (HOST, port)
                assert transport.get_extra_info("sockname") == address

    run(main())


def test_a_connection_yields_to_the_loop(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with listening() as (_, port):
            turned: list[bool] = []
            loop.call_soon(turned.append, True)
            transport, _ = await loop.create_connection(Recorder, HOST, port)
            assert turned
            transport.close()
            await turns(2)

    run(main())


def test_refused(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        port = closed_port()
        with pytest.raises(ConnectionRefusedError) as caught:
            await loop.create_connection(Recorder, HOST, port)
        assert str(caught.value) == f"[Errno 111] Connect call failed ('127.0.0.1', {port})"
        assert caught.value.__cause__ is None and caught.value.__context__ is None

    gc.collect()  # what other tests left is not meant
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(main())
        gc.collect()


def test_trying_until_somebody_listens(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        port = closed_port()
        serving = asyncio.create_task(loop.create_server(Recorder, HOST, port))
        transport = None
        while transport is None:
            try:
                transport, _ = await loop.create_connection(Recorder, HOST, port)
            except ConnectionRefusedError:
                pass
        transport.close()
        await turns(2)
        await end(await serving)

    run(main())


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_that_is_none(run: Run, port: int) -> None:
    async def main() -> None:
        with pytest.raises(OverflowError, match="port must be 0-65535"):
            await asyncio.get_running_loop().create_connection(Recorder, HOST, port)

    run(main())


def test_other_ways_to_write_an_address(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        connect: Any = loop.create_connection
        with listening() as (_, port):
            for arguments, options in (
                ((HOST, str(port)), {}),
                ((HOST.encode(), port), {}),
                ((HOST,), {"port": port}),
                ((), {"host": HOST, "port": port}),
                ((HOST, port), {"ssl": None, "family": 0, "local_addr": None}),
                ((HOST, port), {"family": socket.AF_INET, "local_addr": (HOST, 0)}),
            ):
                transport, _ = await connect(Recorder, *arguments, **options)
                assert transport.get_extra_info("peername") == (HOST, port)
                transport.close()
            await turns(2)

    run(main())


def test_arguments_that_are_wrong(run: Run) -> None:
    async def main() -> None:
        connect: Any = asyncio.get_running_loop().create_connection
        with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
            await connect(Recorder, HOST, 1, colour=None)
        with pytest.raises(ValueError, match="server_hostname is only meaningful with ssl"):
            await connect(Recorder, HOST, 1, server_hostname="")
        with pytest.raises(TypeError):
            await connect()

    run(main())


def test_waiting_and_cancelled(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with full_backlog() as port:
            connecting = asyncio.create_task(loop.create_connection(Recorder, HOST, port))
            await turns(5)
            assert not connecting.done()
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting

    gc.collect()  # what other tests left is not meant
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of a socket that nobody has closed
        run(main())
        gc.collect()


def test_a_wait_that_ends(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with listening(0) as (server, port), socket.socket() as first, socket.socket() as second:
            for sock in (first, second):
                sock.setblocking(False)
                sock.connect_ex((HOST, port))
            connecting = asyncio.create_task(loop.create_connection(Recorder, HOST, port))
            await turns(5)
            peers = [server.accept()[0]]
            server.setblocking(False)
            # The kernel sends its request again within some seconds.
            while not connecting.done():
                await asyncio.sleep(0.01)
                try:
                    peers.append(server.accept()[0])
                except BlockingIOError:
                    pass
            transport, _ = connecting.result()
            assert transport.get_extra_info("peername") == (HOST, port)
            transport.close()
            await turns(2)
            for peer in peers:
                peer.close()

    run(main())


def test_cancelled_before_it_is_made(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with listening() as (server, port):
            made: list[Recorder] = []

            def factory() -> Recorder:
                made.append(Recorder())
                connecting.cancel()
                return made[0]

            connecting = asyncio.create_task(loop.create_connection(factory, HOST, port))
            with pytest.raises(asyncio.CancelledError):
                await connecting
            peer, _ = server.accept()
            with peer:
                await made[0].lost
                peer.settimeout(10)
                assert peer.recv(10) == b""

    run(main())


def test_an_error_in_connection_made(run: Run, errors: list[Context]) -> None:
    class Fails(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            raise LookupError("no")

    async def main() -> None:
        with listening() as (_, port):
            transport, protocol = await asyncio.get_running_loop().create_connection(Fails, HOST, port)
            assert isinstance(protocol, Fails)
            assert [type(context["exception"]) for context in errors] == [LookupError]
            transport.close()
            await turns(2)

    run(main())


@pytest.mark.parametrize("name", ["sock_connect", "_connect_sock", "_ensure_resolved"])
def test_a_step_that_a_loop_has_of_its_own_is_taken(loop_factory: LoopFactory, name: str) -> None:
    loop: Any = loop_factory()
    calls: list[str] = []
    original = getattr(loop, name)

    async def own(*args: Any, **options: Any) -> Any:
        calls.append(name)
        return await original(*args, **options)

    setattr(loop, name, own)

    async def main() -> None:
        with listening() as (_, port):
            transport, _ = await loop.create_connection(Recorder, HOST, port)
            transport.close()
            await turns(2)

    loop.run_until_complete(main())
    assert calls


@pytest.mark.parametrize("name", ["sock_connect", "_connect_sock"])
def test_a_step_patched_in_asyncios_class_is_taken(
    loop_factory: LoopFactory, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    loop = loop_factory()
    calls: list[str] = []
    cls = next(cls for cls in type(loop).__mro__ if name in vars(cls))
    original = vars(cls)[name]

    async def own(self: Any, *args: Any, **options: Any) -> Any:
        calls.append(name)
        return await original(self, *args, **options)

    monkeypatch.setattr(cls, name, own)

    async def main() -> None:
        with listening() as (_, port):
            transport, _ = await loop.create_connection(Recorder, HOST, port)
            transport.close()
            await turns(2)

    loop.run_until_complete(main())
    assert calls


def test_sockets_that_somebody_guards(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    class Guarded(socket.socket):
        def connect(self, address: Any) -> None:
            raise PermissionError(f"not to {address}")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with listening() as (_, port):
            with monkeypatch.context() as patch:
                patch.setattr(socket, "socket", Guarded)
                with pytest.raises(PermissionError, match="not to"):
                    await loop.create_connection(Recorder, HOST, port)
            with monkeypatch.context() as patch:
                patch.setattr(socket.socket, "connect", Guarded.connect)
                with pytest.raises(PermissionError, match="not to"):
                    await loop.create_connection(Recorder, HOST, port)
            transport, _ = await loop.create_connection(Recorder, HOST, port)
            transport.close()
            await turns(2)

    run(main())


def test_an_auditor_hears_of_it_once(loop_factory: LoopFactory) -> None:
    kind = type(loop_factory())
    source = """
        import asyncio, socket, sys
        from {module} import {name} as Loop
        heard = []

        def hear(event, arguments):
            if event == "socket.connect":
                heard.append(arguments[-1])

        sys.addaudithook(hear)

        async def main():
            with socket.create_server(("127.0.0.1", 0)) as server:
                address = server.getsockname()
                connect = asyncio.get_running_loop().create_connection
                transport, _ = await connect(asyncio.Protocol, *address)
                assert heard == [address], heard
                transport.close()
                await asyncio.sleep(0)

        loop = Loop()
        loop.run_until_complete(main())
        loop.close()
    """
    source = textwrap.dedent(source).format(module=kind.__module__, name=kind.__name__)
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_ipv6(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        try:
            server = await loop.create_server(Recorder, "::1", 0)
        except OSError:
            pytest.skip("no IPv6 here")
        address = server.sockets[0].getsockname()
        transport, _ = await loop.create_connection(Recorder, *address[:2])
        assert transport.get_extra_info("peername") == address
        transport.close()
        await turns(2)
        await end(server)

    run(main())
