"""add_reader, add_writer and their removal: results, replacing, sharing, reuse of descriptors."""

import asyncio
import os
import selectors
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from .support import Context, Loop, LoopFactory, noop, run_turns

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def ends() -> Iterator[Pair]:
    """Two ends of a Unix connection that do not block."""
    near, far = socket.socketpair()
    near.setblocking(False)
    far.setblocking(False)
    with near, far:
        yield near, far


def test_a_reader(loop: Loop, ends: Pair) -> None:
    trace: list[object] = []

    def readable(*args: object) -> None:
        trace.append((args, ends[0].recv(10)))

    loop.add_reader(ends[0], readable, "with", 2)
    run_turns(loop, 2)
    assert trace == []
    ends[1].send(b"x")
    run_turns(loop, 2)
    assert trace == [(("with", 2), b"x")]
    assert loop.remove_reader(ends[0]) is True
    assert loop.remove_reader(ends[0]) is False
    ends[1].send(b"y")
    run_turns(loop, 2)
    assert len(trace) == 1


def test_a_reader_is_called_as_long_as_there_is_something(loop: Loop, ends: Pair) -> None:
    trace: list[str] = []
    ends[1].send(b"x")
    loop.add_reader(ends[0], trace.append, "readable")
    run_turns(loop, 3)
    assert trace == ["readable"] * 3
    loop.remove_reader(ends[0])


def test_a_writer(loop: Loop, ends: Pair) -> None:
    trace: list[str] = []
    loop.add_writer(ends[0], trace.append, "writable")
    run_turns(loop, 2)
    assert trace == ["writable"] * 2
    assert loop.remove_writer(ends[0]) is True
    assert loop.remove_writer(ends[0]) is False
    run_turns(loop)
    assert len(trace) == 2


def test_reader_and_writer_of_one_descriptor(loop: Loop, ends: Pair) -> None:
    trace: list[str] = []
    ends[1].send(b"x")
    loop.add_writer(ends[0], trace.append, "writable")
    loop.add_reader(ends[0], trace.append, "readable")
    run_turns(loop)
    assert trace == ["readable", "writable"]
    assert loop.remove_reader(ends[0]) is True
    run_turns(loop)
    assert trace == ["readable", "writable", "writable"]
    loop.add_reader(ends[0], trace.append, "readable")
    assert loop.remove_writer(ends[0]) is True
    run_turns(loop)
    assert trace[3:] == ["readable"]
    assert loop.remove_reader(ends[0]) is True


def test_readers_are_replaced(loop: Loop, ends: Pair) -> None:
    trace: list[str] = []
    ends[1].send(b"x")
    for name in ("first", "second", "third"):
        loop.add_reader(ends[0], trace.append, name)
        loop.add_writer(ends[0], trace.append, f"{name} writer")
    run_turns(loop)
    assert trace == ["third", "third writer"]
    assert loop.remove_reader(ends[0]) is True
    assert loop.remove_writer(ends[0]) is True
    assert loop.remove_reader(ends[0]) is False


def test_descriptors_and_objects(loop: Loop, ends: Pair) -> None:
    trace: list[str] = []
    ends[1].send(b"x")
    loop.add_reader(ends[0].fileno(), trace.append, "by number")
    loop.add_reader(ends[0], trace.append, "by object")
    run_turns(loop)
    assert trace == ["by object"]
    assert loop.remove_reader(ends[0].fileno()) is True
    assert loop.remove_reader(ends[0]) is False


def test_pipes(loop: Loop) -> None:
    trace: list[bytes] = []
    read_end, write_end = os.pipe()
    loop.add_reader(read_end, lambda: trace.append(os.read(read_end, 10)))
    os.write(write_end, b"x")
    run_turns(loop)
    os.close(write_end)
    run_turns(loop)
    assert trace == [b"x", b""]
    loop.remove_reader(read_end)
    os.close(read_end)


