"""The soak: everything at once on one loop, for minutes, with checksums; then nothing may be left.

    python tests/stress/soak.py [--seconds 600] [--only tcp,tls,udp,files,processes,pipes,offload]

Rounds of load: connections over TCP and TLS (some are aborted on the way), datagrams, files, child
processes, pipes, offloaded jobs. Every byte that goes out must come back. After each round all of it ends;
from the first round, which warms up, to the last, the process may keep no descriptor, task or child, and
hardly any memory.
The last line says how it went, and the exit status is 1 if it went wrong. `make soak` runs it for 10 minutes.
"""

import argparse
import asyncio
import contextlib
import gc
import os
import random
import ssl
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import trustme

import glassloop

HOST = "127.0.0.1"
BLOCK = random.Random(1).randbytes(1 << 20)
PATIENCE_S = 30.0  # nothing that is under way may stand still for so long
ROUNDS = 6  # the first warms up
GROWTH_MAX_BYTES = 12 << 20
WORKERS = {"tcp": 8, "tls": 4, "udp": 4, "files": 4, "processes": 3, "pipes": 2, "offload": 2}


class WrongError(Exception):
    """Something did not come back as it went out, or was left behind."""


def piece(rng: random.Random, most: int) -> bytes:
    """Return between 1 and ``most`` random bytes."""
    size = rng.randint(1, min(most, len(BLOCK)))
    start = rng.randint(0, len(BLOCK) - size)
    return BLOCK[start : start + size]


class Soak:
    """One run: what its workers share, and what they have done."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.operations: Counter[str] = Counter()
        self.bytes = 0
        self.errors: list[str] = []
        self.ends_s = 0.0
        self.ports: dict[str, int] = {}
        authority = trustme.CA()
        self.server_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(HOST).configure_cert(self.server_tls)
        self.client_tls = ssl.create_default_context()
        authority.configure_trust(self.client_tls)

    def did(self, kind: str, size: int) -> None:
        """Count an operation that went well, with the bytes that went there and back."""
        self.operations[kind] += 1
        self.bytes += size

    def check(self, sent: bytes, received: bytes, what: str) -> None:
        """Compare what came back with what went out."""
        if sent != received:
            text = f"{what}: {len(sent)} bytes went out (CRC {zlib.crc32(sent):08x}), "
            raise WrongError(text + f"{len(received)} came back (CRC {zlib.crc32(received):08x})")

    def handle_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Keep what the loop reports: nothing may be reported."""
        self.errors.append(f"{context.get('message')}: {context.get('exception')!r}")


# -- TCP and TLS ----------------------------------------------------------------------------------------


class Echo(asyncio.Protocol):
    """Sends back what it gets, and reads no more than it can send."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def pause_writing(self) -> None:
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self.transport.resume_reading()


async def echo_stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what a stream brings."""
    with contextlib.suppress(ConnectionError, ssl.SSLError):  # a client that aborts
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        await writer.wait_closed()


async def connect(soak: Soak, rng: random.Random, kind: str) -> None:
    """Send some messages over a connection of its own; all of them come back, unless it is aborted."""
    port = soak.ports[rng.choice((kind, f"{kind} streams"))]
    context = soak.client_tls if kind == "tls" else None
    reader, writer = await asyncio.open_connection(
        HOST, port, ssl=context, server_hostname=HOST if context else None
    )
    messages = [piece(rng, 1 << rng.randint(4, 18)) for _ in range(rng.randint(1, 12))]
    is_aborted = rng.random() < 0.1

    async def send() -> None:
        for message in messages:
            writer.write(message)
            await writer.drain()

    sending = asyncio.ensure_future(send())
    try:
        if is_aborted:
            await reader.read(1)
            writer.transport.abort()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await sending
        else:
            sent = b"".join(messages)
            received = await reader.readexactly(len(sent))
            await sending
            soak.check(sent, received, kind)
            if writer.can_write_eof():
                writer.write_eof()
                soak.check(b"", await reader.read(), f"{kind}, after the end")
            soak.did(kind, 2 * len(sent))
    finally:
        sending.cancel()
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()


@contextlib.asynccontextmanager
async def servers(soak: Soak) -> AsyncIterator[None]:
    """Serve TCP and TLS, each by protocols and by streams, and UDP."""
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as stack:
        for kind, context in (("tcp", None), ("tls", soak.server_tls)):
            for name, server in (
                (kind, await loop.create_server(Echo, HOST, 0, ssl=context)),
                (f"{kind} streams", await asyncio.start_server(echo_stream, HOST, 0, ssl=context)),
            ):
                soak.ports[name] = server.sockets[0].getsockname()[1]
                stack.callback(server.close)
        udp, _ = await loop.create_datagram_endpoint(EchoDatagrams, local_addr=(HOST, 0))
        soak.ports["udp"] = udp.get_extra_info("sockname")[1]
        stack.callback(udp.close)
        yield


