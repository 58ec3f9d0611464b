"""Datagrams that come together: what the protocol does in their midst; addresses, errors, order."""

import asyncio
import errno
import pathlib
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .support import PATIENCE, Context, Loop, LoopFactory, Run, turns, until

LOCAL = ("127.0.0.1", 0)
COUNT = 100  # more than one batch


class Receiver(asyncio.DatagramProtocol):
    """Records what comes, and does something with each datagram."""

    def __init__(self, action: Callable[["Receiver", bytes, Any], None] | None = None) -> None:
        self.got: list[tuple[bytes, Any]] = []
        self.errors: list[Exception] = []
        self.calls: list[str] = []
        self.action = action
        self.transport: Any = None
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.got.append((data, addr))
        if self.action is not None:
            self.action(self, data, addr)

    def error_received(self, exc: Exception) -> None:
        self.errors.append(exc)

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    """A UDP socket of the test's own, which blocks for a while."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(LOCAL)
        sock.settimeout(PATIENCE)
        yield sock


async def receiver(
    action: Callable[[Receiver, bytes, Any], None] | None = None, **options: Any
) -> tuple[Any, Receiver, Any]:
    """Make an endpoint on the loopback; return its transport, protocol and address."""
    loop = asyncio.get_running_loop()
    options = options or {"local_addr": LOCAL}
    transport, protocol = await loop.create_datagram_endpoint(lambda: Receiver(action), **options)
    return transport, protocol, transport.get_extra_info("sockname")


def numbered(count: int = COUNT) -> list[bytes]:
    """So many different datagrams."""
    return [b"%d" % number for number in range(count)]


def test_many_at_once(run: Run, peer: socket.socket) -> None:
    async def main() -> None:
        transport, protocol, address = await receiver()
        for data in numbered():
            peer.sendto(data, address)
        await until(lambda: len(protocol.got) == COUNT)
        assert protocol.got == [(data, peer.getsockname()) for data in numbered()]
        transport.close()

    run(main())


def test_answers_keep_their_order(run: Run, peer: socket.socket) -> None:
    def answer(protocol: Receiver, data: bytes, addr: Any) -> None:
        protocol.transport.sendto(data + b" once", addr)
        protocol.transport.sendto(bytearray(data + b" twice"), addr)
        protocol.transport.sendto(memoryview(data + bytes(4000)), addr)

    async def main() -> None:
        transport, _, address = await receiver(answer)
        for data in numbered(20):
            peer.sendto(data, address)
        await asyncio.sleep(0)
        for data in numbered(20):
            for end in (b" once", b" twice", bytes(4000)):
                assert await asyncio.to_thread(peer.recv, 5000) == data + end
        transport.close()

    run(main())


def test_a_buffer_that_is_changed_after_it_was_sent(run: Run, peer: socket.socket) -> None:
    def answer(protocol: Receiver, data: bytes, addr: Any) -> None:
        buffer = bytearray(data)
        protocol.transport.sendto(buffer, addr)
        buffer[:] = bytes(len(buffer))

    async def main() -> None:
        transport, _, address = await receiver(answer)
        for data in numbered(10):
            peer.sendto(data, address)
        for data in numbered(10):
            assert await asyncio.to_thread(peer.recv, 100) == data
        transport.close()

    run(main())


@pytest.mark.parametrize("end", ["close", "abort"])
def test_the_end_in_the_midst(run: Run, peer: socket.socket, end: str) -> None:
    def answer_and_end(protocol: Receiver, data: bytes, addr: Any) -> None:
        protocol.transport.sendto(b"answer to " + data, addr)
        if data == b"3":
            getattr(protocol.transport, end)()

    async def main() -> None:
        _, protocol, address = await receiver(answer_and_end)
        for data in numbered(20):
            peer.sendto(data, address)
        assert await protocol.lost is None
        assert [data for data, _ in protocol.got] == numbered(4)
        for data in numbered(4):
            assert await asyncio.to_thread(peer.recv, 100) == b"answer to " + data
        assert protocol.errors == []

    run(main())


def test_errors_in_the_midst(run: Run, peer: socket.socket, errors: list[Context]) -> None:
    def fail(protocol: Receiver, data: bytes, addr: Any) -> None:
        if int(data) % 10 == 7:
            raise LookupError(data.decode())
        protocol.transport.sendto(data, addr)

    async def main() -> None:
        transport, protocol, address = await receiver(fail)
        for data in numbered(40):
            peer.sendto(data, address)
        await until(lambda: len(protocol.got) == 40)
        assert [str(error["exception"]) for error in errors] == ["7", "17", "27", "37"]
        assert all(error["message"].startswith("Exception in callback ") for error in errors)
        for data in numbered(40):
            if int(data) % 10 != 7:
                assert await asyncio.to_thread(peer.recv, 100) == data
        assert not transport.is_closing()
        transport.close()

    run(main())


def test_pausing_in_the_midst(run: Run, peer: socket.socket) -> None:
    def pause(protocol: Receiver, data: bytes, addr: Any) -> None:
        if int(data) % 5 == 4:
            protocol.transport.pause_reading()

    async def main() -> None:
        transport, protocol, address = await receiver(pause)
        for data in numbered(40):
            peer.sendto(data, address)
        for pauses in range(1, 9):
            await until(lambda: len(protocol.got) == 5 * pauses)  # noqa: B023 - awaited at once
            await turns(5)
            assert len(protocol.got) == 5 * pauses
            assert not transport.is_reading()
            transport.resume_reading()
        await turns(5)
        assert [data for data, _ in protocol.got] == numbered(40)
        transport.close()

    run(main())


def test_closing_while_paused_drops_the_rest(run: Run, peer: socket.socket) -> None:
    def pause(protocol: Receiver, data: bytes, addr: Any) -> None:
        protocol.transport.pause_reading()

    async def main() -> None:
        transport, protocol, address = await receiver(pause)
        for data in numbered(10):
            peer.sendto(data, address)
        await until(lambda: protocol.got)
        transport.close()
        assert await protocol.lost is None
        await turns(5)
        assert len(protocol.got) == 1

    run(main())


def test_an_interrupt_in_the_midst(loop: Loop, peer: socket.socket) -> None:
    def interrupt(protocol: Receiver, data: bytes, addr: Any) -> None:
        if data == b"3":
            raise KeyboardInterrupt

    async def make() -> tuple[Any, Receiver, Any]:
        return await receiver(interrupt)

    transport, protocol, address = loop.run_until_complete(make())
    for data in numbered(20):
        peer.sendto(data, address)

    async def wait(count: int) -> None:
        await until(lambda: len(protocol.got) >= count)

    waiting = loop.create_task(wait(4))
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(waiting)
    loop.run_until_complete(wait(20))
    assert [data for data, _ in protocol.got] == numbered(20)
    loop.run_until_complete(waiting)
    transport.close()
    loop.run_until_complete(protocol.lost)


def test_a_new_protocol_in_the_midst(run: Run, peer: socket.socket) -> None:
    async def main() -> None:
        second = Receiver()

        def change(protocol: Receiver, data: bytes, addr: Any) -> None:
            if data == b"3":
                protocol.transport.set_protocol(second)

        transport, protocol, address = await receiver(change)
        for data in numbered(10):
            peer.sendto(data, address)
        await until(lambda: len(second.got) == 6)
        assert [data for data, _ in protocol.got + second.got] == numbered(10)
        transport.close()

    run(main())


def test_another_loop_that_receives_in_the_midst(
    run: Run, loop_factory: LoopFactory, peer: socket.socket
) -> None:
    """Its batch must not overwrite what is still to be delivered of this one."""
    import threading

    def run_another(protocol: Receiver, data: bytes, addr: Any) -> None:
        if data != b"1":
            return

        async def other() -> None:
            transport, protocol, address = await receiver()
            for number in range(20):
                peer.sendto(b"other %d" % number, address)
            await until(lambda: len(protocol.got) == 20)
            transport.close()

        another = loop_factory()
        thread = threading.Thread(target=lambda: another.run_until_complete(other()))
        thread.start()
        thread.join(PATIENCE)
        assert not thread.is_alive()

    async def main() -> None:
        transport, protocol, address = await receiver(run_another)
        for data in numbered(20):
            peer.sendto(data, address)
        await until(lambda: len(protocol.got) == 20)
        assert [data for data, _ in protocol.got] == numbered(20)
        transport.close()

    run(main())


def test_a_datagram_too_big_in_the_midst(run: Run, peer: socket.socket) -> None:
    def answer(protocol: Receiver, data: bytes, addr: Any) -> None:
        protocol.transport.sendto(data, addr)
        if data == b"2":
            protocol.transport.sendto(bytes(70_000), addr)

    async def main() -> None:
        transport, protocol, address = await receiver(answer)
        for data in numbered(5):
            peer.sendto(data, address)
        for data in numbered(5):
            assert await asyncio.to_thread(peer.recv, 100) == data
        assert [error.errno for error in protocol.errors if isinstance(error, OSError)] == [errno.EMSGSIZE]
        assert not transport.is_closing()
        transport.close()

    run(main())


def test_an_address_that_refuses_in_the_midst(run: Run, peer: socket.socket) -> None:
    """Broadcast without SO_BROADCAST: the error is this datagram's alone."""

    def answer(protocol: Receiver, data: bytes, addr: Any) -> None:
        protocol.transport.sendto(data, ("255.255.255.255", 9) if data == b"2" else addr)

    async def main() -> None:
        transport, protocol, address = await receiver(answer)
        for data in numbered(5):
            peer.sendto(data, address)
        for data in (b"0", b"1", b"3", b"4"):
            assert await asyncio.to_thread(peer.recv, 100) == data
        await until(lambda: protocol.errors)
        assert len(protocol.errors) == 1 and isinstance(protocol.errors[0], OSError)
        assert not transport.is_closing()
        transport.close()

    run(main())


