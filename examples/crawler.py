"""A crawler: follows the links of one site with a bounded number of requests at once.

    glassloop run examples/crawler.py [URL] [--at-once 50] [--pages 500]

Without a URL it crawls a small local site that it starts itself.
"""

import argparse
import asyncio
import contextlib
import time
from html.parser import HTMLParser
from urllib.parse import urldefrag, urljoin, urlsplit

import aiohttp
from local_site import local_site


class LinkFinder(HTMLParser):
    """Collects the targets of a page's links."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a" and (target := dict(attrs).get("href")):
            self.links.append(target)


class Crawler:
    """One crawl of one site, breadth first."""

    def __init__(self, session: aiohttp.ClientSession, start: str, pages_max: int) -> None:
        self.session, self.pages_max = session, pages_max
        self.host = urlsplit(start).netloc
        self.found = {start}
        self.queue: asyncio.Queue[str] = asyncio.Queue()
        self.queue.put_nowait(start)
        self.fetched = self.bytes = 0
        self.failed: dict[str, str] = {}

    async def crawl(self, at_once: int) -> None:
        """Run so many workers until no page is left."""
        workers = [asyncio.create_task(self.work()) for _ in range(at_once)]
        await self.queue.join()
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    async def work(self) -> None:
        while True:
            url = await self.queue.get()
            try:
                await self.fetch(url)
            except (aiohttp.ClientError, TimeoutError, UnicodeDecodeError) as error:
                self.failed[url] = str(error) or type(error).__name__
            finally:
                self.queue.task_done()

    async def fetch(self, url: str) -> None:
        async with self.session.get(url) as response:
            if response.status != 200:
                self.failed[url] = f"{response.status} {response.reason}"
                return
            body = await response.read()
            self.fetched += 1
            self.bytes += len(body)
            if response.content_type == "text/html":
                finder = LinkFinder()
                finder.feed(body.decode(response.get_encoding()))
                self.enqueue(str(response.url), finder.links)

    def enqueue(self, base: str, links: list[str]) -> None:
        """Remember each link that is new, on the same host, and within the bound."""
        for link in links:
            url = urldefrag(urljoin(base, link)).url
            if (
                urlsplit(url).netloc == self.host
                and url not in self.found
                and len(self.found) < self.pages_max
            ):
                self.found.add(url)
                self.queue.put_nowait(url)


async def main(url: str | None, at_once: int, pages_max: int) -> None:
    async with contextlib.AsyncExitStack() as stack:
        if url is None:
            urls = await stack.enter_async_context(local_site(pages=400, wait=0.05))
            url = f"{urls[0]}/page/0"
        session = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30))
        )
        crawler = Crawler(session, url, pages_max)
        start = time.perf_counter()
        await crawler.crawl(at_once)
        seconds = time.perf_counter() - start
    print(f"{crawler.fetched} pages, {crawler.bytes / 1024:.0f} KiB in {seconds:.2f} s, {at_once} at once")
    for failed, why in crawler.failed.items():
        print(f"failed: {failed}: {why}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("url", nargs="?")
    parser.add_argument("--at-once", type=int, default=50)
    parser.add_argument("--pages", type=int, default=500, help="how many pages to fetch at most")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.url, arguments.at_once, arguments.pages))
