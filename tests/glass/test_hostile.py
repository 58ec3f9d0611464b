"""A page that is overwritten: readers give an error, or nonsense in clean text; the program runs unharmed."""

import contextlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from glassloop.cli._targets import Style
from glassloop.cli._why_text import Diagnosis, as_json, render
from glassloop.glass import finder, layout
from glassloop.glass.answers import parse_answer
from glassloop.glass.errors import ReadError
from glassloop.glass.history import build_history
from glassloop.glass.insights import Evidence, find_insights
from glassloop.glass.layout import State
from glassloop.glass.page import Page
from glassloop.glass.raw import RECORD, RawRecord
from glassloop.glass.reader import take_snapshot
from glassloop.glass.recording import read_ring
from glassloop.glass.timeline_text import draw

from .programs import Start
from .support import MakePage, SyntheticPage

SECTIONS = sorted(layout.sections())
BOUNDED = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
HOSTILE = b"\x1b]0;owned\x07\x1b[2J\x9b31m\xe2\x80\xae\0\r\n\t#1\n!holds\tsure\t0x1"
damages = st.lists(
    st.tuples(
        st.sampled_from(SECTIONS),
        st.integers(0, 4095),
        st.one_of(
            st.binary(min_size=1, max_size=16),
            st.sampled_from([HOSTILE, b"\xff" * 8, b"\0" * 8, b"\xff" * 512]),
        ),
    ),
    min_size=1,
    max_size=12,
)


def good_page(make_page: MakePage) -> SyntheticPage:
    page = make_page(tasks=16, records=16)
    for number in range(1, 12):
        page.waits(number, number, "locks", "Lock.acquire", name=f"task {number}")
        page.wake(number, number)
        page.step(number, number + 0.5, 0.2, State.WAITING, site=1)
    page.add_block(1, 200, b"a.py\t1\tf\n")
    page.count("step", 1, 100, 10_000)
    page.write(
        "stacks",
        b"#0\n!executor\tthreads\t2\tof\t2\tqueued\t1\n!ready\t7\ta.py\t1\tlook\n"
        b"#1\na.py\t7\tuse\n!waits\t0xa\tLock at 0xa\n!holds\tsure\t0xb\tLock at 0xb\ta.py\t7\tuse\n"
        b"#2\na.py\t7\tuse\n!waits\t0xb\tLock at 0xb\n!holds\tmaybe\t0xa\tLock at 0xa\ta.py\t7\tuse\n"
        b"!awaits\t1,3\n!lost\n!cancelling\t2\n",
    )
    return page


def use(page: Page) -> None:
    """All that ps, why and trace make of a page; what they would print is clean."""
    snapshot = take_snapshot(page)
    _, data, _ = page.records()
    records = tuple(RawRecord._make(fields) for fields in RECORD.iter_unpack(data))
    answer = parse_answer(page.read(page.sections["stacks"].offset, 4096))
    evidence = Evidence(snapshot, records, answer)
    diagnosis = Diagnosis(evidence, find_insights(evidence), answer, asked=True)
    style = Style(in_colour=False)
    lines = list(render(diagnosis, style, everything=True))
    lines += draw(build_history(read_ring(page, snapshot)))
    lines.append(snapshot.status)
    for line in lines:
        assert line.isprintable(), line
    assert all(character.isprintable() or character == " " for character in json.dumps(as_json(diagnosis)))


@BOUNDED
@given(damages=damages)
@example(damages=[(section, 0, HOSTILE * 8) for section in SECTIONS if section != "header"])
@example(damages=[(section, 0, b"\xff" * 4096) for section in SECTIONS if section not in ("header", "live")])
def test_any_bytes_anywhere(make_page: MakePage, damages: list[tuple[str, int, bytes]]) -> None:
    page = good_page(make_page)
    for section, offset, data in damages:
        room = page.sections[section].size
        page.write(section, data[: max(0, room - offset % room)], offset % room)
    with contextlib.suppress(ReadError), page.open() as opened:
        use(opened)


def test_what_is_fuzzed_is_used(make_page: MakePage) -> None:
    """The page from which the fuzz starts says something in each of its parts."""
    page = good_page(make_page)
    with page.open() as opened:
        use(opened)
        snapshot = take_snapshot(opened)
        answer = parse_answer(opened.read(opened.sections["stacks"].offset, 4096))
    assert len(snapshot.tasks) == 11 and snapshot.blocks and snapshot.step_histogram.total == 3
    assert answer.executor and answer.ready and answer.tasks[2].awaits == (1, 3) and answer.tasks[2].is_lost
    assert answer.tasks[2].cancelling == 2 and not answer.tasks[2].holds[0].is_sure


@BOUNDED
@given(
    data=st.one_of(
        st.binary(max_size=400),
        st.lists(
            st.sampled_from(
                [
                    b"#1",
                    b"#-1",
                    b"#99999999999999999999999",
                    b"\n",
                    b"\t",
                    b"!waits",
                    b"!awaits",
                    b"!holds",
                    b"sure",
                    b"1,,2,x",
                    b"!executor",
                    b"threads",
                    b"of",
                    b"queued",
                    b"!ready",
                    b"a.py",
                    b"7",
                    b"\x1b[1m",
                    b"\xff",
                    b"!cancelling",
                    b"!lost",
                    b"\xc2\xb2",
                    b"9" * 30,
                ]
            ),
            max_size=60,
        ).map(b"".join),
    )
)
def test_any_answer(data: bytes) -> None:
    answer = parse_answer(data)
    assert answer.executor is None or answer.executor.queued >= 0
    for number, task in answer.tasks.items():
        assert 0 < number < 10**20
        texts = [task.lock, task.subject, *(held.text + held.lock for held in task.holds)]
        frames = [*task.stack, *(held.frame for held in task.holds), *(one.function for one in answer.ready)]
        assert all(text.isprintable() for text in texts + [str(frame) for frame in frames])
    answer.holders()


