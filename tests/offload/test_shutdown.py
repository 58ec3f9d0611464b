"""The end of a loop that has offloaded jobs: it waits for them, says for which, and leaves nothing behind."""

import asyncio
import logging
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import glassloop
from glassloop._offload import pools

from . import jobs
from .support import until


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The warnings of glassloop's own."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "glassloop" and record.levelno == logging.WARNING
    ]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a loop say at once what its end waits for."""
    monkeypatch.setattr(pools, "PATIENCE_S", 0.01)


def test_the_end_waits_for_jobs_whose_tasks_are_gone(tmp_path: Path) -> None:
    gate, began = threading.Event(), threading.Event()
    ended: list[str] = []

    def work() -> None:
        began.set()
        gate.wait(jobs.PATIENCE_S)
        ended.append("in a thread")

    async def main() -> None:
        asyncio.get_running_loop().create_task(glassloop.offload(work))
        await until(began.is_set)
        threading.Timer(0.05, gate.set).start()

    glassloop.run(main())
    assert ended == ["in a thread"]


def test_the_end_names_what_it_waits_for(
    impatient: None, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    began, gate = tmp_path / "began", tmp_path / "gate"
    started, open_gate = threading.Event(), threading.Event()

    class Watch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            open_gate.set()
            gate.touch()

    def thread_work() -> None:
        started.set()
        open_gate.wait(jobs.PATIENCE_S)

    async def main() -> None:
        tasks = [
            asyncio.create_task(glassloop.offload(thread_work)),
            asyncio.create_task(glassloop.offload(jobs.note_and_wait, str(began), str(gate), to="process")),
        ]
        await until(lambda: began.exists() and started.is_set())
        logging.getLogger("glassloop").addHandler(watch)
        del tasks

    watch = Watch(logging.WARNING)
    try:
        glassloop.run(main())
    finally:
        logging.getLogger("glassloop").removeHandler(watch)
    first, *lines = said(caplog)[0].splitlines()
    assert first == "the loop cannot end: it waits for offloaded jobs:"
    assert len(lines) == 2
    thread, process = sorted(lines, key=lambda line: "jobs.note_and_wait" in line)
    assert ".<locals>.thread_work in thread glassloop-offload_0, for 0." in thread
    assert "tests.offload.jobs.note_and_wait in a process, asked for " in process
    assert all(line.endswith(", its task was cancelled") for line in lines)


def test_without_logging_it_is_said_on_stderr(
    impatient: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gate, began = threading.Event(), threading.Event()
    write = sys.stderr.write

    class Watch:
        def write(self, text: str) -> int:
            gate.set()
            return write(text)

        def flush(self) -> None:
            """Nothing is kept."""

    def work() -> None:
        began.set()
        gate.wait(jobs.PATIENCE_S)

    async def main() -> None:
        asyncio.get_running_loop().create_task(glassloop.offload(work))
        await until(began.is_set)

    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", Watch())
        glassloop.run(main())
    said = capsys.readouterr().err
    assert (
        "glassloop: the loop cannot end: it waits for offloaded jobs:\n  " in said
        and ".work in thread" in said
    )


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio's shutdown_default_executor() has no timeout")
def test_a_time_limit(caplog: pytest.LogCaptureFixture) -> None:
    gate, began = threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        gate.wait(jobs.PATIENCE_S)

    loop: Any = glassloop.new_event_loop()

    async def main() -> None:
        loop.create_task(glassloop.offload(work))._log_destroy_pending = False
        await until(began.is_set)
        await loop.shutdown_default_executor(0.01)

    loop.run_until_complete(main())
    (warning,) = said(caplog)
    assert warning.startswith(
        "the loop ends after 0.01 s, and leaves behind offloaded jobs that still run:\n"
    )
    assert ".work in thread glassloop-offload_0, for " in warning
    loop.close()
    assert len(said(caplog)) == 1, "it was said"
    gate.set()


def test_a_loop_that_is_closed_over_its_jobs(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """As asyncio's executor: it does not wait, and the jobs go on. The interpreter's end waits for them."""
    gate, trace = str(tmp_path / "gate"), tmp_path / "trace"
    loop = glassloop.new_event_loop()
    began, ended, opened = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        opened.wait(jobs.PATIENCE_S)
        ended.set()

    async def main() -> None:
        for call in (
            glassloop.offload(work),
            glassloop.offload(jobs.wait_for, gate, to="process"),
            glassloop.offload(jobs.touch, str(trace), to="process"),
        ):
            loop.create_task(call)._log_destroy_pending = False  # type: ignore[attr-defined]
        await until(began.is_set)

    loop.run_until_complete(main())
    threads = [one for one in threading.enumerate() if one.name.startswith("glassloop-offload")]
    loop.close()
    text = said(caplog)[0]
    assert text.startswith(
        "the loop is closed while offloaded jobs still run; the process ends only after them:"
    )
    assert ".work in thread glassloop-offload_0" in text
    opened.set()
    jobs.touch(gate)
    for thread in threads:
        thread.join(jobs.PATIENCE_S)
    assert ended.is_set()
    assert jobs.wait_for(str(trace)), "what was accepted was done"


def test_after_the_shutdown_nothing_is_taken() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        await glassloop.offload(jobs.add, 1)
        await loop.shutdown_default_executor()
        with pytest.raises(RuntimeError, match="the loop shuts down, and its pools take no more jobs"):
            await glassloop.offload(jobs.add, 1)
        await loop.shutdown_default_executor()

    glassloop.run(main())


def test_a_loop_that_offloads_nothing_has_no_pools() -> None:
    async def main() -> None:
        assert await asyncio.to_thread(jobs.add, 1) == 1
        assert vars(asyncio.get_running_loop()).get("_offload_pools") is None

    glassloop.run(main())


def test_pools_are_the_loop_s_own() -> None:
    async def main() -> str:
        return (await glassloop.offload(jobs.where))[1]

    names: list[str] = []
    threads = [
        threading.Thread(daemon=True, target=lambda: names.append(glassloop.run(main()))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(jobs.PATIENCE_S)
    assert len(names) == 3
    assert not [one for one in threading.enumerate() if one.name.startswith("glassloop-offload")]
