/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What tunnels carry: frames written by hand from the RFCs, and frames by chance, each
 * in memory that ends where it ends.
 *
 * Owns both, and what must be true of any.  tests/kernel/test_inner.py has scapy's.
 * Arguments: a seed, and how many frames by chance.
 */
#include "check.h"
#include "frame_rows.h"

enum { FRAMES = 200000, HEADERS_MAX = 14, FRAME_BYTES_MAX = HEADERS_MAX * 60 };

/* ---- by hand -----------------------------------------------------------------------
 */

#define OUTER "020000000002020000000001"
#define LABEL "00064040"
#define LAST_LABEL "00064140"

/* An IPv4 header that nothing contradicts, of so long a packet that its end is out of
 * sight. */
#define IN_V4(protocol, addresses)                                                     \
    "4500040000000000"                                                                 \
    "40" protocol "0000" addresses
#define IN_V6(next)                                                                    \
    "600000000400" next "40"                                                           \
    "20010db8000000000000000000000001"                                                 \
    "20010db8000000000000000000000002"
#define FAR "0a0000010a000002"
#define INNER "c0000201c6336402"
#define TCP_V4 IN_V4("06", INNER) TCP
#define FRAME_V4 MACS "0800" TCP_V4

struct tunnel_row {
    const char *name, *hex;
    uint8_t kinds[LAGG_TUNNELS_MAX];
    uint32_t count;
    bool macs; /* of the inner frame, else of the outer one */
};

#define ONE(kind) {LAGG_TUNNEL_##kind}, 1
#define OVER(protocol) OUTER "0800" IN_V4(protocol, FAR)
#define OVER_UDP(port) OVER("11") "d431" port "00000000"

static const struct tunnel_row tunnel_rows[] = {
    {"vxlan", OVER_UDP("12b5") "0800000000000100" FRAME_V4, ONE(VXLAN), true},
    {"vxlan of Linux", OVER_UDP("2118") "0800000000000100" FRAME_V4, ONE(VXLAN), true},
    {"geneve", OVER_UDP("17c1") "0000655800000100" FRAME_V4, ONE(GENEVE), true},
    {"geneve options",
        OVER_UDP("17c1") "0200655800000100"
                         "0102030405060708" FRAME_V4,
        ONE(GENEVE), true},
    {"geneve with IP", OVER_UDP("17c1") "0000080000000100" TCP_V4, ONE(GENEVE), false},
    {"gre", OVER("2f") "00000800" TCP_V4, ONE(GRE), false},
    {"gre, all fields",
        OVER("2f") "b0000800"
                   "11110000"
                   "22222222"
                   "33333333" TCP_V4,
        ONE(GRE), false},
    {"nvgre", OVER("2f") "2000655800000100" FRAME_V4, ONE(GRE), true},
    {"IPIP", OVER("04") TCP_V4, ONE(IP), false},
    {"MPLS", OUTER "8847" LAST_LABEL TCP_V4, ONE(MPLS), false},
    {"8 labels", OUTER "8847" FIVE(LABEL) LABEL LABEL LAST_LABEL TCP_V4, ONE(MPLS),
        false},
    {"MPLS in IP", OVER("89") LAST_LABEL TCP_V4, ONE(MPLS), false},
    {"PPPoE",
        OUTER "8864"
              "1100000104020021" TCP_V4,
        ONE(PPPOE), false},
    {"GTP-U", OVER_UDP("0868") "30ff040000000001" TCP_V4, ONE(GTP_U), false},
    {"GTP-U, extended",
        OVER_UDP("0868") "34ff040000000001"
                         "00000085"
                         "01000000" TCP_V4,
        ONE(GTP_U), false},
    {"MPLS in GRE", OVER("2f") "00008847" LAST_LABEL TCP_V4,
        {LAGG_TUNNEL_GRE, LAGG_TUNNEL_MPLS}, 2, false},
    {"IPIP in vxlan",
        OVER_UDP("12b5") "0800000000000100" MACS "0800" IN_V4("04", FAR) TCP_V4,
        {LAGG_TUNNEL_VXLAN, LAGG_TUNNEL_IP}, 2, true},
};

enum { TUNNEL_ROWS = sizeof tunnel_rows / sizeof tunnel_rows[0] };

