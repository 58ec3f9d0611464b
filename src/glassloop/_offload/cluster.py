"""Clusters, through the engine that the program has: dask.distributed and Ray.

Neither is imported here: a program that passes a client has imported its package. What function, arguments
and result must be for the journey, and the errors where they are not, are the engine's own.
"""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError
from functools import partial
from typing import Any

# Start a call of a function with its arguments, and return an executor's future for it.
Submit = Callable[[Callable[..., Any], Sequence[Any], Mapping[str, Any]], "Future[Any]"]


def submit_of(target: Any) -> tuple[str, Submit] | None:
    """Return where a target's calls run, in words, and how it takes one; None if it is no cluster."""
    distributed = sys.modules.get("distributed")
    if distributed is not None and isinstance(target, distributed.Client):
        return "in a Dask cluster", partial(_submit_to_dask, target)
    if target is not None and target is sys.modules.get("ray"):
        return "in a Ray cluster", partial(_submit_to_ray, target)
    return None


def _submit_to_dask(
    client: Any, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> "Future[Any]":
    # Not pure: who calls a function twice means it twice. Dask takes its own keywords, such as `workers`.
    remote = client.submit(function, *args, **{"pure": False, **kwargs})
    inner: Future[Any] = Future()

    def cancel(inner: "Future[Any]") -> None:
        if inner.cancelled():
            # In the client's own thread: an answer from the scheduler is not to be waited for here.
            client.loop.add_callback(partial(client.cancel, [remote], asynchronous=True))

    inner.add_done_callback(cancel)
    client.loop.add_callback(_bring_from_dask, remote, inner)
    return inner


async def _bring_from_dask(remote: Any, inner: "Future[Any]") -> None:
    """Wait, in the client's loop, for what comes of a call, and pass it on."""
    with contextlib.suppress(InvalidStateError):  # cancelled meanwhile
        try:
            value = await remote
        except (asyncio.CancelledError, CancelledError):
            if inner.cancel():
                inner.set_running_or_notify_cancel()
        except BaseException as error:  # noqa: BLE001 - as every executor
            inner.set_exception(error)
        else:
            inner.set_result(value)


# Ray's handle of `call` below: made once, for each making of it is sent to the whole cluster.
_ray_call: Any = None


def _submit_to_ray(
    ray: Any, function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> "Future[Any]":
    global _ray_call
    if not ray.is_initialized():
        raise RuntimeError(
            "offload(to=ray): Ray is not connected. Call ray.init() before the loop runs: to find or start a "
            "cluster takes seconds, in which the loop would stand still."
        )
    if _ray_call is None:
        # A function in a function goes as code: glassloop need not be installed in the cluster.
        def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        _ray_call = ray.remote(call)
    reference = _ray_call.remote(function, *args, **kwargs)
    inner: Future[Any] = reference.future()

    def cancel(inner: "Future[Any]") -> None:
        if inner.cancelled():
            ray.cancel(reference)

    inner.add_done_callback(cancel)
    return inner
