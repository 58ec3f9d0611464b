"""What a process does with its loops (many, in threads, forked, left): no page, fd or thread stays."""

import os
import subprocess
import sys
import textwrap

import pytest

pytestmark = pytest.mark.skipif(
    os.environ.get("GLASSLOOP_PAGE") == "0", reason="pages are turned off in this run"
)

HEAD = """
import asyncio, gc, os, sys, threading, time
import glassloop

def descriptors():
    return sorted(os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
                  if os.path.lexists(f"/proc/self/fd/{fd}"))

def pages():
    return sum("memfd:glassloop" in name for name in descriptors())

def mappings():
    with open("/proc/self/maps") as maps:
        return sum("memfd:glassloop" in line for line in maps)

def threads():
    return len(os.listdir("/proc/self/task"))

def resident_kb():
    gc.collect()
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024

async def work():
    async with asyncio.TaskGroup() as group:
        for _ in range(5):
            group.create_task(asyncio.sleep(0))
    event = asyncio.Event()
    task = asyncio.create_task(event.wait())
    asyncio.get_running_loop().call_soon(event.set)
    await task
"""


def run_program(source: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    # With AddressSanitizer (tools/sanitize) freed memory stays with the process for a while: a short one.
    environment["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=1"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", HEAD + textwrap.dedent(source)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=120,
    )


def test_a_thousand_loops_one_after_the_other() -> None:
    done = run_program("""
        def rounds(count):
            for _ in range(count):
                glassloop.run(work())
        rounds(200)
        before = (descriptors(), mappings(), threads()), resident_kb()
        rounds(1000)
        after = (descriptors(), mappings(), threads()), resident_kb()
        assert before[0] == after[0], (before, after)
        assert after[1] - before[1] < 1024, (before, after)
        print(pages(), mappings(), threads())
    """)
    assert (done.stdout, done.stderr) == ("1 1 2\n", "")


def test_loops_that_are_never_closed() -> None:
    """They are collected, and their pages with them; only the warnings of asyncio are silenced."""
    done = run_program("""
        import warnings
        warnings.simplefilter("ignore", ResourceWarning)
        def abandon(count):
            for _ in range(count):
                loop = glassloop.new_event_loop()
                loop.run_until_complete(work())
                del loop
                gc.collect()
        abandon(20)
        before = (descriptors(), mappings(), threads()), resident_kb()
        abandon(300)
        after = (descriptors(), mappings(), threads()), resident_kb()
        assert before[0] == after[0], (before, after)
        assert after[1] - before[1] < 2048, (before, after)
        print(pages() <= 1)
    """)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_fifty_loops_in_as_many_threads() -> None:
    done = run_program("""
        def at_once(count):
            met, go_on = threading.Barrier(count + 1), threading.Barrier(count + 1)
            async def stay():
                await work()
                met.wait()
                await asyncio.sleep(0)
                go_on.wait()
                await work()
            running = [threading.Thread(target=lambda: glassloop.run(stay())) for _ in range(count)]
            for thread in running:
                thread.start()
            met.wait()
            seen = pages(), mappings()
            go_on.wait()
            for thread in running:
                thread.join()
            return seen
        seen = [at_once(50) for _ in range(3)]
        while threads() > 2:  # a thread that is joined leaves /proc a moment later
            time.sleep(0.001)
        print(seen, pages(), mappings())
    """)
    assert (done.stdout, done.stderr) == ("[(50, 50), (50, 50), (50, 50)] 1 1\n", "")


def test_a_fork_in_a_running_loop() -> None:
    """The child's loop has a page of its own, the parent's goes on, and neither leaks."""
    done = run_program("""
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)
        async def main():
            await work()
            before = descriptors(), mappings()
            for _ in range(10):
                pid = os.fork()
                if pid == 0:
                    status = 1
                    try:
                        asyncio.events._set_running_loop(None)
                        for _ in range(20):
                            glassloop.run(work())
                        # One of its own, and what it inherited of its parent's.
                        status = 0 if pages() <= 2 and threads() == 2 else 2
                    finally:
                        os._exit(status)
                assert os.waitpid(pid, 0)[1] == 0
                await work()
            assert before == (descriptors(), mappings()), (before, descriptors(), mappings())
        glassloop.run(main())
        print(pages(), threads())
    """)
    assert (done.stdout, done.stderr) == ("1 2\n", "")


@pytest.mark.parametrize(
    "leave", ["os._exit(7)", "sys.exit(7)", "threading.Thread(target=os._exit, args=[7]).start()"]
)
def test_the_process_ends_in_the_middle_of_a_loop(leave: str) -> None:
    done = run_program(f"""
        async def main():
            await work()
            tasks = [asyncio.create_task(asyncio.sleep(60)) for _ in range(100)]
            await asyncio.sleep(0)
            {leave}
            await asyncio.sleep(60)
        glassloop.run(main())
    """)
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")


def test_a_thread_s_loop_outlives_the_main_thread() -> None:
    done = run_program("""
        threading.Thread(target=lambda: glassloop.run(work()) or print("done"), daemon=False).start()
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_a_daemon_thread_s_loop_at_the_end_of_the_process() -> None:
    """The loop still runs, in a step even, while the interpreter goes away under the watchdog."""
    done = run_program(
        """
        started = threading.Event()
        async def block():
            await work()
            started.set()
            while True:
                time.sleep(0.01)
        threading.Thread(target=lambda: glassloop.run(block()), daemon=True).start()
        started.wait()
        time.sleep(0.05)
        print("end")
        """,
        GLASSLOOP_SLOW_MS="1",
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


SUBINTERPRETER = """
    try:
        import _interpreters as interpreters
    except ImportError:
        import _xxsubinterpreters as interpreters
    code = '''
    try:
        from glassloop import run
    except ImportError as error:
        print("refused:", "interpreter" in str(error), flush=True)
    '''
    import textwrap
    async def main():
        await work()
        for _ in range(3):
            number = interpreters.create(*CONFIG)
            interpreters.run_string(number, textwrap.dedent(code))
            interpreters.destroy(number)
            await work()
        print(pages(), mappings(), threads())
    glassloop.run(main())
"""


@pytest.mark.parametrize("config", ["legacy", "isolated"])
def test_a_subinterpreter_is_refused_and_the_main_one_goes_on(config: str) -> None:
    if sys.version_info >= (3, 13):
        head = f"CONFIG = ({config!r},)\n"
    elif config == "isolated":
        pytest.skip("asyncio itself cannot be imported there: it needs subprocess")
    else:
        head = "import _xxsubinterpreters\nCONFIG = ()\n_create = _xxsubinterpreters.create\n"
        head += "_xxsubinterpreters.create = lambda: _create(isolated=False)\n"
    done = run_program(head + textwrap.dedent(SUBINTERPRETER))
    assert (done.stdout, done.stderr) == ("refused: True\n" * 3 + "1 1 2\n", "")
