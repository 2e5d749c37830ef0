/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A port with an AF_XDP sender on the real kernel: what leaves, in which order and how
 * often, when the port takes all of it, a part, or nothing.  The port is a TAP, so that
 * the test reads what left.
 */
#include "halves.h"
#include "namespace.h"
#include "shipments.h"
#include "store.h"

#include <sys/resource.h>

enum { QUEUE_FRAMES = 50, LARGE_BYTES = 3000 };

struct road {
    struct lagg_port port;
    struct port_work *work;
    int wire_fd; /* where what the port sent comes out */
    uint32_t next;
};

static void
link_set(const char *name, unsigned long request_code, int value)
{
    struct ifreq request = {.ifr_ifindex = value}; /* of a union: any int of it */
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    strncpy(request.ifr_name, name, sizeof request.ifr_name - 1);
    CHECK(ioctl(fd, request_code, &request) == 0);
    close(fd);
}

static struct road *
road_make(void)
{
    struct road *road = malloc(sizeof *road);

    memset(road, 0, sizeof *road);
    road->wire_fd = tap_make("port0", false);
    link_set("port0", SIOCSIFTXQLEN, QUEUE_FRAMES);
    link_set("port0", SIOCSIFMTU, LARGE_BYTES);
    link_up("port0");
    CHECK(port_open(&road->port, (int)if_nametoindex("port0"), 1, true) == 0);
    road->work = port_settle(&road->port);
    if (!port_uses_xdp(&road->port)) {
        printf("skip: no AF_XDP here\n");
        exit(SKIP);
    }
    return road;
}

static void
road_free(struct road *road)
{
    port_close(&road->port);
    free(road->work);
    close(road->wire_fd);
    free(road);
}

static uint8_t heads[BURST_MAX][HEAD_BYTES], rests[BURST_MAX][LARGE_BYTES];
static uint8_t order[BURST_MAX];

/* 'count' frames numbered on; those with a bit in 'large' are not for AF_XDP. */
static void
burst_make(
    struct frame frames[BURST_MAX], uint32_t first, uint32_t count, uint32_t large)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t number = first + i;
        bool is_large = large >> i & 1;

        order[i] = (uint8_t)i;
        memset(heads[i], 0, sizeof heads[i]);
        heads[i][VNET_BYTES + 12] = TEST_TYPE >> 8;
        heads[i][VNET_BYTES + 13] = TEST_TYPE & 0xff;
        memcpy(heads[i] + VNET_BYTES + ETHER_BYTES, &number, sizeof number);
        frames[i] = (struct frame){.head = heads[i],
            .head_bytes = is_large ? HEAD_BYTES : VNET_BYTES + 60,
            .rest = rests[i],
            .rest_bytes = is_large ? LARGE_BYTES - HEAD_BYTES + VNET_BYTES : 0};
    }
}

static uint32_t
road_ship(struct road *road, uint32_t count, uint32_t large, int *error)
{
    struct frame frames[BURST_MAX];
    uint32_t gone;

    burst_make(frames, road->next, count, large);
    gone = ship_by_port(&road->port, 0, frames, order, count, error);
    CHECK((gone == count) == (*error == 0));
    return gone;
}

/* Sends a burst; returns how many are gone. */
static uint32_t
road_send(struct road *road, uint32_t count, uint32_t large, int *error)
{
    uint32_t gone = road_ship(road, count, large, error);

    CHECK(atomic_load(&road->work->xdp.open) == (if_nametoindex("port0") != 0));
    CHECK(atomic_load(road->port.xdp.waiting.producer) ==
          atomic_load(road->port.xdp.waiting.consumer));
    return gone;
}

/* Reads all that left: the frames first ... end-1, each once, in order. */
static void
road_expect(struct road *road, uint32_t first, uint32_t end)
{
    uint8_t bytes[LARGE_BYTES + 1];
    uint32_t number;

    while (read(road->wire_fd, bytes, sizeof bytes) > 0) {
        if (bytes[12] != TEST_TYPE >> 8 || bytes[13] != (TEST_TYPE & 0xff)) {
            continue;
        }
        memcpy(&number, bytes + ETHER_BYTES, sizeof number);
        CHECK_EQ_U32(number, first);
        first++;
    }
    CHECK_EQ_U32(first, end);
}

/* ---- all of it --------------------------------------------------------------------
 */