@pytest.mark.parametrize("thing", [-1, "text", None, object(), 1.5])
def test_what_is_no_descriptor(loop: Loop, thing: Any) -> None:
    for method in (loop.add_reader, loop.add_writer):
        with pytest.raises(ValueError, match="Invalid file"):
            method(thing, noop)
    for remove in (loop.remove_reader, loop.remove_writer):
        with pytest.raises(ValueError, match="Invalid file"):
            remove(thing)


def test_a_closed_descriptor(loop: Loop, ends: Pair) -> None:
    ends[0].close()
    with pytest.raises(ValueError, match="Invalid file"):
        loop.add_reader(ends[0], noop)
    read_end, write_end = os.pipe()
    os.close(read_end)
    os.close(write_end)
    assert loop.remove_reader(read_end) is False


def test_a_regular_file(loop_factory: LoopFactory, tmp_path: Any) -> None:
    loop: Any = loop_factory()
    path = tmp_path / "file"
    path.write_text("x")
    with path.open() as file:
        if isinstance(loop._selector, selectors.SelectSelector):
            # select() takes a file, which is always ready.
            loop.add_reader(file, noop)
            assert loop.remove_reader(file) is True
        else:
            with pytest.raises(PermissionError):
                loop.add_reader(file, noop)
            assert loop.remove_reader(file) is False


def test_removing_inside_the_callback(loop: Loop, ends: Pair) -> None:
    trace: list[bool] = []
    ends[1].send(b"x")
    loop.add_reader(ends[0], lambda: trace.append(loop.remove_reader(ends[0])))
    run_turns(loop, 3)
    assert trace == [True]


def test_removing_a_neighbour_that_is_ready_too(loop: Loop) -> None:
    trace: list[str] = []
    pairs = [socket.socketpair() for _ in range(2)]
    for number, (near, far) in enumerate(pairs):
        near.setblocking(False)
        far.send(b"x")

        def readable(number: int = number) -> None:
            trace.append("ran")
            for other, _ in pairs:
                loop.remove_reader(other)

        loop.add_reader(near, readable)
    run_turns(loop, 2)
    assert trace == ["ran"]
    for near, far in pairs:
        near.close()
        far.close()


def test_removing_the_writer_inside_the_reader(loop: Loop, ends: Pair) -> None:
    trace: list[str] = []
    ends[1].send(b"x")

    def readable() -> None:
        trace.append("reader")
        assert loop.remove_writer(ends[0]) is True
        loop.remove_reader(ends[0])

    loop.add_reader(ends[0], readable)
    loop.add_writer(ends[0], trace.append, "writer")
    run_turns(loop, 2)
    assert trace == ["reader"]


def test_replacing_inside_the_callback(loop: Loop, ends: Pair) -> None:
    trace: list[str] = []
    ends[1].send(b"x")

    def first() -> None:
        trace.append("first")
        loop.add_reader(ends[0], trace.append, "second")

    loop.add_reader(ends[0], first)
    run_turns(loop)
    run_turns(loop)
    assert trace == ["first", "second"]
    loop.remove_reader(ends[0])


def test_a_descriptor_used_again(loop: Loop) -> None:
    trace: list[int] = []
    numbers = set()
    for number in range(5):
        near, far = socket.socketpair()
        with near, far:
            numbers.add(near.fileno())
            near.setblocking(False)
            loop.add_reader(near, trace.append, number)
            far.send(b"x")
            run_turns(loop)
            assert loop.remove_reader(near) is True
    assert trace == [0, 1, 2, 3, 4]
    assert len(numbers) == 1


def test_a_descriptor_closed_without_removing_its_reader(loop: Loop) -> None:
    trace: list[str] = []
    near, far = socket.socketpair()
    fd = near.fileno()
    with far:
        loop.add_reader(near, trace.append, "old")
        near.close()
        again, other = socket.socketpair()
        with again, other:
            assert again.fileno() == fd
            loop.add_reader(again, trace.append, "new")
            other.send(b"x")
            run_turns(loop, 2)
            # Whether the new one is called is the selector's affair; the old one must not be.
            assert "old" not in trace
            assert loop.remove_reader(again) is True


