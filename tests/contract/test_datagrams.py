"""Datagram endpoints: UDP and Unix datagrams, addresses, errors, flow control, closing."""

import asyncio
import pathlib
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from .support import PATIENCE, Context, Run, turns, until

Address = tuple[str, int]
LOCAL = ("127.0.0.1", 0)


class Receiver(asyncio.DatagramProtocol):
    """Records what comes."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.got: list[tuple[bytes, Any]] = []
        self.errors: list[Exception] = []
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.calls.append("made")
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        assert type(data) is bytes
        if self.calls[-1] != "data":
            self.calls.append("data")
        self.got.append((data, addr))

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("lost")
        self.lost.set_result(exc)

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")


class Answering(Receiver):
    """Sends back what comes."""

    def datagram_received(self, data: bytes, addr: Any) -> None:
        super().datagram_received(data, addr)
        self.transport.sendto(b"answer to " + data, addr)


async def endpoint(kind: Any = Receiver, **options: Any) -> tuple[Any, Any]:
    """Make a datagram endpoint, on a port of the kernel's choice unless told otherwise."""
    if not options:
        options = {"local_addr": LOCAL}
    result: tuple[Any, Any] = await asyncio.get_running_loop().create_datagram_endpoint(kind, **options)
    return result


def address_of(transport: Any) -> Address:
    """Return the address to which an endpoint is bound."""
    host, port = transport.get_extra_info("sockname")[:2]
    return host, port


def test_question_and_answer(run: Run) -> None:
    async def main() -> None:
        server, server_protocol = await endpoint(Answering)
        client, protocol = await endpoint(remote_addr=address_of(server))
        assert protocol.calls == ["made"]
        for number in range(5):
            client.sendto(b"question %d" % number)
            await until(lambda: len(protocol.got) == number + 1)  # noqa: B023 - awaited at once
            assert protocol.got[-1] == (b"answer to question %d" % number, address_of(server))
        assert server_protocol.got[0] == (b"question 0", address_of(client))
        client.close()
        server.close()
        assert await protocol.lost is None
        assert await server_protocol.lost is None
        assert protocol.calls == ["made", "data", "lost"]

    run(main())


def test_the_type(run: Run) -> None:
    async def main() -> None:
        transport, protocol = await endpoint()
        transport.note = "mine"
        assert transport.note == "mine"
        assert transport.get_protocol() == protocol
        assert transport.get_extra_info("socket").type == socket.SOCK_DGRAM
        assert transport.get_extra_info("peername") is None
        assert not transport.is_closing()
        transport.close()
        transport.close()
        assert transport.is_closing()
        assert protocol.calls == ["made"]
        assert await protocol.lost is None
        assert isinstance(transport, asyncio.BaseTransport)

    run(main())


@pytest.mark.skipif(
    sys.version_info < (3, 12), reason="asyncio's own is a DatagramTransport since Python 3.12"
)
def test_a_datagram_transport_is_one(run: Run) -> None:
    async def main() -> None:
        transport, _ = await endpoint()
        assert isinstance(transport, asyncio.DatagramTransport)
        transport.close()

    run(main())


def test_extra_info_of_a_connected_endpoint(run: Run) -> None:
    async def main() -> None:
        server, _ = await endpoint()
        client, _ = await endpoint(local_addr=LOCAL, remote_addr=address_of(server))
        assert client.get_extra_info("peername") == address_of(server)
        assert client.get_extra_info("sockname")[0] == "127.0.0.1"
        client.close()
        server.close()

    run(main())


@pytest.mark.parametrize("size", [1, 100, 1400, 9000, 60_000])
def test_sizes(run: Run, size: int) -> None:
    async def main() -> None:
        receiver, protocol = await endpoint()
        sender, _ = await endpoint(remote_addr=address_of(receiver))
        data = bytes(number % 251 for number in range(size))
        for kind in (bytes, bytearray, memoryview):
            sender.sendto(kind(data))
        await until(lambda: len(protocol.got) == 3)
        assert [got for got, _ in protocol.got] == [data] * 3
        sender.close()
        receiver.close()

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 13), reason="an empty datagram is sent since Python 3.13")
def test_an_empty_datagram(run: Run) -> None:
    async def main() -> None:
        receiver, protocol = await endpoint()
        sender, _ = await endpoint(remote_addr=address_of(receiver))
        sender.sendto(b"")
        sender.sendto(b"x")
        await until(lambda: len(protocol.got) == 2)
        assert [data for data, _ in protocol.got] == [b"", b"x"]
        sender.close()
        receiver.close()

    run(main())


