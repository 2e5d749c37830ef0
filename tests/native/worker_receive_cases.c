/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From the ports' rings to the TAP: whom it accepts from, what the kernel took out of a
 * frame or put beside the ring, and what happens when the TAP does not take it.
 */
#include "rings.h"

#include <fcntl.h>
#include <linux/virtio_net.h>

enum { PORTS = 3 };

/* ---- whom it accepts from ---------------------------------------------------------
 */

static void
only_accepted_ports_are_heard(uint32_t accept, uint32_t reason)
{
    struct world *world = world_make(PORTS);
    struct lagg_plan plan = plan_of(LAGG_SPREAD_FIRST, PORTS);
    struct lagg_counters expected = {.rx_in = 10 * PORTS};

    check_about("accept", accept);
    plan.rx_accept = accept;
    plan.rx_drop = reason;
    world_publish(world, &plan);
    for (uint32_t slot = 0; slot < PORTS; slot++) {
        ring_put_numbers(world, slot, slot * 100, 10);
    }
    CHECK_EQ_U32(world_poll(world), 10 * PORTS);
    for (uint32_t slot = 0; slot < PORTS; slot++) {
        const struct lagg_port_counters port = port_counters(world, slot);
        uint32_t heard = accept >> slot & 1;

        fd_expect(world->host_fd, slot * 100, 1, slot * 100 + 10 * heard);
        CHECK(port.rx_frames == 10);
        CHECK(port.drops[reason] == 10 - 10 * heard);
        expected.rx_out += 10 * heard;
        expected.drops[reason] += 10 - 10 * heard;
    }
    world_end(world, &expected);
}

static void
a_port_that_the_plan_does_not_name_is_not_read(void)
{
    struct world *world = world_make(2);
    struct lagg_plan plan = plan_of(LAGG_SPREAD_FIRST, 2);
    struct lagg_counters expected = {.rx_in = 2, .rx_out = 2};

    check_about("not named", 1);
    plan.ports = plan.rx_accept = plan.tx_slots_count = 1;
    world_publish(world, &plan);
    ring_put_numbers(world, 0, 1, 1);
    ring_put_numbers(world, 1, 2, 1);
    CHECK_EQ_U32(world_poll(world), 1);
    fd_expect(world->host_fd, 1, 1, 2);
    fd_expect_empty(world->host_fd);
    plan = plan_of(LAGG_SPREAD_FIRST, 2);
    world_publish(world, &plan);
    CHECK_EQ_U32(world_poll(world), 1);
    fd_expect(world->host_fd, 2, 1, 3);
    world_end(world, &expected);
}

/* ---- the ring ---------------------------------------------------------------------
 */

static void
a_full_ring_comes_in_bursts(void)
{
    struct world *world = world_with(LAGG_SPREAD_FIRST, 1);
    struct lagg_counters expected = {
        .rx_in = 3 * RING_FRAMES, .rx_out = 3 * RING_FRAMES};
    uint32_t put = RING_FRAMES, bytes = 0;

    check_about("ring", RING_FRAMES);
    ring_put_numbers(world, 0, 0, RING_FRAMES);
    for (uint32_t first = 0; first < 3 * RING_FRAMES; first += BURST_MAX) {
        CHECK_EQ_U32(world_poll(world), BURST_MAX);
        fd_expect(world->host_fd, first, 1, first + BURST_MAX);
        if (put < 3 * RING_FRAMES) {
            ring_put_numbers(world, 0, put, BURST_MAX);
            put += BURST_MAX;
        }
    }
    CHECK_EQ_U32(world_poll(world), 0);
    for (uint32_t number = 0; number < 3 * RING_FRAMES; number++) {
        bytes += FRAME_BYTES_MIN + number % 200;
    }
    CHECK(port_counters(world, 0).rx_bytes == bytes);
    world_end(world, &expected);
}

static void
rings_left_to_fill_keep_no_frame_of_the_tap_waiting(void)
{
    struct world *world = world_with(LAGG_SPREAD_FIRST, 1);

    check_about("busy", 10);
    world->worker->pace.rings_due_ns = UINT64_MAX;
    ring_put_numbers(world, 0, 0, 10);
    host_send(world, 0, 3);
    CHECK_EQ_U32(world_poll(world), 3);
    fd_expect(world->wires[0].far_fd, 0, 1, 3);
    fd_expect_empty(world->host_fd);
    world->worker->pace.rings_due_ns = 0;
    CHECK_EQ_U32(world_poll(world), 10);
    fd_expect(world->host_fd, 0, 1, 10);
    world_end(world,
        &(struct lagg_counters){.tx_in = 3, .tx_out = 3, .rx_in = 10, .rx_out = 10});
}

