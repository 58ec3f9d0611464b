"""What callbacks of one turn do to each other: closing, pausing, replacing a neighbour that is ready too."""

import asyncio
import os
import select
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .support import Loop, Recorder, Run, attach, noop, receive_to_end, run_turns, turns, unix_pair, until

Ends = list[tuple[socket.socket, socket.socket]]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """Some connections."""
    pairs = [unix_pair() for _ in range(4)]
    yield pairs
    for near, far in pairs:
        near.close()
        far.close()


class Meddler(Recorder):
    """Does something to the others when it gets data; only the first of a turn gets to do it."""

    everyone: list["Meddler"]

    def __init__(self, meddle: Callable[[Any], object]) -> None:
        super().__init__()
        self.meddle = meddle

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        for other in self.everyone:
            if other is not self:
                self.meddle(other)


async def connect(ends: Ends, meddle: Callable[[Any], object]) -> list[Meddler]:
    """Give each connection a meddler, and send data to all of them so that they are ready in one turn."""
    protocols = [Meddler(meddle) for _ in ends]
    for (near, _far), protocol in zip(ends, protocols, strict=True):
        protocol.everyone = protocols
        await attach(near, protocol)
    await turns(2)
    for _near, far in ends:
        far.send(b"data")
    return protocols


@pytest.mark.parametrize("method", ["close", "abort", "pause_reading"])
def test_a_neighbour_silenced(run: Run, ends: Ends, method: str) -> None:
    async def main() -> None:
        protocols = await connect(ends, lambda other: getattr(other.transport, method)())
        await turns(5)
        assert sorted(bytes(protocol.received) for protocol in protocols) == [b"", b"", b"", b"data"]
        for protocol in protocols:
            protocol.transport.abort()
            await protocol.lost

    run(main())


def test_a_neighbours_protocol_replaced(run: Run, ends: Ends) -> None:
    async def main() -> None:
        replacements: list[Recorder] = []

        def replace(other: Meddler) -> None:
            replacements.append(Recorder())
            other.transport.set_protocol(replacements[-1])

        protocols = await connect(ends, replace)
        await until(lambda: sum(len(replacement.received) for replacement in replacements) == 12)
        assert sorted(bytes(protocol.received) for protocol in protocols) == [b"", b"", b"", b"data"]
        for protocol in protocols:
            protocol.transport.abort()
        await turns(3)

    run(main())


def test_a_neighbours_socket_closed_and_its_number_used_again(loop: Loop, ends: Ends) -> None:
    trace: list[str] = []
    fresh: list[socket.socket] = []

    def meddle(own: socket.socket) -> None:
        trace.append("old")
        own.recv(10)
        for near, _far in ends:
            if near is not own and near.fileno() != -1:
                number = near.fileno()
                loop.remove_reader(near)
                near.close()
                # The next socket gets the number; nothing has come for it.
                new, other = socket.socketpair()
                fresh.extend((new, other))
                again = new if new.fileno() == number else other
                loop.add_reader(again, trace.append, "new")

    for near, far in ends:
        near.setblocking(False)
        loop.add_reader(near, meddle, near)
        far.send(b"x")
    run_turns(loop, 3)
    assert trace == ["old"]
    for sock in fresh:
        loop.remove_reader(sock)
        sock.close()
    for near, _far in ends:
        if near.fileno() != -1:
            loop.remove_reader(near)


def test_a_writer_of_a_broken_pipe_is_called(loop: Loop) -> None:
    trace: list[str] = []
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    while True:
        try:
            os.write(write_end, bytes(65536))
        except BlockingIOError:
            break
    loop.add_writer(write_end, trace.append, "writer")
    run_turns(loop, 2)
    assert trace == []
    os.close(read_end)
    run_turns(loop)
    assert trace == ["writer"]
    loop.remove_writer(write_end)
    os.close(write_end)


def test_a_reader_of_a_hung_up_socket_is_called(loop: Loop, ends: Ends) -> None:
    trace: list[str] = []
    near, far = ends[0]
    loop.add_reader(near, trace.append, "reader")
    far.close()
    run_turns(loop)
    assert trace == ["reader"]
    loop.remove_reader(near)


def readable(sock: socket.socket) -> bool:
    """Say whether something has come for a socket."""
    return bool(select.select([sock], [], [], 0)[0])


def test_a_write_is_sent_at_once(run: Run, ends: Ends) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        near, far = ends[0]
        transport = await attach(near, Recorder())
        seen: list[object] = []

        def work() -> None:
            transport.write(b"x")
            # Whoever now works for long, or waits for the answer, need not fear that the question waits too.
            seen.append(readable(far))
            seen.append(transport.get_write_buffer_size())

        # Many others are ready: the loop is busy.
        for number in range(500):
            loop.call_soon(work if number == 250 else noop)
        await turns(2)
        assert seen == [True, 0]
        transport.close()

    run(main())


