"""Probes of the kernel: which system calls it gives us, asked by making them."""

import ctypes
import errno
import os
import platform
import re
import select
from pathlib import Path

from glassloop._io.file_engine import explain_choice
from glassloop.cli._findings import Finding, State, read_int, read_text

# The same numbers on every architecture: these calls are younger than the common table (Linux 5.0).
_SYS_IO_URING_SETUP = 425
_SYS_EPOLL_PWAIT2 = 441

_IO_URING_PARAMETERS_BYTES = 120  # struct io_uring_params
_SIGNAL_SET_BYTES = 8
_SECCOMP_FILTER = 2  # `Seccomp:` in /proc/self/status


def probe_kernel(root: Path = Path("/")) -> list[Finding]:
    """Return which of the calls that glassloop would like to use this process may make."""
    return [
        explain_io_uring(
            try_io_uring(),
            disabled=read_int(root / "proc/sys/kernel/io_uring_disabled"),
            seccomp=_seccomp_mode(root),
            kernel=kernel_version(),
        ),
        explain_epoll_pwait2(try_epoll_pwait2(), kernel=kernel_version()),
        probe_files(),
    ]


def kernel_version(release: str | None = None) -> tuple[int, int]:
    """Return the kernel's major and minor version; (0, 0) where it has none."""
    match = re.match(r"(\d+)\.(\d+)", platform.release() if release is None else release)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def try_io_uring() -> int:
    """Make an io_uring with one entry and close it; return 0 or the error number. See io_uring_setup(2)."""
    parameters = ctypes.create_string_buffer(_IO_URING_PARAMETERS_BYTES)
    result = _system_call(_SYS_IO_URING_SETUP, ctypes.c_uint(1), parameters)
    if result < 0:
        return -result
    os.close(result)
    return 0


def try_epoll_pwait2() -> int:
    """Wait no time at all on an empty epoll set; return 0 or the error number. See epoll_wait(2)."""
    timeout = (ctypes.c_int64 * 2)(0, 0)  # struct timespec
    events = ctypes.create_string_buffer(16)  # struct epoll_event, with room to spare
    with select.epoll() as poller:
        arguments = (ctypes.c_int(poller.fileno()), events, ctypes.c_int(1), timeout, None)
        result = _system_call(_SYS_EPOLL_PWAIT2, *arguments, ctypes.c_size_t(_SIGNAL_SET_BYTES))
    return -min(result, 0)


def explain_io_uring(
    error: int, *, disabled: int | None, seccomp: int | None, kernel: tuple[int, int]
) -> Finding:
    """Say whether io_uring is allowed, and if not, whose setting that is."""
    setting = "" if disabled is None else f" (kernel.io_uring_disabled = {disabled})"
    if error == 0:
        return Finding("kernel", "io_uring", f"allowed{setting}")
    reason, advice = _why_no_io_uring(error, disabled, seccomp, kernel)
    return Finding(
        "kernel", "io_uring", f"{reason}{setting}", State.NOTE, f"glassloop works without it. {advice}"
    )


def _why_no_io_uring(
    error: int, disabled: int | None, seccomp: int | None, kernel: tuple[int, int]
) -> tuple[str, str]:
    allow = "sysctl kernel.io_uring_disabled=0"
    if error == errno.EPERM and disabled == 2:
        return "refused to every process", f"This machine's administrator can allow it: {allow}"
    if error == errno.EPERM and disabled == 1:
        advice = (
            f"This machine's administrator can allow it: add the user to kernel.io_uring_group, or {allow}"
        )
        return "refused to this user", advice
    if error == errno.ENOSYS and kernel < (5, 1):
        return "absent: this kernel is too old", "Linux 5.1 brought it."
    if error in (errno.EPERM, errno.ENOSYS) and seccomp == _SECCOMP_FILTER:
        advice = "The container runtime or the service manager sets it: allow io_uring_* in its profile."
        return "refused by a seccomp filter", advice
    if error == errno.ENOSYS:
        return "absent: this kernel was built without it", "The kernel's option is CONFIG_IO_URING."
    if error == errno.EPERM:
        return (
            "refused by a security module",
            "Ask the administrator (SELinux, AppArmor or another such module).",
        )
    if error == errno.ENOMEM:
        return "refused for want of locked memory", "Raise the limit: ulimit -l, or LimitMEMLOCK= of systemd."
    return f"refused: {os.strerror(error)}", "See io_uring_setup(2)."


def explain_epoll_pwait2(error: int, *, kernel: tuple[int, int]) -> Finding:
    """Say whether the loop can wait with a resolution finer than a millisecond."""
    if error == 0:
        return Finding("kernel", "epoll_pwait2", "there: timers finer than a millisecond")
    old = error == errno.ENOSYS and kernel < (5, 11)
    reason = "absent: this kernel is too old" if old else f"refused: {os.strerror(error)}"
    advice = "timers are late by up to a millisecond. " + (
        "Linux 5.11 brought the call." if old else "A seccomp filter that does not know the call does this."
    )
    return Finding("kernel", "epoll_pwait2", reason, State.POOR, advice)


def probe_files() -> Finding:
    """Say which engine files use, and why."""
    try:
        engine, inline, why = explain_choice()
    except (ValueError, RuntimeError) as exc:
        return Finding("kernel", "files", "no file can be opened", State.BROKEN, f"{exc}.")
    cached = "what is cached inline, the rest by " if inline else "by "
    value = f"{cached}{engine}: {why}"
    if engine == "threads":
        advice = "a thread costs 10 to 50 microseconds for each operation that io_uring does in 3."
        return Finding("kernel", "files", value, State.NOTE, advice)
    return Finding("kernel", "files", value)


def _seccomp_mode(root: Path) -> int | None:
    match = re.search(r"^Seccomp:\s*(\d+)", read_text(root / "proc/self/status") or "", re.MULTILINE)
    return int(match[1]) if match else None


def _system_call(number: int, *arguments: object) -> int:
    """Make one system call; return its result, or the error number negated."""
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    result = int(syscall(ctypes.c_long(number), *arguments))
    return result if result >= 0 else -ctypes.get_errno()
