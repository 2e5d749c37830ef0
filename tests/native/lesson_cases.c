/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ports that teach: by which port a peer is told a MAC, which one it is, and that what
 * is sent to that comes in as the lagg's.
 */
#include "rings.h"
#include "world.h"

#include "lesson.h"
#include "station.h"

#include <linux/virtio_net.h>

enum { PORTS = 3, HOME = 1, SIZE = 100, MAC_BYTES = 6, PEER = 2 };
enum { ARP_SHA = 8, ARP_SPA = 14, ARP_TPA = 24 };                    /* RFC 826 */
enum { ND_SUM = 42, ND_TARGET = 48, ND_OPTION = 64, ND_BYTES = 72 }; /* with IPv6 */

static const uint8_t lagg_mac[MAC_BYTES] = {2, 0, 0, 0, 0, 0x99};
static const uint8_t ours[4] = {10, 0, 0, 1}, theirs[4] = {10, 0, 0, PEER};
static const uint8_t nobody[4];

static struct lagg_plan
plan_of_lessons(void)
{
    struct lagg_plan plan = plan_of(LAGG_SPREAD_FLOW, PORTS);

    plan.stations = plan.teaches = 1;
    plan.home = HOME;
    plan.rx_accept = 1u << HOME;
    memcpy(plan.mac, lagg_mac, MAC_BYTES);
    for (uint32_t slot = 0; slot < PORTS; slot++) {
        plan.macs[slot][0] = 2;
        plan.macs[slot][MAC_BYTES - 1] = (uint8_t)(slot + 0x41);
    }
    for (uint32_t i = 0; i < LAGG_BUCKETS; i++) {
        plan.rx_slots[i] = (uint8_t)(i % PORTS);
    }
    return plan;
}

struct sent {
    uint32_t slot;
    uint8_t bytes[VNET_BYTES + SIZE]; /* as it left */
};

/* Sends one frame, and takes it where it left. */
static struct sent
send_frame(const struct lagg_plan *plan, const uint8_t bytes[VNET_BYTES + SIZE])
{
    struct world *world = world_make(PORTS);
    const struct lagg_counters expected = {.tx_in = 1, .tx_out = 1};
    struct sent sent = {.slot = NO_SLOT};

    world_publish(world, plan);
    fd_put(world->host_fd, bytes, VNET_BYTES + SIZE);
    CHECK_EQ_U32(world_poll(world), 1);
    for (uint32_t slot = 0; slot < PORTS; slot++) {
        if (recv(world->wires[slot].far_fd, sent.bytes, sizeof sent.bytes,
                MSG_DONTWAIT) > 0) {
            CHECK(sent.slot == NO_SLOT);
            sent.slot = slot;
        }
    }
    world_end(world, &expected);
    return sent;
}

/* Returns where what the frame carries begins. */
static uint8_t *
begin(uint8_t bytes[VNET_BYTES + SIZE], bool to_all, bool tagged, uint16_t type)
{
    uint8_t *at = bytes + VNET_BYTES;

    memset(bytes, 0, VNET_BYTES + SIZE);
    memset(at, to_all ? 0xff : 0x06, MAC_BYTES);
    memcpy(at + MAC_BYTES, lagg_mac, MAC_BYTES);
    at += 2 * MAC_BYTES;
    if (tagged) {
        at[0] = 0x81;
        at[3] = 7;
        at += TAG_BYTES;
    }
    at[0] = (uint8_t)(type >> 8);
    at[1] = (uint8_t)type;
    return at + 2;
}

static uint8_t *
arp_make(uint8_t *bytes, bool to_all, bool tagged, uint8_t operation,
    const uint8_t sender[4], const uint8_t target[4])
{
    static const uint8_t head[] = {0, 1, 8, 0, 6, 4, 0};
    uint8_t *arp = begin(bytes, to_all, tagged, 0x0806);

    memcpy(arp, head, sizeof head);
    arp[7] = operation;
    memcpy(arp + ARP_SHA, lagg_mac, MAC_BYTES);
    memcpy(arp + ARP_SPA, sender, 4);
    memcpy(arp + ARP_TPA, target, 4);
    return arp;
}

static const uint8_t *
source_of(const struct sent *sent)
{
    return sent->bytes + VNET_BYTES + MAC_BYTES;
}

static void
arp_to_one_is_from_the_port_that_it_teaches(bool tagged, uint8_t operation)
{
    const struct lagg_plan plan = plan_of_lessons();

    check_about(tagged ? "tagged" : "plain", operation);
    for (uint8_t last = 0; last < 2 * PORTS; last++) {
        const uint8_t peer[4] = {10, 0, 0, last};
        uint8_t bytes[VNET_BYTES + SIZE];
        uint8_t *arp = arp_make(bytes, false, tagged, operation, ours, peer);
        const struct sent sent = send_frame(&plan, bytes);
        const uint8_t *left = sent.bytes + (arp - bytes);
        uint32_t slot = (10u ^ last) % PORTS;
        const uint8_t *mac = slot == HOME ? plan.mac : plan.macs[slot];

        CHECK_EQ_U32(sent.slot, slot);
        CHECK(memcmp(source_of(&sent), mac, MAC_BYTES) == 0);
        CHECK(memcmp(left + ARP_SHA, mac, MAC_BYTES) == 0);
        CHECK(memcmp(left + ARP_SPA, ours, 4) == 0);
        CHECK(memcmp(left + ARP_TPA, peer, 4) == 0);
    }
}

