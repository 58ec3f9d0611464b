"""The loop's own socket calls: sock_recv, sock_sendall, sock_connect, sock_accept and the rest."""

import asyncio
import pathlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from .support import Run, pattern, tcp_pair, turns, unix_pair

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends(pair: Pair) -> Pair:
    """The two ends of a connection, neither of which blocks."""
    for sock in pair:
        sock.setblocking(False)
    return pair


@pytest.fixture
def udp() -> Iterator[Pair]:
    """Two UDP sockets that do not block."""
    first = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    second = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with first, second:
        for sock in (first, second):
            sock.setblocking(False)
            sock.bind(("127.0.0.1", 0))
        yield first, second


def test_receiving_what_is_there(run: Run, ends: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ends[1].send(b"hello")
        assert await loop.sock_recv(ends[0], 100) == b"hello"
        ends[1].send(b"hello")
        assert await loop.sock_recv(ends[0], 2) == b"he"
        assert await loop.sock_recv(ends[0], 100) == b"llo"

    run(main())


def test_waiting_for_what_comes(run: Run, ends: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(loop.sock_recv(ends[0], 100))
        await turns(3)
        assert not task.done()
        ends[1].send(b"late")
        assert await task == b"late"
        task = asyncio.create_task(loop.sock_recv(ends[0], 100))
        await turns(3)
        ends[1].close()
        assert await task == b""

    run(main())


def test_receiving_into_a_buffer(run: Run, ends: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        buffer = bytearray(10)
        ends[1].send(b"hello")
        assert await loop.sock_recv_into(ends[0], buffer) == 5
        assert bytes(buffer) == b"hello" + bytes(5)
        task = asyncio.create_task(loop.sock_recv_into(ends[0], memoryview(buffer)[2:4]))
        await turns(2)
        ends[1].send(b"XYZ")
        assert await task == 2
        assert bytes(buffer) == b"heXYo" + bytes(5)
        assert await loop.sock_recv(ends[0], 10) == b"Z"

    run(main())


def test_sending(run: Run, ends: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(ends[0], b"bytes ")
        await loop.sock_sendall(ends[0], bytearray(b"bytearray "))
        await loop.sock_sendall(ends[0], memoryview(b"memoryview"))
        await loop.sock_sendall(ends[0], b"")
        assert ends[1].recv(100) == b"bytes bytearray memoryview"

    run(main())


def test_sending_much(run: Run, ends: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        data = pattern(3_000_000)
        got = bytearray()

        async def receive() -> None:
            while len(got) < len(data):
                got.extend(await loop.sock_recv(ends[1], 1 << 16))

        receiving = asyncio.create_task(receive())
        assert await loop.sock_sendall(ends[0], data) is None  # type: ignore[func-returns-value]
        await receiving
        assert bytes(got) == data

    run(main())


def test_both_ways_at_once(run: Run, ends: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        data = pattern(1_000_000)

        async def receive(sock: socket.socket) -> bytes:
            got = bytearray()
            while len(got) < len(data):
                got.extend(await loop.sock_recv(sock, 1 << 16))
            return bytes(got)

        results = await asyncio.gather(
            loop.sock_sendall(ends[0], data),
            loop.sock_sendall(ends[1], data),
            receive(ends[0]),
            receive(ends[1]),
        )
        assert results[2] == data and results[3] == data

    run(main())


def test_cancelling_a_receive_loses_nothing(run: Run, ends: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(3):
            task = asyncio.create_task(loop.sock_recv(ends[0], 100))
            await turns(3)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert loop.remove_reader(ends[0]) is False
        ends[1].send(b"kept")
        assert await loop.sock_recv(ends[0], 100) == b"kept"

    run(main())


def test_cancelling_a_send(run: Run, ends: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(loop.sock_sendall(ends[0], bytes(20_000_000)))
        await turns(3)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert loop.remove_writer(ends[0]) is False

    run(main())


def test_a_limit_on_a_receive(run: Run, ends: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(loop.sock_recv(ends[0], 10), 0.005)
        ends[1].send(b"x")
        assert await asyncio.wait_for(loop.sock_recv(ends[0], 10), 10) == b"x"

    run(main())


def test_errors(run: Run, ends: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ends[1].close()
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for _ in range(100):
                await loop.sock_sendall(ends[0], bytes(100_000))
        with socket.socket() as unconnected:
            unconnected.setblocking(False)
            with pytest.raises(OSError, match="not connected"):
                await loop.sock_recv(unconnected, 10)

    run(main())


def test_connecting_and_accepting(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
            listener.setblocking(False)
            client.setblocking(False)
            accepting = asyncio.create_task(loop.sock_accept(listener))
            await turns(2)
            assert not accepting.done()
            await loop.sock_connect(client, listener.getsockname())
            server, address = await accepting
            with server:
                assert address == client.getsockname()
                assert server.gettimeout() == 0
                await loop.sock_sendall(client, b"hello")
                assert await loop.sock_recv(server, 10) == b"hello"

    run(main())


def test_connecting_by_name(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
            client.setblocking(False)
            await loop.sock_connect(client, ("localhost", listener.getsockname()[1]))
            assert client.getpeername() == listener.getsockname()

    run(main())


def test_connecting_to_nobody(run: Run, tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            address = taken.getsockname()
            with socket.socket() as client:
                client.setblocking(False)
                with pytest.raises(
                    ConnectionRefusedError, match=r"Connect call failed \('127\.0\.0\.1', \d+\)"
                ):
                    await loop.sock_connect(client, address)
        with socket.socket(socket.AF_UNIX) as client:
            client.setblocking(False)
            with pytest.raises(FileNotFoundError):
                await loop.sock_connect(client, str(tmp_path / "nothing"))

    run(main())


def test_unix_sockets_by_path(run: Run, tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        path = str(tmp_path / "socket")
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
            listener.bind(path)
            listener.listen()
            listener.setblocking(False)
            client.setblocking(False)
            await loop.sock_connect(client, path)
            server, _ = await loop.sock_accept(listener)
            server.close()

    run(main())


def test_cancelling_an_accept(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            task = asyncio.create_task(loop.sock_accept(listener))
            await turns(2)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with socket.create_connection(listener.getsockname()):
                server, _ = await loop.sock_accept(listener)
                server.close()

    run(main())


def test_accepting_many(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
            listener.setblocking(False)
            clients = [socket.create_connection(listener.getsockname()) for _ in range(30)]
            servers = [(await loop.sock_accept(listener))[0] for _ in clients]
            for client, server in zip(clients, servers, strict=True):
                assert client.getsockname() == server.getpeername()
                client.close()
                server.close()

    run(main())


def test_datagrams(run: Run, udp: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        first, second = udp
        assert await loop.sock_sendto(first, b"hello", second.getsockname()) == 5
        assert await loop.sock_recvfrom(second, 100) == (b"hello", first.getsockname())
        waiting = asyncio.create_task(loop.sock_recvfrom(second, 100))
        await turns(3)
        assert not waiting.done()
        await loop.sock_sendto(first, bytearray(b"late"), second.getsockname())
        assert await waiting == (b"late", first.getsockname())
        buffer = bytearray(10)
        waiting_into = asyncio.create_task(loop.sock_recvfrom_into(second, buffer))
        await turns(3)
        await loop.sock_sendto(first, b"into", second.getsockname())
        assert await waiting_into == (4, first.getsockname())
        assert buffer[:4] == b"into"
        await loop.sock_sendto(first, b"part", second.getsockname())
        assert await loop.sock_recvfrom_into(second, buffer, 2) == (2, first.getsockname())

    run(main())


def test_cancelling_a_datagram_receive(run: Run, udp: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        first, second = udp
        task = asyncio.create_task(loop.sock_recvfrom(second, 100))
        await turns(3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await loop.sock_sendto(first, b"kept", second.getsockname())
        assert (await loop.sock_recvfrom(second, 100))[0] == b"kept"

    run(main())


def test_blocking_sockets_are_refused_in_debug_mode(run: Run) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        near, far = unix_pair()
        with near, far:
            buffer = bytearray(10)
            for call in (
                loop.sock_recv(near, 10),
                loop.sock_recv_into(near, buffer),
                loop.sock_recvfrom(near, 10),
                loop.sock_recvfrom_into(near, buffer),
                loop.sock_sendall(near, b"x"),
                loop.sock_sendto(near, b"x", ("127.0.0.1", 1)),
                loop.sock_connect(near, "path"),
                loop.sock_accept(near),
            ):
                with pytest.raises(ValueError, match="^the socket must be non-blocking$"):
                    await call

    run(main(), debug=True)


def test_a_stolen_datum_is_waited_for(run: Run, ends: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(loop.sock_recv(ends[0], 10))
        await turns(3)
        # Readable when the loop polls, but someone else was quicker.
        loop.call_soon(lambda: (ends[1].send(b"stolen"), ends[0].recv(10)))
        await turns(5)
        assert not task.done()
        ends[1].send(b"mine")
        assert await task == b"mine"

    run(main())


def test_many_sockets_at_once(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        async def talk(number: int) -> None:
            near, far = unix_pair() if number % 2 else tcp_pair()
            with near, far:
                near.setblocking(False)
                far.setblocking(False)
                for turn in range(5):
                    text = b"%d %d" % (number, turn)
                    receiving = asyncio.create_task(loop.sock_recv(far, 100))
                    await asyncio.sleep(0)
                    await loop.sock_sendall(near, text)
                    assert await receiving == text

        await asyncio.gather(*(talk(number) for number in range(40)))

    run(main())
