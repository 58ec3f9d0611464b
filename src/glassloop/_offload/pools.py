"""A loop's own pools: made when first needed, replaced when broken, ended with the loop.

Threads, processes and interpreters are as many as the CPUs that this process may use, for what is offloaded
computes. A job for a process is pickled and handed over by a thread of its own, the starter: to start a
worker process may take long, and so may the pickling.
"""

import asyncio
import contextlib
import logging
import multiprocessing
import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

from glassloop._offload import interpreter, process
from glassloop._offload.job import Job, Outcome, logger

# How long the loop's end may wait for jobs before it says for which; then twice as long, and so on.
PATIENCE_S = 5.0

# How many jobs a warning names.
_MOST_NAMED = 10

# The starter ends first: what it has still to hand over needs the processes.
_ORDER = ("starter", "thread", "process", "interpreter")

# Pools that a fork took along. Their threads and pipes are the parent's: they are kept here, not ended.
_of_the_parent: list["Pools"] = []


def cpu_count() -> int:
    """Return how many CPUs this process may use."""
    return max(1, len(os.sched_getaffinity(0)))


def _make_processes() -> Executor:
    # Not by fork: the program has threads, whose locks a forked child may find held for ever.
    context = multiprocessing.get_context("forkserver")
    return ProcessPoolExecutor(cpu_count(), context, initializer=process.begin_worker)


def _make_interpreters() -> Executor:
    make: Callable[..., Executor] = interpreter.pool_class()
    return make(cpu_count(), "glassloop-interpreter")


_MAKERS: dict[str, Callable[[], Executor]] = {
    "starter": lambda: ThreadPoolExecutor(1, "glassloop-starter"),
    "thread": lambda: ThreadPoolExecutor(cpu_count(), "glassloop-offload"),
    "process": _make_processes,
    "interpreter": _make_interpreters,
}


