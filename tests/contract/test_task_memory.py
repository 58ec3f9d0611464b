"""When tasks and what they hold go away: at once where nothing refers to them, by the collector in cycles."""

import asyncio
import gc
import sys
import weakref
from typing import Any

import pytest

from .support import Context, Loop, LoopFactory, Run, run_turns, turns


class Thing:
    """Something to take a weak reference to."""


def test_a_done_task_is_freed_at_once(run: Run, no_gc: None) -> None:
    async def main() -> None:
        ref = weakref.ref(asyncio.create_task(asyncio.sleep(0)))
        await turns(3)
        assert ref() is None

    run(main())


def test_an_awaited_task_is_freed_at_once(run: Run, no_gc: None) -> None:
    async def main() -> None:
        task = asyncio.create_task(asyncio.sleep(0, Thing()))
        refs: list[weakref.ref[Any]] = [weakref.ref(task), weakref.ref(await task)]
        del task
        await asyncio.sleep(0)
        assert [ref() for ref in refs] == [None, None]

    run(main())


def test_a_task_that_waited_for_a_future_is_freed_at_once(run: Run, no_gc: None) -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()

        async def child() -> None:
            await future

        ref = weakref.ref(asyncio.create_task(child()))
        await asyncio.sleep(0)
        assert ref() is not None
        future.set_result(None)
        await turns(2)
        assert ref() is None

    run(main())


def test_a_failed_task_is_freed_at_once(run: Run, errors: list[Context], no_gc: None) -> None:
    async def main() -> None:
        async def child() -> None:
            raise LookupError

        ref = weakref.ref(asyncio.create_task(child()))
        await turns(3)
        errors.clear()
        assert ref() is None

    run(main())


def test_a_cancelled_task_is_freed_at_once(run: Run, no_gc: None) -> None:
    async def main() -> None:
        task = asyncio.create_task(asyncio.sleep(1000))
        await asyncio.sleep(0)
        ref = weakref.ref(task)
        task.cancel()
        del task
        await turns(3)
        assert ref() is None

    run(main())


def test_a_task_cancelled_before_its_start_is_freed_at_once(run: Run, no_gc: None) -> None:
    async def main() -> None:
        task = asyncio.create_task(asyncio.sleep(1000))
        ref = weakref.ref(task)
        task.cancel()
        del task
        await turns(3)
        assert ref() is None

    run(main())


def test_what_a_coroutine_holds_is_freed_when_it_ends(run: Run, no_gc: None) -> None:
    async def main() -> None:
        refs: list[weakref.ref[Thing]] = []

        async def child(thing: Thing) -> None:
            refs.append(weakref.ref(thing))
            await asyncio.sleep(0)

        task = asyncio.create_task(child(Thing()))
        await task
        assert refs[0]() is None
        assert task.done()

    run(main())


def test_the_result_is_held_by_the_task_only(run: Run, no_gc: None) -> None:
    async def main() -> None:
        task = asyncio.create_task(asyncio.sleep(0, Thing()))
        await turns(3)
        ref = weakref.ref(task.result())
        assert ref() is not None
        del task
        assert ref() is None

    run(main())


def test_a_done_future_is_freed_at_once(run: Run, no_gc: None) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        ref = weakref.ref(future)
        loop.call_soon(future.set_result, Thing())
        assert isinstance(await future, Thing)
        del future
        await asyncio.sleep(0)
        assert ref() is None

    run(main())


def test_the_callbacks_of_a_future_are_freed_once_called(run: Run, no_gc: None) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        class Callback:
            def __call__(self, _future: object) -> None: ...

        for count in (1, 2, 3):
            future = loop.create_future()
            callbacks = [Callback() for _ in range(count)]
            refs = [weakref.ref(callback) for callback in callbacks]
            for callback in callbacks:
                future.add_done_callback(callback)
            callbacks.clear()
            del callback
            future.set_result(None)
            await turns(2)
            assert not any(ref() for ref in refs)

    run(main())


def test_what_sleeps_is_kept(run: Run) -> None:
    async def main() -> None:
        ended: list[str] = []

        async def child() -> None:
            await asyncio.sleep(0.005)
            ended.append("yes")

        asyncio.create_task(child())
        gc.collect()
        await asyncio.sleep(0.02)
        while not ended:
            await asyncio.sleep(0.001)

    run(main())


def test_a_cycle_of_tasks_is_collected(loop: Loop) -> None:
    messages: list[str] = []
    loop.set_exception_handler(lambda _loop, context: messages.append(context["message"]))

    async def child(box: list[Any]) -> None:
        await box[0]

    first_box: list[Any] = []
    second_box: list[Any] = []
    first, second = loop.create_task(child(first_box)), loop.create_task(child(second_box))
    first_box.append(second)
    second_box.append(first)
    refs = [weakref.ref(first), weakref.ref(second)]
    run_turns(loop, 2)
    del first, second, first_box, second_box
    gc.collect()
    assert [ref() for ref in refs] == [None, None]
    assert set(messages) == {"Task was destroyed but it is pending!"}


def test_a_task_in_its_own_result_is_collected(run: Run) -> None:
    async def main() -> weakref.ref[Any]:
        async def child() -> Any:
            return [asyncio.current_task()]

        return weakref.ref(asyncio.create_task(child()))

    ref = run(main())
    gc.collect()
    assert ref() is None


def test_a_task_in_its_own_attribute_is_collected(run: Run) -> None:
    async def main() -> None:
        task: Any = asyncio.create_task(asyncio.sleep(0))
        task.me = task
        ref = weakref.ref(task)
        await task
        del task
        await asyncio.sleep(0)
        gc.collect()
        assert ref() is None

    run(main())


