/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A worker's world without the kernel: socket pairs for the TAP and the wires, plain
 * memory for the rings, and a sendmmsg(2), recv(2), writev(2), and write(2) and read(2)
 * by syscall(2), that fail on command.
 *
 * Owns the rule each test of the worker lives by: after every poll, all frames are
 * accounted for.  Include it first.
 */
#ifndef WORLD_H
#define WORLD_H

#define _GNU_SOURCE /* sendmmsg */
#include "worker.h"

#include "banks.h"
#include "calls.h"
#include "numbers.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    ENTRY_BYTES = 2048, /* of a ring, as ring.c maps it */
    ENTRY_MAC = 96,     /* where a frame begins in its entry */
    FOREVER = 1 << 30,
};

/* One port, as the other end sees it. */
struct wire {
    int far_fd;   /* what the port sent: one datagram for each frame */
    int large_fd; /* where the kernel would queue frames too large for the ring */
    uint32_t put; /* frames put into the ring */

    /* How recv(2) of a large frame behaves. */
    int receive_error;      /* so it fails, */
    uint32_t receive_times; /* so many times; */
    bool receive_takes;     /* the frame is lost with it, or still there */

    /* How the port's sendmmsg(2) behaves. */
    uint32_t calls, taken;    /* so far; taken in frames */
    uint32_t last_call;       /* the number of its last one, among those of all */
    uint32_t take_max;        /* frames per call; 0 for any number */
    uint32_t fail_from;       /* frames it takes before it fails, */
    int fail_error;           /* with this */
    uint32_t fail_times;      /* so many times, */
    int then_error;           /* and then with this for ever, when not 0 */
    uint32_t frame_bytes_max; /* longer ones get EMSGSIZE; 0 for no limit */
};

struct world {
    struct snapshot_pool pool;
    struct epoch_reader readers[LAGG_WORKERS_MAX];
    struct snapshot_store store; /* of these two */
    _Atomic bool stop;
    _Atomic uint32_t dark;
    struct alert alert;
    _Atomic uint32_t alerted;
    _Atomic int alert_fd;
    struct worker *worker;
    struct lagg_port *ports[LAGG_PORTS_MAX];
    struct wire wires[LAGG_PORTS_MAX];
    int host_fd;     /* the host's end of the TAP */
    int write_error; /* of the TAP, when not 0 */
    int read_error;
    uint32_t writes_ok;  /* before 'write_error' takes effect */
    uint32_t send_calls; /* of all wires */
};

static struct world *world_now; /* whose descriptors the calls below are about */

static inline struct wire *
wire_of(int tx_fd)
{
    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        if (world_now->ports[slot] != NULL && world_now->ports[slot]->tx_fd == tx_fd) {
            return &world_now->wires[slot];
        }
    }
    abort();
}

static inline size_t
message_bytes(const struct msghdr *message)
{
    size_t bytes = 0;

    for (size_t i = 0; i < message->msg_iovlen; i++) {
        bytes += message->msg_iov[i].iov_len;
    }
    return bytes;
}

/* A call has failed as it was to. */
static inline void
wire_failed(struct wire *wire)
{
    wire->fail_times -= wire->fail_times > 0;
    if (wire->fail_times == 0 && wire->then_error != 0) {
        wire->fail_error = wire->then_error;
        wire->fail_times = FOREVER;
    }
}

/* What the kernel would say to one frame: 0 when it takes it, else errno. */
static inline int
wire_take(struct wire *wire, int fd, const struct msghdr *message)
{
    if (wire->fail_times > 0 && wire->taken >= wire->fail_from) {
        return wire->fail_error;
    }
    if (wire->frame_bytes_max != 0 &&
        message_bytes(message) > wire->frame_bytes_max + VNET_BYTES) {
        return EMSGSIZE;
    }
    if (sendmsg(fd, message, MSG_DONTWAIT) < 0) {
        abort(); /* the world's own buffers are too small */
    }
    wire->taken++;
    return 0;
}

/* As Linux: an error is only told when it met the first frame of a call. */
int
sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    struct wire *wire = wire_of(fd);

    CHECK(flags == MSG_DONTWAIT && count > 0 && count <= BURST_MAX);
    wire->calls++;
    wire->last_call = ++world_now->send_calls;
    for (unsigned i = 0; i < count; i++) {
        int error;

        if (wire->take_max != 0 && i == wire->take_max) {
            return (int)i;
        }
        error = wire_take(wire, fd, &messages[i].msg_hdr);
        if (error != 0 && i > 0) {
            return (int)i;
        }
        if (error != 0) {
            wire_failed(wire);
            errno = error;
            return -1;
        }
        messages[i].msg_len = (unsigned)message_bytes(&messages[i].msg_hdr);
    }
    return (int)count;
}

static inline bool
is_tap(int fd)
{
    return world_now != NULL && fd == world_now->worker->tap_fd;
}

static inline bool
write_fails(int fd)
{
    if (!is_tap(fd) || world_now->write_error == 0) {
        return false;
    }
    errno = world_now->write_error;
    return world_now->writes_ok == 0 || world_now->writes_ok-- == 0;
}

