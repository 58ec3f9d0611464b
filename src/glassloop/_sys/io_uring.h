/* io_uring(7) by raw system calls: one ring, what is submitted to it, what comes back.
 *
 * The kernel's interface never changes, so it is declared here: the package is built the same where
 * linux/io_uring.h is old or absent (manylinux has none). Where it is there, the compiler compares.
 *
 *     submission entry                       completion
 *     offset size meaning                    offset size meaning
 *      0      1   opcode                      0      8   user_data, as submitted
 *      1      1   flags: RING_ASYNC           8      4   result, or the negative errno
 *      4      4   file descriptor            12      4   flags
 *      8      8   file offset; -1: position
 *     16      8   address of buffer or path
 *     24      4   length, or mode
 *     28      4   flags of the operation
 *     32      8   user_data
 *
 * Only the thread that opened a ring may call what is here, but for glassloop_ring_close.
 */
#ifndef GLASSLOOP_IO_URING_H
#define GLASSLOOP_IO_URING_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__has_include)
#if __has_include(<linux/io_uring.h>)
#include <linux/io_uring.h>
#endif
#endif

/* The same numbers on every architecture but Alpha, which no Python of ours runs on. */
#ifdef __NR_io_uring_setup
#define GLASSLOOP_SYS_SETUP __NR_io_uring_setup
#else
#define GLASSLOOP_SYS_SETUP 425
#endif
#ifdef __NR_io_uring_enter
#define GLASSLOOP_SYS_ENTER __NR_io_uring_enter
#else
#define GLASSLOOP_SYS_ENTER 426
#endif
#ifdef __NR_io_uring_register
#define GLASSLOOP_SYS_REGISTER __NR_io_uring_register
#else
#define GLASSLOOP_SYS_REGISTER 427
#endif

enum {
    GLASSLOOP_OP_NOP = 0,
    GLASSLOOP_OP_FSYNC = 3,
    GLASSLOOP_OP_CANCEL = 14,
    GLASSLOOP_OP_OPEN = 18,
    GLASSLOOP_OP_CLOSE = 19,
    GLASSLOOP_OP_READ = 22,
    GLASSLOOP_OP_WRITE = 23,
    GLASSLOOP_RING_ASYNC = 1 << 4,      /* IOSQE_ASYNC: by a thread of the kernel's, from the start */
    GLASSLOOP_FSYNC_DATASYNC = 1 << 0,
};

#define GLASSLOOP_SETUP_CQSIZE (1U << 3)
#define GLASSLOOP_SETUP_COOP_TASKRUN (1U << 8)   /* Linux 5.19 */
#define GLASSLOOP_SETUP_TASKRUN_FLAG (1U << 9)
#define GLASSLOOP_SETUP_SINGLE_ISSUER (1U << 12) /* Linux 6.0 */
#define GLASSLOOP_SETUP_DEFER_TASKRUN (1U << 13) /* Linux 6.1 */
#define GLASSLOOP_ENTER_GETEVENTS (1U << 0)
#define GLASSLOOP_REGISTER_EVENTFD 4
#define GLASSLOOP_COMPLETIONS_UNTOLD (1U << 0)   /* IORING_CQ_EVENTFD_DISABLED; Linux 5.8 */
#define GLASSLOOP_KERNEL_WAITS ((1U << 1) | (1U << 2)) /* IORING_SQ_CQ_OVERFLOW, IORING_SQ_TASKRUN */
#define GLASSLOOP_REGISTER_IOWQ_MAX_WORKERS 19   /* Linux 5.15 */
#define GLASSLOOP_OFF_RINGS 0ULL
#define GLASSLOOP_OFF_ENTRIES 0x10000000ULL
/* SINGLE_MMAP, NODROP, SUBMIT_STABLE, RW_CUR_POS, NATIVE_WORKERS: all there since Linux 5.12. */
#define GLASSLOOP_FEATURES ((1U << 0) | (1U << 1) | (1U << 2) | (1U << 3) | (1U << 9))

