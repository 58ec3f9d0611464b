# What Python sees of clock.py.
from collections.abc import Callable
from typing import final

class Clock:
    def now(self) -> float: ...

@final
class MethodClock(Clock):
    def __init__(self, time_method: Callable[[], float]) -> None: ...
