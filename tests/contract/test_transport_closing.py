"""The end of a stream transport: close, abort, resets, and the exception that connection_lost gets."""

import asyncio
import gc
import socket
import struct
import subprocess
import sys
from typing import Any

import pytest

from .support import (
    PATIENCE,
    BufferedRecorder,
    Loop,
    Recorder,
    Run,
    attach,
    open_descriptors,
    pattern,
    receive_to_end,
    shrink_buffers,
    tcp_pair,
    turns,
    unix_pair,
)

Pair = tuple[socket.socket, socket.socket]


def reset(sock: socket.socket) -> None:
    """Close a TCP socket so that the other end gets a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def test_close(run: Run, pair: Pair) -> None:
    async def main() -> None:
        protocol = Recorder()
        transport = await attach(pair[0], protocol)
        transport.close()
        transport.close()
        assert transport.is_closing()
        # connection_lost comes in a later turn, never inside close().
        assert protocol.calls == ["made"]
        await asyncio.sleep(0)
        assert protocol.calls == ["made", "lost"]
        assert await protocol.lost is None
        transport.close()
        transport.abort()
        await turns(3)
        assert protocol.calls == ["made", "lost"]
        assert receive_to_end(pair[1]) == b""

    run(main())


def test_close_sends_what_is_in_the_buffer(run: Run, pair: Pair) -> None:
    async def main() -> None:
        shrink_buffers(*pair)
        protocol = Recorder()
        transport = await attach(pair[0], protocol)
        data = pattern(2_000_000)
        transport.write(data)
        transport.close()
        assert transport.get_write_buffer_size() > 0
        assert protocol.calls == ["made", "pause"]
        await turns(3)
        assert not protocol.lost.done()
        assert await asyncio.to_thread(receive_to_end, pair[1]) == data
        assert await protocol.lost is None
        assert protocol.calls[-1] == "lost"

    run(main())


def test_abort(run: Run, pair: Pair) -> None:
    async def main() -> None:
        shrink_buffers(*pair)
        protocol = Recorder()
        transport = await attach(pair[0], protocol)
        transport.write(pattern(1_000_000))
        assert transport.get_write_buffer_size() > 0
        transport.abort()
        transport.abort()
        assert transport.is_closing()
        assert transport.get_write_buffer_size() == 0
        assert "lost" not in protocol.calls
        assert await protocol.lost is None
        got = await asyncio.to_thread(receive_to_end, pair[1])
        assert len(got) < 1_000_000

    run(main())


def test_abort_after_close(run: Run, pair: Pair) -> None:
    async def main() -> None:
        shrink_buffers(*pair)
        protocol = Recorder()
        transport = await attach(pair[0], protocol)
        transport.write(pattern(1_000_000))
        transport.close()
        await turns(3)
        assert not protocol.lost.done()
        transport.abort()
        assert await protocol.lost is None
        assert protocol.calls == ["made", "pause", "lost"]

    run(main())


def test_abort_at_once(run: Run, pair: Pair) -> None:
    async def main() -> None:
        protocol = Recorder()
        transport = await attach(pair[0], protocol)
        pair[1].sendall(b"never read")
        transport.abort()
        assert await protocol.lost is None
        assert protocol.calls == ["made", "lost"]

    run(main())


@pytest.mark.parametrize("kind", [Recorder, BufferedRecorder])
def test_a_reset_by_the_peer(run: Run, kind: Any) -> None:
    async def main() -> None:
        near, far = tcp_pair()
        protocol = kind()
        transport = await attach(near, protocol)
        reset(far)
        exc = await protocol.lost
        assert isinstance(exc, ConnectionResetError)
        assert protocol.calls == ["made", "lost"]
        assert transport.is_closing()

    run(main())


def test_a_reset_after_data(run: Run) -> None:
    async def main() -> None:
        near, far = tcp_pair()
        protocol = Recorder()
        await attach(near, protocol)
        far.sendall(b"before")
        await protocol.until_received(6)
        reset(far)
        assert isinstance(await protocol.lost, ConnectionResetError)
        assert protocol.calls == ["made", "data", "lost"]

    run(main())


def test_a_reset_while_paused_is_seen_on_resuming(run: Run) -> None:
    async def main() -> None:
        near, far = tcp_pair()
        protocol = Recorder()
        transport = await attach(near, protocol)
        transport.pause_reading()
        reset(far)
        await asyncio.sleep(0.01)
        assert protocol.calls == ["made"]
        transport.resume_reading()
        assert isinstance(await protocol.lost, ConnectionResetError)

    run(main())


def test_a_reset_while_writing(run: Run) -> None:
    async def main() -> None:
        near, far = tcp_pair()
        shrink_buffers(near, far)
        protocol = Recorder()
        transport = await attach(near, protocol)
        transport.write(pattern(2_000_000))
        transport.pause_reading()
        reset(far)
        assert isinstance(await protocol.lost, (ConnectionResetError, BrokenPipeError))

    run(main())


def test_a_reset_while_closing(run: Run) -> None:
    async def main() -> None:
        near, far = tcp_pair()
        shrink_buffers(near, far)
        protocol = Recorder()
        transport = await attach(near, protocol)
        transport.write(pattern(2_000_000))
        transport.close()
        await turns(2)
        reset(far)
        assert isinstance(await protocol.lost, (ConnectionResetError, BrokenPipeError))

    run(main())


def test_the_descriptor_is_closed(run: Run) -> None:
    async def main() -> None:
        await asyncio.sleep(0)
        before = open_descriptors()
        for end in ("close", "abort", "peer", "reset"):
            near, far = tcp_pair() if end == "reset" else unix_pair()
            protocol = Recorder()
            transport = await attach(near, protocol)
            if end == "peer":
                far.close()
            elif end == "reset":
                reset(far)
            else:
                getattr(transport, end)()
            await protocol.lost
            far.close()
            await turns(2)
            assert open_descriptors() == before

    run(main())


def test_the_socket_is_open_until_connection_lost(run: Run, pair: Pair) -> None:
    async def main() -> None:
        filenos: list[int] = []

        class Looker(Recorder):
            def connection_lost(self, exc: BaseException | None) -> None:
                filenos.append(pair[0].fileno())
                super().connection_lost(exc)

        protocol = Looker()
        transport = await attach(pair[0], protocol)
        fd = pair[0].fileno()
        transport.close()
        await protocol.lost
        await turns(1)
        assert filenos == [fd]
        assert pair[0].fileno() == -1

    run(main())


def test_closing_in_connection_lost_is_harmless(run: Run, pair: Pair) -> None:
    async def main() -> None:
        class Eager(Recorder):
            def connection_lost(self, exc: BaseException | None) -> None:
                self.transport.close()
                self.transport.abort()
                self.transport.write(b"dropped")
                super().connection_lost(exc)

        protocol = Eager()
        transport = await attach(pair[0], protocol)
        transport.close()
        await protocol.lost
        await turns(3)
        assert protocol.calls == ["made", "lost"]

    run(main())


def test_methods_after_the_end(run: Run, pair: Pair) -> None:
    async def main() -> None:
        protocol = Recorder()
        transport = await attach(pair[0], protocol)
        transport.close()
        await protocol.lost
        await turns(2)
        assert transport.is_closing()
        assert not transport.is_reading()
        assert transport.get_write_buffer_size() == 0
        transport.pause_reading()
        transport.resume_reading()
        transport.write_eof()
        transport.close()
        transport.abort()
        assert transport.get_protocol() is None
        assert transport.get_extra_info("nothing", 5) == 5

    run(main())


def test_both_sides_close_at_once(run: Run, pair: Pair) -> None:
    async def main() -> None:
        left, right = Recorder(), Recorder()
        one, two = await attach(pair[0], left), await attach(pair[1], right)
        one.write(b"left")
        two.write(b"right")
        one.close()
        two.close()
        assert await left.lost is None
        assert await right.lost is None

    run(main())


def test_many_connections_close_in_any_order(run: Run) -> None:
    async def main() -> None:
        protocols = []
        peers = []
        for _ in range(50):
            near, far = unix_pair()
            protocol = Recorder()
            await attach(near, protocol)
            protocols.append(protocol)
            peers.append(far)
        for number, (protocol, far) in enumerate(zip(protocols, peers, strict=True)):
            if number % 3 == 0:
                protocol.transport.close()
            elif number % 3 == 1:
                protocol.transport.abort()
            far.close()
        assert [await protocol.lost for protocol in protocols] == [None] * 50

    run(main())


def test_the_loop_closed_before_its_transport(run: Run, pair: Pair) -> None:
    async def main() -> Any:
        return await attach(pair[0], Recorder())

    box = [run(main())]

    def lose() -> None:
        box.clear()
        gc.collect()

    # Its loop is gone, so it can only be lost; the socket is closed all the same.
    with pytest.warns(ResourceWarning, match="unclosed transport"):
        lose()
    assert pair[0].fileno() == -1


LOST_AT_THE_END = """
import asyncio, gc, os, sys, {module}

async def main():
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    stream, _ = await loop.create_connection(asyncio.Protocol, *server.sockets[0].getsockname())
    server.close()
    reading, writing = os.pipe()
    pipe, _ = await loop.connect_read_pipe(asyncio.Protocol, os.fdopen(reading, "rb"))
    return [stream, pipe]

loop = {module}.{kind}()
lost = loop.run_until_complete(main())
loop.close()
# What Python does with the modules that are left when it ends.
for module in [module for name, module in sys.modules.items() if name.startswith({package!r})]:
    for name in vars(module):
        if name != "__builtins__":
            vars(module)[name] = None
del lost, loop
gc.collect()
"""


def test_a_transport_that_outlives_its_module(loop: Loop) -> None:
    kind = type(loop)
    package = "asyncio.selector_events" if kind is asyncio.SelectorEventLoop else "glassloop._io"
    script = LOST_AT_THE_END.format(module=kind.__module__, kind=kind.__qualname__, package=package)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, "")
