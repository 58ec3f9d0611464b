# What Python sees of connector.py.
import asyncio
import socket
from collections.abc import Callable
from typing import Any, TypeVar, final

from glassloop._core.scheduler import Scheduler

_ProtocolT = TypeVar("_ProtocolT", bound=asyncio.BaseProtocol)

@final
class Attempt: ...

def remember(cls: type) -> None: ...
def connect(
    loop: Scheduler, protocol_factory: Callable[[], _ProtocolT], host: object, port: object
) -> tuple[asyncio.Transport, _ProtocolT, asyncio.Future[None]] | tuple[None, socket.socket, Any] | None: ...
