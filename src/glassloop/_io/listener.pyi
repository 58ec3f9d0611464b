# What Python sees of listener.py.
import asyncio
import socket
import ssl
from asyncio import base_events
from collections.abc import Callable
from contextvars import Context
from typing import final

from glassloop._core.scheduler import Scheduler
from glassloop._core.source import IOSource

@final
class Listener(IOSource):
    def __init__(
        self,
        loop: Scheduler,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        sock: socket.socket,
        server: base_events.Server | None,
        backlog: int,
        context: Context | None,
        tls: tuple[ssl.SSLContext, float | None, float | None] | None = None,
    ) -> None: ...
    def is_closing(self) -> bool: ...
    def _start(self) -> None: ...
    def _stop(self) -> None: ...
