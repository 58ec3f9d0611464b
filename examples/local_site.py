"""A small web site on loopback for the other examples: numbered pages that link to each other.

    glassloop run examples/local_site.py [--pages 1000] [--wait 0.5] [--addresses 1]

``/page/N`` waits as long as ``--wait`` says, as a site does that asks a database, and answers with a page and
its SHA-256 (the ``Repr-Digest`` field of RFC 9530). ``/stats`` says how many requests waited at once.
"""

import argparse
import asyncio
import base64
import contextlib
import hashlib
import json
import resource
import signal
import sys
from collections.abc import AsyncIterator

from aiohttp import web


def make_page(number: int, pages: int) -> bytes:
    """Return page ``number`` of a site of so many pages: about one KiB of HTML with links to other pages."""
    links = [target for target in (2 * number + 1, 2 * number + 2) if target < pages]
    if number % 100 == 99:
        links.append(pages)  # one link in a hundred pages leads nowhere, as on real sites
    anchors = "".join(f'<a href="/page/{target}">page {target}</a>\n' for target in links)
    text = f"This is page {number}. " * 40
    return f"<!DOCTYPE html><title>page {number}</title>\n<p>{text}</p>\n{anchors}".encode()


def digest(body: bytes) -> str:
    """Return the value of a ``Repr-Digest`` field for this body."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


class Site:
    """The site's requests: how many wait now, and how many did at most."""

    def __init__(self, pages: int, wait: float) -> None:
        self.pages, self.wait = pages, wait
        self.waiting = self.waiting_max = self.served = 0

    async def page(self, request: web.Request) -> web.Response:
        number = int(request.match_info["number"])
        if number >= self.pages:
            raise web.HTTPNotFound
        self.waiting += 1
        self.waiting_max = max(self.waiting_max, self.waiting)
        try:
            await asyncio.sleep(self.wait)
        finally:
            self.waiting -= 1
        self.served += 1
        body = make_page(number, self.pages)
        return web.Response(body=body, content_type="text/html", headers={"Repr-Digest": digest(body)})

    async def stats(self, _: web.Request) -> web.Response:
        return web.json_response({"waiting_max": self.waiting_max, "served": self.served})


async def serve(pages: int, wait: float, addresses: int) -> None:
    """Serve until SIGTERM or SIGINT; the first line of output is a JSON list of the site's addresses."""
    site = Site(pages, wait)
    program = web.Application()
    program.add_routes([web.get("/page/{number:[0-9]+}", site.page), web.get("/stats", site.stats)])
    runner = web.AppRunner(program, access_log=None, keepalive_timeout=3600)
    await runner.setup()
    port, urls = 0, []
    for last in range(1, addresses + 1):
        # Each address has an accept queue of its own: with several, many can connect in one moment.
        tcp = web.TCPSite(runner, f"127.0.0.{last}", port, backlog=65535, shutdown_timeout=1)
        await tcp.start()
        port = runner.addresses[0][1]
        urls.append(f"http://127.0.0.{last}:{port}")
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    print(json.dumps(urls), flush=True)
    await stop.wait()
    await runner.cleanup()


@contextlib.asynccontextmanager
async def local_site(*, pages: int, wait: float, addresses: int = 1) -> AsyncIterator[list[str]]:
    """Run this file on glassloop in a process of its own; give the addresses at which it answers."""
    words = [f"--pages={pages}", f"--wait={wait}", f"--addresses={addresses}"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "glassloop", "run", __file__, *words), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        first_line = await process.stdout.readline()
        if not first_line:
            raise RuntimeError(f"the local site ended with status {await process.wait()}")
        yield json.loads(first_line)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def raise_open_files_limit() -> int:
    """Raise this process's limit on open files as far as it may be raised, and return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pages", type=int, default=1000)
    parser.add_argument("--wait", type=float, default=0.5, help="seconds that each page takes")
    parser.add_argument(
        "--addresses", type=int, default=1, help="how many of 127.0.0.1, 127.0.0.2, … to listen on"
    )
    arguments = parser.parse_args()
    raise_open_files_limit()
    asyncio.run(serve(arguments.pages, arguments.wait, arguments.addresses))
