"""Whether a connection is to an address, and made by asyncio's own steps: then EventLoop takes them in one.

Who has put something of his own in the place of one of the steps, in a subclass, a class of asyncio's, the
loop itself, or the modules that they use, sees it called as on asyncio.
"""

import asyncio
import socket
from asyncio import base_events
from typing import Any

# asyncio's own, private to its stubs. A Python that has it no more connects in asyncio's way.
_ipaddr_info: Any = getattr(base_events, "_ipaddr_info", None)
_socket_class = socket.socket

# What asyncio calls between create_connection() and the transport.
_NAMES = (
    "_ensure_resolved",
    "_connect_sock",
    "sock_connect",
    "_create_connection_transport",
    "_make_socket_transport",
)


# What _ipaddr_info() has answered: a program connects to the same few again and again.
_known: dict[tuple[str, int], Any] = {}
_MOST_KNOWN = 256


def address_of(host: object, port: object) -> Any:
    """What ``getaddrinfo()`` gives for an address; None for a name, and for anything unusual."""
    if type(host) is not str or type(port) is not int or not _is_unpatched():
        return None
    if (host, port) not in _known:
        if len(_known) >= _MOST_KNOWN:
            _known.clear()
        _known[host, port] = _ipaddr_info(host, port, socket.AF_UNSPEC, socket.SOCK_STREAM, 0)
    return _known[host, port]


def _is_unpatched() -> bool:
    names = vars(base_events)
    return (
        _ipaddr_info is not None
        and names.get("_ipaddr_info") is _ipaddr_info
        and names.get("socket") is socket
        and socket.socket is _socket_class
    )


class Steps:
    """The steps by which a class of loops connects."""

    def __init__(self, cls: type[asyncio.AbstractEventLoop]) -> None:
        self._known = {name: getattr(cls, name, None) for name in _NAMES}

    def are_those_of(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether this loop has the same, and none of its own."""
        cls = type(loop)
        for name, step in self._known.items():
            if getattr(cls, name, None) is not step or step is None:
                return False
        return self._known.keys().isdisjoint(vars(loop))