static void
both_paths_keep_one_order(void)
{
    struct road *road = road_make();
    uint64_t seed = 1;
    int error;

    for (uint32_t round = 0; round < 500; round++) {
        uint32_t count = 1 + check_random(&seed) % BURST_MAX;
        uint32_t large = round % 3 == 0 ? 0 : check_random(&seed) & check_random(&seed);

        check_about("order", round);
        CHECK_EQ_U32(road_send(road, count, large, &error), count);
        road_expect(road, road->next, road->next + count);
        road->next += count;
    }
    road_free(road);
}

static void
the_wish_counts_from_the_next_burst_on(void)
{
    struct road *road = road_make();
    int error;

    check_about("wish", 0);
    for (uint32_t round = 0; round < 20; round++) {
        uint32_t before = atomic_load(road->port.xdp.waiting.producer);

        atomic_store(&road->port.wish->xdp, round % 2 == 0);
        CHECK_EQ_U32(road_send(road, 10, 0, &error), 10);
        CHECK((atomic_load(road->port.xdp.waiting.producer) != before) ==
              (round % 2 == 0));
        road_expect(road, road->next, road->next + 10);
        road->next += 10;
    }
    road_free(road);
}

/* ---- a part of it -----------------------------------------------------------------
 */

/* The TAP takes QUEUE_FRAMES and drops the next, in the middle of a burst.  (What the
 * packet socket takes then, the TAP's queueing discipline has, and nobody tells.) */
static void
what_a_full_queue_drops_is_not_counted_as_gone(void)
{
    struct road *road = road_make();
    struct frame frames[BURST_MAX];

    for (uint32_t round = 0; round < 200; round++) {
        uint32_t burst = 1 + round % BURST_MAX, gone = 0;

        check_about("full", round);
        for (uint32_t tries = 0; tries < 2 * QUEUE_FRAMES; tries++) {
            burst_make(frames, gone, burst, 0);
            gone += ship_by_xdp(&road->port.xdp, frames, order, burst);
        }
        CHECK_EQ_U32(gone, QUEUE_FRAMES);
        CHECK(atomic_load(&road->work->xdp.open));
        road_expect(road, 0, QUEUE_FRAMES);
    }
    road_free(road);
}

static void
carrier_set(struct road *road, int up)
{
    CHECK(ioctl(road->wire_fd, TUNSETCARRIER, &up) == 0);
}

/* ---- nothing of it ----------------------------------------------------------------
 */

static void
without_carrier_nothing_is_gone(void)
{
    struct road *road = road_make();
    struct frame frames[BURST_MAX];

    for (uint32_t round = 0; round < 50; round++) {
        check_about("carrier", round);
        burst_make(frames, road->next, 20, 0);
        carrier_set(road, 0);
        CHECK_EQ_U32(ship_by_xdp(&road->port.xdp, frames, order, 20), 0);
        carrier_set(road, 1);
        CHECK_EQ_U32(ship_by_xdp(&road->port.xdp, frames, order, 20), 20);
        road_expect(road, road->next, road->next + 20);
        road->next += 20;
    }
    road_free(road);
}

static void
a_port_that_is_down_says_so_and_sends_nothing(void)
{
    struct road *road = road_make();
    int error;

    for (uint32_t round = 0; round < 10; round++) {
        check_about("down", round);
        link_down("port0");
        CHECK_EQ_U32(road_send(road, 20, 0, &error), 0);
        CHECK(error == -ENETDOWN);
        link_up("port0");
        WAIT_UNTIL(road_send(road, 20, 0, &error) == 20);
        road_expect(road, road->next, road->next + 20);
        road->next += 20;
    }
    road_free(road);
}

static void
a_port_that_is_gone_says_so(void)
{
    struct road *road = road_make();
    int error;

    check_about("gone", 0);
    link_delete("port0");
    for (uint32_t round = 0; round < 3; round++) {
        CHECK_EQ_U32(road_send(road, 20, 0, &error), 0);
        CHECK(error == -ENXIO || error == -ENODEV || error == -ENETDOWN);
    }
    road_free(road);
}

/* ---- opened by one process, and used by another -----------------------------------
 */

static bool
port_is_mapped(const struct lagg_port *port)
{
    return port->rings[0][0].map != NULL || port->txrings[0].map != NULL ||
           port->xdp.chunks != NULL || port->xdp.waiting.map != NULL;
}

/* What another process sends by, which has mapped nothing of it. */
static struct lagg_port *
port_lend(int ifindex, struct lagg_port *borrower)
{
    struct lagg_port *lender = malloc(sizeof *lender);
    struct lagg_port_fds fds;

    memset(lender, 0, sizeof *lender);
    lender->apart = true;
    CHECK(port_open(lender, ifindex, 1, true) == 0);
    CHECK(!port_is_mapped(lender));
    fds = port_fds_dup(lender);
    memset(borrower, 0, sizeof *borrower);
    CHECK(port_adopt(borrower, &fds) == 0);
    return lender;
}

