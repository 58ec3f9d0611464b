# What Python sees of write_queue.py: a class that only compiled modules can use.
from typing import final

@final
class WriteQueue: ...
