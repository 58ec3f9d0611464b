"""asyncssh: a server and a client on the same loop, with commands, files and a tunnel."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from .support import PAYLOAD, Run

asyncssh = pytest.importorskip("asyncssh", reason="asyncssh is not installed")
SSHServer: Any = asyncssh.SSHServer


async def run_command(process: Any) -> None:
    """What the server does for a session: ``upper`` changes its input, ``code`` ends with a status."""
    if process.command == "upper":
        async for line in process.stdin:
            process.stdout.write(line.upper())
        process.exit(0)
    else:
        process.stderr.write("unknown command")
        process.exit(127)


@asynccontextmanager
async def connect(folder: Path) -> AsyncIterator[Any]:
    """A client's connection to a server that serves a folder, each with a key made for this."""
    host_key, user_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))

    class Server(SSHServer):  # type: ignore[misc]  # its base is untyped
        def connection_requested(self, *_addresses: object) -> bool:
            return True

    async with asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=Server,
        server_host_keys=[host_key],
        authorized_client_keys=asyncssh.import_authorized_keys(user_key.export_public_key().decode()),
        process_factory=run_command,
        sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=str(folder)),
    ) as server:
        port = server.get_port()
        public = host_key.export_public_key().decode()
        known_hosts = asyncssh.import_known_hosts(f"[127.0.0.1]:{port} {public}")
        options = {"username": "guest", "client_keys": [user_key], "known_hosts": known_hosts, "config": None}
        async with asyncssh.connect("127.0.0.1", port, **options) as connection:
            yield connection


def test_commands(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with connect(tmp_path) as connection:
            results = await asyncio.gather(
                *(connection.run("upper", input=f"{number} lines\n" * 1000) for number in range(10))
            )
            for number, result in enumerate(results):
                assert (result.exit_status, result.stdout) == (0, f"{number} LINES\n" * 1000)
            result = await connection.run("nonsense")
            assert (result.exit_status, result.stderr) == (127, "unknown command")

    run(main())


def test_files(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "sent").write_bytes(PAYLOAD)
        (tmp_path / "served").mkdir()
        async with connect(tmp_path / "served") as connection, connection.start_sftp_client() as files:
            await files.put(tmp_path / "sent", "kept")
            await files.get("kept", tmp_path / "received")
            assert await files.listdir() == [".", "..", "kept"]
        assert (tmp_path / "received").read_bytes() == PAYLOAD

    run(main())


def test_a_tunnel(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.close()

        behind = await asyncio.start_server(echo, "127.0.0.1", 0)
        async with behind, connect(tmp_path) as connection:
            listener = await connection.forward_local_port("127.0.0.1", 0, *behind.sockets[0].getsockname())
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.get_port())

            async def send() -> None:
                writer.write(PAYLOAD)
                await writer.drain()
                writer.write_eof()

            received, _ = await asyncio.gather(reader.read(), send())
            assert received == PAYLOAD
            writer.close()
            await writer.wait_closed()
            listener.close()
            await listener.wait_closed()

    run(main())


def test_a_wrong_key_is_refused(run: Run, tmp_path: Path) -> None:
    async def main() -> None:
        async with connect(tmp_path) as connection:
            with pytest.raises(asyncssh.PermissionDenied):
                await asyncssh.connect(
                    *connection.get_extra_info("peername")[:2],
                    username="guest",
                    client_keys=[asyncssh.generate_private_key("ssh-ed25519")],
                    known_hosts=None,
                    config=None,
                )

    run(main())
