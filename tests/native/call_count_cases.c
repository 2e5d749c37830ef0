/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a burst costs in system calls, counted: the guard against a hot path that grows
 * slower unseen, which no noise of the machine moves.  Real TAP, real sockets.
 */
#include "namespace.h"
#include "store.h"

#include "calls.h"

#include <sys/socket.h>
#include <sys/uio.h>

enum { LARGE_BYTES = 3000, ROUNDS = 20 };

enum call { READ, WRITE, SENDTO, SENDMMSG, RECV, IOCTL, CALLS };

static const char *const call_names[] = {
    "read", "write", "sendto", "sendmmsg", "recv", "ioctl"};

static struct {
    bool counts;
    bool port_full; /* so says sendmmsg(2) */
    uint32_t of[CALLS];
} calls;

static void
called(enum call call)
{
    calls.of[call] += calls.counts;
}

long
syscall(long number, ...)
{
    long arguments[CALL_ARGUMENTS];

    CALL_COLLECT(arguments, number);
    if (number == SYS_read || number == SYS_write) {
        called(number == SYS_read ? READ : WRITE);
    }
    return call_kernel(number, arguments);
}

ssize_t
writev(int fd, const struct iovec *parts, int count)
{
    called(WRITE);
    return syscall(SYS_writev, fd, parts, count);
}

ssize_t
sendto(int fd, const void *bytes, size_t size, int flags,
    const struct sockaddr *address, socklen_t address_bytes)
{
    called(SENDTO);
    return syscall(SYS_sendto, fd, bytes, size, flags, address, address_bytes);
}

int
sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
    called(SENDMMSG);
    if (calls.port_full) {
        errno = ENOBUFS;
        return -1;
    }
    return (int)syscall(SYS_sendmmsg, fd, messages, count, flags);
}

ssize_t
recv(int fd, void *bytes, size_t size, int flags)
{
    called(RECV);
    return syscall(SYS_recvfrom, fd, bytes, size, flags, NULL, NULL);
}

int
ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    void *argument;

    va_start(arguments, request);
    argument = va_arg(arguments, void *);
    va_end(arguments);
    called(IOCTL);
    return (int)syscall(SYS_ioctl, fd, request, argument);
}

/* ---- a worker with one port -------------------------------------------------------
 */

struct road {
    struct memories memories;
    struct snapshot_store store;
    _Atomic bool stop;
    _Atomic uint32_t dark;
    struct alert alert;
    _Atomic uint32_t alerted;
    struct worker_work work;
    struct worker worker;
    struct lagg_port *ports[LAGG_PORTS_MAX];
    struct lagg_port port;
    struct port_work *port_work;
    int host_fd; /* into lagg0 */
    int wire_fd; /* the port's other end */
};

static void
road_publish(struct road *road)
{
    const struct lagg_plan plan = {
        .rx_drop = LAGG_DROP_NOT_ACCEPTED,
        .stride = 1,
        .ports = 1,
        .rx_accept = 1,
        .hash_layers = LAGG_LAYER_L2,
        .rx_bytes_max = UINT32_MAX,
        .tx_slots_count = 1,
    };
    uint64_t ticket;

    CHECK(snapshot_publish(&road->store, &plan, 1, &ticket) == 0);
}

static struct road *
road_make(bool xdp)
{
    struct road *road = aligned_alloc(CACHE_LINE_BYTES, sizeof *road);

    memset(road, 0, sizeof *road);
    road->store = store_make(&road->memories);
    road->worker.store = &road->store;
    road->worker.stop = &road->stop;
    road->worker.dark = &road->dark;
    road->worker.work = &road->work;
    road->worker.ports = road->ports;
    road->worker.alert = &road->alert;
    road->worker.alerted = &road->alerted;
    road->ports[0] = &road->port;
    road->worker.wake_fd = -1;
    road->worker.tap_fd = tap_open("lagg0", false, true);
    road->wire_fd = tap_make("port0", false);
    link_set_mtu("lagg0", LARGE_BYTES);
    link_set_mtu("port0", LARGE_BYTES);
    link_up("lagg0");
    link_up("port0");
    road->host_fd = raw_open("lagg0");
    CHECK(port_open(&road->port, (int)if_nametoindex("port0"), 1, xdp) == 0);
    road->port_work = port_settle(&road->port);
    if (port_uses_xdp(&road->port) != xdp) {
        printf("skip: no AF_XDP here\n");
        exit(SKIP);
    }
    road_publish(road);
    worker_poll(&road->worker);
    return road;
}

static void
road_free(struct road *road)
{
    port_close(&road->port);
    free(road->port_work);
    close(road->host_fd);
    close(road->wire_fd);
    close(road->worker.tap_fd);
    free(road);
}