static void
check_row(const struct tunnel_row *row)
{
    uint8_t bytes[WIRE_BYTES_MAX];
    uint32_t size = unhex(row->hex, bytes);
    struct tunnels tunnels;
    struct flow flow, expected = row_flow(&rows[3]); /* "TCP" */

    check_about(row->name, 0);
    if (!row->macs) {
        memcpy(expected.ether_dst, bytes, sizeof expected.ether_dst);
        memcpy(expected.ether_src, bytes + 6, sizeof expected.ether_src);
    }
    CHECK(frame_parse_inner(bytes, size, &flow, &tunnels));
    CHECK_EQ_U32(tunnels.count, row->count);
    CHECK_EQ_BYTES(tunnels.kinds, row->kinds, row->count);
    CHECK_EQ_BYTES(&flow, &expected, sizeof flow);
}

/* Of a frame whose tunnel is none the outer headers are left. */
static void
check_none(const char *name, const char *hex)
{
    uint8_t bytes[WIRE_BYTES_MAX];
    uint32_t size = unhex(hex, bytes);
    struct tunnels tunnels;
    struct flow flow, outer;

    check_about(name, 0);
    CHECK(frame_parse_inner(bytes, size, &flow, &tunnels));
    CHECK(frame_parse(bytes, size, &outer));
    CHECK_EQ_U32(tunnels.count, 0);
    CHECK_EQ_BYTES(&flow, &outer, sizeof flow);
}

static void
check_no_tunnels(void)
{
    check_none("vxlan without VNI", OVER_UDP("12b5") "0000000000000100" FRAME_V4);
    check_none("vxlan from the port", OVER("11") "12b5d43100000000"
                                                 "0800000000000100" FRAME_V4);
    check_none("geneve of version 1", OVER_UDP("17c1") "4000655800000100" FRAME_V4);
    check_none("geneve control", OVER_UDP("17c1") "0080655800000100" FRAME_V4);
    check_none("gre with routing", OVER("2f") "40000800" TCP_V4);
    check_none("gre of PPTP", OVER("2f") "20010800" TCP_V4);
    check_none(
        "9 labels", OUTER "8847" FIVE(LABEL) LABEL LABEL LABEL LAST_LABEL TCP_V4);
    check_none("a pseudowire", OUTER "8847" LAST_LABEL "00000000" FRAME_V4);
    check_none("PPPoE of LCP", OUTER "8864"
                                     "110000010402c021" TCP_V4);
    check_none("GTP-U echo", OVER_UDP("0868") "3001040000000001" TCP_V4);
    check_none("GTP-U, an extension of nothing", OVER_UDP("0868") "34ff040000000001"
                                                                  "00000085"
                                                                  "00000000" TCP_V4);
    check_none("a fragment", OUTER "080045000400"
                                   "00002000"
                                   "4004"
                                   "0000" FAR TCP_V4);
}

/* ---- by chance ---------------------------------------------------------------------
 */

/* What comes at a place of a frame. */
enum place { AT_FRAME, AT_V4, AT_V6, AT_MPLS, AT_PPPOE, AT_UDP, AT_GRE, AT_END };

/* Headers by the place they stand at, and the place that is behind them. */
static const struct piece {
    enum place at, behind;
    const char *hex;
} pieces[] = {
    {AT_FRAME, AT_V4, MACS "0800"},
    {AT_FRAME, AT_V6, MACS "86dd"},
    {AT_FRAME, AT_MPLS, MACS "8847"},
    {AT_FRAME, AT_PPPOE, MACS "8864"},
    {AT_FRAME, AT_V4,
        MACS "81000005"
             "0800"},
    {AT_V4, AT_UDP, IN_V4("11", FAR)},
    {AT_V4, AT_GRE, IN_V4("2f", FAR)},
    {AT_V4, AT_V4, IN_V4("04", FAR)},
    {AT_V4, AT_V6, IN_V4("29", FAR)},
    {AT_V4, AT_MPLS, IN_V4("89", FAR)},
    {AT_V4, AT_END, IN_V4("06", FAR)},
    {AT_V6, AT_V6, IN_V6("29")},
    {AT_V6, AT_UDP, IN_V6("11")},
    {AT_V6, AT_GRE, IN_V6("00") "2f00010400000000"},
    {AT_MPLS, AT_MPLS, LABEL},
    {AT_MPLS, AT_V4, LAST_LABEL},
    {AT_MPLS, AT_V6, LAST_LABEL},
    {AT_PPPOE, AT_V4, "1100000104020021"},
    {AT_PPPOE, AT_V6, "1100000104020057"},
    {AT_UDP, AT_FRAME,
        "d43112b500000000"
        "0800000000000100"},
    {AT_UDP, AT_FRAME,
        "d431211800000000"
        "0800000000000100"},
    {AT_UDP, AT_FRAME,
        "d43117c100000000"
        "0000655800000100"},
    {AT_UDP, AT_V4,
        "d43117c100000000"
        "0200080000000100"
        "0102030405060708"},
    {AT_UDP, AT_V4,
        "d431086800000000"
        "34ff040000000001"
        "00000085"
        "01000000"},
    {AT_UDP, AT_V6,
        "d431086800000000"
        "30ff040000000001"},
    {AT_GRE, AT_V4, "00000800"},
    {AT_GRE, AT_FRAME, "2000655800000100"},
    {AT_GRE, AT_MPLS,
        "b0008847"
        "000000000000000000000000"},
    {AT_END, AT_END, TCP},
};

