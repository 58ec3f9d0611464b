"""Instruments: what a program's own object hears of a loop, and when."""

import asyncio
import logging
import math
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

import glassloop
from glassloop._core import native_status
from glassloop._core.instruments import HOOKS

needs_own_tasks = pytest.mark.skipif(
    native_status()[0] != "native",
    reason="asyncio's own tasks, which this run uses, tell instruments nothing",
)
Event = tuple[str, object]


class Everything(glassloop.Instrument):
    """Notes all that it hears: (hook, task name or time-out or None)."""

    def __init__(self) -> None:
        self.heard: list[Event] = []

    def before_run(self) -> None:
        self.heard.append(("before_run", None))

    def after_run(self) -> None:
        self.heard.append(("after_run", None))

    def task_spawned(self, task: asyncio.Task[Any]) -> None:
        self.heard.append(("task_spawned", task.get_name()))

    def task_scheduled(self, task: asyncio.Task[Any]) -> None:
        self.heard.append(("task_scheduled", task.get_name()))

    def before_task_step(self, task: asyncio.Task[Any]) -> None:
        assert asyncio._get_running_loop() is not None
        self.heard.append(("before_task_step", task.get_name()))

    def after_task_step(self, task: asyncio.Task[Any]) -> None:
        self.heard.append(("after_task_step", task.get_name()))

    def task_exited(self, task: asyncio.Task[Any]) -> None:
        assert task.done()
        self.heard.append(("task_exited", task.get_name()))

    def before_io_wait(self, timeout: float) -> None:
        self.heard.append(("before_io_wait", timeout))

    def after_io_wait(self, timeout: float) -> None:
        self.heard.append(("after_io_wait", timeout))

    def of(self, name: str) -> list[str]:
        return [hook for hook, subject in self.heard if subject == name]

    def waits(self) -> list[float]:
        return [
            subject for hook, subject in self.heard if hook == "before_io_wait" and isinstance(subject, float)
        ]


@pytest.fixture
def loop() -> Iterator[glassloop.EventLoop]:
    loop = glassloop.new_event_loop()
    yield loop
    loop.close()


STEP = ["before_task_step", "after_task_step"]
YIELD = ["before_task_step", "task_scheduled", "after_task_step"]
LAST = ["before_task_step", "task_exited", "after_task_step"]


@needs_own_tasks
@pytest.mark.parametrize("debug", [False, True])
def test_a_task_s_life(loop: glassloop.EventLoop, debug: bool) -> None:
    async def child() -> None:
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)

    async def main() -> None:
        await loop.create_task(child(), name="child")

    loop.set_debug(debug)
    everything = Everything()
    loop.add_instrument(everything)
    loop.run_until_complete(loop.create_task(main(), name="main"))
    new = ["task_spawned", "task_scheduled"]
    assert everything.of("child") == [*new, *YIELD, *STEP, "task_scheduled", *LAST]
    assert everything.of("main") == [*new, *STEP, "task_scheduled", *LAST]
    order = [event for event in everything.heard if event[0] in ("task_exited", "task_scheduled")]
    # Who waits is woken before the exit is told, as with trio.
    assert order[-3:] == [("task_scheduled", "main"), ("task_exited", "child"), ("task_exited", "main")]


def wake_by_result(task: asyncio.Task[Any], future: asyncio.Future[None]) -> None:
    future.set_result(None)


def wake_by_error(task: asyncio.Task[Any], future: asyncio.Future[None]) -> None:
    future.set_exception(ZeroDivisionError())


def wake_by_cancel_of_future(task: asyncio.Task[Any], future: asyncio.Future[None]) -> None:
    future.cancel()


def wake_by_cancel_of_task(task: asyncio.Task[Any], future: asyncio.Future[None]) -> None:
    task.cancel()


@needs_own_tasks
@pytest.mark.parametrize(
    "wake", [wake_by_result, wake_by_error, wake_by_cancel_of_future, wake_by_cancel_of_task]
)
@pytest.mark.parametrize("foreign", [False, True], ids=["our future", "asyncio's future"])
@pytest.mark.parametrize("others", [0, 2], ids=["first callback", "later callback"])
def test_a_wake_up_is_told_once(
    loop: glassloop.EventLoop,
    wake: Callable[[asyncio.Task[Any], asyncio.Future[None]], None],
    foreign: bool,
    others: int,
) -> None:
    everything = Everything()
    loop.add_instrument(everything)
    future: asyncio.Future[None] = asyncio.Future(loop=loop) if foreign else loop.create_future()

    async def main() -> None:
        try:
            await future
        except (ZeroDivisionError, asyncio.CancelledError):
            pass

    for _ in range(others):
        future.add_done_callback(lambda _: None)
    task = loop.create_task(main(), name="main")
    loop.call_later(0.001, wake, task, future)
    loop.run_until_complete(task)
    assert everything.of("main") == ["task_spawned", "task_scheduled", *STEP, "task_scheduled", *LAST]


