"""Stream transports as objects: types, lifecycle, protocols, extra information, texts."""

import asyncio
import gc
import re
import socket
import weakref
from asyncio import trsock
from typing import Any

import pytest

from .support import (
    BufferedRecorder,
    Recorder,
    Run,
    attach,
    end,
    shrink_buffers,
    tcp_pair,
    turns,
    unix_pair,
    until,
)

Pair = tuple[socket.socket, socket.socket]


def test_the_type(run: Run, pair: Pair) -> None:
    async def main() -> None:
        transport = await attach(pair[0], Recorder())
        for kind in (
            asyncio.BaseTransport,
            asyncio.ReadTransport,
            asyncio.WriteTransport,
            asyncio.Transport,
            # Private, but asyncio's own sendfile() insists on it.
            asyncio.transports._FlowControlMixin,
        ):
            assert isinstance(transport, kind)
        assert not isinstance(transport, asyncio.DatagramTransport)
        transport.close()

    run(main())


def test_the_life_of_a_connection(run: Run, pair: Pair) -> None:
    async def main() -> None:
        protocol = Recorder()
        transport = await attach(pair[0], protocol)
        assert protocol.calls == ["made"]
        assert protocol.transport is transport
        assert not transport.is_closing()
        pair[1].sendall(b"hello")
        await protocol.until_received(5)
        transport.write(b"answer")
        assert pair[1].recv(100) == b"answer"
        transport.close()
        assert transport.is_closing()
        assert protocol.calls == ["made", "data"]
        assert await protocol.lost is None
        assert protocol.calls == ["made", "data", "lost"]
        assert transport.is_closing()
        assert pair[0].fileno() == -1

    run(main())


def test_attributes_and_weak_references(run: Run, pair: Pair) -> None:
    async def main() -> None:
        transport = await attach(pair[0], Recorder())
        sent: list[bytes] = []
        transport.note = "mine"
        assert transport.note == "mine"
        assert transport.__dict__["note"] == "mine"
        # Libraries put their own method in the place of the transport's.
        transport.write = sent.append
        transport.write(b"data")
        assert sent == [b"data"]
        del transport.write
        transport.write(b"x")
        assert pair[1].recv(10) == b"x"
        assert weakref.ref(transport)() is not None
        assert hash(transport) == hash(transport)
        assert {transport: 1}[transport] == 1
        transport.close()

    run(main())


def test_extra_info_of_tcp(run: Run) -> None:
    async def main() -> None:
        near, far = tcp_pair()
        with far:
            transport = await attach(near, Recorder())
            assert transport.get_extra_info("peername") == far.getsockname()
            assert transport.get_extra_info("sockname") == far.getpeername()
            sock = transport.get_extra_info("socket")
            assert isinstance(sock, trsock.TransportSocket)
            assert sock.fileno() == near.fileno()
            assert sock.family == socket.AF_INET
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            assert near.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert transport.get_extra_info("nothing") is None
            assert transport.get_extra_info("nothing", "default") == "default"
            assert transport.get_extra_info("sslcontext") is None
            transport.close()
            await turns(3)
            assert transport.get_extra_info("peername") == far.getsockname()

    run(main())


def test_extra_info_of_unix(run: Run) -> None:
    async def main() -> None:
        near, far = unix_pair()
        with far:
            transport = await attach(near, Recorder())
            assert transport.get_extra_info("socket").family == socket.AF_UNIX
            assert transport.get_extra_info("sockname") == near.getsockname()
            assert transport.get_extra_info("peername") == near.getpeername()
            transport.close()

    run(main())


