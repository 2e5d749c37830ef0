/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From the TAP to the ports: which port, in which order, exactly once, and what happens
 * when a port does not take a frame.
 */
#include "world.h"

enum { FRAMES = 3 * BURST_MAX + 5 };

static const char *const spread_names[] = {"first", "turn", "flow", "all"};

/* ---- each spread, with any number of ports ----------------------------------------
 */

static bool
frame_is_for(const struct lagg_plan *plan, uint32_t number, uint32_t slot)
{
    uint8_t bytes[VNET_BYTES + FRAME_BYTES_MIN];
    struct lagg_hashed hashed = {0};

    switch (plan->spread) {
    case LAGG_SPREAD_FIRST:
        return slot == 0;
    case LAGG_SPREAD_TURN:
        return slot == number % plan->tx_slots_count;
    case LAGG_SPREAD_FLOW:
        frame_make(bytes, number, FRAME_BYTES_MIN);
        CHECK(lagg_flow_hash(plan, bytes + VNET_BYTES, FRAME_BYTES_MIN, &hashed) == 0);
        return slot == hashed.hash % plan->tx_slots_count;
    default:
        return true;
    }
}

static void
expect_spread(struct world *world, const struct lagg_plan *plan)
{
    for (uint32_t slot = 0; slot < plan->tx_slots_count; slot++) {
        uint32_t frames = 0, bytes = 0;

        for (uint32_t number = 0; number < FRAMES; number++) {
            if (frame_is_for(plan, number, slot)) {
                CHECK_EQ_U32(fd_take_number(world->wires[slot].far_fd), number);
                frames++;
                bytes += FRAME_BYTES_MIN + number % 200;
            }
        }
        CHECK(port_counters(world, slot).tx_frames == frames);
        CHECK(port_counters(world, slot).tx_bytes == bytes);
    }
}

static void
every_frame_takes_its_port(uint32_t spread, uint32_t ports_count)
{
    struct world *world = world_with(spread, ports_count);
    const struct lagg_plan plan = plan_of(spread, ports_count);
    uint32_t copies = spread == LAGG_SPREAD_ALL ? ports_count : 1;
    struct lagg_counters expected = {.tx_in = FRAMES};

    check_about(spread_names[spread], ports_count);
    host_send(world, 0, FRAMES);
    for (uint32_t left = FRAMES; left > 0;
        left -= left < BURST_MAX ? left : BURST_MAX) {
        CHECK_EQ_U32(world_poll(world), left < BURST_MAX ? left : BURST_MAX);
    }
    CHECK_EQ_U32(world_poll(world), 0);
    if (ports_count == 0) {
        expected.drops[LAGG_DROP_NO_PORT] = FRAMES;
    } else {
        expected.tx_in = expected.tx_out = FRAMES * copies;
        expect_spread(world, &plan);
    }
    world_end(world, &expected);
}

/* Of the flows' spread alone; 'taken' of each entry's frames went out, by its own port
 * or another. */
static void
expect_buckets(struct world *world, const struct lagg_plan *plan, uint64_t taken)
{
    struct lagg_bucket buckets[LAGG_BUCKETS] = {{0, 0}};

    buckets_sum(&world->worker->work->buckets, buckets);
    for (uint32_t i = 0; i < LAGG_BUCKETS; i++) {
        uint64_t expected = 0;

        for (uint32_t number = 0; number < BURST_MAX; number++) {
            expected += plan->spread == LAGG_SPREAD_FLOW && i < plan->tx_slots_count &&
                        frame_is_for(plan, number, i);
        }
        CHECK(buckets[i].frames == (expected < taken ? expected : taken));
    }
}

static void
buckets_count_what_went_out(uint32_t spread)
{
    const struct lagg_plan plan = plan_of(spread, 4);

    /* All ports well; one dead, another in its place; each full after two frames. */
    for (uint32_t what = 0; what < 3; what++) {
        struct world *world = world_with(spread, 4);

        check_about(spread_names[spread], what);
        for (uint32_t slot = 0; slot < 4; slot++) {
            if (what == 2 || (what == 1 && slot == 1)) {
                wire_fail(world, slot, what == 1 ? ENETDOWN : EAGAIN, what == 1 ? 0 : 2,
                    FOREVER);
            }
        }
        host_send(world, 0, BURST_MAX);
        world_poll(world);
        expect_buckets(world, &plan, what == 2 ? 2 : BURST_MAX);
        world_free(world);
    }
}

static void
every_spread_with_any_number_of_ports(void)
{
    static const uint32_t counts[] = {0, 1, 2, 7, 32};

    for (uint32_t spread = 0; spread < LAGG_SPREAD_COUNT; spread++) {
        for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
            every_frame_takes_its_port(spread, counts[i]);
        }
    }
}