def test_a_pending_task_is_collected_with_its_loop(loop_factory: LoopFactory, errors: list[Context]) -> None:
    kind = type(loop_factory())
    loop = kind()
    loop.set_exception_handler(lambda _loop, context: errors.append({"message": context["message"]}))

    async def hang(thing: Thing) -> None:
        await asyncio.get_running_loop().create_future()

    thing = Thing()
    refs: list[weakref.ref[Any]] = [weakref.ref(thing), weakref.ref(loop.create_task(hang(thing)))]
    del thing
    run_turns(loop, 2)
    loop.close()
    del loop
    gc.collect()
    assert [ref() for ref in refs] == [None, None]
    assert [error["message"] for error in errors] == ["Task was destroyed but it is pending!"]


def test_a_pending_task_brought_back_by_its_handler_is_whole(loop: Loop) -> None:
    saved: list[Any] = []
    loop.set_exception_handler(lambda _loop, context: saved.append(context["task"]))

    async def hang() -> None:
        await loop.create_future()

    loop.create_task(hang(), name="T")
    run_turns(loop, 2)
    gc.collect()
    (task,) = saved
    assert not task.done()
    assert task.get_name() == "T"
    assert repr(task).startswith("<Task pending name='T'")
    # Its coroutine may have been ended already, so it ends in one error or the other.
    task.cancel()
    run_turns(loop, 2)
    assert task.done()
    assert task.cancelled() or isinstance(task.exception(), RuntimeError)


@pytest.mark.parametrize("derived", [False, True])
def test_a_destroyed_task_among_all_tasks(loop: Loop, derived: bool) -> None:
    """Also if the exception handler keeps it, and if its class is a subclass in Python."""
    saved: list[Any] = []
    loop.set_exception_handler(lambda _loop, context: saved.append(context["task"]))

    async def hang() -> None:
        await loop.create_future()

    first = loop.create_task(hang())
    kind: Any = type(first)
    if derived:
        kind = type("Derived", (kind,), {})
    del first
    task = kind(hang(), loop=loop)
    run_turns(loop, 2)
    gc.collect()
    saved.clear()
    del task
    gc.collect()
    assert [type(task) for task in saved] == [kind]
    # From Python 3.14 on asyncio counts it among the loop's tasks again.
    assert asyncio.all_tasks(loop) == (set(saved) if sys.version_info >= (3, 14) else set())
    saved[0].cancel()
    run_turns(loop, 2)


def test_attributes_and_weak_references(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.create_task(asyncio.sleep(0))
        things: list[Any] = [task, loop.create_future()]
        thing: Any
        for thing in things:
            thing.colour = "red"
            assert thing.colour == "red"
            assert weakref.ref(thing)() is not None
            assert thing in weakref.WeakSet([thing])
            assert hash(thing) == hash(thing)
            del thing.colour
            with pytest.raises(AttributeError):
                _ = thing.colour
        await task

    run(main())


def test_weak_reference_callbacks(run: Run, no_gc: None) -> None:
    async def main() -> None:
        gone: list[object] = []
        task = asyncio.create_task(asyncio.sleep(0))
        ref = weakref.ref(task, gone.append)
        del task
        await turns(3)
        assert gone == [ref]

    run(main())


def test_many_tasks_leave_nothing_behind(run: Run, no_gc: None) -> None:
    async def main() -> None:
        async def child(future: Any) -> None:
            await asyncio.sleep(0)
            await future

        loop = asyncio.get_running_loop()

        async def batch() -> None:
            future = loop.create_future()
            tasks = [asyncio.create_task(child(future)) for _ in range(100)]
            await turns(3)
            future.set_result(None)
            await asyncio.wait(tasks)

        await batch()
        await turns(2)
        before = len(gc.get_objects())
        for _ in range(5):
            await batch()
        await turns(2)
        assert len(gc.get_objects()) - before < 50

    run(main())


def test_an_uninitialised_task(loop: Loop) -> None:
    kinds: set[Any] = {asyncio.Task, asyncio.Future, type(loop.create_future())}
    task = loop.create_task(asyncio.sleep(0))
    kinds.add(type(task))
    loop.run_until_complete(task)
    for kind in kinds:
        thing: Any = kind.__new__(kind)
        assert thing.done() is False
        with pytest.raises(asyncio.InvalidStateError, match="Future object is not initialized"):
            thing.result()
        with pytest.raises(asyncio.InvalidStateError, match="Future object is not initialized"):
            thing.exception()
        with pytest.raises(RuntimeError, match="Future object is not initialized"):
            thing.get_loop()
        if sys.version_info >= (3, 13):
            with pytest.raises(RuntimeError, match="Future object is not initialized"):
                repr(thing)
        del thing
    gc.collect()


def test_an_initialiser_called_again(loop: Loop) -> None:
    task: Any = loop.create_task(asyncio.sleep(0, "first"))
    loop.run_until_complete(task)
    future: Any = loop.create_future()
    future.set_result(1)
    coroutine = asyncio.sleep(0, "second")
    if sys.version_info >= (3, 15):
        with pytest.raises(RuntimeError, match="already initialized"):
            task.__init__(coroutine, loop=loop)
        with pytest.raises(RuntimeError, match="already initialized"):
            future.__init__(loop=loop)
        coroutine.close()
    else:
        task.__init__(coroutine, loop=loop)
        assert loop.run_until_complete(task) == "second"
        future.__init__(loop=loop)
        assert not future.done()