static void
without_other_frames_the_worker_waits_until_the_rings_are_due(void)
{
    struct world *world = world_with(LAGG_SPREAD_FIRST, 1);
    uint64_t due_ns = clock_ns() + 200000;

    check_about("waits", 1);
    world->worker->pace.rings_due_ns = due_ns;
    ring_put_numbers(world, 0, 0, 1);
    CHECK_EQ_U32(world_poll(world), 1);
    CHECK(clock_ns() >= due_ns);
    fd_expect(world->host_fd, 0, 1, 1);
    world_end(world, &(struct lagg_counters){.rx_in = 1, .rx_out = 1});
}

/* ---- the VLAN tag beside the frame ------------------------------------------------
 */

struct tag_case {
    const char *name;
    uint32_t status;
    uint16_t tpid, tci;
    uint8_t tag[TAG_BYTES]; /* as it goes back in */
};

static const struct tag_case tag_cases[] = {
    {"802.1Q, TPID not told", 0, 0, 0x6005, {0x81, 0x00, 0x60, 0x05}},
    {"802.1Q", TP_STATUS_VLAN_TPID_VALID, 0x8100, 0x0fff, {0x81, 0x00, 0x0f, 0xff}},
    {"802.1ad", TP_STATUS_VLAN_TPID_VALID, 0x88a8, 0x6064, {0x88, 0xa8, 0x60, 0x64}},
    {"priority tag", TP_STATUS_VLAN_TPID_VALID, 0x8100, 0, {0x81, 0x00, 0x00, 0x00}},
};

/* Little-endian or big: the offload header is in the host's order. */
static void
offload_set(uint8_t *bytes, uint8_t flags, uint16_t hdr_len, uint16_t csum_start)
{
    bytes[0] = flags;
    memcpy(bytes + 2, &hdr_len, sizeof hdr_len);
    memcpy(bytes + 6, &csum_start, sizeof csum_start);
}

/* Puts 'bytes' into the ring with the tag beside them; they come out with it inside,
 * and with the offload header moved to where 'moved' says. */
static void
check_tag(const struct tag_case *row, uint8_t *bytes, uint32_t size, uint8_t *moved)
{
    static uint8_t taken[WIRE_BYTES_MAX];
    struct world *world = world_with(LAGG_SPREAD_FIRST, 1);
    struct lagg_counters expected = {.rx_in = 1, .rx_out = 1};
    struct tpacket2_hdr *entry = ring_put(world, 0, bytes, VNET_BYTES + size);

    entry->tp_status |= TP_STATUS_VLAN_VALID | row->status;
    entry->tp_vlan_tci = row->tci;
    entry->tp_vlan_tpid = row->tpid;
    if (entry->tp_snaplen < entry->tp_len) {
        entry->tp_status |= TP_STATUS_COPY;
        fd_put(world->wires[0].large_fd, bytes, VNET_BYTES + size);
    }
    CHECK_EQ_U32(world_poll(world), 1);
    CHECK(recv(world->host_fd, taken, sizeof taken, 0) ==
          (ssize_t)(VNET_BYTES + size + TAG_BYTES));
    CHECK_EQ_BYTES(taken, moved, VNET_BYTES);
    CHECK(memcmp(taken + VNET_BYTES, bytes + VNET_BYTES, 12) == 0);
    CHECK_EQ_BYTES(taken + VNET_BYTES + 12, row->tag, TAG_BYTES);
    CHECK(memcmp(taken + VNET_BYTES + 16, bytes + VNET_BYTES + 12, size - 12) == 0);
    CHECK(entry->tp_snaplen <= ENTRY_ROOM && entry->tp_mac == ENTRY_MAC);
    CHECK(port_counters(world, 0).rx_bytes == size + TAG_BYTES);
    world_end(world, &expected);
}

