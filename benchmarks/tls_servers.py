"""The TLS server under test: `python -m benchmarks.tls_servers KIND LOOP CERTIFICATE` prints its port.

KIND is "plain", the loop's own TLS, or "aiofastnet", that package's on the loop.
"""

import asyncio
import ssl
import sys
from importlib import import_module

from benchmarks import loops
from benchmarks.servers import Echo

_HOST = "127.0.0.1"
_BACKLOG = 4096


def _context(certificate: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def _serve(kind: str, context: ssl.SSLContext) -> None:
    loop = asyncio.get_running_loop()
    if kind == "aiofastnet":
        create_server = import_module("aiofastnet").create_server
        server = await create_server(loop, Echo, _HOST, 0, ssl=context, backlog=_BACKLOG)
    else:
        server = await loop.create_server(Echo, _HOST, 0, ssl=context, backlog=_BACKLOG)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.create_future()


def main() -> None:
    kind, loop_name, certificate = sys.argv[1:]
    loop = loops.make_loop(loop_name)
    # Clients that leave without a word are part of the measurement; some loops would fill the log with them.
    loop.set_exception_handler(lambda _loop, _context: None)
    asyncio.set_event_loop(loop)
    loop.run_until_complete(_serve(kind, _context(certificate)))


if __name__ == "__main__":
    main()
