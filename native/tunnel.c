/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tunnels: where the frame or packet lies that another one carries.
 *
 * Owns the headers between the two.  Reads what a peer chose, as frame.c: every length
 * is checked before it is used, and every walk has a bound.  What a header says that is
 * not understood, or is cut off, is no tunnel.  Pure; knows no address and no port but
 * those that name a tunnel.
 */
#include "internal.h"

#include <linux/if_ether.h>
#include <netinet/in.h>

enum {
    PROTOCOL_MPLS = 137, /* RFC 4023 */

    PORT_GTP_U = 2152,
    PORT_VXLAN = 4789,
    PORT_GENEVE = 6081,
    PORT_VXLAN_LINUX = 8472, /* what Linux takes unless told otherwise */

    TYPE_FRAME = 0x6558, /* ETH_P_TEB: a frame, in GRE and GENEVE */

    UDP_BYTES = 8,

    VXLAN_BYTES = 8, /* RFC 7348 5 */
    VXLAN_HAS_VNI = 0x08,

    GENEVE_BYTES = 8, /* RFC 8926 3.4 */
    GENEVE_OPTIONS = 0x3f,
    GENEVE_CONTROL = 0x80,

    GTP_BYTES = 8, /* TS 29.281 5.1 */
    GTP_OPTIONAL_BYTES = 12,
    GTP_V1 = 3, /* version 1, and GTP rather than GTP' */
    GTP_OPTIONAL = 0x07,
    GTP_EXTENSION = 0x04,
    GTP_PACKET = 255,
    GTP_EXTENSIONS_MAX = 8,

    GRE_BYTES = 4, /* RFC 2784, RFC 2890 */
    GRE_CHECKSUM = 0x8000,
    GRE_KEY = 0x2000,
    GRE_SEQUENCE = 0x1000,
    GRE_FOREIGN = 0x4c07, /* routing, and versions but 0 */

    LABEL_BYTES = 4, /* RFC 3032 */
    LABELS_MAX = 8,

    PPPOE_BYTES = 8, /* RFC 2516, with PPP's protocol */
    PPPOE_V1 = 0x11,
    PPP_IPV4 = 0x0021,
    PPP_IPV6 = 0x0057,
};

static uint16_t
load_be16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

/* What lies behind so many bytes.  'type': an ether type, or TYPE_FRAME. */
static bool
carries(struct payload *payload, uint32_t bytes, uint32_t type)
{
    if (payload->size < bytes) {
        return false;
    }
    *payload = (struct payload){
        .bytes = payload->bytes + bytes,
        .size = payload->size - bytes,
        .kind = type == TYPE_FRAME ? PAYLOAD_FRAME : PAYLOAD_ETHER_TYPE,
        .number = type,
    };
    return true;
}

/* An IP packet whose version only itself says. */
static bool
carries_ip(struct payload *payload, uint32_t bytes)
{
    if (payload->size <= bytes) {
        return false;
    }
    switch (payload->bytes[bytes] >> 4) {
    case 4:
        return carries(payload, bytes, ETH_P_IP);
    case 6:
        return carries(payload, bytes, ETH_P_IPV6);
    default:
        return false;
    }
}

static bool
vxlan_enter(struct payload *payload)
{
    return payload->size >= VXLAN_BYTES && (payload->bytes[0] & VXLAN_HAS_VNI) != 0 &&
           carries(payload, VXLAN_BYTES, TYPE_FRAME);
}

static bool
geneve_enter(struct payload *payload)
{
    const uint8_t *bytes = payload->bytes;

    if (payload->size < GENEVE_BYTES || bytes[0] >> 6 != 0 ||
        (bytes[1] & GENEVE_CONTROL) != 0) {
        return false;
    }
    return carries(
        payload, GENEVE_BYTES + (bytes[0] & GENEVE_OPTIONS) * 4u, load_be16(bytes + 2));
}

/* The bytes of a GTP-U header with its extensions; 0 when they have no end. */
static uint32_t
gtp_bytes(const struct payload *payload)
{
    const uint8_t *bytes = payload->bytes;
    uint32_t offset = GTP_OPTIONAL_BYTES;
    uint8_t next;

    if ((bytes[0] & GTP_OPTIONAL) == 0) {
        return GTP_BYTES;
    }
    if (payload->size < GTP_OPTIONAL_BYTES) {
        return 0;
    }
    next = (bytes[0] & GTP_EXTENSION) != 0 ? bytes[offset - 1] : 0;
    for (uint32_t count = 0; next != 0 && count < GTP_EXTENSIONS_MAX; count++) {
        uint32_t more = offset < payload->size ? bytes[offset] * 4u : 0;

        if (more == 0 || more > payload->size - offset) {
            return 0;
        }
        offset += more;
        next = bytes[offset - 1];
    }
    return next == 0 ? offset : 0;
}

