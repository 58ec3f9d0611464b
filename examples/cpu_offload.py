"""A CPU-bound function goes to other processes, and the loop goes on answering meanwhile.

    glassloop run examples/cpu_offload.py [LIMIT]

A ticker wants to run every 10 ms. Called directly, the function keeps it waiting until it returns; called
through ``run_in_executor`` it does not. (A program that is written for glassloop would need no pool of its
own: ``await glassloop.offload(count_primes, first, last, to="process")``.)
"""

import asyncio
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise


def count_primes(first: int, last: int) -> int:
    """Count the primes in [first, last): slow on purpose."""
    return sum(
        all(number % d for d in range(2, int(number**0.5) + 1)) for number in range(max(first, 2), last)
    )


async def measure_lateness() -> float:
    """Tick every 10 ms until cancelled; return by how many seconds the latest tick was late."""
    worst = 0.0
    try:
        while True:
            due = time.perf_counter() + 0.01
            await asyncio.sleep(0.01)
            worst = max(worst, time.perf_counter() - due)
    except asyncio.CancelledError:
        return worst


async def main(limit: int) -> None:
    loop = asyncio.get_running_loop()
    bounds = range(0, limit + 1, limit // 4)
    # The workers are nice, so that the loop gets a processor at once when it has something to do.
    with ProcessPoolExecutor(initializer=os.nice, initargs=(19,)) as pool:
        await loop.run_in_executor(pool, count_primes, 0, 10)  # let the processes start

        ticker = asyncio.create_task(measure_lateness())
        parts = [loop.run_in_executor(pool, count_primes, *part) for part in pairwise(bounds)]
        total = sum(await asyncio.gather(*parts))
        ticker.cancel()
        print(
            f"in other processes: {total} primes below {limit}; a tick came {await ticker * 1e3:.1f} ms late"
        )

    ticker = asyncio.create_task(measure_lateness())
    await asyncio.sleep(0)
    total = count_primes(0, limit)
    await asyncio.sleep(0.02)
    ticker.cancel()
    print(f"in the loop's thread: {total} primes below {limit}; a tick came {await ticker * 1e3:.1f} ms late")


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000))