def test_the_text_of_a_transport(run: Run, pair: Pair) -> None:
    async def main() -> None:
        shrink_buffers(*pair)
        transport = await attach(pair[0], Recorder())
        fd = pair[0].fileno()
        await turns(2)
        assert re.fullmatch(rf"<\w+ fd={fd} read=polling write=<idle, bufsize=0>>", repr(transport))
        transport.pause_reading()
        assert re.fullmatch(rf"<\w+ fd={fd} read=idle write=<idle, bufsize=0>>", repr(transport))
        transport.resume_reading()
        transport.write(b"x" * 1_000_000)
        size = transport.get_write_buffer_size()
        assert re.fullmatch(rf"<\w+ fd={fd} read=polling write=<polling, bufsize={size}>>", repr(transport))
        transport.close()
        assert re.fullmatch(
            rf"<\w+ closing fd={fd} read=idle write=<polling, bufsize={size}>>", repr(transport)
        )
        transport.abort()
        await turns(3)
        assert re.match(rf"<\w+ closed fd={fd}", repr(transport))

    run(main())


def test_set_and_get_protocol(run: Run, pair: Pair) -> None:
    async def main() -> None:
        first, second = Recorder(), Recorder()
        transport = await attach(pair[0], first)
        assert transport.get_protocol() is first
        pair[1].sendall(b"one")
        await first.until_received(3)
        transport.set_protocol(second)
        assert transport.get_protocol() is second
        pair[1].sendall(b"two")
        await second.until_received(3)
        transport.close()
        await second.lost
        assert first.calls == ["made", "data"] and bytes(first.received) == b"one"
        assert second.calls == ["data", "lost"] and bytes(second.received) == b"two"

    run(main())


def test_set_protocol_between_the_two_kinds(run: Run, pair: Pair) -> None:
    async def main() -> None:
        protocols: list[Any] = [Recorder(), BufferedRecorder(), Recorder(), BufferedRecorder(3)]
        transport = await attach(pair[0], protocols[0])
        for number, protocol in enumerate(protocols):
            if number:
                transport.set_protocol(protocol)
            pair[1].sendall(b"part %d" % number)
            assert await protocol.until_received(6) == b"part %d" % number
        transport.close()
        await protocols[-1].lost

    run(main())


def test_set_protocol_inside_data_received(run: Run, pair: Pair) -> None:
    async def main() -> None:
        second = BufferedRecorder(2)

        class Upgrade(Recorder):
            def data_received(self, data: bytes) -> None:
                super().data_received(data)
                self.transport.write(b"upgraded")
                self.transport.set_protocol(second)

        first = Upgrade()
        await attach(pair[0], first)
        pair[1].sendall(b"upgrade")
        await first.until_received(7)
        assert pair[1].recv(100) == b"upgraded"
        pair[1].sendall(b"after")
        assert await second.until_received(5) == b"after"
        assert bytes(first.received) == b"upgrade"
        first.transport.close()

    run(main())


def test_a_transport_keeps_no_protocol_after_the_end(run: Run, pair: Pair) -> None:
    async def main() -> None:
        protocol: Any = Recorder()
        transport = await attach(pair[0], protocol)
        ref = weakref.ref(protocol)
        transport.close()
        await protocol.lost
        await turns(2)
        protocol.transport = None
        del protocol
        gc.collect()
        assert ref() is None
        assert transport.is_closing()

    run(main())


def test_an_ended_transport_is_freed(run: Run, pair: Pair, no_gc: None) -> None:
    async def main() -> None:
        protocol: Any = Recorder()
        transport: Any = await attach(pair[0], protocol)
        ref = weakref.ref(transport)
        transport.write(b"x")
        pair[1].sendall(b"y")
        await protocol.until_received(1)
        transport.close()
        await protocol.lost
        protocol.transport = None
        del transport
        await turns(3)
        gc.collect()
        assert ref() is None

    run(main())


