"""One program with a task in every state and every wait: what its page says is read from this process."""

import json
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from glassloop.glass import finder
from glassloop.glass.answers import Answer
from glassloop.glass.layout import Cause, Running, State
from glassloop.glass.model import Snapshot, TaskView
from glassloop.glass.reasons import WaitKind
from glassloop.glass.stacks import ask

from .programs import HEAD, PATIENCE_S, Program, named

MS = 1_000_000
# The reader's line through two pairs of clock readings is not quite the processor's.
CLOCKS_DIFFER_NS = 5 * MS


@dataclass(frozen=True)
class Wait:
    """What a task does, and what is to be said of it; ``subject`` is what the loop answers when asked."""

    kind: WaitKind
    code: str
    subject: str = ""
    before: str = ""  # what takes a while, such as connecting, before the wait of which the time is checked


WAITS = {
    "sleep": Wait(WaitKind.TIMER, "await asyncio.sleep(600)"),
    "lock": Wait(WaitKind.LOCK, "await lock.acquire()", r"Lock at 0x[0-9a-f]+"),
    "event": Wait(WaitKind.EVENT, "await asyncio.Event().wait()", r"Event at 0x[0-9a-f]+"),
    "semaphore": Wait(
        WaitKind.SEMAPHORE, "await asyncio.Semaphore(0).acquire()", r"Semaphore at 0x[0-9a-f]+"
    ),
    "bounded semaphore": Wait(
        WaitKind.SEMAPHORE, "await full.acquire()", r"BoundedSemaphore at 0x[0-9a-f]+", "await full.acquire()"
    ),
    "condition": Wait(
        WaitKind.CONDITION, "await condition.wait()", r"Condition at 0x[0-9a-f]+", "await condition.acquire()"
    ),
    "barrier": Wait(
        WaitKind.BARRIER, "await asyncio.Barrier(3).wait()", r"Barrier at 0x[0-9a-f]+, where 1 of 3 have come"
    ),
    "queue get": Wait(
        WaitKind.QUEUE_GET, "await asyncio.Queue().get()", r"Queue at 0x[0-9a-f]+, which holds 0"
    ),
    "queue put": Wait(
        WaitKind.QUEUE_PUT, "await full_queue.put(2)", r"LifoQueue at 0x[0-9a-f]+, which holds 1 of 1"
    ),
    "gather": Wait(WaitKind.GATHER, "await asyncio.gather(forever(), forever())"),
    "wait": Wait(
        WaitKind.WAIT, "await asyncio.wait([asyncio.ensure_future(forever())])", r"1 tasks \(asyncio\.wait\)"
    ),
    "shield": Wait(WaitKind.SHIELD, "await asyncio.shield(forever())"),
    "task": Wait(WaitKind.TASK, "await asyncio.create_task(forever(), name='awaited')"),
    "group": Wait(
        WaitKind.TASK_GROUP,
        "async with asyncio.TaskGroup() as group:  # waits\n    group.create_task(forever())",
        "1 tasks of a group",
    ),
    "timeout": Wait(
        WaitKind.EVENT,
        "async with asyncio.timeout(600):\n    await asyncio.Event().wait()  # waits",
        r"Event at .*",
    ),
    "thread": Wait(WaitKind.EXECUTOR, "await asyncio.to_thread(nap, 600)", r"__main__\.nap in a thread"),
    "executor": Wait(WaitKind.EXECUTOR, "await loop.run_in_executor(None, nap, 600)"),
    "offload": Wait(
        WaitKind.EXECUTOR,
        "await glassloop.offload(nap, 600)",
        r"__main__\.nap in thread glassloop-offload_\d+",
        "await glassloop.offload(int)",
    ),
    "offload to a process": Wait(
        WaitKind.EXECUTOR,
        "await glassloop.offload(nap, 600, to='process')",
        r"__main__\.nap in a process",
        "await glassloop.offload(int, to='process')",
    ),
    "offload to an executor": Wait(
        WaitKind.EXECUTOR,
        "await glassloop.offload(nap, 600, to=pool)",
        r"__main__\.nap in thread ThreadPoolExecutor-\S+",
        "pool = concurrent.futures.ThreadPoolExecutor(1)\nawait glassloop.offload(int, to=pool)",
    ),
    "file": Wait(
        WaitKind.FILE,
        "await glassloop._io.file_engine.engine_of(loop).read(os.pipe()[0], 1)",
        r"file descriptor \d+ to be read",
        "import glassloop._io.file_engine, os",
    ),
    "dns": Wait(
        WaitKind.DNS,
        "await loop.getaddrinfo('db.example', 5432)",
        r"the address of 'db\.example', port 5432",
    ),
    "connect by name": Wait(
        WaitKind.DNS,
        "await asyncio.open_connection('cache.example', 6379)",
        r"the address of 'cache\.example', port 6379",
    ),
    "process": Wait(
        WaitKind.PROCESS,
        "await process.wait()",
        r"process \d+",
        "process = await asyncio.create_subprocess_exec('sleep', '600')",
    ),
    "output of a process": Wait(
        WaitKind.STREAM_READ,
        "await process.stdout.readline()",
        r"file descriptor \d+",
        "process = await asyncio.create_subprocess_exec('sleep', '600', stdout=-1)",
    ),
    "future": Wait(WaitKind.FUTURE, "await keep(loop.create_future())"),
    "stock future": Wait(WaitKind.OTHER, "await keep(asyncio.Future())"),
    "socket": Wait(WaitKind.SOCKET, "await loop.sock_recv(pair()[0], 1)", r"file descriptor \d+"),
    "accept": Wait(WaitKind.SOCKET, "await loop.sock_accept(listening())", r"file descriptor \d+"),
    "stream": Wait(
        WaitKind.STREAM_READ,
        "await reader.read(1)",
        r"file descriptor \d+",
        "reader, writer = await asyncio.open_connection(sock=pair()[0])",
    ),
    "tls handshake": Wait(
        WaitKind.HANDSHAKE,
        "await asyncio.open_connection(sock=pair()[0], ssl=context, server_hostname='silent.test')",
        before="import ssl\ncontext = ssl.create_default_context()",
    ),
    "drain": Wait(
        WaitKind.STREAM_WRITE,
        "writer.write(bytes(1 << 24))\nawait writer.drain()  # waits",
        r"file descriptor \d+",
        "reader, writer = await asyncio.open_connection(sock=pair()[0])",
    ),
    "server": Wait(
        WaitKind.SERVER,
        "await server.serve_forever()",
        before="server = await asyncio.start_server(lambda r, w: None, '127.0.0.1', 0)",
    ),
    "inner coroutine": Wait(WaitKind.TIMER, "await outer()"),
    "asynchronous generator": Wait(WaitKind.TIMER, "async for _ in items():  # waits\n    pass"),
}

