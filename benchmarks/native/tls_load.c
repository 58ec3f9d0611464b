/* tls_load: the load generator of the TLS benchmarks, the same program for every server under test.
 *
 *   tls_load echo       PORT PID CONNECTIONS SIZE WARMUP_MS WINDOW_MS   requests over connections that stay open
 *   tls_load handshakes PORT PID CLIENTS WARMUP_MS WINDOW_MS            connect, handshake, one byte there and back, end
 *
 * One thread over level-triggered epoll, OpenSSL on the descriptors. Message n of connection c is SIZE bytes of a
 * random text, from a place that depends on c and n; every byte that comes back is compared with it, and the first
 * difference ends the program with status 1. CPU time of the server is read from the clock of process PID. No
 * certificate is verified, no session resumed: each handshake is a full one. Prints one line of JSON.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    TEXT_PLACES = 65521, /* prime: the places that messages start from do not repeat early */
    RECEIVE_SIZE = 256 * 1024,
    EVENTS_A_WAIT = 256,
    SILENCE_LIMIT_MS = 10000,
};

struct connection {
    int fd;
    SSL *ssl;
    uint64_t number, message; /* which message is on its way */
    size_t sent, received;    /* of it */
    bool resting;             /* the window has closed, and the answer is complete */
    uint32_t watched;
};

static struct sockaddr_in server_address;
static size_t message_size = 1;
static char *text;
static char received[RECEIVE_SIZE];
static int epoll_fd;
static SSL_CTX *context;

static _Noreturn void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("tls_load: ", stderr);
    vfprintf(stderr, format, arguments);
    unsigned long error = ERR_get_error();
    fprintf(stderr, error ? " (%s)\n" : "\n", ERR_reason_error_string(error));
    exit(1);
}

