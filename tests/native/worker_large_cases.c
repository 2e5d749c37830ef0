/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames too large for a ring entry, which come beside the ring: whole and in their
 * place, or counted, whatever becomes of the copy that the kernel made.
 */
#include "rings.h"

static void
large_frames_keep_their_place(void)
{
    static const uint32_t sizes[] = {60, 60000, 61, 60, ENTRY_ROOM, ENTRY_ROOM + 1,
        HEAD_BYTES - VNET_BYTES, HEAD_BYTES - VNET_BYTES + 1, 65535 + ETHER_BYTES, 18};
    enum { COUNT = sizeof sizes / sizeof sizes[0] };
    struct world *world = world_with(LAGG_SPREAD_FIRST, 1);
    struct lagg_counters expected = {.rx_in = COUNT, .rx_out = COUNT};

    check_about("large", COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        ring_put_number(world, 0, i, sizes[i]);
    }
    CHECK_EQ_U32(world_poll(world), COUNT);
    fd_expect(world->host_fd, 0, 1, COUNT);
    world_end(world, &expected);
}

enum missing { CUT_OFF, NOTHING_BESIDE, TOO_LARGE_BESIDE };

/* A frame that cannot be had whole, between two that can. */
static void
a_frame_is_never_cut(enum missing missing, uint32_t reason)
{
    static uint8_t bytes[HEAD_BYTES + REST_BYTES + 1];
    struct world *world = world_with(LAGG_SPREAD_FIRST, 1);
    struct lagg_counters expected = {.rx_in = 4, .rx_out = 3};
    struct tpacket2_hdr *entry;

    check_about("cut", missing);
    frame_make(bytes, 7, sizeof bytes - VNET_BYTES);
    ring_put_numbers(world, 0, 1, 1);
    entry = ring_put(world, 0, bytes, sizeof bytes);
    if (missing != CUT_OFF) {
        entry->tp_status |= TP_STATUS_COPY;
    }
    if (missing == TOO_LARGE_BESIDE) {
        fd_put(world->wires[0].large_fd, bytes, sizeof bytes);
    }
    if (missing != NOTHING_BESIDE) {
        ring_put_number(world, 0, 2, 30000);
    } else {
        ring_put_numbers(world, 0, 2, 1);
    }
    ring_put_numbers(world, 0, 3, 1);
    CHECK_EQ_U32(world_poll(world), 4);
    fd_expect(world->host_fd, 1, 1, 4);
    CHECK(port_counters(world, 0).rx_frames == 4);
    CHECK(port_counters(world, 0).drops[reason] == 1);
    expected.drops[reason] = 1;
    world_end(world, &expected);
}

struct receive_case {
    const char *name;
    int error;
    uint32_t times;
    bool takes;
};

/* A link that went down leaves an error; an address that is none costs the frame. */
static const struct receive_case receive_cases[] = {
    {"down", ENETDOWN, 1, false},
    {"down, and away", ENETDOWN, 2, false},
    {"interrupted", EINTR, 1, false},
    {"no memory", ENOMEM, 1, false},
    {"no end of errors", ENETDOWN, 100, false},
    {"taken", EFAULT, 1, true},
    {"taken again and again", EINVAL, 3, true},
};

/* Ten large frames, at which recv(2) fails: each that comes up is whole and under its
 * own tag, the others are counted, and nothing is left that would wake the worker. */
static void
a_failing_receive_leaves_each_frame_its_tag(const struct receive_case *row)
{
    enum { COUNT = 10, BYTES = 4000 };
    static uint8_t bytes[VNET_BYTES + BYTES], taken[WIRE_BYTES_MAX];
    struct world *world = world_with(LAGG_SPREAD_FIRST, 1);
    struct lagg_counters counters;
    uint32_t polls = 0;

    check_about(row->name, row->times);
    world->wires[0].receive_error = row->error;
    world->wires[0].receive_times = row->times;
    world->wires[0].receive_takes = row->takes;
    for (uint32_t number = 0; number < COUNT; number++) {
        struct tpacket2_hdr *entry = ring_put_number(world, 0, number, BYTES);

        entry->tp_status |= TP_STATUS_VLAN_VALID;
        entry->tp_vlan_tci = (uint16_t)number;
    }
    CHECK_EQ_U32(world_poll(world), COUNT);
    while (world_poll(world) > 0 || world->wires[0].receive_times > 0) {
        CHECK(polls++ < 100);
    }
    counters = world_counters(world);
    CHECK(counters.rx_in == COUNT);
    CHECK(counters.rx_out + counters.drops[LAGG_DROP_RING_OVERRUN] == COUNT);
    CHECK(counters.rx_out == COUNT || row->takes || row->times > 2);
    while (recv(world->host_fd, taken, sizeof taken, MSG_DONTWAIT) > 0) {
        uint32_t number = taken[VNET_BYTES + ETHER_BYTES + 1];

        frame_make(bytes, number, BYTES);
        CHECK(memcmp(taken + VNET_BYTES + ETHER_BYTES + TAG_BYTES,
                  bytes + VNET_BYTES + ETHER_BYTES, BYTES - ETHER_BYTES) == 0);
    }
    fd_expect_empty(world->ports[0]->rings[0][0].fd);
    /* And from here on all is as before. */
    ring_put_number(world, 0, 77, BYTES);
    CHECK_EQ_U32(world_poll(world), 1);
    fd_expect(world->host_fd, 77, 1, 78);
    counters.rx_in++;
    counters.rx_out++;
    world_end(world, &counters);
}

/* What the kernel queued for a frame that was given up belongs to no other. */
static void
a_stray_copy_is_nobodys_frame(void)
{
    static uint8_t bytes[WIRE_BYTES_MAX];
    struct world *world = world_with(LAGG_SPREAD_FIRST, 1);

    check_about("stray", 0);
    for (uint32_t number = 90; number < 93; number++) {
        frame_make(bytes, number, 5000);
        fd_put(world->wires[0].large_fd, bytes, VNET_BYTES + 5000);
    }
    ring_put_number(world, 0, 1, 5000);
    ring_put_number(world, 0, 2, 5000);
    CHECK_EQ_U32(world_poll(world), 2);
    fd_expect(world->host_fd, 1, 1, 3);
    world_end(world, &(struct lagg_counters){.rx_in = 2, .rx_out = 2});
}

int
main(void)
{
    large_frames_keep_their_place();
    a_frame_is_never_cut(CUT_OFF, LAGG_DROP_RING_OVERRUN);
    a_frame_is_never_cut(NOTHING_BESIDE, LAGG_DROP_RING_OVERRUN);
    a_frame_is_never_cut(TOO_LARGE_BESIDE, LAGG_DROP_OVERSIZE);
    for (size_t i = 0; i < sizeof receive_cases / sizeof receive_cases[0]; i++) {
        a_failing_receive_leaves_each_frame_its_tag(&receive_cases[i]);
    }
    a_stray_copy_is_nobodys_frame();
    return check_report();
}
