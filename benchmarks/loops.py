"""The event loops that are compared, by name, and how each is made."""

import asyncio
import importlib
import importlib.metadata
import platform

from benchmarks import node

# In the order of the columns. Each but asyncio is a module with a zero-argument `new_event_loop`.
LOOPS = ("asyncio", "uvloop", "glassloop", "rloop", "rsloop", "blazio")

# What the ratios are taken to.
REFERENCE = "uvloop"

# The loops that must answer every question; a peer that does not is reported and passed over.
REQUIRED = ("asyncio", "uvloop", "glassloop")

# The column of Node.js: no loop of Python's, asked where a question has `has_node`.
NODE = "node"

# The column of what no event loop can beat: coroutines or sockets driven by C alone.
LIMIT = "limit"


def make_loop(name: str) -> asyncio.AbstractEventLoop:
    """Return a new event loop of the named kind."""
    module = importlib.import_module(name)
    loop: asyncio.AbstractEventLoop = module.new_event_loop()
    return loop


def version_of(name: str) -> str:
    """Return the version of the package that brings the named loop."""
    if name == NODE:
        return node.version()
    if name == "asyncio":
        return f"{platform.python_implementation()} {platform.python_version()}"
    return importlib.metadata.version(name)


def missing_reason(name: str) -> str | None:
    """Return why the named loop cannot take part in this environment, or None where it can."""
    if name == NODE:
        return node.missing_reason()
    try:
        make_loop(name).close()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is the reason
        return f"{type(error).__name__}: {error}"
    return None
