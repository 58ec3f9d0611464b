"""Where create_connection() makes the transport at once, and what it leaves out there."""

import asyncio
import contextlib
import os
import resource
import selectors
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

import glassloop

NAMES = ("create_connection", "_ensure_resolved", "_connect_sock", "sock_connect")


async def connect(port: int) -> None:
    """Open a connection and close it."""
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, "127.0.0.1", port)
    transport.close()
    await asyncio.sleep(0)


def calls_made(loop: asyncio.AbstractEventLoop) -> list[str]:
    """The methods of asyncio's that are called on the way to a transport."""
    calls: list[str] = []

    def note(frame: FrameType, event: str, _argument: Any) -> None:
        name = frame.f_code.co_name
        if event == "call" and name in NAMES and name not in calls:
            if os.path.dirname(frame.f_code.co_filename) == os.path.dirname(asyncio.__file__):
                calls.append(name)

    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.closing(loop):
        sys.setprofile(note)
        try:
            loop.run_until_complete(connect(server.getsockname()[1]))
        finally:
            sys.setprofile(None)
    return calls


def test_an_address_takes_no_step_of_asyncios() -> None:
    """If this fails on a new Python: asyncio or socket has changed; see _io/connector.py."""
    assert calls_made(glassloop.EventLoop()) == []


def test_asyncio_takes_these() -> None:
    assert calls_made(asyncio.SelectorEventLoop()) == [*NAMES]


def in_debug_mode() -> asyncio.AbstractEventLoop:
    loop = glassloop.EventLoop()
    loop.set_debug(True)
    return loop


def of_a_subclass() -> asyncio.AbstractEventLoop:
    class Loop(glassloop.EventLoop):
        async def sock_connect(self, sock: socket.socket, address: Any) -> None:
            await glassloop.EventLoop.sock_connect(self, sock, address)

    return Loop()


@pytest.mark.parametrize(
    "make_loop",
    [in_debug_mode, of_a_subclass, lambda: glassloop.EventLoop(selectors.SelectSelector())],
    ids=["debug", "subclass", "select"],
)
def test_any_other_loop_takes_them_all(make_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    assert calls_made(make_loop())[:3] == [*NAMES[:3]]


def test_a_subclass_that_connects_as_its_base_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class Loop(glassloop.EventLoop):
        pass

    assert calls_made(Loop()) == []
    monkeypatch.setattr(Loop, "sock_connect", of_a_subclass().__class__.sock_connect, raising=False)
    assert calls_made(Loop())[:3] == [*NAMES[:3]]
    monkeypatch.undo()
    assert calls_made(Loop()) == []


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_no_descriptor_is_left_by_what_fails() -> None:
    def factory() -> asyncio.Protocol:
        raise LookupError("no")

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            before = open_descriptors()
            for _ in range(20):
                with pytest.raises(LookupError):
                    await asyncio.get_running_loop().create_connection(factory, "127.0.0.1", port)
            assert open_descriptors() == before
        for _ in range(20):
            with pytest.raises(ConnectionRefusedError):
                await connect(port)
        assert open_descriptors() == before - 1

    glassloop.run(main())


def test_without_a_descriptor_to_spare() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            spare = os.dup(0)
            os.close(spare)
            resource.setrlimit(resource.RLIMIT_NOFILE, (spare, hard))
            try:
                with pytest.raises(OSError, match="Too many open files"):
                    await connect(port)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            await connect(port)

    glassloop.run(main())


def test_a_socket_is_made_for_whoever_asks() -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_connection(asyncio.Protocol, *server.getsockname())
            sock = transport.get_extra_info("socket")
            peer, address = server.accept()
            with peer:
                assert sock.getsockname() == address and sock.getpeername() == server.getsockname()
                transport.write(b"hello")
                peer.settimeout(10)
                assert peer.recv(10) == b"hello"
                transport.close()
                await asyncio.sleep(0)
                assert sock.fileno() == -1
                assert peer.recv(10) == b""

    glassloop.run(main())
