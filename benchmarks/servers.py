"""The servers under test: `python -m benchmarks.servers KIND LOOP` prints a port and serves until killed.

Every kind is written as an ordinary asyncio program; only the loop differs.
"""

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any, cast

from benchmarks import loops

_HOST = "127.0.0.1"
_BACKLOG = 4096  # enough for all clients; the storm keeps asyncio's default, as programs do
_HEADER_SIZE = 16
_BUFFER_SIZE = 256 * 1024
_AGING_SIZE = 4 * 1024 * 1024

HELLO = b"Hello, world!"


class Echo(asyncio.Protocol):
    """Sends back what it gets."""

    __slots__ = ("transport",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


class EchoApart(Echo):
    """Sends back what it gets, header and body written apart, as servers of HTTP and of most protocols do."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        self.transport.write(data[:_HEADER_SIZE])
        self.transport.write(data[_HEADER_SIZE:])


class EchoInFour(Echo):
    """Sends back what it gets in four writes: a status line, two headers, a body."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        write = self.transport.write
        write(data[:_HEADER_SIZE])
        write(data[_HEADER_SIZE : 2 * _HEADER_SIZE])
        write(data[2 * _HEADER_SIZE : 3 * _HEADER_SIZE])
        write(data[3 * _HEADER_SIZE :])


class EchoClose(Echo):
    """Answers once and closes."""

    __slots__ = ()

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)
        self.transport.close()


class Close(asyncio.Protocol):
    """Closes at once."""

    __slots__ = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class EchoBuffered(asyncio.BufferedProtocol):
    """Sends back what it gets, received into a buffer of its own."""

    __slots__ = ("buffer", "transport", "view")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.buffer = bytearray(_BUFFER_SIZE)
        self.view = memoryview(self.buffer)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.transport.write(bytes(self.view[:nbytes]))


async def _echo_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionResetError:
        pass  # the load generator leaves by a reset
    finally:
        writer.close()


class EchoDatagrams(asyncio.DatagramProtocol):
    """Sends each datagram back to where it came from."""

    __slots__ = ("transport",)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(data, addr)


async def _echo_socket(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with sock:
        try:
            while data := await loop.sock_recv(sock, 65536):
                await loop.sock_sendall(sock, data)
        except ConnectionResetError:
            pass  # the load generator leaves by a reset


async def _serve_sockets() -> None:
    loop = asyncio.get_running_loop()
    listener = socket.create_server((_HOST, 0), backlog=_BACKLOG)
    listener.setblocking(False)
    print(listener.getsockname()[1], flush=True)
    echoes = set()
    while True:
        sock, _ = await loop.sock_accept(listener)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        echo = loop.create_task(_echo_socket(sock))
        echoes.add(echo)
        echo.add_done_callback(echoes.discard)


async def _serve_datagrams() -> None:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        EchoDatagrams, local_addr=(_HOST, 0)
    )
    print(transport.get_extra_info("sockname")[1], flush=True)
    await asyncio.get_running_loop().create_future()


async def _serve_protocol(factory: Callable[[], asyncio.BaseProtocol], **options: Any) -> None:
    server = await asyncio.get_running_loop().create_server(factory, _HOST, 0, **options)
    await _announce_and_serve(server)


async def _serve_streams() -> None:
    await _announce_and_serve(await asyncio.start_server(_echo_stream, _HOST, 0, backlog=_BACKLOG))


async def _announce_and_serve(server: asyncio.AbstractServer) -> None:
    port = server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
    print(port, flush=True)
    await asyncio.get_running_loop().create_future()


async def _serve_uvicorn() -> None:
    import uvicorn

    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(HELLO)).encode())]

    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": HELLO})

    config = uvicorn.Config(
        application,
        host=_HOST,
        port=0,
        http="httptools",
        loop="none",
        lifespan="off",
        log_level="error",
        access_log=False,
    )
    server = uvicorn.Server(config)
    serving = asyncio.ensure_future(server.serve())
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if server.started:
        print(server.servers[0].sockets[0].getsockname()[1], flush=True)
    await serving


async def _serve_aiohttp() -> None:
    from aiohttp import web

    async def hello(request: web.Request) -> web.Response:
        return web.Response(body=HELLO, content_type="text/plain")

    application = web.Application()
    application.router.add_get("/", hello)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, _HOST, 0, backlog=_BACKLOG)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.get_running_loop().create_future()


KINDS: dict[str, Callable[[], Awaitable[None]]] = {
    "echo": lambda: _serve_protocol(Echo, backlog=_BACKLOG),
    "echo-default-backlog": lambda: _serve_protocol(Echo),
    "echo-apart": lambda: _serve_protocol(EchoApart, backlog=_BACKLOG),
    "echo-in-four": lambda: _serve_protocol(EchoInFour, backlog=_BACKLOG),
    "echo-close": lambda: _serve_protocol(EchoClose, backlog=_BACKLOG),
    "close": lambda: _serve_protocol(Close, backlog=_BACKLOG),
    "echo-buffered": lambda: _serve_protocol(EchoBuffered, backlog=_BACKLOG),
    "echo-streams": _serve_streams,
    "echo-sockets": _serve_sockets,
    "echo-datagrams": _serve_datagrams,
    "uvicorn": _serve_uvicorn,
    "aiohttp": _serve_aiohttp,
}


def _age_the_heap() -> None:
    """Bring the allocator to where it is in a server that has run for a while.

    glibc maps and unmaps every block above 128 KiB until the program has once freed a mapped one that is
    larger; from then on such blocks come from the heap. asyncio receives into a new block of 256 KiB each
    time: without this it would spend five times as long on the page faults as on the request.
    """
    bytes(_AGING_SIZE)


def main() -> None:
    _age_the_heap()
    kind, loop_name = sys.argv[1:]
    loop = loops.make_loop(loop_name)
    asyncio.set_event_loop(loop)
    loop.run_until_complete(KINDS[kind]())


if __name__ == "__main__":
    main()
