/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames to 01-80-C2-00-00-00 ... -0F: which of them go up, by a port that is accepted
 * from and by one that is not, with a tag and without.
 */
#include "rings.h"

#include <linux/if_ether.h>

enum { PAUSE = 1, SLOW = 2, LAST = 15 };

/* Whether a frame to the address that ends so goes up. */
static bool
goes_up(struct world *world, uint32_t last, bool tagged)
{
    const uint8_t to[ETH_ALEN] = {1, 0x80, 0xc2, 0, 0, (uint8_t)last};
    uint8_t bytes[VNET_BYTES + FRAME_BYTES_MIN], taken[WIRE_BYTES_MAX];
    struct tpacket2_hdr *entry;

    frame_make(bytes, 3, FRAME_BYTES_MIN);
    memcpy(bytes + VNET_BYTES, to, sizeof to);
    entry = ring_put(world, 0, bytes, sizeof bytes);
    entry->tp_status |= tagged ? TP_STATUS_VLAN_VALID : 0;
    CHECK_EQ_U32(world_poll(world), 1);
    return recv(world->host_fd, taken, sizeof taken, MSG_DONTWAIT) > 0;
}

static void
frames_for_one_cable(bool passes, bool accepted, bool tagged)
{
    struct world *world = world_make(1);
    struct lagg_plan plan = plan_of(LAGG_SPREAD_FIRST, 1);
    struct lagg_counters expected = {.rx_in = LAST + 2};

    check_about(tagged ? "tagged" : "untagged", passes);
    plan.passes_local = passes;
    plan.rx_accept = accepted;
    plan.rx_drop = LAGG_DROP_NOT_ACCEPTED;
    world_publish(world, &plan);
    for (uint32_t last = 0; last <= LAST + 1; last++) {
        bool stays = last <= LAST && last != SLOW && (!passes || last == PAUSE);

        CHECK(goes_up(world, last, tagged) == (accepted && !stays));
        expected.rx_out += accepted && !stays;
        expected.drops[LAGG_DROP_LINK_LOCAL] += stays;
        expected.drops[LAGG_DROP_NOT_ACCEPTED] += !stays && !accepted;
    }
    world_end(world, &expected);
}

static void
a_runt_is_one_whatever_follows_it(void)
{
    const uint8_t group[] = {1, 0x80, 0xc2, 0, 0, 0};
    struct world *world = world_with(LAGG_SPREAD_FIRST, 1);
    uint8_t bytes[VNET_BYTES + ETHER_BYTES - 1] = {0};

    memcpy(bytes + VNET_BYTES, group, sizeof group);
    ring_put(world, 0, bytes, sizeof bytes);
    CHECK_EQ_U32(world_poll(world), 1);
    world_end(world, &(struct lagg_counters){.rx_in = 1, .drops[LAGG_DROP_RUNT] = 1});
}

int
main(void)
{
    for (int which = 0; which < 8; which++) {
        frames_for_one_cable(which & 1, which & 2, which & 4);
    }
    a_runt_is_one_whatever_follows_it();
    return check_report();
}
