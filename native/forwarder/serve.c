/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The forwarder's door: clients connect, requests come in, letters go out.
 *
 * Owns the sockets and the one place where the process waits.  No client can keep
 * another waiting: each is read one message at a time, and one that does not take what
 * it is told is disconnected.  Knows no word of the protocol.
 */
#define _GNU_SOURCE /* accept4, ppoll, struct ucred */
#include "forwarder.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    BACKLOG = 16,
    FDS_MAX = 253, /* in a message: the kernel's SCM_MAX_FD */
};

/* The one server of a process. */
static struct server {
    struct forwarder *forwarder;
    int listener;
    int clients[CLIENTS_MAX]; /* connections; -1 where there is none */
    pid_t pids[CLIENTS_MAX];  /* whose they are */
    sigset_t unblocked;       /* while it waits */
} server;

static volatile sig_atomic_t signalled;

static void
on_signal(int number)
{
    signalled = number;
}

/* ---- letters out ------------------------------------------------------------------
 */

/* Whether the client took it. */
static bool
letter_send(const struct letter *letter)
{
    union {
        char bytes[CMSG_SPACE(sizeof letter->fds)];
        struct cmsghdr header;
    } control = {0};
    size_t fds_bytes = letter->reply.count * sizeof letter->fds[0];
    struct iovec vector = {(void *)&letter->reply, sizeof letter->reply};
    struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};

    if (fds_bytes > 0) {
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(fds_bytes);
        memcpy(CMSG_DATA(&control.header), letter->fds, fds_bytes);
        message.msg_control = control.bytes;
        message.msg_controllen = CMSG_SPACE(fds_bytes);
    }
    return sendmsg(server.clients[letter->client], &message,
               MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof letter->reply;
}

static void deliver(const struct outbox *outbox);

static void
disconnect(int client)
{
    static struct outbox outbox[CLIENTS_MAX]; /* one for each that may follow it */
    static uint32_t depth;
    struct outbox *mine = &outbox[depth++];

    mine->count = 0;
    close(server.clients[client]);
    server.clients[client] = -1;
    forwarder_gone(server.forwarder, client, clock_ns(), mine);
    deliver(mine);
    depth--;
}

static void
deliver(const struct outbox *outbox)
{
    for (uint32_t i = 0; i < outbox->count; i++) {
        const struct letter *letter = &outbox->letters[i];

        if (server.clients[letter->client] >= 0 && !letter_send(letter)) {
            disconnect(letter->client);
        }
    }
}

/* ---- requests in ------------------------------------------------------------------
 */

/* The descriptors that came with a message; returns how many. */
static uint32_t
fds_of(struct msghdr *message, int fds[FDS_MAX])
{
    uint32_t count = 0;

    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header != NULL;
        header = CMSG_NXTHDR(message, header)) {
        size_t bytes = header->cmsg_len - CMSG_LEN(0);

        if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
            count + bytes / sizeof fds[0] <= FDS_MAX) {
            memcpy(&fds[count], CMSG_DATA(header), bytes);
            count += (uint32_t)(bytes / sizeof fds[0]);
        }
    }
    return count;
}

static void
close_each(const int *fds, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        close(fds[i]);
    }
}

static void
handle(const struct parcel *parcel)
{
    static struct outbox outbox;
    uint32_t kept;

    outbox.count = 0;
    kept = forwarder_handle(server.forwarder, parcel, clock_ns(), &outbox);
    close_each(parcel->fds + kept, parcel->fds_count - kept);
    deliver(&outbox);
}

/* What one recvmsg(2) may bring. */
struct received {
    union {
        char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
        struct cmsghdr header;
    } control;
    uint8_t bytes[sizeof(struct lagg_request) + 1]; /* so that a longer one is seen */
    int fds[FDS_MAX];
    uint32_t fds_count;
};

static ssize_t
receive_from(int fd, struct received *received)
{
    struct iovec vector = {received->bytes, sizeof received->bytes};
    struct msghdr message = {
        .msg_iov = &vector,
        .msg_iovlen = 1,
        .msg_control = received->control.bytes,
        .msg_controllen = sizeof received->control.bytes,
    };
    ssize_t size = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

    received->fds_count = size < 0 ? 0 : fds_of(&message, received->fds);
    return size;
}

/* One message of a client that has sent something or has gone.  An empty message, which
 * looks like an end, is one. */
