"""What the figures were measured on: the report starts with it."""

import os
import platform
import shutil
import subprocess
import time

from benchmarks import loops


def describe(names: tuple[str, ...], isolation: str) -> dict[str, str]:
    """Return CPU, kernel, Python, compiler and the versions of the loops, each as text."""
    description = {
        "date": time.strftime("%Y-%m-%d %H:%M %Z"),
        "CPU": f"{_cpu_model()}, {len(os.sched_getaffinity(0))} usable",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "C library": " ".join(platform.libc_ver()),
        "Python": f"{platform.python_version()} ({platform.python_compiler()})",
        "gcc": _first_line("gcc", "--version"),
        "wrk": _first_line("wrk", "--version"),
        "load average before": "{:.2f} {:.2f} {:.2f}".format(*os.getloadavg()),
        "network": isolation,
    }
    description |= {name: loops.version_of(name) for name in names}
    return description


def _cpu_model() -> str:
    with open("/proc/cpuinfo") as file:
        fields = dict(line.split(":", 1) for line in file if ":" in line)
    models = [value.strip() for name, value in fields.items() if name.strip() in ("model name", "CPU part")]
    return models[0] if models else platform.machine()


def _first_line(program: str, option: str) -> str:
    if shutil.which(program) is None:
        return "none"
    # wrk has no option for its version alone: it prints it first in its help, and fails.
    result = subprocess.run([program, option], capture_output=True, text=True)
    lines = (result.stdout + result.stderr).splitlines()
    return lines[0].strip() if lines else "unknown"
