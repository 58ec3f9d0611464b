/* load: the load generator of the network benchmarks, the same program for every server under test.
 *
 *   load echo  PORT PID CONNECTIONS SIZE DEPTH WARMUP_MS WINDOW_MS   requests over connections that stay open
 *   load datagrams PORT PID PEERS SIZE 1 WARMUP_MS WINDOW_MS         the same over UDP, one in flight a peer
 *   load churn PORT PID CONNECTIONS SIZE WARMUP_MS WINDOW_MS         connect, one request, answer, end of stream
 *   load storm PORT CONNECTIONS SIZE                                 all clients at once, until all are answered
 *
 * One thread over edge-triggered epoll. Message n of connection c is SIZE bytes of a random text, from a place
 * that depends on c and n; every byte that comes back is compared with it, and the first difference ends the
 * program with status 1 and a message on stderr. CPU time of the server is read from the clock of process PID.
 * Prints one line of JSON.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
    TEXT_PLACES = 65521, /* prime: the places that messages start from do not repeat early */
    RECEIVE_SIZE = 256 * 1024,
    MESSAGES_A_SEND = 16,
    EVENTS_A_WAIT = 512,
    SILENCE_LIMIT_MS = 10000, /* longer than the second retry of a lost SYN takes */
};

struct connection {
    int fd;
    uint64_t number;
    uint64_t allowed;      /* messages that may be sent so far, in all */
    uint64_t send_message; /* the message that is being sent, and how much of it is */
    size_t send_at;
    uint64_t receive_message;
    size_t receive_at;
};

static struct sockaddr_in server_address;
static size_t message_size;
static char *text;
static char received[RECEIVE_SIZE];
static int epoll_fd;
static int socket_type = SOCK_STREAM;

static _Noreturn void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(1);
}

