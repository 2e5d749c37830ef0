/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames: what tells flows apart, whether an offload header can be true, and the VLAN
 * tag that the kernel delivers beside the frame.
 *
 * Owns the reading of bytes a peer chose: every length is checked before it is used,
 * and every walk has a bound.  Pure; knows no hash, plan, port or descriptor.  Refuses
 * a frame for its length or its offload header alone (frame_refusal()): one whose
 * headers are malformed is still a flow of its lower layers.
 */
#include "internal.h"

#include <linux/if_ether.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <string.h>

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4 /* since Linux 6.2 */
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

enum {
    VLANS_MAX = 2, /* 802.1ad: one of the provider's, one of the customer's */

    IPV4_BYTES = 20,
    IPV4_FRAGMENT = 0x3fff, /* MF and the offset, not DF */

    IPV6_BYTES = 40,
    /* More and longer chains than any sender has reason to build. */
    EXTENSIONS_MAX = 8,
    EXTENSIONS_BYTES_MAX = 256,
    EXTENSION_BYTES_MIN = 8,

    TRANSPORT_BYTES_MAX = 20,
    HEADERS_BYTES_MAX = ETHER_BYTES + VLANS_MAX * TAG_BYTES + IPV6_BYTES +
        EXTENSIONS_BYTES_MAX + TRANSPORT_BYTES_MAX,
};

static_assert(
    VNET_BYTES + HEADERS_BYTES_MAX <= HEAD_BYTES, "all is parsed in the head");

/* IANA's numbers that netinet/in.h lacks. */
enum { PROTOCOL_HIP = 139, PROTOCOL_SHIM6 = 140 };

static uint16_t
load_be16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static void
store_be16(uint8_t *bytes, uint16_t value)
{
    bytes[0] = (uint8_t)(value >> 8);
    bytes[1] = (uint8_t)value;
}

static uint32_t
min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* The shortest header of a protocol that has ports; 0 for one that has none. */
static uint32_t
transport_bytes(uint8_t protocol)
{
    switch (protocol) {
    case IPPROTO_TCP:
        return 20;
    case IPPROTO_UDP:
        return 8;
    case IPPROTO_SCTP:
        return 12;
    default:
        return 0;
    }
}

/* The 'size' bytes at 'bytes' follow the IP headers and belong to the datagram. */
static void
parse_ports(const uint8_t *bytes, uint32_t size, uint8_t protocol, struct flow *flow)
{
    uint32_t header_bytes = transport_bytes(protocol);

    if (header_bytes == 0 || size < header_bytes) {
        return;
    }
    memcpy(flow->port_src, bytes, sizeof(flow->port_src));
    memcpy(flow->port_dst, bytes + 2, sizeof(flow->port_dst));
    flow->port_bytes = sizeof(flow->port_src);
}

static const struct payload nothing = {.kind = PAYLOAD_NONE};

/* Both of IP answer with what they carry, unless it is a fragment. */
static struct payload
parse_ipv4(const uint8_t *bytes, uint32_t size, struct flow *flow)
{
    uint32_t header_bytes, end;

    if (size < IPV4_BYTES || bytes[0] >> 4 != 4) {
        return nothing;
    }
    memcpy(flow->addr_src, bytes + 12, 4);
    memcpy(flow->addr_dst, bytes + 16, 4);
    flow->addr_bytes = 4;

    /* Behind the total length is Ethernet padding, which must not pass for ports.  A
     * total length beyond 'size' is no fault: of a GSO frame we see the head only. */
    header_bytes = (bytes[0] & 0x0fu) * 4;
    end = min_u32(size, load_be16(bytes + 2));
    if (header_bytes < IPV4_BYTES || header_bytes > end) {
        return nothing;
    }
    /* Only a datagram's first fragment has ports; using them would part it from the
     * others, and fragments would overtake each other. */
    if ((load_be16(bytes + 6) & IPV4_FRAGMENT) != 0) {
        return nothing;
    }
    parse_ports(bytes + header_bytes, end - header_bytes, bytes[9], flow);
    return (struct payload){
        bytes + header_bytes, end - header_bytes, PAYLOAD_PROTOCOL, bytes[9]};
}

