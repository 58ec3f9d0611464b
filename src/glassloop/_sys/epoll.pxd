# epoll(7) and eventfd(2): declarations, and one inline function per thing that the poller asks of the kernel.
from libc.errno cimport ENOSYS, errno
from libc.stdint cimport uint32_t, uint64_t

cdef extern from *:
    """
    #include <errno.h>
    #include <stdint.h>
    #include <sys/epoll.h>
    #include <sys/eventfd.h>
    #include <sys/syscall.h>
    #include <time.h>
    #include <unistd.h>
    #ifndef SYS_epoll_pwait2
    #define SYS_epoll_pwait2 441 /* the same on every architecture */
    #endif
    /* epoll_wait(2) with a time-out in nanoseconds; called by number, for C libraries older than glibc 2.35. */
    static inline int glassloop_epoll_pwait2(int epfd, struct epoll_event *batch, int capacity, int64_t timeout_ns) {
        struct { int64_t seconds, nanoseconds; } timeout = {timeout_ns / 1000000000, timeout_ns % 1000000000};
        return (int)syscall(SYS_epoll_pwait2, epfd, batch, capacity, timeout_ns < 0 ? NULL : &timeout, NULL, 0);
    }
    """
    int EPOLLIN, EPOLLOUT, EPOLLERR, EPOLLHUP, EPOLLET
    int EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL
    int EPOLL_CLOEXEC, EFD_CLOEXEC, EFD_NONBLOCK
    ctypedef union epoll_data_t:
        uint64_t u64
    cdef struct epoll_event:
        uint32_t events
        epoll_data_t data
    int epoll_create1(int flags) nogil
    int epoll_ctl(int epfd, int op, int fd, epoll_event *event) nogil
    int epoll_wait(int epfd, epoll_event *events, int maxevents, int timeout_ms) nogil
    int epoll_pwait2 "glassloop_epoll_pwait2"(int epfd, epoll_event *events, int maxevents, long long timeout_ns) nogil
    int eventfd(unsigned int initial, int flags) nogil
    int close_fd "close"(int fd) nogil
    ssize_t read_fd "read"(int fd, void *buffer, size_t size) nogil
    ssize_t write_fd "write"(int fd, const void *buffer, size_t size) nogil

cdef extern from "descriptor_table.h":
    bint without_threads "glassloop_without_threads"() nogil
    void make_descriptor_room "glassloop_make_descriptor_room"() nogil


# In an event's data, above the descriptor: it is of a registration by edges that nobody may wait for.
cdef enum:
    KEPT_SHIFT = 32


cdef inline int epoll_set(int epfd, int op, int fd, uint32_t events) noexcept nogil:
    """0, or the negative errno."""
    cdef epoll_event event
    event.events = events
    event.data.u64 = <uint64_t>fd | (<uint64_t>((events & <uint32_t>EPOLLET) != 0) << KEPT_SHIFT)
    return 0 if epoll_ctl(epfd, op, fd, &event) == 0 else -errno


cdef inline int epoll_harvest(int epfd, epoll_event *batch, int capacity, long long timeout_ns) noexcept nogil:
    """How many events were put into batch, or the negative errno.

    It never returns early. Before Linux 5.11 the time-out is rounded up to milliseconds.
    """
    cdef int count
    cdef long long timeout_ms
    if timeout_ns != 0:
        count = epoll_pwait2(epfd, batch, capacity, timeout_ns)
        if count >= 0 or errno != ENOSYS:
            return count if count >= 0 else -errno
    timeout_ms = -1 if timeout_ns < 0 else (timeout_ns + 999999) // 1000000
    if timeout_ms > 0x7fffffff:
        timeout_ms = 0x7fffffff
    count = epoll_wait(epfd, batch, capacity, <int>timeout_ms)
    return count if count >= 0 else -errno


cdef inline void eventfd_signal(int fd) noexcept nogil:
    cdef uint64_t one = 1
    write_fd(fd, &one, sizeof(one))


cdef inline void eventfd_drain(int fd) noexcept nogil:
    cdef uint64_t count
    read_fd(fd, &count, sizeof(count))
