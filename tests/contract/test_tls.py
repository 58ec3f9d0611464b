"""TLS through asyncio's API: data both ways, flow control, ends, extra information."""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from .server_support import connect, dial, start_tls_server
from .support import (
    BufferedRecorder,
    Context,
    Echo,
    Recorder,
    Run,
    end,
    pattern,
    turns,
    unix_pair,
    until,
)


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest, server_tls: ssl.SSLContext) -> Iterator[str]:
    """One version of the protocol after the other."""
    server_tls.maximum_version = (
        ssl.TLSVersion.TLSv1_2 if request.param == "TLSv1.2" else ssl.TLSVersion.TLSv1_3
    )
    yield request.param
    server_tls.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED


def test_echo(run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, version: str) -> None:
    async def main() -> None:
        server = await start_tls_server(server_tls)
        reader, writer = await connect(server, client_tls)
        assert writer.get_extra_info("ssl_object").version() == version
        for number in range(10):
            text = b"message %d" % number
            writer.write(text)
            assert await reader.readexactly(len(text)) == text
        writer.close()
        await writer.wait_closed()
        await end(server)

    run(main())


def test_much_data(run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, version: str) -> None:
    async def main() -> None:
        server = await start_tls_server(server_tls)
        reader, writer = await connect(server, client_tls)
        data = pattern(1_000_000)

        async def send() -> None:
            for begin in range(0, len(data), 50_000):
                writer.write(data[begin : begin + 50_000])
                await writer.drain()

        sending = asyncio.create_task(send())
        assert await reader.readexactly(len(data)) == data
        await sending
        writer.close()
        await writer.wait_closed()
        await end(server)

    run(main())