@needs_own_tasks
def test_a_bad_yield_and_a_done_future(loop: glassloop.EventLoop) -> None:
    everything = Everything()
    loop.add_instrument(everything)

    class Bad:
        def __await__(self) -> Generator[Any, Any, None]:
            yield "nonsense"

    class Stale:
        """Yields a future that is done by then, which asyncio allows."""

        def __await__(self) -> Generator[Any, Any, None]:
            future = loop.create_future()
            future._asyncio_future_blocking = True
            future.set_result(None)
            yield future

    async def main() -> None:
        with pytest.raises(RuntimeError, match="bad yield"):
            await Bad()
        await Stale()

    loop.run_until_complete(loop.create_task(main(), name="main"))
    # The step that throws is a handle's: told all the same, and once.
    assert everything.of("main") == ["task_spawned", "task_scheduled", *YIELD, *YIELD, *LAST]


@needs_own_tasks
def test_each_step_is_told_in_a_crowd(loop: glassloop.EventLoop) -> None:
    everything = Everything()
    loop.add_instrument(everything)

    async def worker(number: int) -> None:
        for _ in range(number):
            await asyncio.sleep(0)

    async def main() -> None:
        await asyncio.gather(*(loop.create_task(worker(number), name=f"w{number}") for number in range(50)))

    loop.run_until_complete(main())
    for number in range(50):
        assert everything.of(f"w{number}") == ["task_spawned", "task_scheduled", *YIELD * number, *LAST]


def test_runs_and_waits(loop: glassloop.EventLoop) -> None:
    everything = Everything()
    loop.add_instrument(everything)
    loop.run_until_complete(asyncio.sleep(0.001))
    hooks = [hook for hook, _ in everything.heard]
    assert (hooks.count("before_run"), hooks.count("after_run")) == (1, 1)
    assert hooks.index("before_run") < hooks.index("before_io_wait") and hooks[-1] == "after_run"
    waits = [event for event in everything.heard if event[0].endswith("io_wait")]
    assert [hook for hook, _ in waits] == ["before_io_wait", "after_io_wait"] * (len(waits) // 2)
    assert all(before[1] == after[1] for before, after in zip(waits[::2], waits[1::2], strict=True))
    assert everything.waits()[0] == 0.0 and 0.0 < max(everything.waits()) <= 0.001
    loop.run_until_complete(asyncio.sleep(0))
    assert [hook for hook, _ in everything.heard].count("before_run") == 2


def test_a_wait_without_end_is_infinite(loop: glassloop.EventLoop) -> None:
    everything = Everything()
    loop.add_instrument(everything)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)

        async def main() -> bytes:
            return await loop.sock_recv(ours, 1)

        class Send:
            def before_io_wait(self, timeout: float) -> None:
                if timeout:
                    theirs.send(b"x")

        loop.add_instrument(Send())
        assert loop.run_until_complete(main()) == b"x"
    assert math.inf in everything.waits()


def test_what_an_instrument_makes_ready_is_not_waited_for(loop: glassloop.EventLoop) -> None:
    """Nothing else would end this wait."""

    class Stop:
        def before_io_wait(self, timeout: float) -> None:
            if timeout == math.inf:
                loop.call_soon(loop.stop)

    loop.add_instrument(Stop())
    loop.run_forever()


@needs_own_tasks
def test_only_what_is_implemented_is_called(loop: glassloop.EventLoop) -> None:
    class Spawned(glassloop.Instrument):
        def __init__(self) -> None:
            self.names: list[str] = []

        def task_spawned(self, task: asyncio.Task[Any]) -> None:
            self.names.append(task.get_name())

    class Duck:
        steps = 0

        def before_task_step(self, task: asyncio.Task[Any]) -> None:
            self.steps += 1

    spawned, duck = Spawned(), Duck()
    loop.add_instrument(spawned)
    loop.add_instrument(duck)
    loop.add_instrument(duck)  # once is enough
    loop.run_until_complete(loop.create_task(asyncio.sleep(0), name="only"))
    assert spawned.names == ["only"] and duck.steps == 2


def test_what_has_no_hook_is_refused(loop: glassloop.EventLoop) -> None:
    for nothing in (object(), glassloop.Instrument()):
        with pytest.raises(TypeError, match="implements none of before_run, "):
            loop.add_instrument(nothing)


