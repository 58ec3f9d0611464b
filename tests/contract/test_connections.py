"""create_connection and create_unix_connection: addresses, options, failures, several addresses."""

import asyncio
import errno
import os
import pathlib
import socket
import sys
from typing import Any

import pytest

from .support import Echo, Recorder, Run, end, tcp_pair, unix_pair


async def serve(loop: asyncio.AbstractEventLoop, host: str = "127.0.0.1") -> asyncio.Server:
    """Start an echo server on a port of the kernel's choice."""
    return await loop.create_server(Echo, host, 0)


def unused_port() -> int:
    """Return a port on which nothing listens: bound once, and given back."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
    return port


def test_connect_by_address_and_by_name(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await serve(loop)
        port = server.sockets[0].getsockname()[1]
        for host in ("127.0.0.1", "localhost"):
            transport, protocol = await loop.create_connection(Recorder, host, port, family=socket.AF_INET)
            transport.write(b"hello")
            assert await protocol.until_received(5) == b"hello"
            transport.close()
            assert await protocol.lost is None
        await end(server)

    run(main())


def test_connect_to_a_name_of_two_families(run: Run) -> None:
    async def main() -> None:
        # localhost may be ::1 first; only 127.0.0.1 answers.
        loop = asyncio.get_running_loop()
        server = await serve(loop)
        port = server.sockets[0].getsockname()[1]
        for options in ({}, {"happy_eyeballs_delay": 0.05}, {"happy_eyeballs_delay": 0.05, "interleave": 2}):
            connect: Any = loop.create_connection
            transport, protocol = await connect(Recorder, "localhost", port, **options)
            assert transport.get_extra_info("peername") == ("127.0.0.1", port)
            transport.close()
            await protocol.lost
        await end(server)

    run(main())


def test_the_factory_is_called_once_connected(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        calls: list[str] = []

        def factory() -> Recorder:
            calls.append("made")
            return Recorder()

        with pytest.raises(ConnectionRefusedError):
            await loop.create_connection(factory, "127.0.0.1", unused_port())
        assert calls == []
        server = await serve(loop)
        transport, _ = await loop.create_connection(factory, *server.sockets[0].getsockname())
        assert calls == ["made"]
        transport.close()
        await end(server)

    run(main())


def test_refused(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        port = unused_port()
        with pytest.raises(ConnectionRefusedError) as info:
            await loop.create_connection(Recorder, "127.0.0.1", port)
        assert info.value.errno == errno.ECONNREFUSED
        assert f"Connect call failed ('127.0.0.1', {port})" in str(info.value)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)

    run(main())


def test_all_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ports = [unused_port(), unused_port()]

        async def addresses(*_args: Any, **_kwargs: Any) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]

        monkeypatch.setattr(loop, "getaddrinfo", addresses)
        with pytest.raises(OSError, match=r"^Multiple exceptions: .*") as info:
            await loop.create_connection(Recorder, "somewhere", 1)
        for port in ports:
            assert f"('127.0.0.1', {port})" in str(info.value)
        if sys.version_info >= (3, 12):
            connect: Any = loop.create_connection
            with pytest.raises(ExceptionGroup, match="create_connection failed") as group:
                await connect(Recorder, "somewhere", 1, all_errors=True)
            assert all(isinstance(exc, ConnectionRefusedError) for exc in group.value.exceptions)

    run(main())


def test_the_second_address_answers(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await serve(loop)
        ports = [unused_port(), server.sockets[0].getsockname()[1]]

        async def addresses(*_args: Any, **_kwargs: Any) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]

        monkeypatch.setattr(loop, "getaddrinfo", addresses)
        transport, protocol = await loop.create_connection(Recorder, "somewhere", 1)
        assert transport.get_extra_info("peername")[1] == ports[1]
        transport.close()
        await protocol.lost
        await end(server)

    run(main())


def test_no_address(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def addresses(*_args: Any, **_kwargs: Any) -> list[Any]:
            return []

        monkeypatch.setattr(loop, "getaddrinfo", addresses)
        with pytest.raises(OSError, match=r"getaddrinfo\(\) returned empty list"):
            await loop.create_connection(Recorder, "somewhere", 1)

    run(main())


def test_local_addr(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await serve(loop)
        address = server.sockets[0].getsockname()
        transport, _ = await loop.create_connection(Recorder, *address, local_addr=("127.0.0.1", 0))
        assert transport.get_extra_info("sockname")[0] == "127.0.0.1"
        taken = transport.get_extra_info("sockname")[1]
        with pytest.raises(OSError, match=r"error while attempting to bind on address \('127.0.0.1', \d+\)"):
            await loop.create_connection(Recorder, *address, local_addr=("127.0.0.1", taken))
        transport.close()
        await end(server)

    run(main())


def test_a_socket_of_ones_own(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        near, far = tcp_pair()
        with far:
            transport, protocol = await loop.create_connection(Recorder, sock=near)
            assert near.getblocking() is False
            far.sendall(b"hello")
            assert await protocol.until_received(5) == b"hello"
            transport.close()
            await protocol.lost

    run(main())


def test_arguments_that_do_not_go_together(run: Run) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        near, far = tcp_pair()
        with near, far:
            with pytest.raises(ValueError, match="host/port and sock can not be specified at the same time"):
                await loop.create_connection(Recorder, "127.0.0.1", 1, sock=near)
            with pytest.raises(ValueError, match="host and port was not specified and no sock specified"):
                await loop.create_connection(Recorder)
            with pytest.raises(ValueError, match="server_hostname is only meaningful with ssl"):
                await loop.create_connection(Recorder, "127.0.0.1", 1, server_hostname="x")
            with pytest.raises(ValueError, match="ssl_handshake_timeout is only meaningful with ssl"):
                await loop.create_connection(Recorder, "127.0.0.1", 1, ssl_handshake_timeout=1)
            with pytest.raises(ValueError, match="ssl_shutdown_timeout is only meaningful with ssl"):
                await loop.create_connection(Recorder, "127.0.0.1", 1, ssl_shutdown_timeout=1)
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
            pytest.raises(ValueError, match="A Stream Socket was expected"),
        ):
            await loop.create_connection(Recorder, sock=datagrams)

    run(main())


def test_connect_accepted_socket(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for pair in (tcp_pair, unix_pair):
            near, far = pair()
            with far:
                transport, protocol = await loop.connect_accepted_socket(Recorder, near)
                assert protocol.calls == ["made"]
                far.sendall(b"hello")
                assert await protocol.until_received(5) == b"hello"
                transport.write(b"answer")
                assert far.recv(10) == b"answer"
                transport.close()
                await protocol.lost
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
            pytest.raises(ValueError, match="A Stream Socket was expected"),
        ):
            await loop.connect_accepted_socket(Recorder, datagrams)

    run(main())


def test_cancelling_a_connection_attempt(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as listener:
            # A queue of one that is full: the next connection waits.
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            waiting = []
            for _ in range(8):
                sock = socket.socket()
                sock.setblocking(False)
                sock.connect_ex(listener.getsockname())
                waiting.append(sock)
            task = asyncio.create_task(loop.create_connection(Recorder, *listener.getsockname()))
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            for sock in waiting:
                sock.close()

    run(main())


def test_a_failing_factory(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await serve(loop)

        def factory() -> Recorder:
            raise LookupError("no protocol today")

        with pytest.raises(LookupError, match="no protocol today"):
            await loop.create_connection(factory, *server.sockets[0].getsockname())
        await end(server)

    run(main())


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
def test_unix_connection(run: Run, tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        path = tmp_path / "socket"
        server = await loop.create_unix_server(Echo, path)
        for where in (path, str(path), os.fsencode(path)):
            connect: Any = loop.create_unix_connection
            transport, protocol = await connect(Recorder, where)
            transport.write(b"hello")
            assert await protocol.until_received(5) == b"hello"
            assert transport.get_extra_info("peername") == str(path)
            transport.close()
            await protocol.lost
        await end(server)

    run(main())


def test_unix_failures(run: Run, tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        with pytest.raises(FileNotFoundError):
            await loop.create_unix_connection(Recorder, str(tmp_path / "nothing"))
        with pytest.raises(ValueError, match="no path and sock were specified"):
            await loop.create_unix_connection(Recorder)
        near, far = unix_pair()
        with (
            near,
            far,
            pytest.raises(ValueError, match="path and sock can not be specified at the same time"),
        ):
            await loop.create_unix_connection(Recorder, "path", sock=near)
        near, far = tcp_pair()
        with near, far, pytest.raises(ValueError, match="A UNIX Domain Stream Socket was expected"):
            await loop.create_unix_connection(Recorder, sock=near)

    run(main())


def test_unix_socket_of_ones_own(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        near, far = unix_pair()
        with far:
            transport, protocol = await loop.create_unix_connection(Recorder, sock=near)
            far.sendall(b"hello")
            assert await protocol.until_received(5) == b"hello"
            transport.close()
            await protocol.lost

    run(main())


def test_ipv6(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        try:
            server = await serve(loop, "::1")
        except OSError:
            pytest.skip("no IPv6 loopback on this machine")
        address = server.sockets[0].getsockname()
        transport, protocol = await loop.create_connection(Recorder, "::1", address[1])
        assert transport.get_extra_info("peername")[:2] == ("::1", address[1])
        assert len(transport.get_extra_info("peername")) == 4
        transport.write(b"hello")
        assert await protocol.until_received(5) == b"hello"
        transport.close()
        await protocol.lost
        await end(server)

    run(main())


def test_many_connections_at_once(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0, backlog=200)
        address = server.sockets[0].getsockname()

        async def client(number: int) -> None:
            transport, protocol = await loop.create_connection(Recorder, *address)
            text = b"client %d" % number
            transport.write(text)
            assert await protocol.until_received(len(text)) == text
            transport.close()
            assert await protocol.lost is None

        await asyncio.gather(*(client(number) for number in range(100)))
        await end(server)

    run(main())