static void
arp_to_all_teaches_nobody_unless_it_announces(uint8_t operation,
    const uint8_t sender[4], const uint8_t target[4], const uint8_t said[4])
{
    const struct lagg_plan plan = plan_of_lessons();
    uint8_t bytes[VNET_BYTES + SIZE];
    uint8_t *arp = arp_make(bytes, true, false, operation, sender, target);
    const struct sent sent = send_frame(&plan, bytes);
    const uint8_t *left = sent.bytes + (arp - bytes);

    check_about("to all", target[3]);
    CHECK_EQ_U32(sent.slot, HOME);
    CHECK(memcmp(source_of(&sent), plan.mac, MAC_BYTES) == 0);
    CHECK(memcmp(left + ARP_SHA, plan.mac, MAC_BYTES) == 0);
    CHECK(memcmp(left + ARP_SPA, said, 4) == 0);
}

/* The one that receivers compute, over the pseudo-header and all. */
static uint16_t
icmp_sum(const uint8_t *ip)
{
    uint8_t bytes[40 + ND_BYTES - 40];

    memcpy(bytes, ip + 8, 32); /* addresses, length, and the protocol's number */
    memset(bytes + 32, 0, 8);
    bytes[35] = ND_BYTES - 40;
    bytes[39] = 58;
    memcpy(bytes + 40, ip + 40, ND_BYTES - 40);
    return frame_checksum(bytes, 40 + ND_BYTES - 40);
}

static uint8_t *
discovery_make(uint8_t *bytes, uint8_t type, bool to_group, uint8_t peer)
{
    uint8_t *ip = begin(bytes, to_group, false, 0x86dd);
    uint16_t sum;

    ip[0] = 0x60;
    ip[5] = ND_BYTES - 40;
    ip[6] = 58;
    ip[8] = ip[24] = ip[ND_TARGET] = 0xfd;
    ip[23] = 1;
    ip[24] = to_group ? 0xff : 0xfd;
    ip[39] = peer;
    ip[40] = type;
    ip[ND_TARGET + 15] = type == 135 ? peer : 1;
    ip[ND_OPTION] = type == 135 ? 1 : 2;
    ip[ND_OPTION + 1] = 1;
    memcpy(ip + ND_OPTION + 2, lagg_mac, MAC_BYTES);
    sum = icmp_sum(ip);
    memcpy(ip + ND_SUM, &sum, sizeof sum);
    CHECK_EQ_U32(icmp_sum(ip), 0);
    return ip;
}

static void
discovery_teaches_as_arp_does(uint8_t type, bool to_group)
{
    const struct lagg_plan plan = plan_of_lessons();

    check_about(to_group ? "to a group" : "to one", type);
    for (uint8_t peer = 2; peer < 2 + 2 * PORTS; peer++) {
        uint8_t bytes[VNET_BYTES + SIZE];
        uint8_t *ip = discovery_make(bytes, type, to_group, peer);
        const struct sent sent = send_frame(&plan, bytes);
        const uint8_t *left = sent.bytes + (ip - bytes);
        bool to_all = type == 136 && to_group;
        uint32_t slot = to_all ? HOME : (0xfdu ^ peer) % PORTS;
        const uint8_t *mac = slot == HOME ? plan.mac : plan.macs[slot];

        CHECK_EQ_U32(sent.slot, slot);
        CHECK(memcmp(source_of(&sent), mac, MAC_BYTES) == 0);
        CHECK(memcmp(left + ND_OPTION + 2, mac, MAC_BYTES) == 0);
        CHECK_EQ_U32(icmp_sum(left), 0);
    }
}

static void
an_open_checksum_stays_the_pseudo_header_s(void)
{
    const struct lagg_plan plan = plan_of_lessons();
    uint8_t bytes[VNET_BYTES + SIZE];
    uint8_t *ip = discovery_make(bytes, 135, false, 2);
    struct virtio_net_hdr offload = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .csum_start = ETHER_BYTES + 40,
        .csum_offset = 2};
    struct sent sent;

    memcpy(bytes, &offload, sizeof offload);
    sent = send_frame(&plan, bytes);
    CHECK(sent.slot != HOME);
    CHECK(memcmp(sent.bytes + (ip - bytes) + ND_SUM, ip + ND_SUM, 2) == 0);
    CHECK(memcmp(sent.bytes + (ip - bytes) + ND_OPTION + 2, plan.macs[sent.slot],
              MAC_BYTES) == 0);
}

