/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A port without carrier, of which the kernel would take every frame and lose it
 * without a word: nothing is given to it, and the next one stands in, both ways.
 */
#include "rings.h"
#include "world.h"

enum { PORTS = 3, FRAMES = 10 };

static uint32_t
left_by(struct world *world, uint32_t slot)
{
    uint32_t frames = 0;
    uint8_t byte;

    while (recv(world->wires[slot].far_fd, &byte, 1, MSG_DONTWAIT) >= 0) {
        frames++;
    }
    return frames;
}

/* Sends FRAMES, and says how many left by each. */
static void
send_by(struct world *world, uint32_t left[PORTS])
{
    host_send(world, 0, FRAMES);
    CHECK_EQ_U32(world_poll(world), FRAMES);
    for (uint32_t slot = 0; slot < PORTS; slot++) {
        left[slot] = left_by(world, slot);
    }
}

static void
what_is_for_a_dark_port_goes_by_another(uint32_t spread)
{
    struct world *world = world_with(spread, PORTS);
    uint32_t copies = spread == LAGG_SPREAD_ALL ? PORTS : 1, left[PORTS];
    uint64_t lost = spread == LAGG_SPREAD_ALL ? 2 * FRAMES : 0;
    struct lagg_counters expected = {.tx_in = 2 * FRAMES * copies};

    check_about("dark", spread);
    world->dark = 1u << 0 | 1u << 2;
    send_by(world, left);
    CHECK(left[0] == 0 && left[1] == FRAMES && left[2] == 0);
    world->dark = 0;
    send_by(world, left);
    CHECK(left[0] > 0);
    CHECK_EQ_U32(left[0] + left[1] + left[2], FRAMES * copies);
    expected.drops[LAGG_DROP_TX_DOWN] = lost;
    expected.tx_out = expected.tx_in - lost;
    world_end(world, &expected);
}

static void
when_all_ports_are_dark_all_is_tx_down(void)
{
    struct world *world = world_with(LAGG_SPREAD_FLOW, PORTS);
    struct lagg_counters expected = {.tx_in = FRAMES};

    check_about("all dark", PORTS);
    world->dark = (1u << PORTS) - 1;
    host_send(world, 0, FRAMES);
    CHECK_EQ_U32(world_poll(world), FRAMES);
    expected.drops[LAGG_DROP_TX_DOWN] = FRAMES;
    world_end(world, &expected);
}

/* As its partner sends by it, when the one before has no carrier. */
static void
who_stands_in_is_heard(uint32_t spread, uint32_t dark, uint32_t heard)
{
    struct world *world = world_make(PORTS);
    struct lagg_plan plan = plan_of(spread, PORTS);
    uint64_t in = (uint64_t)__builtin_popcount(heard) * FRAMES;
    struct lagg_counters expected = {.rx_in = FRAMES * PORTS, .rx_out = in};

    check_about("heard", dark);
    plan.rx_accept = 1;
    plan.rx_drop = LAGG_DROP_NOT_ACCEPTED;
    world_publish(world, &plan);
    world->dark = dark;
    for (uint32_t slot = 0; slot < PORTS; slot++) {
        ring_put_numbers(world, slot, slot * 100, FRAMES);
    }
    CHECK_EQ_U32(world_poll(world), FRAMES * PORTS);
    for (uint32_t left = heard; left != 0; left &= left - 1) {
        uint32_t first = (uint32_t)__builtin_ctz(left) * 100;

        fd_expect(world->host_fd, first, 1, first + FRAMES);
    }
    expected.drops[LAGG_DROP_NOT_ACCEPTED] = FRAMES * PORTS - in;
    world_end(world, &expected);
}

int
main(void)
{
    for (uint32_t spread = 0; spread < LAGG_SPREAD_COUNT; spread++) {
        what_is_for_a_dark_port_goes_by_another(spread);
    }
    when_all_ports_are_dark_all_is_tx_down();
    who_stands_in_is_heard(LAGG_SPREAD_FIRST, 1, 1 | 1 << 1);
    who_stands_in_is_heard(LAGG_SPREAD_FIRST, 1 | 1 << 1, 1 | 1 << 2);
    who_stands_in_is_heard(LAGG_SPREAD_FIRST, 1 << 1, 1);
    who_stands_in_is_heard(LAGG_SPREAD_FLOW, 1, 1);
    return check_report();
}
