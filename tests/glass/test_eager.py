"""Tasks that run at once when they are made: they show in the page from when they first wait."""

import sys

import pytest

from glassloop.glass.layout import State
from glassloop.glass.model import Snapshot
from glassloop.glass.reasons import WaitKind

from .programs import Start, named

pytestmark = pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks are new in Python 3.12")

WAYS = [
    "asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)\nmake = asyncio.create_task",
    pytest.param(
        "import functools\nmake = functools.partial(asyncio.create_task, eager_start=True)",
        marks=pytest.mark.skipif(sys.version_info < (3, 14), reason="eager_start is new in Python 3.14"),
    ),
]
WAITERS = """
async def nothing():
    pass
async def sleeper():
    await asyncio.sleep(600)
async def waiter(thing):
    return await thing
async def queued(queue):
    while True:
        await queue.get()
async def yields():
    await asyncio.sleep(0)
    await asyncio.Event().wait()
"""


def kinds(snapshot: Snapshot) -> dict[str, WaitKind | None]:
    return {task.name: task.reason.kind if task.reason is not None else None for task in snapshot.tasks}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: "factory" if "factory" in str(way) else "eager_start")
def test_eager_tasks_show_when_they_wait(start: Start, way: str) -> None:
    program = start(
        way + "\n"
        """
for _ in range(100):
    make(nothing())
shared = asyncio.get_running_loop().create_future()
queue = asyncio.Queue()
tasks = [make(sleeper(), name="sleeper"), make(yields(), name="yields"), make(queued(queue), name="queued")]
tasks += [make(waiter(shared), name=f"shared {n}") for n in (1, 2)]
tasks.append(make(waiter(tasks[0]), name="joins"))
tasks.append(make(waiter(asyncio.Future()), name="stock"))
stepped = make(waiter(shared))
open(sys.argv[0] + ".name", "w").write(stepped.get_name())
ready()
await asyncio.sleep(0.5)
queue.put_nowait(1)
queue.put_nowait(2)
await asyncio.sleep(600)
""",
        WAITERS,
    )
    first = program.look()
    unnamed = (program.path.parent / (program.path.name + ".name")).read_text()
    waits = {
        "sleeper": WaitKind.TIMER,
        "queued": WaitKind.QUEUE_GET,
        "shared 1": WaitKind.FUTURE,
        "shared 2": WaitKind.FUTURE,
        "joins": WaitKind.TASK,
        "stock": WaitKind.OTHER,
        unnamed: WaitKind.FUTURE,
    }
    assert waits.items() <= kinds(first).items()
    assert len(first.tasks) == len(waits) + 2, "those that ended at once are not there, nor were they ever"
    sleeper, joins = named(first, "sleeper"), named(first, "joins")
    assert joins.awaited_id == sleeper.id and sleeper.deadline_ns > first.now_ns
    assert sleeper.steps == 1 and sleeper.state is State.WAITING
    assert sleeper.parent_id == named(first, "Task-1").id
    assert sleeper.creator is not None and sleeper.creator.name == "main"
    assert sleeper.coroutine is not None and sleeper.coroutine.name == "sleeper"
    later = program.look_until(lambda look: named(look, "queued").steps >= 2)
    assert named(later, "queued").wakeups == 1
    assert kinds(later)["yields"] is WaitKind.EVENT
    status, text = program.command("why", str(program.pid))
    line = program.line_of("await asyncio.sleep(600)", in_function="sleeper")
    assert status == 0 and f"sleeper in {program.path.name}:{line} sleeper for a sleep to end" in text


def test_eager_tasks_end_and_leave_the_page(start: Start) -> None:
    program = start(
        "asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)\n"
        """
async def worker(event):
    await event.wait()
for _ in range(20):
    event = asyncio.Event()
    done = [asyncio.create_task(worker(event)) for _ in range(50)]
    done[0].cancel()
    event.set()
    await asyncio.wait(done)
assert all(task.done() for task in done) and done[0].cancelled()
assert len(asyncio.all_tasks()) == 1
ready()
await asyncio.sleep(600)
""",
    )
    assert [task.name for task in program.look().tasks] == ["Task-1"]
