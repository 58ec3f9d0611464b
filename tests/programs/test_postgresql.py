"""asyncpg against a PostgreSQL of our own, with its own folder and port."""

import asyncio
import getpass
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from .support import PAYLOAD, Run, free_port, wait_until

asyncpg = pytest.importorskip("asyncpg", reason="asyncpg is not installed")


class Postgres(NamedTuple):
    """A running server: where to reach it, and where its files are."""

    folder: Path
    port: int
    user: str


def find_programs() -> Path:
    """The folder of initdb and postgres, which Debian keeps off the PATH."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if pg_config := shutil.which("pg_config"):
        folders.append(Path(subprocess.check_output([pg_config, "--bindir"], text=True).strip()))
    if initdb := shutil.which("initdb"):
        folders.append(Path(initdb).resolve().parent)
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    pytest.skip("PostgreSQL is not installed (Debian: postgresql)")


def unprivileged_user() -> str:
    """A user that PostgreSQL, which refuses root, may run as."""
    if os.geteuid() != 0:
        return getpass.getuser()
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    pytest.skip("PostgreSQL refuses root, and there is no other user")


@pytest.fixture(scope="module")
def postgres(authority: Any) -> Iterator[Postgres]:
    """A PostgreSQL server over TCP, TLS and a Unix socket, for this module's tests."""
    programs, user = find_programs(), unprivileged_user()
    options: dict[str, Any] = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}
    if os.geteuid() != 0:
        options = {}
    # pytest's own folders are closed to other users.
    with tempfile.TemporaryDirectory(prefix="glassloop-") as name:
        folder, port = Path(name), free_port()
        data = folder / "data"
        if options:
            shutil.chown(folder, user)
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", user, "--auth=trust", "--no-sync", "--encoding=UTF8"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
            **options,
        )
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        certificate.private_key_pem.write_to_path(data / "server.key")
        certificate.cert_chain_pems[0].write_to_path(data / "server.crt")
        (data / "server.key").chmod(0o600)
        if options:
            shutil.chown(data / "server.key", user)
        settings = {"port": port, "unix_socket_directories": folder, "fsync": "off", "ssl": "on"}
        command: list[str | Path] = [programs / "postgres", "-D", data]
        for key, value in settings.items():
            command += ["-c", f"{key}={value}"]
        with (
            open(folder / "log", "wb") as log,
            subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, **options) as process,
        ):
            wait_until(
                lambda: (
                    "ready to accept connections" in (folder / "log").read_text()
                    or process.poll() is not None
                ),
                "PostgreSQL to start",
            )
            assert process.poll() is None, (folder / "log").read_text()
            try:
                yield Postgres(folder, port, user)
            finally:
                # PostgreSQL's fast shutdown: it does not wait for its clients to leave.
                process.send_signal(signal.SIGINT)


async def connect(server: Postgres, **options: Any) -> Any:
    """Connect over TCP, without TLS unless told."""
    arguments = {
        "host": "127.0.0.1",
        "port": server.port,
        "user": server.user,
        "database": "postgres",
        "ssl": False,
    }
    return await asyncpg.connect(**(arguments | options))


SLEEPING = "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'PgSleep'"


async def until_sleeping(observer: Any, pid: int) -> None:
    """Wait until a server process runs pg_sleep(): a cancel before that may come to nothing."""
    while not await observer.fetchval(SLEEPING, pid):
        await asyncio.sleep(0.001)


def test_values_go_there_and_back(run: Run, postgres: Postgres) -> None:
    async def main() -> None:
        connection = await connect(postgres)
        for value in (None, 1, -(2**31), 1.5, "ärger", b"\x00\xff", [1, 2, 3], True):
            kind = {int: "int4", float: "float8", str: "text", bytes: "bytea", list: "int4[]", bool: "bool"}
            sql = f"SELECT $1::{kind.get(type(value), 'text')}"
            assert await connection.fetchval(sql, value) == value
        assert await connection.fetchval("SELECT $1::bytea", PAYLOAD) == PAYLOAD
        await connection.close()

    run(main())


@pytest.mark.parametrize("way", ["unix", "tls"])
def test_other_ways_to_connect(run: Run, postgres: Postgres, client_tls: Any, way: str) -> None:
    async def main() -> None:
        options = {"host": str(postgres.folder)} if way == "unix" else {"ssl": client_tls}
        connection = await connect(postgres, **options)
        sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        assert await connection.fetchval(sql) is (way == "tls")
        assert await connection.fetchval("SELECT $1::bytea", PAYLOAD) == PAYLOAD
        await connection.close()

    run(main())