typedef struct {
    uint8_t opcode, flags;
    uint16_t ioprio;
    int32_t fd;
    uint64_t offset, address;
    uint32_t length, operation_flags;
    uint64_t user_data, rest[3];
} GlassloopSubmission;

typedef struct {
    uint64_t user_data;
    int32_t result;
    uint32_t flags;
} GlassloopCompletion;

typedef struct {
    uint32_t head, tail, ring_mask, ring_entries, flags, dropped, array, reserved;
    uint64_t user_address;
} GlassloopSubmissionOffsets;

typedef struct {
    uint32_t head, tail, ring_mask, ring_entries, overflow, completions, flags, reserved;
    uint64_t user_address;
} GlassloopCompletionOffsets;

typedef struct {
    uint32_t submission_entries, completion_entries, flags, thread_cpu, thread_idle, features, workers_fd, reserved[3];
    GlassloopSubmissionOffsets submissions;
    GlassloopCompletionOffsets completions;
} GlassloopRingParameters;

_Static_assert(sizeof(GlassloopSubmission) == 64 && offsetof(GlassloopSubmission, user_data) == 32, "kernel's layout");
_Static_assert(sizeof(GlassloopCompletion) == 16, "kernel's layout");
_Static_assert(sizeof(GlassloopRingParameters) == 120, "kernel's layout");
#ifdef IORING_OFF_SQES
_Static_assert(sizeof(struct io_uring_params) == sizeof(GlassloopRingParameters), "differs from linux/io_uring.h");
_Static_assert(offsetof(struct io_uring_params, cq_off) == offsetof(GlassloopRingParameters, completions),
               "differs from linux/io_uring.h");
_Static_assert(offsetof(struct io_uring_sqe, user_data) == offsetof(GlassloopSubmission, user_data),
               "differs from linux/io_uring.h");
_Static_assert(offsetof(struct io_uring_cqe, res) == offsetof(GlassloopCompletion, result),
               "differs from linux/io_uring.h");
#endif

typedef struct {
    int fd;                     /* -1: there is no ring */
    int event_fd;               /* readable when the kernel has something for us */
    uint32_t tail;              /* of what is submitted, with what the kernel was not told of yet */
    uint32_t submission_mask, submission_entries, completion_mask, completion_entries;
    uint32_t *submission_head, *submission_tail, *submission_flags;
    uint32_t *completion_head, *completion_tail, *completion_flags;
    GlassloopSubmission *submissions;
    GlassloopCompletion *completions;
    void *rings;
    size_t rings_size, submissions_size;
} GlassloopKernelRing;

/* Gives the memory and the descriptor back. The kernel may still be at work: see Ring.close(). */
static inline void glassloop_ring_close(GlassloopKernelRing *ring) {
    if (ring->submissions != NULL) munmap(ring->submissions, ring->submissions_size);
    if (ring->rings != NULL) munmap(ring->rings, ring->rings_size);
    if (ring->fd >= 0) close(ring->fd);
    if (ring->event_fd >= 0) close(ring->event_fd);
    memset(ring, 0, sizeof(*ring));
    ring->fd = ring->event_fd = -1;
}

static inline int glassloop_ring_setup(GlassloopRingParameters *parameters, uint32_t entries,
                                       uint32_t completion_entries) {
    /* The best first: the kernel works for us only when we ask it to, then what interrupts least. */
    static const uint32_t modes[] = {GLASSLOOP_SETUP_SINGLE_ISSUER | GLASSLOOP_SETUP_DEFER_TASKRUN
                                         | GLASSLOOP_SETUP_TASKRUN_FLAG,
                                     GLASSLOOP_SETUP_COOP_TASKRUN | GLASSLOOP_SETUP_TASKRUN_FLAG, 0};
    int fd = -1;
    for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
        memset(parameters, 0, sizeof(*parameters));
        parameters->flags = GLASSLOOP_SETUP_CQSIZE | modes[i];
        parameters->completion_entries = completion_entries;
        fd = (int)syscall(GLASSLOOP_SYS_SETUP, entries, parameters);
        if (fd >= 0 || errno != EINVAL) break;
    }
    return fd >= 0 ? fd : -errno;
}

