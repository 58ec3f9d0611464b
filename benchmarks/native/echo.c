/* echo: the limit of the network benchmarks, an echo server in C over epoll that does nothing but echo.
 *
 *   echo keep     answers until the client leaves
 *   echo close    answers once and closes, as the server of the accept/close churn does
 *   echo datagrams   the same over UDP, in batches
 *
 * Prints the port that it listens on, on 127.0.0.1, and serves until it is killed.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RECEIVE_SIZE = 256 * 1024, EVENTS_A_WAIT = 512, BACKLOG = 8192, BATCH = 64, DATAGRAM_SIZE = 64 * 1024 };

struct connection {
    int fd;
    size_t unsent_length; /* what the kernel did not take yet; nothing is received while there is any */
    size_t unsent_at;
    char *unsent;
};

static char received[RECEIVE_SIZE];
static int epoll_fd;

static _Noreturn void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void watch(struct connection *connection, int operation, unsigned events)
{
    struct epoll_event event = {.events = events, .data.ptr = connection};
    if (epoll_ctl(epoll_fd, operation, connection->fd, &event) < 0)
        fail("epoll_ctl");
}

static void drop(struct connection *connection)
{
    close(connection->fd);
    free(connection->unsent);
    free(connection);
}

static void accept_all(int listener)
{
    int one = 1;
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EAGAIN || errno == ECONNABORTED)
                return;
            fail("accept4");
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct connection *connection = calloc(1, sizeof *connection);
        if (!connection)
            fail("calloc");
        connection->fd = fd;
        watch(connection, EPOLL_CTL_ADD, EPOLLIN);
    }
}

/* Returns false when the connection is gone. */
static bool echo_once(struct connection *connection, bool close_after)
{
    ssize_t length = recv(connection->fd, received, sizeof received, 0);
    if (length < 0 && errno == EAGAIN)
        return true;
    if (length <= 0)
        return false;
    ssize_t sent = send(connection->fd, received, (size_t)length, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN)
        return false;
    if (sent < 0)
        sent = 0;
    if (sent < length) {
        connection->unsent_at = 0;
        connection->unsent_length = (size_t)(length - sent);
        connection->unsent = malloc(connection->unsent_length);
        if (!connection->unsent)
            fail("malloc");
        memcpy(connection->unsent, received + sent, connection->unsent_length);
        watch(connection, EPOLL_CTL_MOD, EPOLLOUT);
        return true;
    }
    return !close_after;
}

static bool send_rest(struct connection *connection)
{
    ssize_t sent = send(connection->fd, connection->unsent + connection->unsent_at,
                        connection->unsent_length - connection->unsent_at, MSG_NOSIGNAL);
    if (sent < 0)
        return errno == EAGAIN;
    connection->unsent_at += (size_t)sent;
    if (connection->unsent_at == connection->unsent_length) {
        free(connection->unsent);
        connection->unsent = NULL;
        watch(connection, EPOLL_CTL_MOD, EPOLLIN);
    }
    return true;
}

static _Noreturn void echo_datagrams(int fd)
{
    static char data[BATCH][DATAGRAM_SIZE];
    static struct sockaddr_in peers[BATCH];
    struct iovec parts[BATCH];
    struct mmsghdr messages[BATCH];
    for (;;) {
        struct epoll_event event;
        if (epoll_wait(epoll_fd, &event, 1, -1) < 0 && errno != EINTR)
            fail("epoll_wait");
        for (int i = 0; i < BATCH; i++) {
            parts[i] = (struct iovec){data[i], DATAGRAM_SIZE};
            messages[i] = (struct mmsghdr){.msg_hdr = {.msg_name = &peers[i], .msg_namelen = sizeof peers[i],
                                                       .msg_iov = &parts[i], .msg_iovlen = 1}};
        }
        int count = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
        for (int i = 0; i < count; i++)
            parts[i].iov_len = messages[i].msg_len;
        for (int sent = 0; sent < count;) {
            int now = sendmmsg(fd, messages + sent, (unsigned)(count - sent), 0);
            if (now < 0)
                fail("sendmmsg");
            sent += now;
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 2 || (strcmp(argv[1], "keep") && strcmp(argv[1], "close") && strcmp(argv[1], "datagrams"))) {
        fputs("usage: echo keep|close|datagrams\n", stderr);
        return 2;
    }
    bool datagrams = !strcmp(argv[1], "datagrams");
    bool close_after = !strcmp(argv[1], "close");
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t address_length = sizeof address;
    int type = datagrams ? SOCK_DGRAM : SOCK_STREAM | SOCK_NONBLOCK;
    int listener = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (listener < 0 || epoll_fd < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) < 0 ||
        (!datagrams && listen(listener, BACKLOG) < 0) || getsockname(listener, (struct sockaddr *)&address, &address_length) < 0)
        fail("listen");
    struct epoll_event listening = {.events = EPOLLIN, .data.ptr = NULL};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &listening) < 0)
        fail("epoll_ctl");
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    if (datagrams)
        echo_datagrams(listener);
    for (;;) {
        struct epoll_event events[EVENTS_A_WAIT];
        int ready = epoll_wait(epoll_fd, events, EVENTS_A_WAIT, -1);
        if (ready < 0 && errno != EINTR)
            fail("epoll_wait");
        for (int i = 0; i < ready; i++) {
            struct connection *connection = events[i].data.ptr;
            if (!connection)
                accept_all(listener);
            else if (!(connection->unsent ? send_rest(connection) : echo_once(connection, close_after)))
                drop(connection);
        }
    }
}