class Pools:
    """The pools of one loop, and the jobs in them that have not ended."""

    def __init__(self) -> None:
        self.jobs: set[Job] = set()
        self.is_closed = False
        self._pid = os.getpid()
        self._lock = threading.Lock()  # the starter asks for pools too
        self._pools: dict[str, Executor] = {}
        self._processes_have_worked = False
        self._reminder: asyncio.TimerHandle | None = None
        self._has_told = False

    @property
    def is_of_the_parent(self) -> bool:
        """Whether a fork has taken this along from another process."""
        return self._pid != os.getpid()

    def leave_to_the_parent(self) -> None:
        """Keep what a fork took along from being ended here."""
        _of_the_parent.append(self)

    def get(self, kind: str) -> Executor:
        """Return the pool of a kind; make it where there is none. Any thread may ask."""
        with self._lock:
            pool = self._pools.get(kind)
            if pool is None:
                pool = self._pools[kind] = _MAKERS[kind]()
            return pool

    # -- processes ------------------------------------------------------------------------------

    def submit_to_process(
        self,
        job: Job,
        given: ProcessPoolExecutor | None,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> None:
        """Have the starter hand a call over to our processes, or to those that the program has given."""
        self.get("starter").submit(self._start_in_process, job, given, function, args, kwargs)

    def _start_in_process(
        self,
        job: Job,
        given: ProcessPoolExecutor | None,
        function: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> None:
        if job.is_abandoned:
            self.jobs.discard(job)
            return
        try:
            data = process.pack(function, args, kwargs)
            inner = self._submit_to_ours(data) if given is None else given.submit(process.work, data)
        except (BrokenExecutor, ConnectionError, EOFError) as error:
            # Where the server that forks the workers dies of the main module, the connection to it fails.
            has_worked = self._processes_have_worked or given is not None
            if given is None:
                self._drop_processes()
            job.fail(process.broken(job.name, error, has_worked=has_worked, is_ours=given is None))
        except BaseException as error:  # noqa: BLE001 - the task that waits is to get it
            job.fail(error)
        else:
            job.follow(inner, self._conclude_for(job, is_ours=given is None))

    def _submit_to_ours(self, data: bytes) -> "Future[process.Reply]":
        pool = self.get("process")
        try:
            return pool.submit(process.work, data)
        except BrokenExecutor:
            self._drop_processes()
        return self.get("process").submit(process.work, data)

    def _drop_processes(self) -> None:
        with self._lock:
            pool = self._pools.pop("process", None)
            self._processes_have_worked = False
        if pool is not None:
            pool.shutdown(wait=False)

    def _conclude_for(self, job: Job, *, is_ours: bool) -> Callable[["Future[Any]"], Outcome]:
        def conclude(inner: "Future[Any]") -> Outcome:
            error = inner.exception()
            if isinstance(error, BrokenExecutor):
                # It is replaced when the next job comes: here its lock is held.
                has_worked = self._processes_have_worked or not is_ours
                return None, process.broken(job.name, error, has_worked=has_worked, is_ours=is_ours)
            self._processes_have_worked |= is_ours
            return process.conclude(inner)

        return conclude

    # -- the end --------------------------------------------------------------------------------

    async def shutdown(self, timeout_s: float | None) -> None:
        """Let all jobs end, and end the pools; meanwhile say now and then for which jobs that waits.

        After ``timeout_s`` seconds it is left to the interpreter, which waits for them at its own end.
        """
        if self.is_closed or self.is_of_the_parent:
            return
        self.is_closed = True
        if not self._pools:
            return
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        threading.Thread(target=self._wait_for_all, args=(loop, ended), name="glassloop-offload-end").start()
        self._remind_after(loop, PATIENCE_S)
        try:
            async with asyncio.timeout(timeout_s):
                await ended
        except TimeoutError:
            self._warn(
                f"the loop ends after {timeout_s:g} s, and leaves behind offloaded jobs that still run"
            )
        finally:
            if self._reminder is not None:
                self._reminder.cancel()
                self._reminder = None

    def close(self) -> None:
        """End the pools without waiting, and say which jobs still run."""
        if self.is_of_the_parent:
            self.leave_to_the_parent()
            return
        if not self._has_told and any(job.is_running for job in list(self.jobs)):
            self._warn("the loop is closed while offloaded jobs still run; the process ends only after them")
        if self.is_closed:  # shutdown() has seen to the rest
            return
        self.is_closed = True
        starter = self._pools.get("starter")
        if starter is None:
            self._end_others()
        else:
            starter.submit(self._end_others)  # after what it has still to hand over
            starter.shutdown(wait=False)

    def _end_others(self) -> None:
        for kind in _ORDER[1:]:
            pool = self._pools.get(kind)
            if pool is not None:
                pool.shutdown(wait=False)

    def _wait_for_all(self, loop: asyncio.AbstractEventLoop, ended: "asyncio.Future[None]") -> None:
        for kind in _ORDER:
            pool = self._pools.get(kind)
            if pool is not None:
                pool.shutdown(wait=True)
        with contextlib.suppress(
            RuntimeError
        ):  # the loop is closed: its time was over, or it was interrupted
            loop.call_soon_threadsafe(_set_unless_done, ended)

    def _remind_after(self, loop: asyncio.AbstractEventLoop, pause_s: float) -> None:
        self._reminder = loop.call_later(pause_s, self._remind, loop, pause_s)

    def _remind(self, loop: asyncio.AbstractEventLoop, pause_s: float) -> None:
        self._warn("the loop cannot end: it waits for offloaded jobs")
        self._remind_after(loop, 2 * pause_s)

    def _warn(self, what: str) -> None:
        self._has_told = True
        jobs = sorted(self.jobs, key=lambda job: (not job.is_running, job.asked_s))
        lines = [f"  {job}" for job in jobs[:_MOST_NAMED]]
        if len(jobs) > _MOST_NAMED:
            lines.append(f"  and {len(jobs) - _MOST_NAMED} more")
        text = "\n".join([f"{what}:", *lines])
        logger.warning("%s", text)
        if not logging.getLogger().handlers and sys.stderr is not None:
            # A program that hangs at its end is to say why, also where no logging is set up.
            print(f"glassloop: {text}", file=sys.stderr)


def _set_unless_done(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
