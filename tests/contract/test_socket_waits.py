"""What waits in a sock_* call, beside other waits, readers, writers, transports, and closed descriptors."""

import asyncio
import os
import pathlib
import selectors
import socket
import ssl
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .support import LoopFactory, Run, noop, pattern, shrink_buffers, tcp_pair, turns, unix_pair, until

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends(pair: Pair) -> Pair:
    """The two ends of a connection, neither of which blocks."""
    for sock in pair:
        sock.setblocking(False)
    return pair


def fill(sock: socket.socket) -> int:
    """Send until the kernel takes no more; return how many bytes it took."""
    sent = 0
    while True:
        try:
            sent += sock.send(bytes(1 << 16))
        except BlockingIOError:
            return sent


def drain(sock: socket.socket, count: int) -> None:
    """Receive so many bytes, which are there or on their way."""
    while count:
        try:
            count -= len(sock.recv(min(count, 1 << 16)))
        except BlockingIOError:
            continue


def test_what_is_there_comes_without_a_turn(run: Run, ends: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        turned: list[int] = []
        ends[1].send(b"abcdef")
        await until(lambda: len(ends[0].recv(6, socket.MSG_PEEK)) == 6)
        loop.call_soon(turned.append, 1)
        for letter in (b"a", b"b", b"c"):
            assert await loop.sock_recv(ends[0], 1) == letter
        await loop.sock_sendall(ends[0], b"x")
        assert turned == []

    run(main())


def test_waiting_again_and_again(run: Run, ends: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for number in range(50):
            receiving = asyncio.create_task(loop.sock_recv(ends[0], 100))
            await turns(number % 4)
            ends[1].send(b"%d" % number)
            assert await receiving == b"%d" % number
            if number % 3 == 0:  # comes while nobody waits
                ends[1].send(b"early")
                await turns(3)
                assert await loop.sock_recv(ends[0], 100) == b"early"

    run(main())


def test_the_end_while_nobody_waits(run: Run, ends: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        receiving = asyncio.create_task(loop.sock_recv(ends[0], 10))
        await turns(2)
        ends[1].send(b"x")
        assert await receiving == b"x"
        ends[1].close()
        await turns(5)
        assert await loop.sock_recv(ends[0], 10) == b""

    run(main())


def test_a_second_wait_takes_the_place_of_the_first(run: Run, ends: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        first = asyncio.create_task(loop.sock_recv(ends[0], 10))
        await turns(3)
        second = asyncio.create_task(loop.sock_recv(ends[0], 10))
        await turns(3)
        ends[1].send(b"x")
        assert await second == b"x"
        await turns(3)
        assert not first.done()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert loop.remove_reader(ends[0]) is False

    run(main())


def test_cancelling_the_first_leaves_the_second(run: Run, ends: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        first = asyncio.create_task(loop.sock_recv(ends[0], 10))
        await turns(3)
        second = asyncio.create_task(loop.sock_recv(ends[0], 10))
        await turns(3)
        first.cancel()
        await turns(3)
        ends[1].send(b"x")
        assert await second == b"x"

    run(main())


def test_removing_the_reader_of_a_wait(run: Run, ends: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        receiving = asyncio.create_task(loop.sock_recv(ends[0], 10))
        await turns(3)
        assert loop.remove_writer(ends[0]) is False
        assert loop.remove_reader(ends[0].fileno()) is True
        assert loop.remove_reader(ends[0]) is False
        ends[1].send(b"x")
        await turns(5)
        assert not receiving.done()
        receiving.cancel()
        await asyncio.wait([receiving])
        assert await loop.sock_recv(ends[0], 10) == b"x"

    run(main())


def test_removing_the_writer_of_a_wait(run: Run, ends: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        fill(ends[0])
        sending = asyncio.create_task(loop.sock_sendall(ends[0], b"x"))
        await turns(3)
        assert loop.remove_reader(ends[0]) is False
        assert loop.remove_writer(ends[0]) is True
        assert loop.remove_writer(ends[0]) is False
        sending.cancel()
        await asyncio.wait([sending])

    run(main())


def test_a_reader_takes_the_place_of_a_wait(run: Run, ends: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        shrink_buffers(*ends)
        filled = fill(ends[0])
        sending = asyncio.create_task(loop.sock_sendall(ends[0], pattern(300_000)))
        receiving = asyncio.create_task(loop.sock_recv(ends[0], 10))
        await turns(3)
        read: list[bytes] = []
        loop.add_reader(ends[0], lambda: read.append(ends[0].recv(10)))
        ends[1].send(b"x")
        await until(lambda: read == [b"x"])
        assert not receiving.done()
        # Who waits to write is not disturbed.
        drain(ends[1], filled)
        got = b""
        while len(got) < 300_000:
            got += await loop.sock_recv(ends[1], 1 << 16)
        await sending
        assert got == pattern(300_000)
        assert loop.remove_reader(ends[0]) is True
        receiving.cancel()
        await asyncio.wait([receiving])

    run(main())


def test_a_wait_takes_the_place_of_a_reader(run: Run, ends: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        called: list[str] = []
        loop.add_reader(ends[0], called.append, "reader")
        loop.add_writer(ends[0], noop)
        receiving = asyncio.create_task(loop.sock_recv(ends[0], 10))
        await turns(3)
        ends[1].send(b"x")
        assert await receiving == b"x"
        assert called == []
        assert loop.remove_reader(ends[0]) is False
        assert loop.remove_writer(ends[0]) is True
        receiving = asyncio.create_task(loop.sock_recv(ends[0], 10))
        await turns(3)
        ends[1].send(b"y")
        assert await receiving == b"y"

    run(main())


def test_a_reader_after_a_wait(run: Run, ends: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        receiving = asyncio.create_task(loop.sock_recv(ends[0], 10))
        await turns(3)
        ends[1].send(b"x")
        await receiving
        called: list[str] = []
        ends[1].send(b"y")
        loop.add_reader(ends[0], called.append, "readable")
        await until(lambda: len(called) >= 3)  # as long as there is something: by its level
        assert loop.remove_reader(ends[0]) is True
        assert await loop.sock_recv(ends[0], 10) == b"y"

    run(main())


def test_a_transport_after_a_wait(run: Run, ends: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        receiving = asyncio.create_task(loop.sock_recv(ends[0], 10))
        await turns(3)
        ends[1].send(b"x")
        await receiving
        reader, writer = await asyncio.open_connection(sock=ends[0])
        ends[1].send(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.write(b"answer")
        assert await loop.sock_recv(ends[1], 10) == b"answer"
        writer.close()
        await writer.wait_closed()

    run(main())


def test_the_socket_of_a_transport_is_refused(run: Run, ends: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        _, writer = await asyncio.open_connection(sock=ends[0])
        await turns(2)
        with pytest.raises(RuntimeError, match=r"^File descriptor \d+ is used by transport "):
            await loop.sock_recv(ends[0], 10)
        writer.close()
        await writer.wait_closed()

    run(main())


@pytest.mark.parametrize("make", [tcp_pair, unix_pair])
def test_another_socket_under_the_same_number(run: Run, make: Any) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        numbers = set()
        for turn in range(6):
            near, far = make()
            with near, far:
                near.setblocking(False)
                numbers.add(near.fileno())
                receiving = asyncio.create_task(loop.sock_recv(near, 10))
                await turns(3)
                far.send(b"%d" % turn)
                assert await asyncio.wait_for(receiving, 10) == b"%d" % turn
        assert len(numbers) < 6

    run(main())


def test_a_closed_number_serves_readers_and_transports(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        near, far = unix_pair()
        near.setblocking(False)
        receiving = asyncio.create_task(loop.sock_recv(near, 10))
        await turns(3)
        far.send(b"x")
        await receiving
        copy = os.dup(near.fileno())  # the kernel knows the socket, and who watches it, as before
        number = near.fileno()
        near.close()
        one, other = unix_pair()
        with one, other, far:
            if one.fileno() != number:
                os.dup2(one.fileno(), number)
            called: list[int] = []
            loop.add_reader(number, lambda: called.append(len(os.read(number, 10))))
            for _ in range(5):
                far.send(b"to the copy")
                await turns(3)
            other.send(b"xyz")
            await until(lambda: sum(called) == 3)
            assert loop.remove_reader(number) is True
            os.close(copy)
            if one.fileno() != number:
                os.close(number)

    # A reader of the number is not called for the closed socket's sake, or only finds nothing to read.
    run(main())


def test_closing_a_socket_while_somebody_waits(run: Run, ends: Pair) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        if isinstance(loop._selector, selectors.SelectSelector):
            pytest.skip("select(2) fails where a descriptor is closed")
        receiving = asyncio.create_task(loop.sock_recv(ends[0], 10))
        await turns(3)
        ends[0].close()
        await turns(3)
        assert not receiving.done()
        receiving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await receiving

    run(main())


def test_a_closed_socket(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        sock = socket.socket()
        sock.setblocking(False)
        sock.close()
        for call in (
            loop.sock_recv(sock, 1),
            loop.sock_recv_into(sock, bytearray(1)),
            loop.sock_recvfrom(sock, 1),
            loop.sock_recvfrom_into(sock, bytearray(1)),
            loop.sock_sendall(sock, b"x"),
            loop.sock_sendto(sock, b"x", ("127.0.0.1", 1)),
            loop.sock_connect(sock, ("127.0.0.1", 1)),
            loop.sock_accept(sock),
        ):
            with pytest.raises(OSError, match="Bad file descriptor"):
                await call

    run(main())


def test_wrong_arguments(run: Run, ends: Pair) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        for call, error, text in (
            (loop.sock_recv(ends[0], "1"), TypeError, "'str' object cannot be interpreted as an integer"),
            (loop.sock_recv(ends[0], -1), ValueError, "negative buffersize in recv"),
            (loop.sock_recv(ends[0], 10**30), OverflowError, "too large"),
            (loop.sock_recv_into(ends[0], b"x"), TypeError, "read-write bytes-like object"),
            (loop.sock_recv_into(ends[0], "x"), TypeError, "read-write bytes-like object"),
            (loop.sock_recvfrom(ends[0], -1), ValueError, "negative buffersize in recvfrom"),
            (loop.sock_sendall(ends[0], "x"), TypeError, "a bytes-like object is required, not 'str'"),
            (loop.sock_sendall(ends[0], memoryview(b"abcd")[::2]), BufferError, "not C-contiguous"),
        ):
            with pytest.raises(error, match=text):
                await call
        ends[1].send(b"kept")
        await turns(2)
        assert await loop.sock_recv(ends[0], 0) == b""
        assert await loop.sock_recv(ends[0], 10) == b"kept"

    run(main())


def test_tls_sockets_are_refused(run: Run) -> None:
    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        near, far = unix_pair()
        with (
            near,
            far,
            ssl.create_default_context().wrap_socket(
                near, server_hostname="x", do_handshake_on_connect=False
            ) as sock,
        ):
            sock.setblocking(False)
            for call in (
                loop.sock_recv(sock, 1),
                loop.sock_sendall(sock, b"x"),
                loop.sock_accept(sock),
                loop.sock_connect(sock, "x"),
            ):
                with pytest.raises(TypeError, match="^Socket cannot be of type SSLSocket$"):
                    await call

    run(main())


def test_a_socket_with_a_time_limit(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        near, far = unix_pair()
        with near, far:
            near.settimeout(0.01)
            with pytest.raises(TimeoutError):
                await loop.sock_recv(near, 10)
            far.send(b"x")
            assert await loop.sock_recv(near, 10) == b"x"

    run(main())


def test_a_subclass_is_obeyed(run: Run) -> None:
    class Shouting(socket.socket):
        def recv(self, *arguments: Any) -> bytes:
            return super().recv(*arguments).upper()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        near, far = unix_pair()
        with far, Shouting(fileno=near.detach()) as sock:
            sock.setblocking(False)
            receiving = asyncio.create_task(loop.sock_recv(sock, 10))
            await turns(3)
            far.send(b"loud")
            assert await receiving == b"LOUD"

    run(main())


@pytest.mark.parametrize(
    "method", ["recv", "recv_into", "recvfrom", "send", "sendto", "recvfrom_into", "accept"]
)
def test_a_patched_method_is_called(run: Run, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As test tools do that guard the network or count calls; and no longer, once they have put it back."""
    calls: list[str] = []
    original = getattr(socket.socket, method)

    def guarded(self: socket.socket, *arguments: Any) -> Any:
        calls.append(method)
        return original(self, *arguments)

    async def use(stream: Pair, datagrams: Pair, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(stream[0], b"abcd")
        assert await loop.sock_recv(stream[1], 2) == b"ab"
        assert await loop.sock_recv_into(stream[1], bytearray(2)) == 2
        for _ in range(2):
            await loop.sock_sendto(datagrams[0], b"x", datagrams[1].getsockname())
        assert (await loop.sock_recvfrom(datagrams[1], 9))[0] == b"x"
        assert (await loop.sock_recvfrom_into(datagrams[1], bytearray(9)))[0] == 1
        client = socket.create_connection(listener.getsockname())
        accepted, _ = await loop.sock_accept(listener)
        accepted.close()
        client.close()

    async def main() -> None:
        stream = socket.socketpair()
        datagrams = socket.socket(type=socket.SOCK_DGRAM), socket.socket(type=socket.SOCK_DGRAM)
        listener = socket.create_server(("127.0.0.1", 0))
        datagrams[1].bind(("127.0.0.1", 0))
        for sock in (*stream, *datagrams, listener):
            sock.setblocking(False)
        await use(stream, datagrams, listener)
        assert calls == []
        with monkeypatch.context() as patch:
            patch.setattr(socket.socket, method, guarded)
            await use(stream, datagrams, listener)
        count = len(calls)
        assert count > 0
        await use(stream, datagrams, listener)
        assert len(calls) == count
        for sock in (*stream, *datagrams, listener):
            sock.close()

    run(main())


def test_nothing_happens_before_it_is_awaited(run: Run, ends: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        sending = loop.sock_sendall(ends[0], b"x")
        assert asyncio.iscoroutine(sending)
        await turns(2)
        with pytest.raises(BlockingIOError):
            ends[1].recv(1)
        sending.close()

    run(main())


def test_a_large_receive(run: Run, ends: Pair) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        data = pattern(2_000_000)
        sending = asyncio.create_task(loop.sock_sendall(ends[1], data))
        got = b""
        while len(got) < len(data):
            got += await loop.sock_recv(ends[0], 1_000_000)
        await sending
        assert got == data

    run(main())


def test_every_byte_of_an_array_is_sent(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        near, far = unix_pair()
        with near, far:
            near.setblocking(False)
            await loop.sock_sendall(near, memoryview(bytes(range(16))).cast("B", (4, 4)).cast("B"))
            assert far.recv(100) == bytes(range(16))

    run(main())


def test_sendfile_over_a_socket_of_ones_own(run: Run, tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        data = pattern(1_500_000)
        path = tmp_path / "file"
        path.write_bytes(data)
        near, far = tcp_pair()
        with near, far, path.open("rb") as file:
            near.setblocking(False)
            far.setblocking(False)
            sending = asyncio.create_task(loop.sock_sendfile(near, file))
            got = b""
            while len(got) < len(data):
                got += await loop.sock_recv(far, 1 << 18)
            assert await sending == len(data) and got == data
            receiving = asyncio.create_task(loop.sock_recv(near, 10))
            await turns(2)
            far.send(b"thanks")
            assert await receiving == b"thanks"
            assert file.tell() == len(data)
            file.seek(10)
            assert await loop.sock_sendfile(near, file, 5, 20) == 20
            assert far.recv(100) == data[5:25]

    run(main())


def test_connecting_and_its_errors_again(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.setblocking(False)
            for _ in range(3):
                with socket.socket() as client:
                    client.setblocking(False)
                    await loop.sock_connect(client, listener.getsockname())
                    server, address = await loop.sock_accept(listener)
                    with server:
                        assert address == client.getsockname()
                        await loop.sock_sendall(server, b"hello")
                        assert await loop.sock_recv(client, 10) == b"hello"
            with socket.socket() as client:
                client.setblocking(False)
                with pytest.raises(TypeError):
                    await loop.sock_connect(client, 42)  # type: ignore[arg-type]

    run(main())


def test_cancelling_a_connect(run: Run, tmp_path: pathlib.Path) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as client:
            client.setblocking(False)
            connecting = asyncio.create_task(loop.sock_connect(client, ("10.255.255.1", 9)))
            await turns(2)
            if connecting.done():
                assert connecting.exception() is not None  # there is no network: it is refused at once
                return
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting
            assert loop.remove_writer(client) is False

    run(main())


def test_a_receive_that_always_succeeds_lets_nobody_else_run(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        near, far = unix_pair()
        with near, far:
            near.setblocking(False)
            far.send(bytes(1000))
            others: list[int] = []
            loop.call_soon(others.append, 1)
            for _ in range(1000):
                assert len(await loop.sock_recv(near, 1)) == 1
            assert others == []

    run(main())


def test_closing_the_loop_while_somebody_waits(loop_factory: LoopFactory) -> None:
    loop = loop_factory()
    near, far = unix_pair()
    with near, far:
        near.setblocking(False)
        receiving = loop.create_task(loop.sock_recv(near, 10))
        loop.run_until_complete(asyncio.sleep(0.001))
        receiving.cancel()
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(receiving)
        loop.close()
        with pytest.raises(RuntimeError, match="^Event loop is closed$"):
            loop.call_soon(noop)


class _Steps:
    """What one end of a connection does, at random: the other end counts with it."""

    def __init__(self, steps: list[tuple[str, int]]) -> None:
        self.steps = steps
        self.near, self.far = unix_pair()
        self.near.setblocking(False)
        self.far.setblocking(False)

    async def follow(self) -> list[object]:
        loop = asyncio.get_running_loop()
        told: list[object] = []
        waiting: asyncio.Task[bytes] | None = None
        with self.near, self.far:
            for step, number in self.steps:
                if step == "send":
                    self.far.send(b"%d," % number)
                elif step == "turn":
                    await turns(number % 4)
                elif step == "wait" and waiting is None:
                    waiting = asyncio.create_task(loop.sock_recv(self.near, number + 1))
                elif step == "cancel" and waiting is not None:
                    waiting.cancel()
                    told.append(*await asyncio.gather(waiting, return_exceptions=True))
                    waiting = None
                elif step == "reader":
                    loop.add_reader(self.near, noop)
                    told.append(loop.remove_reader(self.near))
                elif step == "done" and waiting is not None:
                    told.append(waiting.done())
                    if waiting.done():
                        told.append(waiting.result())
                        waiting = None
            if waiting is not None:
                waiting.cancel()
                await asyncio.wait([waiting])
        return [repr(one) for one in told]


_STEP = st.tuples(
    st.sampled_from(["send", "turn", "turn", "wait", "cancel", "reader", "done"]), st.integers(0, 9)
)


@settings(deadline=None, max_examples=150)
@given(st.lists(_STEP, max_size=30))
def test_random_steps_are_as_on_asyncio(steps: list[tuple[str, int]]) -> None:
    import glassloop

    told = []
    for make in (asyncio.SelectorEventLoop, glassloop.EventLoop):
        with asyncio.Runner(loop_factory=make) as runner:

            async def main() -> list[object]:
                return await _Steps(steps).follow()

            told.append(runner.run(main()))
    assert told[0] == told[1]


@pytest.fixture
def no_files_left() -> Iterator[None]:
    """Descriptors that a test has left open are its error."""
    before = len(os.listdir("/proc/self/fd"))
    yield
    assert len(os.listdir("/proc/self/fd")) <= before + 1


def test_accepted_sockets_are_closed_with_their_last_reference(run: Run, no_files_left: None) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as listener:
            path = f"{folder}/socket"
            listener.bind(path)
            listener.listen(10)
            listener.setblocking(False)
            for _ in range(20):
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(path)
                    server, _ = await loop.sock_accept(listener)
                    receiving = asyncio.create_task(loop.sock_recv(server, 1))
                    await turns(2)
                    client.send(b"x")
                    assert await receiving == b"x"
                    server.close()

    run(main())