def test_the_end_of_the_peer_is_readable(loop: Loop, ends: Pair) -> None:
    trace: list[bytes] = []

    def readable() -> None:
        trace.append(ends[0].recv(10))
        loop.remove_reader(ends[0])

    loop.add_reader(ends[0], readable)
    ends[1].close()
    run_turns(loop, 2)
    assert trace == [b""]


def test_an_error_wakes_the_writer(loop: Loop) -> None:
    trace: list[int] = []
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with socket.socket() as client:
            client.setblocking(False)
            client.connect_ex(taken.getsockname())

            def writable() -> None:
                trace.append(client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
                loop.remove_writer(client)
                loop.stop()

            loop.add_writer(client, writable)
            loop.run_forever()
    assert len(trace) == 1 and trace[0] != 0


def test_many_readers(loop: Loop) -> None:
    trace: list[int] = []
    pairs = [socket.socketpair() for _ in range(200)]
    for number, (near, far) in enumerate(pairs):
        loop.add_reader(near, trace.append, number)
        far.send(b"x")
    run_turns(loop)
    assert sorted(trace) == list(range(200))
    for near, far in pairs:
        assert loop.remove_reader(near) is True
        near.close()
        far.close()


def test_an_error_in_a_reader(loop: Loop, ends: Pair, errors: list[Context]) -> None:
    def fail() -> None:
        ends[0].recv(10)
        raise LookupError("in a reader")

    loop.add_reader(ends[0], fail)
    for _ in range(2):
        ends[1].send(b"x")
        run_turns(loop)
    # It stays registered.
    assert len(errors) == 2
    assert loop.remove_reader(ends[0]) is True


def test_after_closing_the_loop(loop_factory: LoopFactory, ends: Pair) -> None:
    loop = loop_factory()
    loop.add_reader(ends[0], noop)
    loop.close()
    assert loop.remove_reader(ends[0]) is False
    assert loop.remove_writer(ends[0]) is False
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.add_reader(ends[0], noop)
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.add_writer(ends[0], noop)


def test_the_selector_knows_what_is_registered(loop: Loop, ends: Pair) -> None:
    holder: Any = loop
    selector = holder._selector
    assert isinstance(selector, selectors.BaseSelector)
    before = len(selector.get_map())
    loop.add_reader(ends[0], noop)
    key = selector.get_key(ends[0].fileno())
    assert key.fd == ends[0].fileno()
    assert key.events == selectors.EVENT_READ
    loop.add_writer(ends[0], noop)
    assert selector.get_key(ends[0].fileno()).events == selectors.EVENT_READ | selectors.EVENT_WRITE
    assert len(selector.get_map()) == before + 1
    assert ends[0].fileno() in selector.get_map()
    loop.remove_reader(ends[0])
    loop.remove_writer(ends[0])
    assert len(selector.get_map()) == before
    with pytest.raises(KeyError):
        selector.get_key(ends[0].fileno())


def test_a_reader_that_runs_a_task(loop: Loop, ends: Pair) -> None:
    async def main() -> str:
        woken = loop.create_future()

        def readable() -> None:
            data = ends[0].recv(10)
            loop.remove_reader(ends[0])
            woken.set_result(data.decode())

        loop.add_reader(ends[0], readable)
        loop.call_later(0.001, ends[1].send, b"woken")
        result: str = await asyncio.wait_for(woken, 10)
        return result

    assert loop.run_until_complete(main()) == "woken"


def test_more_events_than_are_taken_at_once(loop: Loop) -> None:
    seen = [0] * 200
    pairs = [socket.socketpair() for _ in seen]

    def note(number: int) -> None:
        seen[number] += 1

    for number, (near, far) in enumerate(pairs):
        loop.add_reader(near, note, number)
        far.send(b"x")  # and nobody reads it: it is an event in every turn
    run_turns(loop, 100)
    # Each has its turn; by how many turns they differ is nobody's business.
    assert min(seen) >= 10
    for near, far in pairs:
        loop.remove_reader(near)
        near.close()
        far.close()
