# socket(2) and its family: the non-blocking calls that transports make, each with the GIL held: they never wait.
from libc.stdint cimport uint16_t, uint32_t

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <errno.h>
    #include <netinet/in.h>
    #include <netinet/tcp.h>
    #include <arpa/inet.h>
    #include <stddef.h>
    #include <string.h>
    #include <sys/socket.h>
    #include <sys/uio.h>
    #include <sys/un.h>
    #include <unistd.h>

    /* Any socket address. */
    typedef union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
        struct sockaddr_storage storage;
    } GlassloopAddress;

    static inline int glassloop_accept(int fd, GlassloopAddress *peer, socklen_t *size) {
        *size = sizeof(*peer);
        return accept4(fd, &peer->any, size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    }
    static inline int glassloop_peer(int fd, GlassloopAddress *peer, socklen_t *size) {
        *size = sizeof(*peer);
        return getpeername(fd, &peer->any, size);
    }
    static inline int glassloop_local(int fd, GlassloopAddress *local, socklen_t *size) {
        *size = sizeof(*local);
        return getsockname(fd, &local->any, size);
    }
    static inline int glassloop_open(int family) {
        return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    }
    static inline int glassloop_connect(int fd, const GlassloopAddress *address, socklen_t size) {
        return connect(fd, &address->any, size);
    }
    /* An internet address from its text; 0 if the text is none. */
    static inline int glassloop_make_address(int family, const char *host, int port, GlassloopAddress *address,
                                             socklen_t *size) {
        memset(address, 0, sizeof(*address));
        address->any.sa_family = (sa_family_t)family;
        if (family == AF_INET) {
            *size = sizeof(address->in);
            address->in.sin_port = htons((uint16_t)port);
            return inet_pton(family, host, &address->in.sin_addr) == 1;
        }
        *size = sizeof(address->in6);
        address->in6.sin6_port = htons((uint16_t)port);
        return family == AF_INET6 && inet_pton(family, host, &address->in6.sin6_addr) == 1;
    }
    /* As socket.connect() does. Only where there is an audit hook is the socket made, by make(state). */
    static inline int glassloop_audit_connect(PyObject *(*make)(void *), void *state, PyObject *address) {
        return PySys_Audit("socket.connect", "O&O", make, state, address);
    }
    static inline void glassloop_set_nodelay(int fd) {
        int one = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    }
    static inline ssize_t glassloop_send_chunks(int fd, struct iovec *chunks, int count) {
        struct msghdr message;
        memset(&message, 0, sizeof(message));
        message.msg_iov = chunks;
        message.msg_iovlen = (size_t)count;
        return sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    static inline ssize_t glassloop_send_data(int fd, const void *data, size_t size) {
        return send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    /* More comes at once, if only the end of the stream. */
    static inline ssize_t glassloop_send_more(int fd, const void *data, size_t size) {
        return send(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT | MSG_MORE);
    }
    static inline ssize_t glassloop_recv(int fd, void *data, size_t size) {
        return recv(fd, data, size, MSG_DONTWAIT);
    }
    /* Into the first place, and what has no room there into the second. */
    static inline ssize_t glassloop_recv_two(int fd, void *first, size_t first_size, void *second, size_t second_size) {
        struct iovec places[2] = {{first, first_size}, {second, second_size}};
        struct msghdr message;
        memset(&message, 0, sizeof(message));
        message.msg_iov = places;
        message.msg_iovlen = 2;
        return recvmsg(fd, &message, MSG_DONTWAIT);
    }
    static inline ssize_t glassloop_recv_from(int fd, void *data, size_t size, GlassloopAddress *from,
                                              socklen_t *from_size) {
        *from_size = sizeof(*from);
        return recvfrom(fd, data, size, MSG_DONTWAIT, &from->any, from_size);
    }
    static inline ssize_t glassloop_send_to(int fd, const void *data, size_t size, const GlassloopAddress *to,
                                            socklen_t to_size) {
        return sendto(fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT, &to->any, to_size);
    }

    /* Datagrams that come or go by one system call. */
    enum { GLASSLOOP_BATCH = 32 };
    typedef struct {
        struct mmsghdr messages[GLASSLOOP_BATCH];
        struct iovec parts[GLASSLOOP_BATCH];
        GlassloopAddress addresses[GLASSLOOP_BATCH];
    } GlassloopDatagrams;

    static inline void glassloop_set_datagram(GlassloopDatagrams *batch, int i, void *data, size_t size,
                                              socklen_t address_size) {
        memset(&batch->messages[i], 0, sizeof(batch->messages[i]));
        batch->parts[i].iov_base = data;
        batch->parts[i].iov_len = size;
        batch->messages[i].msg_hdr.msg_iov = &batch->parts[i];
        batch->messages[i].msg_hdr.msg_iovlen = 1;
        batch->messages[i].msg_hdr.msg_name = address_size == 0 ? NULL : &batch->addresses[i];
        batch->messages[i].msg_hdr.msg_namelen = address_size;
    }
    static inline int glassloop_recv_batch(int fd, GlassloopDatagrams *batch, int count) {
        return recvmmsg(fd, batch->messages, (unsigned)count, MSG_DONTWAIT, NULL);
    }
    static inline int glassloop_send_batch(int fd, GlassloopDatagrams *batch, int first, int count) {
        return sendmmsg(fd, batch->messages + first, (unsigned)count, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    static inline size_t glassloop_received_size(const GlassloopDatagrams *batch, int i) {
        return batch->messages[i].msg_len;
    }
    static inline socklen_t glassloop_sender_size(const GlassloopDatagrams *batch, int i) {
        return batch->messages[i].msg_hdr.msg_namelen;
    }
    """
    int AF_UNSPEC, AF_INET, AF_INET6, AF_UNIX
    int SHUT_WR
    ctypedef unsigned int socklen_t
    ctypedef struct in_addr:
        pass
    ctypedef struct in6_addr:
        pass
    ctypedef struct sockaddr:
        unsigned short sa_family
    ctypedef struct sockaddr_in:
        uint16_t sin_port
        in_addr sin_addr
    ctypedef struct sockaddr_in6:
        uint16_t sin6_port
        uint32_t sin6_flowinfo
        in6_addr sin6_addr
        uint32_t sin6_scope_id
    ctypedef struct sockaddr_un:
        char sun_path[108]
    ctypedef union Address "GlassloopAddress":
        sockaddr any
        sockaddr_in in_ "in"
        sockaddr_in6 in6
        sockaddr_un un
    cdef struct iovec:
        void *iov_base
        size_t iov_len
    int socket_accept "glassloop_accept"(int fd, Address *peer, socklen_t *size) nogil
    int socket_peer "glassloop_peer"(int fd, Address *peer, socklen_t *size) nogil
    int socket_local "glassloop_local"(int fd, Address *local, socklen_t *size) nogil
    int socket_open "glassloop_open"(int family) nogil
    int socket_connect "glassloop_connect"(int fd, const Address *address, socklen_t size) nogil
    bint make_address "glassloop_make_address"(
        int family, const char *host, int port, Address *address, socklen_t *size
    ) noexcept
    int audit_connect "glassloop_audit_connect"(object (*make)(void *), void *state, object address) except -1
    void socket_set_nodelay "glassloop_set_nodelay"(int fd) nogil
    ssize_t socket_send "glassloop_send_data"(int fd, const void *data, size_t size) nogil
    ssize_t socket_send_more "glassloop_send_more"(int fd, const void *data, size_t size) nogil
    ssize_t socket_send_chunks "glassloop_send_chunks"(int fd, iovec *chunks, int count) nogil
    ssize_t socket_recv "glassloop_recv"(int fd, void *data, size_t size) nogil
    ssize_t socket_recv_two "glassloop_recv_two"(
        int fd, void *first, size_t first_size, void *second, size_t second_size
    ) nogil
    ssize_t socket_recv_from "glassloop_recv_from"(
        int fd, void *data, size_t size, Address *sender, socklen_t *sender_size
    ) nogil
    ssize_t socket_send_to "glassloop_send_to"(
        int fd, const void *data, size_t size, const Address *to, socklen_t to_size
    ) nogil
    enum:
        SOCKADDR_IN_SIZE "(int)sizeof(struct sockaddr_in)"
        SOCKADDR_IN6_SIZE "(int)sizeof(struct sockaddr_in6)"
        DATAGRAMS_MOST "GLASSLOOP_BATCH"
    ctypedef struct Datagrams "GlassloopDatagrams":
        Address *addresses  # an array
    void datagrams_set "glassloop_set_datagram"(
        Datagrams *batch, int i, void *data, size_t size, socklen_t address_size
    ) nogil
    int datagrams_receive "glassloop_recv_batch"(int fd, Datagrams *batch, int count) nogil
    int datagrams_send "glassloop_send_batch"(int fd, Datagrams *batch, int first, int count) nogil
    size_t datagrams_size "glassloop_received_size"(const Datagrams *batch, int i) nogil
    socklen_t datagrams_sender_size "glassloop_sender_size"(const Datagrams *batch, int i) nogil
    int socket_shutdown "shutdown"(int fd, int how) nogil
    int socket_close "close"(int fd) nogil
    const char *inet_ntop(int family, const void *source, char *text, socklen_t size) nogil
    int inet_pton(int family, const char *text, void *target) nogil
    uint16_t htons(uint16_t port) nogil
    uint32_t htonl(uint32_t number) nogil
    uint16_t ntohs(uint16_t port) nogil
    uint32_t ntohl(uint32_t number) nogil
