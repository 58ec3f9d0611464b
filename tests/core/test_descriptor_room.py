"""The table of descriptors is large before clients come: to let it grow stops a process that has threads."""

import resource
import subprocess
import sys

import pytest

ROOM = min(4096, resource.getrlimit(resource.RLIMIT_NOFILE)[0])

PROGRAM = """
import asyncio, os, sys, threading, time
import glassloop

def room():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("FDSize:"))

def has_room(wanted):
    give_up = time.monotonic() + 60
    while room() < wanted and time.monotonic() < give_up:
        time.sleep(0.01)
    return room() >= wanted

wanted, when, how = int(sys.argv[1]), sys.argv[2], sys.argv[3]
assert room() < wanted, room()
before = sorted(os.listdir("/proc/self/fd"))
if how == "in a process with threads":
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
loop = glassloop.EventLoop()
if when == "made":
    assert room() >= wanted, room()
else:
    loop.run_until_complete(asyncio.sleep(0))
    assert has_room(wanted), room()
if how == "in a child":
    pid = os.fork()
    if pid == 0:
        loop = glassloop.EventLoop()
        os._exit(0 if has_room(wanted) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
loop.close()
if how == "in a process with threads":
    over.set()
    thread.join()
if when == "made":  # once it ran, its page stays
    assert sorted(os.listdir("/proc/self/fd")) == before
"""


def run(when: str, how: str, limit: int | None = None) -> None:
    command = [sys.executable, "-c", PROGRAM, str(min(ROOM, limit or ROOM)), when, how]
    if limit is not None:
        command = ["prlimit", f"--nofile={limit}", *command]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(ROOM <= 512, reason=f"the limit of descriptors is {ROOM}")
@pytest.mark.parametrize(
    ("when", "how"),
    [("made", "alone"), ("runs", "in a process with threads"), ("made", "in a child")],
)
def test_there_is_room(when: str, how: str) -> None:
    run(when, how)


@pytest.mark.skipif(ROOM <= 512, reason=f"the limit of descriptors is {ROOM}")
def test_no_more_than_the_limit_allows() -> None:
    run("made", "alone", limit=600)