static void
put(int fd, uint32_t count, uint32_t size)
{
    uint8_t bytes[LARGE_BYTES] = {
        2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, TEST_TYPE >> 8, TEST_TYPE & 0xff};

    for (uint32_t i = 0; i < count; i++) {
        CHECK(write(fd, bytes, size) == (ssize_t)size);
    }
}

/* Takes what left, so that the port's queue does not fill. */
static void
take(int fd)
{
    uint8_t bytes[LARGE_BYTES];

    while (read(fd, bytes, sizeof bytes) > 0) {
    }
}

/* One iteration of the worker makes these calls, and moves so many frames. */
static void
expect_poll(struct road *road, uint32_t frames, const uint32_t expected[CALLS])
{
    memset(calls.of, 0, sizeof calls.of);
    calls.counts = true;
    CHECK_EQ_U32(worker_poll(&road->worker), frames);
    calls.counts = false;
    for (uint32_t i = 0; i < CALLS; i++) {
        check_about(call_names[i], frames);
        CHECK_EQ_U32(calls.of[i], expected[i]);
    }
    take(road->wire_fd);
}

/* ---- cases ------------------------------------------------------------------------
 */

static void
nothing_to_do_costs_one_look_at_the_tap(bool xdp)
{
    struct road *road = road_make(xdp);

    expect_poll(road, 0, (uint32_t[CALLS]){[READ] = 1});
    road_free(road);
}

/* One call a frame from the TAP, which gives but one, and one for all of them out. */
static void
a_burst_leaves_by_one_call(bool xdp, uint32_t count)
{
    uint32_t reads = count < BURST_MAX ? count + 1 : BURST_MAX;
    struct road *road = road_make(xdp);

    for (uint32_t round = 0; round < ROUNDS; round++) {
        put(road->host_fd, count, TEST_FRAME_BYTES);
        expect_poll(road, count,
            (uint32_t[CALLS]){[READ] = reads, [SENDTO] = xdp, [SENDMMSG] = !xdp});
    }
    road_free(road);
}

/* 16 tries for the first frame, one for each other, and one question for carrier, which
 * takes two calls: so much, whatever the port is choked by. */
static void
a_full_port_costs_a_burst_so_much_and_no_more(void)
{
    struct road *road = road_make(false);

    for (uint32_t round = 0; round < ROUNDS; round++) {
        put(road->host_fd, 32, TEST_FRAME_BYTES);
        calls.port_full = true;
        expect_poll(road, 32,
            (uint32_t[CALLS]){[READ] = 32, [SENDMMSG] = 16 + 31, [IOCTL] = 2});
        calls.port_full = false;
    }
    road_free(road);
}

/* Short ones, then large ones: one call each way; and one, at the next short frame, to
 * see whether the large ones have left. */
static void
a_mixed_burst_leaves_by_two(void)
{
    struct road *road = road_make(true);

    for (uint32_t round = 0; round < ROUNDS; round++) {
        put(road->host_fd, 16, TEST_FRAME_BYTES);
        put(road->host_fd, 16, LARGE_BYTES);
        expect_poll(road, 32,
            (uint32_t[CALLS]){
                [READ] = 32, [SENDTO] = 1, [SENDMMSG] = 1, [IOCTL] = round > 0});
    }
    put(road->host_fd, 32, LARGE_BYTES);
    expect_poll(road, 32, (uint32_t[CALLS]){[READ] = 32, [SENDMMSG] = 1});
    road_free(road);
}

/* None from the ring, one a frame into the TAP; a large frame takes one more. */
static void
a_burst_received_is_written_and_nothing_else(uint32_t count, uint32_t size)
{
    struct road *road = road_make(true);

    for (uint32_t round = 0; round < ROUNDS; round++) {
        put(road->wire_fd, count, size);
        expect_poll(road, count,
            (uint32_t[CALLS]){
                [READ] = 1, [WRITE] = count, [RECV] = size == LARGE_BYTES ? count : 0});
    }
    road_free(road);
}

int
main(void)
{
    namespace_enter();
    for (uint32_t xdp = 0; xdp < 2; xdp++) {
        nothing_to_do_costs_one_look_at_the_tap(xdp);
        a_burst_leaves_by_one_call(xdp, 1);
        a_burst_leaves_by_one_call(xdp, 31);
        a_burst_leaves_by_one_call(xdp, 32);
    }
    a_full_port_costs_a_burst_so_much_and_no_more();
    a_mixed_burst_leaves_by_two();
    a_burst_received_is_written_and_nothing_else(1, TEST_FRAME_BYTES);
    a_burst_received_is_written_and_nothing_else(32, TEST_FRAME_BYTES);
    a_burst_received_is_written_and_nothing_else(8, LARGE_BYTES);
    return check_report();
}