/* The length of an extension header to walk over, from its length field; 0 when
 * 'protocol' is none.  Never less than EXTENSION_BYTES_MIN, so that a walk moves on.
 *
 * The fragment header is none: what follows it has no ports for us, even in an atomic
 * fragment (offset 0, M 0).  A sender may switch between atomic and real ones within a
 * flow, and then the flow stays on one port.  ESP hides what follows. */
static uint32_t
extension_bytes(uint8_t protocol, uint8_t length)
{
    switch (protocol) {
    case IPPROTO_HOPOPTS:
    case IPPROTO_ROUTING:
    case IPPROTO_DSTOPTS:
    case IPPROTO_MH:
    case PROTOCOL_HIP:
    case PROTOCOL_SHIM6:
        return (length + 1u) * 8;
    case IPPROTO_AH:
        return (length + 2u) * 4; /* RFC 4302: in 32-bit words, minus 2 */
    default:
        return 0;
    }
}

/* Returns the bytes of extension headers at 'bytes', and in '*protocol' (before: of the
 * first) what follows them.  Where the walk gives up, that is still an extension
 * header, and so has no ports. */
static uint32_t
skip_extensions(const uint8_t *bytes, uint32_t size, uint8_t *protocol)
{
    uint32_t end = min_u32(size, EXTENSIONS_BYTES_MAX);
    uint32_t offset = 0;

    for (uint32_t count = 0; count < EXTENSIONS_MAX; count++) {
        uint32_t header_bytes;

        if (end - offset < EXTENSION_BYTES_MIN) {
            break;
        }
        header_bytes = extension_bytes(*protocol, bytes[offset + 1]);
        if (header_bytes == 0 || header_bytes > end - offset) {
            break;
        }
        *protocol = bytes[offset];
        offset += header_bytes;
    }
    return offset;
}

static struct payload
parse_ipv6(const uint8_t *bytes, uint32_t size, struct flow *flow)
{
    uint32_t end, offset;
    uint8_t protocol;

    if (size < IPV6_BYTES || bytes[0] >> 4 != 6) {
        return nothing;
    }
    memcpy(flow->addr_src, bytes + 8, sizeof(flow->addr_src));
    memcpy(flow->addr_dst, bytes + 24, sizeof(flow->addr_dst));
    flow->addr_bytes = sizeof(flow->addr_src);

    /* As with IPv4: padding is left out, and the end may be out of sight. */
    end = min_u32(size - IPV6_BYTES, load_be16(bytes + 4));
    protocol = bytes[6];
    bytes += IPV6_BYTES;
    offset = skip_extensions(bytes, end, &protocol);
    parse_ports(bytes + offset, end - offset, protocol, flow);
    return (struct payload){bytes + offset, end - offset, PAYLOAD_PROTOCOL, protocol};
}

static bool
is_vlan(uint16_t ether_type)
{
    return ether_type == ETH_P_8021Q || ether_type == ETH_P_8021AD ||
           ether_type == ETH_P_QINQ1;
}

/* Takes the VLAN tags behind '*ether_type' (before: the frame's, after: the innermost).
 * Returns their bytes.  A tag cut off, or one too many, is left as the type, of which
 * nobody knows an address. */
static uint32_t
parse_vlans(
    const uint8_t *bytes, uint32_t size, uint16_t *ether_type, struct flow *flow)
{
    uint32_t offset = 0;

    while (is_vlan(*ether_type) && flow->vlan_count < VLANS_MAX &&
           size - offset >= TAG_BYTES) {
        uint8_t *vlan = flow->vlan[flow->vlan_count++];

        /* Without PCP and DEI: frames of one flow may differ in priority, and must
         * not overtake each other for it. */
        store_be16(vlan, load_be16(bytes + offset) & 0x0fff);
        *ether_type = load_be16(bytes + offset + 2);
        offset += TAG_BYTES;
    }
    return offset;
}

static struct payload
parse_network(
    uint32_t ether_type, const uint8_t *bytes, uint32_t size, struct flow *flow)
{
    if (ether_type == ETH_P_IP) {
        return parse_ipv4(bytes, size, flow);
    }
    if (ether_type == ETH_P_IPV6) {
        return parse_ipv6(bytes, size, flow);
    }
    return (struct payload){bytes, size, PAYLOAD_ETHER_TYPE, ether_type};
}

