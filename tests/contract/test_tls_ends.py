"""How TLS connections end: goodbyes from either side, with data on its way, and peers that do not listen."""

import asyncio
import socket
import ssl
from typing import Any

import pytest

from .server_support import connect, start_tls_server
from .support import Context, Recorder, Run, end, pattern, shrink_buffers, tcp_pair, turns, until
from .tls_peer import Peer, connected

Pair = tuple[socket.socket, socket.socket]

BIG = 4_000_000


def small_pair() -> Pair:
    """A TCP connection that holds little, so that much of what is written waits in the transport."""
    near, far = tcp_pair()
    shrink_buffers(near, far)
    return near, far


@pytest.mark.parametrize("ending", ["close_notify", "end of stream"])
def test_what_waits_is_sent_after_the_peer_s_end(
    request: pytest.FixtureRequest,
    run: Run,
    server_tls: ssl.SSLContext,
    client_tls: ssl.SSLContext,
    ending: str,
) -> None:
    if request.node.callspec.params["loop_factory"] == "asyncio":
        pytest.skip("asyncio's own transport stalls here, or calls a cancelled handle for ever, by release")

    async def main() -> None:
        async with connected(small_pair(), server_tls, client_tls) as (transport, protocol, peer):
            data = pattern(BIG)
            for at in range(0, BIG, 500_000):
                transport.write(data[at : at + 500_000])
            if ending == "close_notify":
                await peer.send(peer.goodbye())
            else:
                peer.sock.shutdown(socket.SHUT_WR)
            await asyncio.wait_for(protocol.ended, 10)
            # Only now the peer begins to read.
            assert await peer.read_exactly(BIG) == data
            if ending == "close_notify":
                assert await peer.read_to_goodbye() == b""
            assert await protocol.lost is None

    run(main())


