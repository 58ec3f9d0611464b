"""Which loop asyncio makes when a program names none: the only file that changes asyncio's default.

asyncio has one place in which it makes a loop by itself. Up to Python 3.15 that is the default event loop
policy: ``asyncio.run()``, ``Runner()``, ``new_event_loop()`` and (up to 3.13) ``get_event_loop()`` all end
in its ``_loop_factory``. Python 3.16 has no policies; there it is ``asyncio.events.new_event_loop()``.

``glassloop run`` changes that one place (`make_default`), so that names which a program imported early, a
policy reset to ``None`` and ``loop_factory=None`` are caught too. ``glassloop.install()`` sets a policy in
the public way, which a later ``asyncio.set_event_loop_policy()`` undoes.
"""

import asyncio
import sys
import warnings
from asyncio import events, unix_events
from typing import Any

from glassloop.loop import new_event_loop


def default_policy_class() -> type[Any] | None:
    """Return the class of asyncio's default policy; None where asyncio has no policies (Python 3.16 on)."""
    for name in ("_DefaultEventLoopPolicy", "DefaultEventLoopPolicy"):  # 3.14 on, before 3.14
        policy_class: type[Any] | None = getattr(unix_events, name, None)
        if policy_class is not None:
            return policy_class
    return None


def make_default() -> None:
    """Make glassloop's loop the one that asyncio makes by default in this process, in every thread.

    A program that names another loop (its own policy, ``loop_factory=``, a loop class) still gets that one.
    """
    policy_class = default_policy_class()
    if policy_class is not None:
        policy_class._loop_factory = staticmethod(new_event_loop)
        return
    modules: tuple[Any, Any] = (events, asyncio)  # Runner reads it from the first, programs from the second
    for module in modules:
        if not hasattr(module, "new_event_loop"):
            raise RuntimeError(
                f"glassloop does not know how asyncio makes its loops on Python {sys.version.split()[0]}: "
                "use glassloop.run(main()), or pass loop_factory=glassloop.new_event_loop"
            )
        module.new_event_loop = new_event_loop


def install() -> None:
    """Make glassloop the loop of ``asyncio.run()`` and ``asyncio.new_event_loop()`` in this process.

    Deprecated from its first day, as asyncio's policies are: it works up to Python 3.15 and raises
    RuntimeError after that. Use ``glassloop.run(main())``, or ``loop_factory=glassloop.new_event_loop``.
    """
    policy_class = default_policy_class()
    if policy_class is None:
        raise RuntimeError(
            "glassloop.install() sets an event loop policy, and this Python has none (gone in 3.16). "
            "Instead: call glassloop.run(main()), use asyncio.Runner(loop_factory=glassloop.new_event_loop) "
            "or start the program with `glassloop run script.py`."
        )
    warnings.warn(
        "glassloop.install() is deprecated because asyncio's event loop policies are (Python 3.16 has none): "
        "use glassloop.run(main()), or asyncio.Runner(loop_factory=glassloop.new_event_loop)",
        DeprecationWarning,
        stacklevel=2,
    )
    attributes = {"_loop_factory": staticmethod(new_event_loop), "__module__": __name__}
    policy = type("EventLoopPolicy", (policy_class,), attributes)()
    with warnings.catch_warnings():
        # asyncio's own warning of the same thing, from 3.14 on: one is enough.
        warnings.simplefilter("ignore", DeprecationWarning)
        asyncio.set_event_loop_policy(policy)