/* Of no runt. */
static struct payload
parse_frame(const uint8_t *bytes, uint32_t size, struct flow *flow)
{
    uint16_t ether_type = load_be16(bytes + 12);
    uint32_t offset = ETHER_BYTES;

    memcpy(flow->ether_dst, bytes, sizeof(flow->ether_dst));
    memcpy(flow->ether_src, bytes + 6, sizeof(flow->ether_src));
    offset += parse_vlans(bytes + offset, size - offset, &ether_type, flow);
    return parse_network(ether_type, bytes + offset, size - offset, flow);
}

bool
frame_parse(const uint8_t *bytes, uint32_t size, struct flow *flow)
{
    memset(flow, 0, sizeof(*flow));
    if (size < ETHER_BYTES) {
        return false;
    }
    parse_frame(bytes, size, flow);
    return true;
}

/* The flow of what a tunnel carries, and what that carries in turn.  False when there
 * is no more of it than its name: then it is the flow of what carries it. */
static bool
parse_carried(struct payload *payload, struct flow *flow)
{
    struct flow inner = {0};

    if (payload->kind == PAYLOAD_FRAME) {
        if (payload->size < ETHER_BYTES) {
            return false;
        }
        *payload = parse_frame(payload->bytes, payload->size, &inner);
        *flow = inner;
        return true;
    }
    memcpy(&inner, flow, offsetof(struct flow, addr_src)); /* MACs and tags */
    inner.vlan_count = flow->vlan_count;
    *payload = parse_network(payload->number, payload->bytes, payload->size, &inner);
    if (inner.addr_bytes == 0) {
        return false;
    }
    *flow = inner;
    return true;
}

bool
frame_parse_inner(
    const uint8_t *bytes, uint32_t size, struct flow *flow, struct tunnels *tunnels)
{
    struct payload payload = {bytes, size, PAYLOAD_FRAME, 0};

    memset(flow, 0, sizeof(*flow));
    memset(tunnels, 0, sizeof(*tunnels));
    if (!parse_carried(&payload, flow)) {
        return false;
    }
    for (uint32_t count = 0; count < LAGG_TUNNELS_MAX; count++) {
        uint32_t kind = tunnel_enter(&payload);

        if (kind == LAGG_TUNNEL_NONE) {
            break;
        }
        tunnels->kinds[count] = (uint8_t)kind;
        if (parse_carried(&payload, flow)) {
            tunnels->count = count + 1;
        }
    }
    return true;
}

static_assert(sizeof(struct virtio_net_hdr) == VNET_BYTES, "nothing but the header");

static struct virtio_net_hdr
load_offload(const struct frame *frame)
{
    struct virtio_net_hdr offload;

    memcpy(&offload, frame->head, sizeof(offload));
    return offload;
}

static bool
gso_valid(const struct virtio_net_hdr *offload)
{
    switch (offload->gso_type) {
    case VIRTIO_NET_HDR_GSO_NONE:
        return true;
    case VIRTIO_NET_HDR_GSO_TCPV4:
    case VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN:
    case VIRTIO_NET_HDR_GSO_TCPV6:
    case VIRTIO_NET_HDR_GSO_TCPV6 | VIRTIO_NET_HDR_GSO_ECN:
    case VIRTIO_NET_HDR_GSO_UDP:
    case VIRTIO_NET_HDR_GSO_UDP_L4:
        return offload->gso_size != 0;
    default:
        return false;
    }
}

/* Whether a checksum can be filled in.  Ethernet has none, so that one begins behind
 * its header; frame_insert_tag() relies on it. */
static bool
checksum_valid(const struct virtio_net_hdr *offload, uint32_t size)
{
    uint32_t field = (uint32_t)offload->csum_start + offload->csum_offset;

    return offload->csum_start >= ETHER_BYTES && field + sizeof(uint16_t) <= size;
}

static uint64_t
load_u64(const uint8_t *bytes, uint32_t size)
{
    uint64_t word = 0; /* as if zeros followed, which do not count */

    memcpy(&word, bytes, size);
    return word;
}

bool
frame_offload_valid(const struct frame *frame)
{
    struct virtio_net_hdr offload;

    if (frame->head_bytes < VNET_BYTES) {
        return false;
    }
    /* As most frames are: csum_offset alone is left, which means nothing then. */
    if (load_u64(frame->head, sizeof(uint64_t)) == 0) {
        return true;
    }
    offload = load_offload(frame);
    if ((offload.flags &
            ~(VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID)) != 0) {
        return false;
    }
    if (!gso_valid(&offload) || offload.hdr_len > frame_bytes(frame)) {
        return false;
    }
    return (offload.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) == 0 ||
           checksum_valid(&offload, frame_bytes(frame));
}

