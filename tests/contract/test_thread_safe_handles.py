"""Handles of call_soon_threadsafe() since Python 3.14: another thread that cancels waits for the callback."""

import asyncio
import gc
import threading
import weakref
from asyncio import events
from collections.abc import Callable
from typing import Any

import pytest

from .support import PATIENCE, Context, Loop, Run, noop, run_turns, turns

pytestmark = pytest.mark.skipif(
    not hasattr(events, "_ThreadSafeHandle"), reason="handles are safe for threads since Python 3.14"
)


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(daemon=True, target=work)
    thread.start()
    return thread


def test_the_type(loop: Loop) -> None:
    handle = loop.call_soon_threadsafe(noop, 1)
    assert isinstance(handle, getattr(events, "_ThreadSafeHandle"))  # noqa: B009 - older Pythons lack it
    assert isinstance(handle, asyncio.Handle)
    assert not isinstance(loop.call_soon(noop), getattr(events, "_ThreadSafeHandle"))  # noqa: B009
    assert repr(handle).startswith("<_ThreadSafeHandle noop() at ")
    handle.cancel()
    assert repr(handle) == "<_ThreadSafeHandle cancelled>"


@pytest.mark.parametrize("method", ["cancel", "cancelled"])
def test_another_thread_waits_for_the_callback(run: Run, method: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        trace: list[str] = []
        started, asked, done = threading.Event(), threading.Event(), loop.create_future()

        def callback() -> None:
            trace.append("begins")
            started.set()
            asked.wait(PATIENCE)
            # Long enough for the other thread to ask; it must wait, however long that is.
            threading.Event().wait(0.05)
            trace.append("ends")

        def work() -> None:
            handle = loop.call_soon_threadsafe(callback)
            started.wait(PATIENCE)
            asked.set()
            getattr(handle, method)()
            trace.append("answered")
            assert handle.cancelled() is (method == "cancel")
            loop.call_soon_threadsafe(done.set_result, None)

        thread = in_thread(work)
        await done
        thread.join()
        assert trace == ["begins", "ends", "answered"]

    run(main())


def test_many_threads_wait_for_one_callback(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        ended = threading.Event()
        seen: list[bool] = []
        handles: list[asyncio.Handle] = []
        threads: list[threading.Thread] = []

        def ask() -> None:
            handles[0].cancelled()
            seen.append(ended.is_set())

        def callback() -> None:
            threads.extend(in_thread(ask) for _ in range(5))
            threading.Event().wait(0.05)
            ended.set()

        handles.append(loop.call_soon_threadsafe(callback))
        while not ended.is_set():
            await asyncio.sleep(0)
        for thread in threads:
            thread.join()
        assert seen == [True] * 5

    run(main())


def test_a_handle_cancelled_before_its_turn_does_not_run(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        trace: list[str] = []
        handle = loop.call_soon_threadsafe(trace.append, "ran")
        thread = in_thread(handle.cancel)
        thread.join()
        assert handle.cancelled()
        await turns(2)
        assert trace == []

    run(main())


def test_a_callback_that_cancels_itself_and_raises(loop: Loop, errors: list[Context]) -> None:
    handles: list[asyncio.Handle] = []

    def callback() -> None:
        handles[0].cancel()
        raise LookupError

    handles.append(loop.call_soon_threadsafe(callback))
    run_turns(loop)
    assert [type(context["exception"]) for context in errors] == [LookupError]
    # It has ended: no thread waits for it.
    thread = in_thread(handles[0].cancelled)
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_debug_mode_remembers_where_it_was_made(loop: Loop) -> None:
    loop.set_debug(True)
    handle: Any = loop.call_soon_threadsafe(noop)
    assert handle._source_traceback[-1].name == "test_debug_mode_remembers_where_it_was_made"


def test_it_is_freed_with_what_it_holds(loop: Loop) -> None:
    class Argument:
        pass

    argument = Argument()
    reference = weakref.ref(argument)
    handle = loop.call_soon_threadsafe(noop, argument, argument)
    gc.collect()
    del argument
    assert reference() is not None
    run_turns(loop)
    del handle
    assert reference() is None


def test_a_cycle_through_it_is_collected(loop: Loop) -> None:
    class Callback:
        handle: asyncio.Handle

        def __call__(self) -> None:
            pass

    callback = Callback()
    callback.handle = loop.call_soon_threadsafe(callback)
    reference = weakref.ref(callback)
    del callback
    run_turns(loop)
    gc.collect()
    assert reference() is None