static void
receive(int client)
{
    struct received received;
    ssize_t size = receive_from(server.clients[client], &received);

    if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (size <= 0) {
        close_each(received.fds, received.fds_count);
        disconnect(client);
        return;
    }
    handle(&(struct parcel){
        .client = client,
        .pid = server.pids[client],
        .bytes = received.bytes,
        .bytes_count = (size_t)size,
        .fds = received.fds,
        .fds_count = received.fds_count,
    });
}

/* ---- connections ------------------------------------------------------------------
 */

/* Whether whoever connected runs as we do; then '*pid' is its process. */
static bool
peer_is_ours(int fd, pid_t *pid)
{
    struct ucred peer;
    socklen_t size = sizeof peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 ||
        peer.uid != geteuid()) {
        return false;
    }
    *pid = peer.pid;
    return true;
}

static void
accept_client(void)
{
    int fd = accept4(server.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    pid_t pid;

    if (fd < 0) {
        return;
    }
    for (int client = 0; client < CLIENTS_MAX && peer_is_ours(fd, &pid); client++) {
        if (server.clients[client] < 0) {
            server.clients[client] = fd;
            server.pids[client] = pid;
            return;
        }
    }
    close(fd);
}

int
serve_bind(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd, error;

    if (strlen(path) >= sizeof address.sun_path) {
        return -ENAMETOOLONG;
    }
    memcpy(address.sun_path, path, strlen(path));
    fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    umask(0177);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) == 0) {
        return fd;
    }
    error = -errno;
    close(fd);
    return error;
}

int
serve_listen(int listener)
{
    server.listener = listener;
    return listen(listener, BACKLOG) == 0 ? 0 : -errno;
}

/* ---- the loop ---------------------------------------------------------------------
 */

/* Blocked but while the loop waits, so that none comes between its look and its sleep;
 * and in every worker, for all are made by this thread. */
static int
signals_block(void)
{
    static const int numbers[] = {SIGTERM, SIGINT};
    const struct sigaction action = {.sa_handler = on_signal};
    sigset_t blocked;
    int error;

    sigemptyset(&blocked);
    for (uint32_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        sigaddset(&blocked, numbers[i]);
        if (sigaction(numbers[i], &action, NULL) != 0) {
            return -errno;
        }
    }
    error = -pthread_sigmask(SIG_BLOCK, &blocked, &server.unblocked);
    for (uint32_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        sigdelset(&server.unblocked, numbers[i]); /* the parent has them blocked, too */
    }
    return error;
}

/* Until something comes, or forwarder_tick() is due. */
static void
wait_for(struct pollfd fds[1 + CLIENTS_MAX])
{
    uint64_t now_ns = clock_ns(), due_ns = forwarder_due_ns(server.forwarder);
    uint64_t left_ns = due_ns > now_ns ? due_ns - now_ns : 0;
    struct timespec left = {
        .tv_sec = (time_t)(left_ns / 1000000000u),
        .tv_nsec = (long)(left_ns % 1000000000u),
    };

    fds[0] = (struct pollfd){.fd = server.listener, .events = POLLIN};
    for (int i = 0; i < CLIENTS_MAX; i++) {
        fds[1 + i] = (struct pollfd){.fd = server.clients[i], .events = POLLIN};
    }
    if (ppoll(fds, 1 + CLIENTS_MAX, due_ns == NEVER_NS ? NULL : &left,
            &server.unblocked) < 0) {
        memset(fds, 0, (1 + CLIENTS_MAX) * sizeof fds[0]); /* a signal; nothing came */
    }
}

static void
tick(void)
{
    static struct outbox outbox;

    outbox.count = 0;
    forwarder_tick(server.forwarder, clock_ns(), &outbox);
    deliver(&outbox);
}

static void
serve_once(const struct pollfd fds[1 + CLIENTS_MAX])
{
    for (int client = 0; client < CLIENTS_MAX && !server.forwarder->ended; client++) {
        if (fds[1 + client].revents != 0 && server.clients[client] >= 0) {
            receive(client);
        }
    }
    if (fds[0].revents != 0) {
        accept_client();
    }
    if (signalled != 0) {
        server.forwarder->leaving = true;
    }
    tick();
}

int
serve_begin(struct forwarder *forwarder)
{
    server.forwarder = forwarder;
    memset(server.clients, -1, sizeof server.clients);
    return signals_block();
}

void
serve(void)
{
    struct pollfd fds[1 + CLIENTS_MAX];

    tick();
    while (!server.forwarder->ended) {
        wait_for(fds);
        serve_once(fds);
    }
}
