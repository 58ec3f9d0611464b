"""The openssl program as a peer: it renegotiates, changes keys, and is no code of Python's."""

import asyncio
import contextlib
import fcntl
import shutil
import socket
import ssl
import termios
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from .server_support import address_of, start_tls_server
from .support import PATIENCE, Context, Recorder, Run, end, pattern, until

OPENSSL = shutil.which("openssl")

pytestmark = pytest.mark.skipif(OPENSSL is None, reason="there is no openssl program here")


class Program:
    """The openssl program, with its standard input and what it has said so far."""

    def __init__(self, process: asyncio.subprocess.Process, stdin: socket.socket) -> None:
        self.process = process
        self.stdin = stdin
        self.said = b""

    async def tell(self, line: bytes) -> None:
        """Say a line, and wait until it was read: openssl looks for a command only where a read begins."""
        self.stdin.sendall(line)
        await until(lambda: not any(fcntl.ioctl(self.stdin, termios.TIOCOUTQ, bytes(4))))

    async def until_said(self, what: bytes) -> bytes:
        """Read what it says up to this, and return what came before."""
        assert self.process.stdout is not None
        while what not in self.said:
            part = await asyncio.wait_for(self.process.stdout.read(65536), PATIENCE)
            assert part, f"openssl ended without {what!r}: {self.said.decode(errors='replace')[-2000:]}"
            self.said += part
        before, _, self.said = self.said.partition(what)
        return before


@contextlib.asynccontextmanager
async def running(*arguments: str) -> AsyncIterator[Program]:
    ours, its = socket.socketpair()
    with ours:
        with its:
            process = await asyncio.create_subprocess_exec(
                str(OPENSSL),
                *arguments,
                stdin=its.fileno(),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
        try:
            yield Program(process, ours)
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()


@contextlib.asynccontextmanager
async def client(server: asyncio.Server, *arguments: str) -> AsyncIterator[Program]:
    """openssl s_client, connected; of its commands, R asks for a renegotiation, K for new keys."""
    host, port = address_of(server)
    async with running("s_client", "-connect", f"{host}:{port}", *arguments) as program:
        await program.until_said(b"---\n")
        yield program


@contextlib.asynccontextmanager
async def serving(
    authority: Any, folder: Path, context: ssl.SSLContext, *arguments: str
) -> AsyncIterator[tuple[Program, Any, Recorder]]:
    """openssl s_server, and a client of the loop's that is connected to it."""
    certificate = folder / "server.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
    pem = str(certificate)
    async with running(
        "s_server", "-accept", "127.0.0.1:0", "-cert", pem, "-key", pem, *arguments
    ) as program:
        await program.until_said(b"ACCEPT 127.0.0.1:")
        port = int(await program.until_said(b"\n"))
        transport, protocol = await asyncio.get_running_loop().create_connection(
            Recorder, "127.0.0.1", port, ssl=context, server_hostname="localhost"
        )
        transport.write(b"begin\n")
        await program.until_said(b"begin\n")
        yield program, transport, protocol
        transport.abort()
        await asyncio.wait_for(protocol.lost, PATIENCE)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_s_client(run: Run, server_tls: ssl.SSLContext, version: str) -> None:
    async def main() -> None:
        server = await start_tls_server(server_tls)
        async with client(server, version) as program:
            await program.tell(b"hello\n")
            await program.until_said(b"hello\n")
            for number in range(500):
                await program.tell(b"line %d\n" % number)
            await program.until_said(b"line 499\n")
            await program.tell(b"Q\n")
            assert await asyncio.wait_for(program.process.wait(), PATIENCE) == 0
        await end(server)

    run(main())


def test_a_client_that_changes_its_keys(run: Run, server_tls: ssl.SSLContext) -> None:
    """TLS 1.3: k changes the sender's keys, K asks for the other end's too."""

    async def main() -> None:
        server = await start_tls_server(server_tls)
        async with client(server, "-tls1_3") as program:
            for number, command in enumerate((b"k", b"K", b"K", b"k")):
                await program.tell(command + b"\n")
                await program.until_said(b"KEYUPDATE")
                await program.tell(b"after change %d\n" % number)
                await program.until_said(b"after change %d\n" % number)
        await end(server)

    run(main())


def test_a_client_that_asks_to_renegotiate_is_refused(
    run: Run, server_tls: ssl.SSLContext, errors: list[Context]
) -> None:
    """It costs a server much more than a client. What is said is that client's end, and nobody else's."""

    async def main() -> None:
        server = await start_tls_server(server_tls)
        async with client(server, "-tls1_2") as other, client(server, "-tls1_2") as program:
            await program.tell(b"before\n")
            await program.until_said(b"before\n")
            await program.tell(b"R\n")
            await program.until_said(b"no renegotiation")
            assert await asyncio.wait_for(program.process.wait(), PATIENCE) != 0
            await other.tell(b"still here\n")
            await other.until_said(b"still here\n")
        await end(server)

    run(main())


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_s_server(run: Run, authority: Any, client_tls: ssl.SSLContext, tmp_path: Path, version: str) -> None:
    async def main() -> None:
        async with serving(authority, tmp_path, client_tls, version) as (program, transport, protocol):
            transport.write(pattern(50_000) + b"that is all\n")
            await program.until_said(b"that is all\n")
            await program.tell(b"an answer\n")
            assert await protocol.until_received(10) == b"an answer\n"
            await program.tell(b"Q\n")
            assert await protocol.lost is None
            assert protocol.calls == ["made", "data", "eof", "lost"]

    run(main())


def test_a_server_that_renegotiates(
    run: Run, authority: Any, client_tls: ssl.SSLContext, tmp_path: Path
) -> None:
    """TLS 1.2: a handshake amid the data, which is read and written meanwhile."""

    async def main() -> None:
        async with serving(authority, tmp_path, client_tls, "-tls1_2") as (program, transport, protocol):
            sent = b""
            for number in range(3):
                await program.tell(b"r\n")
                await program.tell(b"said %d\n" % number)
                sent += b"said %d\n" % number
                transport.write(b"word %d\n" % number)
                await program.until_said(b"word %d\n" % number)
                assert await protocol.until_received(len(sent)) == sent

    run(main())


def test_a_server_that_changes_its_keys(
    run: Run, authority: Any, client_tls: ssl.SSLContext, tmp_path: Path
) -> None:
    async def main() -> None:
        async with serving(authority, tmp_path, client_tls, "-tls1_3") as (program, transport, protocol):
            sent = b""
            for number, command in enumerate((b"k", b"K")):
                await program.tell(command + b"\n")
                await program.tell(b"said %d\n" % number)
                sent += b"said %d\n" % number
                assert await protocol.until_received(len(sent)) == sent
                transport.write(b"word %d\n" % number)
                await program.until_said(b"word %d\n" % number)

    run(main())
