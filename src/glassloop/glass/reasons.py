"""What a task waits for, in words: derived from the function that made the future that it awaits.

The writer stores only that function's name and file. This table is the whole of the knowledge about asyncio's
own waiting places; whatever is not in it shows as a future made in the function that made it.
"""

import enum
import re
from typing import NamedTuple

from glassloop.glass import layout


class WaitKind(enum.StrEnum):
    """What a task may wait for."""

    TIMER = "timer"
    LOCK = "lock"
    EVENT = "event"
    SEMAPHORE = "semaphore"
    CONDITION = "condition"
    BARRIER = "barrier"
    QUEUE_GET = "queue get"
    QUEUE_PUT = "queue put"
    STREAM_READ = "stream read"
    STREAM_WRITE = "stream write"
    STREAM_CLOSE = "stream close"
    SOCKET = "socket"
    CONNECT = "connect"
    HANDSHAKE = "tls handshake"
    DNS = "dns"
    EXECUTOR = "executor"
    FILE = "file"
    PROCESS = "process"
    GATHER = "gather"
    WAIT = "wait"
    SHIELD = "shield"
    TASK_GROUP = "task group"
    SERVER = "server"
    TASK = "task"
    FUTURE = "future"
    OTHER = "other"
    UNKNOWN = "unknown"


# What a program lets go of itself: somebody who runs in this loop must do something.
INTERNAL = frozenset(
    {
        WaitKind.LOCK,
        WaitKind.EVENT,
        WaitKind.SEMAPHORE,
        WaitKind.CONDITION,
        WaitKind.BARRIER,
        WaitKind.QUEUE_GET,
        WaitKind.QUEUE_PUT,
        WaitKind.GATHER,
        WaitKind.WAIT,
        WaitKind.SHIELD,
        WaitKind.TASK_GROUP,
        WaitKind.TASK,
        WaitKind.FUTURE,
    }
)


class Site(NamedTuple):
    """A function of the program: its qualified name, file, and the line where it begins."""

    name: str
    file: str
    line: int

    @property
    def place(self) -> str:
        """``file:line`` with the file's last part only."""
        return f"{self.file.rpartition('/')[2]}:{self.line}"

    def __str__(self) -> str:
        return f"{self.place} {self.name}"


class WaitReason(NamedTuple):
    """What a task waits for: a kind to count by, and words."""

    kind: WaitKind
    text: str


class Row(NamedTuple):
    """One waiting place: a file (without .py; empty: any), the function's qualified name, what it means."""

    module: str
    function: str  # a regular expression, compiled by re when it is first used
    kind: WaitKind
    text: str


def _row(module: str, function: str, kind: WaitKind, text: str) -> Row:
    return Row(module, function, kind, text)


