"""Two tasks that sleep one second each: one second in all, not two.

glassloop run examples/two_sleeps.py
"""

import asyncio
import time


async def sleeper(name: str) -> None:
    print(f"{name} falls asleep")
    await asyncio.sleep(1)
    print(f"{name} wakes up")


async def main() -> None:
    loop = type(asyncio.get_running_loop())
    start = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        group.create_task(sleeper("Ada"))
        group.create_task(sleeper("Grace"))
    print(f"two sleeps of one second took {time.perf_counter() - start:.2f} s on {loop}")


if __name__ == "__main__":
    asyncio.run(main())
