"""What TLS contexts ask for: names that choose certificates, sessions, versions, callbacks; TLS in TLS."""

import asyncio
import socket
import ssl
from typing import Any

import pytest

from .server_support import connect, dial, start, start_tls_server
from .support import Context, Echo, Recorder, Run, alone, end, pattern, tcp_pair, turns, until
from .tls_peer import Peer

NO_ALERTS = "asyncio tells the peer why a handshake failed on some releases only"


def server_context(authority: Any, *names: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    return context


def test_the_name_that_is_asked_for_chooses_the_certificate(
    run: Run, authority: Any, client_tls: ssl.SSLContext
) -> None:
    async def main() -> None:
        contexts = {name: server_context(authority, name) for name in ("one.test", "two.test")}
        asked: list[Any] = []

        def choose(connection: ssl.SSLObject, name: str, _context: ssl.SSLContext) -> None:
            asked.append(name)
            if name in contexts:
                connection.context = contexts[name]

        context = server_context(authority, "else.test")
        context.sni_callback = choose
        server = await start_tls_server(context)
        for name in ("one.test", "two.test", "else.test"):
            _reader, writer = await connect(server, client_tls, server_hostname=name)
            assert writer.get_extra_info("peercert")["subjectAltName"] == (("DNS", name),)
            writer.close()
            await writer.wait_closed()
        assert asked == ["one.test", "two.test", "else.test"]
        await end(server)

    run(main())


@pytest.mark.parametrize("outcome", ["alert", "error", "abort"])
def test_a_name_callback_that_refuses(
    run: Run, authority: Any, client_tls: ssl.SSLContext, errors: list[Context], outcome: str
) -> None:
    async def main() -> None:
        made: list[str] = []
        lost: list[Any] = []
        transports: list[Any] = []

        def refuse(_connection: ssl.SSLObject, _name: str, _context: ssl.SSLContext) -> Any:
            if outcome == "error":
                raise LookupError("no such name")
            if outcome == "abort":
                transports[0].abort()
                return None
            return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

        class Noting(Recorder):
            def connection_made(self, transport: Any) -> None:
                made.append("made")

            def connection_lost(self, exc: BaseException | None) -> None:
                lost.append(exc)

        context = server_context(authority, "localhost")
        context.sni_callback = refuse
        near, far = tcp_pair()
        loop = asyncio.get_running_loop()
        if outcome == "abort":
            # Only who holds the transport can abort it: the hook by which asyncio makes it gives that.
            waiter = loop.create_future()
            make: Any = loop._make_ssl_transport  # type: ignore[attr-defined]
            transports.append(make(far, Noting(), context, waiter, server_side=True))
            accepting: Any = waiter
        else:
            accepting = asyncio.ensure_future(loop.connect_accepted_socket(Noting, far, ssl=context))
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await loop.create_connection(Recorder, sock=near, ssl=client_tls, server_hostname="localhost")
        if outcome == "abort":
            await until(lambda: far.fileno() == -1)
        else:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await accepting
        assert made == [] and lost == []

    with pytest.MonkeyPatch.context() as patch:
        unraisable: list[Any] = []
        patch.setattr("sys.unraisablehook", unraisable.append)
        run(main())
        assert [type(seen.exc_value) for seen in unraisable] == ([LookupError] if outcome == "error" else [])


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_session_is_there_to_be_looked_at(
    run: Run, server_tls: ssl.SSLContext, authority: Any, version: ssl.TLSVersion
) -> None:
    async def main() -> None:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        context.maximum_version = version
        server = await start_tls_server(server_tls)
        transport, protocol = await dial(server, context)
        transport.write(b"x")
        await protocol.until_received(1)  # 1.3: the ticket comes before the first data
        known = transport.get_extra_info("ssl_object")
        assert known.version() == ("TLSv1.2" if version == ssl.TLSVersion.TLSv1_2 else "TLSv1.3")
        assert known.session is not None and known.session.has_ticket
        assert known.session_reused is False
        assert transport.get_extra_info("cipher") == known.cipher()
        assert transport.get_extra_info("compression") is None
        assert transport.get_extra_info("sslcontext") is context
        assert transport.get_extra_info("nothing like this", 5) == 5
        assert transport.get_extra_info("peername") == server.sockets[0].getsockname()
        transport.close()
        await protocol.lost
        await end(server)

    run(main())


def test_no_version_in_common(
    request: pytest.FixtureRequest, run: Run, authority: Any, errors: list[Context]
) -> None:
    if request.node.callspec.params["loop_factory"] == "asyncio":
        pytest.skip(NO_ALERTS)

    async def main() -> None:
        old = server_context(authority, "localhost")
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        new = ssl.create_default_context()
        authority.configure_trust(new)
        new.minimum_version = ssl.TLSVersion.TLSv1_3
        server = await start_tls_server(old)
        with pytest.raises(ssl.SSLError, match="(?i)protocol.version"):
            await connect(server, new)
        await end(server)

    run(main())


def test_a_missing_client_certificate(
    request: pytest.FixtureRequest, run: Run, authority: Any, errors: list[Context]
) -> None:
    """With TLS 1.3 the client learns of it only when it reads."""
    if request.node.callspec.params["loop_factory"] == "asyncio":
        pytest.skip(NO_ALERTS)

    async def main() -> None:
        asking = server_context(authority, "localhost")
        authority.configure_trust(asking)
        asking.verify_mode = ssl.CERT_REQUIRED
        trusting = ssl.create_default_context()
        authority.configure_trust(trusting)
        server = await start_tls_server(asking)
        reader, writer = await connect(server, trusting)
        with pytest.raises(ssl.SSLError, match="(?i)certificate.required"):
            await reader.read()
        writer.close()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)
        await end(server)

    run(main())


