# What Python sees of tls_output.py.
from glassloop._io.byte_sink import ByteSink

class TLSOutput(ByteSink):
    def _send_more(self) -> None: ...