def test_broadcast(run: Run) -> None:
    async def main() -> None:
        target, protocol, address = await receiver()
        loop = asyncio.get_running_loop()
        sender, _ = await loop.create_datagram_endpoint(Receiver, local_addr=LOCAL, allow_broadcast=True)
        sender.sendto(b"to all", ("127.255.255.255", address[1]))
        sender.sendto(b"to one", address)
        await until(lambda: protocol.got)
        assert b"to one" in [data for data, _ in protocol.got]
        target.close()
        sender.close()

    run(main())


@pytest.mark.parametrize(
    "address",
    [
        ("127.0.0.1", 70000),
        ("127.0.0.1", -1),
        ("127.0.0.1", "http"),
        ("::1", 9),
        "127.0.0.1",
        None,
        ("127.0.0.1",),
    ],
)
def test_wrong_addresses(loop_factory: LoopFactory, address: Any, errors: list[Context]) -> None:
    """The same error, in the same way, as where Python's socket is given the address."""

    async def main() -> tuple[str, list[str]]:
        transport, protocol, _ = await receiver()
        transport.sendto(b"x", address)
        lost = await asyncio.wait_for(protocol.lost, 1) if transport.is_closing() else "open"
        transport.close()
        return repr(lost), [repr(error) for error in protocol.errors]

    def expected() -> Any:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            try:
                sock.sendto(b"x", address)
            except OSError as exc:
                return "'open'", [repr(exc)]
            except Exception as exc:  # noqa: BLE001 - it is compared
                return repr(exc), []
            return "'open'", []

    loop = loop_factory()
    assert loop.run_until_complete(main()) == expected()


