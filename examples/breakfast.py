"""Eggs, toast and coffee on one loop: who runs, who waits, and who would run but for somebody else.

glassloop run --timeline examples/breakfast.py
"""

import asyncio
import time


async def coffee() -> None:
    await asyncio.sleep(1)


async def toast(stove: asyncio.Event) -> None:
    await asyncio.sleep(0.3)
    stove.set()  # it is free: the eggs may begin ...
    # ... and cannot: butter is spread without an await, and nothing else runs meanwhile.
    time.sleep(0.15)  # noqa: ASYNC251


async def eggs(stove: asyncio.Event) -> None:
    await stove.wait()
    await asyncio.sleep(0.4)


async def main() -> None:
    stove = asyncio.Event()
    async with asyncio.TaskGroup() as kitchen:
        kitchen.create_task(coffee(), name="coffee")
        kitchen.create_task(toast(stove), name="toast")
        kitchen.create_task(eggs(stove), name="eggs")


if __name__ == "__main__":
    asyncio.run(main())
