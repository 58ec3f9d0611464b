# The page and its writer: page.h, which is made from glass/layout.py, and page_writer.h.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "page_writer.h":
    ctypedef struct Live "GlassloopLive":
        uint32_t phase
        uint32_t sites
        uint32_t strings
        uint64_t full_until
        uint64_t stacks_wanted
        uint64_t stacks_given
        uint64_t stacks_length
        uint64_t stacks_enough
        uint64_t stacks_first
        uint32_t fds
        uint64_t busy_ticks
        uint64_t step_ticks
        uint64_t now_ticks
        int64_t now_ns
        uint32_t slots_used
    ctypedef struct Header "GlassloopHeader":
        char magic[8]
        uint32_t version, pid, thread_id, flags
        uint64_t page_size, start_ticks
        int64_t start_ns, start_realtime_ns
        double ticks_per_us
        uint64_t live, histograms, tasks, names, records, blocks, sites, strings, stacks
        uint32_t task_capacity, record_capacity, block_capacity, site_capacity, strings_size, stacks_size, slow_ms
        char python[64]
        char command[1024]
        char thread_name[64]
    ctypedef struct Site "GlassloopSite":
        uint32_t name, file, line
    ctypedef struct Slot "GlassloopTask":
        uint64_t id, created_ticks, parent
        uint32_t coroutine
    ctypedef struct Block "GlassloopBlock":
        uint64_t task, began_ticks, seen_ticks
        uint32_t ended, length, running_kind
        char name[64]
        char stack[8064]
    ctypedef struct Writer "GlassloopWriter":
        char *base
        int fd
        size_t size
        Live *live
        Slot *tasks
        uint64_t boundary
        uint64_t idle_ticks, busy_ticks, steps, turns, record_count, block_count, block_step, slow_ticks, running_task
        uint64_t stacks_given, made
        uint32_t running_slot, running_kind, running_fd, free_count, free_capacity, used_slots, unfinished, unseen
        uint32_t record_mask, slots_reserved
        uint32_t *free_slots
        uint64_t *histograms
        void *records
        void *thread
        int blocked, full, wake_fd, unwatched
    ctypedef struct Outer "GlassloopOuter":
        pass
    enum:
        PHASE_STOPPED "GLASSLOOP_PHASE_STOPPED"
        PHASE_RUNNING "GLASSLOOP_PHASE_RUNNING"
        PHASE_CLOSED "GLASSLOOP_PHASE_CLOSED"
        AWAITED_NOTHING "GLASSLOOP_AWAITED_NOTHING"
        AWAITED_FUTURE "GLASSLOOP_AWAITED_FUTURE"
        AWAITED_TASK "GLASSLOOP_AWAITED_TASK"
        AWAITED_OTHER "GLASSLOOP_AWAITED_OTHER"
        NAME_SIZE "GLASSLOOP_NAME_SIZE"
        KIND_NAME "GLASSLOOP_KIND_NAME"
        SLOTS_AT_ONCE "GLASSLOOP_SLOTS_AT_ONCE"
    uint32_t task_made "glassloop_task_made"(Writer *writer, uint64_t id, uint32_t coroutine, uint32_t creator) noexcept
    int reserve_slots "glassloop_reserve_slots"(Writer *writer) noexcept
    void add_record "glassloop_record"(
        Writer *writer, uint64_t ticks, uint32_t what, uint64_t duration, uint64_t task, uint64_t subject
    ) noexcept
    void task_woken "glassloop_task_woken"(Writer *writer, uint32_t slot, uint8_t cause) noexcept
    void step_begins "glassloop_step_begins"(Writer *writer, Outer *outer, uint64_t id, uint32_t slot) noexcept
    void step_ended "glassloop_step_ended"(
        Writer *writer, Outer *outer, uint8_t state, uint8_t cause, uint8_t awaited, uint64_t subject, uint32_t site,
        int64_t deadline_ns
    ) noexcept
    void step_finished "glassloop_step_finished"(Writer *writer, Outer *outer, uint32_t state, uint32_t cause) noexcept
    void step_yielded "glassloop_step_yielded"(Writer *writer, Outer *outer, uint32_t cause) noexcept
    void call_begins "glassloop_call_begins"(Writer *writer, uint32_t kind, uint32_t fd_plus_1) noexcept
    void call_entered "glassloop_call_entered"(Writer *writer) noexcept
    void call_left "glassloop_call_left"(Writer *writer) noexcept
    void call_ended "glassloop_call_ended"(Writer *writer, uint32_t kind) noexcept
    void batch_begins "glassloop_batch_begins"(Writer *writer, size_t ready, size_t timers) noexcept
    void wait_begins "glassloop_wait_begins"(Writer *writer, size_t timers, size_t fds) noexcept
    void wait_ended "glassloop_wait_ended"(Writer *writer, int64_t now_ns) noexcept
