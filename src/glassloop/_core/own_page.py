"""A loop's own page, for the process that writes it: what a reader outside must work for is at hand here.

Everything may be called from any thread: it reads memory that the loop writes, and never waits for the loop.
Whoever holds a recorder holds its page; it is the loop's as long as ``recorder_of`` says so.
"""

import cython
from cython.cimports.glassloop._core.recorder import Recorder
from cython.cimports.glassloop._core.scheduler import Scheduler
from cython.cimports.libc.stdint import uint32_t, uint64_t
from cython.cimports.libc.string import memcmp, memcpy

from glassloop._core.scheduler import Scheduler

# More than the fields of the page's live structure take.
LIVE_BYTES = cython.declare(cython.int, 512)
MOST_TRIES = cython.declare(cython.int, 1000)
TASK_STATES = cython.declare(cython.int, 4)


def recorder_of(scheduler: Scheduler) -> object:
    """Return the recorder of a loop; None if it has no page: not yet, no more, or none is to be had."""
    return scheduler.recorder


def page_was_refused(scheduler: Scheduler) -> bool:
    """Whether the loop looked for a page and got none: they are turned off, or the system has no room."""
    return scheduler.recorder is None and scheduler.recorder_tried and not scheduler._closed


def page_fd(recorder: Recorder) -> int:
    """Return the page's file descriptor. It is the recorder's: duplicate it to keep it."""
    return recorder.writer.fd


def live_bytes(recorder: Recorder) -> bytes:
    """Return the beginning of the page's live structure as it was at one moment."""
    seen: cython.char[512]
    again: cython.char[512]
    live: cython.p_char = cython.cast(cython.p_char, recorder.writer.live)
    memcpy(seen, live, LIVE_BYTES)
    for _ in range(MOST_TRIES):
        fence()
        memcpy(again, live, LIVE_BYTES)
        if memcmp(seen, again, LIVE_BYTES) == 0:
            break
        memcpy(seen, again, LIVE_BYTES)
    return seen[:LIVE_BYTES]


def count_states(recorder: Recorder) -> tuple:
    """Return how many of the page's tasks are READY, RUNNING, WAITING and DONE, without the GIL."""
    counts: uint64_t[4]
    tasks: cython.pointer(SeenTask) = cython.cast(cython.pointer(SeenTask), recorder.writer.tasks)
    running: uint32_t = recorder.writer.running_slot
    slot: uint32_t
    state: cython.uint
    counts[0] = counts[1] = counts[2] = counts[3] = 0
    used: uint32_t = recorder.writer.used_slots
    with cython.nogil:
        for slot in range(1, used):
            if tasks[slot].id != 0:
                # The slot of what runs tells the state before.
                state = 1 if slot == running else tasks[slot].state
                if state < cython.cast(cython.uint, TASK_STATES):
                    counts[state] += 1
    return counts[0], counts[1], counts[2], counts[3]
