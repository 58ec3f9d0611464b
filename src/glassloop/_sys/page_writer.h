/* The writer of a loop's page: what it costs at each switch of a task is here, inline.
 *
 * One writer, the loop's thread, and no locks: a slot's sequence is odd while it is written. What the writer itself
 * relies on lies in its own memory, not in the page, which others may write. Times are ticks of the processor's
 * counter. To read it costs as much as all else here: it is read once a turn, and at each step only while somebody
 * wants a step's length (full_until). See docs/decisions/0011.
 */
#ifndef GLASSLOOP_PAGE_WRITER_H
#define GLASSLOOP_PAGE_WRITER_H

#include <Python.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>

#include "clock.h"
#include "page.h"

typedef struct {
    char *base;               /* NULL: no page */
    int fd;
    size_t size;              /* bytes mapped */
    GlassloopLive *live;
    GlassloopTask *tasks;
    GlassloopRecord *records;
    uint64_t *histograms;
    uint64_t boundary;        /* when the last entry ended */
    uint64_t record_count, steps, turns, idle_ticks, busy_ticks, made;
    uint64_t running_task;    /* its id, or 0 */
    uint32_t running_slot, running_kind, running_fd;
    uint32_t *free_slots;     /* of tasks that are done */
    uint32_t free_count, free_capacity, used_slots, unfinished, unseen;
    uint32_t record_mask;     /* the ring's size, a power of two, minus 1 */
    uint32_t slots_reserved;  /* slots that have memory: of a file not all, see glassloop_reserve_slots */
    PyThreadState *thread;    /* that runs the loop, or NULL */
    int wake_fd;              /* an eventfd that ends the loop's wait, or -1 */
    int unwatched;            /* the watchdog was stopped for a fork */
    int full;                 /* each step is timed and recorded */
    volatile int blocked;     /* the watchdog has written a block for the step that runs */
    uint64_t slow_ticks;
    uint64_t stacks_given;    /* the request for await stacks that was answered last */
    uint64_t block_count;     /* the watchdog's */
    uint64_t block_step;      /* the step that the last block is about, by its number */
    uint64_t seen_steps, seen_ticks, looked_ticks; /* the watchdog's: the step it saw, its beginning, its last look */
    GlassloopBlock block;     /* the last block, to be logged; under the watchdog's lock */
} GlassloopWriter;

#define GLASSLOOP_SLOTS_AT_ONCE 4096
#define GLASSLOOP_BARRIER() __atomic_thread_fence(__ATOMIC_RELEASE)

/* 4 buckets for each power of two, counted from 4 on: so 0 to 3 have a bucket each. */
static inline void glassloop_count(GlassloopWriter *writer, int histogram, uint64_t ticks) {
    unsigned power;
    ticks += 4;
    power = 63 - (unsigned)__builtin_clzll(ticks | 4); /* | 4: the sum may have overflowed */
    writer->histograms[histogram * GLASSLOOP_BUCKETS + (power << 2) + ((ticks >> (power - 2)) & 3)]++;
}

static inline void glassloop_record(GlassloopWriter *writer, uint64_t ticks, uint32_t what, uint64_t duration,
                                    uint64_t task, uint64_t subject) {
    GlassloopRecord *record = &writer->records[writer->record_count & writer->record_mask];
    record->ticks = ticks;
    memcpy(&record->kind, &what, 4); /* kind, state, cause, kind of the cause */
    record->duration = duration > UINT32_MAX ? UINT32_MAX : (uint32_t)duration;
    record->task = task;
    record->subject = subject;
    GLASSLOOP_BARRIER();
    __atomic_store_n(&writer->live->records, ++writer->record_count, __ATOMIC_RELAXED);
}

static inline void glassloop_begin_slot(GlassloopTask *slot) {
    __atomic_store_n(&slot->sequence, slot->sequence + 1, __ATOMIC_RELAXED);
    GLASSLOOP_BARRIER();
}