static inline bool
read_fails(int fd)
{
    errno = is_tap(fd) ? world_now->read_error : 0;
    return errno != 0;
}

ssize_t
writev(int fd, const struct iovec *parts, int count)
{
    return write_fails(fd) ? -1 : syscall(SYS_writev, fd, parts, count);
}

long
syscall(long number, ...)
{
    long arguments[CALL_ARGUMENTS];
    int fd;

    CALL_COLLECT(arguments, number);
    fd = (int)arguments[0];
    if ((number == SYS_read && read_fails(fd)) ||
        (number == SYS_write && write_fails(fd))) {
        return -1;
    }
    return call_kernel(number, arguments);
}

static inline struct wire *
wire_of_ring(int fd)
{
    for (uint32_t slot = 0; world_now != NULL && slot < LAGG_PORTS_MAX; slot++) {
        if (world_now->ports[slot] != NULL &&
            world_now->ports[slot]->rings[0][0].fd == fd) {
            return &world_now->wires[slot];
        }
    }
    return NULL;
}

/* As Linux: what is wrong with the link is told first, and once; what goes wrong on the
 * way costs the frame. */
ssize_t
recv(int fd, void *bytes, size_t size, int flags)
{
    struct wire *wire = wire_of_ring(fd);
    uint8_t lost;

    if (wire != NULL && wire->receive_times > 0) {
        wire->receive_times--;
        if (wire->receive_takes) {
            call_kernel(SYS_recvfrom, (long[CALL_ARGUMENTS]){fd, (long)&lost, 1});
        }
        errno = wire->receive_error;
        return -1;
    }
    return syscall(SYS_recvfrom, fd, bytes, size, flags, NULL, NULL);
}

/* ---- making and ending it ---------------------------------------------------------
 */

static inline void *
world_allocate(size_t size)
{
    size_t rounded =
        (size + CACHE_LINE_BYTES - 1) / CACHE_LINE_BYTES * CACHE_LINE_BYTES;
    void *memory = aligned_alloc(CACHE_LINE_BYTES, rounded);

    if (memory == NULL) {
        abort();
    }
    return memset(memory, 0, rounded);
}

static inline void
world_connect(int *one, int *other)
{
    int fds[2], bytes = 1 << 20;

    if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) {
        abort();
    }
    for (uint32_t i = 0; i < 2; i++) {
        setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    }
    *one = fds[0];
    *other = fds[1];
}

static inline void
world_add_port(struct world *world, uint32_t slot)
{
    struct lagg_port *port = world_allocate(sizeof *port);
    struct ring *ring = &port->rings[0][0];

    port->rings_count = 1;
    world_connect(&port->tx_fd, &world->wires[slot].far_fd);
    world_connect(&ring->fd, &world->wires[slot].large_fd);
    ring->map = calloc(RING_FRAMES, ENTRY_BYTES);
    if (ring->map == NULL) {
        abort();
    }
    port->wish = &port->own;
    port_place(port, world_allocate(sizeof *port->work));
    world->ports[slot] = port;
}

static inline struct world *
world_make(uint32_t ports_count)
{
    struct world *world = world_allocate(sizeof *world);

    world->store = snapshot_store_of(&world->pool, world->readers);
    snapshot_store_init(&world->store);
    world->worker = world_allocate(sizeof *world->worker);
    world->worker->work = world_allocate(sizeof *world->worker->work);
    world->worker->store = &world->store;
    world->worker->ports = world->ports;
    world->worker->stop = &world->stop;
    world->worker->dark = &world->dark;
    world->worker->alert = &world->alert;
    world->worker->alerted = &world->alerted;
    world->worker->alert_fd = &world->alert_fd;
    world->alert_fd = world->worker->wake_fd = -1;
    world_connect(&world->worker->tap_fd, &world->host_fd);
    for (uint32_t slot = 0; slot < ports_count; slot++) {
        world_add_port(world, slot);
    }
    world_now = world;
    return world;
}

static inline void
world_free(struct world *world)
{
    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        struct lagg_port *port = world->ports[slot];

        if (port != NULL) {
            close(port->tx_fd);
            close(port->rings[0][0].fd);
            close(world->wires[slot].far_fd);
            close(world->wires[slot].large_fd);
            free(port->rings[0][0].map);
            free(port->work);
            free(port);
        }
    }
    close(world->worker->tap_fd);
    close(world->host_fd);
    free(world->worker->work);
    free(world->worker);
    free(world);
}

/* Entry i is slot i, for all the ports there are; all are accepted from. */
static inline struct lagg_plan
plan_of(uint32_t spread, uint32_t ports_count)
{
    struct lagg_plan plan = {
        .spread = spread,
        .tx_drop = LAGG_DROP_NO_PORT,
        .rx_drop = LAGG_DROP_NOT_ACCEPTED,
        .stride = 1,
        .ports = (uint32_t)((1ull << ports_count) - 1),
        .hash_layers = LAGG_LAYER_L2,
        .rx_bytes_max = UINT32_MAX,
        .tx_slots_count = ports_count,
    };

    plan.rx_accept = plan.ports;
    for (uint32_t i = 0; i < ports_count; i++) {
        plan.tx_slots[i] = (uint8_t)i;
    }
    return plan;
}

