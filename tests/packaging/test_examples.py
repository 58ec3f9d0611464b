"""The examples, run as people run them: each on plain asyncio and through `glassloop run`."""

import hashlib
import http.server
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
WAYS = {"asyncio": [sys.executable], "glassloop": [sys.executable, "-m", "glassloop", "run"]}

needs_aiohttp = pytest.mark.skipif(
    importlib.util.find_spec("aiohttp") is None, reason="aiohttp is not installed"
)
needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="/proc is not mounted")


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """Each of the two ways to run a program."""
    name: str = request.param
    return name


def run(way: str, example: str, *words: str, files: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run an example to its end, with so many open files allowed if that is given."""
    limit = [] if files is None else ["prlimit", f"--nofile={files}:{files}", "--"]
    command = [*limit, *WAYS[way], str(EXAMPLES / example), *words]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)


def test_two_sleeps_overlap(way: str) -> None:
    done = run(way, "two_sleeps.py")
    assert done.returncode == 0, done.stderr
    *lines, last = done.stdout.splitlines()
    assert lines == ["Ada falls asleep", "Grace falls asleep", "Ada wakes up", "Grace wakes up"]
    assert ("glassloop" in last) == (way == "glassloop")


def test_cpu_offload_counts_the_same_in_both_ways(way: str) -> None:
    done = run(way, "cpu_offload.py", "4000")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(": 550 primes below 4000; ") == 2


@needs_aiohttp
def test_crawler_finds_every_page_and_the_dead_link(way: str) -> None:
    done = run(way, "crawler.py", "--at-once", "20")
    assert done.returncode == 0, done.stderr
    first, *failed = done.stdout.splitlines()
    assert first.startswith("400 pages, ")
    assert len(failed) == 1
    assert failed[0].endswith("/page/400: 404 Not Found")


@needs_aiohttp
def test_crawler_stops_at_the_bound(way: str) -> None:
    done = run(way, "crawler.py", "--pages", "30")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("30 pages, ")


@needs_aiohttp
@needs_proc
def test_download_checks_every_page(way: str) -> None:
    done = run(way, "download_10k.py", "--at-once=200", "--requests=600", "--wait=0.1", "--json")
    assert done.returncode == 0, done.stderr
    happened = json.loads(done.stdout)
    assert happened["loop"] == way
    assert happened["requests"] == 600
    assert happened["waiting_max"] == 200
    assert 0 < happened["waiting_max_at_the_site"] <= 200
    assert done.stderr.splitlines()[-1].endswith("0 waiting      600 of 600 done")


@needs_aiohttp
@needs_proc
def test_download_adapts_to_the_limit_on_open_files(way: str) -> None:
    done = run(way, "download_10k.py", "--at-once=500", "--requests=500", "--wait=0.05", "--json", files=450)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["waiting_max"] == 250
    assert "250 at once instead of 500" in done.stderr


class LyingSite(http.server.BaseHTTPRequestHandler):
    """A site whose pages do not have the checksum that it gives for them."""

    def do_GET(self) -> None:
        body = f"This is page {self.path.rpartition('/')[2]}.".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Repr-Digest", f"sha-256=:{hashlib.sha256(b'another page').hexdigest()}:")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def lying_site() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), LyingSite) as server:
        thread = threading.Thread(daemon=True, target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@needs_aiohttp
@needs_proc
def test_download_notices_a_wrong_page(way: str, lying_site: str) -> None:
    done = run(way, "download_10k.py", lying_site, "--at-once=1", "--requests=1")
    assert done.returncode == 1
    assert "the page that came back is not the one that was sent" in done.stderr


@needs_proc
def test_waiting_memory(way: str) -> None:
    tasks, threads = (
        run(way, "waiting_memory.py", kind, count) for kind, count in (("tasks", "20000"), ("threads", "20"))
    )
    assert tasks.returncode == 0, tasks.stderr
    assert threads.returncode == 0, threads.stderr
    task, thread = json.loads(tasks.stdout), json.loads(threads.stdout)
    assert (task["count"], thread["count"]) == (20_000, 20)
    assert 100 < task["resident_bytes_each"] < thread["virtual_bytes_each"]


@needs_aiohttp
@needs_proc
def test_demo_in_small() -> None:
    done = run("asyncio", "demo.py", "--at-once=100", "--requests=300")
    assert done.returncode == 0, done.stderr
    assert "\033" not in done.stdout + done.stderr
    assert "\r" not in done.stdout + done.stderr
    rows = {
        " ".join(line.split()[:-2]): line.split()[-2:]
        for line in done.stdout.splitlines()
        if line.startswith("  ")
    }
    assert rows["pages that came back right"] == ["300", "300"]
    assert rows["requests waiting at once, at most"] == ["100", "100"]
    assert "100 threads, extrapolated from 1,000" in done.stdout
    assert "two sleeps of one second took" in done.stdout
    assert "time →" in done.stdout
    assert re.search(r"^and \d+ more tasks, which ran less$", done.stdout, re.MULTILINE)
    last = done.stdout.splitlines()[-3]
    line = next(
        number
        for number, text in enumerate((EXAMPLES / "download_10k.py").read_text().splitlines(), 1)
        if "time.sleep(seconds)" in text
    )
    assert re.fullmatch(
        rf"task clumsy blocked the loop for \d+ ms at .*download_10k.py:{line}, in block", last
    )


class Nc:
    """Somebody at `nc`: a connection, and the lines that it has received."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.lines = self.socket.makefile("r", encoding="utf-8")

    def say(self, text: str) -> None:
        self.socket.sendall(f"{text}\n".encode())

    def hear(self) -> str:
        """Return the next line; empty when the connection has ended."""
        return self.lines.readline().rstrip("\n")

    def join(self, nickname: str) -> str:
        assert self.hear() == "* your nickname?"
        self.say(nickname)
        return self.hear()


@pytest.fixture
def chat(way: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A running chat server and its port."""
    process = subprocess.Popen(
        [*WAYS[way], str(EXAMPLES / "chat_server.py"), "--port", "0"], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process, int(process.stdout.readline().split("port ")[1].split(";")[0])
    finally:
        process.kill()
        process.communicate()


def test_chat(chat: tuple[subprocess.Popen[str], int]) -> None:
    process, port = chat
    ada, grace = Nc(port), Nc(port)
    assert ada.join("Ada") == "* welcome, Ada; here: nobody yet"
    assert grace.join("") == "* a nickname needs letters; your nickname?"
    grace.say("Ada")
    assert grace.hear() == "* Ada is here already; your nickname?"
    grace.say("Grace")
    assert grace.hear() == "* welcome, Grace; here: Ada"
    assert ada.hear() == "* Grace joins"
    ada.say("hello, wörld")
    assert grace.hear() == "Ada: hello, wörld"
    grace.say("x" * 5000)
    assert grace.hear() == "* that line was too long"
    assert grace.hear() == ""
    assert ada.hear() == "* Grace leaves"
    process.send_signal(signal.SIGTERM)
    assert ada.hear() == "* the server ends"
    assert ada.hear() == ""
    assert process.wait(60) == 0


def test_chat_lets_go_of_a_slow_reader(chat: tuple[subprocess.Popen[str], int]) -> None:
    """One who does not read costs the others nothing, and is disconnected once a queue of lines is full."""
    _, port = chat
    ada, grace, slow = Nc(port), Nc(port), Nc(port)
    ada.join("Ada")
    grace.join("Grace")
    slow.join("Slow")
    assert [ada.hear(), ada.hear(), grace.hear()] == ["* Grace joins", "* Slow joins", "* Slow joins"]
    heard = ""
    for number in range(100_000):
        ada.say(f"{number} " + "x" * 4000)
        heard = grace.hear()
        if heard == "* Slow reads too slowly":
            break
        assert heard.startswith(f"Ada: {number} x")
    assert heard == "* Slow reads too slowly"
    assert ada.hear() == "* Slow reads too slowly"


def test_examples_name_no_loop() -> None:
    """They are ordinary asyncio programs: which loop runs them is said outside."""
    for path in EXAMPLES.glob("*.py"):
        assert "import glassloop" not in path.read_text(), (
            f"{path.name} names a loop; let `glassloop run` do it"
        )
    assert len(os.listdir(EXAMPLES)) >= 7
