"""`glassloop why` at programs in trouble: it names the line of the user's code, or who waits for whom."""

import json
import re
import time
from typing import Any

import pytest

from glassloop.glass.layout import State
from glassloop.glass.model import Snapshot
from glassloop.glass.reasons import WaitKind

from .programs import Program, Start, named, start_ring, waits_as

TAKE = """
async def take(first, second):
    async with first:
        await asyncio.sleep(0.01)
        async with second:
            pass
"""
# The same without `async with`: who holds the lock must be guessed.
TAKE_BY_HAND = """
async def take(first, second):
    await first.acquire()
    await asyncio.sleep(0.01)
    await second.acquire()
    second.release()
    first.release()
"""
TAKE_THROUGH_MANAGERS = """
import contextlib
@contextlib.asynccontextmanager
async def guarded(lock):
    async with lock:
        yield
async def take(first, second):
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(guarded(first))
        await asyncio.sleep(0.01)
        await stack.enter_async_context(guarded(second))
"""
TAKE_CONDITIONS = TAKE.replace("first:", "asyncio.Condition(first):").replace(
    "second:", "asyncio.Condition(second):"
)
TWO_TAKERS = """
a, b = asyncio.Lock(), asyncio.Lock()
one = asyncio.create_task(take(a, b), name="one")
two = asyncio.create_task(take(b, a), name="two")
ready()
await one
await two
"""
STANDING_NS = 200_000_000


def why(program: Program) -> tuple[int, dict[str, Any]]:
    """The exit status and what --json says of the one loop."""
    status, text = program.command("why", "--json", str(program.pid))
    (loop,) = json.loads(text)["loops"]
    return status, loop


def insight(loop: dict[str, Any], name: str) -> str:
    """The sentence of the only insight of this name."""
    (sentence,) = [one["sentence"] for one in loop["insights"] if one["insight"] == name]
    assert isinstance(sentence, str)
    return sentence


def both_wait(snapshot: Snapshot) -> bool:
    tasks = [task for task in snapshot.tasks if task.name in ("one", "two")]
    return all(
        task.reason is not None and task.reason.kind is WaitKind.LOCK and task.state_ns > STANDING_NS
        for task in tasks
    )


@pytest.mark.parametrize(
    ("take", "line", "function", "seems"),
    [
        (TAKE, "async with second", "take", ""),
        (TAKE_CONDITIONS, "async with asyncio.Condition(second)", "take", ""),
        (TAKE_THROUGH_MANAGERS, "async with lock", "guarded", ""),
        (TAKE_BY_HAND, "await second.acquire()", "take", ", it seems,"),
    ],
    ids=["async with", "condition", "context managers", "by hand"],
)
def test_two_locks_taken_in_two_orders(start: Start, take: str, line: str, function: str, seems: str) -> None:
    program = start(TWO_TAKERS, take)
    program.look_until(both_wait)
    status, loop = why(program)
    assert status == 1 and loop["trouble"]
    place = f"{program.path}:{program.line_of(line)} {function}"
    lock = "Lock at (0x[0-9a-f]+)"
    found = re.fullmatch(
        rf"wait cycle: one \(take\) at {place} waits for {lock}, held{seems} by two \(take\); "
        rf"two \(take\) at {place} waits for {lock}, held{seems} by one \(take\)",
        insight(loop, "wait cycle"),
    )
    assert found, insight(loop, "wait cycle")
    assert found[1] != found[2]
    assert "nothing in this loop can go on by itself" in insight(loop, "deadlock")


def test_a_deadlock_on_the_screen(start: Start) -> None:
    program = start(TWO_TAKERS, TAKE)
    program.look_until(both_wait)
    status, text = program.command("why", str(program.pid))
    assert (
        status == 1 and "wait cycle: one (take) at " in text and "held by two (take); two (take) at " in text
    )
    assert "\x1b" not in text


def test_a_lock_that_is_taken_twice(start: Start) -> None:
    program = start(
        "lock = asyncio.Lock()\nready()\nasync with lock:\n    async with lock:\n        pass",
    )
    program.look_until(lambda look: any(task.state_ns > STANDING_NS for task in look.tasks))
    status, loop = why(program)
    assert status == 1
    assert re.search(r"Task-1.* waits for Lock at 0x\w+, held by Task-1", insight(loop, "wait cycle"))


def test_tasks_that_wait_for_each_other(start: Start) -> None:
    program = start_ring(start)
    status, loop = why(program)
    assert status == 1
    assert (
        insight(loop, "wait cycle")
        == "wait cycle: one (wait_for) awaits two (wait_for) awaits one (wait_for)"
    )