static inline void
world_publish(struct world *world, const struct lagg_plan *plan)
{
    uint64_t ticket;
    uint32_t open = 0;

    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        open |= (uint32_t)(world->ports[slot] != NULL) << slot;
    }
    CHECK(snapshot_publish(&world->store, plan, open, &ticket) == 0);
}

static inline struct world *
world_with(uint32_t spread, uint32_t ports_count)
{
    struct world *world = world_make(ports_count);
    const struct lagg_plan plan = plan_of(spread, ports_count);

    world_publish(world, &plan);
    return world;
}

/* From its frame number 'after' on, the port's sendmmsg(2) fails 'times' times. */
static inline void
wire_fail(struct world *world, uint32_t slot, int error, uint32_t after, uint32_t times)
{
    world->wires[slot].fail_error = error;
    world->wires[slot].fail_from = after;
    world->wires[slot].fail_times = times;
}

/* ---- frames -----------------------------------------------------------------------
 */

static inline void
world_expect_silence(struct world *world)
{
    fd_expect_empty(world->host_fd);
    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        if (world->ports[slot] != NULL) {
            fd_expect_empty(world->wires[slot].far_fd);
            fd_expect_empty(world->wires[slot].large_fd);
        }
    }
}

/* The host sends 'count' frames, from number 'first' on. */
static inline void
host_send(struct world *world, uint32_t first, uint32_t count)
{
    uint8_t bytes[VNET_BYTES + 256];

    for (uint32_t number = first; number < first + count; number++) {
        uint32_t size = FRAME_BYTES_MIN + number % 200;

        frame_make(bytes, number, size);
        fd_put(world->host_fd, bytes, VNET_BYTES + size);
    }
}

/* ---- counters ---------------------------------------------------------------------
 */

static inline struct lagg_counters
world_counters(struct world *world)
{
    struct lagg_counters counters;

    bank_read(&world->worker->work->counts, &counters);
    return counters;
}

static inline struct lagg_port_counters
port_counters(struct world *world, uint32_t slot)
{
    struct lagg_port_counters counters;

    bank_read(&world->ports[slot]->work->counts[0], &counters);
    return counters;
}

/* What the ports counted, and the lagg did, is the same. */
static inline void
check_sums(struct world *world, const struct lagg_counters *total)
{
    struct lagg_port_counters sum = {0};

    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        struct lagg_port_counters port;

        if (world->ports[slot] != NULL) {
            port = port_counters(world, slot);
            for (uint32_t i = 0; i < COUNTERS_COUNT; i++) {
                ((uint64_t *)&sum)[i] += ((const uint64_t *)&port)[i];
            }
        }
    }
    CHECK(sum.tx_frames == total->tx_out);
    CHECK(sum.rx_frames == total->rx_in);
    CHECK(sum_drops(sum.drops) <= sum_drops(total->drops));
    for (uint32_t i = LAGG_DROP_TX_DOWN; i <= LAGG_DROP_NOT_ACCEPTED; i++) {
        CHECK(sum.drops[i] == total->drops[i]);
    }
    for (uint32_t i = LAGG_DROP_TAP_DOWN; i <= LAGG_DROP_TAP_ERROR; i++) {
        CHECK(sum.drops[i] == total->drops[i]);
    }
}

/* One poll, after which every frame is delivered or counted and nothing is left over.
 */
static inline uint32_t
world_poll(struct world *world)
{
    uint32_t frames = worker_poll(world->worker);
    const struct lagg_counters total = world_counters(world);

    CHECK(total.tx_in + total.rx_in ==
          total.tx_out + total.rx_out + sum_drops(total.drops));
    check_sums(world, &total);
    CHECK(!world->worker->touched && world->worker->read_count == 0);
    CHECK(world->worker->work->sequence % 2 == 0);
    CHECK(world->worker->queues_used == 0);
    CHECK(world->readers[0].seen == 0);
    return frames;
}

/* Holds the lagg's counters to be exactly these. */
static inline void
world_expect(struct world *world, const struct lagg_counters *expected)
{
    const struct lagg_counters actual = world_counters(world);

    CHECK_EQ_U32((uint32_t)actual.tx_in, (uint32_t)expected->tx_in);
    CHECK_EQ_U32((uint32_t)actual.tx_out, (uint32_t)expected->tx_out);
    CHECK_EQ_U32((uint32_t)actual.rx_in, (uint32_t)expected->rx_in);
    CHECK_EQ_U32((uint32_t)actual.rx_out, (uint32_t)expected->rx_out);
    for (uint32_t i = 0; i < LAGG_DROP_COUNT; i++) {
        CHECK_EQ_U32((uint32_t)actual.drops[i], (uint32_t)expected->drops[i]);
    }
}

/* Ends a case: nothing came out but what it has taken, and the counters are these. */
static inline void
world_end(struct world *world, const struct lagg_counters *expected)
{
    world_expect_silence(world);
    world_expect(world, expected);
    world_free(world);
}

#endif