static double clock_seconds(clockid_t clock)
{
    struct timespec time;
    if (clock_gettime(clock, &time) < 0)
        fail("clock_gettime: %s", strerror(errno));
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double now(void) { return clock_seconds(CLOCK_MONOTONIC); }

static void make_text(void)
{
    size_t length = TEXT_PLACES + message_size;
    uint64_t state = 88172645463325252u; /* xorshift64 */
    text = malloc(length);
    if (!text)
        fail("out of memory");
    for (size_t i = 0; i < length; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text[i] = (char)(state >> 32);
    }
}

static char *message_text(const struct connection *connection, uint64_t message)
{
    return text + (connection->number * 7919 + message * 104729) % TEXT_PLACES;
}

/* Opens a socket and registers it. A reset at its close leaves no TIME_WAIT behind, of which many thousand would
 * slow down the runs that follow. `blocking` waits for the connection: only the storm and the churn do not. */
static void open_connection(struct connection *connection, bool blocking)
{
    int one = 1;
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    int fd = socket(AF_INET, socket_type | SOCK_CLOEXEC | (blocking ? 0 : SOCK_NONBLOCK), 0);
    if (fd < 0)
        fail("socket: %s", strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    connection->fd = fd;
    if (connect(fd, (struct sockaddr *)&server_address, sizeof server_address) < 0 && errno != EINPROGRESS)
        fail("connect: %s", strerror(errno));
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = connection};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
        fail("epoll_ctl: %s", strerror(errno));
}

static void send_allowed(struct connection *connection)
{
    while (connection->send_message < connection->allowed) {
        struct iovec parts[MESSAGES_A_SEND];
        int count = 0;
        uint64_t message = connection->send_message;
        size_t skip = connection->send_at;
        for (; message < connection->allowed && count < MESSAGES_A_SEND; message++, count++, skip = 0)
            parts[count] = (struct iovec){message_text(connection, message) + skip, message_size - skip};
        struct msghdr header = {.msg_iov = parts, .msg_iovlen = (size_t)count};
        ssize_t sent = sendmsg(connection->fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) {
            if (errno == EAGAIN || errno == ENOTCONN)
                return; /* EPOLLOUT will tell */
            fail("send on connection %llu: %s", (unsigned long long)connection->number, strerror(errno));
        }
        size_t position = connection->send_at + (size_t)sent;
        connection->send_message += position / message_size;
        connection->send_at = position % message_size;
    }
}

/* Reads what there is and compares it with what was sent; returns the number of answers that it completed.
 * A short read has emptied the socket, but says nothing about the end of the stream: who waits for that reads on. */
static uint64_t receive_and_compare(struct connection *connection, bool to_the_end, bool *ended)
{
    uint64_t completed = 0;
    for (;;) {
        ssize_t length = recv(connection->fd, received, sizeof received, MSG_DONTWAIT);
        if (length < 0) {
            if (errno == EAGAIN || errno == ENOTCONN)
                return completed;
            fail("receive on connection %llu: %s", (unsigned long long)connection->number, strerror(errno));
        }
        if (length == 0) {
            *ended = true;
            return completed;
        }
        for (size_t at = 0; at < (size_t)length;) {
            size_t take = message_size - connection->receive_at;
            if (take > (size_t)length - at)
                take = (size_t)length - at;
            char *expected = message_text(connection, connection->receive_message) + connection->receive_at;
            if (connection->receive_message >= connection->allowed || memcmp(received + at, expected, take))
                fail("connection %llu, message %llu: what came back is not what was sent",
                     (unsigned long long)connection->number, (unsigned long long)connection->receive_message);
            at += take;
            connection->receive_at += take;
            if (connection->receive_at == message_size) {
                connection->receive_at = 0;
                connection->receive_message++;
                completed++;
            }
        }
        if ((size_t)length < sizeof received && !to_the_end)
            return completed;
    }
}

static int wait_for_events(struct epoll_event *events)
{
    int count = epoll_wait(epoll_fd, events, EVENTS_A_WAIT, SILENCE_LIMIT_MS);
    if (count < 0 && errno != EINTR)
        fail("epoll_wait: %s", strerror(errno));
    if (count == 0)
        fail("the server said nothing for %d s", SILENCE_LIMIT_MS / 1000);
    return count;
}

/* The part of the run that counts: it starts after the warm-up. */
struct window {
    clockid_t server_clock;
    double opens_at, length, opened_at, seconds, server_cpu, load_cpu;
    bool open;
    uint64_t requests;
};

static struct window make_window(pid_t server, double warmup, double length)
{
    struct window window = {.opens_at = now() + warmup, .length = length};
    int error = clock_getcpuclockid(server, &window.server_clock);
    if (error)
        fail("CPU clock of process %d: %s", server, strerror(error));
    return window;
}

/* Returns true when the window has closed. */
static bool advance_window(struct window *window)
{
    double time = now();
    if (!window->open) {
        if (time >= window->opens_at) {
            window->open = true;
            window->requests = 0;
            window->opened_at = time;
            window->server_cpu = clock_seconds(window->server_clock);
            window->load_cpu = clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
        }
        return false;
    }
    window->seconds = time - window->opened_at;
    if (window->seconds < window->length || window->requests == 0)
        return false;
    window->server_cpu = clock_seconds(window->server_clock) - window->server_cpu;
    window->load_cpu = clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - window->load_cpu;
    return true;
}

static void report(const struct window *window)
{
    printf("{\"requests\": %llu, \"seconds\": %.9f, \"server_cpu_seconds\": %.9f, \"load_cpu_seconds\": %.9f}\n",
           (unsigned long long)window->requests, window->seconds, window->server_cpu, window->load_cpu);
}

static struct connection *make_connections(size_t count)
{
    struct connection *connections = calloc(count, sizeof *connections);
    if (!connections)
        fail("out of memory");
    for (size_t i = 0; i < count; i++)
        connections[i].number = i;
    return connections;
}

/* Waits for events and handles them; returns the number of answers that came. `go_on`: each allows a next message. */
static uint64_t exchange(bool go_on)
{
    struct epoll_event events[EVENTS_A_WAIT];
    uint64_t answers = 0;
    int ready = wait_for_events(events);
    for (int i = 0; i < ready; i++) {
        struct connection *connection = events[i].data.ptr;
        bool ended = false;
        uint64_t completed = receive_and_compare(connection, false, &ended);
        if (ended)
            fail("the server closed connection %llu", (unsigned long long)connection->number);
        answers += completed;
        if (go_on)
            connection->allowed += completed;
        send_allowed(connection);
    }
    return answers;
}

/* Connections open one after the other, each with an answer before the next: a server that accepts one
 * connection a turn would otherwise spend many seconds on serving some before it has accepted all. */
static void run_echo(pid_t server, size_t count, uint64_t depth, double warmup, double length)
{
    struct connection *connections = make_connections(count);
    for (size_t i = 0; i < count; i++) {
        open_connection(&connections[i], true);
        connections[i].allowed = 1;
        send_allowed(&connections[i]);
        while (connections[i].receive_message == 0)
            exchange(false);
    }
    struct window window = make_window(server, warmup, length);
    for (size_t i = 0; i < count; i++) {
        connections[i].allowed += depth;
        send_allowed(&connections[i]);
    }
    while (!advance_window(&window))
        window.requests += exchange(true);
    /* Every question must get its answer, not only most: a lost one ends here in silence, which fails. */
    for (size_t i = 0; i < count; i++)
        while (connections[i].receive_message < connections[i].allowed)
            exchange(false);
    report(&window);
}

/* Handles events; returns how many connections ended after their answer. `go_on`: others take their place. */
static uint64_t exchange_and_end(bool go_on)
{
    struct epoll_event events[EVENTS_A_WAIT];
    uint64_t endings = 0;
    int ready = wait_for_events(events);
    for (int i = 0; i < ready; i++) {
        struct connection *connection = events[i].data.ptr;
        bool ended = false;
        send_allowed(connection);
        receive_and_compare(connection, true, &ended);
        if (!ended)
            continue;
        if (connection->receive_message != connection->allowed)
            fail("connection %llu ended before its answer", (unsigned long long)connection->number);
        close(connection->fd);
        endings++;
        if (go_on) {
            connection->allowed++;
            open_connection(connection, false);
        }
    }
    return endings;
}

static void run_churn(pid_t server, size_t count, double warmup, double length)
{
    struct connection *connections = make_connections(count);
    struct window window = make_window(server, warmup, length);
    for (size_t i = 0; i < count; i++) {
        connections[i].allowed = 1;
        open_connection(&connections[i], false);
    }
    while (!advance_window(&window))
        window.requests += exchange_and_end(true);
    for (uint64_t ended = 0; ended < count;)
        ended += exchange_and_end(false);
    report(&window);
}

static void run_storm(size_t count)
{
    struct connection *connections = make_connections(count);
    uint64_t answered = 0;
    double began = now();
    for (size_t i = 0; i < count; i++) {
        connections[i].allowed = 1;
        open_connection(&connections[i], false);
    }
    while (answered < count)
        answered += exchange(false);
    printf("{\"seconds\": %.9f}\n", now() - began);
}

int main(int argc, char **argv)
{
    const char *mode = argc > 2 ? argv[1] : "";
    bool datagrams = !strcmp(mode, "datagrams") && argc == 9;
    bool echo = datagrams || (!strcmp(mode, "echo") && argc == 9);
    bool churn = !strcmp(mode, "churn") && argc == 8;
    bool storm = !strcmp(mode, "storm") && argc == 5;
    if (!echo && !churn && !storm)
        fail("usage: see the head of load.c");
    char **numbers = storm ? argv + 3 : argv + 4; /* CONNECTIONS SIZE … */
    server_address = (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    size_t count = strtoul(numbers[0], NULL, 10);
    message_size = strtoul(numbers[1], NULL, 10);
    if (!count || !message_size)
        fail("CONNECTIONS and SIZE are at least 1");
    if (datagrams) {
        socket_type = SOCK_DGRAM;
        if (atoi(argv[6]) != 1)
            fail("messages that are sent together would be one datagram: DEPTH is 1");
    }
    make_text();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0)
        fail("epoll_create1: %s", strerror(errno));
    if (echo)
        run_echo(atoi(argv[3]), count, strtoul(argv[6], NULL, 10), atof(argv[7]) / 1e3, atof(argv[8]) / 1e3);
    else if (churn)
        run_churn(atoi(argv[3]), count, atof(argv[6]) / 1e3, atof(argv[7]) / 1e3);
    else
        run_storm(count);
    return 0;
}
