"""A page's bytes: checked once as a whole, then copied part by part.

Everything here distrusts the page. It is read with pread(2), not through a mapping: a file that is cut short
meanwhile then gives a clear error, where touching a mapping would kill the reader with SIGBUS. (Only a memfd
whose size is sealed is mapped as well, for what changes too quickly.) No offset or
count is used before it was compared with the layout and with what the file really holds.
"""

import fcntl
import mmap
import os
import struct
from collections import deque
from types import TracebackType
from typing import NamedTuple, Self

from glassloop.glass import layout, raw
from glassloop.glass.errors import BadPageError
from glassloop.glass.raw import RawBlock, RawHeader, RawLive

# How often something that is being written is read again before the reader goes without it.
TRIES = 16
# Slots that are copied at once.
_CHUNK = 4096
_GREATEST_CAPACITY = 1 << 24
_MOST_TRIES = 1 << 16
_TASK_SIZE = layout.TASK.size
_ID_OFFSET = layout.TASK.offsets["id"]


class SlotCopies(NamedTuple):
    """Slots that hold a task, one after the other, each copied whole."""

    numbers: list[int]  # of the slots
    slots: bytes  # ``layout.TASK`` of each
    names: bytes  # ``layout.NAME_SIZE`` bytes of each


class Page:
    """A loop's page, open for reading. Use it as a context manager, or close it."""

    def __init__(self, fd: int, name: str, *, pid: int | None = None, writable: bool = False) -> None:
        """Take over a file descriptor; raise BadPageError, and close it, if it is no page of this version.

        ``pid`` is the process through which it was found, as this machine numbers it; None: a file.
        """
        self.fd = fd
        self.name = name
        self.found_pid = pid
        self.writable = writable
        try:
            self.header = self._check()
            self._mapping = self._map()
        except BaseException:
            os.close(fd)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file. Doing it twice does no harm."""
        if self.fd >= 0:
            if self._mapping is not None:
                self._mapping.close()
            os.close(self.fd)
            self.fd = -1

    @property
    def pid(self) -> int:
        """The process: as this machine numbers it where that is known, else as it numbered itself."""
        return self.header.pid if self.found_pid is None else self.found_pid

    def read(self, offset: int, size: int) -> bytes:
        """Return so many bytes, or raise BadPageError where the file ends before."""
        parts = []
        while size > 0:
            try:
                part = os.pread(self.fd, size, offset)
            except OSError as error:
                raise BadPageError(f"{self.name}: cannot read the page: {error.strerror}") from error
            if not part:
                raise BadPageError(f"{self.name}: the page is cut short: it ends at byte {offset}")
            parts.append(part)
            offset += len(part)
            size -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _check(self) -> RawHeader:
        if os.pread(self.fd, len(layout.MAGIC), 0) != layout.MAGIC:
            raise BadPageError(f"{self.name} is no page of a loop: it does not begin as one")
        header = RawHeader._make(raw.HEADER.unpack(self.read(0, layout.HEADER.size)))
        if header.version != layout.VERSION:
            raise BadPageError(
                f"{self.name} has page version {header.version}, this glassloop reads version "
                f"{layout.VERSION}: use the glassloop that the program uses"
            )
        tasks, records = header.task_capacity, header.record_capacity
        if not 2 <= tasks <= _GREATEST_CAPACITY:
            raise self._damaged(f"{tasks} task slots")
        if not 2 <= records <= _GREATEST_CAPACITY or records & (records - 1):
            raise self._damaged(f"{records} records, which must be a power of two")
        self.sections = layout.sections(tasks, records)
        for name, section in self.sections.items():
            if name != "header" and getattr(header, name) != section.offset:
                raise self._damaged(f"{name} at byte {getattr(header, name)} instead of {section.offset}")
        for name, expected in (
            ("block_capacity", layout.BLOCK_CAPACITY),
            ("site_capacity", layout.SITE_CAPACITY),
            ("strings_size", layout.STRINGS_SIZE),
            ("stacks_size", layout.STACKS_SIZE),
            ("page_size", layout.page_size(tasks, records)),
        ):
            if getattr(header, name) != expected:
                raise self._damaged(f"{name} {getattr(header, name)} instead of {expected}")
        real = os.fstat(self.fd).st_size
        if real < header.page_size:
            raise BadPageError(f"{self.name}: the page is cut short: {real} bytes of {header.page_size}")
        return header

    def _map(self) -> mmap.mmap | None:
        """Map the page if nobody can cut it short any more, as a loop's own memfd is sealed."""
        try:
            seals = fcntl.fcntl(self.fd, fcntl.F_GET_SEALS)
        except OSError:
            return None  # an ordinary file
        if not seals & fcntl.F_SEAL_SHRINK:
            return None
        return mmap.mmap(self.fd, self.header.page_size, prot=mmap.PROT_READ)

    def _damaged(self, what: str) -> BadPageError:
        return BadPageError(f"{self.name}: the page is damaged: {what}")

    def live(self) -> RawLive:
        """Return the live structure. What runs, and the pair of clock readings, are from one moment each."""
        offset = self.sections["live"].offset
        latest = RawLive._make(raw.LIVE.unpack(self.read(offset, layout.LIVE.size)))
        for _ in range(TRIES):
            earlier = latest
            latest = RawLive._make(raw.LIVE.unpack(self.read(offset, layout.LIVE.size)))
            if (
                earlier.step_ticks == latest.step_ticks
                and earlier.running_slot == latest.running_slot
                and earlier.running_kind == latest.running_kind
                and earlier.now_ticks == latest.now_ticks
                and earlier.now_ns == latest.now_ns
            ):
                break
        if latest.slots_used > self.header.task_capacity:
            raise self._damaged(f"{latest.slots_used} slots used of {self.header.task_capacity}")
        if latest.sites > layout.SITE_CAPACITY or latest.strings > layout.STRINGS_SIZE:
            raise self._damaged(f"{latest.sites} sites and {latest.strings} bytes of strings")
        return latest

    def histogram_counts(self) -> tuple[int, ...]:
        """Return the counts of all histograms, one after the other."""
        section = self.sections["histograms"]
        return struct.unpack(f"<{section.size // 8}Q", self.read(section.offset, section.size))

    def copy_tasks(self, slots_used: int) -> "SlotCopies":
        """Copy each slot that holds a task; what stays half-written is left out.

        A slot is good if its sequence was the same, and even, before and after it was copied. To see that,
        many slots at once are copied three times: sequences are compared between the first and the last copy,
        data come from the middle one. Each copy is a system call of its own, which no processor reorders.
        """
        again: deque[int] = deque()
        numbers: list[int] = []
        slots: list[bytes] = []
        names: list[bytes] = []
        for first in range(1, slots_used, _CHUNK):
            count = min(_CHUNK, slots_used - first)
            some_slots, some_names, torn = self._copy_slots(first, count)
            again.extend(first + index for index in torn)
            ids = memoryview(some_slots).cast("Q")[_ID_OFFSET // 8 :: _TASK_SIZE // 8].tolist()
            if torn or 0 in ids:
                leave_out = set(torn)
                kept = [index for index, number in enumerate(ids) if number and index not in leave_out]
                numbers.extend(first + index for index in kept)
                slots.extend(some_slots[i * _TASK_SIZE : (i + 1) * _TASK_SIZE] for i in kept)
                names.extend(some_names[i * layout.NAME_SIZE : (i + 1) * layout.NAME_SIZE] for i in kept)
            else:
                numbers.extend(range(first, first + count))
                slots.append(some_slots)
                names.append(some_names)
        # A page in which every slot is forever half-written must not keep the reader for ever.
        for _ in range(min(TRIES * len(again), _MOST_TRIES)):
            if not again:
                break
            number = again.popleft()
            copied = self._copy_slot(number)
            if copied is None:
                again.append(number)
            elif any(copied[0][_ID_OFFSET : _ID_OFFSET + 8]):
                numbers.append(number)
                slots.append(copied[0])
                names.append(copied[1])
        return SlotCopies(numbers, b"".join(slots), b"".join(names))

    def _copy_slot(self, number: int) -> tuple[bytes, bytes] | None:
        """Return one (slot, name); None if it was written meanwhile.

        A task that only yields writes its slot every few hundred ns, quicker than three system calls.
        Where the mapping is safe, the same three copies take a third of that.
        """
        start = self.sections["tasks"].offset + number * layout.TASK.size
        name_start = self.sections["names"].offset + number * layout.NAME_SIZE
        mapping = self._mapping
        if mapping is None:
            slots, names, torn = self._copy_slots(number, 1)
            return None if torn else (slots, names)
        for _ in range(TRIES):
            before = mapping[start : start + 4]
            slot = mapping[start : start + layout.TASK.size]
            if mapping[start : start + 4] == before and not before[0] & 1:
                return slot, mapping[name_start : name_start + layout.NAME_SIZE]
        return None

    def _copy_slots(self, first: int, count: int) -> tuple[bytes, bytes, list[int]]:
        """Return (slots, names, indexes of those that were written meanwhile)."""
        offset = self.sections["tasks"].offset + first * layout.TASK.size
        name_offset = self.sections["names"].offset + first * layout.NAME_SIZE
        size = count * layout.TASK.size
        before = _sequences(self.read(offset, size))
        slots = self.read(offset, size)
        names = self.read(name_offset, count * layout.NAME_SIZE)
        after = _sequences(self.read(offset, size))
        if before == after and not any(sequence & 1 for sequence in set(after)):
            return slots, names, []
        pairs = enumerate(zip(before, after, strict=True))
        return slots, names, [index for index, (then, now) in pairs if then != now or now & 1]

    def records(self, since: int = 0) -> tuple[int, bytes, int]:
        """Return (number of the first, bytes, number after the last) of the records from number ``since`` on.

        Those that were overwritten, or may have been while they were copied, are not among them.
        """
        section = self.sections["records"]
        capacity, size = self.header.record_capacity, layout.RECORD.size
        end = self._counter("records")
        first = max(since, end - capacity, 0)
        if end <= first:
            return end, b"", end
        low, high = first % capacity, end % capacity
        if low < high:
            data = self.read(section.offset + low * size, (high - low) * size)
        else:
            data = self.read(section.offset + low * size, (capacity - low) * size)
            data += self.read(section.offset, high * size) if high else b""
        # The record that is being written is not counted yet: hence the 1.
        lost = min(max(0, self._counter("records") + 1 - capacity - first), end - first)
        return first + lost, data[lost * size :], end

    def _counter(self, field: str) -> int:
        offset = self.sections["live"].offset + layout.LIVE.offsets[field]
        return int.from_bytes(self.read(offset, 8), "little")

    def blocks(self, newest: int = layout.BLOCK_CAPACITY) -> list[tuple[int, RawBlock]]:
        """Return (number, block) of at most so many blocks, the newest first."""
        written = self._counter("blocks")
        found = []
        for number in range(written - 1, max(written - min(newest, layout.BLOCK_CAPACITY), 0) - 1, -1):
            offset = self.sections["blocks"].offset + number % layout.BLOCK_CAPACITY * layout.BLOCK.size
            for _ in range(TRIES):
                before = int.from_bytes(self.read(offset, 4), "little")
                block = RawBlock._make(raw.BLOCK.unpack(self.read(offset, layout.BLOCK.size)))
                after = int.from_bytes(self.read(offset, 4), "little")
                if before == after and not after & 1:
                    found.append((number, block))
                    break
        return found

    def ask_for_stacks(self, first: int = 0) -> int:
        """Ask the loop for its tasks' await stacks, of one first of all; return the number of the request."""
        request = (self._counter("stacks_wanted") + 1) & (2**64 - 1)
        self._set("stacks_first", first)
        self._set("stacks_wanted", request)
        return request

    def end_stacks(self, request: int) -> None:
        """Have the loop end its answer with what it has told by now."""
        self._set("stacks_enough", request)

    def _set(self, field: str, value: int) -> None:
        offset = self.sections["live"].offset + layout.LIVE.offsets[field]
        os.pwrite(self.fd, value.to_bytes(8, "little"), offset)

    def ask_for_records(self, until_ticks: int) -> bool:
        """Ask the loop to time and record each step until then; say whether that was possible."""
        if not self.writable:
            return False
        if self._counter("full_until") < until_ticks:
            self._set("full_until", until_ticks)
        return True

    def given_stacks(self) -> tuple[int, int]:
        """Return (number of the request that was answered last, bytes of the answer)."""
        given, length = self._counter("stacks_given"), self._counter("stacks_length")
        if length > layout.STACKS_SIZE:
            raise self._damaged(f"{length} bytes of await stacks")
        return given, length


def _sequences(slots: bytes) -> list[int]:
    """Return the first word of each slot."""
    return memoryview(slots).cast("I")[:: layout.TASK.size // 4].tolist()