def test_too_big(run: Run) -> None:
    async def main() -> None:
        receiver, _ = await endpoint()
        sender, protocol = await endpoint(remote_addr=address_of(receiver))
        sender.sendto(bytes(70_000))
        assert len(protocol.errors) == 1
        assert isinstance(protocol.errors[0], OSError)
        assert not sender.is_closing()
        sender.close()
        receiver.close()

    run(main())


def test_datagrams_keep_their_borders_and_order(run: Run) -> None:
    async def main() -> None:
        receiver, protocol = await endpoint()
        sender, _ = await endpoint(remote_addr=address_of(receiver))
        for number in range(100):
            sender.sendto(b"%d" % number)
        await until(lambda: len(protocol.got) == 100)
        assert [data for data, _ in protocol.got] == [b"%d" % number for number in range(100)]
        sender.close()
        receiver.close()

    run(main())


def test_wrong_types_and_addresses(run: Run) -> None:
    async def main() -> None:
        server, _ = await endpoint()
        client, _ = await endpoint(remote_addr=address_of(server))
        for thing in ("text", 42, None, [1]):
            name = type(thing).__name__
            with pytest.raises(TypeError, match=rf"^data argument must be a .*object, not '{name}'$"):
                client.sendto(thing)
        with pytest.raises(ValueError, match="^Invalid address: must be None or "):
            client.sendto(b"x", ("127.0.0.1", 1))
        client.sendto(b"x", address_of(server))
        client.close()
        server.close()

    run(main())


def test_a_datagram_transport_is_no_stream(run: Run) -> None:
    async def main() -> None:
        transport: Any
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
        )
        for method, arguments in (
            (transport.write, [b"x"]),
            (transport.writelines, [[b"x"]]),
            (transport.write_eof, []),
            (transport.can_write_eof, []),
        ):
            with pytest.raises(NotImplementedError):
                method(*arguments)
        transport.close()

    run(main())


def test_an_unconnected_endpoint_sends_anywhere(run: Run) -> None:
    async def main() -> None:
        receivers = [await endpoint() for _ in range(3)]
        sender, _ = await endpoint()
        for transport, _protocol in receivers:
            sender.sendto(b"hello", address_of(transport))
        for transport, protocol in receivers:
            await until(lambda protocol=protocol: protocol.got)  # type: ignore[misc]
            assert protocol.got == [(b"hello", address_of(sender))]
            transport.close()
        sender.close()

    run(main())


def test_nobody_listens(run: Run) -> None:
    async def main() -> None:
        gone, _ = await endpoint()
        address = address_of(gone)
        gone.close()
        await turns(3)
        client, protocol = await endpoint(remote_addr=address)
        client.sendto(b"anyone?")
        await until(lambda: protocol.errors)
        assert isinstance(protocol.errors[0], ConnectionRefusedError)
        assert not client.is_closing()
        client.close()
        assert await protocol.lost is None

    run(main())


def test_an_error_in_datagram_received(run: Run, errors: list[Context]) -> None:
    async def main() -> None:
        class Failing(Receiver):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                super().datagram_received(data, addr)
                if data == b"bad":
                    raise LookupError("bad datagram")

        receiver, protocol = await endpoint(Failing)
        sender, _ = await endpoint(remote_addr=address_of(receiver))
        for data in (b"good", b"bad", b"good again"):
            sender.sendto(data)
        await until(lambda: len(protocol.got) == 3)
        assert not receiver.is_closing()
        assert [str(error["exception"]) for error in errors] == ["bad datagram"]
        assert errors[0]["message"].startswith("Exception in callback ")
        sender.close()
        receiver.close()

    run(main())


def test_abort(run: Run) -> None:
    async def main() -> None:
        transport, protocol = await endpoint()
        transport.abort()
        assert transport.is_closing()
        assert await protocol.lost is None
        transport.abort()
        transport.close()

    run(main())


def test_sending_after_close(run: Run) -> None:
    async def main() -> None:
        receiver, _ = await endpoint()
        sender, protocol = await endpoint(remote_addr=address_of(receiver))
        sender.close()
        sender.sendto(b"dropped")
        await protocol.lost
        sender.sendto(b"dropped")
        receiver.close()

    run(main())


def test_closing_inside_datagram_received(run: Run) -> None:
    async def main() -> None:
        class Closing(Receiver):
            def datagram_received(self, data: bytes, addr: Any) -> None:
                super().datagram_received(data, addr)
                self.transport.close()

        receiver, protocol = await endpoint(Closing)
        sender, _ = await endpoint(remote_addr=address_of(receiver))
        for _ in range(5):
            sender.sendto(b"x")
        assert await protocol.lost is None
        await turns(3)
        assert len(protocol.got) == 1
        sender.close()

    run(main())


