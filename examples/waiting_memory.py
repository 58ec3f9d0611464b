"""What one waiting task takes, or one waiting thread, measured with many real ones.

    glassloop run examples/waiting_memory.py tasks [COUNT]
    python examples/waiting_memory.py threads [COUNT]

Prints bytes for each as JSON: resident memory, and the address space that is set aside. Memory that the
kernel holds for itself (each thread has a stack there too, of 16 KiB) is not in these figures.
"""

import asyncio
import gc
import json
import resource
import sys
import threading
from pathlib import Path


def measure() -> tuple[int, int]:
    """Return this process's address space and resident memory in bytes. See /proc/PID/statm in proc(5)."""
    gc.collect()
    virtual, resident = Path("/proc/self/statm").read_text().split()[:2]
    page_bytes = resource.getpagesize()
    return int(virtual) * page_bytes, int(resident) * page_bytes


def compare(before: tuple[int, int], after: tuple[int, int], count: int) -> dict[str, float]:
    return {
        "count": count,
        "virtual_bytes_each": (after[0] - before[0]) / count,
        "resident_bytes_each": (after[1] - before[1]) / count,
    }


async def wait_in_tasks(count: int) -> dict[str, float]:
    """Let so many tasks wait for the same thing at once."""
    before = measure()
    tasks = [asyncio.create_task(asyncio.sleep(3600)) for _ in range(count)]
    await asyncio.sleep(0)
    after = measure()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return compare(before, after, count)


def wait_in_threads(count: int) -> dict[str, float]:
    """Let so many threads wait for the same thing at once."""
    all_wait, leave = threading.Barrier(count + 1), threading.Event()

    def wait() -> None:
        all_wait.wait()
        leave.wait()

    before = measure()
    threads = [threading.Thread(target=wait) for _ in range(count)]
    for thread in threads:
        thread.start()
    all_wait.wait()
    after = measure()
    leave.set()
    for thread in threads:
        thread.join()
    return compare(before, after, count)


if __name__ == "__main__":
    kind = sys.argv[1] if len(sys.argv) > 1 else "tasks"
    if kind == "tasks":
        result = asyncio.run(wait_in_tasks(int(sys.argv[2]) if len(sys.argv) > 2 else 10_000))
    elif kind == "threads":
        result = wait_in_threads(int(sys.argv[2]) if len(sys.argv) > 2 else 1000)
    else:
        sys.exit("say `tasks` or `threads`, and how many")
    print(json.dumps(result))
