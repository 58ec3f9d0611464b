"""Servers for the contract tests: plain ones and those that speak TLS, and ways to connect to them."""

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from .support import Echo, Recorder


def address_of(server: asyncio.Server) -> tuple[str, int]:
    """Return the address on which a server listens."""
    host, port = server.sockets[0].getsockname()[:2]
    return host, port


async def start(factory: Callable[[], Any] = Echo, **options: Any) -> asyncio.Server:
    """Start a server on a free port of the loopback address."""
    return await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0, **options)


async def start_tls_server(context: ssl.SSLContext, factory: Any = Echo) -> asyncio.Server:
    """Start a TLS server on a free port of the loopback address."""
    return await start(factory, ssl=context)


async def connect(server: asyncio.Server, context: ssl.SSLContext, **options: Any) -> tuple[Any, Any]:
    """Connect streams to a TLS server, and return the reader and the writer."""
    options.setdefault("server_hostname", "localhost")
    return await asyncio.open_connection(*address_of(server), ssl=context, **options)


async def dial(server: asyncio.Server, context: ssl.SSLContext, kind: Any = Recorder) -> tuple[Any, Any]:
    """Connect a protocol to a TLS server, and return the transport and the protocol."""
    result: tuple[Any, Any] = await asyncio.get_running_loop().create_connection(
        kind, *address_of(server), ssl=context, server_hostname="localhost"
    )
    return result
