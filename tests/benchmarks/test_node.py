"""Node's scripts answer, and notice what is wrong."""

import socket
import ssl
import subprocess
from pathlib import Path

import pytest
import trustme

from benchmarks import node, processes
from benchmarks.servers import HELLO

pytestmark = pytest.mark.skipif(node.missing_reason() is not None, reason=str(node.missing_reason()))


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("name", ["call_later_cancel", "concurrent_sleeps", "lateness"])
def test_timers(name: str) -> None:
    done = run(*node.script("timers", name, 100, 2))
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) >= 0


def answer(port: int, request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(request)
        client.shutdown(socket.SHUT_WR)
        received = b""
        while part := client.recv(1 << 16):
            received += part
        return received


def test_servers() -> None:
    for kind in ("echo", "echo-default-backlog", "echo-close"):
        with processes.server(node.script("server", kind)) as server:
            assert answer(server.port, b"to and fro") == b"to and fro"
    with processes.server(node.script("server", "http")) as server:
        assert answer(server.port, b"GET / HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\n" + HELLO)


def test_tls_server(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "certificate"))
    issued.private_key_pem.write_to_path(str(tmp_path / "key"))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    words = (str(tmp_path / "certificate"), str(tmp_path / "key"))
    with (
        processes.server(node.script("server", "tls-echo", *words)) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as client,
    ):
        client.sendall(b"to and fro")
        assert client.recv(100) == b"to and fro"


def test_files(tmp_path: Path) -> None:
    size = 4096
    for number in range(3):
        (tmp_path / str(number)).write_bytes(bytes((number + place) % 251 for place in range(size)))
    command = node.script("files", str(tmp_path), 3, size, 20, 4)
    done = run(*command)
    assert done.returncode == 0 and float(done.stdout) > 0, done.stderr
    (tmp_path / "2").write_bytes(bytes(size))
    done = run(*command)
    assert done.returncode != 0 and "file 2 came back changed" in done.stderr
