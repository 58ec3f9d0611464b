"""What the scheduler knows of I/O: a poller fills a batch of sources, and later each source runs.

A poller never runs a callback. It only says which sources have events; the sources go into the ready queue.
"""

import cython


@cython.cclass
class IOSource:
    """Something with a file descriptor: a transport, a listener."""

    def __cinit__(self) -> None:
        self.fd = -1

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def on_readable(self) -> cython.int:
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def on_writable(self) -> cython.int:
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def on_batch_end(self) -> cython.int:
        """The ready batch is over, as the source asked to be told (``Scheduler.batch_enders``)."""
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def on_displaced(self) -> cython.int:
        """Somebody else watches the descriptor now, for which this source was kept."""
        return 0


@cython.cclass
class Poller:
    """The face of every compiled poller."""

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def watch(self, source: IOSource, events: cython.uint) -> cython.int:
        """Report these events of the source from now on; 0 for none. OSError if the kernel refuses."""
        raise NotImplementedError

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def keep(self, source: IOSource, events: cython.uint) -> cython.int:
        """Register these events of the source's descriptor for good, by their edges.

        Reported is what the source then writes into its ``watched`` itself, which costs no system call. An
        edge that comes while that is empty is forgotten: before it waits, the source must have found that
        there is nothing. It keeps the descriptor until another source, or a selectors key, wants it.
        """
        raise NotImplementedError

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def harvest(self, ready: ReadyQueue, timeout: cython.double) -> cython.int:
        """Wait at most so many seconds (negative: for ever) and push what has events onto the ready queue."""
        raise NotImplementedError

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def wake(self) -> cython.int:
        """End a harvest that waits. May be called from any thread."""
        raise NotImplementedError
