"""The clock: the only module of glassloop that reads the time.

A loop asks its ``Clock`` and nothing else, so that time is a parameter: a test may hand the loop a
clock of its own.
"""

import cython


@cython.cclass
class Clock:
    """The system's monotonic clock, in seconds: the same figure as ``time.monotonic()``."""

    @cython.cfunc
    @cython.exceptval(-1)
    def read(self) -> cython.double:
        return monotonic_ns() / 1e9

    def now(self) -> float:
        """The present time in seconds, from an arbitrary start; it never goes back."""
        return self.read()


@cython.final
@cython.cclass
class MethodClock(Clock):
    """The clock of a loop whose ``time()`` was overridden: it asks that method."""

    def __init__(self, time_method: object) -> None:
        self.time_method = time_method

    @cython.cfunc
    @cython.exceptval(-1)
    def read(self) -> cython.double:
        return self.time_method()
