"""Hypercorn through its API, with HTTP/1.1, and HTTP/2 over TLS."""

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from .support import PATIENCE_S, PAYLOAD, PAYLOAD_SHA256, Run, pieces

hypercorn = pytest.importorskip("hypercorn.asyncio", reason="hypercorn is not installed")
config_module = pytest.importorskip("hypercorn.config")
httpx = pytest.importorskip("httpx", reason="httpx is not installed")

Messages = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def app(scope: dict[str, Any], receive: Messages, send: Send) -> None:
    """Tell the checksum of a POST's body, and the payload otherwise."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    checksum = hashlib.sha256()
    while True:
        message = await receive()
        checksum.update(message.get("body", b""))
        if not message.get("more_body"):
            break
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    if scope["method"] == "POST":
        await send({"type": "http.response.body", "body": checksum.hexdigest().encode()})
    else:
        for start in range(0, len(PAYLOAD), 100_000):
            await send(
                {"type": "http.response.body", "body": PAYLOAD[start : start + 100_000], "more_body": True}
            )
        await send({"type": "http.response.body", "body": b""})


@asynccontextmanager
async def serve(certificate: Path | None) -> AsyncIterator[str]:
    """Hypercorn in the running loop, over TLS where there is a certificate; its address."""
    config = config_module.Config()
    config.errorlog = None
    config.bind = ["127.0.0.1:0"]
    if certificate:
        config.certfile = config.keyfile = str(certificate)
    # Hypercorn tells its address in its log alone: give it a socket that we know.
    sockets = config.create_sockets()
    served = (sockets.secure_sockets or sockets.insecure_sockets)[0]
    config.create_sockets = lambda: sockets
    stop = asyncio.Event()
    task = asyncio.create_task(hypercorn.serve(app, config, shutdown_trigger=stop.wait))
    while not served.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        await asyncio.sleep(0.001)
    try:
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{served.getsockname()[1]}"
    finally:
        stop.set()
        await task


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])
def test_requests(run: Run, authority: Any, client_tls: Any, tmp_path: Path, version: str) -> None:
    if version == "HTTP/2":
        pytest.importorskip("h2", reason="h2 is not installed")

    async def main() -> None:
        certificate = None
        if version == "HTTP/2":
            certificate = tmp_path / "certificate.pem"
            authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
        async with (
            serve(certificate) as url,
            httpx.AsyncClient(base_url=url, verify=client_tls, http2=True, timeout=PATIENCE_S) as client,
        ):
            answer = await client.post("/", content=pieces(PAYLOAD))
            assert (answer.http_version, answer.text) == (version, PAYLOAD_SHA256)
            assert (await client.get("/")).content == PAYLOAD
            bodies = [f"body {number}".encode() * 1000 for number in range(50)]
            answers = await asyncio.gather(*(client.post("/", content=body) for body in bodies))
            assert [answer.text for answer in answers] == [
                hashlib.sha256(body).hexdigest() for body in bodies
            ]

    run(main())
