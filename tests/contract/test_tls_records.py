"""TLS records as they come from a peer: torn, many at once, damaged, cut short; and what is not TLS."""

import asyncio
import random
import socket
import ssl
from typing import Any

import pytest

from .support import BufferedRecorder, Context, Recorder, Run, pattern, turns, until
from .tls_peer import Peer, connected

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def client_tls(request: pytest.FixtureRequest, authority: Any) -> ssl.SSLContext:
    """The client's side, with one version of the protocol after the other."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    context.maximum_version = ssl.TLSVersion.TLSv1_2 if request.param == "TLSv1.2" else ssl.TLSVersion.TLSv1_3
    return context


def test_torn_records(run: Run, pair: Pair, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        async with connected(pair, server_tls, client_tls) as (_transport, protocol, peer):
            data = pattern(40)
            for byte in peer.encrypt(data[:20]) + peer.encrypt(data[20:]):
                await peer.send(bytes([byte]))
                await turns(2)
            assert await protocol.until_received(40) == data

    run(main())


def test_records_torn_at_random(
    run: Run, pair: Pair, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async def main() -> None:
        chance = random.Random(5)
        async with connected(pair, server_tls, client_tls) as (_transport, protocol, peer):
            data = pattern(300_000)
            wire = b""
            at = 0
            while at < len(data):
                size = chance.choice([1, 10, 1000, 16384, 16384, 30000])
                wire += peer.encrypt(data[at : at + size])
                at += size
            at = 0
            while at < len(wire):
                size = chance.choice([1, 4, 5, 6, 100, 16405, 16406, 16407, 50000])
                await peer.send(wire[at : at + size])
                at += size
            assert await protocol.until_received(len(data)) == data

    run(main())


def test_a_torn_handshake(
    run: Run, pair: Pair, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async def main() -> None:
        near, far = pair
        peer = Peer(far, server_tls)

        async def send_torn(ciphertext: bytes) -> None:
            for at in range(0, len(ciphertext), 7):
                await Peer.send(peer, ciphertext[at : at + 7])
                await asyncio.sleep(0)

        peer.send = send_torn  # type: ignore[method-assign]
        shaking = asyncio.ensure_future(peer.handshake())
        transport: Any
        transport, protocol = await asyncio.get_running_loop().create_connection(
            Recorder, sock=near, ssl=client_tls, server_hostname="localhost"
        )
        await shaking
        await peer.send(peer.encrypt(b"hello"))
        assert await protocol.until_received(5) == b"hello"
        transport.abort()
        await protocol.lost

    run(main())


def test_many_records_at_once(
    run: Run, pair: Pair, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async def main() -> None:
        async with connected(pair, server_tls, client_tls) as (_transport, protocol, peer):
            await peer.send(b"".join(peer.encrypt(b"%03d." % number) for number in range(200)))
            assert await protocol.until_received(800) == b"".join(b"%03d." % number for number in range(200))

    run(main())


def test_data_in_the_last_segment_of_the_handshake(
    run: Run, pair: Pair, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async def main() -> None:
        near, far = pair
        peer = Peer(near, client_tls, server_side=False)
        protocol = Recorder()
        serving = asyncio.ensure_future(
            asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, far, ssl=server_tls)
        )
        # The client's last words of the handshake, where it has them, leave with its data.
        await peer.call(peer.tls.do_handshake)
        await peer.send(peer.outgoing.read() + peer.encrypt(b"first") + peer.encrypt(b"second"))
        transport, _ = await serving
        assert await protocol.until_received(11) == b"firstsecond"
        assert protocol.calls == ["made", "data"]
        transport.abort()
        await protocol.lost

    run(main())


@pytest.mark.parametrize(
    "garbage", [b"please corrupt this", b"\x17\x03\x03\x00\x20" + bytes(32), b"\xff" * 6]
)
def test_garbage(
    run: Run, pair: Pair, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, garbage: bytes
) -> None:
    async def main() -> None:
        async with connected(pair, server_tls, client_tls) as (_transport, protocol, peer):
            await peer.send(peer.encrypt(b"good"))
            await protocol.until_received(4)
            await peer.send(garbage)
            assert isinstance(await protocol.lost, ssl.SSLError)
            assert bytes(protocol.received) == b"good"
            assert protocol.calls == ["made", "data", "lost"]

    run(main())


def test_what_came_before_garbage_is_delivered(
    run: Run, pair: Pair, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async def main() -> None:
        async with connected(pair, server_tls, client_tls) as (_transport, protocol, peer):
            await peer.send(peer.encrypt(b"good") + b"please corrupt this")
            assert isinstance(await protocol.lost, ssl.SSLError)
            assert bytes(protocol.received) == b"good"

    run(main())


def test_a_flipped_bit(run: Run, pair: Pair, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        async with connected(pair, server_tls, client_tls) as (_transport, protocol, peer):
            record = bytearray(peer.encrypt(b"do not change this"))
            record[-1] ^= 1
            await peer.send(bytes(record))
            lost = await protocol.lost
            assert isinstance(lost, ssl.SSLError)
            # As OpenSSL says it, and as its later releases do.
            words = str(lost).lower().replace("_", " ")
            assert "bad record mac" in words or "record layer failure" in words
            assert protocol.calls == ["made", "lost"]
            # The peer is told why, too.
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await peer.read_to_goodbye()

    run(main())


def test_a_record_that_came_before(
    run: Run, pair: Pair, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async def main() -> None:
        async with connected(pair, server_tls, client_tls) as (_transport, protocol, peer):
            record = peer.encrypt(b"pay 5 euros")
            await peer.send(record)
            await protocol.until_received(11)
            await peer.send(record)
            assert isinstance(await protocol.lost, ssl.SSLError)
            assert bytes(protocol.received) == b"pay 5 euros"

    run(main())


@pytest.mark.parametrize("kept", [0, 3, 5, 20])
def test_truncation(
    run: Run, pair: Pair, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, kept: int
) -> None:
    async def main() -> None:
        async with connected(pair, server_tls, client_tls) as (_transport, protocol, peer):
            await peer.send(peer.encrypt(b"whole") + peer.encrypt(b"cut short by an attacker")[:kept])
            peer.sock.shutdown(socket.SHUT_WR)
            assert await protocol.lost is None
            # What is not proven is not given to anybody.
            assert bytes(protocol.received) == b"whole"
            assert protocol.calls == ["made", "data", "eof", "lost"]

    run(main())


def test_data_after_the_goodbye_is_for_nobody(
    run: Run, pair: Pair, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async def main() -> None:
        async with connected(pair, server_tls, client_tls) as (_transport, protocol, peer):
            await peer.send(peer.encrypt(b"all") + peer.goodbye() + b"\x17\x03\x03\x00\x20" + bytes(32))
            await protocol.lost
            assert bytes(protocol.received) == b"all"
            assert protocol.calls == ["made", "data", "eof", "lost"]

    run(main())


@pytest.mark.parametrize("size", [1, 100, 5000, 16384, 100_000])
def test_buffered_protocols_of_all_sizes(
    run: Run, pair: Pair, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, size: int
) -> None:
    async def main() -> None:
        class Lender(BufferedRecorder):
            def get_buffer(self, sizehint: int) -> Any:
                return memoryview(self.buffer)

        data = pattern(3000 if size == 1 else 60_000)
        async with connected(pair, server_tls, client_tls, Lender(size)) as (_transport, protocol, peer):
            sending = asyncio.ensure_future(peer.send(peer.encrypt(data) + peer.goodbye()))
            assert await protocol.lost is None
            await sending
            assert bytes(protocol.received) == data
            assert protocol.calls == ["made", "data", "eof", "lost"]

    run(main())


def test_a_buffered_protocol_that_pauses(
    run: Run, pair: Pair, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async def main() -> None:
        class Lender(BufferedRecorder):
            def get_buffer(self, sizehint: int) -> Any:
                return memoryview(self.buffer)

            def buffer_updated(self, nbytes: int) -> None:
                super().buffer_updated(nbytes)
                self.transport.pause_reading()
                asyncio.get_running_loop().call_later(0.001, self.transport.resume_reading)

        data = pattern(40_000)
        async with connected(pair, server_tls, client_tls, Lender(5000)) as (_transport, protocol, peer):
            sending = asyncio.ensure_future(peer.send(peer.encrypt(data)))
            assert await protocol.until_received(len(data)) == data
            await sending

    run(main())


def test_from_a_buffered_protocol_to_another_kind(
    run: Run, pair: Pair, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async def main() -> None:
        second = Recorder()

        class First(BufferedRecorder):
            def get_buffer(self, sizehint: int) -> Any:
                return memoryview(self.buffer)

            def buffer_updated(self, nbytes: int) -> None:
                super().buffer_updated(nbytes)
                self.transport.set_protocol(second)
                self.lost.set_result(None)

        async with connected(pair, server_tls, client_tls, First(10)) as (_transport, first, peer):
            await peer.send(peer.encrypt(b"0123456789then the rest") + peer.encrypt(b" and more"))
            assert await second.until_received(22) == b"then the rest and more"
            assert bytes(first.received) == b"0123456789"

    run(main())


def test_get_buffer_that_gives_none(
    run: Run, pair: Pair, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, errors: list[Context]
) -> None:
    async def main() -> None:
        class Empty(BufferedRecorder):
            is_out = False

            def get_buffer(self, sizehint: int) -> Any:
                if self.is_out:
                    raise LookupError("no buffer today")
                return memoryview(self.buffer)

        async with connected(pair, server_tls, client_tls, Empty()) as (_transport, protocol, peer):
            protocol.is_out = True
            await peer.send(peer.encrypt(b"x"))
            assert isinstance(await protocol.lost, LookupError)
        assert [str(error["exception"]) for error in errors] == ["no buffer today"]

    run(main())


def test_pausing_in_the_midst_of_it(
    run: Run, pair: Pair, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async def main() -> None:
        class Pausing(Recorder):
            def data_received(self, data: bytes) -> None:
                assert self.transport.is_reading()
                super().data_received(data)
                self.transport.pause_reading()
                asyncio.get_running_loop().call_later(0.001, self.transport.resume_reading)

        data = pattern(400_000)
        async with connected(pair, server_tls, client_tls, Pausing()) as (_transport, protocol, peer):
            sending = asyncio.ensure_future(peer.send(peer.encrypt(data) + peer.goodbye()))
            assert await protocol.lost is None
            await sending
            assert bytes(protocol.received) == data

    run(main())


def test_a_paused_reader_stops_the_peer(
    run: Run, pair: Pair, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async def main() -> None:
        data = pattern(20_000_000)
        async with connected(pair, server_tls, client_tls) as (transport, protocol, peer):
            transport.pause_reading()
            sending = asyncio.ensure_future(peer.send(peer.encrypt(data)))
            _low, high = transport.get_read_buffer_limits()
            await until(lambda: transport.get_read_buffer_size() >= high)
            await asyncio.sleep(0.02)
            assert not sending.done()
            assert transport.get_read_buffer_size() < high + 300_000
            assert protocol.calls == ["made"]
            transport.resume_reading()
            assert await protocol.until_received(len(data)) == data
            await sending

    run(main())
