"""Real programs on glassloop, looked at from outside: each in its own trouble; the reader says which."""

import json
import os
from pathlib import Path

import pytest

from glassloop.glass import finder
from glassloop.glass.errors import NoLoopError
from glassloop.glass.history import build_history
from glassloop.glass.layout import Phase, State
from glassloop.glass.reader import take_snapshot
from glassloop.glass.reasons import WaitKind
from glassloop.glass.recording import record
from glassloop.glass.stacks import ask_for_stacks

from .programs import PATIENCE_S, Start, named, start_ring, waits_as


@pytest.mark.parametrize(
    "blocking",
    [
        "time.sleep(60)",
        "while True: pass",
        're.match("(a+)+$", "a" * 64 + "b")',
        "threading.Event().wait()",
    ],
)
def test_a_step_that_blocks_the_loop(start: Start, blocking: str) -> None:
    program = start(
        "ready()\nawait asyncio.create_task(work(), name='hog')", f"async def work():\n    {blocking}\n"
    )
    snapshot = program.look_until(lambda look: look.stuck is not None and look.stuck.frames)
    stuck = snapshot.stuck
    assert stuck is not None and stuck.task_name == "hog" and stuck.line is not None
    assert stuck.line.file == str(program.path) and stuck.line.function == "work"
    assert stuck.line.line == program.line_of(blocking)
    assert stuck.for_ns > snapshot.slow_ns and named(snapshot, "hog").state is State.RUNNING
    status, text = program.command("why", str(program.pid))
    assert (
        status == 1
        and f"{program.path}:{stuck.line.line} work" in text
        and "task hog blocks the loop" in text
    )
    status, text = program.command("ps", "--json")
    row = next(one for one in json.loads(text)["loops"] if one["pid"] == program.pid)
    assert status == 0 and row["stuck"] is True


def test_a_callback_that_blocks_the_loop(start: Start) -> None:
    program = start(
        "asyncio.get_running_loop().call_soon(block)\nready()\nawait asyncio.sleep(60)",
        "def block():\n    time.sleep(60)\n",
    )
    stuck = program.look_until(lambda look: look.stuck is not None and look.stuck.frames).stuck
    assert stuck is not None and stuck.task_id == 0 and stuck.who.startswith("a callback")
    assert stuck.line is not None and stuck.line.function == "block"


def test_a_long_turn_of_short_steps_is_not_stuck(start: Start) -> None:
    program = start(
        "tasks = [asyncio.create_task(work()) for _ in range(200)]\nready()\nawait asyncio.gather(*tasks)",
        "async def work():\n    while True:\n        time.sleep(0.002)\n        await asyncio.sleep(0)\n",
    )
    program.look_until(lambda look: look.step_ns > look.slow_ns or look.turns > 5)
    assert all(program.look().stuck is None for _ in range(5))


def test_tasks_that_await_each_other(start: Start) -> None:
    program = start_ring(start)
    status, text = program.command("why", str(program.pid))
    assert status == 1 and "wait cycle" in text and "one (wait_for)" in text and "two (wait_for)" in text


def test_a_loop_that_is_well(start: Start) -> None:
    program = start("ready()\nawait asyncio.sleep(60)")
    snapshot = program.look_until(lambda look: look.phase is Phase.POLLING)
    assert snapshot.stuck is None and snapshot.pid == program.pid and snapshot.alive
    assert snapshot.timers >= 1 and str(program.path) in snapshot.command
    status, text = program.command("why", str(program.pid))
    assert status == 0 and "it is not blocked" in text


def test_await_stacks(start: Start) -> None:
    program = start(
        "task = asyncio.create_task(outer(), name='waiter')\nready()\nawait asyncio.sleep(60)",
        "async def inner():\n    await asyncio.sleep(50)\nasync def outer():\n    await inner()\n",
    )
    task = named(program.look_until(waits_as("waiter", WaitKind.TIMER)), "waiter")
    (page,) = finder.find_pages(program.pid, writable=True)
    with page:
        stacks = ask_for_stacks(page, patience_s=PATIENCE_S)
    assert stacks is not None
    assert [frame.function for frame in stacks[task.id]] == ["outer", "inner", "sleep"]
    assert [frame.line for frame in stacks[task.id]][:2] == [
        program.line_of("await inner()"),
        program.line_of("asyncio.sleep(50)"),
    ]


