"""`glassloop doctor`: what it says of this machine, and of others whose /proc and /sys are laid out here."""

import errno
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import glassloop
from glassloop import cli
from glassloop._core import native_status
from glassloop.cli import _engine_probes, doctor
from glassloop.cli._findings import Finding, State
from glassloop.cli._kernel_probes import (
    explain_epoll_pwait2,
    explain_io_uring,
    kernel_version,
    try_epoll_pwait2,
    try_io_uring,
)
from glassloop.cli._limit_probes import (
    cpu_quota,
    explain_open_files,
    explain_quota,
    probe_limits,
    probe_network,
    probe_processor,
)

NEW_KERNEL = (6, 12)


def lay_out(root: Path, files: dict[str, str]) -> Path:
    """Write small files under a folder that plays the part of ``/``."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    return root


def by_name(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_doctor_on_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 0
    text = capsys.readouterr().out
    for name in (
        "glassloop",
        "Python",
        "kernel",
        "libc",
        "OpenSSL",
        "tasks",
        "io_uring",
        "epoll_pwait2",
        "files",
        "open files",
    ):
        assert f" {name} " in text
    assert native_status()[1] in text
    assert "\033" not in text


def test_doctor_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["ok"] is True
    assert answer["glassloop"] == glassloop.__version__
    findings = {finding["name"]: finding for finding in answer["findings"]}
    assert set(findings["tasks"]) == {"section", "name", "value", "state", "advice"}
    assert findings["tasks"]["value"].startswith(native_status()[0])
    assert findings["a loop runs"]["state"] == "ok"


def test_doctor_says_why_stock_tasks_are_in_use() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "glassloop", "doctor", "--json"],
        env=os.environ | {"GLASSLOOP_TASKS": "stock"},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    tasks = next(finding for finding in json.loads(done.stdout)["findings"] if finding["name"] == "tasks")
    assert tasks["value"].startswith("stock: ")
    assert "GLASSLOOP_TASKS" in tasks["value"]
    assert tasks["state"] == "poor"


def test_a_loop_that_does_not_run_is_broken(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail() -> None:
        raise OSError(errno.EPERM, "no sockets here")

    monkeypatch.setattr(_engine_probes, "_exercise", fail)
    assert cli.main(["doctor"]) == 1
    text = capsys.readouterr().out
    assert "no sockets here" in text
    assert text.endswith("1 thing is broken: glassloop does not work here.\n")


@pytest.mark.parametrize(
    ("error", "disabled", "seccomp", "kernel", "said"),
    [
        (errno.EPERM, 2, 0, NEW_KERNEL, "refused to every process (kernel.io_uring_disabled = 2)"),
        (errno.EPERM, 2, 2, NEW_KERNEL, "refused to every process"),
        (errno.EPERM, 1, 0, NEW_KERNEL, "refused to this user (kernel.io_uring_disabled = 1)"),
        (errno.EPERM, 0, 2, NEW_KERNEL, "refused by a seccomp filter (kernel.io_uring_disabled = 0)"),
        (errno.EPERM, None, 2, (5, 10), "refused by a seccomp filter"),
        (errno.ENOSYS, 0, 2, NEW_KERNEL, "refused by a seccomp filter"),
        (errno.ENOSYS, None, 0, NEW_KERNEL, "absent: this kernel was built without it"),
        (errno.ENOSYS, None, 2, (4, 18), "absent: this kernel is too old"),
        (errno.EPERM, 0, 0, NEW_KERNEL, "refused by a security module"),
        (errno.ENOMEM, None, 0, (5, 4), "refused for want of locked memory"),
        (errno.EMFILE, 0, 0, NEW_KERNEL, "refused: Too many open files"),
    ],
)
def test_io_uring_is_explained(
    error: int, disabled: int | None, seccomp: int | None, kernel: tuple[int, int], said: str
) -> None:
    finding = explain_io_uring(error, disabled=disabled, seccomp=seccomp, kernel=kernel)
    assert finding.value.startswith(said)
    assert finding.state is State.NOTE
    assert finding.advice.startswith("glassloop works without it. ")


def test_io_uring_allowed() -> None:
    assert explain_io_uring(0, disabled=0, seccomp=0, kernel=NEW_KERNEL) == Finding(
        "kernel", "io_uring", "allowed (kernel.io_uring_disabled = 0)"
    )


def test_epoll_pwait2_is_explained() -> None:
    assert explain_epoll_pwait2(0, kernel=NEW_KERNEL).state is State.OK
    assert "too old" in explain_epoll_pwait2(errno.ENOSYS, kernel=(5, 10)).value
    assert "seccomp" in explain_epoll_pwait2(errno.EPERM, kernel=NEW_KERNEL).advice


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="/proc is not mounted")
def test_the_kernel_is_really_asked() -> None:
    """Each probe makes its call and leaves no file open behind it."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    answers = [try_io_uring(), try_epoll_pwait2()]
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert all(answer == 0 or answer in errno.errorcode for answer in answers)


