# What Python sees of instruments.py.
from typing import final

HOOKS: tuple[str, ...]

@final
class Instruments: ...