TABLE = (
    _row("asyncio/tasks", r"sleep", WaitKind.TIMER, "a sleep to end"),
    _row("asyncio/tasks", r"gather|_GatheringFuture", WaitKind.GATHER, "gathered tasks"),
    _row(
        "asyncio/tasks",
        r"_?wait(_for|_for_one)?|_cancel_and_wait|_AsCompletedIterator\..*",
        WaitKind.WAIT,
        "other tasks (asyncio.wait)",
    ),
    _row("asyncio/tasks", r"shield", WaitKind.SHIELD, "a shielded task"),
    _row(
        "asyncio/taskgroups", r"TaskGroup\.(_aexit|__aexit__)", WaitKind.TASK_GROUP, "the tasks of its group"
    ),
    _row("asyncio/locks", r"Lock\.acquire", WaitKind.LOCK, "a lock"),
    _row("asyncio/locks", r"Event\.wait", WaitKind.EVENT, "an event"),
    _row("asyncio/locks", r"\w*Semaphore\.acquire", WaitKind.SEMAPHORE, "a semaphore"),
    _row("asyncio/locks", r"Condition\..*", WaitKind.CONDITION, "a condition"),
    _row("asyncio/locks", r"Barrier\..*", WaitKind.BARRIER, "others to come to a barrier"),
    _row("asyncio/queues", r"\w*Queue\.get", WaitKind.QUEUE_GET, "an item of a queue"),
    _row("asyncio/queues", r"\w*Queue\.put", WaitKind.QUEUE_PUT, "room in a queue"),
    _row("asyncio/streams", r"StreamReader\._wait_for_data", WaitKind.STREAM_READ, "data from a stream"),
    _row("asyncio/streams", r".*_drain_helper", WaitKind.STREAM_WRITE, "a stream to drain"),
    _row("asyncio/streams", r"StreamReaderProtocol\..*", WaitKind.STREAM_CLOSE, "a stream to close"),
    _row("asyncio/base_subprocess", r".*\._wait", WaitKind.PROCESS, "a process to end"),
    _row("asyncio/base_subprocess", r".*", WaitKind.PROCESS, "a process"),
    _row("", r".*_make_subprocess_transport", WaitKind.PROCESS, "a process to start"),
    _row("asyncio/base_events", r"Server\.serve_forever", WaitKind.SERVER, "nothing: it serves for ever"),
    _row("asyncio/base_events", r"Server\.wait_closed", WaitKind.SERVER, "a server to close"),
    _row("asyncio/base_events", r".*\.(getaddrinfo|getnameinfo)", WaitKind.DNS, "a name to be resolved"),
    _row("glassloop/_names", r"NameResolver\.ask", WaitKind.DNS, "a name to be resolved"),
    _row(
        "asyncio/base_events",
        r".*\.(run_in_executor|shutdown_default_executor)",
        WaitKind.EXECUTOR,
        "a thread",
    ),
    _row("asyncio/futures", r"wrap_future", WaitKind.EXECUTOR, "a job in a thread or process"),
    _row("_offload/offloading", r"_in_thread", WaitKind.EXECUTOR, "an offloaded job in a thread"),
    _row("_offload/offloading", r"_in_process", WaitKind.EXECUTOR, "an offloaded job in a process"),
    _row("_offload/offloading", r"_in_interpreter", WaitKind.EXECUTOR, "an offloaded job in an interpreter"),
    _row("_offload/offloading", r"_in_executor", WaitKind.EXECUTOR, "an offloaded job in an executor"),
    _row("_offload/offloading", r"_in_cluster", WaitKind.EXECUTOR, "an offloaded job in a cluster"),
    _row("", r".*\b(sock_connect|_sock_connect)", WaitKind.CONNECT, "a connection"),
    _row("", r"\w*(EventLoop|SockMethods)\.sock_recv\w*", WaitKind.SOCKET, "data from a socket"),
    _row("", r"\w*(EventLoop|SockMethods)\.sock_accept", WaitKind.SOCKET, "a connection to a socket"),
    _row("", r"\w*(EventLoop|SockMethods)\._?sock_send\w*", WaitKind.SOCKET, "room in a socket"),
    _row(
        "",
        r"\w*EventLoop\.(_?create_\w*connection\w*|start_tls|connect_\w+_pipe|create_datagram_endpoint)",
        WaitKind.CONNECT,
        "a connection",
    ),
    _row("_io/tls_connection", r"TLSConnection", WaitKind.HANDSHAKE, "a TLS handshake"),
    # Classes, each of which names a kind of operation: see _io/file_operation.py.
    _row("_io/file_operation", r"Opening", WaitKind.FILE, "a file to be opened"),
    _row("_io/file_operation", r"Reading", WaitKind.FILE, "a file to be read"),
    _row("_io/file_operation", r"Writing", WaitKind.FILE, "a file to be written"),
    _row("_io/file_operation", r"Syncing", WaitKind.FILE, "a file to reach the disk"),
    _row("_io/file_operation", r"Closing", WaitKind.FILE, "a file to be closed"),
    _row("_io/file_operation", r"Working", WaitKind.FILE, "a thread for files"),
    _row("asyncio/staggered", r".*", WaitKind.CONNECT, "a connection"),
)


def wait_reason(awaited: int, site: Site | None, subject: int, deadline_ns: int) -> WaitReason:
    """Return what a waiting task waits for; ``awaited`` is a ``layout.Awaited``, ``subject`` a task or 0."""
    if awaited == layout.Awaited.TASK:
        return WaitReason(WaitKind.TASK, f"task {subject}" if subject else "a task")
    if site is not None:
        # What is no future of the loop's own has the site of its class, in a module instead of a file.
        path = site.file.removesuffix(".py") if "/" in site.file else site.file.replace(".", "/")
        module = "/".join(path.rsplit("/", 2)[-2:])
        for row in TABLE:
            if row.module in ("", module) and re.fullmatch(row.function, site.name):
                return WaitReason(row.kind, row.text)
    if deadline_ns:
        return WaitReason(WaitKind.TIMER, "a timer")
    if awaited == layout.Awaited.NOTHING:
        return WaitReason(WaitKind.UNKNOWN, "something unknown")
    if site is not None and not site.line:
        return WaitReason(WaitKind.OTHER, f"a {site.file}.{site.name}")
    where = f" made in {site}" if site is not None else ""
    if awaited == layout.Awaited.OTHER:
        return WaitReason(WaitKind.OTHER, f"something{where}" if where else "something that is no future")
    return WaitReason(WaitKind.FUTURE, f"a future{where}")
