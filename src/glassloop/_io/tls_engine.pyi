# What Python sees of tls_engine.py: classes that only compiled modules can use.
import ssl
from typing import final

@final
class Window: ...

@final
class TLSEngine:
    def __init__(
        self, sslcontext: ssl.SSLContext, server_side: bool, server_hostname: str | None
    ) -> None: ...
