"""Nothing is kept over many rounds: no object, by weak references; no memory or descriptor, by the system."""

import asyncio
import gc
import socket
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import glassloop

from .support import SANITIZED, new_loop, open_descriptors, run_program, run_turn

KINDS = ["epoll", "select"]


def test_loops_made_and_closed_keep_no_descriptor() -> None:
    gc.collect()
    before = open_descriptors()
    for _ in range(1000):
        loop = glassloop.EventLoop()
        loop.call_soon(loop.stop)
        loop.run_forever()
        loop.close()
    assert open_descriptors() == before


@pytest.mark.parametrize("kind", KINDS)
def test_loops_woken_from_threads_keep_no_descriptor(kind: str) -> None:
    """The first wake-up makes a descriptor of its own."""

    async def main() -> None:
        await asyncio.to_thread(int)

    gc.collect()
    before = open_descriptors()
    for _ in range(20):
        with asyncio.Runner(loop_factory=lambda: new_loop(kind)) as runner:
            runner.run(main())
    assert open_descriptors() == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_closed_loop_is_freed(kind: str) -> None:
    loop = new_loop(kind)
    loop.run_until_complete(asyncio.sleep(0))
    loop.call_later(1000, loop.stop)
    loop.call_soon(loop.stop)
    reference = weakref.ref(loop)
    loop.close()
    del loop
    gc.collect()
    assert reference() is None


def with_nothing(loop: glassloop.EventLoop) -> list[Any]:
    return []


def with_a_ready_callback(loop: glassloop.EventLoop) -> list[Any]:
    loop.call_soon(loop.stop)
    return []


def with_a_timer(loop: glassloop.EventLoop) -> list[Any]:
    loop.call_later(1000, loop.stop)
    return []


def with_a_reader(loop: glassloop.EventLoop) -> list[Any]:
    near, far = socket.socketpair()
    loop.add_reader(near, loop.stop)
    return [near, far]


def with_a_waiting_task(loop: glassloop.EventLoop) -> list[Any]:
    async def wait() -> None:
        await loop.create_future()

    loop.create_task(wait())._log_destroy_pending = False  # type: ignore[attr-defined]
    run_turn(loop)
    return []


def with_a_transport(loop: glassloop.EventLoop) -> list[Any]:
    near, far = socket.socketpair()
    loop.run_until_complete(loop.create_connection(asyncio.Protocol, sock=near))
    return [far]


def with_a_server(loop: glassloop.EventLoop) -> list[Any]:
    loop.run_until_complete(loop.create_server(asyncio.Protocol, "127.0.0.1", 0))
    return []


def with_an_accepted_connection(loop: glassloop.EventLoop) -> list[Any]:
    server = loop.run_until_complete(loop.create_server(asyncio.Protocol, "127.0.0.1", 0))
    client = socket.create_connection(server.sockets[0].getsockname())
    run_turn(loop, 3)
    return [client]


def with_a_datagram_endpoint(loop: glassloop.EventLoop) -> list[Any]:
    loop.run_until_complete(
        loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    )
    return []


def with_a_wake_up_from_a_thread(loop: glassloop.EventLoop) -> list[Any]:
    thread = threading.Thread(daemon=True, target=loop.call_soon_threadsafe, args=(loop.stop,))
    thread.start()
    loop.run_forever()
    thread.join()
    return []


STATES = [
    with_nothing,
    with_a_ready_callback,
    with_a_timer,
    with_a_reader,
    with_a_waiting_task,
    with_a_transport,
    with_a_server,
    with_an_accepted_connection,
    with_a_datagram_endpoint,
    with_a_wake_up_from_a_thread,
]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_an_abandoned_loop_is_collected(kind: str, state: Callable[[glassloop.EventLoop], list[Any]]) -> None:
    """As asyncio's is: with all that it watches, and all its descriptors."""
    gc.collect()
    before = open_descriptors()
    loop = new_loop(kind)
    kept = state(loop)
    reference = weakref.ref(loop)
    del loop
    for _ in range(3):
        gc.collect()
    assert reference() is None, "a cycle through the loop is invisible to the garbage collector"
    for thing in kept:
        thing.close()
    assert open_descriptors() == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_lost_transport_is_freed_without_the_collector(kind: str) -> None:
    class Remembered(asyncio.Protocol):
        """One that weak references can be made to."""

    async def main() -> None:
        references: list[weakref.ref[Any]] = []
        near, far = socket.socketpair()
        transport, protocol = await loop.create_connection(Remembered, sock=near)
        references += [weakref.ref(transport), weakref.ref(protocol)]
        del near
        transport.write(b"x")
        transport.close()
        del transport, protocol
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        far.close()
        assert [reference() for reference in references] == [None, None]

    loop = new_loop(kind)
    gc.disable()
    try:
        loop.run_until_complete(main())
    finally:
        gc.enable()
        loop.close()


