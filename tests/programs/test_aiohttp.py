"""aiohttp: its server and its client on the same loop."""

import asyncio
import contextlib
import hashlib
import re
import signal
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from .support import PAYLOAD, PAYLOAD_SHA256, Run, pieces

aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed")
web = pytest.importorskip("aiohttp.web")


CLOSE_CODES = web.AppKey("close_codes", list[int])


async def peer(request: Any) -> Any:
    """Tell which connection this came over."""
    information = request.transport.get_extra_info
    return web.json_response({"port": information("peername")[1], "encrypted": bool(information("cipher"))})


async def upload(request: Any) -> Any:
    """Tell the checksum of the body, read in pieces as they come."""
    checksum = hashlib.sha256()
    async for piece in request.content.iter_any():
        checksum.update(piece)
    return web.json_response({"sha256": checksum.hexdigest(), "length": request.content_length})


async def download(request: Any) -> Any:
    """Send the payload in chunks."""
    response = web.StreamResponse()
    await response.prepare(request)
    async for piece in pieces(PAYLOAD):
        await response.write(piece)
    await response.write_eof()
    return response


async def echo(request: Any) -> Any:
    """Send back every message of a websocket."""
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        if message.type is aiohttp.WSMsgType.TEXT:
            await socket.send_str(message.data)
        else:
            await socket.send_bytes(message.data)
    request.app[CLOSE_CODES].append(socket.close_code)
    return socket


@contextlib.asynccontextmanager
async def serve(
    *routes: Any, tls: ssl.SSLContext | None = None, close_codes: list[int] | None = None
) -> AsyncIterator[str]:
    """Serve routes, and give the address."""
    app = web.Application(client_max_size=2 * len(PAYLOAD))
    app[CLOSE_CODES] = [] if close_codes is None else close_codes
    app.add_routes(routes)
    runner = web.AppRunner(app, shutdown_timeout=20)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
        yield f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def test_one_connection_serves_many_requests(run: Run) -> None:
    async def main() -> None:
        async with serve(web.get("/", peer)) as url, aiohttp.ClientSession(url) as session:
            ports = set()
            for _ in range(20):
                async with session.get("/") as response:
                    ports.add((await response.json())["port"])
            assert len(ports) == 1

    run(main())


def test_fifty_clients_at_once(run: Run) -> None:
    async def main() -> None:
        async def client(url: str, number: int) -> None:
            async with aiohttp.ClientSession(url) as session:
                for turn in range(5):
                    body = f"{number} {turn}".encode() * 100
                    async with session.post("/", data=body) as response:
                        assert (await response.json())["sha256"] == hashlib.sha256(body).hexdigest()

        async with serve(web.post("/", upload)) as url, asyncio.TaskGroup() as clients:
            for number in range(50):
                clients.create_task(client(url, number))

    run(main())


def test_chunked_upload_and_download(run: Run) -> None:
    async def main() -> None:
        async with (
            serve(web.post("/", upload), web.get("/", download)) as url,
            aiohttp.ClientSession(url) as session,
        ):
            async with session.post("/", data=pieces(PAYLOAD)) as response:
                assert await response.json() == {"sha256": PAYLOAD_SHA256, "length": None}
            async with session.get("/") as response:
                assert response.headers["Transfer-Encoding"] == "chunked"
                assert hashlib.sha256(await response.read()).hexdigest() == PAYLOAD_SHA256

    run(main())


def test_a_slow_reader_gets_all(run: Run) -> None:
    async def main() -> None:
        async with serve(web.get("/", download)) as url, aiohttp.ClientSession(url) as session:
            async with session.get("/") as response:
                checksum = hashlib.sha256()
                async for piece in response.content.iter_chunked(50_000):
                    checksum.update(piece)
                    await asyncio.sleep(0)
                assert checksum.hexdigest() == PAYLOAD_SHA256

    run(main())


@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
def test_a_file_is_sent(
    run: Run, tmp_path: Path, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, encrypted: bool
) -> None:
    """aiohttp sends files with ``loop.sendfile()``."""
    (tmp_path / "payload").write_bytes(PAYLOAD)

    async def main() -> None:
        async with (
            serve(web.static("/", tmp_path), tls=server_tls if encrypted else None) as url,
            aiohttp.ClientSession(url) as session,
        ):
            async with session.get("/payload", ssl=client_tls) as response:
                assert hashlib.sha256(await response.read()).hexdigest() == PAYLOAD_SHA256
            headers = {"Range": "bytes=1000-2999"}
            async with session.get("/payload", ssl=client_tls, headers=headers) as response:
                assert response.status == 206
                assert await response.read() == PAYLOAD[1000:3000]

    run(main())