static inline void glassloop_end_slot(GlassloopTask *slot) {
    GLASSLOOP_BARRIER();
    __atomic_store_n(&slot->sequence, slot->sequence + 1, __ATOMIC_RELAXED);
}

static inline void glassloop_show_running(GlassloopWriter *writer, uint32_t kind, uint32_t slot) {
    uint64_t both = (uint64_t)slot << 32 | kind; /* running_kind and running_slot lie side by side */
    __atomic_store_n((uint64_t *)&writer->live->running_kind, both, __ATOMIC_RELAXED);
    writer->running_kind = kind;
    writer->running_slot = slot;
}

/* ---- tasks ---- */

/* A page in a file grows with its tasks. To write what the disk has no room for would be SIGBUS, and the program's end:
 * so room is reserved before, and a task for which there is none is not shown. */
static __attribute__((noinline, unused)) int glassloop_reserve_slots(GlassloopWriter *writer) {
    off_t first = writer->slots_reserved, count = GLASSLOOP_SLOTS_AT_ONCE, name = GLASSLOOP_NAME_SIZE;
    off_t slot = sizeof(GlassloopTask);
    int error;
    if (first + count > GLASSLOOP_TASK_CAPACITY) return 0;
    error = posix_fallocate(writer->fd, GLASSLOOP_TASKS_OFFSET + first * slot, count * slot);
    if (error == 0) error = posix_fallocate(writer->fd, GLASSLOOP_NAMES_OFFSET + first * name, count * name);
    if (error != 0 && error != EOPNOTSUPP && error != EINVAL) return 0; /* those two: this file system cannot reserve */
    writer->slots_reserved += (uint32_t)count;
    return 1;
}

/* A slot for a new task, or 0. */
static inline uint32_t glassloop_task_made(GlassloopWriter *writer, uint64_t id, uint32_t coroutine, uint32_t creator) {
    uint32_t number;
    GlassloopTask *slot;
    uint64_t now = writer->full || writer->thread == NULL ? glassloop_ticks() : writer->boundary;
    if (writer->free_count > 0) {
        number = writer->free_slots[--writer->free_count];
    } else if (writer->used_slots < writer->slots_reserved || glassloop_reserve_slots(writer)) {
        number = writer->used_slots++;
        writer->live->slots_used = writer->used_slots;
    } else {
        writer->live->tasks_unseen = ++writer->unseen;
        return 0;
    }
    slot = &writer->tasks[number];
    glassloop_begin_slot(slot);
    memset((char *)slot + sizeof(slot->sequence), 0, sizeof(*slot) - sizeof(slot->sequence));
    slot->id = id;
    slot->since_ticks = slot->created_ticks = now;
    slot->parent = writer->running_task;
    slot->cause_kind = (uint8_t)writer->running_kind;
    slot->cause_subject = writer->running_task;
    slot->coroutine = coroutine;
    slot->creator = creator;
    glassloop_end_slot(slot);
    writer->live->tasks = ++writer->unfinished;
    writer->live->tasks_made = ++writer->made;
    return number;
}

static inline void glassloop_task_gone(GlassloopWriter *writer, uint32_t number) {
    GlassloopTask *slot = &writer->tasks[number];
    glassloop_begin_slot(slot);
    slot->id = 0;
    glassloop_end_slot(slot);
    writer->live->tasks = --writer->unfinished;
    if (writer->free_count == writer->free_capacity) {
        uint32_t capacity = writer->free_capacity ? 2 * writer->free_capacity : 64;
        uint32_t *wider = PyMem_RawRealloc(writer->free_slots, capacity * sizeof(uint32_t));
        if (wider == NULL) return; /* the slot is lost, the task is not */
        writer->free_slots = wider;
        writer->free_capacity = capacity;
    }
    writer->free_slots[writer->free_count++] = number;
}

