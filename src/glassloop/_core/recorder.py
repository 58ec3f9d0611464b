"""The recorder: what a loop tells of itself, always, in a page of shared memory that others may read.

The page is a memfd named ``glassloop``; ``glass/layout.py`` describes it. Writing to it is inline in
``page_writer.h``; what happens once in a while (making and closing a page, naming the places in the program
that tasks wait at, logging a block) is here. A page is used again by the next loop: programs that run many
short loops pay for one.
"""

import asyncio
import logging
import os
import sys
import threading

import cython
from cython.cimports.cpython.mem import PyMem_Calloc, PyMem_Free, PyMem_RawFree
from cython.cimports.cpython.ref import Py_DECREF, Py_INCREF, PyObject
from cython.cimports.glassloop._core.clock import monotonic_ns, realtime_ns, ticks
from cython.cimports.glassloop._sys.memory import (
    BLOCK_CAPACITY,
    BLOCKS_OFFSET,
    BUCKETS,
    HISTOGRAMS_OFFSET,
    LIVE_OFFSET,
    NAMES_OFFSET,
    PAGE_MAGIC,
    PAGE_SIZE,
    PAGE_VERSION,
    RECORD_CAPACITY,
    RECORDS_OFFSET,
    SITE_CAPACITY,
    SITES_OFFSET,
    STACKS_OFFSET,
    STACKS_SIZE,
    STRINGS_OFFSET,
    STRINGS_SIZE,
    TASK_CAPACITY,
    TASKS_OFFSET,
    close_fd,
    frames_proven,
    map_page,
    open_memory,
    prove_frames,
    running_codes,
    this_thread,
    unmap_page,
    watch_begins,
    watch_ends,
    watch_forked,
    watch_pauses,
    watch_resumes,
)
from cython.cimports.glassloop._sys.page import (
    NAME_SIZE,
    PHASE_CLOSED,
    PHASE_RUNNING,
    PHASE_STOPPED,
    Block,
    Header,
    Live,
    Site,
    Slot,
    Writer,
    task_gone,
)
from cython.cimports.libc.stdint import int64_t, uint32_t, uint64_t, uintptr_t
from cython.cimports.libc.string import memcpy, memset

STACKS_IN_ONE_TURN = cython.declare(cython.int, 200)
CODES = cython.declare(cython.uint, 2 * SITE_CAPACITY)
logger = logging.getLogger("glassloop")
# Who has not set up logging asks with `glassloop why`; nothing is to appear in a program's output unasked.
logger.addHandler(logging.NullHandler())

# 0: no pages. full: each step is timed and recorded. Else that is done while a reader asks for it.
_pages_wanted = cython.declare(object, os.environ.get("GLASSLOOP_PAGE", ""))
_record_file = cython.declare(object, os.environ.get("GLASSLOOP_RECORD"))
_start_ticks = cython.declare(uint64_t, ticks())
_start_ns = cython.declare(int64_t, monotonic_ns())
# A page whose loop is closed, for the next loop; one is enough.
_spare = cython.declare(list, [])
_file_pages = cython.declare(cython.int, 0)
# Functions that make a task for somebody else, who is meant when one asks where it was made.
# (By identity: a code object's hash is that of all its contents.)
_maker_1 = cython.declare(object, asyncio.create_task.__code__)
_maker_2 = cython.declare(object, asyncio.ensure_future.__code__)
_maker_3 = cython.declare(object, asyncio.TaskGroup.create_task.__code__)