/* 0, or the negative errno; ENOSYS also for a kernel before Linux 5.12, whose rings do not do. */
static inline int glassloop_ring_open(GlassloopKernelRing *ring, uint32_t entries, uint32_t completion_entries,
                                      uint32_t most_workers) {
    GlassloopRingParameters p;
    uint32_t workers[2] = {most_workers, 0};
    uint32_t *array;
    char *base;
    int error;
    memset(ring, 0, sizeof(*ring));
    ring->event_fd = -1;
    ring->fd = glassloop_ring_setup(&p, entries, completion_entries);
    if (ring->fd < 0) {
        error = ring->fd;
        ring->fd = -1;
        return error;
    }
    if ((p.features & GLASSLOOP_FEATURES) != GLASSLOOP_FEATURES) {
        glassloop_ring_close(ring);
        return -ENOSYS;
    }
    ring->rings_size = p.submissions.array + p.submission_entries * sizeof(uint32_t);
    if (p.completions.completions + p.completion_entries * sizeof(GlassloopCompletion) > ring->rings_size)
        ring->rings_size = p.completions.completions + p.completion_entries * sizeof(GlassloopCompletion);
    ring->submissions_size = p.submission_entries * sizeof(GlassloopSubmission);
    ring->rings = mmap(NULL, ring->rings_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring->fd,
                       GLASSLOOP_OFF_RINGS);
    if (ring->rings == MAP_FAILED) {
        error = -errno;
        ring->rings = NULL;
        glassloop_ring_close(ring);
        return error;
    }
    ring->submissions = mmap(NULL, ring->submissions_size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                             ring->fd, GLASSLOOP_OFF_ENTRIES);
    if (ring->submissions == MAP_FAILED) {
        error = -errno;
        ring->submissions = NULL;
        glassloop_ring_close(ring);
        return error;
    }
    base = ring->rings;
    ring->submission_head = (uint32_t *)(base + p.submissions.head);
    ring->submission_tail = (uint32_t *)(base + p.submissions.tail);
    ring->submission_mask = *(uint32_t *)(base + p.submissions.ring_mask);
    ring->submission_entries = p.submission_entries;
    ring->submission_flags = (uint32_t *)(base + p.submissions.flags);
    ring->completion_flags = (uint32_t *)(base + p.completions.flags);
    ring->completion_head = (uint32_t *)(base + p.completions.head);
    ring->completion_tail = (uint32_t *)(base + p.completions.tail);
    ring->completion_mask = *(uint32_t *)(base + p.completions.ring_mask);
    ring->completion_entries = p.completion_entries;
    ring->completions = (GlassloopCompletion *)(base + p.completions.completions);
    array = (uint32_t *)(base + p.submissions.array);
    for (uint32_t i = 0; i < p.submission_entries; i++) array[i] = i;
    ring->tail = *ring->submission_tail;
    /* Not the ring's own descriptor: where the kernel works only when it is asked to (DEFER_TASKRUN), to poll that
       misses what comes while one waits: seen on Linux 6.18 with each operation that did not end at once. */
    ring->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (ring->event_fd < 0
        || syscall(GLASSLOOP_SYS_REGISTER, ring->fd, GLASSLOOP_REGISTER_EVENTFD, &ring->event_fd, 1) < 0) {
        error = -errno;
        glassloop_ring_close(ring);
        return error;
    }
    /* Opens that wait for long must not keep other files waiting. Refused by older kernels: no harm. */
    syscall(GLASSLOOP_SYS_REGISTER, ring->fd, GLASSLOOP_REGISTER_IOWQ_MAX_WORKERS, workers, 2);
    return 0;
}