def test_a_write_is_sent_before_the_loop_stops(loop: Loop, ends: Ends) -> None:
    near, far = ends[0]

    async def connect_one() -> Any:
        return await attach(near, Recorder())

    transport = loop.run_until_complete(connect_one())
    for number in range(100):
        loop.call_soon(noop)
        if number == 50:
            loop.call_soon(transport.write, b"last words")
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert far.recv(100) == b"last words"
    transport.close()
    run_turns(loop, 3)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt])
def test_a_write_is_sent_before_an_interrupt(loop: Loop, ends: Ends, kind: type[BaseException]) -> None:
    near, far = ends[0]

    async def connect_one() -> Any:
        return await attach(near, Recorder())

    transport = loop.run_until_complete(connect_one())

    def work() -> None:
        transport.write(b"last words")
        raise kind

    for number in range(100):
        loop.call_soon(work if number == 50 else noop)
    with pytest.raises(kind):
        loop.run_forever()
    assert readable(far)
    assert far.recv(100) == b"last words"
    transport.close()
    run_turns(loop, 3)


def test_a_write_is_sent_before_the_loop_is_closed(run: Run, ends: Ends) -> None:
    near, far = ends[0]

    async def main() -> None:
        transport = await attach(near, Recorder())
        await turns(2)
        transport.write(b"last words")
        transport.close()

    run(main())
    assert receive_to_end(far) == b"last words"


def test_datagrams_are_sent_at_once(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
            far.bind(("127.0.0.1", 0))
            transport, _ = await loop.create_datagram_endpoint(
                asyncio.DatagramProtocol, remote_addr=far.getsockname()
            )
            seen: list[bool] = []

            def work() -> None:
                transport.sendto(b"x")
                seen.append(readable(far))

            for number in range(500):
                loop.call_soon(work if number == 250 else noop)
            await turns(2)
            assert seen == [True]
            transport.close()

    run(main())


def test_cancelling_a_connection_that_is_being_made(run: Run, ends: Ends) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        near, far = ends[0]
        protocol = Recorder()
        task = asyncio.create_task(loop.create_connection(lambda: protocol, sock=near))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await protocol.lost is None
        assert protocol.calls == ["made", "lost"]
        assert near.fileno() == -1
        assert far.recv(1) == b""

    run(main())


def test_a_transport_closed_in_the_turn_of_its_making(run: Run, ends: Ends) -> None:
    async def main() -> None:
        near, far = ends[0]
        far.send(b"never read")
        transport = await attach(near, Recorder())
        protocol = transport.get_protocol()
        transport.close()
        await protocol.lost
        assert protocol.calls == ["made", "lost"]

    run(main())


def test_tasks_cancelled_by_a_neighbour_of_the_same_turn(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        trace: list[str] = []
        tasks: list[asyncio.Task[None]] = []
        future = loop.create_future()

        async def child(number: int) -> None:
            try:
                await future
                trace.append(f"{number} woke")
                for task in tasks:
                    if task is not asyncio.current_task():
                        task.cancel()
            except asyncio.CancelledError:
                trace.append(f"{number} cancelled")
                raise

        tasks.extend(asyncio.create_task(child(number)) for number in range(3))
        await asyncio.sleep(0)
        future.set_result(None)
        await asyncio.wait(tasks)
        # Their wake-ups were on the way: the cancel is thrown in when they run.
        assert trace == ["0 woke", "1 cancelled", "2 cancelled"]

    run(main())


def test_an_old_handle_does_not_cancel_a_new_one(loop: Loop) -> None:
    ran: list[int] = []
    old = [loop.call_soon(noop) for _ in range(100)]
    old += [loop.call_later(-1, noop) for _ in range(100)]
    run_turns(loop)
    new = [loop.call_soon(ran.append, number) for number in range(100)]
    for handle in old:
        handle.cancel()
    assert not any(handle.cancelled() for handle in new)
    run_turns(loop)
    assert ran == list(range(100))
    assert len({id(handle) for handle in old + new}) == 300


def test_a_long_chain_of_tasks(run: Run) -> None:
    async def main() -> int:
        first = asyncio.get_running_loop().create_future()

        async def link(before: Any) -> int:
            return int(await before) + 1

        last: Any = first
        for _ in range(10_000):
            last = asyncio.create_task(link(last))
        await turns(2)
        first.set_result(0)
        return int(await last)

    assert run(main()) == 10_000


def test_a_long_chain_of_callbacks(loop: Loop) -> None:
    count = 0

    def step(left: int) -> None:
        nonlocal count
        count += 1
        if left:
            loop.call_soon(step, left - 1)
        else:
            loop.stop()

    loop.call_soon(step, 50_000)
    loop.run_forever()
    assert count == 50_001
