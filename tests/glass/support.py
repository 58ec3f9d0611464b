"""A page written by the tests, from the same layout as the loop's: also for what no loop would ever write."""

import os
import struct
import sys
from collections.abc import Callable
from typing import Any

from glassloop.glass import layout, raw
from glassloop.glass.histogram import bucket_of
from glassloop.glass.layout import Awaited, Cause, Kind, Phase, Running, State
from glassloop.glass.page import Page

TICKS_PER_US = 1000.0  # a tick is a nanosecond
START_TICKS = 5_000_000_000
START_NS = 1_000_000_000_000
MS = 1_000_000
# The name of a function that would be a script if a web page took it for one.
EVIL = "</script><script>document.title='pwned'</script>"

MakePage = Callable[..., "SyntheticPage"]


class SyntheticPage:
    """A page in a memfd, or in a file, with setters for its parts. One tick is one nanosecond."""

    def __init__(self, fd: int, tasks: int = 64, records: int = 64) -> None:
        self.fd = fd
        self.capacities = (tasks, records)
        self.sections = layout.sections(tasks, records)
        os.ftruncate(fd, layout.page_size(tasks, records))
        self.strings = b"\0\0"
        self.sites = 1
        self.records = self.blocks = 0
        self.answer = b""  # what the loop would tell if it were asked
        self.live: dict[str, Any] = dict.fromkeys((field.name for field in layout.LIVE.fields), 0)
        self.header: dict[str, Any] = {
            "magic": layout.MAGIC,
            "version": layout.VERSION,
            "pid": os.getpid(),
            "thread_id": 1,
            "flags": 1,
            "page_size": layout.page_size(tasks, records),
            "start_ticks": START_TICKS,
            "start_ns": START_NS,
            "start_realtime_ns": 0,
            "ticks_per_us": TICKS_PER_US,
            **{name: section.offset for name, section in self.sections.items() if name != "header"},
            "task_capacity": tasks,
            "record_capacity": records,
            "block_capacity": layout.BLOCK_CAPACITY,
            "site_capacity": layout.SITE_CAPACITY,
            "strings_size": layout.STRINGS_SIZE,
            "stacks_size": layout.STACKS_SIZE,
            "slow_ms": 100,
            "python": sys.version.encode()[:63],
            "command": b"python\0app.py\0--fast",
            "thread_name": b"MainThread",
        }
        self.set_header()
        self.set_live(
            phase=Phase.RUNNING,
            running_kind=Running.NOTHING,
            step_ticks=START_TICKS,
            now_ticks=START_TICKS,
            now_ns=START_NS,
            slots_used=1,
            sites=1,
            strings=2,
        )

    def set_header(self, **changes: Any) -> None:
        self.header.update(changes)
        os.pwrite(self.fd, raw.HEADER.pack(*(self.header[field.name] for field in layout.HEADER.fields)), 0)

    def set_live(self, **changes: Any) -> None:
        self.live.update(changes)
        os.pwrite(self.fd, raw.LIVE.pack(*self.live.values()), self.sections["live"].offset)

    def at(self, ms: float) -> int:
        """The ticks so many ms after the start."""
        return START_TICKS + round(ms * 1e6)

    def add_string(self, text: str | bytes) -> int:
        encoded = text.encode() if isinstance(text, str) else text
        offset = len(self.strings)
        self.strings += len(encoded).to_bytes(2, "little") + encoded
        os.pwrite(self.fd, self.strings, self.sections["strings"].offset)
        self.set_live(strings=len(self.strings))
        return offset

    def add_site(self, name: str | bytes, file: str | bytes, line: int = 1) -> int:
        number = self.sites
        data = raw.SITE.pack(self.add_string(name), self.add_string(file), line)
        os.pwrite(self.fd, data, self.sections["sites"].offset + number * layout.SITE.size)
        self.sites += 1
        self.set_live(sites=self.sites)
        return number

    def asyncio_site(self, module: str, name: str) -> int:
        return self.add_site(name, f"/usr/lib/python3.13/asyncio/{module}.py", 100)

    def set_task(self, slot: int, task_id: int, *, name: str | bytes = "", **fields: Any) -> None:
        values = dict.fromkeys((field.name for field in layout.TASK.fields), 0)
        values |= {"sequence": 2, "state": State.WAITING, "id": task_id}
        values |= {"since_ticks": START_TICKS, "created_ticks": START_TICKS}
        values |= fields
        offset = self.sections["tasks"].offset + slot * layout.TASK.size
        os.pwrite(self.fd, raw.TASK.pack(*values.values()), offset)
        encoded = name.encode() if isinstance(name, str) else name
        name_offset = self.sections["names"].offset + slot * layout.NAME_SIZE
        os.pwrite(self.fd, encoded[: layout.NAME_SIZE].ljust(layout.NAME_SIZE, b"\0"), name_offset)
        used = max(self.live["slots_used"], slot + 1)
        self.set_live(slots_used=used, tasks=used - 1)

    def waits(self, slot: int, task_id: int, module: str, function: str, **fields: Any) -> None:
        """A task that waits at one of asyncio's own places."""
        site = self.asyncio_site(module, function)
        self.set_task(slot, task_id, site=site, awaited=Awaited.FUTURE, **fields)

    def add_record(self, *values: int) -> None:
        """In the order of the layout's fields."""
        place = self.records % self.capacities[1]
        os.pwrite(
            self.fd, raw.RECORD.pack(*values), self.sections["records"].offset + place * layout.RECORD.size
        )
        self.records += 1
        self.set_live(records=self.records)

    def step(self, task: int, start_ms: float, length_ms: float, state: State, site: int = 0) -> None:
        length = min(round(length_ms * 1e6), 2**32 - 1)
        cause = Cause.YIELDED if state is State.READY else 0
        self.add_record(self.at(start_ms), Kind.STEP, state, cause, 0, length, task, site)

    def wake(
        self,
        task: int,
        ms: float,
        by: Running = Running.TASK,
        subject: int = 0,
        cause: Cause = Cause.FUTURE_DONE,
    ) -> None:
        self.add_record(self.at(ms), Kind.WAKE, 0, cause, by, 0, task, subject)

    def call(self, start_ms: float, length_ms: float, fd: int = -1, kind: Running = Running.SOURCE) -> None:
        self.add_record(self.at(start_ms), Kind.CALL, 0, kind, 0, round(length_ms * 1e6), fd + 1, 0)

    def add_block(self, began_ms: float, seen_ms: float, stack: bytes, **fields: Any) -> None:
        values: dict[str, Any] = {
            "sequence": 2,
            "running_kind": Running.TASK,
            "task": 0,
            "began_ticks": self.at(began_ms),
            "seen_ticks": self.at(seen_ms),
            "ended": 0,
            "length": len(stack),
            "name": b"",
            "stack": stack,
        } | fields
        place = self.blocks % layout.BLOCK_CAPACITY
        os.pwrite(
            self.fd,
            raw.BLOCK.pack(*values.values()),
            self.sections["blocks"].offset + place * layout.BLOCK.size,
        )
        self.blocks += 1
        self.set_live(blocks=self.blocks)

    def count(self, histogram: str, *values: int) -> None:
        number = layout.HISTOGRAMS.index(histogram)
        for value in values:
            offset = self.sections["histograms"].offset + (number * layout.BUCKETS + bucket_of(value)) * 8
            (now,) = struct.unpack("<Q", os.pread(self.fd, 8, offset))
            os.pwrite(self.fd, struct.pack("<Q", now + 1), offset)

    def write(self, section: str, data: bytes, offset: int = 0) -> None:
        os.pwrite(self.fd, data, self.sections[section].offset + offset)

    def open(self) -> Page:
        """The page as a file whose writer is gone: its time stands still at the last thing it tells."""
        return Page(os.dup(self.fd), "synthetic")


def two_tasks(page: SyntheticPage) -> None:
    """One second: the second task is woken by a descriptor and wakes the first, which ends."""
    lock = page.asyncio_site("locks", "Lock.acquire")
    read = page.asyncio_site("streams", "StreamReader._wait_for_data")
    work = page.add_site(EVIL, "/app/main.py", 3)
    page.set_task(1, 1, name="first", state=State.DONE, coroutine=work, since_ticks=page.at(900))
    page.set_task(2, 2, name="second", site=read, awaited=1, since_ticks=page.at(410))
    page.step(1, 0, 10, State.WAITING, lock)
    page.step(2, 10, 10, State.WAITING, read)
    page.wake(2, 400.5, Running.SOURCE, 8)
    page.call(400, 1, fd=7)
    page.wake(1, 405, Running.TASK, 2)
    page.step(2, 401, 9, State.WAITING, read)
    page.step(1, 800, 100, State.DONE)
    page.set_live(phase=Phase.POLLING, now_ticks=page.at(1000), now_ns=START_NS + 1000 * MS)