def test_removing(loop: glassloop.EventLoop) -> None:
    everything = Everything()
    with pytest.raises(KeyError):
        loop.remove_instrument(everything)
    loop.add_instrument(everything)
    loop.remove_instrument(everything)
    loop.run_until_complete(asyncio.sleep(0))
    assert everything.heard == []
    with pytest.raises(KeyError):
        loop.remove_instrument(everything)


@needs_own_tasks
def test_added_and_removed_from_within(loop: glassloop.EventLoop) -> None:
    everything = Everything()

    async def main() -> None:
        await asyncio.sleep(0)
        loop.add_instrument(everything)
        await asyncio.sleep(0)
        loop.remove_instrument(everything)
        await asyncio.sleep(0)

    loop.run_until_complete(loop.create_task(main(), name="main"))
    assert everything.of("main") == ["before_task_step"]  # of the step that removes it


@needs_own_tasks
@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("error", [ZeroDivisionError, SystemExit])
def test_whoever_raises_is_reported_and_removed(
    loop: glassloop.EventLoop, hook: str, error: type[BaseException]
) -> None:
    reports: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, report: reports.append(report))

    def fail(self: object, *arguments: object) -> None:
        raise error("broken")

    broken = type("Broken", (), {hook: fail})()
    everything = Everything()
    loop.add_instrument(broken)
    loop.add_instrument(everything)
    assert loop.run_until_complete(asyncio.sleep(0.001, "result")) == "result"
    (report,) = reports
    assert isinstance(report["exception"], error) and report["instrument"] is broken
    assert f" raised in {hook}() and has been removed" in report["message"]
    assert hook in [heard for heard, _ in everything.heard]  # the others go on
    with pytest.raises(KeyError):
        loop.remove_instrument(broken)


def test_the_report_is_logged(loop: glassloop.EventLoop, caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def before_run(self) -> None:
            raise ZeroDivisionError

    loop.add_instrument(Broken())
    loop.run_until_complete(asyncio.sleep(0))
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.name == "asyncio" and "Broken" in record.getMessage() and record.exc_info


def test_an_interrupt_in_an_instrument_is_the_program_s(loop: glassloop.EventLoop) -> None:
    """Ctrl-C may come while an instrument runs: it must neither be lost nor end the instrument."""

    class Interrupted:
        calls = 0

        def before_io_wait(self, timeout: float) -> None:
            self.calls += 1
            if self.calls == 3:
                raise KeyboardInterrupt

    async def forever() -> None:
        while True:
            await asyncio.sleep(0)

    instrument = Interrupted()
    loop.add_instrument(instrument)
    task = loop.create_task(forever())
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(task)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.remove_instrument(instrument)


@needs_own_tasks
def test_a_step_that_ends_the_loop_is_told_to_its_end(loop: glassloop.EventLoop) -> None:
    async def main() -> None:
        raise SystemExit(3)

    everything = Everything()
    loop.add_instrument(everything)
    task = loop.create_task(main(), name="main")
    with pytest.raises(SystemExit):
        loop.run_until_complete(task)
    assert isinstance(task.exception(), SystemExit)
    assert everything.of("main") == ["task_spawned", "task_scheduled", *LAST]
    assert everything.heard[-1] == ("after_run", None)


def test_without_a_page() -> None:
    """Instruments do not need it."""
    source = """
import asyncio, glassloop
class Steps:
    steps = 0
    def after_task_step(self, task):
        self.steps += 1
async def main():
    await asyncio.sleep(0)
loop = glassloop.new_event_loop()
steps = Steps()
loop.add_instrument(steps)
loop.run_until_complete(main())
print(steps.steps)
"""
    for environment, expected in (({}, "2"), ({"GLASSLOOP_TASKS": "stock"}, "0")):
        done = subprocess.run(
            [sys.executable, "-c", source],
            env=os.environ | {"GLASSLOOP_PAGE": "0", "GLASSLOOP_TASKS": "native"} | environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.stdout.strip(), done.stderr) == (expected, "")


def test_asyncio_s_own_tasks_are_warned_of() -> None:
    source = """
import logging
logging.basicConfig()
import glassloop
class Steps:
    def after_task_step(self, task): ...
    def before_run(self): print("runs")
loop = glassloop.new_event_loop()
loop.add_instrument(Steps())
loop.call_soon(loop.stop)
loop.run_forever()
"""
    done = subprocess.run(
        [sys.executable, "-c", source],
        env=os.environ | {"GLASSLOOP_TASKS": "stock"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "runs\n"
    assert "will not be told of tasks (after_task_step): asyncio's own are in use" in done.stderr