/* Ports there are, but the plan's table is empty: its reason counts, whatever it is. */
static void
an_empty_table_counts_the_plans_reason(uint32_t spread, uint32_t reason)
{
    struct world *world = world_make(2);
    struct lagg_plan plan = plan_of(spread, 2);
    struct lagg_counters expected = {.tx_in = 10};

    check_about("empty table", reason);
    plan.tx_slots_count = 0;
    plan.tx_drop = reason;
    world_publish(world, &plan);
    host_send(world, 0, 9);
    fd_put(world->host_fd, (const uint8_t[]){0}, 1); /* even a runt */
    world_poll(world);
    expected.drops[reason] = 10;
    world_end(world, &expected);
}

/* 1 -> 0 -> 1 ports, between one burst and the next. */
static void
ports_come_and_go_between_bursts(uint32_t spread)
{
    struct world *world = world_make(1);
    struct lagg_counters expected = {.tx_in = 2000, .tx_out = 1000};

    check_about("1 -> 0 -> 1", spread);
    for (uint32_t i = 0; i < 1000; i++) {
        const struct lagg_plan none = plan_of(spread, 0), one = plan_of(spread, 1);

        world_publish(world, &one);
        host_send(world, i, 1);
        world_poll(world);
        fd_expect(world->wires[0].far_fd, i, 1, i + 1);
        world_publish(world, &none);
        host_send(world, i, 1);
        world_poll(world);
    }
    expected.drops[LAGG_DROP_NO_PORT] = 1000;
    world_end(world, &expected);
}

/* ---- the batch a frame came in ----------------------------------------------------
 */

enum { FLOWS = 1000 };

/* Sends FLOWS flows in bursts of 'burst'; notes the port that each took. */
static void
flows_ports(uint32_t burst, uint8_t ports[FLOWS])
{
    struct world *world = world_with(LAGG_SPREAD_FLOW, 5);

    memset(ports, NO_SLOT, FLOWS);
    for (uint32_t from = 0; from < FLOWS; from += burst) {
        uint32_t count = FLOWS - from < burst ? FLOWS - from : burst;

        host_send(world, from, count);
        CHECK_EQ_U32(world_poll(world), count);
        for (uint32_t slot = 0; slot < 5; slot++) {
            uint32_t number;

            while ((number = fd_take_number(world->wires[slot].far_fd)) < FLOWS) {
                CHECK(ports[number] == NO_SLOT);
                ports[number] = (uint8_t)slot;
            }
        }
    }
    world_free(world);
}

static void
the_batch_does_not_choose_the_port(void)
{
    static const uint32_t bursts[] = {7, 31, 32};
    uint8_t one_by_one[FLOWS], ports[FLOWS];
    uint32_t used = 0;

    check_about("batch", 1);
    flows_ports(1, one_by_one);
    for (uint32_t flow = 0; flow < FLOWS; flow++) {
        CHECK(one_by_one[flow] < 5);
        used |= 1u << one_by_one[flow];
    }
    CHECK_EQ_U32(used, 0x1f);
    for (size_t i = 0; i < sizeof bursts / sizeof bursts[0]; i++) {
        check_about("batch", bursts[i]);
        flows_ports(bursts[i], ports);
        CHECK(memcmp(ports, one_by_one, sizeof ports) == 0);
    }
}

/* ---- a port that dies under the burst ---------------------------------------------
 */

static void
the_next_port_carries_on(int error, uint32_t after)
{
    struct world *world = world_with(LAGG_SPREAD_FIRST, 3);
    struct lagg_counters expected = {.tx_in = 2 * BURST_MAX, .tx_out = 2 * BURST_MAX};

    check_about("died after", after);
    wire_fail(world, 0, error, after, FOREVER);
    host_send(world, 0, 2 * BURST_MAX);
    world_poll(world);
    CHECK_EQ_U32(world->wires[0].calls, after == 0 || after == BURST_MAX ? 1 : 2);
    world_poll(world); /* the plan has not changed: it is tried again */
    fd_expect(world->wires[0].far_fd, 0, 1, after);
    fd_expect(world->wires[1].far_fd, after, 1, 2 * BURST_MAX);
    world_end(world, &expected);
}

static void
a_chain_of_dead_ports_keeps_the_order(void)
{
    struct world *world = world_with(LAGG_SPREAD_FIRST, 4);
    struct lagg_counters expected = {.tx_in = BURST_MAX, .tx_out = BURST_MAX};

    check_about("chain", 4);
    wire_fail(world, 0, ENETDOWN, 3, FOREVER);
    wire_fail(world, 1, ENXIO, 4, FOREVER);
    wire_fail(world, 2, ENODEV, 0, FOREVER);
    host_send(world, 0, BURST_MAX);
    world_poll(world);
    fd_expect(world->wires[0].far_fd, 0, 1, 3);
    fd_expect(world->wires[1].far_fd, 3, 1, 7);
    fd_expect(world->wires[3].far_fd, 7, 1, BURST_MAX);
    world_end(world, &expected);
}

