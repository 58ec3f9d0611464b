"""The writer of the page, seen from the process itself and from its children."""

import logging
import os
import subprocess
import sys
import textwrap

import pytest

from glassloop._core import native_status
from glassloop._core.recorder import stacks_can_be_taken

pytestmark = pytest.mark.skipif(
    os.environ.get("GLASSLOOP_PAGE") == "0", reason="pages are turned off in this run"
)
needs_own_tasks = pytest.mark.skipif(
    native_status()[0] != "native",
    reason="asyncio's own tasks, which this run uses, have no place in the page",
)

PAGES = """
    import os
    def pages():
        found = []
        for fd in os.listdir("/proc/self/fd"):
            try:
                if "memfd:glassloop" in os.readlink(f"/proc/self/fd/{fd}"):
                    found.append(int(fd))
            except OSError:
                pass
        return found
"""


def run_program(source: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    program = textwrap.dedent(PAGES) + textwrap.dedent(source)
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=60,
    )


def test_frames_are_where_they_are_believed_to_be() -> None:
    assert stacks_can_be_taken()


def test_short_loops_share_one_page() -> None:
    done = run_program("""
        import asyncio, glassloop
        counts = set()
        for _ in range(20):
            glassloop.run(asyncio.sleep(0))
            counts.add(len(pages()))
        print(counts)
    """)
    assert (done.stdout, done.stderr) == ("{1}\n", "")


def test_no_page_where_none_is_wanted() -> None:
    done = run_program(
        """
        import asyncio, glassloop
        async def main():
            await asyncio.sleep(0)
            print(pages())
        glassloop.run(main())
        """,
        GLASSLOOP_PAGE="0",
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_page_can_neither_grow_nor_shrink() -> None:
    done = run_program("""
        import asyncio, glassloop
        async def main():
            await asyncio.sleep(0)
            fd, = pages()
            size = os.fstat(fd).st_size
            for length in (0, size + 1):
                try:
                    os.ftruncate(fd, length)
                except PermissionError:
                    print("sealed")
            assert not os.get_inheritable(fd)
        glassloop.run(main())
    """)
    assert (done.stdout, done.stderr) == ("sealed\nsealed\n", "")


def test_a_fork_neither_warns_nor_writes_into_the_parent_s_page() -> None:
    """Python would warn of a fork in a process with threads, and the watchdog is one."""
    done = run_program("""
        import asyncio, glassloop, warnings
        warnings.simplefilter("always")
        async def child_work():
            await asyncio.sleep(0)
        async def main():
            await asyncio.sleep(0.02)
            fd, = pages()
            before = os.pread(fd, 64, 4096)
            pid = os.fork()
            if pid == 0:
                loop = glassloop.new_event_loop()
                for _ in range(50):
                    loop.run_until_complete(child_work())
                os._exit(0 if len(pages()) == 1 else 1)
            # It blocks the parent's loop, which writes nothing meanwhile.
            print(os.waitpid(pid, 0)[1], os.pread(fd, 64, 4096) == before)
        glassloop.run(main())
    """)
    assert (done.stdout, done.stderr) == ("0 True\n", "")


@needs_own_tasks
def test_a_name_does_not_outlast_its_task() -> None:
    """Neither in a page that the next loop takes over, nor in a slot that the next task gets."""
    done = run_program("""
        import asyncio, glassloop
        from glassloop.glass.finder import find_pages
        from glassloop.glass.reader import take_snapshot
        def names():
            found, = find_pages(os.getpid())
            with found as page:
                return sorted(task.name.rstrip("0123456789") for task in take_snapshot(page).tasks)
        def begin(loop, name):
            task = loop.create_task(asyncio.sleep(3600), name=name)
            task._log_destroy_pending = False
            loop.call_soon(loop.stop)
            loop.run_forever()
            return task
        first = glassloop.new_event_loop()
        left = begin(first, "Ada")
        print(names())
        first.close()
        second = glassloop.new_event_loop()
        renamed = begin(second, None)
        print(names())
        renamed.set_name("Grace")
        print(names())
        renamed.cancel()
        second.call_soon(second.stop)
        second.run_forever()
        begin(second, None)
        print(names())
        second.close()
    """)
    assert (done.stdout, done.stderr) == ("['Ada']\n['Task-']\n['Grace']\n['Task-']\n", "")


@needs_own_tasks
@pytest.mark.parametrize("blocking", ["time.sleep(0.4)", "re.match('(a+)+$', 'a' * 25 + 'b')"])
def test_a_block_is_logged_with_the_line_that_blocks(blocking: str) -> None:
    done = run_program(
        f"""
        import asyncio, glassloop, logging, re, time
        logging.basicConfig(format="%(name)s %(levelname)s %(message)s")
        async def culprit():
            {blocking}
        async def main():
            asyncio.get_running_loop().slow_callback_duration = 0.02
            await asyncio.create_task(culprit(), name="the culprit")
            await asyncio.sleep(0)
        glassloop.run(main())
        """,
        GLASSLOOP_SLOW_MS="20",
    )
    assert done.returncode == 0
    assert done.stderr.startswith("glassloop WARNING Task 'the culprit' blocked the event loop for ")
    assert ", in culprit" in done.stderr
    assert done.stderr.count("WARNING") == 1


def test_a_block_is_silent_where_logging_is_not_set_up() -> None:
    done = run_program(
        """
        import asyncio, glassloop, time
        async def main():
            time.sleep(0.3)
        glassloop.run(main())
        """,
        GLASSLOOP_SLOW_MS="20",
    )
    assert (done.stdout, done.stderr) == ("", "")


def test_a_senseless_limit_is_told(caplog: pytest.LogCaptureFixture) -> None:
    done = run_program(
        """
        import logging
        logging.basicConfig()
        import asyncio, glassloop
        glassloop.run(asyncio.sleep(0))
        """,
        GLASSLOOP_SLOW_MS="soon",
    )
    assert "GLASSLOOP_SLOW_MS='soon' is no positive number of milliseconds" in done.stderr
    assert logging.getLogger("glassloop").handlers


def test_a_record_that_cannot_be_written_is_told_and_the_program_runs() -> None:
    done = run_program(
        """
        import logging
        logging.basicConfig()
        import asyncio, glassloop
        glassloop.run(asyncio.sleep(0))
        print("ran")
        """,
        GLASSLOOP_RECORD="/nowhere/at/all",
    )
    assert done.stdout == "ran\n"
    assert "The loop runs without a record" in done.stderr
    assert "/nowhere/at/all" in done.stderr


def test_pending_tasks_of_a_loop_that_is_collected() -> None:
    """The page goes with the loop, and the collector frees the two in any order."""
    done = run_program("""
        import asyncio, gc, glassloop
        class Value:
            def __init__(self, task):
                self.task = task
            def __del__(self):
                gc.collect()
        def abandon():
            loop = glassloop.EventLoop()
            future = loop.create_future()
            async def wait():
                await future
            tasks = [loop.create_task(wait()) for _ in range(20)]
            loop.call_soon(loop.stop)
            loop.run_forever()
            for task in tasks:
                task._log_destroy_pending = False
                task.add_done_callback(lambda _, value=Value(task): None)
            loop._closed = True
        for _ in range(50):
            abandon()
            gc.collect()
        print("survived")
    """)
    assert done.stdout == "survived\n", done.stderr
