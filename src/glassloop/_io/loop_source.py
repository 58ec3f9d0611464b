"""LoopSource: an IOSource that belongs to a loop, and is watched by whatever selector that loop has."""

import cython
from cython.cimports.cpython.ref import Py_DECREF, PyObject
from cython.cimports.glassloop._core.source import READABLE, WRITABLE
from cython.cimports.glassloop._sys.calls import PyContext_CopyCurrent
from cython.cimports.libc.stdint import uint32_t

from glassloop._core.source import IOSource


@cython.cfunc
def present_context() -> object:
    """A copy of the present context."""
    copied: cython.pointer(PyObject) = PyContext_CopyCurrent()
    context = cython.cast(object, copied)
    Py_DECREF(context)
    return context


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
        if changed & WRITABLE:
            # As asyncio's: that there is room again is told in the context of who had to wait for it.
            self.write_context = present_context() if events & WRITABLE and not self.context_given else None
        if self.loop.poller is not None:
            return self.loop.poller.watch(self, events)
        self.watched = events
        if changed & READABLE:
            if events & READABLE:
                if self.context_given:
                    self.loop._add_reader(self.fd, self._read_ready, context=self.context)
                else:
                    self.loop._add_reader(self.fd, self._read_ready)
            else:
                self.loop._remove_reader(self.fd)
        if changed & WRITABLE:
            if events & WRITABLE:
                if self.context_given:
                    self.loop._add_writer(self.fd, self._write_ready, context=self.context)
                else:
                    self.loop._add_writer(self.fd, self._write_ready)
            else:
                self.loop._remove_writer(self.fd)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def set_context(self, context: object) -> cython.int:
        """Run in this context; for None in a copy of the present one."""
        self.context_given = context is not None
        self.context = present_context() if context is None else context
        return 0

    def _read_ready(self) -> None:
        if self.watched & READABLE:
            self.on_readable()

    def _write_ready(self) -> None:
        if self.watched & WRITABLE:
            self.on_writable()
