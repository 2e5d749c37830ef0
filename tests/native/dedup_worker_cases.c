/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A worker whose plan lets each frame in once: what goes up, and what is counted.
 */
#include "rings.h"

static struct world *
world_that_takes_each_once(uint32_t ports)
{
    static const uint64_t key[DEDUP_KEY_WORDS] = {1, 2};
    struct world *world = world_make(ports);
    struct lagg_plan plan = plan_of(LAGG_SPREAD_ALL, ports);

    world->worker->dedup = &world->worker->work->dedup;
    world->worker->dedup_key = key;
    plan.rx_once = plan.rx_accept;
    plan.rx_accept = 0;
    world_publish(world, &plan);
    return world;
}

static void
a_worker_delivers_the_first_and_counts_the_others(void)
{
    struct world *world = world_that_takes_each_once(3);
    const struct lagg_counters expected = {
        .rx_in = 90, .rx_out = 30, .drops[LAGG_DROP_DUPLICATE] = 60};

    check_about("worker", 3);
    for (uint32_t slot = 0; slot < 3; slot++) {
        ring_put_numbers(world, slot, 0, 30);
    }
    CHECK_EQ_U32(world_poll(world), 90);
    fd_expect(world->host_fd, 0, 1, 30);
    CHECK(port_counters(world, 0).drops[LAGG_DROP_DUPLICATE] == 0);
    CHECK(port_counters(world, 1).drops[LAGG_DROP_DUPLICATE] == 30);
    CHECK(port_counters(world, 2).drops[LAGG_DROP_DUPLICATE] == 30);
    world_end(world, &expected);
}

static void
frames_larger_than_an_entry_are_known_by_all_of_them(void)
{
    struct world *world = world_that_takes_each_once(2);
    const struct lagg_counters expected = {
        .rx_in = 3, .rx_out = 2, .drops[LAGG_DROP_DUPLICATE] = 1};

    check_about("large", 9000);
    ring_put_number(world, 0, 1, 9000);
    ring_put_number(world, 1, 1, 9000);
    ring_put_number(world, 1, 2, 9000);
    CHECK_EQ_U32(world_poll(world), 3);
    fd_expect(world->host_fd, 1, 1, 3);
    world_end(world, &expected);
}

/* The kernel delivers it beside the frame. */
static void
a_vlan_tag_tells_frames_apart(void)
{
    struct world *world = world_that_takes_each_once(2);
    const struct lagg_counters expected = {
        .rx_in = 4, .rx_out = 3, .drops[LAGG_DROP_DUPLICATE] = 1};
    uint8_t bytes[256];

    check_about("tag", 0);
    for (uint32_t i = 0; i < 4; i++) {
        struct tpacket2_hdr *entry = ring_put_number(world, i % 2, 1, 100);

        entry->tp_status |= i == 0 ? 0 : TP_STATUS_VLAN_VALID;
        entry->tp_vlan_tci = i == 3 ? 6 : 5;
    }
    CHECK_EQ_U32(world_poll(world), 4); /* 1 and 2 are alike */
    for (uint32_t i = 0; i < 3; i++) {
        CHECK(recv(world->host_fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0);
    }
    world_end(world, &expected);
}

static void
a_worker_leaves_the_rings_while_somebody_else_looks(void)
{
    struct world *world = world_that_takes_each_once(2);

    check_about("turn", 1);
    ring_put_numbers(world, 0, 0, 1);
    CHECK(dedup_take(world->worker->dedup));
    CHECK_EQ_U32(world_poll(world), 0);
    fd_expect_empty(world->host_fd);
    dedup_give(world->worker->dedup);
    CHECK_EQ_U32(world_poll(world), 1);
    fd_expect(world->host_fd, 0, 1, 1);
    CHECK(dedup_take(world->worker->dedup)); /* it was given back */
    world_end(world, &(struct lagg_counters){.rx_in = 1, .rx_out = 1});
}

int
main(void)
{
    a_worker_delivers_the_first_and_counts_the_others();
    frames_larger_than_an_entry_are_known_by_all_of_them();
    a_vlan_tag_tells_frames_apart();
    a_worker_leaves_the_rings_while_somebody_else_looks();
    return check_report();
}
