/* The watchdog: one thread for all loops of the process, which needs no GIL.
 *
 * It looks a few times in each limit at what runs. A step that outlasts the limit becomes a block in the page, with
 * the Python stack as it is while the step lasts: also where C code holds the GIL. While every loop waits for events
 * it looks less often. The loop's own thread logs the block when the step has ended.
 */
#ifndef GLASSLOOP_WATCHDOG_H
#define GLASSLOOP_WATCHDOG_H

#include <Python.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>

#include "descriptor_table.h"
#include "frames.h"
#include "page_writer.h"

#define GLASSLOOP_MAX_LOOPS 256

static pthread_mutex_t glassloop_watch_lock = PTHREAD_MUTEX_INITIALIZER;
static GlassloopWriter *glassloop_watched[GLASSLOOP_MAX_LOOPS]; /* running loops; under the lock */
static int glassloop_watched_count;
static int glassloop_watching; /* the thread is there; under the lock */
static int glassloop_stopping; /* it is to end */
static pthread_t glassloop_watch_thread;
static pthread_cond_t glassloop_watch_wake;
static int glassloop_watch_id; /* of the thread, as the kernel numbers it */
static uint32_t glassloop_look_every_ms = 25;

static inline GlassloopBlock *glassloop_block(GlassloopWriter *writer, uint64_t number) {
    return (GlassloopBlock *)(writer->base + GLASSLOOP_BLOCKS_OFFSET) + number % GLASSLOOP_BLOCK_CAPACITY;
}

static void glassloop_write_block(GlassloopWriter *writer, uint64_t step, uint64_t began, uint64_t now) {
    GlassloopBlock *block;
    char stack[sizeof(block->stack)];
    uint64_t running = __atomic_load_n((uint64_t *)&writer->live->running_kind, __ATOMIC_RELAXED);
    uint32_t slot = (uint32_t)(running >> 32);
    size_t length = glassloop_stack(writer->thread, stack, sizeof(stack));
    int again = writer->block_count > 0 && writer->block_step == step;
    /* Over while we looked: then the stack may be another step's. */
    if (__atomic_load_n(&writer->live->steps, __ATOMIC_ACQUIRE) != step) return;
    if (!again) writer->block_count++;
    block = glassloop_block(writer, writer->block_count - 1);
    __atomic_store_n(&block->sequence, block->sequence + 1, __ATOMIC_RELAXED);
    GLASSLOOP_BARRIER();
    block->running_kind = (uint32_t)running;
    writer->block.task = slot != 0 && slot < GLASSLOOP_TASK_CAPACITY ? writer->tasks[slot].id : 0;
    block->task = writer->block.task;
    if (slot != 0 && slot < GLASSLOOP_TASK_CAPACITY) {
        memcpy(block->name, writer->base + GLASSLOOP_NAMES_OFFSET + (size_t)slot * GLASSLOOP_NAME_SIZE, GLASSLOOP_NAME_SIZE);
    } else {
        memset(block->name, 0, sizeof(block->name));
    }
    block->began_ticks = began;
    block->seen_ticks = now;
    block->ended = 0;
    if (length > 0 || !again) {
        block->length = (uint32_t)length;
        memcpy(block->stack, stack, length);
    }
    GLASSLOOP_BARRIER();
    __atomic_store_n(&block->sequence, block->sequence + 1, __ATOMIC_RELAXED);
    writer->block_step = step;
    /* What will be logged is kept where nobody else writes. */
    memcpy(writer->block.name, block->name, sizeof(block->name));
    writer->block.began_ticks = began;
    if (length > 0 || !again) {
        writer->block.length = (uint32_t)length;
        memcpy(writer->block.stack, stack, length);
    }
    __atomic_store_n(&writer->live->blocks, writer->block_count, __ATOMIC_RELEASE);
    __atomic_store_n(&writer->blocked, 1, __ATOMIC_RELEASE);
}

/* The block that is over now, for the loop's own thread to log. */
static void glassloop_take_block(GlassloopWriter *writer, GlassloopBlock *to) {
    pthread_mutex_lock(&glassloop_watch_lock);
    writer->blocked = 0;
    memcpy(to, &writer->block, sizeof(*to));
    if (writer->block_count > 0) {
        GlassloopBlock *block = glassloop_block(writer, writer->block_count - 1);
        block->seen_ticks = glassloop_ticks();
        block->ended = 1;
    }
    pthread_mutex_unlock(&glassloop_watch_lock);
}