def test_close_sends_all_then_goodbye(
    run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async def main() -> None:
        async with connected(small_pair(), server_tls, client_tls) as (transport, protocol, peer):
            data = pattern(BIG)
            transport.write(data)
            transport.close()
            assert transport.is_closing()
            transport.write(b"too late")
            assert await peer.read_to_goodbye() == data
            await peer.send(peer.goodbye())
            assert await protocol.lost is None
            assert protocol.calls[0] == "made" and protocol.calls[-1] == "lost"

    run(main())


def test_close_while_the_peer_sends(run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        async with connected(tcp_pair(), server_tls, client_tls) as (transport, protocol, peer):
            transport.write(b"last words")
            transport.close()
            # On its way when we closed: for nobody, but no reason to break the connection.
            await peer.send(peer.encrypt(b"you will not hear this") + peer.encrypt(b"nor this"))
            assert await peer.read_to_goodbye() == b"last words"
            await peer.send(peer.goodbye())
            assert await protocol.lost is None
            assert "data" not in protocol.calls

    run(main())


def test_close_while_reading_is_paused(
    run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async def main() -> None:
        async with connected(tcp_pair(), server_tls, client_tls) as (transport, protocol, peer):
            transport.pause_reading()
            await peer.send(peer.encrypt(pattern(20_000)))
            await until(lambda: transport.get_read_buffer_size() >= 20_000)
            transport.close()
            assert await peer.read_to_goodbye() == b""
            await peer.send(peer.goodbye())
            assert await protocol.lost is None
            assert "data" not in protocol.calls

    run(main())


def test_the_peer_ends_while_reading_is_paused(
    run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async def main() -> None:
        async with connected(tcp_pair(), server_tls, client_tls) as (transport, protocol, peer):
            transport.pause_reading()
            await peer.send(peer.encrypt(b"data before the end"))
            peer.sock.shutdown(socket.SHUT_WR)
            await asyncio.sleep(0.02)
            assert protocol.calls == ["made"]
            transport.resume_reading()
            assert await protocol.lost is None
            assert protocol.calls == ["made", "data", "eof", "lost"]
            assert bytes(protocol.received) == b"data before the end"

    run(main())


def test_closing_a_paused_connection_whose_peer_has_ended(
    run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async def main() -> None:
        async with connected(tcp_pair(), server_tls, client_tls) as (transport, protocol, peer):
            transport.pause_reading()
            await peer.send(peer.encrypt(b"unread"))
            peer.sock.shutdown(socket.SHUT_WR)
            await asyncio.sleep(0.02)
            transport.close()
            assert await asyncio.wait_for(protocol.lost, 5) is None

    run(main())


@pytest.mark.parametrize("closes", [True, False])
def test_a_peer_that_does_not_read_cannot_delay_the_end(
    run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, closes: bool
) -> None:
    async def main() -> None:
        async with connected(small_pair(), server_tls, client_tls, ssl_shutdown_timeout=0.05) as (
            transport,
            protocol,
            peer,
        ):
            transport.write(bytes(BIG))
            if closes:
                transport.close()
            peer.sock.shutdown(socket.SHUT_WR)
            lost = await asyncio.wait_for(protocol.lost, 10)
            assert isinstance(lost, TimeoutError)
            assert str(lost) == "SSL shutdown timed out"

    run(main())


def test_a_reset(run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        near, far = tcp_pair()
        async with connected((near, far), server_tls, client_tls) as (_transport, protocol, _peer):
            far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            far.close()
            assert isinstance(await protocol.lost, ConnectionResetError)

    run(main())


def test_abort_in_data_received(run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        class Aborting(Recorder):
            def data_received(self, data: bytes) -> None:
                super().data_received(data)
                self.transport.write(b"bye")
                self.transport.abort()

        async with connected(tcp_pair(), server_tls, client_tls, Aborting()) as (_transport, protocol, peer):
            await peer.send(peer.encrypt(b"one"))
            # As over TCP: what was written before abort() has left, if there was room.
            assert await peer.read_exactly(3) == b"bye"
            assert await protocol.lost is None
            assert protocol.calls == ["made", "data", "lost"]

    run(main())


def test_close_in_data_received(run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        class Closing(Recorder):
            def data_received(self, data: bytes) -> None:
                super().data_received(data)
                for number in range(5):
                    self.transport.write(b"part %d " % number)
                self.transport.close()

        async with connected(tcp_pair(), server_tls, client_tls, Closing()) as (_transport, protocol, peer):
            await peer.send(peer.encrypt(b"one"))
            assert await peer.read_to_goodbye() == b"part 0 part 1 part 2 part 3 part 4 "
            await peer.send(peer.goodbye())
            assert await protocol.lost is None

    run(main())


def test_writes_before_an_error_leave(
    run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, errors: list[Context]
) -> None:
    async def main() -> None:
        class Failing(Recorder):
            def data_received(self, data: bytes) -> None:
                self.transport.write(b"before")
                raise LookupError("after")

        async with connected(tcp_pair(), server_tls, client_tls, Failing()) as (_transport, protocol, peer):
            await peer.send(peer.encrypt(b"one"))
            assert await peer.read_exactly(6) == b"before"
            assert isinstance(await protocol.lost, LookupError)
        assert [error["message"] for error in errors] == ["Fatal error on SSL protocol"]

    run(main())


def test_an_error_in_eof_received(
    run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, errors: list[Context]
) -> None:
    async def main() -> None:
        class Failing(Recorder):
            def eof_received(self) -> None:
                raise LookupError("at the end")

        async with connected(tcp_pair(), server_tls, client_tls, Failing()) as (_transport, protocol, peer):
            await peer.send(peer.goodbye())
            assert isinstance(await protocol.lost, LookupError)
        assert [error["message"] for error in errors] == ["Error calling eof_received()"]

    run(main())


def test_an_error_in_connection_made(run: Run, server_tls: ssl.SSLContext, errors: list[Context]) -> None:
    async def main() -> None:
        class Failing(Recorder):
            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                raise LookupError("at the beginning")

        near, far = tcp_pair()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        peer = Peer(far, server_tls)
        shaking = asyncio.ensure_future(peer.handshake())
        with pytest.raises(LookupError, match="at the beginning"):
            await asyncio.get_running_loop().create_connection(
                Failing, sock=near, ssl=context, server_hostname=""
            )
        await asyncio.wait([shaking])
        if not shaking.cancelled():
            shaking.exception()
        far.close()
        await turns(5)

    run(main())
    assert "at the beginning" in [str(error["exception"]) for error in errors]


def test_eof_received_cannot_keep_it_open(
    run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with connected(tcp_pair(), server_tls, client_tls) as (_transport, protocol, peer):
            protocol.keep_open = True
            await peer.send(peer.goodbye())
            assert await protocol.lost is None

    run(main())
    assert "returning true from eof_received() has no effect when using ssl" in caplog.text


def test_writing_to_what_has_ended(
    run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with connected(tcp_pair(), server_tls, client_tls) as (transport, protocol, _peer):
            transport.abort()
            await protocol.lost
            for _ in range(7):
                transport.write(b"into the void")
            assert transport.get_write_buffer_size() == 0

    run(main())
    assert "SSL connection is closed" in caplog.text


def test_close_and_abort_may_be_repeated(
    run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async def main() -> None:
        server = await start_tls_server(server_tls)
        _reader, writer = await connect(server, client_tls)
        writer.close()
        writer.transport.abort()
        await writer.wait_closed()
        writer.transport.abort()
        assert writer.transport.is_closing()
        await end(server)

    run(main())
