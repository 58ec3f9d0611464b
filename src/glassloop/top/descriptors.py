"""File descriptors: which ones the process's epoll sets watch, what they are, and what their handlers cost.

The page tells how many are watched and, by its records, whose events were handled; what a descriptor is and
what is wanted of it only /proc knows: see proc_pid_fdinfo(5).
"""

import os
import socket
import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from glassloop.glass.layout import Kind, Running
from glassloop.glass.text import clean
from glassloop.top.look import Look
from glassloop.top.rates import Rates

_EPOLLIN, _EPOLLOUT = 0x1, 0x4
# A process with very many descriptors is not asked about each.
_MOST_NAMED = 2000


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A file descriptor that is watched, or whose events were handled."""

    fd: int
    name: str
    wanted: str  # "r", "w", "rw", or empty: not watched
    events: float  # handled a second
    busy: float  # the share of the time that its handler ran
    wakes: float  # tasks that it woke a second


def list_descriptors(look: Look, rates: Rates) -> list[Descriptor]:
    """Return the descriptors, those first whose handlers ran most."""
    since_ns = look.since_ns if rates.before is not None else look.snapshot.started_ns
    seconds = max(1, look.snapshot.now_ns - since_ns) / 1e9
    calls: Counter[int] = Counter()
    ticks: Counter[int] = Counter()
    wakes: Counter[int] = Counter()
    for record in look.records:
        if record.kind == Kind.CALL and 0 < record.task < 1 << 31:
            calls[record.task - 1] += 1
            ticks[record.task - 1] += record.duration
        elif record.kind == Kind.WAKE and record.cause_kind != Running.TASK and 0 < record.subject < 1 << 31:
            wakes[record.subject - 1] += 1
    pid = look.snapshot.pid
    wanted = watched(pid) if look.snapshot.alive else {}
    fds = sorted({*wanted, *calls, *wakes}, key=lambda fd: (-ticks[fd], -calls[fd], fd))
    names = names_of(pid, fds[:_MOST_NAMED]) if look.snapshot.alive else {}
    return [
        Descriptor(
            fd=fd,
            name=names.get(fd, "closed" if fd not in wanted else "?"),
            wanted=wanted.get(fd, ""),
            events=calls[fd] / seconds,
            busy=min(1.0, look.snapshot.clock.length_ns(ticks[fd]) / 1e9 / seconds),
            wakes=wakes[fd] / seconds,
        )
        for fd in fds
    ]


def watched(pid: int) -> dict[int, str]:
    """Return what the epoll sets of a process watch, and for what: r, w or both."""
    found: dict[int, str] = {}
    for fd, target in _links(pid):
        if target != "anon_inode:[eventpoll]":
            continue
        for line in _lines(f"/proc/{pid}/fdinfo/{fd}"):
            words = line.split()
            if len(words) > 3 and words[0] == "tfd:" and words[2] == "events:":
                try:
                    number, events = int(words[1]), int(words[3], 16)
                except ValueError:
                    continue
                found[number] = ("r" if events & _EPOLLIN else "") + ("w" if events & _EPOLLOUT else "")
    return found


def names_of(pid: int, fds: Iterable[int]) -> dict[int, str]:
    """Return what descriptors are, in words; those that are closed are left out."""
    sockets: dict[str, str] | None = None
    found = {}
    for fd in fds:
        try:
            target = os.readlink(f"/proc/{pid}/fd/{fd}")
        except OSError:
            continue
        if target.startswith("socket:["):
            if sockets is None:
                sockets = _sockets(pid)
            target = sockets.get(target[8:-1], "socket")
        found[fd] = clean(target.replace("anon_inode:", ""))
    return found


def _links(pid: int) -> list[tuple[int, str]]:
    found = []
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                found.append((int(name), os.readlink(f"/proc/{pid}/fd/{name}")))
            except OSError:
                continue
    except OSError:
        pass
    return found


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _sockets(pid: int) -> dict[str, str]:
    """Return the sockets of a process's network namespace in words, by inode."""
    found = {}
    for kind in ("tcp", "tcp6", "udp", "udp6"):
        for line in _lines(f"/proc/{pid}/net/{kind}")[1:]:
            words = line.split()
            if len(words) < 10:
                continue
            local, remote = _address(words[1]), _address(words[2])
            if kind.startswith("tcp") and words[3] == "0A":
                found[words[9]] = f"TCP listens on {local}"
            else:
                peer = "" if remote.endswith(":0") else f" ↔ {remote}"
                found[words[9]] = f"{kind[:3].upper()} {local}{peer}"
    for line in _lines(f"/proc/{pid}/net/unix")[1:]:
        words = line.split(maxsplit=7)
        if len(words) > 6:
            found[words[6]] = f"Unix socket {words[7]}" if len(words) > 7 else "Unix socket"
    return found


def _address(text: str) -> str:
    """Return an address and port as people write it: the kernel's hexadecimal words are little-endian."""
    host, _, port = text.partition(":")
    try:
        words = [struct.pack("=I", int(host[at : at + 8], 16)) for at in range(0, len(host), 8)]
        number = int(port, 16)
    except (ValueError, struct.error):
        return "?"
    if len(words) == 1:
        return f"{socket.inet_ntop(socket.AF_INET, words[0])}:{number}"
    if len(words) == 4:
        return f"[{socket.inet_ntop(socket.AF_INET6, b''.join(words))}]:{number}"
    return "?"