def test_the_descriptor_of_a_transport_is_its_own(run: Run, pair: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport = await attach(pair[0], Recorder())
        await turns(2)
        fd = pair[0].fileno()
        pattern = rf"^File descriptor {fd} is used by transport <\w+ fd={fd}"
        for method in (loop.add_reader, loop.add_writer):
            with pytest.raises(RuntimeError, match=pattern):
                method(fd, print)
        for remove in (loop.remove_reader, loop.remove_writer):
            with pytest.raises(RuntimeError, match=pattern):
                remove(fd)
        with pytest.raises(RuntimeError, match=r"is used by transport"):
            await loop.sock_recv(pair[0], 10)
        transport.close()
        await turns(3)

    run(main())


def test_a_descriptor_used_again(run: Run) -> None:
    async def main() -> None:
        fds = set()
        for round_number in range(5):
            near, far = unix_pair()
            with far:
                fds.add(near.fileno())
                protocol = Recorder()
                transport = await attach(near, protocol)
                far.sendall(b"%d" % round_number)
                assert await protocol.until_received(1) == b"%d" % round_number
                transport.close()
                await protocol.lost
        assert len(fds) == 1

    run(main())


def test_two_transports_talk(run: Run, pair: Pair) -> None:
    async def main() -> None:
        left, right = Recorder(), Recorder()
        left_end, right_end = await attach(pair[0], left), await attach(pair[1], right)
        left_end.write(b"to the right")
        right_end.write(b"to the left")
        await right.until_received(12)
        await left.until_received(11)
        left_end.close()
        assert await right.lost is None
        assert await left.lost is None
        assert right.calls == ["made", "data", "eof", "lost"]

    run(main())


def test_connection_made_comes_before_all_else(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        protocols: list[Recorder] = []

        def factory() -> Recorder:
            protocols.append(Recorder())
            return protocols[-1]

        server = await loop.create_server(factory, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        clients = []
        for _ in range(20):
            client = socket.create_connection(address)
            client.sendall(b"early")
            clients.append(client)
        await until(lambda: sum(len(protocol.received) for protocol in protocols) == 100)
        assert [protocol.calls for protocol in protocols] == [["made", "data"]] * 20
        for client in clients:
            client.close()
        await until(lambda: all(protocol.lost.done() for protocol in protocols))
        await end(server)

    run(main())


def test_data_never_comes_before_create_connection_returns(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        class Greeter(asyncio.Protocol):
            def connection_made(self, transport: Any) -> None:
                transport.write(b"welcome")
                transport.close()

        server = await loop.create_server(Greeter, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        for _ in range(50):
            transport, protocol = await loop.create_connection(Recorder, *address)
            assert protocol.calls == ["made"]
            assert await protocol.lost is None
            assert protocol.calls == ["made", "data", "eof", "lost"]
            assert bytes(protocol.received) == b"welcome"
            transport.close()
        await end(server)

    run(main())


def test_data_that_waits_does_not_come_before_create_connection_returns(run: Run, pair: Pair) -> None:
    async def main() -> None:
        pair[1].sendall(b"early")
        protocol = Recorder()
        await attach(pair[0], protocol)
        assert protocol.calls == ["made"]
        await protocol.until_received(5)
        protocol.transport.close()

    run(main())


def test_closed_in_connection_made(run: Run, pair: Pair) -> None:
    async def main() -> None:
        class Closer(Recorder):
            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                transport.write(b"bye")
                transport.close()

        pair[1].sendall(b"not to be read")
        protocol = Closer()
        await attach(pair[0], protocol)
        assert await protocol.lost is None
        assert protocol.calls == ["made", "lost"]
        assert pair[1].recv(10) == b"bye"

    run(main())


def test_paused_in_connection_made(run: Run, pair: Pair) -> None:
    async def main() -> None:
        class Pauser(Recorder):
            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                transport.pause_reading()

        pair[1].sendall(b"later")
        protocol = Pauser()
        transport = await attach(pair[0], protocol)
        await asyncio.sleep(0.005)
        assert protocol.calls == ["made"]
        assert not transport.is_reading()
        transport.resume_reading()
        assert await protocol.until_received(5) == b"later"
        transport.close()

    run(main())