static double clock_seconds(clockid_t clock)
{
    struct timespec time;
    if (clock_gettime(clock, &time) < 0)
        fail("clock_gettime: %s", strerror(errno));
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

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

static const char *message_text(const struct connection *connection)
{
    return text + (connection->number * 7919 + connection->message * 104729) % TEXT_PLACES;
}

static void watch(struct connection *connection, uint32_t events, int operation)
{
    struct epoll_event event = {.events = events, .data.ptr = connection};
    if (operation == EPOLL_CTL_MOD && events == connection->watched)
        return;
    connection->watched = events;
    if (epoll_ctl(epoll_fd, operation, connection->fd, &event) < 0)
        fail("epoll_ctl: %s", strerror(errno));
}

static void open_connection(struct connection *connection)
{
    int one = 1;
    struct linger reset = {.l_onoff = 1, .l_linger = 0}; /* no TIME_WAIT is left */
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (connection->fd < 0)
        fail("socket: %s", strerror(errno));
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    if (connect(connection->fd, (struct sockaddr *)&server_address, sizeof server_address) < 0 && errno != EINPROGRESS)
        fail("connect: %s", strerror(errno));
    connection->ssl = SSL_new(context);
    if (!connection->ssl || !SSL_set_fd(connection->ssl, connection->fd))
        fail("SSL_new");
    SSL_set_connect_state(connection->ssl);
    connection->sent = connection->received = 0;
    watch(connection, EPOLLIN | EPOLLOUT, EPOLL_CTL_ADD);
}

static void close_connection(struct connection *connection)
{
    SSL_free(connection->ssl);
    close(connection->fd);
}

/* After a call that did not succeed: wait for what it wants. */
static void wants(struct connection *connection, int result)
{
    int error = SSL_get_error(connection->ssl, result);
    if (error == SSL_ERROR_WANT_READ)
        watch(connection, EPOLLIN, EPOLL_CTL_MOD);
    else if (error == SSL_ERROR_WANT_WRITE)
        watch(connection, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
    else
        fail("connection %llu failed", (unsigned long long)connection->number);
}

/* Goes on with the message that is on its way; true when its answer is complete. */
static bool exchange(struct connection *connection)
{
    if (connection->resting)
        return false;
    while (connection->sent < message_size) {
        int count = SSL_write(connection->ssl, message_text(connection) + connection->sent,
                              (int)(message_size - connection->sent));
        if (count <= 0) {
            wants(connection, count);
            return false;
        }
        connection->sent += (size_t)count;
    }
    while (connection->received < message_size) {
        int count = SSL_read(connection->ssl, received, sizeof received);
        if (count <= 0) {
            wants(connection, count);
            return false;
        }
        if (connection->received + (size_t)count > message_size
            || memcmp(received, message_text(connection) + connection->received, (size_t)count))
            fail("connection %llu, message %llu: what came back is not what was sent",
                 (unsigned long long)connection->number, (unsigned long long)connection->message);
        connection->received += (size_t)count;
    }
    connection->message++;
    connection->sent = connection->received = 0;
    return true;
}

static void run(pid_t server, size_t count, bool handshakes, double warmup, double length)
{
    struct connection *connections = calloc(count, sizeof *connections);
    struct epoll_event events[EVENTS_A_WAIT];
    clockid_t server_clock;
    double opened_at = 0, server_cpu = 0, load_cpu = 0, seconds = 0;
    uint64_t requests = 0;
    size_t resting = 0;
    bool open = false, over = false;
    if (!connections || clock_getcpuclockid(server, &server_clock))
        fail("no memory, or no CPU clock of process %d", server);
    for (size_t i = 0; i < count; i++) {
        connections[i].number = i;
        open_connection(&connections[i]);
    }
    double opens_at = clock_seconds(CLOCK_MONOTONIC) + warmup;
    bool all_answered = handshakes;
    size_t answered = 0;
    while (resting < count) {
        int ready = epoll_wait(epoll_fd, events, EVENTS_A_WAIT, SILENCE_LIMIT_MS);
        if (ready < 0 && errno != EINTR)
            fail("epoll_wait: %s", strerror(errno));
        if (ready == 0)
            fail("the server said nothing for %d s", SILENCE_LIMIT_MS / 1000);
        for (int i = 0; i < ready; i++) {
            struct connection *connection = events[i].data.ptr;
            /* Again where the answer was quicker than we are. */
            while (exchange(connection)) {
                requests++;
                if (connection->message == 1 && ++answered == count && !all_answered) {
                    all_answered = true; /* the handshakes are over: now the warm-up begins */
                    opens_at = clock_seconds(CLOCK_MONOTONIC) + warmup;
                }
                if (handshakes)
                    close_connection(connection);
                if (over) {
                    connection->resting = true;
                    resting++;
                    if (!handshakes)
                        watch(connection, 0, EPOLL_CTL_MOD);
                    break;
                }
                if (handshakes) {
                    open_connection(connection);
                    break;
                }
            }
        }
        double time = clock_seconds(CLOCK_MONOTONIC);
        if (!open && all_answered && time >= opens_at) {
            open = true;
            requests = 0;
            opened_at = time;
            server_cpu = clock_seconds(server_clock);
            load_cpu = clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
        } else if (open && !over && time - opened_at >= length && requests) {
            over = true;
            seconds = time - opened_at;
            server_cpu = clock_seconds(server_clock) - server_cpu;
            load_cpu = clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - load_cpu;
            printf("{\"requests\": %llu, \"seconds\": %.9f, \"server_cpu_seconds\": %.9f, "
                   "\"load_cpu_seconds\": %.9f}\n",
                   (unsigned long long)requests, seconds, server_cpu, load_cpu);
        }
    }
}

int main(int count, char **words)
{
    bool echo = count == 8 && !strcmp(words[1], "echo");
    bool handshakes = count == 7 && !strcmp(words[1], "handshakes");
    if (!echo && !handshakes) {
        fputs("usage: tls_load echo|handshakes ...: see the head of tls_load.c\n", stderr);
        return 2;
    }
    server_address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(words[2]))};
    server_address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (echo)
        message_size = (size_t)atol(words[5]);
    make_text();
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    context = SSL_CTX_new(TLS_client_method());
    if (epoll_fd < 0 || !context)
        fail("no epoll, or no SSL context");
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    double warmup = atof(words[echo ? 6 : 5]) / 1e3, length = atof(words[echo ? 7 : 6]) / 1e3;
    run(atoi(words[3]), (size_t)atol(words[4]), handshakes, warmup, length);
    return 0;
}