@pytest.mark.parametrize(
    "wait", ["await asyncio.gather(children[0])", "await asyncio.wait(children)", "async with group: pass"]
)
def test_a_parent_and_a_child_that_wait_for_each_other(start: Start, wait: str) -> None:
    program = start(
        """
        children = []
        group = asyncio.TaskGroup()
        parent = asyncio.create_task(run_parent(children, group), name="parent")
        ready()
        await asyncio.sleep(60)
        """,
        f"""
        async def run_child(parent):
            await parent
        async def run_parent(children, group):
            if {wait.startswith("async with")}:
                async with group:
                    group.create_task(run_child(asyncio.current_task()), name="child")
            else:
                children.append(asyncio.create_task(run_child(asyncio.current_task()), name="child"))
                {wait if wait.startswith("await") else "pass"}
        """,
    )
    program.look_until(
        lambda look: any(task.name == "parent" and task.state_ns > STANDING_NS for task in look.tasks)
    )
    status, loop = why(program)
    sentence = insight(loop, "wait cycle")
    assert status == 1 and "child (run_child)" in sentence and "awaits parent (run_parent)" in sentence


def test_a_lock_that_is_held_across_a_long_wait(start: Start) -> None:
    program = start(
        """
        lock = asyncio.Lock()
        holder = asyncio.create_task(hold(lock), name="holder")
        await asyncio.sleep(0)
        waiters = [asyncio.create_task(use(lock), name=f"user{n}") for n in range(3)]
        ready()
        await asyncio.sleep(60)
        """,
        """
        async def hold(lock):
            async with lock:
                await asyncio.sleep(50)
        async def use(lock):
            async with lock:
                raise AssertionError
        """,
    )
    program.look_until(
        lambda look: any(task.name == "user0" and task.state_ns > 1_100_000_000 for task in look.tasks)
    )
    status, loop = why(program)
    sentence = insight(loop, "long wait for a lock")
    assert status == 0 and sentence.startswith("3 tasks wait for Lock at 0x")
    assert f"at {program.path}:{program.line_of('raise') - 1} use, user0 for " in sentence
    assert f"held by holder at {program.path}:{program.line_of('sleep(50)')} hold" in sentence
    assert sentence.endswith("which itself waits for a sleep to end")


def test_who_only_wants_a_lock_does_not_hold_it(start: Start) -> None:
    """The lock was taken and never released; those that wait inside `async with lock:` have no part in it."""
    program = start(
        """
        lock = asyncio.Lock()
        await lock.acquire()
        waiters = [asyncio.create_task(use(lock), name=f"user{n}") for n in range(3)]
        ready()
        await asyncio.sleep(60)
        """,
        "async def use(lock):\n    async with lock:\n        pass\n",
    )
    program.look_until(waits_as("user2", WaitKind.LOCK))
    _, loop = why(program)
    assert [task["holds"] for task in loop["tasks"]] == [[], [], [], []]


def test_a_lock_is_held_while_something_else_is_entered(start: Start) -> None:
    program = start(
        "lock = asyncio.Lock()\ntask = asyncio.create_task(use(lock), name='holder')\nready()\n"
        "await asyncio.sleep(60)",
        """
        class Slow:
            async def __aenter__(self):
                await asyncio.sleep(50)
            async def __aexit__(self, *_):
                pass
        async def use(lock):
            async with lock:
                async with Slow():
                    pass
        """,
    )
    program.look_until(waits_as("holder", WaitKind.TIMER))
    _, loop = why(program)
    holds = {task["name"]: task["holds"] for task in loop["tasks"]}
    assert [held["sure"] for held in holds["holder"]] == [True] and holds["Task-1"] == []


def test_a_condition_that_waits_has_let_go_of_its_lock(start: Start) -> None:
    program = start(
        "condition = asyncio.Condition()\n"
        "task = asyncio.create_task(wait(condition), name='waiter')\nready()\n"
        "await asyncio.sleep(0)\nasync with condition:\n    await asyncio.sleep(60)",
        "async def wait(condition):\n    async with condition:\n        await condition.wait()\n",
    )
    program.look_until(waits_as("waiter", WaitKind.CONDITION))
    _, loop = why(program)
    holds = {task["name"]: task["holds"] for task in loop["tasks"]}
    assert holds["waiter"] == [] and len(holds["Task-1"]) == 1 and holds["Task-1"][0]["sure"]


