"""Tornado over the loop under test: its own streams use ``add_reader`` and ``add_writer``, not transports."""

import asyncio
import hashlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from .support import PAYLOAD, PAYLOAD_SHA256, Run

tornado = pytest.importorskip("tornado", reason="tornado is not installed")
httpclient = pytest.importorskip("tornado.httpclient")
httpserver = pytest.importorskip("tornado.httpserver")
ioloop = pytest.importorskip("tornado.ioloop")
netutil = pytest.importorskip("tornado.netutil")
web = pytest.importorskip("tornado.web")
websocket = pytest.importorskip("tornado.websocket")

RequestHandler: Any = web.RequestHandler
WebSocketHandler: Any = websocket.WebSocketHandler

SIZE_LIMIT = 2 * len(PAYLOAD)


def application() -> Any:
    """Handlers for a checksum, a stream, a thread's work and a websocket."""

    class Sum(RequestHandler):  # type: ignore[misc]  # its base is untyped
        def post(self) -> None:
            self.write({"sha256": hashlib.sha256(self.request.body).hexdigest()})

    class Stream(RequestHandler):  # type: ignore[misc]
        async def get(self) -> None:
            for start in range(0, len(PAYLOAD), 100_000):
                self.write(PAYLOAD[start : start + 100_000])
                await self.flush()

    class Threaded(RequestHandler):  # type: ignore[misc]
        async def get(self, number: str) -> None:
            await asyncio.sleep(0)
            self.write(await ioloop.IOLoop.current().run_in_executor(None, str, 2 * int(number)))

    class Echo(WebSocketHandler):  # type: ignore[misc]
        async def on_message(self, message: str | bytes) -> None:
            await self.write_message(message, binary=isinstance(message, bytes))

    handlers = [("/sum", Sum), ("/stream", Stream), (r"/double/(\d+)", Threaded), ("/echo", Echo)]
    return web.Application(handlers, websocket_max_message_size=SIZE_LIMIT)


@asynccontextmanager
async def serve(tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve the application in the running loop, and give the address without its scheme."""
    server = httpserver.HTTPServer(application(), ssl_options=tls, max_buffer_size=SIZE_LIMIT)
    sockets = netutil.bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    try:
        yield f"://127.0.0.1:{sockets[0].getsockname()[1]}"
    finally:
        server.stop()
        await server.close_all_connections()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_requests(run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, scheme: str) -> None:
    async def main() -> None:
        options = {"ssl_options": client_tls} if scheme == "https" else {}
        client = httpclient.AsyncHTTPClient(force_instance=True, max_clients=100, max_buffer_size=SIZE_LIMIT)
        async with serve(server_tls if scheme == "https" else None) as address:
            url = scheme + address
            headers = {"Content-Type": "application/octet-stream"}
            answer = await client.fetch(f"{url}/sum", method="POST", headers=headers, body=PAYLOAD, **options)
            assert PAYLOAD_SHA256 in answer.body.decode()
            assert (await client.fetch(f"{url}/stream", **options)).body == PAYLOAD
            answers = await asyncio.gather(
                *(client.fetch(f"{url}/double/{n}", **options) for n in range(100))
            )
            assert [int(answer.body) for answer in answers] == [2 * n for n in range(100)]
        client.close()

    run(main())


def test_websocket(run: Run) -> None:
    async def main() -> None:
        async with serve() as address:
            socket = await websocket.websocket_connect(f"ws{address}/echo", max_message_size=SIZE_LIMIT)
            for number in range(200):
                await socket.write_message(f"message {number}")
                assert await socket.read_message() == f"message {number}"
            await socket.write_message(PAYLOAD, binary=True)
            assert await socket.read_message() == PAYLOAD
            socket.close()
            assert await socket.read_message() is None

    run(main())


def test_callbacks_of_its_own_loop(run: Run) -> None:
    async def main() -> None:
        loop = ioloop.IOLoop.current()
        order: list[str] = []
        enough: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def tick() -> None:
            order.append("tick")
            if order.count("tick") == 3:
                periodic.stop()
                enough.set_result(None)

        periodic = ioloop.PeriodicCallback(tick, 1)
        periodic.start()
        loop.add_callback(order.append, "soon")
        loop.remove_timeout(loop.call_later(0.001, order.append, "never"))
        await asyncio.get_running_loop().run_in_executor(
            None, loop.add_callback, order.append, "from a thread"
        )
        await enough
        assert set(order) == {"soon", "from a thread", "tick"}

    run(main())


def test_an_io_loop_made_for_a_loop(loop_factory: Any, loop_name: str) -> None:
    """``AsyncIOLoop(asyncio_loop=...)``: how a program that has no loop yet gives Tornado one."""
    platform = pytest.importorskip("tornado.platform.asyncio")
    loop = platform.AsyncIOLoop(asyncio_loop=loop_factory(), make_current=False)

    async def main() -> str:
        await asyncio.sleep(0)
        return type(asyncio.get_running_loop()).__module__

    assert loop.run_sync(main).split(".")[0] == loop_name
    loop.close(all_fds=True)