# -- datagrams ------------------------------------------------------------------------------------------


class EchoDatagrams(asyncio.DatagramProtocol):
    """Sends each datagram back."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.transport.sendto(data, addr)


class Datagrams(asyncio.DatagramProtocol):
    """Collects what comes back."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.queue.put_nowait(data)

    def error_received(self, exc: Exception) -> None:
        self.queue.put_nowait(repr(exc).encode())


async def exchange_datagrams(soak: Soak, rng: random.Random, kind: str) -> None:
    """Have a few datagrams under way at a time: so few that the kernel drops none."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(
        Datagrams, remote_addr=(HOST, soak.ports["udp"])
    )
    try:
        for _ in range(20):
            sent = sorted(piece(rng, 1400) for _ in range(6))
            for data in sent:
                transport.sendto(data)
            received = sorted([await protocol.queue.get() for _ in sent])
            soak.check(b"|".join(sent), b"|".join(received), kind)
            soak.did(kind, 2 * sum(map(len, sent)))
    finally:
        transport.close()


# -- files, processes, pipes, jobs --------------------------------------------------------------------------


async def write_and_read_a_file(soak: Soak, rng: random.Random, kind: str) -> None:
    """Write a file in pieces, append to it, and read it in two ways."""
    path = soak.folder / f"{rng.getrandbits(64):x}"
    pieces = [piece(rng, 1 << rng.randint(4, 17)) for _ in range(rng.randint(1, 6))]
    last = piece(rng, 5000)
    files: Any = glassloop
    async with files.open(path, "wb") as file:
        for data in pieces:
            await file.write(data)
    async with files.open(path, "ab") as file:
        await file.write(last)
    sent = b"".join([*pieces, last])
    soak.check(sent, await files.read_bytes(path), kind)
    async with files.open(path, "rb") as file:
        soak.check(sent, await file.read(), f"{kind}, opened")
    soak.did(kind, 3 * len(sent))
    path.unlink()


async def run_a_process(soak: Soak, rng: random.Random, kind: str) -> None:
    """Send something through a child process."""
    process = await asyncio.create_subprocess_exec(
        "cat", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    sent = piece(rng, 1 << rng.randint(1, 19))
    received, _ = await process.communicate(sent)
    soak.check(sent, received, kind)
    if process.returncode != 0:
        raise WrongError(f"{kind}: `cat` ended with {process.returncode}")
    soak.did(kind, 2 * len(sent))


async def send_through_a_pipe(soak: Soak, rng: random.Random, kind: str) -> None:
    """Write into a pipe and read from it, in the same loop."""
    loop = asyncio.get_running_loop()
    near, far = os.pipe()
    reader = asyncio.StreamReader()
    reading, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(near, "rb", 0)
    )
    writing, protocol = await loop.connect_write_pipe(
        lambda: asyncio.streams.FlowControlMixin(loop=loop), os.fdopen(far, "wb", 0)
    )
    writer = asyncio.StreamWriter(writing, protocol, None, loop)
    sent = [piece(rng, 1 << rng.randint(4, 18)) for _ in range(rng.randint(1, 8))]

    async def send() -> None:
        for data in sent:
            writer.write(data)
            await writer.drain()
        writer.close()

    sending = asyncio.ensure_future(send())
    try:
        soak.check(b"".join(sent), await reader.read(), kind)
        await sending
    finally:
        sending.cancel()
        writing.close()
        reading.close()
    soak.did(kind, 2 * sum(map(len, sent)))


async def offload_a_job(soak: Soak, rng: random.Random, kind: str) -> None:
    """Have a thread of the loop's pool compute a checksum."""
    data = piece(rng, 1 << 18)
    if await glassloop.offload(zlib.crc32, data) != zlib.crc32(data):
        raise WrongError(f"{kind}: another checksum")
    soak.did(kind, len(data))


JOBS: dict[str, Callable[[Soak, random.Random, str], Awaitable[None]]] = {
    "tcp": connect,
    "tls": connect,
    "udp": exchange_datagrams,
    "files": write_and_read_a_file,
    "processes": run_a_process,
    "pipes": send_through_a_pipe,
    "offload": offload_a_job,
}


# -- the run ----------------------------------------------------------------------------------------------


