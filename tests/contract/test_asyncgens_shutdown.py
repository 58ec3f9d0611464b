"""Asynchronous generators and the loop's end: closing, finalizing, and what is said about failures."""

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

from .support import Context, Loop, run_turns


async def numbers(closed: list[str], name: str, fail: bool = False) -> AsyncIterator[int]:
    """Count, and say when closed."""
    try:
        yield 1
        yield 2
    finally:
        await asyncio.sleep(0)
        if fail:
            raise LookupError(f"closing {name}")
        closed.append(name)


def start(loop: Loop, generator: Any) -> None:
    """Take a generator to its first yield."""

    async def main() -> None:
        assert await anext(generator) == 1

    loop.run_until_complete(main())


def test_shutdown_closes_what_is_open(loop: Loop) -> None:
    closed: list[str] = []
    generators = [numbers(closed, name) for name in "abc"]
    for generator in generators:
        start(loop, generator)
    loop.run_until_complete(loop.shutdown_asyncgens())
    assert sorted(closed) == ["a", "b", "c"]
    loop.run_until_complete(loop.shutdown_asyncgens())
    assert len(closed) == 3


def test_shutdown_leaves_out_what_is_finished(loop: Loop) -> None:
    closed: list[str] = []

    async def main() -> None:
        assert [number async for number in numbers(closed, "a")] == [1, 2]

    loop.run_until_complete(main())
    assert closed == ["a"]
    loop.run_until_complete(loop.shutdown_asyncgens())
    assert closed == ["a"]


def test_failures_are_reported(loop: Loop, errors: list[Context]) -> None:
    closed: list[str] = []
    bad, good = numbers(closed, "bad", fail=True), numbers(closed, "good")
    start(loop, bad)
    start(loop, good)
    loop.run_until_complete(loop.shutdown_asyncgens())
    (context,) = errors
    assert context["message"].startswith(
        "an error occurred during closing of asynchronous generator <async_generator"
    )
    assert isinstance(context["exception"], LookupError)
    assert context["asyncgen"] is bad
    assert closed == ["good"]


def test_a_generator_started_after_the_shutdown_warns(loop: Loop) -> None:
    loop.run_until_complete(loop.shutdown_asyncgens())
    closed: list[str] = []
    generator = numbers(closed, "late")
    with pytest.warns(ResourceWarning, match="was scheduled after loop.shutdown_asyncgens"):
        start(loop, generator)
    loop.run_until_complete(generator.aclose())  # type: ignore[attr-defined]


def test_a_lost_generator_is_closed_in_the_loop(loop: Loop) -> None:
    closed: list[str] = []
    box = [numbers(closed, "lost")]
    start(loop, box[0])
    box.clear()
    gc.collect()
    assert closed == []
    run_turns(loop, 5)
    assert closed == ["lost"]


def test_a_generator_lost_while_running(loop: Loop) -> None:
    closed: list[str] = []

    async def main() -> None:
        async for _number in numbers(closed, "left early"):
            break
        gc.collect()
        for _ in range(5):
            await asyncio.sleep(0)

    loop.run_until_complete(main())
    assert closed == ["left early"]


def test_a_generator_lost_in_another_thread(loop: Loop) -> None:
    import threading

    closed: list[str] = []
    box = [numbers(closed, "lost")]
    start(loop, box[0])

    def lose() -> None:
        box.clear()
        gc.collect()

    thread = threading.Thread(daemon=True, target=lose)
    thread.start()
    thread.join()
    run_turns(loop, 5)
    assert closed == ["lost"]


def test_generators_of_two_loops(loop_factory: Any) -> None:
    closed: list[str] = []
    first, second = loop_factory(), loop_factory()
    one, two = numbers(closed, "one"), numbers(closed, "two")
    start(first, one)
    start(second, two)
    first.run_until_complete(first.shutdown_asyncgens())
    assert closed == ["one"]
    second.run_until_complete(second.shutdown_asyncgens())
    assert closed == ["one", "two"]


def test_athrow_and_aclose(loop: Loop) -> None:
    closed: list[str] = []

    async def main() -> None:
        generator: Any = numbers(closed, "thrown")
        await anext(generator)
        with pytest.raises(ValueError, match="into the generator"):
            await generator.athrow(ValueError("into the generator"))
        other: Any = numbers(closed, "closed")
        await anext(other)
        await other.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(other)

    loop.run_until_complete(main())
    assert closed == ["thrown", "closed"]