# Each round brings functions of new names, so that sites and strings are added all the time.
ROUND = '''
ROUND = """
async def work_COUNT(future, lock):
    async with lock:
        return await future
async def main_COUNT():
    loop, lock = asyncio.get_running_loop(), asyncio.Lock()
    futures = [loop.create_future() for _ in range(5)]
    name = "worker " + "x" * (COUNT % 40)
    tasks = [loop.create_task(work_COUNT(future, lock), name=name) for future in futures]
    for number, future in enumerate(futures):
        loop.call_later(0.0001 * number, future.set_result, number)
    await asyncio.to_thread(len, [])
    return sum(await asyncio.gather(*tasks))
"""
'''
PROGRAM = """
count = work = 0
ready()
while not os.path.exists(sys.argv[0] + ".stop"):
    count += 1
    names = {"asyncio": asyncio}
    exec(ROUND.replace("COUNT", str(count)), names)
    work += await names[f"main_{count}"]()
    if count % 50 == 0:
        time.sleep(0.03)
assert work == 10 * count, (work, count)
print("well", flush=True)
"""
NOISY_S = 2.0


class Scribbler(threading.Thread):
    """Overwrites the beginnings of a page's sections until it is stopped."""

    def __init__(self, fd: int, seed: int) -> None:
        super().__init__()
        self.fd = fd
        self.noise = random.Random(seed)
        self.is_over = threading.Event()
        self.writes = 0

    def run(self) -> None:
        sections = list(layout.sections().values())
        while not self.is_over.wait(0.0005):
            section = self.noise.choice(sections)
            length = min(section.size, self.noise.choice([8, 64, 4096]))
            data = self.noise.choice([b"\xff" * length, b"\0" * length, self.noise.randbytes(length)])
            os.pwrite(
                self.fd, data, section.offset + self.noise.randrange(min(section.size, 1 << 14)) // 8 * 8
            )
            self.writes += 1


@pytest.mark.parametrize("seed", range(2))
def test_a_program_whose_page_is_overwritten_goes_on(start: Start, seed: int) -> None:
    """The writer believes nothing that it reads back; the verbs read all the while."""
    program = start(PROGRAM, ROUND, GLASSLOOP_SLOW_MS="5", GLASSLOOP_PAGE="full" if seed else "")
    (page,) = finder.find_pages(program.pid, writable=True)
    scribbler = Scribbler(os.dup(page.fd), seed)
    scribbler.start()
    deadline_s = time.monotonic() + NOISY_S
    words = [("why",), ("why", "--json"), ("trace", "--seconds", "0.1"), ("ps",)]
    number = 0
    try:
        while time.monotonic() < deadline_s or number < len(words):
            verb = words[number % len(words)]
            number += 1
            target = () if verb == ("ps",) else (str(program.pid),)
            status, text = program.command(verb[0], *target, *verb[1:])
            assert status in (0, 1, 3), text
            assert all(character.isprintable() or character == "\n" for character in text), text
    finally:
        scribbler.is_over.set()
        scribbler.join()
        os.close(scribbler.fd)
        page.close()
    assert scribbler.writes > 100
    Path(f"{program.path}.stop").touch()
    assert program.process.stdout is not None
    assert program.process.stdout.readline() == b"well\n"
    assert program.process.wait(20) == 0


NOBODY = """
import os, sys
from glassloop import cli
from glassloop.cli import ps, trace, why
cli.make_parser()  # and what that imports: while the files may still be read
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
for verb in (["why", sys.argv[1]], ["trace", sys.argv[1], "--seconds", "0.1"], ["ps"]):
    print("status", cli.main(verb), flush=True)
path = f"/proc/{sys.argv[1]}/fd"
for attempt in (lambda: os.listdir(path), lambda: os.open(f"{path}/{sys.argv[2]}", os.O_RDONLY),
                lambda: os.open(f"/proc/{sys.argv[1]}/mem", os.O_RDONLY)):
    try:
        attempt()
        print("got in")
    except PermissionError:
        print("refused")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_other_users_are_refused_by_the_kernel(start: Start) -> None:
    program = start("ready()\nawait asyncio.sleep(60)")
    own = f"/proc/{program.pid}/fd"
    (fd,) = [fd for fd in os.listdir(own) if "memfd:glassloop" in os.readlink(f"{own}/{fd}")]
    done = subprocess.run(
        [sys.executable, "-c", NOBODY, str(program.pid), fd], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines().count("refused") == 3 and "got in" not in done.stdout, (
        done.stdout + done.stderr
    )
    assert done.stdout.count("status 3") == 2, done.stdout + done.stderr
    assert done.stderr.count(f"process {program.pid} belongs to user 0; this is user 65534") == 2, done.stderr
    assert str(program.path) not in done.stdout, "ps shows nothing of it either"