@cython.final
@cython.cclass
class Recorder:
    def __cinit__(self) -> None:
        self.offsets = {}
        self.codes = cython.cast(
            cython.pointer(cython.pointer(PyObject)), PyMem_Calloc(CODES, cython.sizeof(uintptr_t))
        )
        self.code_sites = cython.cast(cython.pointer(uint32_t), PyMem_Calloc(CODES, cython.sizeof(uint32_t)))
        self.writer.fd = -1
        if self.codes is cython.NULL or self.code_sites is cython.NULL:
            raise MemoryError("no memory for the recorder's table of code")

    def __dealloc__(self) -> None:
        i: cython.uint
        if self.codes is not cython.NULL:
            for i in range(CODES):
                if self.codes[i] is not cython.NULL:
                    Py_DECREF(cython.cast(object, self.codes[i]))
        PyMem_Free(self.codes)
        PyMem_Free(self.code_sites)
        PyMem_RawFree(self.writer.free_slots)
        if self.writer.base is not cython.NULL:
            unmap_page(self.writer.base, PAGE_SIZE)
        if self.writer.fd >= 0:
            close_fd(self.writer.fd)

    @cython.cfunc
    @cython.exceptval(check=False)
    def site_of(self, code: cython.pointer(PyObject)) -> uint32_t:
        """The number of a code object's site, which is made where it is new; 0 where there is no room."""
        if code is cython.NULL:
            return 0
        address: uintptr_t = cython.cast(uintptr_t, code)
        place: cython.uint = cython.cast(cython.uint, (address >> 4) ^ (address >> 16)) & (CODES - 1)
        while self.codes[place] is not cython.NULL:
            if self.codes[place] is code:
                return self.code_sites[place]
            place = (place + 1) & (CODES - 1)
        if self.writer.live.sites >= SITE_CAPACITY:
            return 0
        return add_site(self, code, place)

    @cython.cfunc
    @cython.exceptval(check=False)
    def site_of_type(self, thing: object) -> uint32_t:
        """The site that stands for what is awaited where it is no future of ours: its class."""
        kind = type(thing)
        return self.site_of(cython.cast(cython.pointer(PyObject), kind))

    @cython.cfunc
    @cython.exceptval(check=False)
    def running_site(self, of_task: cython.bint) -> uint32_t:
        """The site of the function that runs: the one that makes a future, or who had a task made."""
        codes: cython.pointer(PyObject)[4]
        count: cython.int = running_codes(codes, 1)
        i: cython.int = 0
        if count == 0:
            return 0
        if of_task and is_maker(codes[0]):
            count = running_codes(codes, 4)
            while i < count - 1 and is_maker(codes[i]):
                i += 1
        return self.site_of(codes[i])

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def begin(self, wake_fd: cython.int) -> cython.int:
        """The loop runs from now on, in this thread; to write to the eventfd ends its wait."""
        self.writer.wake_fd = wake_fd
        header: cython.pointer(Header) = cython.cast(cython.pointer(Header), self.writer.base)
        header.thread_id = threading.get_native_id()
        put_text(header.thread_name, 64, threading.current_thread().name.encode())
        self.writer.boundary = ticks()
        self.writer.live.step_ticks = self.writer.live.now_ticks = self.writer.boundary
        self.writer.live.now_ns = monotonic_ns()
        self.writer.thread = this_thread()
        self.writer.blocked = False
        self.writer.live.phase = PHASE_RUNNING
        watch_begins(cython.address(self.writer))
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def give_stacks(self, loop: object) -> cython.int:
        """Somebody asks for the await stacks: write those of so many tasks, the rest in the turns to come."""
        live: cython.pointer(Live) = self.writer.live
        try:
            if self.stacks_left is None or self.stacks_answered != live.stacks_wanted:
                self.stacks_answered = live.stacks_wanted
                self.stacks_left = iter(list(asyncio.all_tasks(loop)))
                self.stacks_length = 0
            for _ in range(STACKS_IN_ONE_TURN):
                task = next(self.stacks_left, None)
                if task is None:
                    self.stacks_left = None
                    break
                text: bytes = _await_stack(task)
                if self.stacks_length + len(text) > STACKS_SIZE:
                    self.stacks_left = None
                    break
                memcpy(
                    self.writer.base + STACKS_OFFSET + self.stacks_length,
                    cython.cast(cython.p_char, text),
                    len(text),
                )
                self.stacks_length += len(text)
        except Exception:
            self.stacks_left = (
                None  # an awaitable that does not let itself be looked at: what there is must do
            )
        if self.stacks_left is None:
            live.stacks_length = self.stacks_length
            live.stacks_given = self.stacks_answered
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def end(self) -> cython.int:
        """The loop has stopped."""
        watch_ends(cython.address(self.writer))
        self.writer.live.phase = PHASE_STOPPED
        self.writer.thread = cython.NULL
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def forget_task(self, slot: uint32_t) -> cython.int:
        name: cython.pointer(cython.char) = self.writer.base + NAMES_OFFSET + slot * NAME_SIZE
        if name[0] != 0:
            memset(name, 0, NAME_SIZE)
        task_gone(cython.address(self.writer), slot)
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def name_task(self, slot: uint32_t, name: object) -> cython.int:
        put_text(
            self.writer.base + NAMES_OFFSET + slot * NAME_SIZE,
            NAME_SIZE,
            str(name).encode("utf-8", "replace"),
        )
        return 0


