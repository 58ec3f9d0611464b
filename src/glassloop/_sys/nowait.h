/* File calls that never wait for a disk, a network or another process: what is in the kernel's caches.
 *
 * Each returns its result or the negative errno; -EAGAIN: it would have to wait, or cannot tell.
 * openat2(2) with RESOLVE_CACHED is there since Linux 5.12, preadv2(2) with RWF_NOWAIT since 4.14.
 */
#ifndef GLASSLOOP_NOWAIT_H
#define GLASSLOOP_NOWAIT_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifdef __NR_openat2
#define GLASSLOOP_SYS_OPENAT2 __NR_openat2
#else
#define GLASSLOOP_SYS_OPENAT2 437
#endif
#define GLASSLOOP_RESOLVE_CACHED 0x20
#define GLASSLOOP_RWF_NOWAIT 0x8
/* Flags (asm-generic and elsewhere) of an open that changes nothing and of which we know what it does. */
#define GLASSLOOP_PLAIN_OPEN (O_ACCMODE | O_CLOEXEC | O_NOFOLLOW | O_NOATIME | O_NOCTTY | O_APPEND | O_LARGEFILE)

typedef struct {
    uint64_t flags, mode, resolve;
} GlassloopOpenHow;

static inline int glassloop_open_cached_raw(int directory, const char *path, int flags) {
    GlassloopOpenHow how = {(uint64_t)(unsigned)flags, 0, GLASSLOOP_RESOLVE_CACHED};
    int fd = (int)syscall(GLASSLOOP_SYS_OPENAT2, directory, path, &how, sizeof(how));
    return fd >= 0 ? fd : -errno;
}

/* A descriptor that only names the file: nothing is opened, so nothing can block or be set off. */
static inline int glassloop_find_cached(int directory, const char *path, int nofollow) {
    return glassloop_open_cached_raw(directory, path, O_PATH | O_CLOEXEC | (nofollow ? O_NOFOLLOW : 0));
}

/* Opens a regular file or a directory. What is neither may wait for somebody (a FIFO for its other end), or do
   something when opened (a device): hence the look first. The open itself does not wait either way: should the
   file be replaced between the two, only that look was in vain. *size is the file's before it was opened. */
static inline int glassloop_open_cached(int directory, const char *path, int flags, int keep_nonblocking,
                                        int64_t *size) {
    struct stat status;
    int fd;
    if (flags & ~GLASSLOOP_PLAIN_OPEN) return -EAGAIN;
    fd = glassloop_find_cached(directory, path, flags & O_NOFOLLOW);
    if (fd < 0) return fd;
    if (fstat(fd, &status) < 0 || !(S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))) {
        close(fd);
        return -EAGAIN;
    }
    close(fd);
    *size = S_ISREG(status.st_mode) ? (int64_t)status.st_size : -1;
    fd = glassloop_open_cached_raw(directory, path, flags | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0 && !keep_nonblocking && fcntl(fd, F_SETFL, flags & (O_APPEND | O_NOATIME)) < 0) {
        close(fd);
        return -EAGAIN;
    }
    return fd;
}

/* A file opened with keep_nonblocking becomes an ordinary one. */
static inline int glassloop_make_blocking(int fd) {
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 ? -errno : fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0 ? -errno : 0;
}

/* offset -1: the file's position, which moves. Fewer bytes than asked for mean the end, or that the rest is not
   cached. */
static inline int64_t glassloop_read_cached(int fd, void *buffer, size_t size, int64_t offset) {
    struct iovec part = {buffer, size};
    int64_t count;
    count = syscall(SYS_preadv2, fd, &part, 1, (long)offset, (long)(offset >> 32), GLASSLOOP_RWF_NOWAIT);
    return count >= 0 ? count : -errno;
}

static inline int glassloop_is_regular(int fd) {
    struct stat status;
    return fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

/* Whether offset (-1: the position) is at or behind the end of a regular file. */
static inline int glassloop_at_end(int fd, int64_t offset) {
    struct stat status;
    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)) return 0;
    if (offset < 0) offset = lseek(fd, 0, SEEK_CUR);
    return offset >= (int64_t)status.st_size;
}

/* How many bytes of a regular file lie behind offset (-1: the position); -1 where nobody can say, as in /proc. */
static inline int64_t glassloop_bytes_left(int fd, int64_t offset) {
    struct stat status;
    if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode) || status.st_size == 0) return -1;
    if (offset < 0) offset = lseek(fd, 0, SEEK_CUR);
    return offset < 0 ? -1 : offset >= (int64_t)status.st_size ? 0 : (int64_t)status.st_size - offset;
}

/* Whether the file is on a file system that can say that it would have to wait: a local one. The kernel refuses
   RWF_NOWAIT on all others, before it looks at the offset, which lies behind any file's end. */
static inline int glassloop_is_local(int fd) {
    char byte;
    return glassloop_read_cached(fd, &byte, 1, INT64_C(1) << 62) == 0;
}

/* Whether closing it here is a matter of microseconds: nothing of it can be waiting to be written. */
static inline int glassloop_closes_quickly(int fd) {
    struct stat status;
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && (flags & O_ACCMODE) == O_RDONLY && fstat(fd, &status) == 0 && S_ISREG(status.st_mode)
           && status.st_nlink != 0 && glassloop_is_local(fd);
}

/* Whether this kernel, or a filter before it, lets us look into its caches. */
static inline int glassloop_can_open_cached(void) {
    int fd = glassloop_find_cached(AT_FDCWD, "/", 0);
    if (fd >= 0) close(fd);
    return fd >= 0 || fd == -EAGAIN;
}

#endif
