"""The recorder: what a loop tells of itself, always, in a page of shared memory that others may read.

The page is a memfd named ``glassloop``; ``glass/layout.py`` describes it. Writing to it is inline in
``page_writer.h``; what happens once in a while (making and closing a page, naming the places in the program
that tasks wait at, logging a block) is here. A page is used again by the next loop: programs that run many
short loops pay for one.
"""

import asyncio
import errno
import itertools
import logging
import operator
import os
import stat
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
    take_block,
    this_thread,
    unmap_page,
    watch_again,
    watch_begins,
    watch_ends,
    watch_forked,
    watch_pauses,
)
from cython.cimports.glassloop._sys.page import (
    KIND_NAME,
    NAME_SIZE,
    PHASE_CLOSED,
    PHASE_RUNNING,
    PHASE_STOPPED,
    SLOTS_AT_ONCE,
    Block,
    Header,
    Live,
    Site,
    Slot,
    Writer,
    add_record,
)
from cython.cimports.libc.stdint import int64_t, uint32_t, uint64_t, uintptr_t
from cython.cimports.libc.string import memcpy, memset

STACKS_IN_ONE_TURN = cython.declare(cython.int, 64)
LAST_LINE = cython.declare(cython.size_t, 64)  # bytes: it says of how many tasks nothing is told
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
# A test suite makes hundreds of loops; the files of so many are enough to look into.
MOST_FILES = cython.declare(cython.int, 20)
# How many records the ring holds, a power of two.
_record_capacity = cython.declare(uint32_t, RECORD_CAPACITY)
# Names of tasks take so many bytes of the strings; the rest is for names of functions and files.
NAMES_SIZE = cython.declare(uint32_t, STRINGS_SIZE // 2)
# Told of each loop that stops, and of each page before it is given up; or None. See listen().
_listener = cython.declare(object, None)
# Functions that make a task for somebody else, who is meant when one asks where it was made.
# (By identity: a code object's hash is that of all its contents.)
_maker_1 = cython.declare(object, asyncio.create_task.__code__)
_maker_2 = cython.declare(object, asyncio.ensure_future.__code__)
_maker_3 = cython.declare(object, asyncio.TaskGroup.create_task.__code__)
# Functions that make a future for others, and those others that tell what it is for.
_wrap_future = cython.declare(object, asyncio.wrap_future.__code__)
_run_in_executor = cython.declare(object, asyncio.BaseEventLoop.run_in_executor.__code__)
_getaddrinfo = cython.declare(object, asyncio.BaseEventLoop.getaddrinfo.__code__)
_getnameinfo = cython.declare(object, asyncio.BaseEventLoop.getnameinfo.__code__)
_condition_wait = cython.declare(object, asyncio.Condition.wait.__code__)
_barrier_wait = cython.declare(object, asyncio.Barrier._wait.__code__)


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
            unmap_page(self.writer.base, self.writer.size)
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
        if self.sites >= SITE_CAPACITY:
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
        if of_task:
            if is_maker(codes[0]):
                count = running_codes(codes, 2)  # mostly the next one is it
                if count == 2 and is_maker(codes[1]):
                    count = running_codes(codes, 4)
                while i < count - 1 and is_maker(codes[i]):
                    i += 1
        elif is_general(codes[0]):
            return self.site_of(purpose(codes))
        return self.site_of(codes[i])

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def begin(self, wake_fd: cython.int) -> cython.int:
        """The loop runs from now on, in this thread; to write to the eventfd ends its wait."""
        self.kept_tasks = None
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
        wanted: cython.ulonglong = live.stacks_wanted
        count: cython.int = STACKS_IN_ONE_TURN
        left: cython.Py_ssize_t = 0
        try:
            from glassloop._core import await_stacks

            if self.stacks_left is None or self.stacks_answered != wanted:
                self.stacks_answered = wanted
                self.stacks_length = 0
                live.stacks_given = 0
                put_stack(self, await_stacks.answer_of_loop(loop), LAST_LINE)
                live.stacks_length = self.stacks_length  # who asked sees that it has begun
                self.stacks_left = await_stacks.in_order(loop._unfinished_tasks(), live.stacks_first)
            elif live.stacks_enough == wanted:
                count = 0
            for task in itertools.islice(self.stacks_left, count):
                if not put_stack(self, await_stacks.answer_of(task), LAST_LINE):
                    left = 1
                    count = 0
                    break
            left += operator.length_hint(self.stacks_left)
            if left == 0 or count == 0:
                put_stack(self, b"#0\n!left\t%d\n" % left, 0)
                self.stacks_left = None
            elif self.writer.wake_fd >= 0:
                os.eventfd_write(self.writer.wake_fd, 1)  # the rest at once, however idle the loop is
        except Exception:
            # An awaitable that does not let itself be looked at: what there is must do.
            self.stacks_left = None
        if self.stacks_left is None:
            live.stacks_length = self.stacks_length
            self.writer.stacks_given = self.stacks_answered
            live.stacks_given = self.stacks_answered
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def watch_again(self) -> cython.int:
        """Have the watchdog, which a fork has stopped, look at the loop once more."""
        watch_again(cython.address(self.writer))
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def end(self, loop: object) -> cython.int:
        """The loop has stopped."""
        watch_ends(cython.address(self.writer))
        if self.writer.live.phase == PHASE_RUNNING:
            self.writer.busy_ticks += ticks() - self.writer.live.now_ticks
            self.writer.live.busy_ticks = self.writer.busy_ticks
        self.writer.live.phase = PHASE_STOPPED
        self.writer.thread = cython.NULL
        if _listener is not None:
            # To listen makes many objects: the collector would run, and end a task that only its own future
            # holds, where without a listener the program might still have cancelled it.
            self.kept_tasks = asyncio.all_tasks(loop)
            if self.writer.unfinished:
                self.give_stacks(loop)
                while self.stacks_left is not None:
                    self.give_stacks(loop)
            _listener(self.writer.fd, False)
        return 0

    @cython.cfunc
    @cython.exceptval(check=False)
    def record_name(self, slot: uint32_t, named: cython.bint) -> cython.int:
        """The task ends, and its slot is for the next: who reads the records later is to know what it was."""
        task: cython.pointer(Slot) = self.writer.tasks + slot
        subject: uint64_t = 0
        if named and self.names_size < NAMES_SIZE:
            name: cython.p_char = self.writer.base + NAMES_OFFSET + slot * NAME_SIZE
            before: uint32_t = self.strings
            try:
                subject = offset_of(self, name[:NAME_SIZE].split(b"\0", 1)[0].decode("utf-8", "replace"))
            except Exception:
                return 0  # no memory: the record goes without
            self.names_size += self.strings - before
        subject |= task.parent << 32
        add_record(
            cython.address(self.writer), task.created_ticks, KIND_NAME, task.coroutine, task.id, subject
        )
        return 0

    @cython.cfunc
    @cython.exceptval(-1, check=False)
    def name_task(self, slot: uint32_t, name: object) -> cython.int:
        self.any_named = True
        put_text(
            self.writer.base + NAMES_OFFSET + slot * NAME_SIZE,
            NAME_SIZE,
            str(name).encode("utf-8", "replace"),
        )
        return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def put_stack(recorder: Recorder, text: bytes, kept: cython.size_t) -> cython.bint:
    """Add to the answer; 0 if there is no room for it and for ``kept`` bytes more."""
    if recorder.stacks_length + len(text) + kept > STACKS_SIZE:
        return False
    memcpy(
        recorder.writer.base + STACKS_OFFSET + recorder.stacks_length,
        cython.cast(cython.p_char, text),
        len(text),
    )
    recorder.stacks_length += len(text)
    return True


@cython.cfunc
@cython.exceptval(check=False)
def is_maker(code: cython.pointer(PyObject)) -> cython.bint:
    return (
        code is cython.cast(cython.pointer(PyObject), _maker_1)
        or code is cython.cast(cython.pointer(PyObject), _maker_2)
        or code is cython.cast(cython.pointer(PyObject), _maker_3)
    )


@cython.cfunc
@cython.exceptval(check=False)
@cython.inline
def is_general(code: cython.pointer(PyObject)) -> cython.bint:
    """Whether it makes a future for so many purposes that only its caller tells for which."""
    return code is cython.cast(cython.pointer(PyObject), _wrap_future) or code is cython.cast(
        cython.pointer(PyObject), _condition_wait
    )


@cython.cfunc
@cython.exceptval(check=False)
def purpose(codes: cython.pointer(cython.pointer(PyObject))) -> cython.pointer(PyObject):
    """The function that says what such a future is for: a name to resolve, a job, a barrier, a condition."""
    count: cython.int = running_codes(codes, 4)
    i: cython.int
    if codes[0] is cython.cast(cython.pointer(PyObject), _wrap_future):
        if count < 2 or codes[1] is not cython.cast(cython.pointer(PyObject), _run_in_executor):
            return codes[0]
        if count > 2 and (
            codes[2] is cython.cast(cython.pointer(PyObject), _getaddrinfo)
            or codes[2] is cython.cast(cython.pointer(PyObject), _getnameinfo)
        ):
            return codes[2]
        return codes[1]
    for i in range(1, count):
        if codes[i] is cython.cast(cython.pointer(PyObject), _barrier_wait):
            return codes[i]
    return codes[0]


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
    number: uint32_t = recorder.sites
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
    recorder.sites = number + 1
    recorder.writer.live.sites = recorder.sites
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
    offset: uint32_t = recorder.strings
    if offset + 2 + len(encoded) > STRINGS_SIZE:
        return 0
    to: cython.p_char = recorder.writer.base + STRINGS_OFFSET + offset
    to[0] = cython.cast(cython.char, len(encoded) & 255)
    to[1] = cython.cast(cython.char, len(encoded) >> 8)
    memcpy(to + 2, cython.cast(cython.p_char, encoded), len(encoded))
    recorder.offsets[text] = offset
    recorder.strings = cython.cast(uint32_t, offset + 2 + len(encoded))
    recorder.writer.live.strings = recorder.strings
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
        begin_clock(recorder)
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
    ring: cython.size_t = cython.cast(cython.size_t, _record_capacity) * 32
    size: cython.size_t = RECORDS_OFFSET + (ring + 4095) // 4096 * 4096
    fd: cython.int = -1
    if file_name:
        _file_pages += 1
        if _file_pages > 1:
            file_name = f"{file_name}.{_file_pages}"
        try:
            if _file_pages > MOST_FILES:
                raise OSError(errno.EMFILE, f"there are {MOST_FILES} files already", file_name)
            fd = open_record(file_name, size)
        except OSError as exc:
            if _file_pages <= MOST_FILES + 1:
                say_without_record(exc)
    recorder.writer.slots_reserved = SLOTS_AT_ONCE
    if fd < 0:
        fd = open_memory(b"glassloop", size)
        recorder.writer.slots_reserved = TASK_CAPACITY
    if fd < 0:
        return 0
    base: cython.p_char = map_page(fd, size)
    if base is cython.NULL:
        close_fd(fd)
        return 0
    recorder.writer.base = base
    recorder.writer.size = size
    recorder.writer.record_mask = _record_capacity - 1
    recorder.writer.fd = fd
    recorder.writer.live = cython.cast(cython.pointer(Live), base + LIVE_OFFSET)
    recorder.writer.tasks = cython.cast(cython.pointer(Slot), base + TASKS_OFFSET)
    recorder.writer.records = cython.cast(cython.p_void, base + RECORDS_OFFSET)
    recorder.writer.histograms = cython.cast(cython.pointer(uint64_t), base + HISTOGRAMS_OFFSET)
    recorder.sites = 1
    recorder.strings = 2
    clear_page(recorder)
    fill_header(recorder)
    return 1


@cython.cfunc
@cython.exceptval(-1)
def open_record(path: str, size: cython.size_t) -> cython.int:
    """A new file for a page, whose room on the disk is reserved: what is mapped cannot fail in writing.

    Never the file of a loop that runs, which must not lose its memory, nor one that is no record.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        pass
    else:
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", path)
        with open(path, "rb") as old:
            if status.st_size and old.read(8) != PAGE_MAGIC + b"\0":
                raise FileExistsError(errno.EEXIST, "it holds something else, and is left alone", path)
        os.unlink(path)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    fd: cython.int = os.open(path, flags, 0o600)
    try:
        os.ftruncate(fd, size)
        reserve(fd, 0, TASKS_OFFSET + SLOTS_AT_ONCE * cython.sizeof(Slot))
        reserve(fd, NAMES_OFFSET, SLOTS_AT_ONCE * NAME_SIZE)
        reserve(fd, RECORDS_OFFSET, size - RECORDS_OFFSET)
    except OSError as error:
        os.close(fd)
        os.unlink(path)
        error.filename = path
        raise
    return fd


@cython.cfunc
@cython.exceptval(-1)
def reserve(fd: cython.int, offset: cython.size_t, length: cython.size_t) -> cython.int:
    try:
        os.posix_fallocate(fd, offset, length)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):  # those two: this file system cannot
            raise
    return 0


@cython.cfunc
@cython.exceptval(-1)
def say_without_record(error: object) -> cython.int:
    """Who asked for a file is told that there is none, also where no logging is set up."""
    logger.warning("The loop runs without a record: %s", error)
    if not logging.getLogger().handlers and sys.stderr is not None:
        sys.stderr.write(f"glassloop: The loop runs without a record: {error}\n")
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def clear_page(recorder: Recorder) -> cython.int:
    """As new, but for the sites, which the next loop of the same program meets again."""
    writer: cython.pointer(Writer) = cython.address(recorder.writer)
    memset(writer.live, 0, 4096)
    memset(writer.histograms, 0, 3 * BUCKETS * 8)
    memset(writer.tasks, 0, writer.used_slots * cython.sizeof(Slot))
    if recorder.any_named:
        memset(writer.base + NAMES_OFFSET, 0, writer.used_slots * NAME_SIZE)
        recorder.any_named = False
    writer.live.sites = recorder.sites
    writer.live.strings = recorder.strings
    writer.stacks_given = 0
    writer.record_count = writer.block_count = writer.block_step = writer.made = 0
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
@cython.exceptval(check=False)
def begin_clock(recorder: Recorder) -> cython.int:
    """The page begins now."""
    header: cython.pointer(Header) = cython.cast(cython.pointer(Header), recorder.writer.base)
    header.start_ticks = ticks()
    header.start_ns = monotonic_ns()
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
                return min(float(given), 1e9)  # it must fit into the page, also where it is infinite
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
    header.page_size = recorder.writer.size
    begin_clock(recorder)
    header.start_realtime_ns = realtime_ns()
    rate: cython.double = ticks_per_us()
    header.ticks_per_us = rate
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
    header.record_capacity = _record_capacity
    header.block_capacity = BLOCK_CAPACITY
    header.site_capacity = SITE_CAPACITY
    header.strings_size = STRINGS_SIZE
    header.stacks_size = STACKS_SIZE
    slow_ms: cython.double = limit_ms()
    header.slow_ms = cython.cast(uint32_t, max(slow_ms, 1.0))
    recorder.writer.slow_ticks = cython.cast(uint64_t, slow_ms * 1000.0 * rate)
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
    recorder.stacks_left = recorder.kept_tasks = None  # they hold tasks
    if _listener is not None:
        _listener(recorder.writer.fd, True)
    if not _spare and not _record_file and _listener is None:
        _spare.append(recorder)
    return 0


@cython.cfunc
@cython.exceptval(-1, check=False)
def report_block(recorder: Recorder, limit_s: cython.double) -> cython.int:
    """One warning for the block that the watchdog saw, now that it is over."""
    block: Block
    if recorder.writer.block_count == 0:
        return 0
    take_block(cython.address(recorder.writer), cython.address(block))
    took_s: cython.double = (ticks() - block.began_ticks) / (ticks_per_us() * 1e6)
    if took_s < limit_s:
        return 0
    who = "A callback"
    if block.task:
        name = bytes(block.name[:32]).split(b"\0", 1)[0].decode("utf-8", "replace")
        who = f"Task {name or 'Task-' + str(block.task)!r}"
    lines = bytes(block.stack[: block.length]).decode("utf-8", "replace").splitlines()
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


def listen(listener: object) -> None:
    """Have ``listener(descriptor, closed)`` called after each stop of a loop, and when it is closed.

    After a stop the page holds the await stacks of the unfinished tasks; after closing it is given up.
    """
    global _listener
    _listener = listener


def _after_fork() -> None:
    # The page is the parent's, who goes on writing it; the child's own files are to have other names.
    global _record_file, _file_pages, _listener
    watch_forked()
    _spare.clear()
    _listener = None
    if _record_file:
        _record_file = f"{_record_file}.{os.getpid()}"
        _file_pages = 0


@cython.cfunc
@cython.exceptval(-1)
def ring_size() -> cython.int:
    """From GLASSLOOP_RECORDS, to the next power of two."""
    global _record_capacity
    given = os.environ.get("GLASSLOOP_RECORDS")
    if given:
        if given.isascii() and given.isdecimal() and len(given) < 10:
            _record_capacity = 1 << max(6, min(24, (int(given) - 1).bit_length()))
        else:
            logger.warning("GLASSLOOP_RECORDS=%r is no number of records", given)
    return 0


ring_size()


def _before_fork() -> None:
    watch_pauses()


os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
