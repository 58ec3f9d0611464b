"""The layout of a loop's page: the one description that writer, reader, documentation and tests share.

A page is shared memory (``glassloop`` in ``/proc/PID/fd``) that the loop writes, and that anybody with the
right to may read at any time. Run as a script this module prints the C header that its writer includes.
"""

from enum import IntEnum
from typing import NamedTuple

MAGIC = b"glasslp\0"
VERSION = 1

TASK_CAPACITY = 1 << 20
RECORD_CAPACITY = 1 << 14
BLOCK_CAPACITY = 64
SITE_CAPACITY = 1 << 13
STRINGS_SIZE = 1 << 20
STACKS_SIZE = 1 << 22
# Log-linear: 4 buckets for each power of two, of ticks + 4.
BUCKETS = 256

_C_TYPES = {"u64": "uint64_t", "i64": "int64_t", "u32": "uint32_t", "u8": "uint8_t", "f64": "double"}
_SIZES = {"u64": 8, "i64": 8, "u32": 4, "u8": 1, "f64": 8}


class Field(NamedTuple):
    """One field of a structure. ``type`` is u8, u32, u64, i64, f64, or a number of bytes for text."""

    name: str
    type: str | int
    meaning: str

    @property
    def size(self) -> int:
        """In bytes."""
        return self.type if isinstance(self.type, int) else _SIZES[self.type]


