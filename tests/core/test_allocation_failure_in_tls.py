"""Memory runs out in TLS connections: what was accepted arrives whole and in order, or the connection ends.

As in test_allocation_failure_in_io: one allocation fails at a time. OpenSSL has memory of its own.
"""

import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest
import trustme

import glassloop

from .allocation import fails_at, one_by_one, run_fails_at, run_turn
from .test_allocation_failure_in_io import END, ENOUGH, LARGE, SMALL, WRITES, WRITTEN, Collects

MEDIUM = b"0123456789abcdef" * 300  # more than is joined to one record


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """One for our end, which is the server, and one for the far end."""
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("localhost").configure_cert(server)
    authority.configure_trust(client)
    return server, client


class Stream:
    """A loop with one TLS connection: its protocol, and the far end, which a test drives by hand."""

    def __init__(self, contexts: tuple[ssl.SSLContext, ssl.SSLContext], *, shakes_hands: bool = True) -> None:
        self.loop = glassloop.EventLoop()
        self.loop.set_exception_handler(lambda _loop, context: None)
        near, self.far = socket.socketpair()
        near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self.far.setblocking(False)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = contexts[1].wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        self.received = b""
        self.failure: BaseException | None = None
        self.protocol = Collects()
        self.connecting = self.loop.create_task(
            self.loop.connect_accepted_socket(lambda: self.protocol, near, ssl=contexts[0])
        )
        del near
        self.is_agreed = False
        self.transport: Any = None
        if shakes_hands:
            for _ in range(100):
                self.turn()
            self.transport, _ = self.connecting.result()
            assert self.is_agreed

    def turn(self) -> None:
        """Let both ends do what they can."""
        run_turn(self.loop)
        self.far_turn()

    def far_turn(self) -> None:
        """Let the far end receive, and send what that makes it say."""
        try:
            while part := self.far.recv(1 << 16):
                self.incoming.write(part)
        except (BlockingIOError, ConnectionResetError):
            pass
        try:
            if not self.is_agreed:
                self.tls.do_handshake()
                self.is_agreed = True
            while part := self.tls.read(1 << 16):
                self.received += part
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass
        except ssl.SSLError as exc:
            self.failure = exc
        self.send_outgoing()

    def send(self, data: bytes) -> None:
        """Send data from the far end."""
        self.tls.write(data)
        self.send_outgoing()

    def send_outgoing(self) -> None:
        if self.outgoing.pending:
            try:
                self.far.send(self.outgoing.read())
            except OSError:
                pass

    def finish(self) -> bytes:
        """What arrives at the far end once the transport has been told to close."""
        self.transport.close()
        for _ in range(1000):
            self.turn()
            if self.protocol.lost:
                break
            try:
                self.tls.unwrap()
            except ssl.SSLError:
                pass
            self.send_outgoing()
        assert self.protocol.lost, "the connection does not end"
        self.far_turn()
        self.end()
        return self.received

    def end(self) -> None:
        self.far.close()
        self.loop.close()


Contexts = tuple[ssl.SSLContext, ssl.SSLContext]


def fill(stream: Stream) -> bytes:
    """Write more than the kernel takes."""
    data = bytes(range(256)) * 400
    stream.transport.write(data)
    return data


@pytest.mark.parametrize("queued", [False, True], ids=["nothing queued", "something queued"])
@pytest.mark.parametrize("name", WRITES)
def test_writing(name: str, queued: bool, contexts: Contexts) -> None:
    failures = 0
    for start, stop in one_by_one():
        stream = Stream(contexts)
        before = fill(stream) if queued else b""
        error = fails_at(start, stop, WRITES[name], stream.transport)
        failures += error is not None or stream.transport.is_closing()
        stream.transport.write(END)
        ended = stream.transport.is_closing()
        received = stream.finish()
        whole = before + WRITTEN[name]
        if ended:
            assert whole.startswith(received), f"at allocation {start}"
        else:
            possible = [whole + END] + ([before + END] if error else [])
            assert received in possible, f"at allocation {start}: {error!r}"
            assert stream.failure is None
        if not error and not ended:
            break
        assert start < ENOUGH
    # What is queued is kept as it is; a list may have room for one more.
    assert failures > 0 or (queued and "bytes" in name)


@pytest.mark.parametrize("answer", [SMALL, MEDIUM, LARGE], ids=["small", "medium", "large"])
def test_answering(answer: bytes, contexts: Contexts) -> None:
    """What the protocol's method writes, in pieces, leaves when it returns."""
    failures = 0
    for start, stop in one_by_one():
        stream = Stream(contexts)
        accepted: list[bytes] = [b"", b""]

        def write(stream: Stream = stream, accepted: list[bytes] = accepted) -> None:
            for number in range(2):
                try:
                    stream.transport.write(answer)
                except MemoryError:
                    continue
                accepted[number] = answer

        def data_received(_: bytes, write: Callable[[], None] = write) -> None:
            write()

        stream.protocol.data_received = data_received  # type: ignore[method-assign,assignment]
        stream.send(b"question")
        error = run_fails_at(start, stop, stream.loop)
        run_turn(stream.loop, 2)
        failures += error is not None or stream.transport.is_closing()
        ended = stream.transport.is_closing()
        stream.transport.write(END)
        received = stream.finish()
        if ended or stream.failure is not None:
            assert (b"".join(accepted) + END).startswith(received), f"at allocation {start}"
            assert ended, f"at allocation {start}"
        else:
            assert received == b"".join(accepted) + END, f"at allocation {start}: {error!r}"
        if start > ENOUGH:
            break
    assert failures > 0


def test_receiving(contexts: Contexts) -> None:
    failures = 0
    for start, stop in one_by_one():
        stream = Stream(contexts)
        stream.send(b"one")
        error = run_fails_at(start, stop, stream.loop)
        failures += error is not None or stream.protocol.lost
        run_turn(stream.loop, 2)
        if not stream.transport.is_closing():
            stream.send(b"two")
        for _ in range(4):
            run_turn(stream.loop)
        received = bytes(stream.protocol.received[: stream.protocol.count])
        assert received == b"onetwo" or (stream.transport.is_closing() and received in {b"", b"one"}), (
            f"at allocation {start}: {received!r} {error!r}"
        )
        stream.finish()
        if start > ENOUGH:
            break
    assert failures > 0


def test_handshakes(contexts: Contexts) -> None:
    """It succeeds, or it fails and says so; never neither."""
    outcomes = set()
    for start, stop in one_by_one():
        stream = Stream(contexts, shakes_hands=False)
        run_turn(stream.loop)
        for _ in range(3):
            stream.far_turn()
            run_fails_at(start, stop, stream.loop)
        for _ in range(100):
            stream.turn()
        assert stream.connecting.done(), f"at allocation {start}"
        error = stream.connecting.exception()
        outcomes.add(type(error))
        if error is None:
            stream.transport, _ = stream.connecting.result()
            stream.transport.write(END)
            assert stream.finish() == END
        else:
            assert stream.far.recv(1 << 16) == b"" or stream.far.recv(1 << 16) == b""
            stream.end()
        if start > 2 * ENOUGH:
            break
    assert outcomes > {type(None)}