BEFORE = """
import concurrent.futures, json, socket
times, kept = {}, []
lock = full = condition = full_queue = loop = None
def keep(thing):
    kept.append(thing)
    return thing
def nap(seconds):
    time.sleep(seconds)
def pair():
    one, other = socket.socketpair()
    one.setblocking(False)
    kept.append(other)
    return one, other
def listening():
    server = socket.create_server(("127.0.0.1", 0))
    server.setblocking(False)
    return server
def slow_getaddrinfo(*arguments, **options):
    time.sleep(600)
async def forever():
    await asyncio.sleep(600)
async def outer():
    await forever()
async def items():
    await asyncio.sleep(600)
    yield 1
def note(name, **more):
    times[name] = {"id": asyncio.current_task()._page_id, "at": time.monotonic_ns(), **more}
async def burn():
    began = time.monotonic_ns()
    while time.monotonic_ns() - began < 50_000_000:
        pass
    note("burner", burned=time.monotonic_ns() - began)
    await forever()
async def woken_by_task(event):
    await event.wait()
    note("woken by a task")
    await forever()
async def waker(event):
    await asyncio.sleep(0)
    event.set()
    note("waker")
    await forever()
async def woken_by_timer():
    await asyncio.sleep(0.001)
    await forever()
async def woken_by_stream():
    one, other = pair()
    reader, writer = await asyncio.open_connection(sock=one)
    asyncio.get_running_loop().call_later(0.001, other.send, b"x")
    await reader.read(1)
    note("woken by a stream", fd=one.fileno())
    await forever()
async def woken_by_thread():
    future = asyncio.get_running_loop().create_future()
    def finish():
        time.sleep(0.01)
        future.get_loop().call_soon_threadsafe(future.set_result, None)
    threading.Thread(target=finish).start()
    await future
    await forever()
async def never_run():
    await forever()
async def yielding():
    while True:
        await asyncio.sleep(0)
"""
BODY = """
global lock, full, condition, full_queue, loop
loop = asyncio.get_running_loop()
lock, full, condition = asyncio.Lock(), asyncio.BoundedSemaphore(1), asyncio.Condition()
full_queue = asyncio.LifoQueue(1)
full_queue.put_nowait(1)
await lock.acquire()
socket.getaddrinfo = slow_getaddrinfo
event = asyncio.Event()
tasks = []
for name, function in WAITING.items():
    tasks.append(loop.create_task(function(), name=name))
tasks += [loop.create_task(function(*arguments), name=name) for name, function, arguments in (
    ("burner", burn, ()), ("woken by a task", woken_by_task, (event,)), ("waker", waker, (event,)),
    ("woken by a timer", woken_by_timer, ()), ("woken by a stream", woken_by_stream, ()),
    ("woken by a thread", woken_by_thread, ()))]
while len(times) < len(tasks) - 2:
    await asyncio.sleep(0.01)
await asyncio.sleep(0.2)
note("main")
print(json.dumps(times), flush=True)
ready()
await forever()
"""


