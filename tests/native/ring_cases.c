/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A receive ring against the real kernel: what a link that goes down leaves in it and
 * on its socket, and what a frame does that packet(7) cannot describe.
 */
#include "namespace.h"

#include <linux/if_ether.h>

enum { LARGE_BYTES = 4000, MTU = 9000 };

struct wire {
    int fd; /* the port's other end */
    struct ring ring;
    struct ring_place place;
};

static struct frame_buffer buffers[BURST_MAX];
static struct frame frames[BURST_MAX];

static void
wire_begin(struct wire *wire)
{
    *wire = (struct wire){.fd = tap_make_by("port0", IFF_VNET_HDR),
        .ring = {.fd = -1, .place = &wire->place}};
    link_set_mtu("port0", MTU);
    link_up("port0");
    CHECK(ring_open(&wire->ring, (int)if_nametoindex("port0")) == 0);
    CHECK(ring_map(&wire->ring) == 0);
    CHECK(filter_remove(wire->ring.fd) == 0);
}

static void
wire_end(struct wire *wire)
{
    ring_close(&wire->ring);
    close(wire->fd);
}

/* A large frame in VLAN 'number', full of it. */
static void
wire_put(const struct wire *wire, uint8_t number)
{
    uint8_t bytes[VNET_BYTES + LARGE_BYTES] = {[VNET_BYTES] = 2,
        0,
        0,
        0,
        0,
        1,
        2,
        0,
        0,
        0,
        0,
        2,
        ETH_P_8021Q >> 8,
        ETH_P_8021Q & 0xff,
        0,
        number,
        TEST_TYPE >> 8,
        TEST_TYPE & 0xff};

    memset(bytes + VNET_BYTES + ETHER_BYTES + TAG_BYTES, number, LARGE_BYTES - 18);
    CHECK(write(wire->fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes);
}

/* What was read, and of those that had an entry, what could not be had. */
struct losses {
    uint32_t oversize, overrun;
};

/* A burst: each frame and its place in 'buffers'.  Its entries go back. */
static uint32_t
wire_take(struct wire *wire, struct losses *losses)
{
    uint32_t count = 0, refusal;

    ring_begin(&wire->ring, 0, 1);
    for (uint32_t i = 0; i < BURST_MAX && ring_read(&wire->ring, &buffers[count],
                                              &frames[count], &refusal);
        i++) {
        count += refusal == LAGG_DROP_COUNT;
        losses->oversize += refusal == LAGG_DROP_OVERSIZE;
        losses->overrun += refusal == LAGG_DROP_RING_OVERRUN;
        ring_decide(&wire->ring,
            refusal == LAGG_DROP_COUNT ? RING_DELIVERED : RING_LOST + refusal);
    }
    ring_end(&wire->ring);
    ring_release(&wire->ring);
    return count;
}

/* The ring gives this one frame, whole and under its own tag. */
static void
wire_expect(struct wire *wire, uint8_t number)
{
    struct losses losses = {0};

    check_about("frame", number);
    CHECK_EQ_U32(wire_take(wire, &losses), 1);
    CHECK(losses.oversize == 0 && losses.overrun == 0);
    CHECK_EQ_U32(frame_bytes(&frames[0]), LARGE_BYTES);
    CHECK(frames[0].head[VNET_BYTES + ETHER_BYTES + 1] == number);
    CHECK(frames[0].head[VNET_BYTES + ETHER_BYTES + TAG_BYTES] == number);
    CHECK(frames[0].rest[frames[0].rest_bytes - 1] == number);
}

static short
ring_events(const struct ring *ring)
{
    struct pollfd wait = {.fd = ring->fd, .events = POLLIN};

    poll(&wait, 1, 0);
    return wait.revents;
}

/* The worker was busy: it reads the ring without poll(2) before. */
static void
a_link_that_goes_down_costs_no_frame_its_tag(void)
{
    struct wire wire;
    uint8_t number = 1;

    wire_begin(&wire);
    for (uint32_t flap = 0; flap < 4; flap++) {
        wire_put(&wire, number);
        wire_expect(&wire, number++);
        wire_put(&wire, number);
        link_down("port0");
        wire_expect(&wire, number++);
        link_up("port0");
    }
    CHECK(ring_events(&wire.ring) == 0);
    wire_end(&wire);
}

/* Or poll(2) would return at once, for ever. */
static void
the_error_of_a_link_that_goes_down_can_be_taken(void)
{
    struct wire wire;

    wire_begin(&wire);
    check_about("error", 0);
    link_down("port0");
    CHECK(ring_events(&wire.ring) & POLLERR);
    CHECK(ring_events(&wire.ring) & POLLERR);
    ring_clear_error(&wire.ring);
    CHECK(ring_events(&wire.ring) == 0);
    link_up("port0");
    wire_put(&wire, 9);
    wire_expect(&wire, 9);
    wire_end(&wire);
}

/* Frames larger than an entry wait in the socket's own room; those that find none are
 * lost for want of room, not for their length, and none takes another's tag. */
static void
copies_without_room_are_an_overrun(void)
{
    enum { COUNT = 400 };
    struct wire wire;
    struct losses losses = {0};
    uint32_t read = 0, burst, lost;
    int bytes = 1 << 16;

    wire_begin(&wire);
    check_about("room", 0);
    CHECK(setsockopt(wire.ring.fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes) == 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        wire_put(&wire, (uint8_t)i);
    }
    do {
        lost = losses.overrun;
        burst = wire_take(&wire, &losses);
        for (uint32_t i = 0; i < burst; i++) {
            CHECK(frames[i].head[VNET_BYTES + ETHER_BYTES + 1] ==
                  frames[i].rest[frames[i].rest_bytes - 1]);
        }
        read += burst;
    } while (burst > 0 || losses.overrun > lost);
    CHECK(read > 0 && losses.overrun > 0 && losses.oversize == 0);
    CHECK_EQ_U32(read + losses.overrun + ring_take_overruns(&wire.ring), COUNT);
    CHECK(ring_events(&wire.ring) == 0);
    wire_end(&wire);
}

static uint32_t
wire_read(struct wire *wire)
{
    struct losses losses = {0};

    return wire_take(wire, &losses);
}

/* And a ring that is only full, or only silent, is none. */
static void
a_ring_that_cannot_move_is_known(void)
{
    struct wire wire;

    wire_begin(&wire);
    check_about("stuck", 0);
    CHECK_EQ_U32(ring_take_overruns(&wire.ring), 0);
    wire_put(&wire, 1);
    wire_expect(&wire, 1);
    CHECK_EQ_U32(ring_take_overruns(&wire.ring), 0);
    CHECK(!wire.ring.stuck);
    tap_put_indescribable(wire.fd);
    CHECK_EQ_U32(ring_take_overruns(&wire.ring), 1);
    CHECK(wire.ring.stuck);
    CHECK_EQ_U32(ring_take_overruns(&wire.ring), 0);
    CHECK(wire.ring.stuck);
    wire_put(&wire, 2);
    CHECK_EQ_U32(wire_read(&wire), 0);
    CHECK_EQ_U32(ring_take_overruns(&wire.ring), 1);
    CHECK(wire.ring.stuck);
    wire_end(&wire);
}

static void
a_ring_that_is_only_full_is_not_stuck(void)
{
    struct wire wire;

    wire_begin(&wire);
    check_about("full", 0);
    ring_take_overruns(&wire.ring);
    for (uint32_t i = 0; i < RING_FRAMES + 5; i++) {
        wire_put(&wire, 1);
    }
    CHECK_EQ_U32(ring_take_overruns(&wire.ring), 5);
    CHECK(!wire.ring.stuck);
    wire_put(&wire, 1);
    CHECK_EQ_U32(ring_take_overruns(&wire.ring), 1);
    CHECK(!wire.ring.stuck);
    while (wire_read(&wire) > 0) {
    }
    CHECK_EQ_U32(ring_take_overruns(&wire.ring), 0);
    CHECK(!wire.ring.stuck);
    wire_end(&wire);
}

int
main(void)
{
    namespace_enter();
    a_link_that_goes_down_costs_no_frame_its_tag();
    the_error_of_a_link_that_goes_down_can_be_taken();
    copies_without_room_are_an_overrun();
    a_ring_that_cannot_move_is_known();
    a_ring_that_is_only_full_is_not_stuck();
    return check_report();
}
