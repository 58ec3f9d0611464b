"""What a TLS connection keeps alive: nothing, once it has ended, and without the garbage collector's help."""

import asyncio
import gc
import socket
import ssl
import weakref
from typing import Any

import pytest

from .server_support import address_of, dial, start_tls_server
from .support import Context, Echo, Recorder, Run, end, open_descriptors, pattern, tcp_pair, turns, until

ENDS = ["close", "abort", "peer closes", "error"]


class Failing(Recorder):
    """A protocol that can be made to fail."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if data.endswith(b"fail"):
            raise LookupError("as asked")


@pytest.mark.usefixtures("no_gc")
@pytest.mark.parametrize("ending", ENDS)
def test_an_ended_connection_is_freed(
    request: pytest.FixtureRequest,
    run: Run,
    server_tls: ssl.SSLContext,
    client_tls: ssl.SSLContext,
    errors: list[Context],
    ending: str,
) -> None:
    if request.node.callspec.params["loop_factory"] == "asyncio":
        pytest.skip("asyncio's protocol and transport refer to each other")

    async def main() -> None:
        accepted: list[Any] = []

        class Accepted(Echo):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                accepted.append(weakref.ref(transport))

            def connection_lost(self, exc: BaseException | None) -> None:
                del self.transport

        server = await start_tls_server(server_tls, Accepted)
        transport, protocol = await dial(server, client_tls, Failing)
        known = transport.get_extra_info("ssl_object")
        transport.write(pattern(100_000))
        await protocol.until_received(100_000)
        if ending == "close":
            transport.close()
        elif ending == "abort":
            transport.abort()
        elif ending == "error":
            transport.write(b"fail")
        else:
            accepted[0]().close()
        await asyncio.gather(protocol.lost, return_exceptions=True)
        server.close()
        await until(lambda: accepted[0]() is None)
        references = [weakref.ref(known), weakref.ref(transport), weakref.ref(protocol)]
        errors.clear()
        protocol.transport = protocol.lost = None
        del known, transport, protocol
        await turns(3)
        assert [reference() for reference in references] == [None, None, None]
        await end(server)

    run(main())


@pytest.mark.usefixtures("no_gc")
def test_a_refused_certificate_leaves_no_cycle(
    request: pytest.FixtureRequest, run: Run, server_tls: ssl.SSLContext, errors: list[Context]
) -> None:
    if request.node.callspec.params["loop_factory"] == "asyncio":
        pytest.skip("asyncio's protocol and transport refer to each other")

    async def main() -> None:
        server = await start_tls_server(server_tls)
        # By the hook: create_connection() itself made such a cycle until it was repaired.
        loop: Any = asyncio.get_running_loop()
        sock = socket.create_connection(address_of(server))
        sock.setblocking(False)
        waiter = loop.create_future()
        context = ssl.create_default_context()
        transport = loop._make_ssl_transport(sock, Recorder(), context, waiter, server_hostname="localhost")
        await asyncio.wait([waiter])
        assert isinstance(waiter.exception(), ssl.SSLCertVerificationError)
        references = [weakref.ref(waiter.exception()), weakref.ref(transport)]
        errors.clear()
        del waiter, transport
        await turns(3)
        assert [reference() for reference in references] == [None, None]
        await end(server)

    run(main())


@pytest.mark.usefixtures("no_gc")
def test_a_cancelled_handshake_is_freed(
    request: pytest.FixtureRequest, run: Run, client_tls: ssl.SSLContext
) -> None:
    if request.node.callspec.params["loop_factory"] == "asyncio":
        pytest.skip("asyncio's protocol and transport refer to each other")

    async def main() -> None:
        made: list[Any] = []

        def make() -> Recorder:
            protocol = Recorder()
            made.append(weakref.ref(protocol))
            return protocol

        near, far = tcp_pair()
        with far:
            task = asyncio.ensure_future(
                asyncio.get_running_loop().create_connection(
                    make, sock=near, ssl=client_tls, server_hostname="localhost"
                )
            )
            await until(lambda: made)
            await turns(3)
            task.cancel()
            await asyncio.wait([task])
            del task
            await until(lambda: near.fileno() == -1)
            await turns(3)
            assert made[0]() is None

    run(main())


def test_no_descriptor_stays_open(run: Run, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async def main() -> None:
        server = await start_tls_server(server_tls)
        before = open_descriptors()
        for number in range(20):
            transport, protocol = await dial(server, client_tls)
            transport.write(b"x" * number)
            if number % 2:
                await protocol.until_received(number)
            transport.close()
            await protocol.lost
        await until(lambda: open_descriptors() == before)
        await end(server)

    run(main())


@pytest.mark.usefixtures("no_gc")
def test_the_collector_sees_through_a_connection(
    loop_factory: Any, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    """A loop that was closed with connections on it goes away, with them."""
    loop = loop_factory()
    seen: list[Any] = []

    async def main() -> None:
        server = await start_tls_server(server_tls)
        transport, protocol = await dial(server, client_tls)
        protocol.lost.cancel()
        seen.extend([weakref.ref(transport), weakref.ref(protocol)])
        transport.abort()
        server.close()
        # Not one turn more: connection_lost() is on its way, and never comes.

    loop.run_until_complete(main())
    loop.close()
    gc.collect()
    assert [reference() for reference in seen] == [None, None]