class Structure(NamedTuple):
    """Fields one after the other; each lies at a multiple of its own size."""

    name: str
    size: int
    fields: tuple[Field, ...]

    @property
    def offsets(self) -> dict[str, int]:
        """Where each field lies, in bytes from the structure's beginning."""
        found: dict[str, int] = {}
        offset = 0
        for field in self.fields:
            if not isinstance(field.type, int):
                offset = -(-offset // field.size) * field.size
            found[field.name] = offset
            offset += field.size
        if offset > self.size:
            raise ValueError(f"{self.name} takes {offset} bytes, more than its {self.size}")
        return found


class State(IntEnum):
    """What a task is doing."""

    READY = 0
    RUNNING = 1
    WAITING = 2
    DONE = 3


class Cause(IntEnum):
    """What made a task ready."""

    CREATED = 0
    YIELDED = 1
    FUTURE_DONE = 2
    THROWN = 3


class Phase(IntEnum):
    """What a loop is doing."""

    STOPPED = 0
    POLLING = 1
    RUNNING = 2
    CLOSED = 3


class Running(IntEnum):
    """What runs: the kinds of things in the ready queue."""

    HANDLE = 0
    TASK = 1
    SOURCE = 2
    FOREIGN = 3
    NOTHING = 4


class Awaited(IntEnum):
    """What a task awaits."""

    NOTHING = 0
    FUTURE = 1
    TASK = 2
    OTHER = 3


class Kind(IntEnum):
    """What a record tells."""

    NONE = 0
    STEP = 1
    WAKE = 2
    CALL = 3
    NAME = 4


HEADER = Structure(
    "header",
    4096,
    (
        Field("magic", 8, "`glasslp` and a zero byte"),
        Field("version", "u32", "of this layout"),
        Field("pid", "u32", "the process"),
        Field("thread_id", "u32", "the loop's thread, as the kernel numbers it"),
        Field("flags", "u32", "1: tasks are glassloop's own, and recorded"),
        Field("page_size", "u64", "bytes"),
        Field("start_ticks", "u64", "the processor's counter when the page was made"),
        Field("start_ns", "i64", "CLOCK_MONOTONIC at the same time"),
        Field("start_realtime_ns", "i64", "CLOCK_REALTIME at the same time"),
        Field("ticks_per_us", "f64", "of the counter, measured when the page was made"),
        Field("live", "u64", "where the live structure lies"),
        Field("histograms", "u64", "where the histograms lie"),
        Field("tasks", "u64", "where the task slots lie; slot 0 is unused"),
        Field("names", "u64", "where the task names lie"),
        Field("records", "u64", "where the ring of records lies"),
        Field("blocks", "u64", "where the blocks lie"),
        Field("sites", "u64", "where the sites lie; site 0 is unused"),
        Field("strings", "u64", "where the strings lie"),
        Field("stacks", "u64", "where await stacks are written when asked for"),
        Field("task_capacity", "u32", "slots"),
        Field("record_capacity", "u32", "records, a power of two"),
        Field("block_capacity", "u32", "blocks, a ring"),
        Field("site_capacity", "u32", "sites"),
        Field("strings_size", "u32", "bytes"),
        Field("stacks_size", "u32", "bytes"),
        Field("slow_ms", "u32", "a step longer than this is a block"),
        Field("python", 64, "sys.version"),
        Field("command", 1024, "the command line, words separated by zero bytes"),
        Field("thread_name", 64, "the loop's thread, as Python names it"),
    ),
)

LIVE = Structure(
    "live",
    4096,
    (
        Field("turns", "u64", "turns so far: the heartbeat"),
        Field("phase", "u32", "a Phase"),
        Field("running_fd", "u32", "the file descriptor whose events are handled, plus 1, or 0"),
        Field("running_kind", "u32", "a Running"),
        Field(
            "running_slot",
            "u32",
            "the slot of the task that runs, or 0: its own state is then the one before",
        ),
        Field(
            "step_ticks",
            "u64",
            "in full: when what runs began, or the last one ended; else when the turn began",
        ),
        Field(
            "steps", "u64", "entries of the ready queue that ran: what runs is the same as long as this is"
        ),
        Field("busy_ticks", "u64", "time spent running"),
        Field("idle_ticks", "u64", "time spent waiting for events"),
        Field("poll_ticks", "u64", "when the last wait for events began"),
        Field("now_ticks", "u64", "the counter at the last turn that waited"),
        Field("now_ns", "i64", "CLOCK_MONOTONIC at the same time"),
        Field("ready", "u32", "entries in the ready queue at the last turn"),
        Field("timers", "u32", "timers at the last turn"),
        Field("fds", "u32", "file descriptors watched at the last turn"),
        Field("tasks", "u32", "unfinished tasks that have a slot"),
        Field("slots_used", "u32", "slots that were ever used, slot 0 included"),
        Field("tasks_unseen", "u32", "tasks for which there was no slot"),
        Field("records", "u64", "records written so far"),
        Field("blocks", "u64", "blocks written so far"),
        Field("sites", "u32", "sites used, site 0 included"),
        Field("strings", "u32", "bytes of strings used"),
        Field("full_until", "u64", "a reader sets it: until then, in ticks, each step is timed and recorded"),
        Field("stacks_wanted", "u64", "a reader adds 1 to ask for the await stacks"),
        Field("stacks_given", "u64", "the request that the stacks answer; 0 while they are written"),
        Field("stacks_length", "u64", "bytes of the answer; more than 0 once it has begun"),
        Field("tasks_made", "u64", "tasks that were given a slot so far"),
        Field("stacks_enough", "u64", "a reader sets it to its request: tell no more, end the answer"),
        Field("stacks_first", "u64", "the task of which to tell first, set by a reader before it asks; or 0"),
    ),
)

HISTOGRAMS = ("step", "delay", "batch")

TASK = Structure(
    "task",
    96,
    (
        Field("sequence", "u32", "odd while the slot is written"),
        Field("state", "u8", "a State"),
        Field("cause", "u8", "the Cause that made it ready last"),
        Field("awaited", "u8", "an Awaited: what it waits for"),
        Field("cause_kind", "u8", "the Running that woke it"),
        Field("id", "u64", "of the task; 0: the slot is free"),
        Field("since_ticks", "u64", "when it came into its state"),
        Field("subject", "u64", "the task that it awaits, or 0"),
        Field("cause_subject", "u64", "the task that woke it, or the file descriptor plus 1"),
        Field("deadline_ns", "i64", "when a sleep ends, CLOCK_MONOTONIC; 0: unknown"),
        Field("cpu_ticks", "u64", "time spent running: measured in full, else sampled by the watchdog"),
        Field("created_ticks", "u64", "when it was made"),
        Field("parent", "u64", "the task that made it, or 0"),
        Field("steps", "u32", "how often it ran"),
        Field("wakeups", "u32", "how often it was woken"),
        Field("coroutine", "u32", "site of the coroutine's function"),
        Field("site", "u32", "site of the function that made the future that it awaits"),
        Field("creator", "u32", "site of the function that made the task"),
    ),
)

NAME_SIZE = 32

RECORD = Structure(
    "record",
    32,
    (
        Field("ticks", "u64", "when it began"),
        Field("kind", "u8", "a Kind"),
        Field("state", "u8", "STEP: the State after it"),
        Field("cause", "u8", "WAKE: the Cause; CALL: the Running"),
        Field("cause_kind", "u8", "WAKE: the Running that woke it"),
        Field("duration", "u32", "ticks; at most 2**32 - 1"),
        Field("task", "u64", "STEP, WAKE: the task; CALL: the file descriptor plus 1"),
        Field(
            "subject", "u64", "STEP: the site it waits at; WAKE: the task or descriptor plus 1 that woke it"
        ),
    ),
)

BLOCK = Structure(
    "block",
    8192,
    (
        Field("sequence", "u32", "odd while the block is written"),
        Field("running_kind", "u32", "the Running that blocked"),
        Field("task", "u64", "the task that blocked, or 0"),
        Field("began_ticks", "u64", "when the step began"),
        Field("seen_ticks", "u64", "when the watchdog last looked, or the step ended"),
        Field("ended", "u32", "1: the step is over"),
        Field("length", "u32", "bytes of the stack"),
        Field("name", 64, "the task's name"),
        Field(
            "stack", 8064, "the Python stack, innermost first: lines of file, line, function, tab-separated"
        ),
    ),
)

SITE = Structure(
    "site",
    12,
    (
        Field("name", "u32", "where the qualified name lies in the strings"),
        Field("file", "u32", "where the file name lies in the strings"),
        Field("line", "u32", "the first line of the function"),
    ),
)

STRUCTURES = (HEADER, LIVE, TASK, RECORD, BLOCK, SITE)


class Section(NamedTuple):
    """A part of the page: where it lies and how long it is, in bytes."""

    name: str
    offset: int
    size: int


def sections(
    task_capacity: int = TASK_CAPACITY, record_capacity: int = RECORD_CAPACITY
) -> dict[str, Section]:
    """Return where everything lies in a page of this size; each section begins at a multiple of 4096."""
    sizes = {
        "header": HEADER.size,
        "live": LIVE.size,
        "histograms": len(HISTOGRAMS) * BUCKETS * 8,
        "sites": SITE_CAPACITY * SITE.size,
        "strings": STRINGS_SIZE,
        "blocks": BLOCK_CAPACITY * BLOCK.size,
        "stacks": STACKS_SIZE,
        "tasks": task_capacity * TASK.size,
        "names": task_capacity * NAME_SIZE,
        "records": record_capacity * RECORD.size,  # last: it has the size that was asked for
    }
    found: dict[str, Section] = {}
    offset = 0
    for name, size in sizes.items():
        found[name] = Section(name, offset, size)
        offset += -(-size // 4096) * 4096
    return found


def page_size(task_capacity: int = TASK_CAPACITY, record_capacity: int = RECORD_CAPACITY) -> int:
    """Return the size of such a page, in bytes."""
    last = sections(task_capacity, record_capacity)["records"]
    return last.offset + -(-last.size // 4096) * 4096


def c_header() -> str:
    """Return the C declarations of all this."""
    lines = [
        "/* Made from glass/layout.py: the page that a loop shares with its readers. */",
        "#ifndef GLASSLOOP_PAGE_H",
        "#define GLASSLOOP_PAGE_H",
        "#include <stddef.h>",
        "#include <stdint.h>",
        f"#define GLASSLOOP_PAGE_VERSION {VERSION}",
        '#define GLASSLOOP_PAGE_MAGIC "glasslp"',
        f"#define GLASSLOOP_BUCKETS {BUCKETS}",
        f"#define GLASSLOOP_NAME_SIZE {NAME_SIZE}",
        f"#define GLASSLOOP_TASK_CAPACITY {TASK_CAPACITY}",
        f"#define GLASSLOOP_RECORD_CAPACITY {RECORD_CAPACITY}",
        f"#define GLASSLOOP_BLOCK_CAPACITY {BLOCK_CAPACITY}",
        f"#define GLASSLOOP_SITE_CAPACITY {SITE_CAPACITY}",
        f"#define GLASSLOOP_STRINGS_SIZE {STRINGS_SIZE}",
        f"#define GLASSLOOP_STACKS_SIZE {STACKS_SIZE}",
        f"#define GLASSLOOP_PAGE_SIZE {page_size()}",
    ]
    lines += (f"#define GLASSLOOP_{part.name.upper()}_OFFSET {part.offset}" for part in sections().values())
    lines += (
        f"#define GLASSLOOP_HISTOGRAM_{name.upper()} {number}" for number, name in enumerate(HISTOGRAMS)
    )
    for enumeration in (Kind, Phase, Running, Awaited):
        prefix = f"GLASSLOOP_{enumeration.__name__.upper()}"
        lines += (f"#define {prefix}_{member.name} {member.value}" for member in enumeration)
    for structure in STRUCTURES:
        name = f"Glassloop{structure.name.capitalize()}"
        lines.append("typedef struct {")
        for field in structure.fields:
            if isinstance(field.type, int):
                lines.append(f"    char {field.name}[{field.type}];")
            else:
                lines.append(f"    {_C_TYPES[field.type]} {field.name};")
        last = structure.fields[-1]
        if (end := structure.offsets[last.name] + last.size) < structure.size:
            lines.append(f"    char padding[{structure.size - end}];")
        lines.append(f"}} {name};")
        lines.append(f'_Static_assert(sizeof({name}) == {structure.size}, "{structure.name}");')
        for field_name, offset in structure.offsets.items():
            lines.append(f'_Static_assert(offsetof({name}, {field_name}) == {offset}, "{field_name}");')
    lines.append("#endif")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(c_header(), end="")