/* The road's port is lent by another process from now on, which is returned. */
static struct lagg_port *
road_borrow(struct road *road)
{
    struct lagg_port *lender;

    port_close(&road->port);
    free(road->work);
    lender = port_lend((int)if_nametoindex("port0"), &road->port);
    road->work = port_settle(&road->port);
    atomic_store(&road->port.wish->xdp, true);
    CHECK(port_uses_xdp(&road->port));
    return lender;
}

/* Before Linux 6.4 nobody could map it once it is bound. */
static void
it_is_bound_when_who_sends_by_it_has_mapped_it(bool bound)
{
    struct road *road = road_make();
    struct lagg_port *lender = road_borrow(road);
    int error;

    check_about("lent", bound);
    if (bound) {
        port_bind_xdp(lender);
    }
    CHECK_EQ_U32(road_ship(road, 10, 0, &error), 10);
    CHECK_EQ_U32(atomic_load(road->port.xdp.waiting.producer), bound ? 10 : 0);
    CHECK(port_uses_xdp(&road->port) == bound);
    road_expect(road, 0, 10);
    port_close(lender);
    free(lender);
    road_free(road);
}

/* ---- where it cannot be -----------------------------------------------------------
 */

static void
the_second_of_a_queue_sends_by_the_packet_socket(void)
{
    struct road *road = road_make();
    struct lagg_port *second = malloc(sizeof *second);
    struct port_work *work;

    check_about("busy", 0);
    memset(second, 0, sizeof *second);
    CHECK(port_open(second, road->port.ifindex, 1, true) == 0);
    work = port_settle(second);
    CHECK(!port_uses_xdp(second));
    port_close(second);
    free(work);
    free(second);
    road_free(road);
}

static void
whatever_lacks_the_port_opens_and_nothing_is_left(uint32_t rings, bool xdp, bool uses)
{
    struct lagg_port *port = malloc(sizeof *port);
    uint32_t fds = fds_count(), maps = rings_count();
    struct port_work *work;
    int tap = tap_make("port0", false);

    check_about("opens", rings);
    memset(port, 0, sizeof *port);
    CHECK(port_open(port, (int)if_nametoindex("port0"), rings, xdp) == 0);
    work = port_settle(port);
    CHECK(port_uses_xdp(port) == uses);
    CHECK_EQ_U32(fds_count(), fds + 1 + 1 + 2 * rings + 2 * uses);
    port_close(port);
    close(tap);
    CHECK_EQ_U32(fds_count(), fds);
    CHECK_EQ_U32(rings_count(), maps);
    free(work);
    free(port);
}

static void
a_port_without_memory_for_xdp_leaks_nothing(void)
{
    uint32_t fds = fds_count();
    int tap = tap_make("port0", false);
    struct xdp xdp = {.fd = -1, .chunks_fd = -1};
    struct rlimit usual, none;

    check_about("no memory", 0);
    CHECK(getrlimit(RLIMIT_AS, &usual) == 0);
    none = usual;
    none.rlim_cur = 1 << 20;
    CHECK(setrlimit(RLIMIT_AS, &none) == 0);
    CHECK(xdp_open(&xdp) == -ENOMEM);
    CHECK(setrlimit(RLIMIT_AS, &usual) == 0);
    close(tap);
    CHECK_EQ_U32(fds_count(), fds);
}

int
main(void)
{
    namespace_enter();
    both_paths_keep_one_order();
    the_wish_counts_from_the_next_burst_on();
    what_a_full_queue_drops_is_not_counted_as_gone();
    without_carrier_nothing_is_gone();
    a_port_that_is_down_says_so_and_sends_nothing();
    a_port_that_is_gone_says_so();
    it_is_bound_when_who_sends_by_it_has_mapped_it(true);
    it_is_bound_when_who_sends_by_it_has_mapped_it(false);
    the_second_of_a_queue_sends_by_the_packet_socket();
    a_port_without_memory_for_xdp_leaks_nothing();
    whatever_lacks_the_port_opens_and_nothing_is_left(1, true, true);
    whatever_lacks_the_port_opens_and_nothing_is_left(1, false, false);
    whatever_lacks_the_port_opens_and_nothing_is_left(3, true, false);
    return check_report();
}