static void
tags_go_back_into_their_frames(uint32_t size)
{
    static uint8_t bytes[WIRE_BYTES_MAX];
    const uint8_t inner[] = {0x81, 0x00, 0x00, 0x07};

    for (size_t i = 0; i < sizeof tag_cases / sizeof tag_cases[0]; i++) {
        uint8_t moved[VNET_BYTES] = {0};

        check_about(tag_cases[i].name, size);
        frame_make(bytes, 1, size);
        check_tag(&tag_cases[i], bytes, size, moved);
        /* QinQ: only the outer tag is beside the frame. */
        memcpy(bytes + VNET_BYTES + 12, inner, sizeof inner);
        check_tag(&tag_cases[i], bytes, size, moved);
        if (size > 60) {
            /* Offsets count from the frame's first byte, so they move with the rest. */
            offload_set(bytes, 1, 54, 34);
            offload_set(moved, 1, 58, 38);
            check_tag(&tag_cases[i], bytes, size, moved);
            offload_set(bytes, 0, 54, 0);
            offload_set(moved, 0, 58, 0);
            check_tag(&tag_cases[i], bytes, size, moved);
        }
    }
}

/* ---- frames that are none ---------------------------------------------------------
 */

static void
a_bad_frame_is_not_delivered(const uint8_t *bytes, uint32_t size, uint32_t reason)
{
    struct world *world = world_with(LAGG_SPREAD_FIRST, 1);
    struct lagg_counters expected = {.rx_in = 4, .rx_out = 2};
    struct tpacket2_hdr *entry;

    check_about("bad frame", size);
    ring_put_numbers(world, 0, 1, 1);
    ring_put(world, 0, bytes, size);
    entry = ring_put(world, 0, bytes, size);
    entry->tp_status |= TP_STATUS_VLAN_VALID;
    ring_put_numbers(world, 0, 2, 1);
    CHECK_EQ_U32(world_poll(world), 4);
    fd_expect(world->host_fd, 1, 1, 3);
    CHECK(port_counters(world, 0).drops[reason] == 2);
    expected.drops[reason] = 2;
    world_end(world, &expected);
}

static void
bad_frames(void)
{
    uint8_t bytes[VNET_BYTES + 60];

    frame_make(bytes, 9, 60);
    for (uint32_t size = 0; size < ETHER_BYTES; size++) {
        a_bad_frame_is_not_delivered(bytes, VNET_BYTES + size, LAGG_DROP_RUNT);
    }
    offload_set(bytes, 1, 0, 70); /* a checksum behind the frame, even with a tag */
    a_bad_frame_is_not_delivered(bytes, sizeof bytes, LAGG_DROP_BAD_OFFLOAD);
}

/* ---- frames that are too long -----------------------------------------------------
 */

enum { TOO_LONG = 1, TAGGED = 2, SEGMENTED = 4 };

struct length_case {
    const char *name;
    uint32_t limit, bytes; /* of the plan; of the frame, with the tag beside it */
    uint32_t is;
};

static const struct length_case length_cases[] = {
    {"as long as may be", 1522, 1522, 0},
    {"a byte longer", 1522, 1523, TOO_LONG},
    {"with the tag beside it", 1522, 1522, TAGGED},
    {"by the tag beside it", 1522, 1523, TAGGED | TOO_LONG},
    {"beside the ring", 1522, 9000, TOO_LONG},
    {"beside the ring, and its tag, too", 9022, 9022, TAGGED},
    {"beside the ring, a byte longer", 9022, 9023, TAGGED | TOO_LONG},
    {"to be segmented", 1522, 1523, SEGMENTED},
    {"to be segmented, with a tag", 1522, 1523, SEGMENTED | TAGGED},
    {"to be segmented, beside the ring", 1522, 60000, SEGMENTED},
};

static void
put_of_length(struct world *world, const struct length_case *row)
{
    static uint8_t bytes[WIRE_BYTES_MAX];
    uint32_t tag_bytes = (row->is & TAGGED) ? TAG_BYTES : 0;
    uint32_t size = VNET_BYTES + row->bytes - tag_bytes;
    struct tpacket2_hdr *entry;

    frame_make(bytes, 7, row->bytes - tag_bytes);
    if (row->is & SEGMENTED) {
        const struct virtio_net_hdr offload = {
            .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1448};

        memcpy(bytes, &offload, sizeof offload);
    }
    entry = ring_put(world, 0, bytes, size);
    if (entry->tp_snaplen < entry->tp_len) {
        fd_put(world->wires[0].large_fd, bytes, size);
        entry->tp_status |= TP_STATUS_COPY;
    }
    if (row->is & TAGGED) {
        entry->tp_status |= TP_STATUS_VLAN_VALID;
    }
}

