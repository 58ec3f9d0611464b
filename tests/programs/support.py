"""What the tests of real programs share: the type of ``run``, free ports, waits, and data to send around."""

import asyncio
import hashlib
import random
import socket
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

LoopFactory = Callable[[], asyncio.AbstractEventLoop]

# How long a test waits for something that must happen. Long, because it is reached only by a failing test.
PATIENCE_S = 30.0

# 5 MB that no part of the way can compress or guess, and their sum.
PAYLOAD = random.Random(2).randbytes(5_000_000)
PAYLOAD_SHA256 = hashlib.sha256(PAYLOAD).hexdigest()


class Run(Protocol):
    """Run one coroutine to its end on a new loop of the kind under test."""

    def __call__(self, main: Coroutine[Any, Any, T]) -> T: ...


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait, without a loop, for what another process does in its own time."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {PATIENCE_S:.0f} s for {what}")
        time.sleep(0.02)


async def pieces(data: bytes, size: int = 65_521) -> AsyncIterator[bytes]:
    """The data in pieces of an odd size, as an upload is streamed."""
    for start in range(0, len(data), size):
        yield data[start : start + size]
