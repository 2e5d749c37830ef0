/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames that a port takes late, in parts, or not at all, and frames that are none:
 * each is sent once or counted once, and delays no other.
 */
#include "world.h"

enum { SEND_TRIES = 16 /* as transmit.c, with the first */ };

/* ---- partial and late -------------------------------------------------------------
 */

static void
a_port_that_takes_few_at_a_time_gets_each_once(uint32_t take_max)
{
    struct world *world = world_with(LAGG_SPREAD_FIRST, 1);
    struct lagg_counters expected = {.tx_in = BURST_MAX, .tx_out = BURST_MAX};

    check_about("takes at a time", take_max);
    world->wires[0].take_max = take_max;
    host_send(world, 0, BURST_MAX);
    world_poll(world);
    CHECK_EQ_U32(world->wires[0].calls, (BURST_MAX + take_max - 1) / take_max);
    fd_expect(world->wires[0].far_fd, 0, 1, BURST_MAX);
    world_end(world, &expected);
}

static void
a_queue_that_was_full_for_a_moment_loses_nothing(int error, uint32_t after)
{
    struct world *world = world_with(LAGG_SPREAD_FIRST, 1);
    struct lagg_counters expected = {.tx_in = BURST_MAX, .tx_out = BURST_MAX};

    check_about("full for a moment, after", after);
    wire_fail(world, 0, error, after, SEND_TRIES - 1);
    host_send(world, 0, BURST_MAX);
    world_poll(world);
    fd_expect(world->wires[0].far_fd, 0, 1, BURST_MAX);
    world_end(world, &expected);
}

static void
a_queue_that_stays_full_costs_one_frame_at_a_time(int error)
{
    struct world *world = world_with(LAGG_SPREAD_FIRST, 1);
    struct lagg_counters expected = {.tx_in = BURST_MAX, .tx_out = BURST_MAX - 1};

    check_about("full", (uint32_t)error);
    wire_fail(world, 0, error, 5, SEND_TRIES);
    host_send(world, 0, BURST_MAX);
    world_poll(world);
    fd_expect(world->wires[0].far_fd, 0, 1, 5);
    fd_expect(world->wires[0].far_fd, 6, 1, BURST_MAX);
    CHECK(port_counters(world, 0).drops[LAGG_DROP_TX_FULL] == 1);
    expected.drops[LAGG_DROP_TX_FULL] = 1;
    world_end(world, &expected);
}

static void
a_full_port_blocks_no_other(int error)
{
    struct world *world = world_with(LAGG_SPREAD_TURN, 3);
    struct lagg_counters expected = {.tx_in = 30, .tx_out = 20};

    check_about("full for ever", (uint32_t)error);
    wire_fail(world, 0, error, 0, FOREVER);
    host_send(world, 0, 30);
    world_poll(world);
    /* The first frame has the patience of all, and the others' frames go before. */
    CHECK_EQ_U32(world->wires[0].calls, SEND_TRIES + 9);
    CHECK_EQ_U32(world->wires[1].calls, 1);
    CHECK_EQ_U32(world->wires[2].calls, 1);
    CHECK(world->wires[1].last_call <= 3 && world->wires[2].last_call <= 3);
    fd_expect(world->wires[1].far_fd, 1, 3, 30);
    fd_expect(world->wires[2].far_fd, 2, 3, 30);
    CHECK(port_counters(world, 0).drops[LAGG_DROP_TX_FULL] == 10);
    expected.drops[LAGG_DROP_TX_FULL] = 10;
    world_end(world, &expected);
}

/* Each of them is asked at once by the first of its frames, has patience after that,
 * and is asked no more for the other's sake. */