def test_a_trace_shows_steps_waits_and_causes(start: Start) -> None:
    program = start(
        """
        queue = asyncio.Queue()
        consumer = asyncio.create_task(consume(queue), name="consumer")
        ready()
        while True:
            await asyncio.sleep(0.005)
            queue.put_nowait(1)
        """,
        "async def consume(queue):\n    while True:\n        await queue.get()\n",
    )
    consumer = named(program.look_until(waits_as("consumer", WaitKind.QUEUE_GET)), "consumer")
    (page,) = finder.find_pages(program.pid, writable=True)
    with page:
        history = build_history(record(page, 0.3))
    (lane,) = [lane for lane in history.lanes if lane.task_id == consumer.id]
    producer = next(lane for lane in history.lanes if lane.task_id != consumer.id)
    assert lane.name == "consumer" and lane.function == "consume"
    states = [interval.state for interval in lane.intervals]
    assert states.count(State.RUNNING) > 5 and states.count(State.READY) > 5
    assert {wakeup.by_id for wakeup in lane.wakeups} == {producer.task_id}
    waits = {history.wait_text(one.site) for one in lane.intervals[2:] if one.state is State.WAITING}
    assert waits == {"an item of a queue"}
    status, text = program.command("trace", str(program.pid), "--seconds", "0.2")
    assert status == 0 and "consumer" in text and "█" in text


def test_never_a_mixed_slot(start: Start) -> None:
    """Two tasks switch as fast as they can: whatever a slot says must fit together."""
    program = start(
        "pair = [asyncio.create_task(spin(), name=n) for n in ('left', 'right')]\n"
        "ready()\nawait asyncio.gather(*pair)",
        "async def spin():\n    while True:\n        await asyncio.sleep(0)\n",
    )
    (page,) = finder.find_pages(program.pid)
    steps: dict[int, int] = {}
    seen = 0
    with page:
        for _ in range(500):
            for task in take_snapshot(page, with_blocks=False).tasks:
                assert task.name in ("left", "right", "Task-1")
                assert task.steps >= steps.get(task.id, 0)
                steps[task.id] = task.steps
                seen += task.name != "Task-1"
                if task.name != "Task-1":
                    assert task.state in (State.READY, State.RUNNING) and task.reason is None
    assert sum(steps.values()) > 10_000 and seen > 900, "hardly any look may miss a task"


def test_a_record_outlives_kill_9(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "record"
    program = start(
        "ready()\nawait asyncio.create_task(work(), name='hog')",
        "async def work():\n    while True: pass\n",
        GLASSLOOP_RECORD=str(file),
    )
    program.look_until(lambda look: look.stuck is not None and look.stuck.frames)
    assert file.stat().st_mode & 0o777 == 0o600
    program.end()
    status, text = program.command("why", str(file))
    assert status == 1 and "It died while STUCK" in text and f"{program.path}" in text
    status, text = program.command("trace", str(file))
    assert status == 0 and "hog" in text


def test_two_loops_in_two_threads(start: Start) -> None:
    program = start(
        "threading.Thread(target=lambda: glassloop.run(second()), name='other', daemon=True).start()\n"
        "await asyncio.sleep(60)",
        "async def second():\n    ready()\n    await asyncio.sleep(60)\n",
    )
    pages = finder.find_pages(program.pid)
    threads = set()
    for page in pages:
        with page:
            threads.add(take_snapshot(page).thread_name)
    assert threads == {"MainThread", "other"}


def test_a_page_can_be_turned_off(start: Start) -> None:
    program = start("ready()\nawait asyncio.sleep(60)", GLASSLOOP_PAGE="0")
    with pytest.raises(NoLoopError, match="GLASSLOOP_PAGE=0"):
        program.look()


def test_a_child_of_fork_does_not_show_its_parent_s_page(start: Start) -> None:
    program = start(
        "child = os.fork()\nif child == 0:\n    time.sleep(60)\n    os._exit(0)\n"
        "open(sys.argv[0] + '.child', 'w').write(str(child))\nready()\nawait asyncio.sleep(60)"
    )
    child = int(Path(f"{program.path}.child").read_text())
    try:
        with pytest.raises(NoLoopError):
            finder.find_pages(child)
    finally:
        os.kill(child, 9)