def test_accepted_connections_are_freed_without_the_collector() -> None:
    class Remembered(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            references.extend([weakref.ref(transport), weakref.ref(self)])

    async def connect_and_close(address: tuple[str, int]) -> None:
        _, writer = await asyncio.open_connection(*address)
        writer.close()
        await writer.wait_closed()

    async def main() -> None:
        server = await loop.create_server(Remembered, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        for _ in range(20):
            await connect_and_close(address)
        while sum(reference() is not None for reference in references) or len(references) < 40:
            await asyncio.sleep(0.001)
        server.close()

    references: list[weakref.ref[Any]] = []
    loop = glassloop.EventLoop()
    gc.disable()
    try:
        loop.run_until_complete(asyncio.wait_for(main(), 30))
    finally:
        gc.enable()
        loop.close()
    assert len(references) == 40


def test_objects_of_finished_work_are_gone() -> None:
    """Counted by type, over a round of everything that the core makes."""

    async def child(number: int) -> int:
        await asyncio.sleep(0)
        if number % 3 == 0:
            raise ValueError
        if number % 3 == 1:
            await asyncio.sleep(1000)
        return number

    async def main() -> None:
        tasks = [asyncio.ensure_future(child(number)) for number in range(30)]
        await asyncio.sleep(0)
        for task in tasks[1::3]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for number in range(30):
            try:
                await asyncio.wait_for(child(3 * number + 2), 1000)
                async with asyncio.timeout(0):
                    await asyncio.sleep(1000)
            except TimeoutError:
                pass
        future = asyncio.get_running_loop().create_future()
        shields = [asyncio.shield(future) for _ in range(10)]
        future.set_exception(ValueError())
        await asyncio.gather(*shields, return_exceptions=True)
        await asyncio.wait([asyncio.ensure_future(child(2))], timeout=1000)

    def census() -> dict[str, int]:
        gc.collect()
        found: dict[str, int] = {}
        for thing in gc.get_objects():
            kind = type(thing)
            name = f"{kind.__module__}.{kind.__qualname__}"
            if any(part in name for part in ("glassloop", "_asyncio", "asyncio.", "coroutine", "Context")):
                found[name] = found.get(name, 0) + 1
        return found

    with asyncio.Runner(loop_factory=glassloop.new_event_loop) as runner:
        for _ in range(3):
            runner.run(main())
        before = census()
        for _ in range(10):
            runner.run(main())
        assert census() == before


WORK = """
    import asyncio, contextvars, gc, os, resource, socket, sys
    import glassloop

    async def child(number):
        await asyncio.sleep(0)
        if number % 7 == 0:
            raise ValueError
        return number

    class Echo(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
        def data_received(self, data):
            self.transport.write(data)

    async def tasks():
        loop = asyncio.get_running_loop()
        for _ in range(20):
            await asyncio.gather(*(child(number) for number in range(100)), return_exceptions=True)
            cancelled = [asyncio.ensure_future(asyncio.sleep(1000)) for _ in range(50)]
            await asyncio.sleep(0)
            for task in cancelled:
                task.cancel("message")
            await asyncio.gather(*cancelled, return_exceptions=True)
            for handle in [loop.call_later(1000, print, "x") for _ in range(200)]:
                handle.cancel()
            for handle in [loop.call_soon(print, "x", "y") for _ in range(200)]:
                handle.cancel()
            try:
                async with asyncio.timeout(0):
                    await asyncio.sleep(1000)
            except TimeoutError:
                pass

    async def connections():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        for number in range(60):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"x" * 30_000)
            writer.writelines([bytearray(b"y" * 10_000), memoryview(b"z" * 10_000)])
            await reader.readexactly(50_000)
            if number % 3 == 0:
                writer.transport.abort()
            else:
                writer.close()
        server.close()
        for _ in range(20):
            await asyncio.sleep(0)

    async def errors():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: None)
        for _ in range(500):
            loop.call_soon(int, "no number")
            loop.call_later(0, int, "no number")
            future = loop.create_future()
            future.set_exception(ValueError("never retrieved"))
            del future
        await asyncio.sleep(0)
        near, far = socket.socketpair()
        for _ in range(200):
            loop.add_reader(near, int, "no number")
            loop.remove_reader(near)
        near.close(), far.close()

    variable = contextvars.ContextVar("variable")

    async def others():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: None)
        for number in range(20):
            near, far = socket.socketpair(type=socket.SOCK_DGRAM)
            transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=near)
            for _ in range(30):
                transport.sendto(b"x" * 10_000)  # more than the socket takes
                far.send(b"y")
                await asyncio.sleep(0)
            transport.abort()
            far.close()
            reader, writer = os.pipe()
            reading, _ = await loop.connect_read_pipe(asyncio.Protocol, os.fdopen(reader, "rb", 0))
            writing, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(writer, "wb", 0))
            for _ in range(30):
                writing.write(bytearray(10_000))
                await asyncio.sleep(0)
            writing.close()
            await asyncio.sleep(0.001)
            reading.close()
            variable.set(number)
            for _ in range(30):
                handle = loop.call_soon(variable.set, handle_context := contextvars.copy_context())
                handle.get_context().run(variable.get)
                loop.call_soon(variable.reset, variable.set(0), context=handle_context)
                loop.call_soon_threadsafe(handle.cancel)
            future = loop.create_future()
            shields = [asyncio.wait_for(asyncio.shield(future), 1000) for _ in range(10)]
            waiting = [asyncio.ensure_future(shield) for shield in shields]
            await asyncio.sleep(0)
            for task in waiting[::2]:
                task.cancel()
            waiting[1].set_name("one")
            future.set_exception(ValueError())
            await asyncio.gather(*waiting, return_exceptions=True)
            loop.set_debug(number == 0)
            await asyncio.to_thread(int)
            loop.set_debug(False)
        for _ in range(10):
            await asyncio.sleep(0)

    work = globals()[sys.argv[1]]
    rounds = int(sys.argv[2])

    def resident():
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()

    def run_rounds(count):
        for _ in range(count):
            glassloop.run(work())
        gc.collect()
"""

WORKS = ["tasks", "connections", "errors", "others"]

RESIDENT = (
    WORK
    + """
    run_rounds(rounds)
    before = resident()
    run_rounds(rounds)
    run_rounds(rounds)
    print(resident() - before)
"""
)

REFERENCES = (
    WORK
    + """
    run_rounds(5)
    counts = []
    for _ in range(6):
        run_rounds(3)
        counts.append(sys.gettotalrefcount())
    print(*(after - before for before, after in zip(counts, counts[1:])))
"""
)


@pytest.mark.skipif(SANITIZED, reason="a sanitizer keeps freed memory in quarantine")
@pytest.mark.parametrize("work", WORKS)
def test_memory_stays_flat_over_rounds(work: str) -> None:
    """Each round makes thousands of objects; of two thirds of the rounds none may remain."""
    grown = int(run_program(RESIDENT, work, 40))
    assert grown < 1_500_000, f"{grown} bytes more after 80 rounds of {work}"


@pytest.mark.skipif(not hasattr(sys, "gettotalrefcount"), reason="needs a debug build of CPython")
@pytest.mark.parametrize("work", WORKS)
def test_reference_counts_stay_flat_over_rounds(work: str) -> None:
    differences = [int(number) for number in run_program(REFERENCES, work, 0).split()]
    # A leak of one reference in each task, connection or error would be hundreds in each difference.
    assert sorted(differences)[len(differences) // 2] < 30, differences