static void
full_ports_are_patient_one_after_the_other(int error)
{
    struct world *world = world_with(LAGG_SPREAD_TURN, 3);
    struct lagg_counters expected = {.tx_in = 30, .tx_out = 10};

    check_about("two full for ever", (uint32_t)error);
    wire_fail(world, 0, error, 0, FOREVER);
    wire_fail(world, 1, error, 0, FOREVER);
    host_send(world, 0, 30);
    world_poll(world);
    CHECK_EQ_U32(world->wires[0].calls, SEND_TRIES + 9);
    CHECK_EQ_U32(world->wires[1].calls, SEND_TRIES + 9);
    fd_expect(world->wires[2].far_fd, 2, 3, 30);
    expected.drops[LAGG_DROP_TX_FULL] = 20;
    world_end(world, &expected);
}

/* What stands in is dead as well: the burst remembers both. */
static void
a_full_port_that_dies_passes_on_what_it_holds(int error, uint32_t tries)
{
    struct world *world = world_with(LAGG_SPREAD_FIRST, 3);
    struct lagg_counters expected = {.tx_in = BURST_MAX, .tx_out = BURST_MAX};

    check_about("full, then dead", tries);
    wire_fail(world, 0, error, 5, tries);
    world->wires[0].then_error = ENETDOWN;
    wire_fail(world, 1, ENETDOWN, 3, FOREVER);
    host_send(world, 0, BURST_MAX);
    world_poll(world);
    CHECK_EQ_U32(world->wires[0].calls, 1 + tries + 1); /* five frames, full, dead */
    fd_expect(world->wires[0].far_fd, 0, 1, 5);
    fd_expect(world->wires[1].far_fd, 5, 1, 8);
    fd_expect(world->wires[2].far_fd, 8, 1, BURST_MAX);
    world_end(world, &expected);
}

/* The filter is asked once more for the first of a burst, and no more than that. */
static void
what_a_filter_drops_is_counted_as_that(int error, uint32_t reason)
{
    struct world *world = world_with(LAGG_SPREAD_TURN, 2);
    struct lagg_counters expected = {.tx_in = 20, .tx_out = 10};

    check_about("filtered", (uint32_t)error);
    atomic_store(&world->ports[0]->wish->filtered, true);
    wire_fail(world, 0, error, 0, FOREVER);
    host_send(world, 0, 20);
    world_poll(world);
    CHECK_EQ_U32(world->wires[0].calls, 11);
    fd_expect(world->wires[1].far_fd, 1, 2, 20);
    CHECK(port_counters(world, 0).drops[reason] == 10);
    expected.drops[reason] = 10;
    world_end(world, &expected);
}

/* ---- refused ----------------------------------------------------------------------
 */

static void
one_refused_frame_costs_only_itself(int error, uint32_t number)
{
    struct world *world = world_with(LAGG_SPREAD_FIRST, 2);
    struct lagg_counters expected = {
        .tx_in = 2 * BURST_MAX, .tx_out = 2 * BURST_MAX - 1};

    check_about(strerror(error), number);
    wire_fail(world, 0, error, number, 1);
    host_send(world, 0, 2 * BURST_MAX);
    world_poll(world);
    world_poll(world);
    fd_expect(world->wires[0].far_fd, 0, 1, number);
    fd_expect(world->wires[0].far_fd, number + 1, 1, 2 * BURST_MAX);
    CHECK(port_counters(world, 0).drops[LAGG_DROP_TX_ERROR] == 1);
    expected.drops[LAGG_DROP_TX_ERROR] = 1;
    world_end(world, &expected);
}

/* By length, as a port with a smaller MTU: numbers 8, 9, 10 are too long. */
static void
frames_too_long_for_a_port_are_counted_whole(void)
{
    struct world *world = world_with(LAGG_SPREAD_FIRST, 2);
    struct lagg_counters expected = {.tx_in = 11 + 3, .tx_out = 11};

    check_about("MTU", 0);
    world->wires[0].frame_bytes_max = FRAME_BYTES_MIN + 7;
    host_send(world, 0, 11);
    host_send(world, 200, 3); /* as short as 0, 1, 2 */
    world_poll(world);
    fd_expect(world->wires[0].far_fd, 0, 1, 8);
    fd_expect(world->wires[0].far_fd, 200, 1, 203);
    expected.drops[LAGG_DROP_TX_ERROR] = 3;
    world_end(world, &expected);
}