def test_ipv6_and_its_scope(run: Run) -> None:
    async def main() -> None:
        try:
            transport, protocol, address = await receiver(local_addr=("::1", 0))
        except OSError:
            pytest.skip("no IPv6 here")
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as peer:
            peer.bind(("::1", 0))
            peer.settimeout(PATIENCE)
            for data in numbered(5):
                peer.sendto(data, address)
            await until(lambda: len(protocol.got) == 5)
            assert [addr for _, addr in protocol.got] == [peer.getsockname()] * 5
            for to in (
                peer.getsockname(),
                peer.getsockname()[:2],
                protocol.got[0][1],
                ("::1", *peer.getsockname()[1:3]),
            ):
                transport.sendto(b"hello", to)
                assert await asyncio.to_thread(peer.recv, 10) == b"hello"
        transport.close()

    run(main())


def test_unix_datagrams_with_and_without_names(run: Run, tmp_path: pathlib.Path) -> None:
    def answer(protocol: Receiver, data: bytes, addr: Any) -> None:
        if addr:
            protocol.transport.sendto(data + b"!", addr)

    async def main() -> None:
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as named,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nameless,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mine,
        ):
            named.bind(str(tmp_path / "named"))
            named.settimeout(PATIENCE)
            mine.bind(str(tmp_path / "mine"))
            mine.setblocking(False)
            transport, protocol, address = await receiver(answer, sock=mine)
            for number in range(4):
                named.sendto(b"named %d" % number, address)
                nameless.sendto(b"nameless", address)
            named.sendto(bytes(150_000), address)
            await until(lambda: len(protocol.got) == 9)
            expected = []
            for number in range(4):
                expected += [(b"named %d" % number, str(tmp_path / "named")), (b"nameless", None)]
            assert protocol.got == [*expected, (bytes(150_000), str(tmp_path / "named"))]
            for number in range(4):
                assert await asyncio.to_thread(named.recv, 100) == b"named %d!" % number
            transport.close()
            await protocol.lost

    run(main())


def test_answers_wait_where_there_is_no_room(run: Run, tmp_path: pathlib.Path) -> None:
    """Unlike UDP, a Unix socket says so."""

    def answer(protocol: Receiver, data: bytes, addr: Any) -> None:
        for number in range(40):
            protocol.transport.sendto(data + b" %d" % number, addr)

    async def main() -> None:
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as far,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as mine,
        ):
            far.bind(str(tmp_path / "far"))
            far.settimeout(PATIENCE)
            mine.bind(str(tmp_path / "mine"))
            mine.connect(str(tmp_path / "far"))
            mine.setblocking(False)
            transport, protocol, address = await receiver(answer, sock=mine)
            for data in numbered(5):
                far.sendto(data, address)
            await until(lambda: len(protocol.got) == 5)
            assert transport.get_write_buffer_size() > 0
            transport.close()
            for data in numbered(5):
                for number in range(40):
                    assert await asyncio.to_thread(far.recv, 100) == data + b" %d" % number
            assert await protocol.lost is None

    run(main())


