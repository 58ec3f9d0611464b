"""Which locks a suspended task holds, and which it seems to hold: a part of the answer of ``await_stacks``.

A lock of asyncio's does not know its owner. But a coroutine that is suspended inside ``async with lock:``
keeps the lock's ``__aexit__`` on its value stack, where the garbage collector's own view of it shows it: that
is certain. Who called ``lock.acquire()`` by hand is guessed, and said to be: a coroutine that knows the lock
and stands between its ``acquire`` and its ``release``.
"""

import contextlib
import dis
import gc
from asyncio import locks
from types import CellType, FrameType, FunctionType, MethodType

import cython

# Context managers may hold one another without end.
_DEEPEST = cython.declare(cython.int, 4)
LOCKS: tuple = (locks.Lock, locks.Semaphore)


def plain(text: str) -> str:
    return text.replace("\t", " ").replace("\n", " ")


def identity(thing: object) -> str:
    return "" if thing is None else hex(id(thing))


def named(thing: object) -> str:
    return f"{type(thing).__qualname__} at {id(thing):#x}"


def holdings(chain: list, waited: object) -> list:
    """A line for each lock that the task's coroutines hold, or seem to hold."""
    lines: list = []
    certain: list = []
    let_go: list = []
    for number, (frame, code, coroutine) in enumerate(chain):
        if code is locks.Condition.wait.__code__ and frame is not None:
            let_go.append(frame.f_locals["self"]._lock)
        if "contextlib.py" in code.co_filename or "/asyncio/" in code.co_filename:
            continue
        managers = _entered(coroutine)
        following = chain[number + 1] if number + 1 < len(chain) else None
        if managers and following is not None and following[1].co_name == "__aenter__":
            managers.pop()  # that one is being entered: the last lies uppermost
        certain += [(lock, frame, code) for manager in managers for lock in _locks_of(manager, 0)]
    for lock, frame, code in certain:
        if lock.locked() and not any(lock is one for one in let_go):
            lines.append(_holds("sure", lock, frame, code))
    for frame, code, coroutine in chain:
        if frame is None or "release" not in code.co_names or "/asyncio/" in code.co_filename:
            continue
        for lock in _locks_in_sight(frame, code, coroutine):
            known = lock is waited or any(lock is one for one, _, _ in certain)
            if not known and lock._waiters and lock.locked() and _is_between(frame, code):
                lines.append(_holds("maybe", lock, frame, code))
    return lines


def _holds(how: str, lock: object, frame: FrameType, code: object) -> str:
    file = plain(code.co_filename)
    return (
        f"!holds\t{how}\t{identity(lock)}\t{named(lock)}\t{file}\t{frame.f_lineno}\t{plain(code.co_qualname)}"
    )


def _entered(coroutine: object) -> list:
    """The managers whose ``async with`` this coroutine or generator is in, the last entered at the end."""
    found: list = []
    referents: list = gc.get_referents(coroutine)
    for place, thing in enumerate(referents):
        if type(thing) is MethodType and thing.__func__.__name__ == "__aexit__":
            found.append(thing.__self__)
        elif type(thing) is FunctionType and thing.__name__ == "__aexit__" and place + 1 < len(referents):
            found.append(referents[place + 1])  # from CPython 3.14 on: the function, then its self
    return found


def _locks_of(manager: object, depth: int) -> list:
    """The locks that an asynchronous context manager which was entered holds."""
    kind = type(manager)
    if issubclass(kind, LOCKS):
        return [manager]
    if issubclass(kind, locks.Condition):
        return [manager._lock]
    inner: list = []
    if depth < _DEEPEST and issubclass(kind, contextlib._AsyncGeneratorContextManager):
        inner = _entered(manager.gen)
    elif depth < _DEEPEST and issubclass(kind, contextlib.AsyncExitStack):
        inner = [function.__self__ for _, function in manager._exit_callbacks if type(function) is MethodType]
    return [lock for one in inner for lock in _locks_of(one, depth + 1)]


def _locks_in_sight(frame: FrameType, code: object, coroutine: object) -> list:
    """Locks among a coroutine's variables, its closure, the globals that it names, and their attributes."""
    things: list = list(gc.get_referents(coroutine))
    things += [thing.cell_contents for thing in things if type(thing) is CellType and _is_full(thing)]
    for name in code.co_names:
        if name in frame.f_globals:
            things.append(frame.f_globals[name])
    for thing in list(things):
        if getattr(type(thing), "__dictoffset__", 0) and not isinstance(thing, (type, FunctionType)):
            things += [value for value in vars(thing).values() if issubclass(type(value), LOCKS)]
    found: list = []
    for thing in things:
        if issubclass(type(thing), LOCKS) and not any(thing is one for one in found):
            found.append(thing)
    return found


def _is_full(cell: CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - an empty one raises
    except ValueError:
        return False
    return True


def _is_between(frame: FrameType, code: object) -> bool:
    """Whether a coroutine has passed an ``acquire``, if it has one, and has a ``release`` still before it."""
    acquires: list = []
    releases: list = []
    for instruction in dis.get_instructions(code):
        if instruction.argval == "acquire":
            acquires.append(instruction.offset)
        elif instruction.argval == "release":
            releases.append(instruction.offset)
    last = frame.f_lasti
    return (not acquires or acquires[0] < last) and any(offset > last for offset in releases)
