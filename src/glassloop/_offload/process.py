"""What crosses into a worker process and back: pickled here, so that what cannot be is named.

ProcessPoolExecutor would pickle by itself. But there an exception that does not come back whole breaks the
pool, a function that the worker cannot find kills it, and the error for an argument does not say which. Here
bytes cross, which always arrive.
"""

import pickle
import signal
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.reduction import ForkingPickler
from typing import Any

from glassloop._offload.job import Outcome, name_of

# What comes back: whether the function returned; its value or exception, pickled; the traceback as text.
Reply = tuple[bool, bytes, str]


class RemoteTraceback(Exception):
    """The traceback of a function that raised in a worker process: the cause of the exception here."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def pack(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
    """Return a call as bytes. TypeError says what of it cannot be pickled, and what to do."""
    try:
        return bytes(ForkingPickler.dumps((function, args, kwargs)))
    except Exception as error:
        raise TypeError(_unpicklable(function, args, kwargs, error)) from error


def _unpicklable(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], error: Exception
) -> str:
    name = name_of(function)
    if _fails(function):
        if "<lambda>" in name or "<locals>" in name:
            advice = "Define it with `def` at the top level of a module"
        else:
            advice = "Pass a function from the top level of a module, with arguments that can be pickled"
        return (
            f'offload(to="process"): the function {name} cannot be sent to a process ({error}). '
            f'{advice}; or use to="thread".'
        )
    given = [(f"argument {number}", value) for number, value in enumerate(args, 1)]
    given += [(f"argument {key!r}", value) for key, value in kwargs.items()]
    for which, value in given:
        if _fails(value):
            return (
                f'offload(to="process"): {which} of {name}, a {type(value).__qualname__}, cannot be sent to '
                f'a process ({error}). Pass what it is made from; or use to="thread".'
            )
    return f'offload(to="process"): the call of {name} cannot be sent to a process ({error}).'


def _fails(value: object) -> bool:
    try:
        ForkingPickler.dumps(value)
    except Exception:  # noqa: BLE001 - whatever it is, this is what cannot be pickled
        return True
    return False


# -- in the worker ----------------------------------------------------------------------------------


def begin_worker() -> None:
    """Leave Ctrl-C to the program: an idle worker that it killed would break the pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def work(data: bytes) -> Reply:
    """Do a packed call in a worker process."""
    try:
        function, args, kwargs = pickle.loads(data)  # noqa: S301 - the program's own
    except Exception as error:  # noqa: BLE001 - it goes back
        text = (
            f'offload(to="process"): the worker process cannot load the call ({error}). What is sent must '
            "lie at the top level of a module that the worker can import: not in a notebook, in `python -c`, "
            "or in a module that is made while the program runs."
        )
        return _raised(TypeError(text))
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # Ctrl-C ends what runs
    try:
        value = function(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 - it goes back, as with every executor
        return _raised(error, name_of(function))
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        return True, bytes(ForkingPickler.dumps(value)), ""
    except Exception as error:  # noqa: BLE001 - it goes back
        text = (
            f'offload(to="process"): the result of {name_of(function)}, a {type(value).__qualname__}, cannot '
            f'be sent back from the process ({error}). Return what it is made from; or use to="thread".'
        )
        return _raised(TypeError(text))


def _raised(error: BaseException, name: str = "") -> Reply:
    """Return an exception as bytes; where it does not come out of them again, another that tells of it."""
    own = error.__traceback__  # this module's line: it is left out
    text = "".join(traceback.format_exception(type(error), error, own and own.tb_next))
    try:
        data = bytes(ForkingPickler.dumps(error))
        pickle.loads(data)  # noqa: S301
    except Exception as reason:  # noqa: BLE001
        instead = RuntimeError(
            f"{name} raised {type(error).__qualname__}: {error}; the exception itself cannot be sent back "
            f"from the process ({reason})"
        )
        data = bytes(ForkingPickler.dumps(instead))
    return False, data, text


# -- back in the program --------------------------------------------------------------------------------


def conclude(inner: "Future[Reply]") -> Outcome:
    """Return what a worker's reply comes to."""
    error = inner.exception()
    if error is not None:
        return None, error
    returned, data, text = inner.result()
    value = pickle.loads(data)  # noqa: S301 - from our own worker
    if returned:
        return value, None
    value.__cause__ = RemoteTraceback(text)
    return None, value


def broken(name: str, error: BaseException, *, has_worked: bool, is_ours: bool) -> BrokenProcessPool:
    """Return the error for a job that was lost with its pool, which says what may have happened."""
    if has_worked:
        reason = "It was killed, perhaps for want of memory, or it crashed."
    else:
        reason = (
            "None of its jobs has ever ended: it may be unable to start. A worker process imports the "
            'program\'s main module, which must start nothing unless `__name__ == "__main__"`.'
        )
    what_next = (
        "The next offload() gets new processes."
        if is_ours
        else "The executor that was given as `to` can no longer be used: make a new one."
    )
    explained = BrokenProcessPool(
        f"a worker process of offload() ended abruptly. The jobs that were under way are lost, {name} among "
        f"them. {reason} {what_next}"
    )
    explained.__cause__ = error
    return explained
