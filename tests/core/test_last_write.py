"""The last write of a TCP connection leaves together with the connection's end."""

import asyncio
import socket
from typing import Any

import pytest

import glassloop


class Answers(asyncio.Protocol):
    """Answers, closes, and looks at what the client has by then, before the loop goes on."""

    def __init__(self, client: socket.socket, *, asks_for_socket: bool) -> None:
        self.client, self.asks_for_socket = client, asks_for_socket
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        if self.asks_for_socket:
            transport.get_extra_info("socket")

    def data_received(self, data: bytes) -> None:
        self.transport.write(b"answer")
        self.transport.close()
        self.seen: list[Any] = [self.client.recv(100)]
        try:
            self.seen.append(self.client.recv(100))
        except TimeoutError:
            self.seen.append("nothing yet")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost.set_result(exc)


@pytest.mark.parametrize("asks_for_socket", [False, True])
def test_the_end_comes_with_the_answer(asks_for_socket: bool) -> None:
    async def main() -> None:
        with socket.socket() as client:
            loop = asyncio.get_running_loop()
            protocol = Answers(client, asks_for_socket=asks_for_socket)
            server = await loop.create_server(lambda: protocol, "127.0.0.1", 0)
            client.settimeout(0.2 if asks_for_socket else 10)
            client.connect(server.sockets[0].getsockname())
            client.sendall(b"?")
            assert await protocol.lost is None
            # Who has the socket may have set what closing it does: its end is left to that.
            assert protocol.seen == [b"answer", "nothing yet" if asks_for_socket else b""]
            client.settimeout(10)
            assert client.recv(100) == b""
            server.close()

    glassloop.run(main())
