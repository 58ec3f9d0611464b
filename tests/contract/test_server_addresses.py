"""Where create_server and create_unix_server listen: addresses, options, paths, and what is refused."""

import asyncio
import errno
import pathlib
import socket
import sys
from typing import Any

import pytest

from .server_support import address_of, start
from .support import Echo, Run, end


def test_the_address_in_use(run: Run) -> None:
    async def main() -> None:
        server = await start()
        host, port = address_of(server)
        with pytest.raises(OSError, match="address already in use") as info:
            await asyncio.get_running_loop().create_server(Echo, host, port)
        assert info.value.errno == errno.EADDRINUSE
        assert f"error while attempting to bind on address ('127.0.0.1', {port}): " in str(info.value)
        await end(server)

    run(main())


def test_the_address_is_free_again_at_once(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await start()
        address = address_of(server)
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"x")
        await reader.readexactly(1)
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        again = await loop.create_server(Echo, *address)
        assert address_of(again) == address
        await end(again)

    run(main())


def test_several_addresses(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, ["127.0.0.1", "127.0.0.2"], 0)
        assert len(server.sockets) == 2
        for sock in server.sockets:
            reader, writer = await asyncio.open_connection(*sock.getsockname())
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            writer.close()
        server.close()
        repeated = await loop.create_server(Echo, ["127.0.0.1", "127.0.0.1"], 0)
        assert len(repeated.sockets) == 1
        await end(repeated)

    run(main())


def test_all_interfaces(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for host in (None, ""):
            server = await loop.create_server(Echo, host, 0)
            families = [sock.family for sock in server.sockets]
            assert socket.AF_INET in families
            assert len(families) == len(set(families))
            await end(server)

    run(main())


def test_reuse_port(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        first = await start(reuse_port=True)
        second = await loop.create_server(Echo, *address_of(first), reuse_port=True)
        assert address_of(first) == address_of(second)
        assert first.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
        await end(first)
        await end(second)

    run(main())


def test_reuse_address(run: Run) -> None:
    async def main() -> None:
        default, without = await start(), await start(reuse_address=False)
        assert default.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        assert not without.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
        await end(default)
        await end(without)

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 13), reason="create_server(keep_alive=) is new in Python 3.13")
def test_keep_alive(run: Run) -> None:
    async def main() -> None:
        server = await start(keep_alive=True)
        assert server.sockets[0].getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        await end(server)

    run(main())


def test_a_socket_of_ones_own(run: Run) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        server = await loop.create_server(Echo, sock=sock)
        reader, writer = await asyncio.open_connection(*sock.getsockname())
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        with pytest.raises(ValueError, match="host/port and sock can not be specified at the same time"):
            await loop.create_server(Echo, "127.0.0.1", 0, sock=sock)
        server.close()
        assert sock.fileno() == -1
        with pytest.raises(ValueError, match="Neither host/port nor sock were specified"):
            await loop.create_server(Echo)
        with (
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
            pytest.raises(ValueError, match="A Stream Socket was expected"),
        ):
            await loop.create_server(Echo, sock=datagrams)
        with pytest.raises(TypeError, match="ssl argument must be an SSLContext or None"):
            await loop.create_server(Echo, "127.0.0.1", 0, ssl=True)

    run(main())


def test_unix_server(run: Run, tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        path = tmp_path / "socket"
        server = await loop.create_unix_server(Echo, path)
        assert server.sockets[0].family == socket.AF_UNIX
        assert path.is_socket()
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()
        # Since Python 3.13 closing the server removes its file.
        assert path.exists() == (sys.version_info < (3, 13))

    run(main())


def test_a_unix_path_in_use(run: Run, tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        path = tmp_path / "file"
        path.write_text("not a socket")
        with pytest.raises(OSError, match=f"^.*Address '{path}' is already in use") as info:
            await loop.create_unix_server(Echo, str(path))
        assert info.value.errno == errno.EADDRINUSE
        assert path.read_text() == "not a socket"
        with pytest.raises(ValueError, match="path was not specified, and no sock specified"):
            await loop.create_unix_server(Echo)

    run(main())


def test_an_old_unix_socket_is_replaced(run: Run, tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        path = tmp_path / "socket"
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(path))
        server = await loop.create_unix_server(Echo, str(path))
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        await end(server)

    run(main())