@pytest.fixture
def datagram_pair(tmp_path: pathlib.Path) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two Unix datagram sockets, the first connected to the second: unlike UDP, they lose nothing."""
    near = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    far = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with near, far:
        far.bind(str(tmp_path / "far"))
        far.settimeout(PATIENCE)
        near.connect(far.getsockname())
        yield near, far


Pair = tuple[socket.socket, socket.socket]


def fill(transport: Any, protocol: Receiver) -> int:
    """Send until some of it has to wait; return how many were sent."""
    count = 0
    while "pause" not in protocol.calls:
        transport.sendto(count.to_bytes(4, "big") + bytes(1000))
        count += 1
        assert count < 100_000
    return count


def test_flow_control(run: Run, datagram_pair: Pair) -> None:
    async def main() -> None:
        near, far = datagram_pair
        transport, protocol = await endpoint(sock=near)
        count = fill(transport, protocol)
        assert transport.get_write_buffer_size() > 64 * 1024
        for number in range(count):
            data = await asyncio.to_thread(far.recv, 2000)
            assert data[:4] == number.to_bytes(4, "big")
        await until(lambda: protocol.calls == ["made", "pause", "resume"])
        transport.close()
        await protocol.lost

    run(main())


def test_close_sends_what_is_queued(run: Run, datagram_pair: Pair) -> None:
    async def main() -> None:
        near, far = datagram_pair
        transport, protocol = await endpoint(sock=near)
        count = fill(transport, protocol)
        transport.close()
        await turns(3)
        assert not protocol.lost.done()

        def receive() -> list[int]:
            return [int.from_bytes(far.recv(2000)[:4], "big") for _ in range(count)]

        assert await asyncio.to_thread(receive) == list(range(count))
        assert await protocol.lost is None

    run(main())


def test_abort_drops_what_is_queued(run: Run, datagram_pair: Pair) -> None:
    async def main() -> None:
        transport, protocol = await endpoint(sock=datagram_pair[0])
        fill(transport, protocol)
        transport.abort()
        assert await protocol.lost is None

    run(main())


def test_a_queued_buffer_may_be_changed(run: Run, datagram_pair: Pair) -> None:
    async def main() -> None:
        near, far = datagram_pair
        transport, protocol = await endpoint(sock=near)
        count = fill(transport, protocol)
        data = bytearray(b"original")
        transport.sendto(data)
        data[:] = b"changed!"
        for _ in range(count):
            await asyncio.to_thread(far.recv, 2000)
        assert await asyncio.to_thread(far.recv, 2000) == b"original"
        transport.close()

    run(main())


def test_unix_datagrams_by_path(run: Run, tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        path = str(tmp_path / "socket")
        server, protocol = await endpoint(family=socket.AF_UNIX, local_addr=path)
        client, _ = await endpoint(family=socket.AF_UNIX, remote_addr=path)
        client.sendto(b"hello")
        await until(lambda: protocol.got)
        assert protocol.got[0][0] == b"hello"
        client.close()
        server.close()

    run(main())


def test_a_socket_of_ones_own(run: Run) -> None:
    async def main() -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(LOCAL)
        transport, protocol = await endpoint(sock=sock)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            other.sendto(b"hello", sock.getsockname())
            await until(lambda: protocol.got)
        assert protocol.got[0][0] == b"hello"
        transport.close()
        await protocol.lost
        assert sock.fileno() == -1

    run(main())


def test_options(run: Run) -> None:
    async def main() -> None:
        first, _ = await endpoint(local_addr=LOCAL, reuse_port=True, allow_broadcast=True)
        second, _ = await endpoint(local_addr=address_of(first), reuse_port=True)
        sock = first.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
        first.close()
        second.close()

    run(main())


def test_what_is_refused(run: Run) -> None:
    async def main() -> None:
        taken, _ = await endpoint()
        with pytest.raises(OSError, match="in use"):
            await endpoint(local_addr=address_of(taken))
        with pytest.raises(ValueError, match="unexpected address family"):
            await endpoint(local_addr=None)
        with pytest.raises(TypeError, match="2-tuple is expected"):
            await endpoint(local_addr="127.0.0.1")
        with pytest.raises(TypeError, match="string is expected"):
            await endpoint(family=socket.AF_UNIX, local_addr=LOCAL)
        with socket.socket() as stream, pytest.raises(ValueError, match="(?i)socket was expected"):
            await endpoint(sock=stream)
        taken.close()

    run(main())


def test_ipv6(run: Run) -> None:
    async def main() -> None:
        try:
            server, protocol = await endpoint(Answering, local_addr=("::1", 0))
        except OSError:
            pytest.skip("no IPv6 loopback on this machine")
        client, client_protocol = await endpoint(remote_addr=address_of(server))
        client.sendto(b"six")
        await until(lambda: client_protocol.got)
        assert len(protocol.got[0][1]) == 4
        assert client_protocol.got[0][0] == b"answer to six"
        client.close()
        server.close()

    run(main())
