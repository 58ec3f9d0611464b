"""How many clients the kernel keeps for a server that has not accepted them yet."""

import asyncio
import socket
import struct
from pathlib import Path

import pytest

import glassloop


def backlog_of(sock: socket.socket) -> int:
    """The backlog of a listening TCP socket: ``tcpi_sacked`` of its TCP_INFO."""
    information = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    (backlog,) = struct.unpack_from("I", information, 28)
    return int(backlog)


@pytest.mark.parametrize(("asked", "expected"), [({}, 4096), ({"backlog": 7}, 7), ({"backlog": 200}, 200)])
def test_a_backlog_that_nobody_chose_is_large(asked: dict[str, int], expected: int) -> None:
    async def main() -> int:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, **asked)  # type: ignore[call-overload]
        with socket.socket(fileno=socket.dup(server.sockets[0].fileno())) as sock:
            found = backlog_of(sock)
        server.close()
        await server.wait_closed()
        return found

    most = int(Path("/proc/sys/net/core/somaxconn").read_text())
    assert glassloop.run(main()) == min(expected, most)