def test_many_clients(run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        server = await start_tls_server(server_tls)

        async def client(number: int) -> None:
            reader, writer = await connect(server, client_tls)
            text = b"client %d" % number
            writer.write(text)
            assert await reader.readexactly(len(text)) == text
            writer.close()
            await writer.wait_closed()

        await asyncio.gather(*(client(number) for number in range(20)))
        await end(server)

    run(main())


def test_the_transport(run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        server = await start_tls_server(server_tls)
        transport, protocol = await dial(server, client_tls)
        assert "ssl" in type(transport).__name__.lower()
        assert protocol.calls == ["made"]
        assert transport.get_protocol() == protocol
        assert transport.get_extra_info("sslcontext") is client_tls
        assert isinstance(transport.get_extra_info("ssl_object"), ssl.SSLObject)
        assert transport.get_extra_info("peercert")["subjectAltName"]
        assert len(transport.get_extra_info("cipher")) == 3
        assert transport.get_extra_info("compression") is None
        assert transport.get_extra_info("peername") == server.sockets[0].getsockname()
        assert transport.get_extra_info("socket").family == socket.AF_INET
        assert transport.get_extra_info("nothing", 5) == 5
        # aiohttp looks here.
        assert transport._ssl_protocol._sslcontext is client_tls
        transport.note = "mine"
        assert transport.note == "mine"
        assert transport.is_reading()
        assert transport.can_write_eof() is False
        with pytest.raises(NotImplementedError):
            transport.write_eof()
        transport.close()
        assert transport.is_closing()
        assert await protocol.lost is None
        assert protocol.calls[0] == "made" and protocol.calls[-1] == "lost"
        assert isinstance(transport, asyncio.Transport)
        await end(server)

    run(main())


def test_kinds_of_data(run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        server = await start_tls_server(server_tls)
        reader, writer = await connect(server, client_tls)
        transport = writer.transport
        transport.write(b"bytes ")
        data = bytearray(b"bytearray ")
        transport.write(data)
        data[:] = b"changed!! "
        transport.write(memoryview(b"memoryview "))
        transport.write(b"")
        transport.writelines([b"lines ", bytearray(b"of "), memoryview(b"all")])
        expected = b"bytes bytearray memoryview lines of all"
        assert await reader.readexactly(len(expected)) == expected
        with pytest.raises(TypeError, match=r"^data: expecting a bytes-like instance, got str$"):
            transport.write("text")
        writer.close()
        await writer.wait_closed()
        await end(server)

    run(main())


def test_the_end_of_the_peer(
    run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, version: str
) -> None:
    async def main() -> None:
        class Farewell(asyncio.Protocol):
            def connection_made(self, transport: Any) -> None:
                transport.write(b"farewell")
                transport.close()

        server = await start_tls_server(server_tls, Farewell)
        address = server.sockets[0].getsockname()
        transport, protocol = await asyncio.get_running_loop().create_connection(
            Recorder, *address, ssl=client_tls, server_hostname="localhost"
        )
        assert await protocol.lost is None
        assert protocol.calls == ["made", "data", "eof", "lost"]
        assert bytes(protocol.received) == b"farewell"
        assert transport.is_closing()
        await end(server)

    run(main())


def test_the_end_without_a_farewell(run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        class Rude(asyncio.Protocol):
            def data_received(self, data: bytes) -> None:
                self.transport.abort()

            def connection_made(self, transport: Any) -> None:
                self.transport = transport

        server = await start_tls_server(server_tls, Rude)
        reader, writer = await connect(server, client_tls)
        writer.write(b"x")
        # Cut off without close_notify: the stream ends all the same.
        try:
            assert await asyncio.wait_for(reader.read(), 10) == b""
        except ConnectionError:
            pass
        writer.close()
        await end(server)

    run(main())


def test_closing_sends_what_is_in_the_buffer(
    run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async def main() -> None:
        data = pattern(1_000_000)

        class Big(asyncio.Protocol):
            def connection_made(self, transport: Any) -> None:
                transport.write(data)
                transport.close()

        server = await start_tls_server(server_tls, Big)
        reader, writer = await connect(server, client_tls)
        assert await reader.read() == data
        writer.close()
        await end(server)

    run(main())


def test_abort(run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        server = await start_tls_server(server_tls)
        transport, protocol = await dial(server, client_tls)
        transport.write(bytes(1_000_000))
        transport.abort()
        assert await protocol.lost is None
        await end(server)

    run(main())


def test_pause_and_resume_reading(run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        server = await start_tls_server(server_tls)
        transport, protocol = await dial(server, client_tls)
        transport.pause_reading()
        assert not transport.is_reading()
        transport.write(b"hello")
        await asyncio.sleep(0.02)
        assert protocol.calls == ["made"]
        transport.resume_reading()
        assert await protocol.until_received(5) == b"hello"
        transport.close()
        await protocol.lost
        await end(server)

    run(main())


def test_flow_control(run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        class Deaf(asyncio.Protocol):
            def connection_made(self, transport: Any) -> None:
                self.transport = transport
                transport.pause_reading()
                asyncio.get_running_loop().call_later(0.03, transport.resume_reading)

        server = await start_tls_server(server_tls, Deaf)
        transport, protocol = await dial(server, client_tls)
        low, high = transport.get_write_buffer_limits()
        assert 0 < low < high
        # asyncio notices only with the second write that the first went no further.
        transport.write(bytes(10_000_000))
        transport.write(bytes(1_000_000))
        assert protocol.calls == ["made", "pause"]
        assert transport.get_write_buffer_size() > 0
        await until(lambda: protocol.calls == ["made", "pause", "resume"])
        transport.close()
        await protocol.lost
        await end(server)

    run(main())


def test_tls_over_unix_sockets(run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        near, far = unix_pair()
        serving = asyncio.create_task(loop.connect_accepted_socket(Echo, far, ssl=server_tls))
        transport: Any
        transport, protocol = await loop.create_connection(
            Recorder, sock=near, ssl=client_tls, server_hostname="localhost"
        )
        await serving
        transport.write(b"hello")
        assert await protocol.until_received(5) == b"hello"
        transport.close()
        await protocol.lost
        await turns(5)

    run(main())


def test_an_error_in_data_received(
    run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, errors: list[Context]
) -> None:
    async def main() -> None:
        class Failing(asyncio.Protocol):
            def data_received(self, data: bytes) -> None:
                raise LookupError("in a TLS protocol")

        server = await start_tls_server(server_tls, Failing)
        reader, writer = await connect(server, client_tls)
        writer.write(b"x")
        try:
            assert await reader.read() == b""
        except ConnectionError:
            pass
        assert str(errors[0]["exception"]) == "in a TLS protocol"
        writer.close()
        await end(server)

    run(main())


def test_set_protocol(run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        server = await start_tls_server(server_tls)
        transport, first = await dial(server, client_tls)
        transport.write(b"one")
        await first.until_received(3)
        second = Recorder()
        transport.set_protocol(second)
        assert transport.get_protocol() is second
        transport.write(b"two")
        await second.until_received(3)
        transport.close()
        assert await second.lost is None
        assert first.calls == ["made", "data"]
        await end(server)

    run(main())


def test_sendfile_falls_back(
    run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, tmp_path: Any
) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = await start_tls_server(server_tls)
        reader, writer = await connect(server, client_tls)
        path = tmp_path / "file"
        data = pattern(100_000)
        path.write_bytes(data)
        with path.open("rb") as file:
            assert await loop.sendfile(writer.transport, file) == len(data)
        assert await reader.readexactly(len(data)) == data
        writer.close()
        await writer.wait_closed()
        await end(server)

    run(main())


def test_a_buffered_protocol(run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        class Lender(BufferedRecorder):
            # A view, for asyncio's own TLS reads into a copy of a part of a bytearray.
            def get_buffer(self, sizehint: int) -> Any:
                return memoryview(self.buffer)

        server = await start_tls_server(server_tls)
        transport, protocol = await dial(server, client_tls, Lender)
        data = pattern(50_000)
        transport.write(data)
        assert await protocol.until_received(len(data)) == data
        transport.close()
        assert await protocol.lost is None
        await end(server)

    run(main())


def test_data_never_comes_before_create_connection_returns(
    run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async def main() -> None:
        class Greeter(asyncio.Protocol):
            def connection_made(self, transport: Any) -> None:
                transport.write(b"welcome")
                transport.close()

        server = await start_tls_server(server_tls, Greeter)
        address = server.sockets[0].getsockname()
        for _ in range(10):
            _transport, protocol = await asyncio.get_running_loop().create_connection(
                Recorder, *address, ssl=client_tls, server_hostname="localhost"
            )
            assert protocol.calls == ["made"]
            await protocol.lost
            assert bytes(protocol.received) == b"welcome"
        await end(server)

    run(main())


def test_the_shutdown_is_limited(run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        near, far = unix_pair()
        relay_near, relay_far = unix_pair()
        # The client's bytes reach the server only while the relay runs.
        server_task = asyncio.create_task(loop.connect_accepted_socket(Echo, relay_far, ssl=server_tls))
        for sock in (far, relay_near):
            sock.setblocking(False)

        async def pump(source: socket.socket, target: socket.socket) -> None:
            while data := await loop.sock_recv(source, 65536):
                await loop.sock_sendall(target, data)

        pumps = [asyncio.create_task(pump(far, relay_near)), asyncio.create_task(pump(relay_near, far))]
        transport: Any
        transport, protocol = await loop.create_connection(
            Recorder, sock=near, ssl=client_tls, server_hostname="localhost", ssl_shutdown_timeout=0.02
        )
        server_transport, _ = await server_task
        for task in pumps:
            task.cancel()
        await asyncio.wait(pumps)
        # Nobody answers the close_notify any more.
        transport.close()
        exc = await asyncio.wait_for(protocol.lost, 10)
        assert exc is None or isinstance(exc, TimeoutError)
        server_transport.abort()
        await turns(5)
        far.close()
        relay_near.close()

    run(main())