/* A refused frame, then a dead port, then a full one, within one burst. */
static void
all_of_it_at_once(void)
{
    struct world *world = world_with(LAGG_SPREAD_FIRST, 3);
    struct lagg_counters expected = {.tx_in = BURST_MAX, .tx_out = BURST_MAX - 2};

    check_about("at once", 0);
    world->wires[0].take_max = 3;
    world->wires[0].frame_bytes_max = 100;
    wire_fail(world, 0, ENETDOWN, 11, FOREVER);
    wire_fail(world, 1, ENOBUFS, 2, SEND_TRIES);
    host_send(world, 0, 5);
    host_send(world, 199, 1); /* the one that is too long */
    host_send(world, 5, 26);
    world_poll(world);
    fd_expect(world->wires[0].far_fd, 0, 1, 11);
    fd_expect(world->wires[1].far_fd, 11, 1, 13);
    fd_expect(world->wires[1].far_fd, 14, 1, 31);
    expected.drops[LAGG_DROP_TX_ERROR] = 1;
    expected.drops[LAGG_DROP_TX_FULL] = 1;
    world_end(world, &expected);
}

/* ---- frames that are none ---------------------------------------------------------
 */

/* Between two good frames; 'bytes' are with the offload header. */
static void
a_bad_frame_costs_only_itself(const uint8_t *bytes, uint32_t size, uint32_t reason)
{
    struct world *world = world_with(LAGG_SPREAD_FLOW, 1);
    struct lagg_counters expected = {.tx_in = 3, .tx_out = 2};

    host_send(world, 1, 1);
    fd_put(world->host_fd, bytes, size);
    host_send(world, 2, 1);
    world_poll(world);
    fd_expect(world->wires[0].far_fd, 1, 1, 3);
    expected.drops[reason] = 1;
    world_end(world, &expected);
}

static void
bad_frames(void)
{
    static uint8_t bytes[HEAD_BYTES + REST_BYTES + 1];

    frame_make(bytes, 9, sizeof bytes - VNET_BYTES);
    for (uint32_t size = 1; size < VNET_BYTES + ETHER_BYTES; size++) {
        check_about("runt", size);
        a_bad_frame_costs_only_itself(bytes, size, LAGG_DROP_RUNT);
    }
    check_about("longer than the buffer", 0);
    a_bad_frame_costs_only_itself(bytes, sizeof bytes, LAGG_DROP_OVERSIZE);
    /* Nobody can tell whether it was longer. */
    a_bad_frame_costs_only_itself(bytes, sizeof bytes - 1, LAGG_DROP_OVERSIZE);
    check_about("offload: no such kind", 0);
    bytes[1] = 77;
    a_bad_frame_costs_only_itself(bytes, 100, LAGG_DROP_BAD_OFFLOAD);
    check_about("offload: header longer than the frame", 0);
    bytes[1] = 0;
    bytes[2] = 101;
    a_bad_frame_costs_only_itself(bytes, 100, LAGG_DROP_BAD_OFFLOAD);
}

static void
a_frame_just_long_enough_passes(void)
{
    struct world *world = world_with(LAGG_SPREAD_FLOW, 1);
    struct lagg_counters expected = {.tx_in = 1, .tx_out = 1};
    uint8_t bytes[VNET_BYTES + ETHER_BYTES], taken[WIRE_BYTES_MAX];

    check_about("no runt", 0);
    frame_make(bytes, 1, ETHER_BYTES);
    fd_put(world->host_fd, bytes, sizeof bytes);
    world_poll(world);
    CHECK(
        recv(world->wires[0].far_fd, taken, sizeof taken, 0) == (ssize_t)sizeof bytes);
    CHECK_EQ_BYTES(taken, bytes, sizeof bytes);
    world_end(world, &expected);
}

