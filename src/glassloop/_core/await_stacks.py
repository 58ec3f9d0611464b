"""What a reader learns of a task only by asking: its await stack, what exactly it waits for, what it holds.

Nothing here runs unless somebody asks (``Recorder.give_stacks``), and nothing is imported until then.

The answer is text, one block a task: a line ``#`` and the task's number; a line of file, line and function,
separated by tabs, for each coroutine, the outermost first; then facts, lines that begin with ``!``:

    !waits       identity of what it waits for (or empty), what that is in words
    !awaits      numbers of the tasks that all must end before it goes on, separated by commas
    !holds       sure or maybe, the lock's identity, what that is in words, file, line, function
    !lost        it waits for a future to which nothing but its own coroutines refers
    !cancelling  how often it was asked to end by an exception
    !executor    (of task 0: the loop's own executor) threads, how many there may be, jobs that wait for one
    !ready       (of task 0) a file descriptor that is ready now, and the function that is called for it
    !left        (of task 0, at the end) of how many tasks nothing is told: nobody waits for it, or no room
"""

import asyncio
import contextlib
import functools
import gc
import select
import selectors
import sys
from asyncio import (
    base_events,
    base_subprocess,
    locks,
    queues,
    selector_events,
    streams,
    taskgroups,
    tasks,
    threads,
)
from types import AsyncGeneratorType, CoroutineType, GeneratorType

import cython

from glassloop._core.held_locks import holdings, identity, named, plain

# With more tasks than these the first that are told of are one of each kind.
_MANY = cython.declare(cython.int, 1000)
# A chain of awaits may be endless.
_MOST_COROUTINES = cython.declare(cython.int, 100)
_MOST_WATCHED = cython.declare(cython.int, 1000)
_prefixes: dict = {CoroutineType: "cr_", GeneratorType: "gi_", AsyncGeneratorType: "ag_"}
# Iterators of the interpreter's own between a coroutine and the coroutine or generator that it awaits.
_between: frozenset = frozenset(
    ["anext_awaitable", "async_generator_asend", "async_generator_athrow", "coroutine_wrapper"]
)


