"""offload() to threads: arguments, results, exceptions, context variables, cancellation, bad input."""

import asyncio
import contextvars
import functools
import gc
import logging
import os
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import glassloop
from glassloop._offload.pools import cpu_count

from . import jobs
from .support import until

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


def test_a_result() -> None:
    async def main() -> None:
        assert await glassloop.offload(jobs.add, 2) == 2
        assert await glassloop.offload(jobs.add, 2, other=3, times=10) == 50
        assert await glassloop.offload(jobs.add, 2, 3, to="thread") == 5
        assert await glassloop.offload(functools.partial(jobs.add, times=3), 2, to="thread") == 6
        assert await glassloop.offload(dict[str, int]) == {}

    glassloop.run(main())


def test_it_runs_in_a_named_thread_of_this_process() -> None:
    async def main() -> None:
        pid, name = await glassloop.offload(jobs.where)
        assert pid == os.getpid() and name.startswith("glassloop-offload_")

    glassloop.run(main())
    assert not [one for one in threading.enumerate() if one.name.startswith("glassloop-offload")]


def test_as_many_threads_as_cpus() -> None:
    async def main() -> None:
        gate = threading.Event()
        began = []

        def work() -> str:
            began.append(threading.current_thread().name)
            gate.wait(jobs.PATIENCE_S)
            return threading.current_thread().name

        tasks = [asyncio.create_task(glassloop.offload(work)) for _ in range(3 * cpu_count())]
        await until(lambda: len(began) == cpu_count())
        await asyncio.sleep(0.02)
        assert len(began) == cpu_count()
        gate.set()
        assert len(set(await asyncio.gather(*tasks))) <= cpu_count()

    glassloop.run(main())


def test_the_loop_goes_on_meanwhile() -> None:
    async def main() -> None:
        gate = threading.Event()
        task = asyncio.create_task(glassloop.offload(gate.wait, jobs.PATIENCE_S))
        await asyncio.sleep(0)
        assert not task.done()
        gate.set()
        assert await task

    glassloop.run(main())


def test_an_exception_is_the_function_s_own() -> None:
    error = ValueError("its own")

    def fail() -> None:
        raise error

    async def main() -> None:
        with pytest.raises(ValueError) as caught:
            await glassloop.offload(fail)
        assert caught.value is error

    glassloop.run(main())


def test_stop_iteration() -> None:
    """A future does not take it: without care the task would wait for ever."""

    async def main() -> None:
        with pytest.raises(RuntimeError, match="jobs.stop_iteration raised StopIteration") as caught:
            await asyncio.wait_for(glassloop.offload(jobs.stop_iteration), jobs.PATIENCE_S)
        assert isinstance(caught.value.__cause__, StopIteration)

    glassloop.run(main())


def test_context_variables_are_carried_there_and_not_back() -> None:
    def change() -> str:
        before = variable.get()
        variable.set("changed in the thread")
        return before

    async def main() -> None:
        variable.set("the caller's")
        assert await glassloop.offload(change) == "the caller's"
        assert variable.get() == "the caller's"
        with ThreadPoolExecutor(1) as pool:
            assert await glassloop.offload(change, to=pool) == "the caller's"

    glassloop.run(main())


def test_arguments_are_let_go() -> None:
    class Thing:
        pass

    async def main() -> None:
        thing = Thing()
        gone = weakref.ref(thing)
        await glassloop.offload(repr, thing)
        del thing
        gc.collect()
        await until(lambda: gone() is None)

    glassloop.run(main())


def test_an_exception_holds_no_circle() -> None:
    class Oops(Exception):
        pass

    def fail() -> None:
        raise Oops

    async def main() -> weakref.ref[Oops]:
        try:
            await glassloop.offload(fail)
        except Oops as error:
            return weakref.ref(error)
        raise AssertionError("it did not fail")

    gc.collect()
    gc.disable()
    try:
        assert glassloop.run(main())() is None
    finally:
        gc.enable()


# -- cancellation -----------------------------------------------------------------------------------


def test_what_has_not_begun_never_begins() -> None:
    async def main() -> None:
        gate = threading.Event()
        began: list[int] = []
        busy = [
            asyncio.create_task(glassloop.offload(gate.wait, jobs.PATIENCE_S)) for _ in range(cpu_count())
        ]
        waiting = asyncio.create_task(glassloop.offload(began.append, 1))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        gate.set()
        await asyncio.gather(*busy)
        await glassloop.offload(began.append, 2)
        assert began == [2]

    glassloop.run(main())


def test_what_runs_goes_on_and_is_named(caplog: pytest.LogCaptureFixture) -> None:
    began, gate, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        gate.wait(jobs.PATIENCE_S)
        ended.set()

    async def main() -> None:
        task = asyncio.create_task(glassloop.offload(work))
        await until(began.is_set)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not ended.is_set()
        gate.set()
        await until(ended.is_set)

    with caplog.at_level(logging.INFO, "glassloop"):
        glassloop.run(main())
    assert "the function goes on: " in caplog.text
    assert "test_what_runs_goes_on_and_is_named.<locals>.work in thread glassloop-offload_" in caplog.text


def test_a_time_limit() -> None:
    async def main() -> None:
        gate = threading.Event()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await glassloop.offload(gate.wait, jobs.PATIENCE_S)
        gate.set()

    glassloop.run(main())


# -- bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("to", "error", "text"),
    [
        ("threads", ValueError, '"thread", "process" or "interpreter", or an executor, not \'threads\''),
        (None, TypeError, "a dask.distributed.Client or the module ray, not None"),
        (ThreadPoolExecutor, TypeError, "not <class"),
    ],
)
def test_a_bad_place(to: Any, error: type[Exception], text: str) -> None:
    async def main() -> None:
        with pytest.raises(error) as caught:
            await glassloop.offload(jobs.add, 1, to=to)
        assert str(caught.value).startswith("offload(): to must be ") and text in str(caught.value)

    glassloop.run(main())


def test_a_bad_function() -> None:
    async def coroutine_function() -> None:
        """Nothing."""

    async def main() -> None:
        with pytest.raises(TypeError, match="fn must be a function or another callable, not int"):
            await glassloop.offload(7)  # type: ignore[call-overload]
        with pytest.raises(TypeError, match="coroutine_function is a coroutine function"):
            await glassloop.offload(coroutine_function)  # type: ignore[unused-coroutine]
        with pytest.raises(TypeError, match="jobs.add|unexpected keyword argument 'nonsense'"):
            await glassloop.offload(jobs.add, 1, nonsense=2)  # type: ignore[call-arg]

    glassloop.run(main())


def test_another_loop() -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="needs glassloop's event loop, and a .*EventLoop runs"):
            await glassloop.offload(jobs.add, 1)

    asyncio.run(main())


def test_no_loop() -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        glassloop.offload(jobs.add, 1).send(None)
