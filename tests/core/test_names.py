"""Look-ups of names: in threads of the loop's own, shared, and none where none is needed."""

import asyncio
import concurrent.futures
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import glassloop


class SlowNames:
    """Stands in for the system's look-ups: each begins, and ends when it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.threads: set[str] = set()
        self.go_on = threading.Event()
        self.fails = False

    def getaddrinfo(self, *arguments: Any) -> list[Any]:
        """Wait to be told, then answer by what was asked."""
        self.asked.append(arguments)
        self.threads.add(threading.current_thread().name)
        assert self.go_on.wait(60)
        if self.fails:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (str(arguments[0]), arguments[1]))]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowNames]:
    slow = SlowNames()
    monkeypatch.setattr(socket, "getaddrinfo", slow.getaddrinfo)
    yield slow
    slow.go_on.set()


async def begun(names: SlowNames, count: int) -> None:
    while len(names.asked) < count:
        await asyncio.sleep(0.001)


def name_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("glassloop_names")]


@pytest.mark.parametrize(
    ("host", "port", "options"),
    [
        ("127.0.0.1", 80, {}),
        ("127.0.0.1", "80", {"type": socket.SOCK_STREAM}),
        ("::1", 80, {}),
        (None, 80, {"flags": socket.AI_PASSIVE}),
        ("10.1.2.3", None, {"family": socket.AF_INET}),
    ],
)
def test_an_address_needs_no_thread(host: str | None, port: int, options: dict[str, int]) -> None:
    async def main() -> Any:
        return await asyncio.get_running_loop().getaddrinfo(host, port, **options)

    before = threading.active_count()
    with glassloop_runner() as runner:
        assert runner.run(main()) == socket.getaddrinfo(host, port, **options)
        assert not name_threads() and threading.active_count() == before


def glassloop_runner() -> asyncio.Runner:
    return asyncio.Runner(loop_factory=glassloop.new_event_loop)


def test_a_name_is_looked_up_in_a_thread_of_its_own(names: SlowNames) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        names.go_on.set()
        assert (await loop.getaddrinfo("db.example", 5432))[0][4] == ("db.example", 5432)

    glassloop.run(main())
    assert all(name.startswith("glassloop_names") for name in names.threads)
    assert not name_threads()  # closing the loop has ended them


def test_slow_look_ups_leave_the_executor_free(names: SlowNames) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        asking = [asyncio.create_task(loop.getaddrinfo(f"host-{n}.example", 80)) for n in range(500)]
        await begun(names, 8)
        # All of them are under way or queued, and none has an answer.
        assert await asyncio.gather(*(asyncio.to_thread(abs, -n) for n in range(50))) == list(range(50))
        assert not any(task.done() for task in asking)
        assert len(name_threads()) <= 32
        names.go_on.set()
        answers = await asyncio.gather(*asking)
        assert [answer[0][4][0] for answer in answers] == [f"host-{n}.example" for n in range(500)]

    glassloop.run(main())


def test_the_same_question_is_asked_once(names: SlowNames) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        same = [asyncio.create_task(loop.getaddrinfo("db.example", 5432)) for _ in range(10)]
        other = asyncio.create_task(loop.getaddrinfo("db.example", 5433))
        await begun(names, 2)
        names.go_on.set()
        answers = await asyncio.gather(*same)
        assert len(names.asked) == 2
        assert all(answer == answers[0] for answer in answers)
        answers[0].clear()  # each has a list of its own
        assert answers[1]
        assert (await other)[0][4][1] == 5433
        await loop.getaddrinfo("db.example", 5432)  # nothing is kept once it was answered
        assert len(names.asked) == 3

    glassloop.run(main())


def test_each_who_asked_gets_an_error_of_his_own(names: SlowNames) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        names.fails = True
        same = [asyncio.create_task(loop.getaddrinfo("db.example", 5432)) for _ in range(3)]
        await begun(names, 1)
        names.go_on.set()
        errors = await asyncio.gather(*same, return_exceptions=True)
        assert len({id(error) for error in errors}) == 3
        for error in errors:
            assert isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME

    glassloop.run(main())


def test_one_who_is_cancelled_leaves_the_others_waiting(names: SlowNames) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        first = asyncio.create_task(loop.getaddrinfo("db.example", 5432))
        second = asyncio.create_task(loop.getaddrinfo("db.example", 5432))
        await begun(names, 1)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        names.go_on.set()
        assert await second
        assert len(names.asked) == 1

    glassloop.run(main())


def test_what_nobody_waits_for_any_more_is_not_asked(names: SlowNames) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        busy = [asyncio.create_task(loop.getaddrinfo(f"host-{n}.example", 80)) for n in range(32)]
        await begun(names, 32)
        given_up = asyncio.create_task(loop.getaddrinfo("given-up.example", 80))
        come_later = asyncio.create_task(loop.getaddrinfo("again.example", 80))
        await asyncio.sleep(0)
        given_up.cancel()
        come_later.cancel()
        await asyncio.wait([given_up, come_later])
        again = asyncio.create_task(loop.getaddrinfo("again.example", 80))
        await asyncio.sleep(0)
        names.go_on.set()
        await asyncio.gather(*busy)
        assert (await again)[0][4] == ("again.example", 80)
        assert [asked[0] for asked in names.asked if asked[0] == "given-up.example"] == []

    glassloop.run(main())


def test_a_loop_is_closed_while_look_ups_are_in_flight(names: SlowNames) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.create_task(loop.getaddrinfo("db.example", 5432))
        await begun(names, 1)

    glassloop.run(main())  # it does not wait for an answer that may never come
    threads = name_threads()
    assert threads
    names.go_on.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_a_loop_with_an_executor_of_its_own_method_is_obeyed() -> None:
    class Loop(glassloop.EventLoop):
        asked: list[str]

        def run_in_executor(  # type: ignore[override]
            self, executor: Any, func: Any, *args: Any
        ) -> Any:
            self.asked.append(func.__name__)
            return super().run_in_executor(executor, func, *args)

    async def main(loop: Loop) -> None:
        assert await loop.getaddrinfo("127.0.0.1", 80)
        await loop.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)

    loop = Loop()
    loop.asked = []
    try:
        loop.run_until_complete(main(loop))
        assert loop.asked == ["getaddrinfo", "getnameinfo"]
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()


def test_a_closed_loop_and_a_shut_down_executor_refuse() -> None:
    loop = glassloop.new_event_loop()

    async def main() -> None:
        await loop.shutdown_default_executor()
        with pytest.raises(RuntimeError, match="Executor shutdown has been called"):
            await loop.getaddrinfo("127.0.0.1", 80)

    loop.run_until_complete(main())
    loop.close()
    asking = loop.getaddrinfo("127.0.0.1", 80)
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        asking.send(None)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_the_child_of_a_fork_has_threads_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(host: Any, *arguments: Any) -> list[Any]:
        return [host, *arguments]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    loop = glassloop.new_event_loop()
    try:
        loop.run_until_complete(loop.getaddrinfo("one.example", 80))
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = 0 if loop.run_until_complete(loop.getaddrinfo("two.example", 80)) else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert loop.run_until_complete(loop.getaddrinfo("three.example", 80))
    finally:
        loop.close()


def test_a_large_executor_means_as_many_look_ups(names: SlowNames) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(40))
        asking = [asyncio.create_task(loop.getaddrinfo(f"host-{n}.example", 80)) for n in range(40)]
        await begun(names, 40)
        names.go_on.set()
        await asyncio.gather(*asking)

    glassloop.run(main())
