"""ByteSink: a compiled protocol that takes what a stream receives without an object for the bytes.

A ``StreamTransport`` whose protocol is a sink receives into the memory that the sink lends. In all else
the sink is an ordinary protocol: ``connection_made()``, ``eof_received()`` and their kin are called as usual.
"""

import cython


@cython.cclass
class ByteSink:
    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def lend(
        self, memory: cython.pointer(cython.p_char), size: cython.pointer(cython.Py_ssize_t)
    ) -> cython.int:
        """Memory to receive into, and how much of it. Each loan ends with one ``take()``."""
        raise NotImplementedError

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def take(self, count: cython.Py_ssize_t) -> cython.int:
        """``count`` bytes were received into what was lent; 0 if none were."""
        raise NotImplementedError

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def hand_over(self) -> cython.int:
        """Write to the stream what is held back: its buffer is looked at, or the process is about to fork."""
        return 0
