"""Show that an installed wheel is whole: its own tasks are in use, and a program runs a thousand of them.

cibuildwheel runs this with each wheel that it has built, on the Python and the C library that it is for.
"""

import asyncio

import glassloop
from glassloop._core import native_status


async def add_up(count: int) -> int:
    """Return the sum of the numbers below count, each the result of a task of its own."""

    async def give(number: int) -> int:
        await asyncio.sleep(0)
        return number

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(give(number)) for number in range(count)]
    return sum(task.result() for task in tasks)


def main() -> None:
    """Exit with a reason where something is wrong."""
    tasks, reason = native_status()
    if tasks != "native":
        raise SystemExit(f"this wheel does not fit the Python that it was built for: {reason}")
    if (total := glassloop.run(add_up(1000))) != 499_500:
        raise SystemExit(f"a thousand tasks gave {total}")
    print(f"glassloop {glassloop.__version__}: {tasks} tasks, {reason}")


if __name__ == "__main__":
    main()