static void *glassloop_watch(void *nothing) {
    int busy = 1;
    (void)nothing;
    glassloop_make_descriptor_room(); /* where the process had threads already, this one waits, and not a loop's */
    pthread_mutex_lock(&glassloop_watch_lock);
    glassloop_watch_id = (int)syscall(SYS_gettid);
    while (!glassloop_stopping) {
        int64_t until_ns = glassloop_monotonic_ns() + (int64_t)(busy ? 1 : 4) * glassloop_look_every_ms * 1000000;
        struct timespec until = {until_ns / 1000000000, until_ns % 1000000000};
        if (pthread_cond_timedwait(&glassloop_watch_wake, &glassloop_watch_lock, &until) == 0) continue;
        busy = 0;
        for (int i = 0; i < glassloop_watched_count; i++) {
            GlassloopWriter *writer = glassloop_watched[i];
            uint64_t now = glassloop_ticks(), before = writer->looked_ticks;
            uint64_t step = __atomic_load_n(&writer->live->steps, __ATOMIC_ACQUIRE);
            uint64_t turn = __atomic_load_n(&writer->live->step_ticks, __ATOMIC_ACQUIRE);
            uint64_t slot = __atomic_load_n((uint64_t *)&writer->live->running_kind, __ATOMIC_RELAXED) >> 32;
            int runs = __atomic_load_n(&writer->live->phase, __ATOMIC_ACQUIRE) == GLASSLOOP_PHASE_RUNNING;
            writer->looked_ticks = now;
            if (!runs || step != writer->seen_steps) { /* a new step, which began now at the latest */
                writer->seen_steps = step;
                writer->seen_ticks = turn > before ? turn : now;
            } else if (turn > writer->seen_ticks) {
                writer->seen_ticks = turn;
            }
            /* Somebody asks for the await stacks, and only the loop itself can tell. */
            if (!runs && writer->wake_fd >= 0 && writer->live->stacks_wanted != writer->stacks_given) {
                uint64_t one = 1;
                if (write(writer->wake_fd, &one, sizeof(one)) < 0) continue;
            }
            if (!runs) continue;
            busy = 1;
            if (!writer->full && slot != 0 && slot < GLASSLOOP_TASK_CAPACITY) writer->tasks[slot].cpu_ticks += now - before;
            if (now > writer->seen_ticks && now - writer->seen_ticks > writer->slow_ticks)
                glassloop_write_block(writer, step, writer->seen_ticks, now);
        }
    }
    pthread_mutex_unlock(&glassloop_watch_lock);
    return NULL;
}

/* Start the thread, under the lock. Where it cannot be had nothing is watched. */
static void glassloop_start_watching(void) {
    pthread_attr_t attributes;
    pthread_condattr_t monotonic;
    sigset_t all, before;
    if (pthread_attr_init(&attributes) != 0) return;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&glassloop_watch_wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_attr_setstacksize(&attributes, 256 * 1024);
    sigfillset(&all); /* signals are for Python's threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    glassloop_stopping = 0;
    glassloop_watching = pthread_create(&glassloop_watch_thread, &attributes, glassloop_watch, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
}

/* Watch a loop that begins to run. */
static void glassloop_watch_begins(GlassloopWriter *writer) {
    pthread_mutex_lock(&glassloop_watch_lock);
    writer->unwatched = 0;
    writer->looked_ticks = writer->seen_ticks = glassloop_ticks();
    if (glassloop_watched_count < GLASSLOOP_MAX_LOOPS) glassloop_watched[glassloop_watched_count++] = writer;
    if (!glassloop_watching) glassloop_start_watching();
    pthread_mutex_unlock(&glassloop_watch_lock);
}

/* Before a fork: Python warns of a fork with threads (3.12), and this one is none of the program's. */
static void glassloop_watch_pauses(void) {
    int watching;
    pthread_mutex_lock(&glassloop_watch_lock);
    watching = glassloop_watching;
    glassloop_stopping = 1;
    if (watching) pthread_cond_signal(&glassloop_watch_wake);
    pthread_mutex_unlock(&glassloop_watch_lock);
    if (watching) pthread_join(glassloop_watch_thread, NULL);
    pthread_mutex_lock(&glassloop_watch_lock);
    glassloop_watching = 0;
    for (int i = 0; i < glassloop_watched_count; i++) glassloop_watched[i]->unwatched = 1;
    pthread_mutex_unlock(&glassloop_watch_lock);
    /* The kernel counts it for some microseconds longer. */
    for (int i = 0; watching && i < 10000 && syscall(SYS_tgkill, getpid(), glassloop_watch_id, 0) == 0; i++) sched_yield();
}

/* After it, in the parent: when a loop polls next, for Python may count the threads once more before. */
static void glassloop_watch_again(GlassloopWriter *writer) {
    pthread_mutex_lock(&glassloop_watch_lock);
    writer->unwatched = 0;
    writer->looked_ticks = writer->seen_ticks = glassloop_ticks();
    if (!glassloop_watching) glassloop_start_watching();
    pthread_mutex_unlock(&glassloop_watch_lock);
}

static void glassloop_watch_ends(GlassloopWriter *writer) {
    pthread_mutex_lock(&glassloop_watch_lock);
    for (int i = 0; i < glassloop_watched_count; i++) {
        if (glassloop_watched[i] == writer) glassloop_watched[i--] = glassloop_watched[--glassloop_watched_count];
    }
    pthread_mutex_unlock(&glassloop_watch_lock);
}

/* ... and in the child, where no thread of the parent's is, and the pages are the parent's. */
static void glassloop_watch_forked(void) {
    pthread_mutex_init(&glassloop_watch_lock, NULL);
    glassloop_stopping = 0;
    glassloop_watched_count = 0;
    glassloop_watching = 0;
}

#endif
