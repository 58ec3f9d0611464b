"""Probes of limits and settings: open files, queues of the network, processors, clock."""

import os
import resource
from pathlib import Path

from glassloop.cli._findings import Finding, State, read_int, read_text

_FEW_FILES = 1024  # the old default of `ulimit -n`
_SHORT_QUEUE = 1024
_FEW_PORTS = 16_384

# Clocks that a process reads without a system call.
_FAST_CLOCKS = {"tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page", "hyperv_clocksource"}


def probe_limits(root: Path = Path("/")) -> list[Finding]:
    """Return the limits on open files, of this process and of the machine."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return [explain_open_files(soft, hard), *_probe_file_max(root)]


def explain_open_files(soft: int, hard: int) -> Finding:
    """Judge this process's limits on open files, each of which may be RLIM_INFINITY."""
    value = f"{_count(soft)}, can be raised to {_count(hard)}" if soft != hard else _count(soft)
    if soft != resource.RLIM_INFINITY and soft <= _FEW_FILES:
        advice = (
            "each connection takes one: raise it with `ulimit -n`, LimitNOFILE= (systemd), --ulimit nofile= "
            "(Docker) or resource.setrlimit() in the program"
        )
        return Finding("limits", "open files", value, State.POOR, advice)
    return Finding("limits", "open files", value)


def _probe_file_max(root: Path) -> list[Finding]:
    most = read_int(root / "proc/sys/fs/file-max")
    if most is None:
        return []
    used = read_int(root / "proc/sys/fs/file-nr") or 0
    value = f"{used} of {_count(most)}"
    if used > 0.8 * most:
        return [
            Finding(
                "limits", "files of all", value, State.POOR, "nearly all in use: sysctl fs.file-max raises it"
            )
        ]
    return [Finding("limits", "files of all", value)]


def probe_network(root: Path = Path("/")) -> list[Finding]:
    """Return the settings of the network that a server or a client with many connections meets."""
    net = root / "proc/sys/net"
    findings = []
    longest = read_int(net / "core/somaxconn")
    if longest is not None:
        short = longest < _SHORT_QUEUE
        advice = "connections wait here until the server accepts them: sysctl net.core.somaxconn=4096"
        state = State.POOR if short else State.OK
        findings.append(
            Finding("network", "accept queue", f"up to {longest}", state, advice if short else "")
        )
    ports = (read_text(net / "ipv4/ip_local_port_range") or "").split()
    if len(ports) == 2:
        count = int(ports[1]) - int(ports[0]) + 1
        few = count < _FEW_PORTS
        advice = "each connection to one address takes one: sysctl net.ipv4.ip_local_port_range='1024 65535'"
        state = State.POOR if few else State.OK
        findings.append(Finding("network", "outgoing ports", f"{count}", state, advice if few else ""))
    congestion = read_text(net / "ipv4/tcp_congestion_control")
    if congestion is not None:
        paced = congestion == "bbr"
        advice = (
            "it spaces packets out, on loopback too: good on the internet, misleading in local benchmarks"
        )
        state = State.NOTE if paced else State.OK
        findings.append(Finding("network", "congestion control", congestion, state, advice if paced else ""))
    return findings


def probe_processor(root: Path = Path("/")) -> list[Finding]:
    """Return how much of the processors this process may use, and how dear it is to read the clock."""
    usable, present = len(os.sched_getaffinity(0)), os.cpu_count() or 1
    findings = [
        Finding("processor", "processors", f"{usable}" if usable == present else f"{usable} of {present}")
    ]
    findings.append(explain_quota(cpu_quota(root)))
    clock = read_text(root / "sys/devices/system/clocksource/clocksource0/current_clocksource")
    if clock is not None:
        slow = clock not in _FAST_CLOCKS
        advice = "each look at the clock is a system call; `tsc` or the hypervisor's own clock would not be"
        findings.append(
            Finding("processor", "clock", clock, State.POOR if slow else State.OK, advice if slow else "")
        )
    return findings


def explain_quota(quota: float | None) -> Finding:
    """Judge how many processors' time the control groups allow; None for no limit."""
    if quota is None:
        return Finding("processor", "cgroup limit", "none")
    advice = (
        "when the share of a period (mostly 100 ms) is used up, the program stands still until the next: "
        "this shows as latency, not as load"
    )
    state = State.POOR if quota < 1 else State.NOTE
    return Finding("processor", "cgroup limit", f"{quota:g} processors", state, advice)


def cpu_quota(root: Path) -> float | None:
    """Return the fewest processors that any control group above this process allows; None for no limit."""
    quotas = []
    for line in (read_text(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            mounts, read = [root / "sys/fs/cgroup", root / "sys/fs/cgroup/unified"], _read_quota_v2
        elif "cpu" in controllers.split(","):
            mounts, read = [root / "sys/fs/cgroup" / controllers, root / "sys/fs/cgroup/cpu"], _read_quota_v1
        else:
            continue
        for mount in mounts:
            # In a container the path may be the host's; the mount itself is then the container's group.
            folder = mount / group.lstrip("/")
            for level in (folder, *folder.parents):
                if not level.is_relative_to(mount):
                    break
                quotas.append(read(level))
    return min((quota for quota in quotas if quota is not None), default=None)


def _read_quota_v2(folder: Path) -> float | None:
    """Read ``cpu.max``: "QUOTA PERIOD" in microseconds, or "max PERIOD". See cgroups(7)."""
    words = (read_text(folder / "cpu.max") or "max").split()
    return None if words[0] == "max" or len(words) != 2 else int(words[0]) / int(words[1])


def _read_quota_v1(folder: Path) -> float | None:
    quota, period = read_int(folder / "cpu.cfs_quota_us"), read_int(folder / "cpu.cfs_period_us")
    return None if quota is None or quota < 0 or not period else quota / period


def _count(number: int) -> str:
    return "no limit" if number == resource.RLIM_INFINITY or number >= 1 << 62 else str(number)
