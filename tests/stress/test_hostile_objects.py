"""What misbehaves where compiled code holds it: destructors, half-made objects, errors at a bad time."""

import asyncio
import functools
import gc
import os
import socket
import sys
import warnings
from asyncio import futures
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import glassloop

from .support import new_loop, open_descriptors, run_program, run_turn


@pytest.fixture(params=["epoll", "select"])
def loop(request: pytest.FixtureRequest) -> Iterator[glassloop.EventLoop]:
    loop = new_loop(request.param)
    yield loop
    if not loop.is_closed():
        run_turn(loop, 3)
        loop.close()


class CallsWhenFreed:
    """Calls something from its destructor."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call

    def __del__(self) -> None:
        self.call()


# -- handles and timers -----------------------------------------------------------------------------


def test_a_destructor_finds_the_handle_whole_whose_field_is_replaced(loop: glassloop.EventLoop) -> None:
    seen: list[object] = []
    handle: Any = loop.call_soon(int)
    handle._source_traceback = CallsWhenFreed(lambda: seen.append(handle._source_traceback))
    handle._source_traceback = None
    handle.__init__(int, (), loop, CallsWhenFreed(lambda: seen.append(handle._context)))
    handle.__init__(int, (), loop)
    assert seen == [None, None]


@pytest.mark.parametrize("timer", [False, True], ids=["Handle", "TimerHandle"])
def test_a_destructor_may_cancel_the_handle_that_holds_it(loop: glassloop.EventLoop, timer: bool) -> None:
    ran: list[str] = []
    handles: list[asyncio.Handle] = []

    def cancel_all() -> None:
        for handle in handles:
            handle.cancel()

    for _ in range(100):
        callback: Any = functools.partial(ran.append, CallsWhenFreed(cancel_all))  # type: ignore[arg-type]
        handles.append(loop.call_later(0, callback) if timer else loop.call_soon(callback))
        del callback
    handles[50].cancel()
    loop.call_soon(ran.append, "after")
    run_turn(loop, 2)
    assert ran == ["after"] and not loop._scheduled


DEEP = """
    import sys
    import glassloop

    loop = glassloop.EventLoop()
    schedule = loop.call_soon if sys.argv[1] == "Handle" else (lambda *args: loop.call_later(1000, *args))
    handle = None
    for _ in range(200_000):
        handle = schedule(print, handle)
    loop._ready.clear()
    loop._scheduled = []
    del handle
    loop.close()
    print("done")
"""


@pytest.mark.parametrize("kind", ["Handle", "TimerHandle"])
def test_a_long_chain_of_handles_is_freed(kind: str) -> None:
    """Each is the argument of the next: the C stack must not end before the chain does."""
    assert run_program(DEEP, kind) == "done\n"


def test_a_timer_is_refused_by_a_second_heap(loop: glassloop.EventLoop) -> None:
    other = glassloop.EventLoop()
    timers = [loop.call_later(1000 + number, int) for number in range(30)]
    with pytest.raises(RuntimeError, match="is in a heap already"):
        other._scheduled = [timers[-1]]
    for timer in timers:
        timer.cancel()
    assert not loop._scheduled and not other._scheduled
    other.close()


def test_a_deadline_that_is_no_number_holds_nobody_up(loop: glassloop.EventLoop) -> None:
    """It compares as false with everything; in asyncio such a timer is due at once."""
    ran: list[str] = []
    loop.call_at(float("nan"), ran.append, "not a number")
    for number in range(20):
        loop.call_at(float("nan") if number % 3 else 0, ran.append, str(number))
    loop.call_later(0.001, loop.stop)
    loop.run_forever()
    assert ran[0] == "not a number" and sorted(map(int, ran[1:])) == list(range(20))


def test_what_a_sleep_wakes_may_refuse(loop: glassloop.EventLoop) -> None:
    """The end of a sleep whose future belongs to another loop, which is closed: reported, as by a handle."""
    reports: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, context: reports.append(context))
    other = glassloop.EventLoop()
    future = other.create_future()
    future.add_done_callback(print)
    other.close()
    loop.call_soon(futures._set_result_unless_cancelled, future, 1)  # type: ignore[attr-defined]
    ran: list[int] = []
    loop.call_soon(ran.append, 1)
    run_turn(loop)
    assert [str(report["exception"]) for report in reports] == ["Event loop is closed"]
    assert ran == [1]


# -- tasks ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["asyncio", "glassloop"])
@pytest.mark.parametrize("end", ["returns", "raises", "is cancelled", "goes on"])
@pytest.mark.filterwarnings("ignore:coroutine")
def test_a_task_that_is_done_while_its_coroutine_runs(kind: str, end: str) -> None:
    """By Future's methods, which Task hides: the first result stands, the coroutine's end is reported."""
    loop = asyncio.SelectorEventLoop() if kind == "asyncio" else glassloop.EventLoop()
    reports: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _loop, context: reports.append(context))
    first = ["the first result"]
    task: Any

    async def main() -> str:
        asyncio.Future.set_result(task, first)
        if end == "raises":
            raise ZeroDivisionError
        if end == "is cancelled":
            raise asyncio.CancelledError
        if end == "goes on":
            await asyncio.sleep(0)
        return "the last result"

    references = sys.getrefcount(first)
    task = loop.create_task(main())
    run_turn(loop, 4)
    assert task.result() is first
    assert [type(report["exception"]) for report in reports] == (
        [] if end == "is cancelled" else [asyncio.InvalidStateError]
    )
    assert task not in asyncio.all_tasks(loop)
    reports.clear()
    task = None
    gc.collect()
    assert sys.getrefcount(first) == references, "the first result was not let go of"
    loop.close()


def a_task_type(loop: asyncio.AbstractEventLoop) -> Any:
    async def nothing() -> None:
        pass

    task = loop.create_task(nothing())
    loop.run_until_complete(task)
    return type(task)


def test_a_task_that_was_never_initialized(loop: glassloop.EventLoop) -> None:
    loop.set_exception_handler(lambda _loop, context: None)
    task_type = a_task_type(loop)
    task = task_type.__new__(task_type)
    for use in (
        lambda: task.task_wakeup(loop.create_future()),
        lambda: task._throw(ValueError()),
        lambda: loop.call_soon(task, None)._run(),
    ):
        if task_type.__module__.startswith("glassloop"):
            with pytest.raises((RuntimeError, AttributeError)):
                use()
    loop._ready.clear()


def test_a_task_of_a_foreign_loop(loop: glassloop.EventLoop) -> None:
    """A glassloop task on asyncio's loop is asyncio's to step, and refuses glassloop's ways."""
    foreign = asyncio.SelectorEventLoop()
    task_type = a_task_type(loop)

    async def main() -> int:
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
        return 5

    task = task_type(main(), loop=foreign)
    if task_type.__module__.startswith("glassloop"):
        with pytest.raises(RuntimeError, match="its own loop has to step it"):
            task._throw(ValueError())
        with pytest.raises(RuntimeError, match="its own loop has to step it"):
            task.task_wakeup(loop.create_future())
    assert foreign.run_until_complete(task) == 5
    foreign.close()


