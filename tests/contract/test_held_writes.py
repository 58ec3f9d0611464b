"""What was written is sent when asyncio has sent it: before abort(), close(), write_eof(), and in the counts.

glassloop holds small writes for a moment (docs/decisions/0006). Who asks the transport must not notice.
"""

import asyncio
import select
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from .support import (
    Loop,
    Recorder,
    Run,
    attach,
    noop,
    pattern,
    receive_to_end,
    shrink_buffers,
    turns,
    unix_pair,
)

Pair = tuple[socket.socket, socket.socket]
Act = Callable[[Any], object]


class Actor(Recorder):
    """Acts on its transport when data come."""

    def __init__(self, act: Act) -> None:
        super().__init__()
        self.act = act

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.act(self.transport)


@pytest.fixture(params=["in data_received", "on a busy loop", "on an idle loop"])
def where(request: pytest.FixtureRequest) -> str:
    """Where the writing is done."""
    kind: str = request.param
    return kind


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A Unix connection."""
    near, far = unix_pair()
    with near, far:
        yield near, far


def readable(sock: socket.socket) -> bool:
    return bool(select.select([sock], [], [], 0)[0])


async def act_once(where: str, pair: Pair, act: Act) -> Actor:
    """Have ``act(transport)`` called there, and return the protocol once it was."""
    loop = asyncio.get_running_loop()
    acted = False

    def act_and_note(transport: Any) -> None:
        nonlocal acted
        if not acted:
            acted = True
            act(transport)

    near, far = pair
    protocol = Actor(act_and_note)
    await attach(near, protocol)
    if where == "in data_received":
        far.send(b"now")
    else:
        loop.call_soon(act_and_note, protocol.transport)
    if where == "on a busy loop":
        for _ in range(100):
            loop.call_soon(noop)
    while not acted:
        await asyncio.sleep(0)
    return protocol


@pytest.mark.parametrize("method", ["abort", "close", "write_eof"])
def test_what_was_written_is_sent_before_the_end(run: Run, pair: Pair, where: str, method: str) -> None:
    def act(transport: Any) -> None:
        transport.write(b"first ")
        transport.write(b"second")
        getattr(transport, method)()
        seen.append(readable(pair[1]))

    async def main() -> None:
        protocol = await act_once(where, pair, act)
        if method == "write_eof":
            assert not protocol.lost.done()
        else:
            assert await protocol.lost is None
        assert await asyncio.to_thread(receive_to_end, pair[1]) == b"first second"
        assert seen == [True]
        protocol.transport.close()

    seen: list[bool] = []
    run(main())


def test_the_end_is_sent_at_once(run: Run, pair: Pair, where: str) -> None:
    """Whoever waits for the peer's answer to the end of the stream, in the same callback, gets it."""

    def act(transport: Any) -> None:
        transport.write(b"all")
        transport.write_eof()
        received.append(receive_to_end(pair[1]))

    async def main() -> None:
        (await act_once(where, pair, act)).transport.close()

    received: list[bytes] = []
    run(main())
    assert received == [b"all"]


def test_connection_lost_keeps_its_place(run: Run, pair: Pair, where: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        trace: list[str] = []

        def act(transport: Any) -> None:
            loop.call_soon(trace.append, "before")
            transport.write(b"data")
            transport.close()
            loop.call_soon(trace.append, "after")
            transport.get_protocol().lost.add_done_callback(lambda _future: trace.append("told"))
            transport.get_protocol().note = trace.append

        await act_once(where, pair, act)
        await turns(3)
        assert trace == ["before", "lost", "after", "told"]

    run(main())


def test_the_size_of_the_buffer(run: Run, pair: Pair, where: str) -> None:
    def act(transport: Any) -> None:
        transport.write(b"data")
        sizes.append(transport.get_write_buffer_size())
        transport.writelines([b"data"] * 10)
        sizes.append(transport.get_write_buffer_size())

    async def main() -> None:
        (await act_once(where, pair, act)).transport.close()

    sizes: list[int] = []
    run(main())
    assert sizes == [0, 0]


@pytest.mark.parametrize("limits_first", [True, False])
def test_a_mark_of_nothing_does_not_pause_what_is_sent(
    run: Run, pair: Pair, where: str, limits_first: bool
) -> None:
    def act(transport: Any) -> None:
        if limits_first:
            transport.set_write_buffer_limits(0)
        for _ in range(3):
            transport.write(b"data")
        if not limits_first:
            transport.set_write_buffer_limits(0)

    async def main() -> None:
        protocol = await act_once(where, pair, act)
        await turns(3)
        assert "pause" not in protocol.calls
        protocol.transport.close()

    run(main())


@pytest.mark.parametrize("high", [0, 1000, 65536, 100_000])
def test_who_writes_until_paused_is_paused(run: Run, pair: Pair, where: str, high: int) -> None:
    """The protocol is paused inside write(), as soon as more waits than the mark allows: never later."""

    def act(transport: Any) -> None:
        protocol = transport.get_protocol()
        transport.set_write_buffer_limits(high)
        while "pause" not in protocol.calls:
            written.append(1000)
            assert sum(written) < 10_000_000
            transport.write(bytes(1000))
        sizes.append(transport.get_write_buffer_size())

    async def main() -> None:
        shrink_buffers(*pair)
        (await act_once(where, pair, act)).transport.abort()

    written: list[int] = []
    sizes: list[int] = []
    run(main())
    # What asyncio has in the buffer when it pauses: the write that was too much, and no further one.
    assert high < sizes[0] <= high + 1000


def test_writes_behind_a_full_buffer_pause_too(run: Run, pair: Pair) -> None:
    """Inside data_received, while the kernel has no room."""
    trace: list[tuple[bool, bool]] = []

    async def main() -> None:
        shrink_buffers(*pair)
        loop = asyncio.get_running_loop()
        done = loop.create_future()

        def act(transport: Any) -> None:
            protocol = transport.get_protocol()
            before = "pause" in protocol.calls
            transport.write(bytes(2_000_000))
            trace.append((before, "pause" in protocol.calls))
            if not done.done():
                done.set_result(None)

        protocol = Actor(act)
        transport = await attach(pair[0], protocol)
        transport.set_write_buffer_limits(3_000_000)
        transport.write(bytes(2_000_000))
        assert transport.get_write_buffer_size() > 1_000_000
        pair[1].send(b"now")
        await done
        transport.abort()

    run(main())
    assert trace == [(False, True)]


@pytest.mark.parametrize("end", ["close", "write_eof"])
def test_the_end_waits_for_what_the_kernel_does_not_take(run: Run, pair: Pair, where: str, end: str) -> None:
    data = pattern(1_000_000)

    def act(transport: Any) -> None:
        transport.write(data)
        transport.write(b"more")
        getattr(transport, end)()

    async def main() -> None:
        shrink_buffers(*pair)
        protocol = await act_once(where, pair, act)
        assert await asyncio.to_thread(receive_to_end, pair[1]) == data + b"more"
        protocol.transport.close()
        await protocol.lost

    run(main())


def test_an_error_is_known_to_who_closes(loop: Loop, pair: Pair, where: str) -> None:
    def act(transport: Any) -> None:
        pair[1].close()
        transport.write(b"nobody listens")
        transport.close()

    async def main() -> None:
        protocol = await act_once(where, pair, act)
        assert isinstance(await protocol.lost, BrokenPipeError)
        assert protocol.calls[-1] == "lost"

    loop.run_until_complete(main())