static bool
gtp_enter(struct payload *payload)
{
    uint32_t bytes;

    if (payload->size < GTP_BYTES || payload->bytes[0] >> 4 != GTP_V1 ||
        payload->bytes[1] != GTP_PACKET) {
        return false;
    }
    bytes = gtp_bytes(payload);
    return bytes != 0 && carries_ip(payload, bytes);
}

/* By the port that a datagram is for: that it comes from is any. */
static uint32_t
udp_enter(struct payload *payload)
{
    uint16_t port;

    if (payload->size < UDP_BYTES) {
        return LAGG_TUNNEL_NONE;
    }
    port = load_be16(payload->bytes + 2);
    payload->bytes += UDP_BYTES;
    payload->size -= UDP_BYTES;
    switch (port) {
    case PORT_VXLAN:
    case PORT_VXLAN_LINUX:
        return vxlan_enter(payload) ? LAGG_TUNNEL_VXLAN : LAGG_TUNNEL_NONE;
    case PORT_GENEVE:
        return geneve_enter(payload) ? LAGG_TUNNEL_GENEVE : LAGG_TUNNEL_NONE;
    case PORT_GTP_U:
        return gtp_enter(payload) ? LAGG_TUNNEL_GTP_U : LAGG_TUNNEL_NONE;
    default:
        return LAGG_TUNNEL_NONE;
    }
}

static bool
gre_enter(struct payload *payload)
{
    uint32_t bytes = GRE_BYTES;
    uint16_t flags;

    if (payload->size < GRE_BYTES) {
        return false;
    }
    flags = load_be16(payload->bytes);
    bytes += (flags & GRE_CHECKSUM) != 0 ? 4 : 0;
    bytes += (flags & GRE_KEY) != 0 ? 4 : 0;
    bytes += (flags & GRE_SEQUENCE) != 0 ? 4 : 0;
    return (flags & GRE_FOREIGN) == 0 &&
           carries(payload, bytes, load_be16(payload->bytes + 2));
}

/* What the last label stands for no header says.  IP is told as routers do it, by its
 * first bits (RFC 4928); all else is no flow of its own. */
static bool
mpls_enter(struct payload *payload)
{
    for (uint32_t labels = 1; labels <= LABELS_MAX; labels++) {
        uint32_t bytes = labels * LABEL_BYTES;

        if (payload->size < bytes) {
            return false;
        }
        if ((payload->bytes[bytes - 2] & 1) != 0) {
            return carries_ip(payload, bytes);
        }
    }
    return false;
}

static bool
pppoe_enter(struct payload *payload)
{
    const uint8_t *bytes = payload->bytes;

    if (payload->size < PPPOE_BYTES || bytes[0] != PPPOE_V1 || bytes[1] != 0) {
        return false;
    }
    switch (load_be16(bytes + 6)) {
    case PPP_IPV4:
        return carries(payload, PPPOE_BYTES, ETH_P_IP);
    case PPP_IPV6:
        return carries(payload, PPPOE_BYTES, ETH_P_IPV6);
    default:
        return false;
    }
}

static uint32_t
protocol_enter(struct payload *payload)
{
    switch (payload->number) {
    case IPPROTO_UDP:
        return udp_enter(payload);
    case IPPROTO_GRE:
        return gre_enter(payload) ? LAGG_TUNNEL_GRE : LAGG_TUNNEL_NONE;
    case IPPROTO_IPIP:
        return carries(payload, 0, ETH_P_IP) ? LAGG_TUNNEL_IP : LAGG_TUNNEL_NONE;
    case IPPROTO_IPV6:
        return carries(payload, 0, ETH_P_IPV6) ? LAGG_TUNNEL_IP : LAGG_TUNNEL_NONE;
    case PROTOCOL_MPLS:
        return mpls_enter(payload) ? LAGG_TUNNEL_MPLS : LAGG_TUNNEL_NONE;
    default:
        return LAGG_TUNNEL_NONE;
    }
}

static uint32_t
ether_type_enter(struct payload *payload)
{
    switch (payload->number) {
    case ETH_P_MPLS_UC:
    case ETH_P_MPLS_MC:
        return mpls_enter(payload) ? LAGG_TUNNEL_MPLS : LAGG_TUNNEL_NONE;
    case ETH_P_PPP_SES:
        return pppoe_enter(payload) ? LAGG_TUNNEL_PPPOE : LAGG_TUNNEL_NONE;
    default:
        return LAGG_TUNNEL_NONE;
    }
}

uint32_t
tunnel_enter(struct payload *payload)
{
    switch (payload->kind) {
    case PAYLOAD_PROTOCOL:
        return protocol_enter(payload);
    case PAYLOAD_ETHER_TYPE:
        return ether_type_enter(payload);
    default:
        return LAGG_TUNNEL_NONE;
    }
}