def answer_of(task: object) -> bytes:
    """All that is known of one task, as the file's head says."""
    chain: list = _chain(task.get_coro())
    lines: list = [f"#{getattr(task, '_page_id', 0)}"]
    for frame, code, _ in chain:
        line = code.co_firstlineno if frame is None else frame.f_lineno
        lines.append(f"{plain(code.co_filename)}\t{line}\t{plain(code.co_qualname)}")
    try:
        lines += _facts(task, chain)
    except Exception:
        lines.append("!waits\t\tsomething that does not let itself be looked at")
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def in_order(tasks: list, first: int) -> object:
    """An iterator over the tasks, the oldest first; before all others one that is asked for.

    Of very many one of each coroutine comes first, as far as a sample shows: so that each place where tasks
    wait has its line, however little of the answer is waited for.
    """
    chosen: list = []
    if first:
        chosen = [task for task in tasks if task._page_id == first]
    if len(tasks) > _MANY:
        kinds: dict = {}
        for task in tasks[:: len(tasks) // _MANY]:
            coroutine = task.get_coro()
            kinds.setdefault(getattr(coroutine, "cr_code", type(coroutine)), task)
        chosen += kinds.values()
    return iter(chosen + tasks) if chosen else iter(tasks)


def answer_of_loop(loop: object) -> bytes:
    """What the loop's own executor has to do, and which handlers of file descriptors could run now."""
    lines: list = ["#0"]
    executor = getattr(loop, "_default_executor", None)
    try:
        threads_count = len(executor._threads)
        queued = executor._work_queue.qsize()
        lines.append(f"!executor\tthreads\t{threads_count}\tof\t{executor._max_workers}\tqueued\t{queued}")
    except AttributeError:
        pass  # there is none yet, or it is another kind
    with contextlib.suppress(Exception):  # the selector may be the program's own
        lines += _ready(list(loop._selector.get_map().values())[:_MOST_WATCHED])
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def _ready(keys: list) -> list:
    """A line for each handler of add_reader() and add_writer() whose descriptor is ready."""
    poll = select.poll()
    handles: dict = {}
    for key in keys:
        if type(key.data) is tuple:
            handles[key.fd] = key.data
            wanted = select.POLLIN if key.events & selectors.EVENT_READ else 0
            poll.register(key.fd, wanted | (select.POLLOUT if key.events & selectors.EVENT_WRITE else 0))
    lines: list = []
    for fd, events in poll.poll(0):
        reader, writer = handles[fd]
        for handle in (
            writer if events & select.POLLOUT else None,
            reader if events & ~select.POLLOUT else None,
        ):
            function = getattr(handle, "_callback", None)
            while isinstance(function, functools.partial):
                function = function.func
            function = getattr(function, "__func__", function)
            code = getattr(function, "__code__", None)
            if code is not None:
                file = plain(code.co_filename)
                lines.append(f"!ready\t{fd}\t{file}\t{code.co_firstlineno}\t{plain(code.co_qualname)}")
    return lines


def _chain(awaiting: object) -> list:
    """(frame, code, coroutine) of each coroutine that awaits the next."""
    found: list = []
    while awaiting is not None and len(found) < _MOST_COROUTINES:
        kind = type(awaiting)
        prefix = _prefixes.get(kind)
        if prefix is None:
            if hasattr(awaiting, "cr_frame"):  # a compiled coroutine
                prefix = "cr_"
            elif kind.__name__ not in _between:
                break
            else:
                inner = [thing for thing in gc.get_referents(awaiting) if type(thing) in _prefixes]
                if len(inner) != 1 or any(inner[0] is coroutine for _, _, coroutine in found):
                    break
                awaiting = inner[0]
                continue
        code = getattr(awaiting, prefix + "code", None)
        if code is None:
            break
        found.append((getattr(awaiting, prefix + "frame", None), code, awaiting))
        awaiting = getattr(awaiting, "gi_yieldfrom" if prefix == "gi_" else prefix + "await", None)
    return found


def _facts(task: object, chain: list) -> list:
    lines: list = []
    waited = None
    of_loop: dict = _of_loop(task.get_loop())
    for frame, code, _ in reversed(chain):
        describe = _known.get(code) or of_loop.get(code)
        if describe is _condition and any(_known.get(outer) is _barrier for _, outer, _ in chain):
            continue  # a barrier's own
        if describe is not None and frame is not None:
            waited, text, awaits = describe(frame.f_locals)
            lines.append(f"!waits\t{identity(waited)}\t{plain(text)}")
            if awaits:
                lines.append("!awaits\t" + ",".join(_numbers(awaits)))
            break
    else:
        children = getattr(task._fut_waiter, "_children", None)
        describe_itself = _awaited_that_describes_itself(chain)
        if describe_itself is not None:
            lines.append(f"!waits\t\t{plain(describe_itself())}")
        elif type(task._fut_waiter) is tasks._GatheringFuture and children:
            numbers = _numbers(child for child in children if not child.done())
            lines.append("!awaits\t" + ",".join(numbers))
        elif _is_lost(task, chain):
            lines.append("!lost")
    lines += holdings(chain, waited)
    if task.cancelling():
        lines.append(f"!cancelling\t{task.cancelling()}")
    return lines


def _awaited_that_describes_itself(chain: list) -> object:
    """The ``describe_wait`` of what the innermost coroutine awaits: a file operation is no coroutine."""
    awaited = chain[len(chain) - 1][2] if chain else None  # compiled: an index may not be negative
    for _ in range(_MOST_COROUTINES):
        for name in ("cr_await", "ag_await", "gi_yieldfrom"):
            if hasattr(awaited, name):
                awaited = getattr(awaited, name)
                break
        else:
            break
    return getattr(awaited, "describe_wait", None)


def _numbers(awaited: object) -> list:
    return [str(number) for number in (getattr(one, "_page_id", 0) for one in awaited) if number]


# -- what it waits for ----------------------------------------------------------------------------
# Each takes the variables of the coroutine of asyncio's own that waits, and returns what is waited for, that
# in words, and the tasks that must all end first.


def _lock(variables: object) -> tuple:
    return variables["self"], named(variables["self"]), None


def _condition(variables: object) -> tuple:
    # Its identity is not the lock's, which it has let go of.
    return None, named(variables["self"]), None


def _barrier(variables: object) -> tuple:
    barrier = variables["self"]
    return None, f"{named(barrier)}, where {barrier.n_waiting} of {barrier.parties} have come", None


def _queue(variables: object) -> tuple:
    queue = variables["self"]
    most = f" of {queue.maxsize}" if queue.maxsize > 0 else ""
    return None, f"{named(queue)}, which holds {queue.qsize()}{most}", None


def _transport_text(transport: object) -> str:
    socket = transport.get_extra_info("socket")
    if socket is not None:
        return _socket_text(socket)
    pipe = transport.get_extra_info("pipe")
    return f"file descriptor {pipe.fileno()}" if pipe is not None else "a closed stream"


def _socket_text(socket: object) -> str:
    text = f"file descriptor {socket.fileno()}"
    try:
        peer = socket.getpeername()
    except OSError:
        return text
    return (
        f"{text}, to {peer[0]}:{peer[1]}"
        if isinstance(peer, tuple)
        else f"{text}, to {peer!r}"
        if peer
        else text
    )


def _reader(variables: object) -> tuple:
    return None, _transport_text(variables["self"]._transport), None


def _drain(variables: object) -> tuple:
    transport = getattr(variables["self"], "_transport", None)
    return None, "a stream" if transport is None else _transport_text(transport), None


def _socket(variables: object) -> tuple:
    return None, _socket_text(variables["sock"]), None


def _connecting_socket(variables: object) -> tuple:
    return None, f"{_socket_text(variables['sock'])}, to {variables['address']!r}", None


def _name(variables: object) -> tuple:
    return None, f"the address of {variables['host']!r}, port {variables['port']!r}", None


def _address(variables: object) -> tuple:
    return None, f"the name of {variables['sockaddr']!r}", None


def _process(variables: object) -> tuple:
    return None, f"process {variables['self']._pid}", None


def _thread(variables: object) -> tuple:
    function = variables["func"]
    return (
        None,
        f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', '?')} in a thread",
        None,
    )


def _task_group(variables: object) -> tuple:
    waited = list(variables["self"]._tasks)
    return None, f"{len(waited)} tasks of a group", waited


def _all_of(variables: object) -> tuple:
    waited = [future for future in variables["fs"] if not future.done()]
    must_all = variables["return_when"] == asyncio.ALL_COMPLETED and variables["timeout"] is None
    return None, f"{len(waited)} tasks (asyncio.wait)", waited if must_all else None


_waiting_for_sockets: tuple = (
    "recv",
    "recv_into",
    "recvfrom",
    "recvfrom_into",
    "sendall",
    "sendto",
    "accept",
)


def _table() -> dict:
    """The coroutines of asyncio's that wait, by their code."""
    loop = selector_events.BaseSelectorEventLoop
    known = {
        locks.Lock.acquire: _lock,
        locks.Semaphore.acquire: _lock,
        locks.Event.wait: _lock,
        locks.Condition.wait: _condition,
        queues.Queue.get: _queue,
        queues.Queue.put: _queue,
        streams.StreamReader._wait_for_data: _reader,
        streams.FlowControlMixin._drain_helper: _drain,
        loop.sock_connect: _connecting_socket,
        base_events.BaseEventLoop.getaddrinfo: _name,
        base_events.BaseEventLoop.getnameinfo: _address,
        base_subprocess.BaseSubprocessTransport._wait: _process,
        threads.to_thread: _thread,
        getattr(taskgroups.TaskGroup, "_aexit", taskgroups.TaskGroup.__aexit__): _task_group,
        tasks._wait: _all_of,
    }
    for name in _waiting_for_sockets:
        known[getattr(loop, "sock_" + name)] = _socket
    if hasattr(locks, "Barrier"):
        known[locks.Barrier._wait] = _barrier
    return {
        function.__code__: describe for function, describe in known.items() if hasattr(function, "__code__")
    }


_known: dict = _table()


def describe_wait(function: object, describe: object) -> None:
    """Have what a coroutine function waits for told in the words that ``describe`` makes of its variables."""

    def tell(variables: object) -> tuple:
        return None, describe(variables), None

    _known[function.__code__] = tell


def _of_loop(loop: object) -> dict:
    """The same for what a kind of loop has in the place of asyncio's own coroutines."""
    found: dict = {}
    for kind in type(loop).__mro__:
        for name, parameter, describe in (
            ("getaddrinfo", "host", _name),
            ("getnameinfo", "sockaddr", _address),
            ("sock_connect", "sock", _connecting_socket),
            *[("sock_" + name, "sock", _socket) for name in _waiting_for_sockets],
        ):
            code = getattr(vars(kind).get(name), "__code__", None)
            if code is not None and parameter in code.co_varnames:
                found[code] = describe
    return found


# -- what nobody can finish -----------------------------------------------------------------------


def _is_lost(task: object, chain: list) -> bool:
    """Whether the future that a task waits for is known to its waiting coroutines alone."""
    future = task._fut_waiter
    if (
        not isinstance(future, asyncio.Future)
        or isinstance(future, asyncio.Task)
        or future.done()
        or not chain
    ):
        return False
    # This function refers to the future as it does to this.
    probe = asyncio.Future.__new__(asyncio.Future)
    return sys.getrefcount(future) - sys.getrefcount(probe) == 1 + _references(chain, future)


def _references(chain: list, future: object) -> int:
    coroutines: list = [coroutine for _, _, coroutine in chain]
    innermost = coroutines[len(coroutines) - 1]
    # At its end of the chain is the iterator that the future's __await__ made.
    coroutines += [thing for thing in gc.get_referents(innermost) if type(thing) is _future_iterator]
    return sum([1 for coroutine in coroutines for thing in gc.get_referents(coroutine) if thing is future])


class _NoLoop:
    def get_debug(self) -> bool:
        return False


_future_iterator = type(asyncio.Future(loop=_NoLoop()).__await__())
