"""A quiet place to measure in: a network namespace of its own, fixed settings, priority, and a CPU each.

The settings of a machine show in loopback figures. BBR, for one, paces even loopback: it makes an echo server
in C look three times slower. A fresh namespace has none of the machine's firewall rules either.
"""

import fcntl
import os
import shutil
import socket
import struct

_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 0x1  # linux/sockios.h, linux/if.h

_SETTINGS = {
    "net/ipv4/tcp_congestion_control": "reno",
    "net/ipv4/tcp_max_syn_backlog": "8192",
    "net/core/somaxconn": "8192",
}


def isolate() -> str:
    """Move this process into a namespace with only loopback; return what was done, or why not."""
    if not hasattr(os, "unshare"):
        return "not isolated: this Python has no os.unshare (3.12 brings it)"
    try:
        os.unshare(os.CLONE_NEWNET)
    except OSError as error:
        return f"not isolated: no network namespace of our own ({error.strerror}; it needs root)"
    _bring_up("lo")
    done = ["network namespace of its own"]
    for name, value in _SETTINGS.items():
        setting = name.rpartition("/")[2]
        try:
            with open(f"/proc/sys/{name}", "w") as file:
                file.write(value)
        except OSError as error:
            done.append(f"{setting} left as it is ({error.strerror})")
        else:
            done.append(f"{setting}={value}")
    return ", ".join(done)


def _bring_up(interface: str) -> None:
    request = struct.Struct("16sh22x")  # struct ifreq with ifr_flags
    name = interface.encode()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        answer = fcntl.ioctl(control, _SIOCGIFFLAGS, request.pack(name, 0))
        flags = request.unpack(answer)[1]
        fcntl.ioctl(control, _SIOCSIFFLAGS, request.pack(name, flags | _IFF_UP))


def prioritize(pid: int) -> None:
    """Give the session of a process that has just started the highest priority, where we may."""
    try:
        with open(f"/proc/{pid}/autogroup", "w") as file:
            file.write("-20")
    except OSError:
        pass  # not root, or a kernel without autogroups: the figures are noisier, not wrong


def server_cpu() -> int | None:
    """Return the CPU that servers are pinned to: the last one, as the first takes most interrupts."""
    cpus = sorted(os.sched_getaffinity(0))
    return cpus[-1] if len(cpus) > 1 else None


def load_cpu() -> int | None:
    """Return the CPU that load generators are pinned to, never that of the server."""
    cpus = sorted(os.sched_getaffinity(0))
    return cpus[0] if len(cpus) > 1 else None


def pinned(command: list[str], cpu: int | None) -> list[str]:
    """Return the command that runs the given one on one CPU only, under the same process id."""
    taskset = shutil.which("taskset")
    if cpu is None or taskset is None:
        return command
    return [taskset, "-c", str(cpu), *command]