def test_kernel_versions() -> None:
    assert kernel_version("6.18.44-generic") == (6, 18)
    assert kernel_version("5.4") == (5, 4)
    assert kernel_version("unknown") == (0, 0)


def test_open_files() -> None:
    assert explain_open_files(1024, 524_288).state is State.POOR
    assert "524288" in explain_open_files(1024, 524_288).value
    assert explain_open_files(65_536, 65_536) == Finding("limits", "open files", "65536")
    assert explain_open_files(resource.RLIM_INFINITY, resource.RLIM_INFINITY).value == "no limit"


def test_files_of_all(tmp_path: Path) -> None:
    root = lay_out(tmp_path, {"proc/sys/fs/file-max": "1000", "proc/sys/fs/file-nr": "900\t0\t1000"})
    finding = by_name(probe_limits(root))["files of all"]
    assert (finding.value, finding.state) == ("900 of 1000", State.POOR)


def test_network_settings(tmp_path: Path) -> None:
    net = "proc/sys/net/"
    poor = lay_out(
        tmp_path / "poor",
        {
            net + "core/somaxconn": "128",
            net + "ipv4/ip_local_port_range": "32768\t40000",
            net + "ipv4/tcp_congestion_control": "bbr",
        },
    )
    findings = by_name(probe_network(poor))
    assert {name: finding.state for name, finding in findings.items()} == {
        "accept queue": State.POOR,
        "outgoing ports": State.POOR,
        "congestion control": State.NOTE,
    }
    assert findings["outgoing ports"].value == "7233"
    good = lay_out(
        tmp_path / "good",
        {
            net + "core/somaxconn": "4096",
            net + "ipv4/ip_local_port_range": "32768\t60999",
            net + "ipv4/tcp_congestion_control": "cubic",
        },
    )
    assert all(finding.state is State.OK and not finding.advice for finding in probe_network(good))
    assert probe_network(tmp_path / "nothing at all") == []


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"proc/self/cgroup": "0::/app", "sys/fs/cgroup/app/cpu.max": "50000 100000"}, 0.5),
        ({"proc/self/cgroup": "0::/a/b", "sys/fs/cgroup/a/cpu.max": "150000 100000"}, 1.5),
        (
            {
                "proc/self/cgroup": "0::/a/b",
                "sys/fs/cgroup/a/cpu.max": "400000 100000",
                "sys/fs/cgroup/a/b/cpu.max": "200000 100000",
            },
            2.0,
        ),
        ({"proc/self/cgroup": "0::/host/path", "sys/fs/cgroup/cpu.max": "300000 100000"}, 3.0),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, None),
        (
            {
                "proc/self/cgroup": "4:cpu,cpuacct:/app\n0::/",
                "sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us": "25000",
                "sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us": "100000",
            },
            0.25,
        ),
        (
            {
                "proc/self/cgroup": "1:cpu:/",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            None,
        ),
        ({}, None),
    ],
)
def test_processor_limits_of_control_groups(
    tmp_path: Path, files: dict[str, str], quota: float | None
) -> None:
    assert cpu_quota(lay_out(tmp_path, files)) == quota


def test_a_processor_limit_is_judged() -> None:
    assert explain_quota(None).state is State.OK
    assert explain_quota(2.0).state is State.NOTE
    assert explain_quota(0.5).state is State.POOR


def test_a_slow_clock_is_poor(tmp_path: Path) -> None:
    clock = "sys/devices/system/clocksource/clocksource0/current_clocksource"
    for name, state in (("hpet", State.POOR), ("tsc", State.OK)):
        assert by_name(probe_processor(lay_out(tmp_path, {clock: name})))["clock"].state is state


def test_colours_are_for_terminals() -> None:
    findings = [Finding("a", "b", "c"), Finding("a", "d", "e", State.POOR, "do this")]
    plain = "\n".join(doctor.render(findings, in_colour=False))
    assert (
        plain == "a\n  ok    b                   c\n  poor  d                   e\n        do this\n\n"
        "glassloop works here; 1 thing is poor."
    )
    coloured = "\n".join(doctor.render(findings, in_colour=True))
    assert coloured != plain
    assert coloured.replace("\033[32m", "").replace("\033[33m", "").replace("\033[0m", "") == plain


def test_all_is_well() -> None:
    assert list(doctor.render([Finding("a", "b", "c")], in_colour=False))[-1] == "All is well."


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "glassloop", "doctor"], stdout=closed, stderr=subprocess.PIPE, text=True
        )
    assert done.stderr == ""
    assert done.returncode == 128 + signal.SIGPIPE
