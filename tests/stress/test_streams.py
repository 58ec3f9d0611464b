"""Random uses of a stream on asyncio and on glassloop: after each step all that can be seen is the same."""

import asyncio
import contextlib
import gc
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .support import new_loop

EXAMPLES = int(os.environ.get("GLASSLOOP_STRESS_EXAMPLES", "120"))
BOUNDED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize="GLASSLOOP_STRESS_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)

sizes = st.one_of(st.integers(0, 40), st.sampled_from([100, 999, 4096, 5000, 20_000, 70_000]))
reads = st.one_of(
    st.tuples(st.just("read"), st.one_of(st.just(-1), sizes)),
    st.tuples(st.just("readexactly"), sizes),
    st.tuples(st.just("readuntil"), st.sampled_from([b"\n", b";", b"7\n"])),
    st.tuples(st.just("readline"), st.none()),
    st.tuples(st.just("__anext__"), st.none()),
)
changes = st.sampled_from(
    [
        *(
            "end",
            "cancel",
            "feed_eof",
            "feed_by_hand",
            "set_exception",
            "pause",
            "resume",
            "lend",
            "give_back",
        ),
        *(
            "patch_reader",
            "patch_protocol",
            "mend",
            "patch_class",
            "subclass",
            "close",
            "abort",
            "lower_limit",
        ),
    ]
)
steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), sizes),
        reads,
        st.tuples(changes, st.none()),
    ),
    max_size=20,
)


class Loud(asyncio.StreamReaderProtocol):
    """A subclass that changes what it gets."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data.swapcase())


class Stream:
    """One end of a connection as streams, and all that a program can do to it."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.sent = 0
        self.tasks: list[asyncio.Task[Any]] = []
        self.lent: list[memoryview] = []
        self.trace: list[Any] = []
        self.errors: list[tuple[str, str]] = []
        self.feed_data = asyncio.StreamReader.feed_data

    async def run(self, program: list[tuple[str, Any]]) -> list[Any]:
        """Take the steps, and return what was seen after each."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(
            lambda _loop, context: self.errors.append((context["message"], repr(context.get("exception"))))
        )
        near, self.far = socket.socketpair()
        self.far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.far.setblocking(False)
        self.reader: Any
        self.reader, self.writer = await asyncio.open_connection(sock=near, limit=self.limit)
        self.protocol: Any = self.writer.transport.get_protocol()
        try:
            for name, argument in program:
                try:
                    getattr(self, name, lambda count: self.start(name, count))(argument)  # noqa: B023
                except (AssertionError, BufferError, ValueError, RuntimeError) as error:
                    self.trace.append(repr(error))
                await self.settle()
                self.trace.append((name, *self.state()))
        finally:
            self.mend(None)
            self.give_back(None)
        self.writer.close()
        self.far.close()
        for task in self.tasks:
            task.cancel()
        results = await asyncio.gather(*self.tasks, return_exceptions=True)
        with contextlib.suppress(Exception):
            await self.writer.wait_closed()
        return [*self.trace, [repr(result) for result in results], self.errors]

    async def settle(self) -> None:
        """Let everything happen that a step causes: its data is in the kernel already."""
        for _ in range(2):
            await asyncio.sleep(0.00005)  # the loop asks the kernel before this ends
            for _ in range(4):
                await asyncio.sleep(0)

    def state(self) -> tuple[Any, ...]:
        """All that there is to be seen."""
        reader, transport = self.reader, self.writer.transport
        done = [
            repr(task.exception() or task.result())
            for task in self.tasks
            if task.done() and not task.cancelled()
        ]
        fields = (
            bytes(reader._buffer),
            reader._eof,
            reader._paused,
            reader.at_eof(),
            repr(reader.exception()),
        )
        return (
            *fields,
            reader._waiter is None,
            transport.is_closing(),
            transport.is_reading(),  # type: ignore[attr-defined]
            sorted(vars(reader)),
            [task.cancelled() for task in self.tasks],
            done,
            list(self.errors),
        )

    # -- the steps --

    def send(self, count: int) -> None:
        data = b"".join(
            b"%d;word%d\n" % (number, number) for number in range(self.sent, self.sent + count // 8 + 1)
        )
        self.sent += 1
        with contextlib.suppress(OSError):
            self.far.send(data[:count])

    def start(self, name: str, argument: Any) -> None:
        arguments = () if argument is None else (argument,)

        async def read() -> Any:
            return await getattr(self.reader, name)(*arguments)

        self.tasks.append(asyncio.get_running_loop().create_task(read()))

    def end(self, _: None) -> None:
        with contextlib.suppress(OSError):
            self.far.shutdown(socket.SHUT_WR)

    def cancel(self, _: None) -> None:
        for task in self.tasks:
            task.cancel()

    def feed_eof(self, _: None) -> None:
        self.reader.feed_eof()

    def feed_by_hand(self, _: None) -> None:
        self.reader.feed_data(b"by hand\n")

    def set_exception(self, _: None) -> None:
        self.reader.set_exception(LookupError("set"))

    def pause(self, _: None) -> None:
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]

    def resume(self, _: None) -> None:
        self.writer.transport.resume_reading()  # type: ignore[attr-defined]

    def lend(self, _: None) -> None:
        self.lent.append(memoryview(self.reader._buffer))

    def give_back(self, _: None) -> None:
        while self.lent:
            self.lent.pop().release()

    def patch_reader(self, _: None) -> None:
        self.reader.feed_data = lambda data: type(self.reader).feed_data(self.reader, data.upper())

    def patch_protocol(self, _: None) -> None:
        self.protocol.data_received = lambda data: type(self.protocol).data_received(
            self.protocol, data[::-1]
        )

    def patch_class(self, _: None) -> None:
        original: Any = self.feed_data

        def feed_data(reader: Any, data: Any) -> None:
            original(reader, data[1:])

        asyncio.StreamReader.feed_data = feed_data  # type: ignore[assignment, method-assign]

    def mend(self, _: None) -> None:
        vars(self.reader).pop("feed_data", None)
        vars(self.protocol).pop("data_received", None)
        self.protocol.__class__ = asyncio.StreamReaderProtocol
        asyncio.StreamReader.feed_data = self.feed_data  # type: ignore[method-assign]

    def subclass(self, _: None) -> None:
        self.protocol.__class__ = Loud

    def lower_limit(self, _: None) -> None:
        self.reader._limit = max(self.reader._limit // 4, 1)

    def close(self, _: None) -> None:
        self.writer.close()

    def abort(self, _: None) -> None:
        self.writer.transport.abort()


def trace_of(
    make_loop: Callable[[], asyncio.AbstractEventLoop],
    program: list[tuple[str, Any]],
    limit: int,
    debug: bool,
) -> list[Any]:
    """All that is seen when the program runs on such a loop."""
    loop = make_loop()
    try:
        loop.set_debug(debug)
        return loop.run_until_complete(Stream(limit).run(program))
    finally:
        loop.close()
        gc.collect()


@pytest.mark.parametrize("kind", ["epoll", "select"])
@given(program=steps, limit=st.sampled_from([1, 10, 1000, 65536]), debug=st.booleans())
@BOUNDED
def test_a_stream_behaves_as_on_asyncio(
    kind: str, program: list[tuple[str, Any]], limit: int, debug: bool
) -> None:
    expected = trace_of(asyncio.SelectorEventLoop, program, limit, debug)
    assert trace_of(lambda: new_loop(kind), program, limit, debug) == expected
