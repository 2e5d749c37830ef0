/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stations: ports that a switch takes for hosts of their own.
 *
 * Owns which frames may leave by any of them, and whose MAC each has as its source.
 *
 * A switch that knows no aggregation looks for a MAC at the one port where it saw it as
 * a source last.  So the lagg's own MAC leaves by one port alone, its home, and with it
 * all that teaches that MAC to others (ARP, neighbour discovery), all that goes to many
 * and all that is no IP, for PPPoE and its kin know their peer by its MAC.  What is
 * left, IP from the lagg to one host, leaves by the port of its flow, from that port's
 * MAC.  A frame from any other MAC, of a guest or macvlan above the lagg, keeps its
 * source and goes by the home: its MAC, too, is behind one port.  One that has a port's
 * MAC already leaves by that port.
 *
 * Knows no hash and no descriptor.
 */
#include "station.h"
#include "lesson.h"

#include <linux/if_ether.h>
#include <netinet/in.h>
#include <string.h>

enum {
    IPV6_BYTES = 40,
    IPV6_PROTOCOL_AT = 6,
    /* ICMPv6 types of neighbour discovery, from router solicitation to redirect. */
    DISCOVERY_FIRST = 133,
    DISCOVERY_LAST = 137,
};

static uint8_t *
frame_ether(const struct frame *frame)
{
    return frame->head + VNET_BYTES;
}

static bool
same_mac(const uint8_t *one, const uint8_t *other)
{
    return memcmp(one, other, ETH_ALEN) == 0;
}

/* The slot whose MAC it is; NO_SLOT: no port's. */
static uint32_t
slot_of(const struct lagg_plan *plan, const uint8_t *mac)
{
    for (uint32_t left = plan->ports; left != 0; left &= left - 1) {
        uint32_t slot = (uint32_t)__builtin_ctz(left);

        if (same_mac(mac, plan->macs[slot])) {
            return slot;
        }
    }
    return NO_SLOT;
}

static bool
is_discovery(const uint8_t *packet, uint32_t size)
{
    return size > IPV6_BYTES && packet[IPV6_PROTOCOL_AT] == IPPROTO_ICMPV6 &&
           packet[IPV6_BYTES] >= DISCOVERY_FIRST &&
           packet[IPV6_BYTES] <= DISCOVERY_LAST;
}

/* IP to one host, and nothing that teaches a MAC. */
static bool
is_plain(const struct frame *frame)
{
    const uint8_t *ether = frame_ether(frame);
    uint32_t packet_at = ETHER_BYTES + frame_tags_bytes(frame);
    uint32_t type = (uint32_t)(ether[packet_at - 2] << 8 | ether[packet_at - 1]);
    uint32_t size = frame->head_bytes - VNET_BYTES;

    if ((ether[0] & 1) != 0) {
        return false;
    }
    return type == ETH_P_IP ||
           (type == ETH_P_IPV6 && !is_discovery(ether + packet_at, size - packet_at));
}

/* The slot for what teaches a MAC, and what is no plain IP. */
static uint32_t
teacher_of(const struct lagg_plan *plan, const struct frame *frame)
{
    uint32_t slot;

    if (plan->teaches == 0) {
        return plan->home;
    }
    lesson_quieten(frame);
    slot = lesson_slot(plan, frame);
    return slot == NO_SLOT ? plan->home : slot;
}

uint32_t
station_of(const struct lagg_plan *plan, const struct frame *frame)
{
    const uint8_t *source = frame_ether(frame) + ETH_ALEN;
    uint32_t slot;

    if (same_mac(source, plan->mac)) {
        return is_plain(frame) ? NO_SLOT : teacher_of(plan, frame);
    }
    slot = slot_of(plan, source);
    return slot != NO_SLOT ? slot : plan->home;
}

void
station_sign(const struct lagg_plan *plan, uint32_t slot, const struct frame *frame)
{
    const uint8_t *mac = slot == plan->home ? plan->mac : plan->macs[slot];
    uint8_t *source = frame_ether(frame) + ETH_ALEN;

    if (same_mac(source, plan->mac) || slot_of(plan, source) != NO_SLOT) {
        if (plan->teaches) {
            lesson_sign(frame, source, mac);
        }
        memcpy(source, mac, ETH_ALEN);
    }
}

bool
station_admit(const struct lagg_plan *plan, uint32_t slot, const struct frame *frame)
{
    uint8_t *destination = frame_ether(frame);

    if (frame->head_bytes >= VNET_BYTES + ETHER_BYTES &&
        same_mac(destination, plan->macs[slot])) {
        memcpy(destination, plan->mac, ETH_ALEN);
        return true;
    }
    return plan->rx_accept >> slot & 1;
}
