"""A program with 100,000 tasks that wait for different things: every way to look at it is right."""

import json

import pytest

from glassloop.glass import finder
from glassloop.glass.layout import State
from glassloop.glass.reasons import WaitKind
from glassloop.glass.wait_groups import group_waits
from glassloop.top.look import LoopSource
from glassloop.top.rates import Rates
from glassloop.top.task_list import Order, Query, TaskList

from .programs import Start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
COUNT = 100_000
BODY = f"""
loop, kept, tasks = asyncio.get_running_loop(), [], []
for number in range({COUNT}):
    match number % 5:
        case 0: waits = asyncio.sleep(3600 + number)
        case 1: waits = asyncio.Event().wait()
        case 2: waits = asyncio.Queue().get()
        case 3:
            kept.append(loop.create_future())
            waits = wait(kept[-1])
        case _: waits = wait(tasks[-1])
    tasks.append(loop.create_task(waits, name=f"job {{number}}"))
await asyncio.sleep(0)
beat = loop.create_task(heartbeat(), name="heartbeat")
metrics = loop.metrics()
assert metrics.tasks_waiting == {COUNT} and metrics.tasks == {COUNT} + 2, metrics
assert len(glassloop.tasks()) == {COUNT} + 2
ready()
await asyncio.sleep(3600)
"""
BEFORE = """
async def wait(thing):
    await thing
async def heartbeat():
    while True:
        await asyncio.sleep(0.01)
"""


def test_all_verbs(start: Start) -> None:
    program = start(BODY, BEFORE)
    snapshot = program.look_until(lambda look: look.table.count(State.WAITING) >= COUNT)
    assert len(snapshot.table) == COUNT + 2 and not snapshot.tasks_torn and not snapshot.tasks_unseen
    sizes = {(group.kind, group.size) for group in group_waits(snapshot.table)}
    each = COUNT // 5
    assert {
        (WaitKind.EVENT, each),
        (WaitKind.QUEUE_GET, each),
        (WaitKind.FUTURE, each),
        (WaitKind.TASK, each),
    } <= sizes

    status, text = program.command("ps", "--json")
    (row,) = [one for one in json.loads(text)["loops"] if one["pid"] == program.pid]
    assert status == 0 and row["tasks"] == COUNT + 2

    status, text = program.command("why", str(program.pid))
    assert (
        status == 0 and f"{each} tasks in {program.path.name}:{program.line_of('await thing')} wait" in text
    )
    status, text = program.command("why", "--json", str(program.pid))
    (loop,) = json.loads(text)["loops"]
    assert len(loop["tasks"]) == COUNT + 2 and loop["states"]["waiting"] >= COUNT

    status, text = program.command("trace", "--seconds", "0.5", "--tasks", "3", str(program.pid))
    assert status == 0 and "heartbeat" in text, text

    (page,) = finder.find_pages(program.pid, writable=True)
    with page:
        source = LoopSource(page, 0.1)
        first = source.look()
        rates = Rates(source.look(), first)
        assert len(TaskList(rates, Query(Order.FOR))) == COUNT + 2
        tasks = TaskList(rates, Query(Order.FOR, words=("heartbeat",)))
        assert len(tasks) == 1 and tasks.row(0).task.name == "heartbeat" and tasks.row(0).wakeups > 0
        stack = source.await_stack(rates.table.column("id")[rates.table.names.index("job 99999")])
        assert stack is not None and stack[0].function == "wait", "asked for by name, it is told of first"