static inline void glassloop_task_woken(GlassloopWriter *writer, uint32_t number, uint8_t cause) {
    GlassloopTask *slot = &writer->tasks[number];
    uint64_t now = writer->full ? glassloop_ticks() : writer->boundary;
    uint64_t subject = writer->running_kind == GLASSLOOP_RUNNING_TASK ? writer->running_task : writer->running_fd;
    uint32_t what = (uint32_t)cause << 8 | writer->running_kind << 24; /* READY, awaits nothing */
    glassloop_begin_slot(slot);
    memcpy(&slot->state, &what, 4);
    slot->since_ticks = now;
    slot->cause_subject = subject;
    slot->wakeups++;
    glassloop_end_slot(slot);
    if (!writer->full) return;
    glassloop_record(writer, now, GLASSLOOP_KIND_WAKE | (uint32_t)cause << 16 | writer->running_kind << 24, 0, slot->id,
                     subject);
}

/* What runs inside what: a task that starts another eagerly, a callback that steps a task. */
typedef struct {
    uint64_t task;
    uint32_t slot, kind;
} GlassloopOuter;

static inline void glassloop_step_begins(GlassloopWriter *writer, GlassloopOuter *outer, uint64_t id, uint32_t number) {
    outer->task = writer->running_task;
    outer->slot = writer->running_slot;
    outer->kind = writer->running_kind;
    if (writer->full) {
        if (outer->slot != 0) { /* what it has used so far is its own */
            uint64_t now = glassloop_ticks();
            writer->tasks[outer->slot].cpu_ticks += now - writer->boundary;
            writer->boundary = now;
        } else if (number != 0) {
            uint64_t since = writer->tasks[number].since_ticks;
            if (since < writer->boundary) glassloop_count(writer, GLASSLOOP_HISTOGRAM_DELAY, writer->boundary - since);
        }
    }
    writer->running_task = id;
    glassloop_show_running(writer, GLASSLOOP_RUNNING_TASK, number);
}

/* What an end of a step costs only where each step is timed: at once by the clock, else by the beginning of the turn. */
static inline uint64_t glassloop_time_step(GlassloopWriter *writer, uint32_t what, uint64_t site) {
    uint64_t began = writer->boundary, now, took;
    if (!writer->full) return began;
    now = glassloop_ticks();
    took = now - began;
    writer->tasks[writer->running_slot].cpu_ticks += took; /* slot 0 is nobody's */
    glassloop_record(writer, began, GLASSLOOP_KIND_STEP | (what & 0xff) << 8 | (what & 0xff00) << 8, took,
                     writer->running_task, site);
    glassloop_count(writer, GLASSLOOP_HISTOGRAM_STEP, took);
    writer->boundary = now;
    writer->live->step_ticks = now;
    return now;
}

static inline void glassloop_step_left(GlassloopWriter *writer, GlassloopOuter *outer) {
    __atomic_store_n(&writer->live->steps, ++writer->steps, __ATOMIC_RELAXED);
    writer->running_task = outer->task;
    glassloop_show_running(writer, outer->kind, outer->slot);
}

static inline void glassloop_step_ended(GlassloopWriter *writer, GlassloopOuter *outer, uint8_t state, uint8_t cause,
                                        uint8_t awaited, uint64_t subject, uint32_t site, int64_t deadline_ns) {
    uint32_t what = (uint32_t)state | (uint32_t)cause << 8;
    uint64_t now = glassloop_time_step(writer, what, site);
    GlassloopTask *slot = &writer->tasks[writer->running_slot];
    glassloop_begin_slot(slot);
    memcpy(&slot->state, &what, 2); /* who woke it, if anybody did, is still true */
    slot->awaited = awaited;
    slot->since_ticks = now;
    slot->steps++;
    slot->subject = subject;
    slot->site = site;
    slot->deadline_ns = deadline_ns;
    glassloop_end_slot(slot);
    glassloop_step_left(writer, outer);
}

/* The same for the end of the task: its slot is about to be given back. */
static inline void glassloop_step_finished(GlassloopWriter *writer, GlassloopOuter *outer, uint32_t state, uint32_t cause) {
    glassloop_time_step(writer, state | cause << 8, 0);
    glassloop_step_left(writer, outer);
}