enum { PIECES = sizeof pieces / sizeof pieces[0] };

/* Mostly one that stands at 'place'. */
static const struct piece *
draw_piece(uint64_t *random, enum place place)
{
    uint32_t first = check_random(random) % PIECES;

    if (check_random(random) % 32 == 0) {
        return &pieces[first];
    }
    for (uint32_t i = 0; pieces[first].at != place && i < PIECES; i++) {
        first = (first + 1) % PIECES;
    }
    return &pieces[first];
}

static uint32_t
draw(uint64_t *random, uint8_t *bytes)
{
    uint32_t size = 0;
    enum place place = AT_FRAME;

    for (uint32_t i = 1 + check_random(random) % HEADERS_MAX; i > 0; i--) {
        const struct piece *piece = draw_piece(random, place);

        size += unhex(piece->hex, bytes + size);
        place = piece->behind;
    }
    for (uint32_t flips = check_random(random) % 8 / 5; flips > 0; flips--) {
        bytes[check_random(random) % size] = (uint8_t)check_random(random);
    }
    return size - check_random(random) % (check_random(random) % 8 == 0 ? size : 1);
}

static void
check_any(const uint8_t *bytes, uint32_t size)
{
    struct tunnels tunnels;
    struct flow flow, outer;
    bool whole = frame_parse_inner(bytes, size, &flow, &tunnels);

    CHECK(whole == frame_parse(bytes, size, &outer));
    CHECK(tunnels.count <= LAGG_TUNNELS_MAX);
    CHECK(flow.vlan_count <= 2 && (flow.port_bytes == 0 || flow.port_bytes == 2));
    CHECK(flow.addr_bytes == 0 || flow.addr_bytes == 4 || flow.addr_bytes == 16);
    if (tunnels.count == 0) {
        CHECK_EQ_BYTES(&flow, &outer, sizeof flow);
    }
    for (uint32_t i = 0; i < tunnels.count; i++) {
        CHECK(tunnels.kinds[i] < LAGG_TUNNEL_NONE);
    }
}

/* The sanitizer sees a byte that is read behind a frame's end. */
static uint32_t
check_chance(uint64_t *random, uint32_t frame)
{
    uint8_t drawn[FRAME_BYTES_MAX];
    uint32_t size = draw(random, drawn);
    uint8_t *bytes = malloc(size);
    struct tunnels tunnels;
    struct flow flow;

    assert(bytes != NULL || size == 0);
    memcpy(bytes, drawn, size);
    check_about("by chance", frame);
    check_any(bytes, size);
    frame_parse_inner(bytes, size, &flow, &tunnels);
    free(bytes);
    return tunnels.count;
}

int
main(int argc, char **argv)
{
    uint64_t random = check_seed(argc, argv);
    uint32_t frames = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 0) : FRAMES;
    uint32_t deep[LAGG_TUNNELS_MAX + 1] = {0};
    struct payload nothing = {.kind = PAYLOAD_NONE};

    CHECK_EQ_U32(tunnel_enter(&nothing), LAGG_TUNNEL_NONE);
    for (uint32_t i = 0; i < TUNNEL_ROWS; i++) {
        check_row(&tunnel_rows[i]);
    }
    check_no_tunnels();
    for (uint32_t frame = 0; frame < frames; frame++) {
        deep[check_chance(&random, frame)]++;
    }
    for (uint32_t depth = 0; depth <= LAGG_TUNNELS_MAX; depth++) {
        printf("%u tunnels deep: %u\n", depth, deep[depth]);
        CHECK(frames < FRAMES || deep[depth] > 0);
    }
    return check_report();
}