def _await_stack(task: object) -> bytes:
    """#id, then a line for each coroutine that awaits the next: file, line, function."""
    lines = [f"#{getattr(task, '_page_id', 0)}"]
    awaiting = task.get_coro()
    while awaiting is not None and len(lines) < 100:
        frame = code = following = None
        for prefix in ("cr_", "gi_", "ag_"):
            if hasattr(awaiting, prefix + "frame"):
                frame = getattr(awaiting, prefix + "frame")
                code = getattr(awaiting, prefix + "code")
                following = getattr(awaiting, "gi_yieldfrom" if prefix == "gi_" else prefix + "await")
                break
        if code is None:
            break
        line = code.co_firstlineno if frame is None else frame.f_lineno
        lines.append(f"{code.co_filename}\t{line}\t{code.co_qualname}".replace("\n", " "))
        awaiting = following
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


@cython.cfunc
@cython.exceptval(check=False)
def is_maker(code: cython.pointer(PyObject)) -> cython.bint:
    return (
        code is cython.cast(cython.pointer(PyObject), _maker_1)
        or code is cython.cast(cython.pointer(PyObject), _maker_2)
        or code is cython.cast(cython.pointer(PyObject), _maker_3)
    )


@cython.cfunc
@cython.exceptval(-1, check=False)
def put_text(to: cython.p_char, size: cython.Py_ssize_t, text: bytes) -> cython.int:
    """As much of the text as fits, and zeros behind it."""
    length: cython.Py_ssize_t = min(len(text), size - 1)
    memset(to, 0, size)
    memcpy(to, cython.cast(cython.p_char, text), length)
    return 0


@cython.cfunc
@cython.exceptval(check=False)
def add_site(recorder: Recorder, code: cython.pointer(PyObject), place: cython.uint) -> uint32_t:
    number: uint32_t = recorder.writer.live.sites
    site: cython.pointer(Site) = (
        cython.cast(cython.pointer(Site), recorder.writer.base + SITES_OFFSET) + number
    )
    described = cython.cast(object, code)
    try:
        if isinstance(described, type):
            site.name = offset_of(recorder, described.__qualname__)
            site.file = offset_of(recorder, described.__module__)
        else:
            site.name = offset_of(recorder, described.co_qualname)
            site.file = offset_of(recorder, described.co_filename)
            site.line = described.co_firstlineno
    except Exception:
        return 0  # a place without a name is better than a task that cannot wait
    Py_INCREF(described)
    recorder.codes[place] = code
    recorder.code_sites[place] = number
    recorder.writer.live.sites = number + 1
    return number


@cython.cfunc
@cython.exceptval(0xFFFFFFFF, check=False)
def offset_of(recorder: Recorder, text: str) -> uint32_t:
    """Where the string lies, two bytes of length in front of it; 0, the empty string, without room."""
    known = recorder.offsets.get(text)
    if known is not None:
        return known
    encoded: bytes = text.encode("utf-8", "replace")
    if len(encoded) > 4000:
        encoded = encoded[len(encoded) - 4000 :]
    offset: uint32_t = recorder.writer.live.strings
    if offset + 2 + len(encoded) > STRINGS_SIZE:
        return 0
    to: cython.p_char = recorder.writer.base + STRINGS_OFFSET + offset
    to[0] = cython.cast(cython.char, len(encoded) & 255)
    to[1] = cython.cast(cython.char, len(encoded) >> 8)
    memcpy(to + 2, cython.cast(cython.p_char, encoded), len(encoded))
    recorder.offsets[text] = offset
    recorder.writer.live.strings = cython.cast(uint32_t, offset + 2 + len(encoded))
    return offset


@cython.cfunc
def recorder_open() -> Recorder:
    """A recorder for a new loop; None where pages are turned off, or cannot be had here."""
    recorder: Recorder
    if _pages_wanted == "0":
        return None
    if _spare:
        recorder = _spare.pop()
        clear_page(recorder)
        return recorder
    recorder = Recorder()
    if not map_new_page(recorder):
        return None
    return recorder