/* How many entries the kernel has not taken yet. */
static inline uint32_t glassloop_ring_unsubmitted(const GlassloopKernelRing *ring) {
    return ring->tail - __atomic_load_n(ring->submission_head, __ATOMIC_ACQUIRE);
}

static inline int glassloop_ring_has_completions(const GlassloopKernelRing *ring) {
    return *ring->completion_head != __atomic_load_n(ring->completion_tail, __ATOMIC_ACQUIRE);
}

/* Submit what was put into the ring, wait for so many completions, and let the kernel post what it has:
   how many were submitted, or the negative errno. What this call itself brings must be taken after it. If not
   `quietly`, the event tells of what comes meanwhile: of that, then, nothing is missed, but it may be told twice. */
static inline int glassloop_ring_enter(GlassloopKernelRing *ring, uint32_t wait_for, int quietly) {
    int count;
    __atomic_store_n(ring->submission_tail, ring->tail, __ATOMIC_RELEASE);
    if (quietly) __atomic_store_n(ring->completion_flags, GLASSLOOP_COMPLETIONS_UNTOLD, __ATOMIC_SEQ_CST);
    count = (int)syscall(GLASSLOOP_SYS_ENTER, ring->fd, glassloop_ring_unsubmitted(ring), wait_for,
                         GLASSLOOP_ENTER_GETEVENTS, NULL, 0);
    if (count < 0) count = -errno;
    __atomic_store_n(ring->completion_flags, 0, __ATOMIC_SEQ_CST);
    return count;
}

/* Whether the kernel wants to be entered: of what came just before it was to tell us again, it did not. */
static inline int glassloop_ring_waits(const GlassloopKernelRing *ring) {
    return (__atomic_load_n(ring->submission_flags, __ATOMIC_SEQ_CST) & GLASSLOOP_KERNEL_WAITS) != 0;
}

static inline void glassloop_ring_heard(const GlassloopKernelRing *ring) {
    uint64_t count;
    ssize_t ignored = read(ring->event_fd, &count, sizeof(count));
    (void)ignored;
}

/* A place for one operation; 0 if there is none before the next submit. */
static inline int glassloop_ring_put(GlassloopKernelRing *ring, uint8_t opcode, uint8_t flags, int fd, uint64_t offset,
                                     const void *address, uint32_t length, uint32_t operation_flags,
                                     uint64_t user_data) {
    GlassloopSubmission *entry;
    if (glassloop_ring_unsubmitted(ring) >= ring->submission_entries) return 0;
    entry = &ring->submissions[ring->tail & ring->submission_mask];
    memset(entry, 0, sizeof(*entry));
    entry->opcode = opcode;
    entry->flags = flags;
    entry->fd = fd;
    entry->offset = offset;
    entry->address = (uint64_t)(uintptr_t)address;
    entry->length = length;
    entry->operation_flags = operation_flags;
    entry->user_data = user_data;
    ring->tail++;
    return 1;
}

/* Takes the next completion out of the ring; 0 if there is none. */
static inline int glassloop_ring_take(GlassloopKernelRing *ring, uint64_t *user_data, int *result) {
    uint32_t head = *ring->completion_head;
    const GlassloopCompletion *completion;
    if (!glassloop_ring_has_completions(ring)) return 0;
    completion = &ring->completions[head & ring->completion_mask];
    *user_data = completion->user_data;
    *result = completion->result;
    __atomic_store_n(ring->completion_head, head + 1, __ATOMIC_RELEASE);
    return 1;
}

/* One operation that does nothing, there and back: 0, or the negative errno. Filters may allow to make a
   ring, and refuse to use it. */
static inline int glassloop_ring_try(GlassloopKernelRing *ring) {
    uint64_t user_data;
    int result;
    glassloop_ring_put(ring, GLASSLOOP_OP_NOP, 0, -1, 0, NULL, 0, 0, 0);
    do result = glassloop_ring_enter(ring, 1, 1);
    while (result == -EINTR);
    if (result < 0) return result;
    return glassloop_ring_take(ring, &user_data, &result) ? result : -EIO;
}

#endif
