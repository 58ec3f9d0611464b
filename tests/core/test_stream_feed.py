"""Where asyncio's StreamReader is fed without Python calls in between, and where it is not."""

import asyncio
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

import glassloop
from glassloop._core import native_status

NAMES = ("data_received", "feed_data", "_wakeup_waiter")


def calls_made(
    loop: asyncio.AbstractEventLoop, change: Callable[[Any, Any], None], size: int = 10
) -> list[str]:
    """The methods of asyncio's that are called while a task awaits and gets some messages."""
    calls: list[str] = []

    def note(frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call" and frame.f_code.co_filename == asyncio.streams.__file__:
            name = frame.f_code.co_name
            if name in NAMES:
                calls.append(name)

    async def main() -> None:
        near, far = socket.socketpair()
        far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        with far:
            reader, writer = await asyncio.open_connection(sock=near)
            change(reader, writer.transport.get_protocol())
            for _ in range(3):
                reading = asyncio.create_task(reader.readexactly(size))
                await asyncio.sleep(0)
                sys.setprofile(note)
                far.sendall(bytes(size))
                await reading
                sys.setprofile(None)
            writer.close()

    try:
        loop.run_until_complete(main())
    finally:
        sys.setprofile(None)
        loop.close()
    return calls


def nothing(_reader: Any, _protocol: Any) -> None:
    """Leave all as it is."""


@pytest.mark.skipif(native_status()[0] == "stock", reason="asyncio's own futures are woken by asyncio")
@pytest.mark.parametrize("size", [10, 20_000])
def test_a_plain_stream_is_fed_without_a_call(size: int) -> None:
    """If this fails on a new Python: asyncio's methods have changed; see _is_known in _io/stream_feed.py."""
    assert calls_made(glassloop.EventLoop(), nothing, size) == []


def test_asyncio_makes_these_calls() -> None:
    assert calls_made(asyncio.SelectorEventLoop(), nothing) == [*NAMES] * 3


@pytest.mark.parametrize("name", NAMES)
def test_where_a_method_is_replaced_the_others_are_called(name: str) -> None:
    def replace(reader: Any, protocol: Any) -> None:
        owner = protocol if name == "data_received" else reader
        setattr(owner, name, getattr(owner, name))

    assert calls_made(glassloop.EventLoop(), replace) == [*NAMES] * 3


def test_a_class_that_was_patched_and_mended_is_as_it_was() -> None:
    original: Any = asyncio.StreamReader.feed_data

    def patched(reader: Any, data: Any) -> None:
        original(reader, data)

    asyncio.StreamReader.feed_data = patched  # type: ignore[assignment, method-assign]
    try:
        assert calls_made(glassloop.EventLoop(), nothing) == [*NAMES] * 3
    finally:
        asyncio.StreamReader.feed_data = original  # type: ignore[method-assign]
    if native_status()[0] != "stock":
        assert calls_made(glassloop.EventLoop(), nothing) == []