@cython.cfunc
@cython.exceptval(-1)
def map_new_page(recorder: Recorder) -> cython.int:
    """1, or 0 where the system refuses: then the loop runs without a page."""
    global _file_pages
    file_name = _record_file
    fd: cython.int
    if file_name:
        _file_pages += 1
        if _file_pages > 1:
            file_name = f"{file_name}.{_file_pages}"
        try:
            fd = os.open(file_name, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            os.ftruncate(fd, PAGE_SIZE)
        except OSError as exc:
            logger.warning("The loop runs without a record: %s", exc)
            return 0
    else:
        fd = open_memory(b"glassloop", PAGE_SIZE)
    if fd < 0:
        return 0
    base: cython.p_char = map_page(fd, PAGE_SIZE)
    if base is cython.NULL:
        close_fd(fd)
        return 0
    recorder.writer.base = base
    recorder.writer.fd = fd
    recorder.writer.live = cython.cast(cython.pointer(Live), base + LIVE_OFFSET)
    recorder.writer.tasks = cython.cast(cython.pointer(Slot), base + TASKS_OFFSET)
    recorder.writer.records = cython.cast(cython.p_void, base + RECORDS_OFFSET)
    recorder.writer.histograms = cython.cast(cython.pointer(uint64_t), base + HISTOGRAMS_OFFSET)
    recorder.writer.live.sites = 1
    recorder.writer.live.strings = 2
    clear_page(recorder)
    fill_header(recorder)
    return 1


@cython.cfunc
@cython.exceptval(-1, check=False)
def clear_page(recorder: Recorder) -> cython.int:
    """As new, but for the sites, which the next loop of the same program meets again."""
    writer: cython.pointer(Writer) = cython.address(recorder.writer)
    sites: uint32_t = writer.live.sites
    strings: uint32_t = writer.live.strings
    memset(writer.live, 0, 4096)
    memset(writer.histograms, 0, 3 * BUCKETS * 8)
    memset(writer.tasks, 0, writer.used_slots * cython.sizeof(Slot))
    writer.live.sites = sites
    writer.live.strings = strings
    writer.record_count = writer.block_count = writer.block_step = 0
    writer.idle_ticks = writer.busy_ticks = writer.steps = writer.turns = writer.running_task = 0
    writer.running_slot = writer.running_fd = writer.free_count = writer.unfinished = writer.unseen = 0
    writer.running_kind = NOTHING
    writer.used_slots = 1
    writer.live.slots_used = 1
    writer.blocked = writer.full = False
    if _pages_wanted == "full" or _record_file:
        writer.live.full_until = EVER
        writer.full = True
    return 0


@cython.cfunc
@cython.exceptval(-1)
def ticks_per_us() -> cython.double:
    """Of the processor's counter, measured over at least two milliseconds."""
    while monotonic_ns() - _start_ns < 2_000_000:
        pass
    return (ticks() - _start_ticks) * 1000.0 / (monotonic_ns() - _start_ns)


@cython.cfunc
@cython.exceptval(-1)
def limit_ms() -> cython.double:
    """From GLASSLOOP_SLOW_MS: what outlasts it is a block."""
    given = os.environ.get("GLASSLOOP_SLOW_MS")
    if given:
        try:
            if float(given) > 0:
                return float(given)
        except ValueError:
            pass
        logger.warning("GLASSLOOP_SLOW_MS=%r is no positive number of milliseconds: 100 are used", given)
    return 100.0


@cython.cfunc
@cython.exceptval(-1, check=False)
def fill_header(recorder: Recorder) -> cython.int:
    header: cython.pointer(Header) = cython.cast(cython.pointer(Header), recorder.writer.base)
    command: bytes = b"\0".join(
        word.encode("utf-8", "replace") for word in getattr(sys, "orig_argv", sys.argv)
    )
    header.version = PAGE_VERSION
    header.pid = os.getpid()
    header.thread_id = threading.get_native_id()
    header.flags = 1
    header.page_size = PAGE_SIZE
    header.start_ticks = ticks()
    header.start_ns = monotonic_ns()
    header.start_realtime_ns = realtime_ns()
    header.ticks_per_us = ticks_per_us()
    header.live = LIVE_OFFSET
    header.histograms = HISTOGRAMS_OFFSET
    header.tasks = TASKS_OFFSET
    header.names = NAMES_OFFSET
    header.records = RECORDS_OFFSET
    header.blocks = BLOCKS_OFFSET
    header.sites = SITES_OFFSET
    header.strings = STRINGS_OFFSET
    header.stacks = STACKS_OFFSET
    header.task_capacity = TASK_CAPACITY
    header.record_capacity = RECORD_CAPACITY
    header.block_capacity = BLOCK_CAPACITY
    header.site_capacity = SITE_CAPACITY
    header.strings_size = STRINGS_SIZE
    header.stacks_size = STACKS_SIZE
    slow_ms: cython.double = limit_ms()
    header.slow_ms = cython.cast(uint32_t, max(slow_ms, 1.0))
    recorder.writer.slow_ticks = cython.cast(uint64_t, slow_ms * 1000.0 * header.ticks_per_us)
    put_text(header.python, 64, sys.version.encode())
    put_text(header.command, 1024, command)
    # Last of all: a page without it is not one yet.
    memcpy(header.magic, PAGE_MAGIC, 8)
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def recorder_close(recorder: Recorder) -> cython.int:
    """The loop is closed: its page says so, and waits for the next loop."""
    recorder.writer.live.phase = PHASE_CLOSED
    if not _spare and not _record_file:
        _spare.append(recorder)
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def report_block(recorder: Recorder, limit_s: cython.double) -> cython.int:
    """One warning for the block that the watchdog saw, now that it is over."""
    writer: cython.pointer(Writer) = cython.address(recorder.writer)
    writer.blocked = False
    if writer.block_count == 0:
        return 0
    block: cython.pointer(Block) = (
        cython.cast(cython.pointer(Block), writer.base + BLOCKS_OFFSET)
        + (writer.block_count - 1) % BLOCK_CAPACITY
    )
    block.ended = 1
    took_s: cython.double = (ticks() - block.began_ticks) / (ticks_per_us() * 1e6)
    if took_s < limit_s:
        return 0
    who = "A callback"
    if block.task:
        name = bytes(block.name[:32]).split(b"\0", 1)[0].decode("utf-8", "replace")
        who = f"Task {name or 'Task-' + str(block.task)!r}"
    length: cython.Py_ssize_t = min(block.length, cython.cast(uint32_t, 8064))
    lines = bytes(block.stack[:length]).decode("utf-8", "replace").splitlines()
    frames = [line.split("\t") for line in lines]
    stack = "".join(
        f'\n  File "{frame[0]}", line {frame[1]}, in {frame[2]}'
        for frame in reversed(frames)
        if len(frame) == 3
    )
    logger.warning("%s blocked the event loop for %.3f seconds%s", who, took_s, stack)
    return 0


NOTHING = cython.declare(uint32_t, 4)
EVER = cython.declare(uint64_t, 0xFFFFFFFFFFFFFFFF)


@cython.cfunc
@cython.exceptval(-1, check=False)
def prove(inner: object, outer: object, line: cython.int) -> cython.int:
    prove_frames(
        cython.cast(cython.pointer(PyObject), inner), cython.cast(cython.pointer(PyObject), outer), line
    )
    return 0


def probe(inner: object, outer: object, line: int) -> None:
    """Called by the interpreted functions below: are frames where they are believed to be?"""
    prove(inner, outer, line)


def stacks_can_be_taken() -> bool:
    """Whether the watchdog can name the line that blocks."""
    return frames_proven


_space: dict = {"probe": probe}
exec(  # noqa: S102 - interpreted functions of our own, in a compiled module
    compile(
        "def inner():\n    probe(inner.__code__, outer.__code__, 2)\ndef outer():\n    inner()\n",
        "<glassloop>",
        "exec",
    ),
    _space,
)
_space["outer"]()


def _after_fork() -> None:
    # The page is the parent's, who goes on writing it.
    watch_forked()
    _spare.clear()


def _before_fork() -> None:
    watch_pauses()


def _after_fork_here() -> None:
    watch_resumes()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_here, after_in_child=_after_fork)
