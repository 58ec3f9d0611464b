"""Download pages with 10,000 requests in flight at once, and check every one of them.

    glassloop run examples/download_10k.py [URL ...] [--at-once 10000] [--requests 30000]

An ordinary asyncio program with an ordinary client, aiohttp's: nothing here knows of glassloop. Without a URL
it starts a local site in another process, each page of which takes half a second.
"""

import argparse
import asyncio
import contextlib
import json
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
from local_site import digest, local_site, raise_open_files_limit

FILES_FOR_THE_REST = 200  # open files that are not connections
PAGES = 1000


class Downloads:
    """What has been asked for, what waits, what came back."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.waiting = self.waiting_max = self.done = self.bytes = 0
        self.start = time.perf_counter()

    async def fetch(self, session: aiohttp.ClientSession, url: str) -> None:
        """Fetch one page and compare it with the checksum that the site gives."""
        self.waiting += 1
        self.waiting_max = max(self.waiting_max, self.waiting)
        async with session.get(url) as response:
            response.raise_for_status()
            body = await response.read()
        self.waiting -= 1
        number = url.rpartition("/")[2].encode()
        if response.headers["Repr-Digest"] != digest(body) or b"This is page " + number + b"." not in body:
            raise ValueError(f"{url}: the page that came back is not the one that was sent")
        self.done += 1
        self.bytes += len(body)

    async def fetch_one_after_another(self, session: aiohttp.ClientSession, urls: Iterator[str]) -> None:
        for url in urls:
            await self.fetch(session, url)

    def describe(self) -> str:
        seconds = time.perf_counter() - self.start
        return f"{seconds:5.1f} s   {self.waiting:6,} waiting   {self.done:6,} of {self.total:,} done"


async def show_progress(downloads: Downloads) -> None:
    """Say how far it is: on a terminal in one line that changes, else a line each second."""
    on_terminal = sys.stderr.isatty()
    try:
        while True:
            await asyncio.sleep(0.1 if on_terminal else 1)
            print(downloads.describe(), end="\r" if on_terminal else "\n", file=sys.stderr, flush=True)
    finally:
        print(downloads.describe(), file=sys.stderr, flush=True)


async def block(after: float, seconds: float) -> None:
    """Do what a task must not do: keep the loop from all its other work."""
    await asyncio.sleep(after)
    time.sleep(seconds)  # noqa: ASYNC251 - on purpose


async def download(sites: list[str], at_once: int, total: int, block_seconds: float) -> dict[str, object]:
    """Download ``total`` pages, ``at_once`` at a time; return what happened."""
    urls = (f"{sites[number % len(sites)]}/page/{number % PAGES}" for number in range(total))
    resident_before, processor_before = resident_bytes(), processor_seconds()
    downloads = Downloads(total)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        connector=connector, timeout=aiohttp.ClientTimeout(total=300)
    ) as session:
        progress = asyncio.create_task(show_progress(downloads))
        async with asyncio.TaskGroup() as group:
            if block_seconds:
                group.create_task(block(0.5, block_seconds), name="clumsy")
            for _ in range(at_once):
                group.create_task(downloads.fetch_one_after_another(session, urls))
        seconds = time.perf_counter() - downloads.start
        resident = resident_bytes() - resident_before
        progress.cancel()
        await asyncio.wait([progress])
        async with session.get(f"{sites[0]}/stats") as response:
            site = await response.json() if response.status == 200 else {}
    return {
        "loop": type(asyncio.get_running_loop()).__module__.partition(".")[0],
        "requests": downloads.done,
        "bytes": downloads.bytes,
        "seconds": seconds,
        "processor_seconds": processor_seconds() - processor_before,
        "waiting_max": downloads.waiting_max,
        "waiting_max_at_the_site": site.get("waiting_max"),
        "resident_bytes_per_request_waiting": resident / at_once,
    }


def resident_bytes() -> int:
    """Return how much memory this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def processor_seconds() -> float:
    """Return how long this process has computed so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def main(
    sites: list[str], at_once: int, total: int, wait: float, block_seconds: float
) -> dict[str, object]:
    async with contextlib.AsyncExitStack() as stack:
        if not sites:
            sites = await stack.enter_async_context(local_site(pages=PAGES, wait=wait, addresses=4))
        return await download(sites, at_once, total, block_seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("site", nargs="*", help="address of a running local_site.py, without a path")
    parser.add_argument("--at-once", type=int, default=10_000)
    parser.add_argument("--requests", type=int, default=30_000)
    parser.add_argument(
        "--wait", type=float, default=0.5, help="seconds that each page takes at the local site"
    )
    parser.add_argument(
        "--block", type=float, default=0, metavar="SECONDS", help="let one task block the loop, to be found"
    )
    parser.add_argument("--json", action="store_true", help="print what happened as JSON")
    arguments = parser.parse_args()
    possible = raise_open_files_limit() - FILES_FOR_THE_REST
    at_once = min(arguments.at_once, possible)
    if at_once < arguments.at_once:
        print(
            f"This process may open {possible + FILES_FOR_THE_REST:,} files (the hard limit), and each "
            f"request takes one: {at_once:,} at once instead of {arguments.at_once:,}.",
            file=sys.stderr,
        )
    total = max(arguments.requests, at_once)
    result = asyncio.run(main(arguments.site, at_once, total, arguments.wait, arguments.block))
    print(
        json.dumps(result)
        if arguments.json
        else "\n".join(f"{name}: {value}" for name, value in result.items())
    )
