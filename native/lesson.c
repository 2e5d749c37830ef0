/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Lessons: frames by which a peer learns the MAC to which it is to send.
 *
 * Owns where in ARP and in neighbour discovery that MAC is, whom a frame teaches, and
 * that the MAC inside is the one that the frame is sent from: so a port that sends one
 * teaches itself, whoever it stands in for, and the peer's answers come in by it.
 *
 * By whom a peer is taught follows from its address alone, by the plan's table: nothing
 * is kept of any peer, and none can be forgotten.  What all hear would teach all of
 * them, so a request to all asks as RFC 5227's probe does, in the name of no address:
 * the one that is asked answers, and nobody learns.  When it wants to answer what is
 * sent to it, it asks in turn, and the reply is a lesson to it alone.  An announcement
 * (RFC 5227 3) stays what it is: it is meant to teach all, and to teach the lagg's MAC.
 *
 * Pure; knows no hash and no descriptor.
 */
#include "lesson.h"

#include <linux/if_ether.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <string.h>

/* Of ARP (RFC 826) for IPv4 on Ethernet. */
enum {
    ARP_BYTES = 28,
    ARP_OPERATION_AT = 7, /* its lower byte */
    ARP_REQUEST = 1,
    ARP_SENDER_MAC_AT = 8,
    ARP_SENDER_AT = 14,
    ARP_TARGET_AT = 24,
    IPV4_ADDRESS_BYTES = 4,
};

/* Of neighbour discovery (RFC 4861), from the IPv6 header on: all of it has an address
 * behind eight bytes, and the option that names a MAC comes first in what Linux sends.
 */
enum {
    IPV6_PROTOCOL_AT = 6,
    IPV6_SOURCE_AT = 8,
    IPV6_DESTINATION_AT = 24,
    IPV6_BYTES = 40,
    IPV6_ADDRESS_BYTES = 16,
    ICMP_CHECKSUM_AT = IPV6_BYTES + 2,
    TARGET_AT = IPV6_BYTES + 8,
    OPTION_AT = TARGET_AT + IPV6_ADDRESS_BYTES,
    OPTION_MAC_AT = OPTION_AT + 2,
    DISCOVERY_BYTES = OPTION_MAC_AT + ETH_ALEN,
    SOLICITATION = 135,
    ADVERTISEMENT = 136,
    OPTION_SOURCE = 1,
    OPTION_TARGET = 2,
};

/* What a frame carries behind its tags. */
struct packet {
    uint8_t *bytes;
    uint32_t size; /* of what is in the frame's head */
    uint32_t type;
};

static struct packet
packet_of(const struct frame *frame)
{
    uint32_t at = VNET_BYTES + ETHER_BYTES + frame_tags_bytes(frame);

    return (struct packet){
        .bytes = frame->head + at,
        .size = frame->head_bytes - at,
        .type = (uint32_t)(frame->head[at - 2] << 8 | frame->head[at - 1]),
    };
}

static bool
is_to_all(const struct frame *frame)
{
    return (frame->head[VNET_BYTES] & 1) != 0;
}

static bool
is_arp(const struct packet *packet)
{
    static const uint8_t ipv4_on_ethernet[] = {0, 1, 8, 0, ETH_ALEN, 4, 0};

    return packet->type == ETH_P_ARP && packet->size >= ARP_BYTES &&
           memcmp(packet->bytes, ipv4_on_ethernet, sizeof ipv4_on_ethernet) == 0;
}

/* A solicitation or an advertisement that names a MAC. */
static bool
is_discovery(const struct packet *packet)
{
    const uint8_t *bytes = packet->bytes;

    if (packet->type != ETH_P_IPV6 || packet->size < DISCOVERY_BYTES ||
        bytes[IPV6_PROTOCOL_AT] != IPPROTO_ICMPV6 || bytes[OPTION_AT + 1] != 1) {
        return false;
    }
    return (bytes[IPV6_BYTES] == SOLICITATION && bytes[OPTION_AT] == OPTION_SOURCE) ||
           (bytes[IPV6_BYTES] == ADVERTISEMENT && bytes[OPTION_AT] == OPTION_TARGET);
}