/* Counted as what it is, whole or not at all, and those around it pass. */
static void
a_frame_passes_up_to_the_plan_s_length(const struct length_case *row)
{
    struct world *world = world_make(1);
    struct lagg_plan plan = plan_of(LAGG_SPREAD_FIRST, 1);
    struct lagg_counters expected = {.rx_in = 3, .rx_out = 3};
    static uint8_t taken[WIRE_BYTES_MAX];

    check_about(row->name, row->bytes);
    plan.rx_bytes_max = row->limit;
    world_publish(world, &plan);
    ring_put_numbers(world, 0, 1, 1);
    put_of_length(world, row);
    ring_put_numbers(world, 0, 2, 1);
    CHECK_EQ_U32(world_poll(world), 3);
    fd_expect(world->host_fd, 1, 1, 2);
    if (row->is & TOO_LONG) {
        expected.rx_out--;
        expected.drops[LAGG_DROP_OVERSIZE] = 1;
    } else {
        CHECK(recv(world->host_fd, taken, sizeof taken, MSG_DONTWAIT) ==
              (ssize_t)(VNET_BYTES + row->bytes));
    }
    fd_expect(world->host_fd, 2, 1, 3);
    CHECK(port_counters(world, 0).rx_frames == 3);
    CHECK(port_counters(world, 0).drops[LAGG_DROP_OVERSIZE] == 3 - expected.rx_out);
    world_end(world, &expected);
}

/* What the ring still holds is judged by the plan it is read under. */
static void
the_length_may_change_while_frames_wait(void)
{
    struct world *world = world_make(1);
    struct lagg_plan plan = plan_of(LAGG_SPREAD_FIRST, 1);
    struct lagg_counters expected = {.rx_in = 3 * BURST_MAX, .rx_out = 2 * BURST_MAX};

    check_about("changes", 0);
    for (uint32_t number = 0; number < 3 * BURST_MAX; number++) {
        ring_put_number(world, 0, number, 1600);
    }
    for (uint32_t round = 0; round < 3; round++) {
        plan.rx_bytes_max = round == 1 ? 1599 : 1600;
        world_publish(world, &plan);
        CHECK_EQ_U32(world_poll(world), BURST_MAX);
    }
    fd_expect(world->host_fd, 0, 1, BURST_MAX);
    fd_expect(world->host_fd, 2 * BURST_MAX, 1, 3 * BURST_MAX);
    expected.drops[LAGG_DROP_OVERSIZE] = BURST_MAX;
    world_end(world, &expected);
}

/* ---- a TAP that does not take them ------------------------------------------------
 */

struct tap_case {
    int error;
    uint32_t reason;
};

static const struct tap_case tap_cases[] = {
    {EIO, LAGG_DROP_TAP_DOWN},
    {EBADFD, LAGG_DROP_TAP_DOWN},
    {EAGAIN, LAGG_DROP_TAP_FULL},
    {ENOBUFS, LAGG_DROP_TAP_FULL},
    {ENOMEM, LAGG_DROP_TAP_FULL},
    {EINVAL, LAGG_DROP_TAP_ERROR},
    {EFAULT, LAGG_DROP_TAP_ERROR},
};

/* The first 3 of 10 pass, then it fails; and then it works again. */
static void
a_failing_tap_costs_what_it_refused(const struct tap_case *row)
{
    struct world *world = world_with(LAGG_SPREAD_FIRST, 2);
    struct lagg_counters expected = {.rx_in = 20, .rx_out = 13};

    check_about(strerror(row->error), 0);
    ring_put_numbers(world, 1, 0, 10);
    world->write_error = row->error;
    world->writes_ok = 3;
    CHECK_EQ_U32(world_poll(world), 10);
    world->write_error = 0;
    ring_put_numbers(world, 1, 10, 10);
    CHECK_EQ_U32(world_poll(world), 10);
    fd_expect(world->host_fd, 0, 1, 3);
    fd_expect(world->host_fd, 10, 1, 20);
    CHECK(port_counters(world, 1).drops[row->reason] == 7);
    CHECK(port_counters(world, 1).rx_frames == 20);
    expected.drops[row->reason] = 7;
    world_end(world, &expected);
}

/* The socket's own limit, not an invented one. */
static void
a_full_tap_loses_the_newest(void)
{
    struct world *world = world_with(LAGG_SPREAD_FIRST, 1);
    struct lagg_counters counters;

    check_about("full", 0);
    for (uint32_t number = 0; number < RING_FRAMES; number++) {
        ring_put_number(world, 0, number, 1500);
    }
    while (world_poll(world) > 0) {
    }
    counters = world_counters(world);
    CHECK(counters.rx_in == RING_FRAMES);
    CHECK(counters.rx_out > 0 && counters.drops[LAGG_DROP_TAP_FULL] > 0);
    CHECK(counters.rx_out + counters.drops[LAGG_DROP_TAP_FULL] == RING_FRAMES);
    fd_expect(world->host_fd, 0, 1, (uint32_t)counters.rx_out);
    world_end(world, &counters);
}