@pytest.mark.parametrize("others", ["", "kept.append(future)"], ids=["lost", "kept"])
def test_a_task_that_waits_for_a_lost_future(start: Start, others: str) -> None:
    program = start(
        "task = asyncio.create_task(fetch(), name='fetcher')\nready()\nawait asyncio.sleep(60)",
        f"""
        kept = []
        async def fetch():
            future = asyncio.get_running_loop().create_future()
            {others or "pass"}
            await future
        """,
    )
    program.look_until(waits_as("fetcher", WaitKind.FUTURE))
    status, loop = why(program)
    place = f"{program.path}:{program.line_of('await future')} fetch"
    names = [one["insight"] for one in loop["insights"]]
    assert status == 0 and ("lost future" in names) is not bool(others)
    if not others:
        assert f"task fetcher waits at {place} for a future made in " in insight(loop, "lost future")
    status, text = program.command("why", str(program.pid))
    assert f"{place.rpartition('/')[2]} for a future made in {program.path.name}" in text


def test_a_full_executor(start: Start) -> None:
    program = start(
        """
        from concurrent.futures import ThreadPoolExecutor
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
        jobs = [asyncio.create_task(job(), name=f"job{n}") for n in range(5)]
        ready()
        await asyncio.sleep(60)
        """,
        "async def job():\n    await asyncio.to_thread(time.sleep, 60)\n",
    )
    program.look_until(lambda look: all(waits_as(f"job{n}", WaitKind.EXECUTOR)(look) for n in range(5)))
    _, loop = why(program)
    assert insight(loop, "executor full").startswith(
        "the executor is full: all its 2 threads are busy and 3 jobs wait for one, the longest for about "
    )
    job = next(task for task in loop["tasks"] if task["name"] == "job4")
    assert job["subject"] == "time.sleep in a thread"
    assert job["await_stack"][0] == {
        "file": str(program.path),
        "line": program.line_of("to_thread"),
        "function": "job",
    }


@pytest.mark.parametrize("watch", ["add_reader(a, look, a)", "add_writer(a, look, a)"])
def test_a_descriptor_that_is_ready_and_never_read(start: Start, watch: str) -> None:
    program = start(
        f"""
        import socket
        a, b = socket.socketpair()
        b.send(b"x")
        asyncio.get_running_loop().{watch}
        open(sys.argv[0] + ".fd", "w").write(str(a.fileno()))
        ready()
        await asyncio.sleep(60)
        """,
        "def look(sock):\n    pass\n",
    )
    program.look_until(lambda look: look.turns > 1000)
    fd = (program.path.parent / (program.path.name + ".fd")).read_text()
    _, loop = why(program)
    handler = f"{program.path}:{program.line_of('def look')} look"
    assert insight(loop, "descriptor never read").startswith(
        f"file descriptor {fd} is always ready and its handler, {handler}, takes nothing off it"
    )


@pytest.mark.parametrize(
    "blocking",
    [
        "time.sleep(60)",
        "while True: pass",
        're.match("(a+)+$", "a" * 64 + "b")',
        "pair[0].recv(1)",
        "urllib.request.urlopen(url)",
    ],
)
def test_a_step_that_blocks_the_loop(start: Start, blocking: str) -> None:
    program = start(
        "server = socket.create_server(('127.0.0.1', 0))\nready()\n"
        "await asyncio.create_task(work(f'http://127.0.0.1:{server.getsockname()[1]}/'), name='hog')",
        f"import socket, urllib.request\npair = socket.socketpair()\nasync def work(url):\n    {blocking}\n",
    )
    program.look_until(lambda look: look.stuck is not None and look.stuck.frames)
    began_s = time.monotonic()
    status, loop = why(program)
    print(f"why took {time.monotonic() - began_s:.3f} s")
    assert status == 1 and loop["stuck"]["name"] == "hog"
    line = {"file": str(program.path), "line": program.line_of(blocking), "function": "work"}
    assert loop["stuck"]["line"] == line
    states = {task["name"]: task["state"] for task in loop["tasks"]}
    assert states["hog"] == "running" and states["Task-1"] == "waiting"
    status, text = program.command("why", str(program.pid))
    assert status == 1 and f"at {program.path}:{line['line']} work" in text


def test_a_task_that_was_cancelled_and_goes_on(start: Start) -> None:
    program = start(
        """
        task = asyncio.create_task(stubborn(), name="stubborn")
        other = asyncio.create_task(asyncio.sleep(60), name="other")
        await asyncio.sleep(0)
        task.cancel()
        ready()
        await asyncio.sleep(60)
        """,
        """
        async def stubborn():
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                await asyncio.sleep(50)
        """,
    )
    snapshot = program.look_until(
        lambda look: any(task.name == "stubborn" and task.state_ns > 1_100_000_000 for task in look.tasks)
    )
    assert named(snapshot, "stubborn").state is State.WAITING
    _, loop = why(program)
    assert "task stubborn" in insight(loop, "cancelled yet running")