async def work(soak: Soak, kind: str, number: int) -> None:
    """Do one kind of job again and again until the round ends."""
    rng = random.Random(f"{kind} {number} {sum(soak.operations.values())}")
    while True:
        try:
            async with asyncio.timeout(PATIENCE_S):
                await JOBS[kind](soak, rng, kind)
        except TimeoutError:
            raise WrongError(f"{kind}: stood still for {PATIENCE_S:g} s") from None
        except (OSError, EOFError) as error:
            raise WrongError(f"{kind}: {type(error).__name__}: {error}") from error
        if time.monotonic() >= soak.ends_s:
            return


def descriptors() -> dict[str, str]:
    """Return the open descriptors, with what they are."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the one that lists them
            found[name] = os.readlink(f"/proc/self/fd/{name}")
    return found


def children() -> list[str]:
    """Return the child processes, ended ones too; none where the kernel does not tell."""
    found: list[str] = []
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError):
            found += Path(f"/proc/self/task/{thread}/children").read_text().split()
    return found


def resident_bytes() -> int:
    """Return how much memory the process has."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def quiet(baseline: int) -> tuple[int, int]:
    """Wait until all of a round has ended; return descriptors and resident bytes, or say what is left."""
    deadline_s = time.monotonic() + 10
    while True:
        await asyncio.sleep(0.02)
        gc.collect()
        open_now = descriptors()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        left = children()
        if not tasks and not left and (not baseline or len(open_now) <= baseline):
            return len(open_now), resident_bytes()
        if time.monotonic() > deadline_s:
            raise WrongError(
                f"left behind: {len(tasks)} tasks, {len(left)} children, {len(open_now)} descriptors "
                f"({baseline} before): {sorted(Counter(open_now.values()).items())[:20]}; {list(tasks)[:3]}"
            )


async def run_rounds(soak: Soak, kinds: list[str], seconds: float) -> str:
    """Run all rounds; return what the summary says of memory and descriptors. Raise where it went wrong."""
    asyncio.get_running_loop().set_exception_handler(soak.handle_exception)
    looks: list[tuple[int, int]] = []
    async with servers(soak):
        for number in range(ROUNDS):
            soak.ends_s = time.monotonic() + seconds / ROUNDS
            async with asyncio.TaskGroup() as group:
                for kind in kinds:
                    for worker in range(WORKERS[kind]):
                        group.create_task(work(soak, kind, worker), name=f"{kind}-{worker}")
            if soak.errors:
                raise WrongError(f"the loop reported {len(soak.errors)} errors: {soak.errors[0]}")
            looks.append(await quiet(looks[0][0] if looks else 0))
            print(
                f"round {number + 1} of {ROUNDS}: {sum(soak.operations.values()):,} operations, "
                f"{soak.bytes / 2**30:.2f} GiB, {looks[-1][1] / 2**20:.1f} MiB resident",
                flush=True,
            )
    (opened, before), (opened_last, after) = looks[0], looks[-1]
    memory = f"memory {before / 2**20:.1f} → {after / 2**20:.1f} MiB"
    if after - before > GROWTH_MAX_BYTES:
        raise WrongError(f"{memory} over {sum(soak.operations.values()):,} operations: it is not flat")
    return f"{memory}, {opened} → {opened_last} descriptors"


def main() -> int:
    """Run the soak; the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600.0, help="how long, in all (default: 600)")
    parser.add_argument("--only", metavar="KINDS", help=f"comma-separated, of {', '.join(JOBS)}")
    arguments = parser.parse_args()
    kinds = arguments.only.split(",") if arguments.only else list(JOBS)
    unknown = [kind for kind in kinds if kind not in JOBS]
    if unknown or arguments.seconds <= 0:
        parser.error(f"no such kind: {', '.join(unknown)}" if unknown else "--seconds must be above 0")
    with tempfile.TemporaryDirectory(prefix="glassloop-soak-") as folder:
        soak = Soak(Path(folder))
        try:
            state = glassloop.run(run_rounds(soak, kinds, arguments.seconds))
        except* WrongError as group:
            first: BaseException = group
            while isinstance(first, BaseExceptionGroup):
                first = first.exceptions[0]
            print(f"soak: FAILED: {first}", flush=True)
            return_status = 1
        else:
            each = ", ".join(f"{kind} {soak.operations[kind]:,}" for kind in kinds)
            print(
                f"soak: ok: {arguments.seconds:g} s, {sum(soak.operations.values()):,} operations ({each}), "
                f"{soak.bytes / 2**30:.2f} GiB, no error, no lost byte; {state}",
                flush=True,
            )
            return_status = 0
    return return_status


if __name__ == "__main__":
    sys.exit(main())
