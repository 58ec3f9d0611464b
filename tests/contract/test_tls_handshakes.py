"""How a TLS connection begins: handshakes that fail, certificates, negotiation, start_tls."""

import asyncio
import socket
import ssl
from typing import Any

import pytest

from .server_support import connect, start_tls_server
from .support import Context, Echo, Recorder, Run, alone, end, tcp_pair


def test_an_unknown_authority(run: Run, server_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        server = await start_tls_server(server_tls)
        with pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed"):
            await connect(server, ssl.create_default_context())
        await end(server)

    run(main())


def test_the_wrong_name(run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        server = await start_tls_server(server_tls)
        with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
            await connect(server, client_tls, server_hostname="elsewhere.test")
        await end(server)

    run(main())


def test_the_name_comes_from_the_host(
    run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async def main() -> None:
        server = await start_tls_server(server_tls)
        port = server.sockets[0].getsockname()[1]
        _reader, writer = await asyncio.open_connection(
            "localhost", port, ssl=client_tls, family=socket.AF_INET
        )
        assert writer.get_extra_info("ssl_object").server_hostname == "localhost"
        writer.close()
        await writer.wait_closed()
        near, far = tcp_pair()
        with near, far, pytest.raises(ValueError, match="You must set server_hostname"):
            await asyncio.open_connection(sock=near, ssl=client_tls)
        await end(server)

    run(main())


def test_a_client_that_speaks_no_tls(run: Run, server_tls: ssl.SSLContext, errors: list[Context]) -> None:
    async def main() -> None:
        made: list[str] = []

        class Noting(Echo):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                made.append("made")

        server = await start_tls_server(server_tls, Noting)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert len(await reader.read()) < 100
        writer.close()
        assert made == []
        await end(server)

    run(main())


def test_a_server_that_speaks_no_tls(run: Run, client_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        class Plain(asyncio.Protocol):
            def connection_made(self, transport: Any) -> None:
                transport.write(b"220 plain text here\r\n" * 3)

        server = await asyncio.get_running_loop().create_server(Plain, "127.0.0.1", 0)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await connect(server, client_tls)
        await end(server)

    run(main())


def test_a_handshake_that_never_ends(run: Run, client_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            with pytest.raises(
                ConnectionAbortedError, match="SSL handshake is taking longer than 0.01 seconds"
            ):
                await asyncio.open_connection(
                    *listener.getsockname(),
                    ssl=client_tls,
                    server_hostname="localhost",
                    ssl_handshake_timeout=0.01,
                )

    run(main())


def test_a_handshake_cut_off(run: Run, client_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        class Hangup(asyncio.Protocol):
            def data_received(self, data: bytes) -> None:
                self.transport.close()

            def connection_made(self, transport: Any) -> None:
                self.transport = transport

        server = await asyncio.get_running_loop().create_server(Hangup, "127.0.0.1", 0)
        with pytest.raises((ConnectionError, ssl.SSLError)):
            await connect(server, client_tls)
        await end(server)

    run(main())


def test_cancelling_a_handshake(run: Run, client_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            task = asyncio.create_task(
                asyncio.open_connection(*listener.getsockname(), ssl=client_tls, server_hostname="localhost")
            )
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(main())


def test_start_tls(run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        class Upgrading(Recorder):
            def data_received(self, data: bytes) -> None:
                super().data_received(data)
                if data == b"STARTTLS":
                    self.transport.write(b"READY")
                    self.task = loop.create_task(self.upgrade())

            async def upgrade(self) -> None:
                secure: Any = await loop.start_tls(self.transport, self, server_tls, server_side=True)
                secret = await self.until_received(14)
                secure.write(secret[8:].upper())

        server = await loop.create_server(Upgrading, "127.0.0.1", 0)
        transport, protocol = await loop.create_connection(Recorder, *server.sockets[0].getsockname())
        transport.write(b"STARTTLS")
        assert await protocol.until_received(5) == b"READY"
        secure: Any = await loop.start_tls(transport, protocol, client_tls, server_hostname="localhost")
        assert secure.get_extra_info("ssl_object").version().startswith("TLS")
        secure.write(b"secret")
        assert await protocol.until_received(11) == b"READYSECRET"
        # connection_made() is not called again.
        assert protocol.calls == ["made", "data"]
        secure.close()
        assert await protocol.lost is None
        await end(server)

    run(main())


def test_start_tls_of_streams(run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert await reader.readline() == b"STARTTLS\n"
            writer.write(b"READY\n")
            await writer.drain()
            await writer.start_tls(server_tls)
            writer.write((await reader.readline()).upper())
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"STARTTLS\n")
        assert await reader.readline() == b"READY\n"
        await writer.start_tls(client_tls, server_hostname="localhost")
        writer.write(b"secret\n")
        assert await reader.readline() == b"SECRET\n"
        assert await reader.read() == b""
        writer.close()
        await end(server)
        await alone()

    run(main())


def test_start_tls_of_a_closed_connection(run: Run, client_tls: ssl.SSLContext) -> None:
    """It returns None: so asyncio does where a connection ends without an error."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            transport, protocol = await loop.create_connection(Recorder, *listener.getsockname())
            transport.close()
            secure = await loop.start_tls(transport, protocol, client_tls, server_hostname="localhost")
            assert secure is None

    run(main())


def test_start_tls_is_checked(run: Run, client_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        near, far = tcp_pair()
        with far:
            transport, protocol = await loop.create_connection(Recorder, sock=near)
            with pytest.raises(TypeError, match="sslcontext is expected to be an instance of ssl.SSLContext"):
                await loop.start_tls(transport, protocol, True)
            with pytest.raises(TypeError, match="is not supported by start_tls"):
                await loop.start_tls(asyncio.Transport(), protocol, client_tls)
            transport.close()

    run(main())


def test_client_certificates(run: Run, authority: Any) -> None:
    async def main() -> None:
        server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("localhost").configure_cert(server_side)
        authority.configure_trust(server_side)
        server_side.verify_mode = ssl.CERT_REQUIRED
        client_side = ssl.create_default_context()
        authority.configure_trust(client_side)
        authority.issue_cert("client@localhost").configure_cert(client_side)
        names: list[Any] = []

        class Asking(Echo):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                names.append(transport.get_extra_info("peercert")["subjectAltName"])

        server = await start_tls_server(server_side, Asking)
        reader, writer = await connect(server, client_side)
        writer.write(b"x")
        assert await reader.readexactly(1) == b"x"
        assert names == [(("email", "client@localhost"),)]
        writer.close()
        await writer.wait_closed()
        await end(server)

    run(main())


def test_protocol_negotiation(run: Run, authority: Any) -> None:
    async def main() -> None:
        server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("localhost").configure_cert(server_side)
        server_side.set_alpn_protocols(["h2", "http/1.1"])
        client_side = ssl.create_default_context()
        authority.configure_trust(client_side)
        client_side.set_alpn_protocols(["http/1.1"])
        server = await start_tls_server(server_side)
        _reader, writer = await connect(server, client_side)
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
        writer.close()
        await writer.wait_closed()
        await end(server)

    run(main())