/* A proxy's word for somebody else is not ours to change. */
static void
another_s_mac_inside_stays(void)
{
    const struct lagg_plan plan = plan_of_lessons();
    uint8_t bytes[VNET_BYTES + SIZE];
    uint8_t *arp = arp_make(bytes, false, false, 2, ours, theirs);
    struct sent sent;

    arp[ARP_SHA] = 0x42;
    sent = send_frame(&plan, bytes);
    CHECK(memcmp(sent.bytes + (arp - bytes) + ARP_SHA, arp + ARP_SHA, 6) == 0);
}

/* ---- what comes of it -------------------------------------------------------------
 */

static void
what_is_for_a_port_goes_up_as_the_lagg_s(void)
{
    const struct lagg_plan plan = plan_of_lessons();
    const uint8_t *macs[] = {plan.mac, plan.macs[0], plan.macs[1], plan.macs[2]};

    for (uint32_t slot = 0; slot < PORTS; slot++) {
        for (uint32_t i = 0; i < sizeof macs / sizeof macs[0]; i++) {
            uint8_t bytes[VNET_BYTES + SIZE] = {0};
            struct frame frame = {.head = bytes, .head_bytes = sizeof bytes};
            bool own = memcmp(macs[i], plan.macs[slot], MAC_BYTES) == 0;

            check_about("to", i);
            memcpy(bytes + VNET_BYTES, macs[i], MAC_BYTES);
            CHECK(station_admit(&plan, slot, &frame) == (own || slot == HOME));
            CHECK(memcmp(bytes + VNET_BYTES, own ? plan.mac : macs[i], MAC_BYTES) == 0);
        }
    }
}

static void
by_the_home_all_goes_up_and_by_others_what_is_not_theirs_is_counted(void)
{
    const struct lagg_plan plan = plan_of_lessons();
    struct world *world = world_make(PORTS);
    struct lagg_counters expected = {.rx_in = 3 * PORTS, .rx_out = 3};

    world_publish(world, &plan);
    for (uint32_t slot = 0; slot < PORTS; slot++) {
        ring_put_numbers(world, slot, slot * 100, 3);
    }
    CHECK_EQ_U32(world_poll(world), 3 * PORTS);
    fd_expect(world->host_fd, HOME * 100, 1, HOME * 100 + 3);
    expected.drops[LAGG_DROP_NOT_ACCEPTED] = 3 * (PORTS - 1);
    world_end(world, &expected);
}

/* As what is on its way to one that is held, or leaves. */
static void
what_is_for_a_port_is_the_lagg_s_also_where_all_is_accepted(void)
{
    struct lagg_plan plan = plan_of_lessons();
    struct world *world = world_make(PORTS);
    uint8_t bytes[VNET_BYTES + SIZE] = {0}, taken[sizeof bytes] = {0};

    plan.rx_accept = 7;
    world_publish(world, &plan);
    for (uint32_t slot = 0; slot < PORTS; slot++) {
        memcpy(bytes + VNET_BYTES, plan.macs[slot], MAC_BYTES);
        ring_put(world, slot, bytes, sizeof bytes);
        CHECK_EQ_U32(world_poll(world), 1);
        CHECK(recv(world->host_fd, taken, sizeof taken, MSG_DONTWAIT) > 0);
        CHECK(memcmp(taken + VNET_BYTES, lagg_mac, MAC_BYTES) == 0);
    }
    world_end(world, &(struct lagg_counters){.rx_in = PORTS, .rx_out = PORTS});
}

static void
lessons_that_cannot_be_are_refused(void)
{
    struct world *world = world_make(PORTS);
    struct lagg_plan plan = plan_of_lessons();
    uint64_t ticket;

    plan.rx_slots[255] = PORTS;
    CHECK(snapshot_publish(&world->store, &plan, 0x7, &ticket) == -EINVAL);
    plan = plan_of_lessons();
    plan.stations = 0;
    CHECK(snapshot_publish(&world->store, &plan, 0x7, &ticket) == -EINVAL);
    world_free(world);
}

int
main(void)
{
    for (uint8_t operation = 1; operation <= 2; operation++) {
        arp_to_one_is_from_the_port_that_it_teaches(false, operation);
        arp_to_one_is_from_the_port_that_it_teaches(true, operation);
    }
    arp_to_all_teaches_nobody_unless_it_announces(1, ours, theirs, nobody);
    arp_to_all_teaches_nobody_unless_it_announces(1, nobody, theirs, nobody);
    arp_to_all_teaches_nobody_unless_it_announces(1, ours, ours, ours);
    arp_to_all_teaches_nobody_unless_it_announces(2, ours, ours, ours);
    for (uint8_t type = 135; type <= 136; type++) {
        discovery_teaches_as_arp_does(type, false);
        discovery_teaches_as_arp_does(type, true);
    }
    an_open_checksum_stays_the_pseudo_header_s();
    another_s_mac_inside_stays();
    what_is_for_a_port_goes_up_as_the_lagg_s();
    by_the_home_all_goes_up_and_by_others_what_is_not_theirs_is_counted();
    what_is_for_a_port_is_the_lagg_s_also_where_all_is_accepted();
    lessons_that_cannot_be_are_refused();
    return check_report();
}
