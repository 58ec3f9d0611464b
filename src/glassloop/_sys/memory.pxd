# Shared memory, threads and frames, for the recorder: page_writer.h, watchdog.h, frames.h.
from cpython.ref cimport PyObject
from libc.stdint cimport uint32_t

cdef extern from "watchdog.h":
    """
    #include <fcntl.h>
    #include <sys/mman.h>
    #ifndef MFD_ALLOW_SEALING
    #define MFD_ALLOW_SEALING 2U
    #endif
    #ifndef F_ADD_SEALS
    #define F_ADD_SEALS 1033
    #endif
    /* A descriptor of zeroed shared memory of this size, which can neither grow nor shrink; -1 with errno set. */
    static inline int glassloop_open_memory(const char *name, size_t size) {
        int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd >= 0 && (ftruncate(fd, (off_t)size) < 0 || fcntl(fd, F_ADD_SEALS, 1 | 2 | 4) < 0)) {
            close(fd); /* seals: no more seals, no shrinking, no growing */
            return -1;
        }
        return fd;
    }
    static inline char *glassloop_map_page(int fd, size_t size) {
        void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
        return base == MAP_FAILED ? NULL : (char *)base;
    }
    """
    enum:
        STRINGS_SIZE "GLASSLOOP_STRINGS_SIZE"
        STACKS_SIZE "GLASSLOOP_STACKS_SIZE"
        SITE_CAPACITY "GLASSLOOP_SITE_CAPACITY"
        TASK_CAPACITY "GLASSLOOP_TASK_CAPACITY"
        RECORD_CAPACITY "GLASSLOOP_RECORD_CAPACITY"
        BLOCK_CAPACITY "GLASSLOOP_BLOCK_CAPACITY"
        PAGE_VERSION "GLASSLOOP_PAGE_VERSION"
        LIVE_OFFSET "GLASSLOOP_LIVE_OFFSET"
        HISTOGRAMS_OFFSET "GLASSLOOP_HISTOGRAMS_OFFSET"
        TASKS_OFFSET "GLASSLOOP_TASKS_OFFSET"
        NAMES_OFFSET "GLASSLOOP_NAMES_OFFSET"
        RECORDS_OFFSET "GLASSLOOP_RECORDS_OFFSET"
        BLOCKS_OFFSET "GLASSLOOP_BLOCKS_OFFSET"
        SITES_OFFSET "GLASSLOOP_SITES_OFFSET"
        STRINGS_OFFSET "GLASSLOOP_STRINGS_OFFSET"
        STACKS_OFFSET "GLASSLOOP_STACKS_OFFSET"
        BUCKETS "GLASSLOOP_BUCKETS"
    const char *PAGE_MAGIC "GLASSLOOP_PAGE_MAGIC"
    int open_memory "glassloop_open_memory"(const char *name, size_t size) noexcept
    char *map_page "glassloop_map_page"(int fd, size_t size) noexcept
    int unmap_page "munmap"(void *base, size_t size) noexcept
    int close_fd "close"(int fd) noexcept
    void watch_begins "glassloop_watch_begins"(void *writer) noexcept
    void watch_ends "glassloop_watch_ends"(void *writer) noexcept
    void watch_pauses "glassloop_watch_pauses"() noexcept
    void watch_again "glassloop_watch_again"(void *writer) noexcept
    void take_block "glassloop_take_block"(void *writer, void *to) noexcept
    void watch_forked "glassloop_watch_forked"() noexcept
    uint32_t look_every_ms "glassloop_look_every_ms"
    bint frames_proven "glassloop_frames_proven"
    bint prove_frames "glassloop_prove_frames"(PyObject *inner, PyObject *outer, int line) noexcept
    int running_codes "glassloop_running_codes"(PyObject **codes, int count) noexcept
    void *this_thread "PyThreadState_Get"() noexcept
