/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ports that are stations: by which port a frame leaves, and from whose MAC.
 */
#include "rings.h"
#include "world.h"

#include "station.h"

enum { PORTS = 3, FRAMES = 10, HOME = 1, SIZE = 80, MAC_BYTES = 6, TYPE_AT = 12 };

static const uint8_t lagg_mac[MAC_BYTES] = {2, 0, 0, 0, 0, 0x99};
static const uint8_t guest_mac[MAC_BYTES] = {2, 0, 0, 0, 0, 0x77};

static struct lagg_plan
plan_of_stations(void)
{
    struct lagg_plan plan = plan_of(LAGG_SPREAD_FLOW, PORTS);

    plan.stations = 1;
    plan.home = HOME;
    memcpy(plan.mac, lagg_mac, MAC_BYTES);
    for (uint32_t slot = 0; slot < PORTS; slot++) {
        plan.macs[slot][0] = 2;
        plan.macs[slot][MAC_BYTES - 1] = (uint8_t)(slot + 1);
    }
    return plan;
}

/* What may be sent: 'tags' in front of 'type', to one host or to all. */
struct kind {
    const char *name;
    uint32_t tags;
    uint16_t type;
    bool to_all;
    uint8_t protocol; /* of IPv6 */
    uint8_t icmp;     /* its type */
    bool spreads;
};

static const struct kind kinds[] = {
    {"IPv4", 0, 0x0800, .spreads = true},
    {"IPv4 in a VLAN", 1, 0x0800, .spreads = true},
    {"IPv4 in two", 2, 0x0800, .spreads = true},
    {.name = "IPv4 in three", .tags = 3, .type = 0x0800},
    {"IPv6", 0, 0x86dd, .protocol = 17, .icmp = 135, .spreads = true},
    {"an echo by IPv6", 0, 0x86dd, .protocol = 58, .icmp = 128, .spreads = true},
    {"a solicitation", 0, 0x86dd, .protocol = 58, .icmp = 135},
    {"an advertisement in a VLAN", 1, 0x86dd, .protocol = 58, .icmp = 136},
    {"IPv4 to all", 0, 0x0800, .to_all = true},
    {.name = "ARP to one", .type = 0x0806},
    {.name = "PPPoE", .type = 0x8864},
};

enum { KINDS = sizeof kinds / sizeof kinds[0] };

static void
kind_make(uint8_t *bytes, const struct kind *kind, const uint8_t *source, uint8_t flow)
{
    uint8_t *ether = bytes + VNET_BYTES, *type = ether + TYPE_AT;

    memset(bytes, 0, VNET_BYTES + SIZE);
    ether[0] = kind->to_all ? 0xff : 2;
    ether[MAC_BYTES - 1] = flow;
    memcpy(ether + MAC_BYTES, source, MAC_BYTES);
    for (uint32_t i = 0; i < kind->tags; i++, type += TAG_BYTES) {
        type[0] = 0x81;
        type[3] = 7;
    }
    type[0] = (uint8_t)(kind->type >> 8);
    type[1] = (uint8_t)kind->type;
    type[2] = kind->type == 0x86dd ? 0x60 : 0x45;
    type[2 + 6] = kind->protocol;
    type[2 + 40] = kind->icmp;
}

