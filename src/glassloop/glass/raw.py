"""The page's structures as Python sees them: one typed tuple each, unpacked by what ``layout`` says.

The fields are named once more here, so that a type checker knows them; a test compares them with ``layout``.
"""

import struct
from typing import NamedTuple

from glassloop.glass import layout

_FORMATS = {"u64": "Q", "i64": "q", "u32": "I", "u8": "B", "f64": "d"}


class RawHeader(NamedTuple):
    """``layout.HEADER``."""

    magic: bytes
    version: int
    pid: int
    thread_id: int
    flags: int
    page_size: int
    start_ticks: int
    start_ns: int
    start_realtime_ns: int
    ticks_per_us: float
    live: int
    histograms: int
    tasks: int
    names: int
    records: int
    blocks: int
    sites: int
    strings: int
    stacks: int
    task_capacity: int
    record_capacity: int
    block_capacity: int
    site_capacity: int
    strings_size: int
    stacks_size: int
    slow_ms: int
    python: bytes
    command: bytes
    thread_name: bytes


class RawLive(NamedTuple):
    """``layout.LIVE``."""

    turns: int
    phase: int
    running_fd: int
    running_kind: int
    running_slot: int
    step_ticks: int
    steps: int
    busy_ticks: int
    idle_ticks: int
    poll_ticks: int
    now_ticks: int
    now_ns: int
    ready: int
    timers: int
    fds: int
    tasks: int
    slots_used: int
    tasks_unseen: int
    records: int
    blocks: int
    sites: int
    strings: int
    full_until: int
    stacks_wanted: int
    stacks_given: int
    stacks_length: int
    tasks_made: int
    stacks_enough: int
    stacks_first: int


class RawTask(NamedTuple):
    """``layout.TASK``."""

    sequence: int
    state: int
    cause: int
    awaited: int
    cause_kind: int
    id: int
    since_ticks: int
    subject: int
    cause_subject: int
    deadline_ns: int
    cpu_ticks: int
    created_ticks: int
    parent: int
    steps: int
    wakeups: int
    coroutine: int
    site: int
    creator: int


class RawRecord(NamedTuple):
    """``layout.RECORD``."""

    ticks: int
    kind: int
    state: int
    cause: int
    cause_kind: int
    duration: int
    task: int
    subject: int


class RawBlock(NamedTuple):
    """``layout.BLOCK``."""

    sequence: int
    running_kind: int
    task: int
    began_ticks: int
    seen_ticks: int
    ended: int
    length: int
    name: bytes
    stack: bytes


class RawSite(NamedTuple):
    """``layout.SITE``."""

    name: int
    file: int
    line: int


def packing(structure: layout.Structure) -> struct.Struct:
    """Return how to pack and unpack a structure, padding included."""
    parts = ["<"]
    end = 0
    for field, offset in zip(structure.fields, structure.offsets.values(), strict=True):
        parts.append(f"{offset - end}x" if offset > end else "")
        parts.append(f"{field.type}s" if isinstance(field.type, int) else _FORMATS[field.type])
        end = offset + field.size
    parts.append(f"{structure.size - end}x" if structure.size > end else "")
    return struct.Struct("".join(parts))


HEADER = packing(layout.HEADER)
LIVE = packing(layout.LIVE)
TASK = packing(layout.TASK)
RECORD = packing(layout.RECORD)
BLOCK = packing(layout.BLOCK)
SITE = packing(layout.SITE)
