"""offload(): run a function that takes long somewhere else, and wait for it without holding up the loop.

Where a job goes is decided here; each of the functions below that begin with `_in_` makes the future that the
task waits for, and so is what the loop's page says of the wait (see glass/reasons.py).
"""

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from types import ModuleType
from typing import (
    Any,
    Literal,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypeVar,
    TypeVarTuple,
    overload,
)

from glassloop._core.await_stacks import describe_wait
from glassloop._offload import cluster, interpreter
from glassloop._offload.job import Job, name_of
from glassloop._offload.pools import Pools

_T = TypeVar("_T")
_P = ParamSpec("_P")
_Ts = TypeVarTuple("_Ts")
_Args = Sequence[Any]
_Kwargs = Mapping[str, Any]


class ClusterClient(Protocol):
    """A ``dask.distributed.Client``."""

    def submit(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Start a call in the cluster."""


# A ModuleType is `ray`.
OffloadTarget: TypeAlias = Literal["thread", "process", "interpreter"] | Executor | ClusterClient | ModuleType


@overload
async def offload(fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T: ...
@overload
async def offload(fn: Callable[[*_Ts], _T], /, *args: *_Ts, to: OffloadTarget = "thread") -> _T: ...
async def offload(  # type: ignore[misc]  # what `to` and `kwargs` are beside each other, no overload can say
    fn: Callable[..., Any], /, *args: Any, to: OffloadTarget = "thread", **kwargs: Any
) -> Any:
    """Run ``fn(*args, **kwargs)`` elsewhere, and return what it returns; the loop goes on meanwhile.

    ``to`` says where: ``"thread"`` (a pool of the loop's own, with the caller's context variables),
    ``"process"`` (worker processes, started fresh), ``"interpreter"`` (subinterpreters, CPython 3.14 on),
    any ``concurrent.futures.Executor``, a ``dask.distributed.Client``, or the module ``ray``. For a type
    checker, a call that has both ``to`` and keywords for ``fn`` takes these in a ``functools.partial``.

    An exception of ``fn`` is raised here. If the task is cancelled, a job that has not begun never begins,
    one that runs goes on to its end by itself. The loop's shutdown waits for it, and says so when that takes
    long.

    TypeError if ``fn`` cannot be called, is a coroutine function, or cannot be sent where it is to run;
    ValueError if ``to`` is no such name; RuntimeError without a running glassloop loop, while it shuts down,
    or where Python has no subinterpreters; ``BrokenProcessPool`` if a worker process died.
    """
    pools = _running_pools()
    if not callable(fn):
        raise TypeError(f"offload(): fn must be a function or another callable, not {type(fn).__name__}")
    if inspect.iscoroutinefunction(fn):
        raise TypeError(
            f"offload(): {name_of(fn)} is a coroutine function, which would run nothing there: await it "
            "here, or offload an ordinary function"
        )
    job = _start(pools, fn, args, kwargs, to)
    try:
        return await job.future
    except asyncio.CancelledError:
        job.abandon()
        raise
    finally:
        del job  # an exception of fn holds this frame, and the job's future the exception


def _running_pools() -> Pools:
    from glassloop.loop import EventLoop

    loop = asyncio.get_running_loop()
    if not isinstance(loop, EventLoop):
        raise RuntimeError(  # noqa: TRY004 - no argument is at fault
            f"offload() needs glassloop's event loop, and a {type(loop).__module__}."
            f"{type(loop).__qualname__} runs: start the program with glassloop.run() or `glassloop run`"
        )
    pools = loop._offload_pools
    if pools is not None and pools.is_of_the_parent:
        pools.leave_to_the_parent()
        pools = None
    if pools is None:
        pools = loop._offload_pools = Pools()
    if pools.is_closed or loop._executor_shutdown_called:  # type: ignore[attr-defined]
        raise RuntimeError("offload(): the loop shuts down, and its pools take no more jobs")
    return pools


def _start(pools: Pools, fn: Callable[..., Any], args: _Args, kwargs: _Kwargs, to: object) -> Job:
    if isinstance(to, str):
        if to == "thread":
            return _in_thread(pools, None, fn, args, kwargs)
        if to == "process":
            return _in_process(pools, None, fn, args, kwargs)
        if to == "interpreter":
            return _in_interpreter(pools, None, fn, args, kwargs)
        raise ValueError(
            f'offload(): to must be "thread", "process" or "interpreter", or an executor, not {to!r}'
        )
    if interpreter.is_pool(to):
        return _in_interpreter(pools, to, fn, args, kwargs)
    if isinstance(to, ThreadPoolExecutor):
        return _in_thread(pools, to, fn, args, kwargs)
    if isinstance(to, ProcessPoolExecutor):
        return _in_process(pools, to, fn, args, kwargs)
    if isinstance(to, Executor):
        return _in_executor(to, fn, args, kwargs)
    found = cluster.submit_of(to)
    if found is None:
        raise TypeError(
            'offload(): to must be "thread", "process", "interpreter", a concurrent.futures.Executor, a '
            f"dask.distributed.Client or the module ray, not {to!r}"
        )
    return _in_cluster(*found, fn, args, kwargs)


# -- where a job runs -----------------------------------------------------------------------------------


def _in_thread(
    pools: Pools, given: ThreadPoolExecutor | None, fn: Callable[..., Any], args: _Args, kwargs: _Kwargs
) -> Job:
    job = Job(asyncio.get_running_loop().create_future(), name_of(fn), "in a thread", pools.jobs.discard)
    executor = pools.get("thread") if given is None else given
    inner = executor.submit(_call_in_thread, job, contextvars.copy_context(), fn, args, kwargs)
    if given is None:
        pools.jobs.add(job)
    job.follow(inner)
    return job


def _call_in_thread(
    job: Job, context: contextvars.Context, fn: Callable[..., Any], args: _Args, kwargs: _Kwargs
) -> Any:
    job.begins(f"in thread {threading.current_thread().name}")
    del job  # as in offload()
    return context.run(fn, *args, **kwargs)


def _in_process(
    pools: Pools, given: ProcessPoolExecutor | None, fn: Callable[..., Any], args: _Args, kwargs: _Kwargs
) -> Job:
    job = Job(asyncio.get_running_loop().create_future(), name_of(fn), "in a process", pools.jobs.discard)
    if given is None:
        pools.jobs.add(job)
    pools.submit_to_process(job, given, fn, args, kwargs)
    return job


def _in_interpreter(pools: Pools, given: Any, fn: Callable[..., Any], args: _Args, kwargs: _Kwargs) -> Job:
    executor = pools.get("interpreter") if given is None else given
    where = "in an interpreter"
    job = Job(asyncio.get_running_loop().create_future(), name_of(fn), where, pools.jobs.discard)
    inner = executor.submit(fn, *args, **kwargs)
    if given is None:
        pools.jobs.add(job)
    job.follow(inner, interpreter.conclude_for(fn))
    return job


def _in_executor(executor: Executor, fn: Callable[..., Any], args: _Args, kwargs: _Kwargs) -> Job:
    where = f"in a {type(executor).__qualname__}"
    job = Job(asyncio.get_running_loop().create_future(), name_of(fn), where, _nobody)
    job.follow(executor.submit(fn, *args, **kwargs))
    return job


def _in_cluster(
    where: str, submit: cluster.Submit, fn: Callable[..., Any], args: _Args, kwargs: _Kwargs
) -> Job:
    job = Job(asyncio.get_running_loop().create_future(), name_of(fn), where, _nobody)
    job.follow(submit(fn, args, kwargs))
    return job


def _nobody(job: Job) -> None:
    """Only our own pools keep their jobs in mind."""


def _what_it_waits_for(variables: Mapping[str, Any]) -> str:
    job = variables["job"]
    return f"{job.name} {job.where}"


describe_wait(offload, _what_it_waits_for)