uint32_t
frame_refusal(const struct frame *frame)
{
    if (frame->head_bytes < VNET_BYTES + ETHER_BYTES) {
        return LAGG_DROP_RUNT;
    }
    return frame_offload_valid(frame) ? LAGG_DROP_COUNT : LAGG_DROP_BAD_OFFLOAD;
}

bool
frame_is_gso(const struct frame *frame)
{
    return load_offload(frame).gso_type != VIRTIO_NET_HDR_GSO_NONE;
}

/* In the machine's byte order, and 8 bytes at a time: RFC 1071 section 2 (B) and (C).
 * Neither sum can overflow, and the last fold leaves no carry: 'size' is below 2^32. */
uint16_t
frame_checksum(const uint8_t *bytes, uint32_t size)
{
    uint64_t low = 0, high = 0, sum;
    uint32_t offset = 0;

    for (; size - offset >= sizeof(uint64_t); offset += sizeof(uint64_t)) {
        uint64_t word = load_u64(bytes + offset, sizeof word);

        low += word & UINT32_MAX;
        high += word >> 32;
    }
    sum = load_u64(bytes + offset, size - offset);
    sum = (sum & UINT32_MAX) + (sum >> 32) + low + high;
    sum = (sum & UINT32_MAX) + (sum >> 32);
    sum = (sum & UINT16_MAX) + (sum >> 16 & UINT16_MAX) + (sum >> 32);
    sum = (sum & UINT16_MAX) + (sum >> 16);
    return (uint16_t)~sum;
}

/* The field holds the pseudo-header's sum, and is summed with the rest.  A sum of 0
 * goes as 0xffff, which is the same to TCP, and to UDP says that there is one. */
static uint16_t
open_sum(const struct frame *frame, uint16_t from)
{
    uint16_t sum =
        frame_checksum(frame->head + VNET_BYTES + from, frame_bytes(frame) - from);

    return sum == 0 ? UINT16_MAX : sum;
}

uint32_t
frame_open_checksum(const struct frame *frame, uint16_t *sum)
{
    const struct virtio_net_hdr offload = load_offload(frame);

    if ((offload.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) == 0) {
        return 0;
    }
    *sum = open_sum(frame, offload.csum_start);
    return (uint32_t)offload.csum_start + offload.csum_offset;
}

void
frame_finish_checksum(const struct frame *frame, uint8_t *bytes)
{
    const struct virtio_net_hdr offload = load_offload(frame);
    uint16_t sum;

    if ((offload.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) == 0) {
        return;
    }
    sum = open_sum(frame, offload.csum_start);
    memcpy(bytes + offload.csum_start + offload.csum_offset, &sum, sizeof sum);
}

uint32_t
frame_tags_bytes(const struct frame *frame)
{
    const uint8_t *type = frame->head + VNET_BYTES + 12;
    uint32_t bytes = 0;

    while (bytes < VLANS_MAX * TAG_BYTES && is_vlan(load_be16(type + bytes)) &&
           frame_bytes(frame) >= ETHER_BYTES + bytes + TAG_BYTES) {
        bytes += TAG_BYTES;
    }
    return bytes;
}

void
frame_insert_tag(struct frame *frame, uint16_t tpid, uint16_t tci)
{
    enum { ADDRESSES_BYTES = 12 };
    struct virtio_net_hdr offload = load_offload(frame);
    uint8_t *tag;

    /* A sum past 65535 wraps below ETHER_BYTES, which frame_offload_valid() refuses. */
    if ((offload.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) != 0) {
        offload.csum_start = (uint16_t)(offload.csum_start + TAG_BYTES);
    }
    if (offload.hdr_len != 0) {
        offload.hdr_len = (uint16_t)(offload.hdr_len + TAG_BYTES);
    }
    frame->head -= TAG_BYTES;
    frame->head_bytes += TAG_BYTES;
    memcpy(frame->head, &offload, sizeof(offload));
    memmove(frame->head + VNET_BYTES, frame->head + VNET_BYTES + TAG_BYTES,
        ADDRESSES_BYTES);
    tag = frame->head + VNET_BYTES + ADDRESSES_BYTES;
    store_be16(tag, tpid);
    store_be16(tag + 2, tci);
}
