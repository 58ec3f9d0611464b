"""glassloop: a drop-in event loop for asyncio.

The public face of the package; everything else is an implementation detail of it.
"""

from glassloop._policy import install
from glassloop.loop import EventLoop, new_event_loop, run

__all__ = ["EventLoop", "__version__", "install", "new_event_loop", "run"]

__version__ = "0.1.0"
