"""Threads that hammer a loop: every call arrives, each thread's in its order, and none is slept on."""

import asyncio
import threading

import pytest

import glassloop

from .support import new_loop

THREADS = 6
CALLS = 5_000


@pytest.mark.parametrize("kind", ["epoll", "select"])
def test_every_call_arrives_in_its_thread_s_order(kind: str) -> None:
    loop = new_loop(kind)
    seen: list[list[int]] = [[] for _ in range(THREADS)]
    left = THREADS

    def hammer(number: int) -> None:
        for call in range(CALLS):
            loop.call_soon_threadsafe(seen[number].append, call)
        loop.call_soon_threadsafe(finish)

    def finish() -> None:
        nonlocal left
        left -= 1
        if not left:
            loop.stop()

    threads = [threading.Thread(daemon=True, target=hammer, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    loop.run_forever()
    for thread in threads:
        thread.join()
    loop.close()
    assert seen == [list(range(CALLS))] * THREADS


@pytest.mark.parametrize("kind", ["epoll", "select"])
@pytest.mark.parametrize("busy", [False, True], ids=["idle loop", "busy loop"])
def test_a_loop_is_woken_for_every_call(kind: str, busy: bool) -> None:
    """One call at a time, each after the last has been answered: a wake-up that is lost would hang here."""
    loop = new_loop(kind)
    answered = threading.Event()

    def spin() -> None:
        loop.call_soon(spin)

    def ask() -> None:
        for _ in range(1000):
            answered.clear()
            loop.call_soon_threadsafe(answered.set)
            answered.wait()
        loop.call_soon_threadsafe(loop.stop)

    if busy:
        spin()
    thread = threading.Thread(daemon=True, target=ask)
    thread.start()
    loop.run_forever()
    thread.join()
    loop.close()


def test_calls_and_timers_and_io_together() -> None:
    """Threads call while the loop serves connections and timers; all of it is counted."""

    class Echo(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(data)

    counted = 0

    def count() -> None:
        nonlocal counted
        counted += 1

    async def client(address: tuple[str, int]) -> int:
        reader, writer = await asyncio.open_connection(*address)
        received = 0
        for _ in range(100):
            writer.write(b"x" * 100)
            received += len(await reader.readexactly(100))
        writer.close()
        return received

    async def tick() -> int:
        for _ in range(100):
            await asyncio.sleep(0.0001)
        return 100

    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        threads = [
            asyncio.to_thread(lambda: [loop.call_soon_threadsafe(count) for _ in range(CALLS)])
            for _ in range(4)
        ]
        clients = [client(server.sockets[0].getsockname()) for _ in range(10)]
        results = await asyncio.gather(*clients, *(tick() for _ in range(10)), *threads)
        assert results[:20] == [10_000] * 10 + [100] * 10
        server.close()

    glassloop.run(main())
    assert counted == 4 * CALLS


def test_futures_of_threads() -> None:
    async def child(number: int) -> int:
        await asyncio.sleep(0)
        return number

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def ask(start: int) -> int:
            return sum(
                asyncio.run_coroutine_threadsafe(child(number), loop).result()
                for number in range(start, start + 200)
            )

        sums = await asyncio.gather(*(asyncio.to_thread(ask, 200 * number) for number in range(5)))
        assert sum(sums) == sum(range(1000))

    glassloop.run(main())


def test_many_loops_in_many_threads() -> None:
    async def child(number: int) -> int:
        await asyncio.sleep(0)
        await asyncio.to_thread(int) if number % 10 == 0 else await asyncio.sleep(0.0001)
        return number

    async def main() -> int:
        return sum(await asyncio.gather(*(child(number) for number in range(30))))

    results: list[int] = []
    threads = [
        threading.Thread(daemon=True, target=lambda: results.append(glassloop.run(main()))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [sum(range(30))] * 8


def test_calling_while_the_loop_closes() -> None:
    """A thread that goes on calling gets RuntimeError from some call on, and nothing worse."""
    for _ in range(30):
        loop = glassloop.EventLoop()
        refused = threading.Event()
        started = threading.Event()

        def call(loop: glassloop.EventLoop = loop, refused: threading.Event = refused) -> None:
            started.set()  # noqa: B023 - the round waits for its thread
            with pytest.raises(RuntimeError, match="Event loop is closed"):
                while True:
                    loop.call_soon_threadsafe(int)
            refused.set()

        thread = threading.Thread(daemon=True, target=call)
        thread.start()
        started.wait()
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()
        thread.join()
        assert refused.is_set()