def source() -> str:
    functions = []
    for number, (name, wait) in enumerate(WAITS.items()):
        body = f"{wait.before}\nbefore = time.monotonic_ns()\n"
        body += f"await asyncio.sleep(0)\nnote({name!r}, before=before)\n"
        code = wait.code if "# waits" in wait.code else f"{wait.code}  # waits"
        functions.append(f"async def wait{number}():\n" + textwrap.indent(body + code, "    "))
    table = ", ".join(f"{name!r}: wait{number}" for number, name in enumerate(WAITS))
    return BEFORE + "\n".join(functions) + f"\nWAITING = {{{table}}}\n"


@dataclass
class Seen:
    """The program, what it says of itself, and what its page says."""

    program: Program
    told: dict[str, dict[str, Any]]
    snapshot: Snapshot
    answer: Answer


@pytest.fixture(scope="module", params=["", "full"], ids=["light", "full"])
def seen(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    path = tmp_path_factory.mktemp("states") / "program.py"
    main = "async def main():\n" + textwrap.indent(BODY, "    ")
    path.write_text(HEAD + source() + main + '\nif __name__ == "__main__":\n    glassloop.run(main())\n')
    program = Program(path, {"GLASSLOOP_PAGE": request.param})
    try:
        assert program.process.stdout is not None
        told = json.loads(program.process.stdout.readline())
        program.wait_until_ready()
        snapshot = program.look_until(
            lambda look: look.phase.name == "POLLING" and len(look.tasks) > len(WAITS) + 6
        )
        (page,) = finder.find_pages(program.pid, writable=True)
        with page:
            answer = ask(page, PATIENCE_S)
        assert answer is not None
        yield Seen(program, told, snapshot, answer)
    finally:
        program.end()


@pytest.mark.parametrize("name", WAITS)
def test_a_wait(seen: Seen, name: str) -> None:
    expected, told = WAITS[name], seen.told[name]
    task = named(seen.snapshot, name)
    number = list(WAITS).index(name)
    assert task.id == told["id"]
    assert task.state is State.WAITING
    assert task.reason is not None and task.reason.kind is expected.kind, task.reason
    # The page tells the beginning of the turn in which it began to wait.
    # It is noted in the step that ends in the wait, and the main task looks at its clock after that.
    assert told["before"] - CLOCKS_DIFFER_NS <= task.since_ns <= seen.told["main"]["at"] + CLOCKS_DIFFER_NS
    assert task.since_ns + task.state_ns == seen.snapshot.now_ns
    assert task.cause is Cause.YIELDED and task.steps >= 2
    assert task.coroutine is not None and task.coroutine.name == f"wait{number}"
    assert task.coroutine.file == str(seen.program.path)
    assert task.creator is not None and task.creator.name == "main"
    assert task.parent_id == seen.told["main"]["id"]
    subject = seen.answer.tasks[task.id].subject
    assert re.fullmatch(expected.subject, subject), subject
    line = seen.program.line_of("# waits", in_function=f"wait{number}")
    assert line in [
        frame.line for frame in seen.answer.stacks[task.id] if frame.file == str(seen.program.path)
    ]


def test_a_sleep_s_deadline(seen: Seen) -> None:
    task = named(seen.snapshot, "sleep")
    deadline_ns = seen.told["sleep"]["at"] + 600_000 * MS
    assert deadline_ns <= task.deadline_ns <= deadline_ns + 1000 * MS


def test_the_task_that_is_awaited(seen: Seen) -> None:
    assert named(seen.snapshot, "task").awaited_id == named(seen.snapshot, "awaited").id


@pytest.mark.parametrize(("name", "count"), [("gather", 2), ("wait", 1), ("group", 1)])
def test_the_tasks_that_must_all_end(seen: Seen, name: str, count: int) -> None:
    parent = named(seen.snapshot, name)
    children = {task.id for task in seen.snapshot.tasks if task.parent_id == parent.id}
    assert len(children) == count and set(seen.answer.tasks[parent.id].awaits) == children


def woken(seen: Seen, name: str) -> TaskView:
    task = named(seen.snapshot, name)
    assert task.state is State.WAITING and task.cause is Cause.FUTURE_DONE and task.wakeups >= 1
    return task


def test_woken_by_a_task(seen: Seen) -> None:
    task = woken(seen, "woken by a task")
    assert task.cause_running is Running.TASK and task.cause_id == seen.told["waker"]["id"]


def test_woken_by_a_timer(seen: Seen) -> None:
    assert woken(seen, "woken by a timer").cause_running is Running.HANDLE


def test_woken_by_a_thread(seen: Seen) -> None:
    assert woken(seen, "woken by a thread").cause_running is Running.HANDLE


def test_woken_by_a_stream(seen: Seen) -> None:
    task = woken(seen, "woken by a stream")
    assert task.cause_running is Running.SOURCE and task.cause_id == seen.told["woken by a stream"]["fd"] + 1


def test_created_and_never_woken(seen: Seen) -> None:
    task = named(seen.snapshot, "awaited")
    assert task.cause is Cause.CREATED and task.wakeups == 0 and task.steps == 1
    assert task.cause_running is Running.TASK and task.cause_id == named(seen.snapshot, "task").id


def test_cpu_time(seen: Seen, request: pytest.FixtureRequest) -> None:
    """Measured to the step where each step is timed; else the watchdog samples it."""
    task = named(seen.snapshot, "burner")
    burned_ns = seen.told["burner"]["burned"]
    assert 0 < task.cpu_ns <= task.age_ns
    if "full" in request.node.callspec.id:
        assert task.cpu_ns >= burned_ns - CLOCKS_DIFFER_NS


def test_ready_running_and_done(start: Any) -> None:
    """States that pass: the page is looked at while the loop stands still in a step."""
    program = start(
        """
        gone = asyncio.create_task(asyncio.sleep(0), name="gone")
        await gone
        new = asyncio.create_task(asyncio.sleep(600), name="new")
        event = asyncio.Event()
        woken = asyncio.create_task(event.wait(), name="woken")
        yielding = asyncio.create_task(spin(), name="yielding")
        await asyncio.sleep(0)
        later = asyncio.create_task(asyncio.sleep(600), name="later")
        event.set()
        ready()
        time.sleep(60)
        """,
        "async def spin():\n    while True:\n        await asyncio.sleep(0)\n",
    )
    snapshot = program.look()
    states = {task.name: (task.state, task.cause) for task in snapshot.tasks}
    assert states["Task-1"][0] is State.RUNNING and "gone" not in states
    assert states["new"] == (State.WAITING, Cause.CREATED)
    assert states["later"] == (State.READY, Cause.CREATED)
    assert states["woken"] == (State.READY, Cause.FUTURE_DONE)
    assert states["yielding"] == (State.READY, Cause.YIELDED)
    main = named(snapshot, "Task-1")
    assert named(snapshot, "later").parent_id == named(snapshot, "woken").cause_id == main.id
    assert snapshot.running is Running.TASK and snapshot.running_id == main.id