static void
a_tap_without_a_host_is_an_error_and_no_end(void)
{
    struct world *world = world_with(LAGG_SPREAD_FIRST, 1);
    struct lagg_counters expected = {.rx_in = 5};

    check_about("closed", 0);
    close(world->host_fd);
    world->host_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    ring_put_numbers(world, 0, 0, 5);
    CHECK_EQ_U32(world_poll(world), 5);
    expected.drops[LAGG_DROP_TAP_ERROR] = 5;
    world_expect(world, &expected);
    world_free(world);
}

/* ---- what it sleeps on ------------------------------------------------------------
 */

static void
it_sleeps_on_what_the_live_plan_names(void)
{
    struct world *world = world_with(LAGG_SPREAD_FIRST, 3);
    struct lagg_plan plan = plan_of(LAGG_SPREAD_FIRST, 3);
    const struct worker *worker = world->worker;

    check_about("sleep", 0);
    world_poll(world);
    CHECK_EQ_U32(worker->poll_count, 5);
    for (uint32_t slot = 0; slot < 3; slot++) {
        CHECK(worker->poll_fds[2 + slot] == world->ports[slot]->rings[0][0].fd);
    }
    plan.ports = plan.rx_accept = 1u << 2;
    plan.tx_slots_count = 0;
    world_publish(world, &plan);
    world_poll(world);
    CHECK_EQ_U32(worker->poll_count, 3);
    CHECK(worker->poll_fds[0] == worker->wake_fd);
    CHECK(worker->poll_fds[1] == worker->tap_fd);
    CHECK(worker->poll_fds[2] == world->ports[2]->rings[0][0].fd);
    world_end(world, &(struct lagg_counters){0});
}

/* By the most that one of them held, whatever all of them did. */
static void
rings_are_left_to_fill_after_a_fair_burst(uint32_t first, uint32_t second, bool fill)
{
    struct world *world = world_with(LAGG_SPREAD_FIRST, 2);
    const uint32_t sum = first + second;

    check_about("fair", sum);
    ring_put_numbers(world, 0, 0, first);
    ring_put_numbers(world, 1, first, second);
    world_poll(world);
    CHECK((world->worker->pace.rings_due_ns != 0) == fill);
    fd_expect(world->host_fd, 0, 1, sum);
    world_end(world, &(struct lagg_counters){.rx_in = sum, .rx_out = sum});
}

int
main(void)
{
    for (uint32_t accept = 0; accept < 1u << PORTS; accept++) {
        only_accepted_ports_are_heard(accept, LAGG_DROP_NOT_ACCEPTED);
        only_accepted_ports_are_heard(accept, LAGG_DROP_PROTO_NONE);
    }
    a_port_that_the_plan_does_not_name_is_not_read();
    a_full_ring_comes_in_bursts();
    rings_left_to_fill_keep_no_frame_of_the_tap_waiting();
    without_other_frames_the_worker_waits_until_the_rings_are_due();
    rings_are_left_to_fill_after_a_fair_burst(0, 0, false);
    rings_are_left_to_fill_after_a_fair_burst(BURST_MAX - 1, 1, true);
    rings_are_left_to_fill_after_a_fair_burst(1, BURST_MAX - 1, true);
    rings_are_left_to_fill_after_a_fair_burst(BURST_MAX, 0, false);
    tags_go_back_into_their_frames(FRAME_BYTES_MIN);
    tags_go_back_into_their_frames(ENTRY_ROOM);
    tags_go_back_into_their_frames(9000);
    bad_frames();
    for (size_t i = 0; i < sizeof length_cases / sizeof length_cases[0]; i++) {
        a_frame_passes_up_to_the_plan_s_length(&length_cases[i]);
    }
    the_length_may_change_while_frames_wait();
    for (size_t i = 0; i < sizeof tap_cases / sizeof tap_cases[0]; i++) {
        a_failing_tap_costs_what_it_refused(&tap_cases[i]);
    }
    a_full_tap_loses_the_newest();
    a_tap_without_a_host_is_an_error_and_no_end();
    it_sleeps_on_what_the_live_plan_names();
    return check_report();
}
