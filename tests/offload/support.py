"""Small waits that the tests of offload() share."""

import asyncio
from collections.abc import Callable

from .jobs import PATIENCE_S


async def until(condition: Callable[[], object]) -> None:
    """Wait until ``condition()`` is true: for what a thread or process does in its own time."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.001)