/* The same for the commonest end, kept short: the task gave way with a bare yield, and awaits nothing. */
static inline void glassloop_step_yielded(GlassloopWriter *writer, GlassloopOuter *outer, uint32_t cause) {
    uint32_t what = cause << 8 | (uint32_t)GLASSLOOP_RUNNING_TASK << 24;
    uint64_t now = glassloop_time_step(writer, what, 0);
    GlassloopTask *slot = &writer->tasks[writer->running_slot];
    glassloop_begin_slot(slot);
    memcpy(&slot->state, &what, 4);
    slot->since_ticks = now;
    slot->steps++;
    glassloop_end_slot(slot);
    glassloop_step_left(writer, outer);
}

/* ---- callbacks and sources ---- */

static inline void glassloop_call_begins(GlassloopWriter *writer, uint32_t kind, uint32_t fd_plus_1) {
    writer->live->running_fd = writer->running_fd = fd_plus_1;
    glassloop_show_running(writer, kind, 0);
}

/* What a callback costs where it is not timed. */
static inline void glassloop_call_entered(GlassloopWriter *writer) {
    glassloop_show_running(writer, GLASSLOOP_RUNNING_HANDLE, 0);
}

static inline void glassloop_call_left(GlassloopWriter *writer) {
    writer->running_kind = GLASSLOOP_RUNNING_NOTHING; /* the page keeps it until something else runs, or nothing */
    __atomic_store_n(&writer->live->steps, ++writer->steps, __ATOMIC_RELAXED);
}

static inline void glassloop_call_ended(GlassloopWriter *writer, uint32_t kind) {
    if (writer->full) {
        uint64_t now = glassloop_ticks(), took = now - writer->boundary;
        glassloop_record(writer, writer->boundary, GLASSLOOP_KIND_CALL | kind << 16, took, writer->running_fd, 0);
        glassloop_count(writer, GLASSLOOP_HISTOGRAM_STEP, took);
        writer->boundary = now;
        writer->live->step_ticks = now;
    }
    writer->running_fd = 0;
    __atomic_store_n(&writer->live->steps, ++writer->steps, __ATOMIC_RELAXED);
    glassloop_show_running(writer, GLASSLOOP_RUNNING_NOTHING, 0);
}

/* ---- turns ---- */

static inline void glassloop_batch_begins(GlassloopWriter *writer, size_t ready, size_t timers) {
    /* The clock was read for this turn, by whoever polled or found that it need not. */
    writer->full = writer->boundary < writer->live->full_until;
    writer->live->step_ticks = writer->boundary;
    writer->live->ready = (uint32_t)ready;
    writer->live->timers = (uint32_t)timers;
    writer->live->turns = ++writer->turns;
    glassloop_count(writer, GLASSLOOP_HISTOGRAM_BATCH, ready);
}

static inline void glassloop_wait_begins(GlassloopWriter *writer, size_t timers, size_t fds) {
    uint64_t now = glassloop_ticks();
    writer->live->ready = 0;
    writer->live->timers = (uint32_t)timers;
    writer->live->fds = (uint32_t)fds;
    writer->live->poll_ticks = now;
    writer->live->busy_ticks = writer->busy_ticks += now - writer->live->now_ticks;
    __atomic_store_n(&writer->live->phase, GLASSLOOP_PHASE_POLLING, __ATOMIC_RELEASE);
}

static inline void glassloop_wait_ended(GlassloopWriter *writer, int64_t now_ns) {
    uint64_t now = glassloop_ticks();
    writer->live->idle_ticks = writer->idle_ticks += now - writer->live->poll_ticks;
    writer->boundary = now;
    writer->live->step_ticks = now;
    writer->live->now_ticks = now;
    writer->live->now_ns = now_ns;
    __atomic_store_n(&writer->live->phase, GLASSLOOP_PHASE_RUNNING, __ATOMIC_RELEASE);
}

#endif