@pytest.mark.skipif(sys.version_info < (3, 13), reason="an empty datagram is sent since Python 3.13")
def test_empty_ones_among_others(run: Run, peer: socket.socket) -> None:
    async def main() -> None:
        transport, protocol, address = await receiver(
            lambda protocol, data, addr: protocol.transport.sendto(data, addr)
        )
        sent = [b"", b"a", b"", b"", b"b"]
        for data in sent:
            peer.sendto(data, address)
        for data in sent:
            assert await asyncio.to_thread(peer.recv, 10) == data
        assert [data for data, _ in protocol.got] == sent
        transport.close()

    run(main())


def test_many_peers_keep_their_addresses(run: Run) -> None:
    async def main() -> None:
        transport, protocol, address = await receiver(
            lambda protocol, data, addr: protocol.transport.sendto(data, addr)
        )
        peers = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(200)]
        try:
            for turn in range(3):
                for number, sock in enumerate(peers):
                    sock.settimeout(PATIENCE)
                    sock.sendto(b"%d %d" % (turn, number), address)
                    if number % 50 == 49:
                        await until(lambda: len(protocol.got) == turn * 200 + number + 1)  # noqa: B023
                for number, sock in enumerate(peers):
                    assert await asyncio.to_thread(sock.recv, 100) == b"%d %d" % (turn, number)
            for number, sock in enumerate(peers):
                assert protocol.got[number] == (b"0 %d" % number, ("127.0.0.1", sock.getsockname()[1]))
        finally:
            for sock in peers:
                sock.close()
        transport.close()

    run(main())


def test_nobody_listens_in_the_midst(run: Run, peer: socket.socket) -> None:
    """What the network says of an earlier datagram comes between others, and ends nothing."""

    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
            gone.bind(LOCAL)
            nowhere = gone.getsockname()
        transport, protocol, _ = await receiver(remote_addr=nowhere)
        for _ in range(5):
            transport.sendto(b"anyone?")
            await turns(2)
        await until(lambda: protocol.errors)
        assert all(isinstance(error, ConnectionRefusedError) for error in protocol.errors)
        assert not transport.is_closing()
        transport.close()
        assert await protocol.lost is None

    run(main())


_ACTION = st.sampled_from(
    ["answer", "answer twice", "large", "raise", "pause", "nothing", "error", "other buffer"]
)


@settings(deadline=None, max_examples=60)
@given(st.lists(_ACTION, min_size=1, max_size=40), st.integers(0, 45))
def test_random_batches_are_as_on_asyncio(actions: list[str], close_at: int) -> None:
    import glassloop

    told = [_follow(make, actions, close_at) for make in (asyncio.SelectorEventLoop, glassloop.EventLoop)]
    assert told[0] == told[1]


def _follow(make: Callable[[], Loop], actions: list[str], close_at: int) -> list[object]:
    """Send a datagram for each action to an endpoint that acts so, and return all that came of it."""

    def act(protocol: Receiver, data: bytes, addr: Any) -> None:
        transport, number = protocol.transport, int(data)
        action = actions[number]
        if action in ("answer", "answer twice"):
            transport.sendto(data, addr)
        if action == "answer twice":
            transport.sendto(data + b"again", addr)
        elif action == "large":
            transport.sendto(data + bytes(3000), addr)
        elif action == "error":
            transport.sendto(bytes(70_000), addr)
        elif action == "other buffer":
            transport.sendto(bytearray(data), ("127.0.0.1", addr[1]))
        elif action == "pause":
            transport.pause_reading()
            asyncio.get_running_loop().call_soon(transport.resume_reading)
        if number == close_at:
            transport.close()
        if action == "raise":
            raise LookupError(number)

    async def main() -> list[object]:
        reported: list[str] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: reported.append(repr(context["exception"]))
        )
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind(LOCAL)
            transport, protocol, address = await receiver(act)
            for number in range(len(actions)):
                peer.sendto(b"%d" % number, address)
            expected = min(close_at + 1, len(actions))
            await until(lambda: len(protocol.got) == expected)
            transport.close()
            await protocol.lost
            peer.setblocking(False)
            answers = []
            while True:
                try:
                    answers.append(peer.recv(5000))
                except BlockingIOError:
                    break
        got = [data for data, _ in protocol.got]
        return [got, answers, reported, [repr(error) for error in protocol.errors]]

    with asyncio.Runner(loop_factory=make) as runner:
        return runner.run(main())