/* The slot by which it left, and its source there; NO_SLOT: by none, or by several. */
static uint32_t
way_of(struct world *world, uint8_t source[MAC_BYTES])
{
    uint8_t bytes[VNET_BYTES + SIZE];
    uint32_t way = NO_SLOT, copies = 0;

    for (uint32_t slot = 0; slot < PORTS; slot++) {
        while (recv(world->wires[slot].far_fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
            way = slot;
            copies++;
            memcpy(source, bytes + VNET_BYTES + MAC_BYTES, MAC_BYTES);
        }
    }
    return copies == 1 ? way : NO_SLOT;
}

static uint32_t
send_one(struct world *world, const struct kind *kind, const uint8_t *source,
    uint8_t flow, uint8_t seen[MAC_BYTES])
{
    uint8_t bytes[VNET_BYTES + SIZE];

    kind_make(bytes, kind, source, flow);
    fd_put(world->host_fd, bytes, sizeof bytes);
    CHECK_EQ_U32(world_poll(world), 1);
    return way_of(world, seen);
}

static void
only_plain_ip_of_the_lagg_leaves_by_every_port(void)
{
    const struct lagg_plan plan = plan_of_stations();
    struct world *world = world_make(PORTS);
    const struct lagg_counters expected = {.tx_in = KINDS * 64, .tx_out = KINDS * 64};

    world_publish(world, &plan);
    for (uint32_t k = 0; k < KINDS; k++) {
        uint32_t used = 0;

        check_about(kinds[k].name, k);
        for (uint8_t flow = 0; flow < 64; flow++) {
            uint8_t seen[MAC_BYTES];
            uint32_t way = send_one(world, &kinds[k], lagg_mac, flow, seen);

            CHECK(way < PORTS);
            used |= 1u << way;
            CHECK(
                memcmp(seen, way == HOME ? plan.mac : plan.macs[way], MAC_BYTES) == 0);
        }
        CHECK_EQ_U32(used, kinds[k].spreads ? 0x7 : 1u << HOME);
    }
    world_end(world, &expected);
}

static void
another_mac_keeps_its_place_and_a_port_s_own_its_port(void)
{
    const struct lagg_plan plan = plan_of_stations();
    struct world *world = world_make(PORTS);
    const struct lagg_counters expected = {
        .tx_in = KINDS * (PORTS + 1), .tx_out = KINDS * (PORTS + 1)};

    world_publish(world, &plan);
    for (uint32_t k = 0; k < KINDS; k++) {
        uint8_t seen[MAC_BYTES];

        check_about(kinds[k].name, k);
        CHECK_EQ_U32(send_one(world, &kinds[k], guest_mac, 1, seen), HOME);
        CHECK(memcmp(seen, guest_mac, MAC_BYTES) == 0);
        for (uint32_t slot = 0; slot < PORTS; slot++) {
            CHECK_EQ_U32(send_one(world, &kinds[k], plan.macs[slot], 1, seen), slot);
            CHECK(memcmp(seen, slot == HOME ? plan.mac : plan.macs[slot], MAC_BYTES) ==
                  0);
        }
    }
    world_end(world, &expected);
}

/* Of a burst that a port dies under each frame is signed anew, for who stands in. */
static void
who_stands_in_signs_by_its_own_mac(uint32_t dead)
{
    const struct lagg_plan plan = plan_of_stations();
    struct world *world = world_make(PORTS);
    const struct lagg_counters expected = {.tx_in = 64 * 2, .tx_out = 64 * 2};

    check_about("dies", dead);
    world_publish(world, &plan);
    wire_fail(world, dead, ENETDOWN, 0, FOREVER);
    for (uint8_t flow = 0; flow < 64; flow++) {
        uint8_t seen[MAC_BYTES];
        uint32_t way = send_one(world, &kinds[0], lagg_mac, flow, seen);

        CHECK(way < PORTS && way != dead);
        CHECK(memcmp(seen, way == HOME ? plan.mac : plan.macs[way], MAC_BYTES) == 0);
        way = send_one(world, &kinds[0], guest_mac, flow, seen);
        CHECK_EQ_U32(way, dead == HOME ? HOME + 1 : HOME);
        CHECK(memcmp(seen, guest_mac, MAC_BYTES) == 0);
    }
    world_end(world, &expected);
}

/* What goes by no entry is counted under none. */
static void
buckets_count_flows_alone(void)
{
    const struct lagg_plan plan = plan_of_stations();
    struct world *world = world_make(PORTS);
    struct lagg_bucket buckets[LAGG_BUCKETS] = {{0, 0}};
    const struct lagg_counters expected = {.tx_in = 2, .tx_out = 2};
    uint8_t seen[MAC_BYTES];
    uint64_t frames = 0;

    world_publish(world, &plan);
    send_one(world, &kinds[0], lagg_mac, 1, seen);
    send_one(world, &kinds[0], guest_mac, 1, seen);
    buckets_sum(&world->worker->work->buckets, buckets);
    for (uint32_t i = 0; i < LAGG_BUCKETS; i++) {
        frames += buckets[i].frames;
    }
    CHECK(frames == 1);
    world_end(world, &expected);
}

/* ---- a port by which nothing can leave while nobody plans -------------------------
 */

static void
who_stands_in_for_a_dark_home_is_heard(uint32_t dark, uint32_t heard)
{
    struct lagg_plan plan = plan_of_stations();
    struct world *world = world_make(PORTS);
    uint64_t in = (uint64_t)__builtin_popcount(heard) * FRAMES;
    struct lagg_counters expected = {.rx_in = FRAMES * PORTS, .rx_out = in};

    check_about("heard", dark);
    plan.rx_accept = 1u << HOME;
    world_publish(world, &plan);
    atomic_store(&world->dark, dark);
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

static void
stations_that_cannot_be_are_refused(void)
{
    struct world *world = world_make(PORTS);
    struct lagg_plan plan = plan_of_stations();
    uint64_t ticket;

    plan.home = PORTS;
    CHECK(snapshot_publish(&world->store, &plan, 0x7, &ticket) == -EINVAL);
    plan.home = LAGG_PORTS_MAX;
    CHECK(snapshot_publish(&world->store, &plan, 0x7, &ticket) == -EINVAL);
    plan = plan_of_stations();
    plan.spread = LAGG_SPREAD_TURN;
    CHECK(snapshot_publish(&world->store, &plan, 0x7, &ticket) == -EINVAL);
    world_free(world);
}

int
main(void)
{
    only_plain_ip_of_the_lagg_leaves_by_every_port();
    another_mac_keeps_its_place_and_a_port_s_own_its_port();
    for (uint32_t dead = 0; dead < PORTS; dead++) {
        who_stands_in_signs_by_its_own_mac(dead);
    }
    buckets_count_flows_alone();
    who_stands_in_for_a_dark_home_is_heard(0, 1 << HOME);
    who_stands_in_for_a_dark_home_is_heard(1, 1 << HOME);
    who_stands_in_for_a_dark_home_is_heard(1 << HOME, 1 << HOME | 1 << 2);
    who_stands_in_for_a_dark_home_is_heard(1 << HOME | 1 << 2, 1 << HOME | 1);
    stations_that_cannot_be_are_refused();
    return check_report();
}