def test_transactions(run: Run, postgres: Postgres) -> None:
    async def main() -> None:
        connection = await connect(postgres)
        await connection.execute("CREATE TEMPORARY TABLE account (name text PRIMARY KEY, amount int)")
        await connection.executemany("INSERT INTO account VALUES ($1, $2)", [("a", 10), ("b", 0)])
        with pytest.raises(asyncpg.DivisionByZeroError):
            async with connection.transaction():
                await connection.execute("UPDATE account SET amount = 0 WHERE name = 'a'")
                await connection.execute("SELECT 1 / 0")
        assert await connection.fetchval("SELECT amount FROM account WHERE name = 'a'") == 10
        async with connection.transaction():
            await connection.execute("UPDATE account SET amount = amount - 4 WHERE name = 'a'")
            async with connection.transaction():
                await connection.execute("UPDATE account SET amount = amount + 4 WHERE name = 'b'")
        rows = await connection.fetch("SELECT * FROM account ORDER BY name")
        assert [tuple(row) for row in rows] == [("a", 6), ("b", 4)]
        await connection.close()

    run(main())


def test_a_pool_under_a_hundred_tasks(run: Run, postgres: Postgres) -> None:
    async def main() -> None:
        async with (
            asyncpg.create_pool(
                host="127.0.0.1",
                port=postgres.port,
                user=postgres.user,
                database="postgres",
                ssl=False,
                min_size=2,
                max_size=10,
            ) as pool,
            asyncio.TaskGroup() as tasks,
        ):

            async def square(number: int) -> None:
                async with pool.acquire() as connection:
                    for _ in range(5):
                        assert await connection.fetchval("SELECT $1::int * $1::int", number) == number**2

            for number in range(100):
                tasks.create_task(square(number))

    run(main())


def test_a_cursor_and_many_rows(run: Run, postgres: Postgres) -> None:
    async def main() -> None:
        connection = await connect(postgres)
        assert len(await connection.fetch("SELECT generate_series(1, 50000)")) == 50_000
        async with connection.transaction():
            total = 0
            async for row in connection.cursor("SELECT generate_series(1, 5000) AS number", prefetch=50):
                total += row["number"]
            assert total == 5000 * 5001 // 2
        await connection.close()

    run(main())


def test_copy(run: Run, postgres: Postgres, tmp_path: Path) -> None:
    async def main() -> None:
        connection = await connect(postgres)
        await connection.execute("CREATE TEMPORARY TABLE copied (number int, text text)")
        records = [(number, "x" * (number % 100)) for number in range(20_000)]
        await connection.copy_records_to_table("copied", records=records)
        await connection.copy_from_table("copied", output=tmp_path / "copied.csv", format="csv")
        lines = (tmp_path / "copied.csv").read_text().splitlines()
        empty = '""'
        assert sorted(lines) == sorted(f"{number},{text or empty}" for number, text in records)
        await connection.copy_to_table("copied", source=tmp_path / "copied.csv", format="csv")
        assert await connection.fetchval("SELECT count(*) FROM copied") == 40_000
        await connection.close()

    run(main())


def test_notifications(run: Run, postgres: Postgres) -> None:
    async def main() -> None:
        listener, sender = await connect(postgres), await connect(postgres)
        heard: asyncio.Queue[str] = asyncio.Queue()
        await listener.add_listener(
            "news", lambda _connection, _pid, _channel, payload: heard.put_nowait(payload)
        )
        for number in range(100):
            await sender.execute("SELECT pg_notify('news', $1)", str(number))
        assert [await heard.get() for _ in range(100)] == [str(number) for number in range(100)]
        await sender.close()
        await listener.close()

    run(main())


@pytest.mark.parametrize("how", ["timeout", "cancel"])
def test_a_query_that_is_given_up_leaves_the_connection_usable(
    run: Run, postgres: Postgres, how: str
) -> None:
    async def main() -> None:
        connection, observer = await connect(postgres), await connect(postgres)
        pid = connection.get_server_pid()
        limit = asyncio.timeout(None)

        async def sleep() -> None:
            async with limit:
                await connection.fetch("SELECT pg_sleep(1000)")

        query = asyncio.create_task(sleep())
        await until_sleeping(observer, pid)
        if how == "timeout":
            limit.reschedule(asyncio.get_running_loop().time())
        else:
            query.cancel()
        with pytest.raises(TimeoutError if how == "timeout" else asyncio.CancelledError):
            await query
        assert await connection.fetchval("SELECT 42") == 42
        assert not await observer.fetchval(SLEEPING, pid)
        await connection.close()
        await observer.close()

    run(main())


def test_a_server_that_ends_the_connection(run: Run, postgres: Postgres) -> None:
    async def main() -> None:
        victim, killer = await connect(postgres), await connect(postgres)
        lost = asyncio.Event()
        victim.add_termination_listener(lambda _connection: lost.set())
        query = asyncio.ensure_future(victim.fetch("SELECT pg_sleep(1000)"))
        await until_sleeping(killer, victim.get_server_pid())
        assert await killer.fetchval("SELECT pg_terminate_backend($1)", victim.get_server_pid())
        # Which of them depends on whether the end of the connection comes with the server's last words.
        with pytest.raises((asyncpg.AdminShutdownError, asyncpg.ConnectionDoesNotExistError)):
            await query
        await lost.wait()
        assert victim.is_closed()
        await killer.close()

    run(main())


def test_nobody_there(run: Run) -> None:
    async def main() -> None:
        with pytest.raises(ConnectionRefusedError):
            await asyncpg.connect(host="127.0.0.1", port=free_port(), user="nobody", ssl=False)

    run(main())
