/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames that the lagg sent and that come back: by whichever port, and whatever of its
 * MACs they are from, none goes up.
 */
#include "rings.h"

#include <linux/if_ether.h>

/* 33 of one maker's, at most, of which two bytes differ. */
static void
own_set(struct lagg_plan *plan, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t mac[] = {2, 0, 0x5e, 0, (uint8_t)(i * 5), (uint8_t)i};

        memcpy(plan->own[i], mac, sizeof mac);
    }
    plan->own_count = count;
}

static void
put_from(struct world *world, const uint8_t *source, uint32_t size, bool tagged)
{
    static uint8_t bytes[WIRE_BYTES_MAX];
    struct tpacket2_hdr *entry;

    frame_make(bytes, 5, size);
    memcpy(bytes + VNET_BYTES + ETH_ALEN, source, ETH_ALEN);
    entry = ring_put(world, 0, bytes, VNET_BYTES + size);
    if (entry->tp_snaplen < entry->tp_len) {
        fd_put(world->wires[0].large_fd, bytes, VNET_BYTES + size);
        entry->tp_status |= TP_STATUS_COPY;
    }
    if (tagged) {
        entry->tp_status |= TP_STATUS_VLAN_VALID;
    }
}

/* From a MAC that differs from this one in one bit. */
static void
put_near(
    struct world *world, const uint8_t *mac, uint32_t bit, uint32_t size, bool tagged)
{
    uint8_t near[ETH_ALEN];

    memcpy(near, mac, sizeof near);
    near[bit / 8] ^= (uint8_t)(1 << bit % 8);
    put_from(world, near, size, tagged);
    CHECK_EQ_U32(world_poll(world), 1);
}

/* From each of them; and what is from any near one does. */
static void
own_frames_come_in_by_no_port(uint32_t own, uint32_t size, bool tagged)
{
    const uint32_t bits = 8 * ETH_ALEN;
    struct world *world = world_make(1);
    struct lagg_plan plan = plan_of(LAGG_SPREAD_FIRST, 1);
    static uint8_t taken[WIRE_BYTES_MAX];

    check_about(tagged ? "own, tagged" : "own", size);
    own_set(&plan, own);
    plan.rx_bytes_max = WIRE_BYTES_MAX;
    world_publish(world, &plan);
    for (uint32_t i = 0; i < own; i++) {
        put_from(world, plan.own[i], size, tagged);
        CHECK_EQ_U32(world_poll(world), 1);
    }
    fd_expect_empty(world->host_fd);
    for (uint32_t bit = 0; bit < bits; bit++) {
        put_near(world, plan.own[own - 1], bit, size, tagged);
        CHECK(recv(world->host_fd, taken, sizeof taken, MSG_DONTWAIT) > 0);
    }
    CHECK(port_counters(world, 0).drops[LAGG_DROP_OWN_SOURCE] == own);
    world_end(world,
        &(struct lagg_counters){
            .rx_in = own + bits, .rx_out = bits, .drops[LAGG_DROP_OWN_SOURCE] = own});
}

/* By a port that stands by they are what all else there is. */
static void
own_frames_of_a_standby_are_not_accepted(void)
{
    struct world *world = world_make(2);
    struct lagg_plan plan = plan_of(LAGG_SPREAD_FIRST, 2);

    check_about("own, standby", 1);
    own_set(&plan, 1);
    plan.rx_accept = 2;
    plan.rx_drop = LAGG_DROP_NOT_ACCEPTED;
    world_publish(world, &plan);
    put_from(world, plan.own[0], FRAME_BYTES_MIN, false);
    CHECK_EQ_U32(world_poll(world), 1);
    world_end(
        world, &(struct lagg_counters){.rx_in = 1, .drops[LAGG_DROP_NOT_ACCEPTED] = 1});
}

static void
without_own_macs_all_come_in(void)
{
    const uint8_t nobody[ETH_ALEN] = {0};
    struct world *world = world_with(LAGG_SPREAD_FIRST, 1);
    uint8_t taken[WIRE_BYTES_MAX];

    check_about("own, none", 0);
    put_from(world, nobody, FRAME_BYTES_MIN, false);
    CHECK_EQ_U32(world_poll(world), 1);
    CHECK(recv(world->host_fd, taken, sizeof taken, MSG_DONTWAIT) > 0);
    world_end(world, &(struct lagg_counters){.rx_in = 1, .rx_out = 1});
}

int
main(void)
{
    for (uint32_t own = 1; own <= LAGG_OWN_MAX; own += LAGG_OWN_MAX / 2) {
        own_frames_come_in_by_no_port(own, FRAME_BYTES_MIN, false);
        own_frames_come_in_by_no_port(own, FRAME_BYTES_MIN, true);
        own_frames_come_in_by_no_port(own, 9000, true);
    }
    own_frames_of_a_standby_are_not_accepted();
    without_own_macs_all_come_in();
    return check_report();
}