static void
large_frames_pass_whole(uint32_t size)
{
    static uint8_t bytes[HEAD_BYTES + REST_BYTES];
    struct world *world = world_with(LAGG_SPREAD_ALL, 2);
    struct lagg_counters expected = {.tx_in = 6, .tx_out = 6};

    check_about("large", size);
    frame_make(bytes, 2, size);
    host_send(world, 1, 1);
    fd_put(world->host_fd, bytes, VNET_BYTES + size);
    host_send(world, 3, 1);
    world_poll(world);
    fd_expect(world->wires[0].far_fd, 1, 1, 4);
    fd_expect(world->wires[1].far_fd, 1, 1, 4);
    CHECK(port_counters(world, 1).tx_bytes == FRAME_BYTES_MIN * 2 + 4 + size);
    world_end(world, &expected);
}

/* ---- a TAP that cannot be read ----------------------------------------------------
 */

static void
an_unreadable_tap_is_given_up_only_when_gone(int error)
{
    struct world *world = world_with(LAGG_SPREAD_FIRST, 1);
    struct lagg_counters expected = {.tx_in = 1, .tx_out = 1};

    check_about(strerror(error), 0);
    host_send(world, 0, 1);
    world->read_error = error;
    CHECK_EQ_U32(world_poll(world), 0);
    CHECK(world->worker->tap_gone == (error == EBADFD));
    world->read_error = 0;
    world->worker->tap_gone = false;
    CHECK_EQ_U32(world_poll(world), 1);
    fd_expect(world->wires[0].far_fd, 0, 1, 1);
    world_end(world, &expected);
}

static void
late_and_refused_frames(void)
{
    static const uint32_t takes[] = {1, 3, 31, 32};
    static const int full[] = {EAGAIN, ENOBUFS};
    static const int refused[] = {EMSGSIZE, EPERM, EINVAL, EIO, ENOMEM};

    for (size_t i = 0; i < sizeof takes / sizeof takes[0]; i++) {
        a_port_that_takes_few_at_a_time_gets_each_once(takes[i]);
    }
    for (size_t i = 0; i < sizeof full / sizeof full[0]; i++) {
        a_queue_that_was_full_for_a_moment_loses_nothing(full[i], 0);
        a_queue_that_was_full_for_a_moment_loses_nothing(full[i], 17);
        a_queue_that_stays_full_costs_one_frame_at_a_time(full[i]);
        a_full_port_blocks_no_other(full[i]);
        full_ports_are_patient_one_after_the_other(full[i]);
        a_full_port_that_dies_passes_on_what_it_holds(full[i], 1);
        a_full_port_that_dies_passes_on_what_it_holds(full[i], SEND_TRIES - 1);
    }
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        one_refused_frame_costs_only_itself(refused[i], 0);
        one_refused_frame_costs_only_itself(refused[i], 5);
        one_refused_frame_costs_only_itself(refused[i], 31);
    }
    frames_too_long_for_a_port_are_counted_whole();
    all_of_it_at_once();
}

int
main(void)
{
    what_a_filter_drops_is_counted_as_that(ENOBUFS, LAGG_DROP_TX_FILTERED);
    what_a_filter_drops_is_counted_as_that(EAGAIN, LAGG_DROP_TX_FULL);
    late_and_refused_frames();
    bad_frames();
    a_frame_just_long_enough_passes();
    large_frames_pass_whole(HEAD_BYTES - VNET_BYTES - 1);
    large_frames_pass_whole(HEAD_BYTES - VNET_BYTES);
    large_frames_pass_whole(HEAD_BYTES - VNET_BYTES + 1);
    large_frames_pass_whole(65535 + ETHER_BYTES);
    an_unreadable_tap_is_given_up_only_when_gone(EBADFD);
    an_unreadable_tap_is_given_up_only_when_gone(EIO);
    return check_report();
}
