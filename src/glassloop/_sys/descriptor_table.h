/* Room in the process's table of descriptors, before a server needs it.
 *
 * Linux doubles the table when it is full. With threads in the process each doubling waits until every CPU has passed
 * through the scheduler (synchronize_rcu in expand_fdtable, fs/file.c), and whoever accepts or opens stands still: the
 * first thousand clients of a server wait 15 to 40 ms longer for it. Without threads it is a matter of microseconds.
 */
#ifndef GLASSLOOP_DESCRIPTOR_TABLE_H
#define GLASSLOOP_DESCRIPTOR_TABLE_H

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#define GLASSLOOP_DESCRIPTOR_ROOM 4096 /* 32 KiB of the kernel's memory */

/* glibc's, since 2.32; elsewhere threads are assumed. */
extern char __libc_single_threaded __attribute__((weak));

static inline int glassloop_without_threads(void) {
    return &__libc_single_threaded != NULL && __libc_single_threaded;
}

/* Once for the process: a fork leaves the room behind. What fails changes nothing. */
static void glassloop_make_descriptor_room(void) {
    static pid_t made_in;
    struct rlimit limit;
    int fd, highest, most = GLASSLOOP_DESCRIPTOR_ROOM;
    if (made_in == getpid()) return;
    made_in = getpid();
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    if (limit.rlim_cur < (rlim_t)most) most = (int)limit.rlim_cur;
    fd = eventfd(0, EFD_CLOEXEC);
    if (fd < 0) return;
    highest = fcntl(fd, F_DUPFD_CLOEXEC, most - 1);
    if (highest >= 0) close(highest);
    close(fd);
}

#endif