def test_over_tls(run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        routes = web.post("/", upload), web.get("/", download), web.get("/peer", peer)
        async with serve(*routes, tls=server_tls) as url, aiohttp.ClientSession(url) as session:
            async with session.get("/peer", ssl=client_tls) as response:
                assert (await response.json())["encrypted"]
            async with session.post("/", data=pieces(PAYLOAD), ssl=client_tls) as response:
                assert (await response.json())["sha256"] == PAYLOAD_SHA256
            async with session.get("/", ssl=client_tls) as response:
                assert hashlib.sha256(await response.read()).hexdigest() == PAYLOAD_SHA256

    run(main())


def test_a_certificate_that_is_not_trusted_is_refused(
    run: Run, server_tls: ssl.SSLContext, errors: list[dict[str, Any]]
) -> None:
    async def main() -> None:
        async with serve(web.get("/", peer), tls=server_tls) as url, aiohttp.ClientSession(url) as session:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await session.get("/")

    run(main())
    # In debug mode asyncio's server tells its loop's handler of the client's refusal.
    errors.clear()


def test_websocket(run: Run) -> None:
    close_codes: list[int] = []

    async def main() -> None:
        async with (
            serve(web.get("/", echo), close_codes=close_codes) as url,
            aiohttp.ClientSession(url) as session,
            session.ws_connect("/", max_msg_size=0) as socket,
        ):
            for number in range(200):
                await socket.send_str(f"message {number}")
                assert await socket.receive_str() == f"message {number}"
            await socket.send_bytes(PAYLOAD[:1_000_000])
            assert await socket.receive_bytes() == PAYLOAD[:1_000_000]
            await socket.close(code=4000, message=b"enough")
        assert close_codes == [4000]

    run(main())


def test_a_request_time_limit(run: Run) -> None:
    async def main() -> None:
        released = asyncio.Event()

        async def never(_request: Any) -> Any:
            await released.wait()

        async with (
            serve(web.get("/", never), web.get("/peer", peer)) as url,
            aiohttp.ClientSession(url) as session,
        ):
            with pytest.raises(TimeoutError):
                await session.get("/", timeout=aiohttp.ClientTimeout(total=0.05))
            async with session.get("/peer") as response:
                assert response.status == 200
            released.set()

    run(main())


def test_a_client_that_leaves_cancels_its_handler(run: Run) -> None:
    async def main() -> None:
        started, cancelled = asyncio.Event(), asyncio.Event()

        async def wait(_request: Any) -> Any:
            started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise

        app = web.Application()
        app.add_routes([web.get("/", wait)])
        runner = web.AppRunner(app, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with aiohttp.ClientSession() as session:
            request = asyncio.ensure_future(session.get(f"http://127.0.0.1:{runner.addresses[0][1]}/"))
            await started.wait()
            request.cancel()
            await cancelled.wait()
        await runner.cleanup()

    run(main())


def test_graceful_shutdown_lets_a_request_finish(run: Run) -> None:
    async def main() -> None:
        started, stopping = asyncio.Event(), asyncio.Event()

        async def slow(_request: Any) -> Any:
            started.set()
            await stopping.wait()
            return web.Response(text="finished")

        async def stop(_app: Any) -> None:
            stopping.set()

        app = web.Application()
        app.on_shutdown.append(stop)
        app.add_routes([web.get("/", slow)])
        runner = web.AppRunner(app, shutdown_timeout=20)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        async with aiohttp.ClientSession() as session:
            request = asyncio.ensure_future(session.get(url))
            await started.wait()
            await runner.cleanup()
            async with await request as response:
                assert await response.text() == "finished"
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(url)

    run(main())


RUN_APP = """
import asyncio, sys
import glassloop
from aiohttp import web

async def hello(request):
    return web.Response(text=type(asyncio.get_running_loop()).__module__)

async def tell(app):
    print("cleaned up", flush=True)

app = web.Application()
app.add_routes([web.get("/", hello)])
app.on_cleanup.append(tell)
kinds = {"asyncio": asyncio.SelectorEventLoop, "glassloop": glassloop.new_event_loop}
web.run_app(app, host="127.0.0.1", port=0, loop=kinds[sys.argv[1]]())
"""


def test_run_app_stops_at_a_signal(loop_name: str, tmp_path: Path) -> None:
    """``web.run_app(app, loop=...)``, the way to give aiohttp a loop, in a process that gets SIGTERM."""
    program = tmp_path / "program.py"
    program.write_text(RUN_APP)
    command = [sys.executable, "-u", str(program), loop_name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = re.search(r"http://\S+", process.stdout.readline())
        assert address is not None
        with urllib.request.urlopen(address[0]) as response:
            assert response.read().decode().split(".")[0] == loop_name
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read().strip().endswith("cleaned up")
    assert process.returncode == 0