def test_a_context_with_callbacks_of_its_own(run: Run, authority: Any, client_tls: ssl.SSLContext) -> None:
    """SSLObject may be subclassed: what the subclass overrides is called."""

    async def main() -> None:
        read: list[int] = []

        class Counting(ssl.SSLObject):
            def read(self, *arguments: Any) -> Any:
                got = super().read(*arguments)
                read.append(got if isinstance(got, int) else len(got))
                return got

        context = server_context(authority, "localhost")
        context.sslobject_class = Counting
        server = await start_tls_server(context)
        transport, protocol = await dial(server, client_tls)
        data = pattern(40_000)
        transport.write(data)
        assert await protocol.until_received(len(data)) == data
        assert sum(read) == len(data)
        transport.close()
        await protocol.lost
        await end(server)

    run(main())


def test_tls_within_tls(run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    """As a client does it that speaks https through an https proxy."""

    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert await reader.readline() == b"CONNECT\n"
            writer.write(b"OK\n")
            await writer.start_tls(server_tls)
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=server_tls)
        host, port = server.sockets[0].getsockname()
        outer, protocol = await loop.create_connection(
            Recorder, host, port, ssl=client_tls, server_hostname="localhost"
        )
        outer.write(b"CONNECT\n")
        assert await protocol.until_received(3) == b"OK\n"
        protocol.received.clear()
        inner: Any = await loop.start_tls(outer, protocol, client_tls, server_hostname="localhost")
        assert inner.get_extra_info("ssl_object") is not outer.get_extra_info("ssl_object")
        assert inner.get_extra_info("peername") == (host, port)
        data = pattern(1_000_000)
        inner.write(data)
        assert await protocol.until_received(len(data)) == data
        assert protocol.calls[:2] == ["made", "data"]
        inner.close()
        assert await asyncio.wait_for(protocol.lost, 10) is None
        await end(server)
        await alone()

    run(main())


def test_start_tls_that_fails(
    run: Run, authority: Any, server_tls: ssl.SSLContext, errors: list[Context]
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        upgraded: list[Any] = []

        class Upgrading(Recorder):
            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                self.task = loop.create_task(self.upgrade())

            async def upgrade(self) -> None:
                try:
                    await loop.start_tls(self.transport, self, server_tls, server_side=True)
                except OSError as exc:  # ssl.SSLError is one
                    upgraded.append(type(exc))

        server = await start(Upgrading)
        transport, protocol = await loop.create_connection(Recorder, *server.sockets[0].getsockname())
        with pytest.raises(ssl.SSLCertVerificationError):
            await loop.start_tls(
                transport, protocol, ssl.create_default_context(), server_hostname="localhost"
            )
        await until(lambda: upgraded)
        assert issubclass(upgraded[0], (ssl.SSLError, ConnectionError))
        assert transport.is_closing()
        await alone()
        await end(server)

    run(main())


def test_cancelling_start_tls(run: Run, client_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def cancel_after(count: int) -> None:
            near, far = tcp_pair()
            with far:
                transport, protocol = await loop.create_connection(Recorder, sock=near)
                task = loop.create_task(
                    loop.start_tls(transport, protocol, client_tls, server_hostname="localhost")
                )
                await turns(count)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                await until(lambda: near.fileno() == -1)

        for count in range(1, 5):
            await cancel_after(count)

    run(main())


def test_what_came_after_the_request_for_tls_belongs_to_the_handshake(
    run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """The client's first flight is there before start_tls() is called."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        near, far = tcp_pair()
        peer = Peer(far, client_tls, server_side=False)
        shaking = asyncio.ensure_future(peer.handshake())
        for _ in range(5):
            await asyncio.sleep(0)
        protocol = Recorder()
        made: asyncio.Future[Any] = loop.create_future()

        class Plain(Echo):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                self.transport.pause_reading()
                made.set_result(transport)

        await loop.connect_accepted_socket(Plain, near)
        secure: Any = await loop.start_tls(await made, protocol, server_tls, server_side=True)
        await shaking
        await peer.send(peer.encrypt(b"hello"))
        assert await protocol.until_received(5) == b"hello"
        secure.abort()
        await protocol.lost
        far.close()

    run(main())


def test_the_time_outs_are_checked(run: Run, client_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        for name in ("ssl_handshake_timeout", "ssl_shutdown_timeout"):
            near, far = tcp_pair()
            with near, far, pytest.raises(ValueError, match=f"{name} should be a positive number, got -1"):
                await loop.create_connection(
                    Recorder, sock=near, ssl=client_tls, server_hostname="localhost", **{name: -1}
                )

    run(main())


def test_a_silent_client_is_not_kept(run: Run, server_tls: ssl.SSLContext, errors: list[Context]) -> None:
    """The server's handshake time-out; the protocol never hears of such a client."""

    async def main() -> None:
        made: list[Any] = []

        class Noting(Recorder):
            def connection_made(self, transport: Any) -> None:
                made.append(transport)

        server = await start(Noting, ssl=server_tls, ssl_handshake_timeout=0.05)
        with socket.create_connection(server.sockets[0].getsockname()) as client:
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            with_end = asyncio.wait_for(loop.sock_recv(client, 100), 10)
            try:
                assert await with_end == b""
            except ConnectionResetError:
                pass
        assert made == []
        await end(server)

    run(main())
