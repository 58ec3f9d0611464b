"""LoopSource: an IOSource that belongs to a loop, and is watched by whatever selector that loop has."""

import cython
from cython.cimports.glassloop._core.source import READABLE, WRITABLE
from cython.cimports.libc.stdint import uint32_t

from glassloop._core.source import IOSource


@cython.cclass
class LoopSource(IOSource):
    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def set_watched(self, events: uint32_t) -> cython.int:
        """Have the poller report these events; on a foreign selector, by asyncio's readers and writers."""
        changed: uint32_t = events ^ self.watched
        if changed == 0:
            return 0
        if self.loop is None or self.loop._closed:
            self.watched = 0
            return 0
        if self.loop.poller is not None:
            return self.loop.poller.watch(self, events)
        self.watched = events
        if changed & READABLE:
            if events & READABLE:
                self.loop._add_reader(self.fd, self._read_ready)
            else:
                self.loop._remove_reader(self.fd)
        if changed & WRITABLE:
            if events & WRITABLE:
                self.loop._add_writer(self.fd, self._write_ready)
            else:
                self.loop._remove_writer(self.fd)
        return 0

    def _read_ready(self) -> None:
        if self.watched & READABLE:
            self.on_readable()

    def _write_ready(self) -> None:
        if self.watched & WRITABLE:
            self.on_writable()
