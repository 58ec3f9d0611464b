# What Python sees of datagram_transport.py.
import asyncio
import socket
from typing import Any, ClassVar, final

from glassloop._core.scheduler import Scheduler
from glassloop._io.transport import SocketTransport

# Not derived from asyncio.DatagramTransport, but its __class__ names a subclass of that: isinstance() holds.
@final
class DatagramTransport(SocketTransport, asyncio.DatagramTransport):
    max_size: ClassVar[int]
    def __init__(
        self,
        loop: Scheduler,
        sock: socket.socket,
        protocol: asyncio.BaseProtocol,
        address: Any = None,
        waiter: asyncio.Future[None] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None: ...
    def sendto(self, data: bytes | bytearray | memoryview, addr: Any = None) -> None: ...
    def _connection_made(self) -> None: ...
    @property
    def _address(self) -> Any: ...