static void
all_dead_is_tx_down(uint32_t spread)
{
    struct world *world = world_with(spread, 3);
    struct lagg_counters expected = {.tx_in = BURST_MAX};

    check_about("all dead", spread);
    for (uint32_t slot = 0; slot < 3; slot++) {
        wire_fail(world, slot, ENETDOWN, 0, FOREVER);
    }
    host_send(world, 0, BURST_MAX);
    CHECK_EQ_U32(world_poll(world), BURST_MAX);
    for (uint32_t slot = 0; slot < 3; slot++) {
        CHECK(world->wires[slot].calls <= 1); /* the burst knows who is dead */
    }
    expected.drops[LAGG_DROP_TX_DOWN] = BURST_MAX;
    world_end(world, &expected);
}

/* The stand-in is a slot that the burst has already served. */
static void
a_served_port_stands_in_too(void)
{
    struct world *world = world_with(LAGG_SPREAD_TURN, 3);
    struct lagg_counters expected = {.tx_in = 30, .tx_out = 30};

    check_about("turn", 3);
    wire_fail(world, 2, ENXIO, 1, FOREVER);
    host_send(world, 0, 30);
    world_poll(world);
    fd_expect(world->wires[0].far_fd, 0, 3, 30);
    fd_expect(world->wires[0].far_fd, 5, 3, 30);
    fd_expect(world->wires[1].far_fd, 1, 3, 30);
    fd_expect(world->wires[2].far_fd, 2, 3, 5);
    world_end(world, &expected);
}

/* Holds the wire at 'slot' to give next what the plan meant for 'meant'. */
static void
expect_flows(struct world *world, uint32_t meant, uint32_t slot)
{
    const struct lagg_plan plan = plan_of(LAGG_SPREAD_FLOW, 4);

    for (uint32_t number = 0; number < BURST_MAX; number++) {
        if (frame_is_for(&plan, number, meant)) {
            CHECK_EQ_U32(fd_take_number(world->wires[slot].far_fd), number);
        }
    }
}

static void
only_the_dead_ports_flows_move(void)
{
    struct world *world = world_with(LAGG_SPREAD_FLOW, 4);
    struct lagg_counters expected = {.tx_in = BURST_MAX, .tx_out = BURST_MAX};

    check_about("flow", 4);
    wire_fail(world, 1, ENETDOWN, 0, FOREVER);
    host_send(world, 0, BURST_MAX);
    world_poll(world);
    expect_flows(world, 0, 0);
    expect_flows(world, 2, 2);
    expect_flows(world, 1, 2); /* behind its own, in their order */
    expect_flows(world, 3, 3);
    world_end(world, &expected);
}

static void
broadcast_sends_no_second_copy(void)
{
    struct world *world = world_with(LAGG_SPREAD_ALL, 3);
    struct lagg_counters expected = {.tx_in = 30, .tx_out = 24};

    check_about("all", 3);
    wire_fail(world, 1, ENETDOWN, 4, FOREVER);
    host_send(world, 0, 10);
    world_poll(world);
    fd_expect(world->wires[0].far_fd, 0, 1, 10);
    fd_expect(world->wires[1].far_fd, 0, 1, 4);
    fd_expect(world->wires[2].far_fd, 0, 1, 10);
    CHECK(port_counters(world, 1).drops[LAGG_DROP_TX_DOWN] == 6);
    expected.drops[LAGG_DROP_TX_DOWN] = 6;
    world_end(world, &expected);
}

static void
dead_ports(void)
{
    static const uint32_t afters[] = {0, 1, 5, 31, 32};
    static const int errors[] = {ENETDOWN, ENXIO, ENODEV};

    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        for (size_t j = 0; j < sizeof afters / sizeof afters[0]; j++) {
            the_next_port_carries_on(errors[i], afters[j]);
        }
    }
    a_chain_of_dead_ports_keeps_the_order();
    all_dead_is_tx_down(LAGG_SPREAD_FIRST);
    all_dead_is_tx_down(LAGG_SPREAD_TURN);
    all_dead_is_tx_down(LAGG_SPREAD_FLOW);
    a_served_port_stands_in_too();
    only_the_dead_ports_flows_move();
    broadcast_sends_no_second_copy();
}

int
main(void)
{
    every_spread_with_any_number_of_ports();
    an_empty_table_counts_the_plans_reason(LAGG_SPREAD_FIRST, LAGG_DROP_PROTO_NONE);
    an_empty_table_counts_the_plans_reason(LAGG_SPREAD_FLOW, LAGG_DROP_NO_ACTIVE_PORT);
    for (uint32_t spread = 0; spread < LAGG_SPREAD_COUNT; spread++) {
        ports_come_and_go_between_bursts(spread);
        buckets_count_what_went_out(spread);
    }
    the_batch_does_not_choose_the_port();
    dead_ports();
    return check_report();
}