static bool
is_probe_or_announcement(const uint8_t *arp)
{
    static const uint8_t nobody[IPV4_ADDRESS_BYTES];
    const uint8_t *sender = arp + ARP_SENDER_AT;

    return memcmp(sender, nobody, IPV4_ADDRESS_BYTES) == 0 ||
           memcmp(sender, arp + ARP_TARGET_AT, IPV4_ADDRESS_BYTES) == 0;
}

uint32_t
lesson_bucket(const uint8_t *address, uint32_t bytes)
{
    uint32_t bucket = 0;

    for (uint32_t i = 0; i < bytes; i++) {
        bucket ^= address[i];
    }
    return bucket;
}

/* The address that a solicitation asks, or an advertisement answers; NULL when that is
 * a group. */
static const uint8_t *
discovery_peer(const uint8_t *ip)
{
    const uint8_t *peer =
        ip + (ip[IPV6_BYTES] == SOLICITATION ? TARGET_AT : IPV6_DESTINATION_AT);

    return peer[0] == 0xff ? NULL : peer;
}

uint32_t
lesson_slot(const struct lagg_plan *plan, const struct frame *frame)
{
    const struct packet packet = packet_of(frame);
    const uint8_t *peer;

    if (is_arp(&packet) && !is_to_all(frame)) {
        return plan
            ->rx_slots[lesson_bucket(packet.bytes + ARP_TARGET_AT, IPV4_ADDRESS_BYTES)];
    }
    peer = is_discovery(&packet) ? discovery_peer(packet.bytes) : NULL;
    return peer == NULL ? NO_SLOT
                        : plan->rx_slots[lesson_bucket(peer, IPV6_ADDRESS_BYTES)];
}

void
lesson_quieten(const struct frame *frame)
{
    const struct packet packet = packet_of(frame);

    if (is_to_all(frame) && is_arp(&packet) &&
        packet.bytes[ARP_OPERATION_AT] == ARP_REQUEST &&
        !is_probe_or_announcement(packet.bytes)) {
        memset(packet.bytes + ARP_SENDER_AT, 0, IPV4_ADDRESS_BYTES);
    }
}

/* RFC 1624, equation 3, for words of an even place; in network byte order. */
static void
checksum_replace(uint8_t *checksum, const uint8_t *before, const uint8_t *after)
{
    uint32_t sum = (uint16_t)~(checksum[0] << 8 | checksum[1]);

    for (uint32_t i = 0; i < ETH_ALEN; i += 2) {
        sum += (uint16_t)~(before[i] << 8 | before[i + 1]);
        sum += (uint32_t)(after[i] << 8 | after[i + 1]);
    }
    sum = (sum & UINT16_MAX) + (sum >> 16);
    sum = ~((sum & UINT16_MAX) + (sum >> 16));
    checksum[0] = (uint8_t)(sum >> 8);
    checksum[1] = (uint8_t)sum;
}

/* The MAC that a lesson has inside; NULL: it is none. */
static uint8_t *
mac_inside(const struct packet *packet)
{
    if (is_arp(packet)) {
        return packet->bytes + ARP_SENDER_MAC_AT;
    }
    return is_discovery(packet) ? packet->bytes + OPTION_MAC_AT : NULL;
}

void
lesson_sign(const struct frame *frame, const uint8_t *was, const uint8_t *mac)
{
    const struct packet packet = packet_of(frame);
    uint8_t *inside = mac_inside(&packet);

    if (inside == NULL || memcmp(inside, was, ETH_ALEN) != 0) {
        return;
    }
    /* An open checksum is of the pseudo-header alone, which has no MAC in it. */
    if (packet.type == ETH_P_IPV6 &&
        (frame->head[0] & VIRTIO_NET_HDR_F_NEEDS_CSUM) == 0) {
        checksum_replace(packet.bytes + ICMP_CHECKSUM_AT, inside, mac);
    }
    memcpy(inside, mac, ETH_ALEN);
}
