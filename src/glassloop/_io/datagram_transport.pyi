# What Python sees of datagram_transport.py.
import asyncio
import socket
from collections.abc import Iterable
from typing import Any, ClassVar, NoReturn, final

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
    def write(self, data: bytes | bytearray | memoryview) -> NoReturn: ...
    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> NoReturn: ...
    def write_eof(self) -> NoReturn: ...
    def can_write_eof(self) -> NoReturn: ...
    def _connection_made(self) -> None: ...
    @property
    def _address(self) -> Any: ...
