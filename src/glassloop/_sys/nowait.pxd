# File calls that never wait: see nowait.h.
from libc.stdint cimport int64_t

cdef extern from "nowait.h":
    int AT_FDCWD
    int find_cached "glassloop_find_cached"(int directory, const char *path, bint nofollow) noexcept nogil
    int open_cached "glassloop_open_cached"(
        int directory, const char *path, int flags, bint keep_nonblocking, int64_t *size
    ) noexcept nogil
    int make_blocking "glassloop_make_blocking"(int fd) noexcept nogil
    int64_t read_cached "glassloop_read_cached"(int fd, void *buffer, size_t size, int64_t offset) noexcept nogil
    bint is_regular "glassloop_is_regular"(int fd) noexcept nogil
    bint at_end "glassloop_at_end"(int fd, int64_t offset) noexcept nogil
    int64_t bytes_left "glassloop_bytes_left"(int fd, int64_t offset) noexcept nogil
    bint is_local "glassloop_is_local"(int fd) noexcept nogil
    bint closes_quickly "glassloop_closes_quickly"(int fd) noexcept nogil
    bint can_open_cached "glassloop_can_open_cached"() noexcept nogil
    int close_fd "close"(int fd) noexcept nogil