# -- transports -------------------------------------------------------------------------------------


def test_an_interrupt_in_connection_made_leaves_the_connection_reading(loop: glassloop.EventLoop) -> None:
    made: list[Any] = []
    received: list[bytes] = []

    class Interrupted(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.append(transport)
            raise KeyboardInterrupt

        def data_received(self, data: bytes) -> None:
            received.append(data)

    server = loop.run_until_complete(loop.create_server(Interrupted, "127.0.0.1", 0))
    with socket.create_connection(server.sockets[0].getsockname()) as client:
        client.send(b"hello")
        interrupts = 0
        for _ in range(100):
            try:
                run_turn(loop)
            except KeyboardInterrupt:
                interrupts += 1
            if received:
                break
        assert interrupts == 1 and received == [b"hello"]
        made[0].abort()
        server.close()
        run_turn(loop, 3)


def test_a_connection_whose_server_its_factory_closes_is_closed_once() -> None:
    loop = glassloop.EventLoop()

    def factory() -> asyncio.Protocol:
        server.close()
        return asyncio.Protocol()

    before = open_descriptors()
    server = loop.run_until_complete(loop.create_server(factory, "127.0.0.1", 0))
    client = socket.create_connection(server.sockets[0].getsockname(), timeout=10)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        while server.is_serving():
            run_turn(loop)
        run_turn(loop, 3)
    assert client.recv(1) == b""
    client.close()
    assert caught == [], "the transport was dropped with its descriptor, which others had closed"
    assert open_descriptors() == before
    loop.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_dropped_connection_is_closed_though_the_warning_is_an_error() -> None:
    """An accepted connection has no Python socket: nobody else would close it."""
    before = open_descriptors()
    loop = glassloop.EventLoop()
    server = loop.run_until_complete(loop.create_server(asyncio.Protocol, "127.0.0.1", 0))
    with socket.create_connection(server.sockets[0].getsockname(), timeout=10) as client:
        while not any(
            loop._selector.source_of(fd) and "StreamTransport" in repr(loop._selector.source_of(fd))  # type: ignore[attr-defined]
            for fd in range(200)
        ):
            run_turn(loop)
        with warnings.catch_warnings():
            warnings.simplefilter("error", ResourceWarning)
            loop._selector.release()  # type: ignore[attr-defined]  # what watched it, and all that held it
        assert client.recv(1) == b""
    server.close()
    loop.close()
    assert open_descriptors() == before


@pytest.mark.skipif(sys.version_info < (3, 12), reason="buffers in Python came with 3.12")
def test_a_buffer_that_disturbs_errno(loop: glassloop.EventLoop) -> None:
    """Nothing was there to read; what releasing the buffer did must not be taken for the reason."""

    class Buffer:
        def __init__(self) -> None:
            self.bytes = bytearray(100)

        def __len__(self) -> int:
            return 100

        def __buffer__(self, flags: int) -> memoryview:
            return memoryview(self.bytes)

        def __release_buffer__(self, view: memoryview) -> None:
            try:
                os.read(-1, 1)  # EBADF
            except OSError:
                pass
            view.release()

    class Receiver(asyncio.BufferedProtocol):
        lost = False

        def get_buffer(self, sizehint: int) -> Any:
            return Buffer()

        def connection_lost(self, exc: BaseException | None) -> None:
            self.lost = True

    near, far = socket.socketpair()
    with far:
        transport: Any
        transport, protocol = loop.run_until_complete(loop.create_connection(Receiver, sock=near))
        run_turn(loop, 2)
        transport._read_ready()  # a readiness that turns out to be none
        run_turn(loop, 2)
        assert not protocol.lost
        transport.abort()
        run_turn(loop, 2)
