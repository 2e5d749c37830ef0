/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * frame.c against the rows of frame_rows.h, cut at every length, and against random
 * changes of them; the offload header against tables of its own.
 *
 * Owns what must hold for any bytes.  Every parse is of a block of exactly that size,
 * so that a sanitizer sees one byte too many.
 */
#include "check.h"
#include "frame_rows.h"

#include <linux/virtio_net.h>

/* ---- parsing --------------------------------------------------------------------- */

/* Parses a copy that ends where its block ends and begins at any alignment. */
static bool
parse_exactly(const uint8_t *bytes, uint32_t size, struct flow *flow)
{
    uint32_t shift = size % 8;
    uint8_t *block = malloc(shift + size);
    bool parsed;

    assert(block != NULL || shift + size == 0);
    if (size > 0) {
        memcpy(block + shift, bytes, size);
    }
    memset(flow, 0xa5, sizeof(*flow));
    parsed = frame_parse(size > 0 ? block + shift : block, size, flow);
    free(block);
    return parsed;
}

static bool
equal(const struct flow *a, const struct flow *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

/* Whether 'part' says nothing that 'whole' does not. */
static bool
within(const struct flow *part, const struct flow *whole)
{
    const uint8_t *some = (const uint8_t *)part, *all = (const uint8_t *)whole;

    for (size_t i = 0; i < offsetof(struct flow, vlan_count); i++) {
        if (some[i] != 0 && some[i] != all[i]) {
            return false;
        }
    }
    return part->vlan_count <= whole->vlan_count &&
           (part->addr_bytes == 0 || part->addr_bytes == whole->addr_bytes) &&
           (part->port_bytes == 0 || part->port_bytes == whole->port_bytes);
}

static bool
zero(const uint8_t *bytes, size_t size)
{
    uint8_t sum = 0;

    for (size_t i = 0; i < size; i++) {
        sum |= bytes[i];
    }
    return sum == 0;
}

/* What holds for the flow of any bytes at all. */
static bool
sound(const struct flow *flow)
{
    size_t tags = flow->vlan_count, addr = flow->addr_bytes, port = flow->port_bytes;

    return tags <= 2 && (addr == 0 || addr == 4 || addr == 16) &&
           (port == 0 || (port == 2 && addr != 0)) && flow->reserved == 0 &&
           zero(flow->vlan[0] + 2 * tags, 4 - 2 * tags) &&
           ((flow->vlan[0][0] | flow->vlan[1][0]) & 0xf0) == 0 &&
           zero(flow->addr_src + addr, 16 - addr) &&
           zero(flow->addr_dst + addr, 16 - addr) &&
           zero(flow->port_src + port, 2 - port) &&
           zero(flow->port_dst + port, 2 - port);
}

static void
check_every_length(const struct row *row)
{
    struct flow whole = row_flow(row), flow;
    uint8_t bytes[WIRE_BYTES_MAX];
    uint32_t size = unhex(row->hex, bytes);

    CHECK(row->complete_at <= size);
    for (uint32_t length = 0; length <= size; length++) {
        check_about(row->name, length);
        CHECK(parse_exactly(bytes, length, &flow) == (length >= ETHER_BYTES));
        CHECK(within(&flow, &whole));
        CHECK(sound(&flow));
        CHECK(equal(&flow, &whole) == (length >= row->complete_at));
    }
    CHECK_EQ_BYTES(&flow, &whole, sizeof(flow));
}

/* ---- the offload header ---------------------------------------------------------- */

#define NEEDS_CSUM .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM
#define DATA_VALID .flags = VIRTIO_NET_HDR_F_DATA_VALID

struct offload_row {
    const char *name;
    struct virtio_net_hdr header;
    uint32_t size; /* of the frame behind it */
    bool valid;
};

static const struct offload_row offload_rows[] = {
    {"nothing", {.flags = 0}, 60, true},
    {"checksum", {NEEDS_CSUM, .csum_start = 34, .csum_offset = 16}, 54, true},
    {"checksum at the end", {NEEDS_CSUM, .csum_start = 34, .csum_offset = 18}, 54,
        true},
    {"checksum half out", {NEEDS_CSUM, .csum_start = 34, .csum_offset = 19}, 54, false},
    {"start at the end", {NEEDS_CSUM, .csum_start = 54}, 54, false},
    {"start behind Ethernet", {NEEDS_CSUM, .csum_start = 14}, 54, true},
    {"start in Ethernet", {NEEDS_CSUM, .csum_start = 13}, 54, false},
    {"16-bit sum", {NEEDS_CSUM, .csum_start = 65535, .csum_offset = 16}, 54, false},
    {"16-bit sum 0", {NEEDS_CSUM, .csum_start = 65535, .csum_offset = 65535}, 60,
        false},
    {"64 KiB", {NEEDS_CSUM, .csum_start = 34, .csum_offset = 65513}, 65549, true},
    {"beyond 64 KiB", {NEEDS_CSUM, .csum_start = 34, .csum_offset = 65514}, 65549,
        false},
    {"not needed", {DATA_VALID, .csum_start = 65535, .csum_offset = 65535}, 60, true},
    {"both flags", {.flags = 3, .csum_start = 34, .csum_offset = 16}, 54, true},
    {"hint of all", {.hdr_len = 60}, 60, true},
    {"hint of more", {.hdr_len = 61}, 60, false},
    {"hint in a large frame", {.hdr_len = 65535}, 65549, true},
    {"size without GSO", {.gso_size = 1448}, 60, true},
    {"GSO without size", {.gso_type = VIRTIO_NET_HDR_GSO_TCPV4}, 3000, false},
    {"GSO from the stack",
        {NEEDS_CSUM, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .hdr_len = 66,
            .gso_size = 1448, .csum_start = 34, .csum_offset = 16},
        65549, true},
    {"GRO, verified", {DATA_VALID, .gso_type = 5, .gso_size = 1200}, 3000, true},
};

enum { OFFLOAD_ROWS_COUNT = sizeof(offload_rows) / sizeof(offload_rows[0]) };

/* Of a frame of 'size' bytes the head alone exists: nothing else may be looked at. */
static bool
offload_valid(const struct virtio_net_hdr *header, uint32_t size)
{
    uint8_t head[VNET_BYTES];
    struct frame frame = {.head = head, .head_bytes = VNET_BYTES, .rest_bytes = size};

    memcpy(head, header, sizeof(head));
    return frame_offload_valid(&frame);
}

static void
check_offload_rows(void)
{
    for (uint32_t i = 0; i < OFFLOAD_ROWS_COUNT; i++) {
        const struct offload_row *row = &offload_rows[i];

        check_about(row->name, i);
        CHECK(offload_valid(&row->header, row->size) == row->valid);
    }
}

/* The types the kernel makes for a 10-byte header; ECN is TCP's. */
static bool
gso_known(uint32_t type)
{
    return type == 0 || type == 1 || type == 3 || type == 4 || type == 5 ||
           type == 0x81 || type == 0x84;
}

static void
check_offload_values(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        struct virtio_net_hdr typed = {.gso_type = (uint8_t)i, .gso_size = 1};
        struct virtio_net_hdr flagged = {.flags = (uint8_t)i, .csum_start = 20};
        struct virtio_net_hdr none = {.flags = 0};
        struct frame cut = {
            .head = (uint8_t *)&none, .head_bytes = i % VNET_BYTES, .rest_bytes = 60};

        check_about("each value", i);
        CHECK(offload_valid(&typed, 60) == gso_known(i));
        CHECK(offload_valid(&flagged, 60) == (i <= 3));
        CHECK(!frame_offload_valid(&cut));
    }
}

/* ---- the tag --------------------------------------------------------------------- */

/* A frame in a block of its own, with room for a tag in front and nothing behind. */
static struct frame
frame_make(const struct virtio_net_hdr *header, const uint8_t *bytes, uint32_t size)
{
    uint8_t *block = malloc(TAG_BYTES + VNET_BYTES + size);
    struct frame frame = {
        .head = block + TAG_BYTES,
        .head_bytes = VNET_BYTES + size,
        .rest_bytes = 7,
    };

    assert(block != NULL);
    memcpy(frame.head, header, VNET_BYTES);
    memcpy(frame.head + VNET_BYTES, bytes, size);
    return frame;
}

static void
check_tag(const struct virtio_net_hdr *before, const struct virtio_net_hdr *after,
    const char *frame_before, const char *frame_after)
{
    uint8_t bytes[WIRE_BYTES_MAX], expected[WIRE_BYTES_MAX];
    uint32_t size = unhex(frame_before, bytes);
    struct frame frame = frame_make(before, bytes, size);
    uint8_t *block = frame.head - TAG_BYTES;

    frame_insert_tag(&frame, 0x88a8, 0x6005);
    CHECK_EQ_U32(unhex(frame_after, expected), size + TAG_BYTES);
    CHECK_EQ_U32(frame.head_bytes, VNET_BYTES + size + TAG_BYTES);
    CHECK_EQ_U32(frame.rest_bytes, 7);
    CHECK(frame.head == block);
    CHECK_EQ_BYTES(frame.head, after, VNET_BYTES);
    CHECK_EQ_BYTES(frame.head + VNET_BYTES, expected, size + TAG_BYTES);
    free(block);
}

static void
check_tags(void)
{
    struct virtio_net_hdr gso = {NEEDS_CSUM, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
        .hdr_len = 66, .gso_size = 1448, .csum_start = 34, .csum_offset = 16};
    struct virtio_net_hdr gso_tagged = gso;
    struct virtio_net_hdr verified = {DATA_VALID, .csum_start = 34, .csum_offset = 16};
    struct virtio_net_hdr last = {NEEDS_CSUM, .csum_start = 65534}, wrapped = last;
    const char *rest = IPV4("45", "0028", "4000", "06") TCP;
    char tagged[2 * WIRE_BYTES_MAX];

    check_about("tag", 0);
    gso_tagged.hdr_len = 70;
    gso_tagged.csum_start = 38;
    snprintf(tagged, sizeof(tagged), "%s%s", MACS "88a86005", rest);
    check_tag(&gso, &gso_tagged, MACS IPV4("45", "0028", "4000", "06") TCP, tagged);
    check_tag(&verified, &verified, MACS "8100000508000102",
        MACS "88a86005"
             "8100000508000102");
    check_tag(&verified, &verified, MACS "0800", MACS "88a860050800");

    wrapped.csum_start = 2;
    check_tag(&last, &wrapped, MACS "0800", MACS "88a860050800");
    CHECK(!offload_valid(&wrapped, 65549));
}

/* The tags that are counted are those that are parsed, however little of them is there.
 */
static void
check_tags_counted(const struct row *row)
{
    struct virtio_net_hdr none = {.flags = 0};
    uint8_t bytes[WIRE_BYTES_MAX];
    uint32_t size = unhex(row->hex, bytes);

    for (uint32_t length = ETHER_BYTES; length <= size; length++) {
        struct frame frame = frame_make(&none, bytes, length);
        struct flow flow;

        frame.rest_bytes = 0;
        frame_parse(bytes, length, &flow);
        check_about(row->name, length);
        CHECK_EQ_U32(frame_tags_bytes(&frame), flow.vlan_count * TAG_BYTES);
        free(frame.head - TAG_BYTES);
    }
}

/* The flow of a frame once a tag is pushed in front of those it has. */
static struct flow
flow_pushed(const struct flow *flow, uint16_t tci)
{
    struct flow pushed = *flow;

    pushed.vlan[0][0] = (uint8_t)(tci >> 8 & 0x0f);
    pushed.vlan[0][1] = (uint8_t)tci;
    memcpy(pushed.vlan[1], flow->vlan[0], sizeof(pushed.vlan[1]));
    pushed.vlan_count = (uint8_t)(flow->vlan_count == 0 ? 1 : 2);
    if (flow->vlan_count == 2) {
        memset(pushed.addr_src, 0,
            offsetof(struct flow, vlan_count) - offsetof(struct flow, addr_src));
        pushed.addr_bytes = pushed.port_bytes = 0;
    }
    return pushed;
}

/* A tag put back is a tag that never left: the flow is the same. */
static void
check_tag_parsed(const uint8_t *bytes, uint32_t size, uint16_t tci)
{
    struct virtio_net_hdr none = {.flags = 0};
    struct frame frame = frame_make(&none, bytes, size);
    struct flow flow, tagged, expected;

    frame_parse(bytes, size, &flow);
    expected = flow_pushed(&flow, tci);
    frame_insert_tag(&frame, 0x8100, tci);
    CHECK(frame_parse(frame.head + VNET_BYTES, size + TAG_BYTES, &tagged));
    CHECK_EQ_BYTES(&tagged, &expected, sizeof(tagged));
    free(frame.head);
}

static void
check_rows(void)
{
    for (uint32_t i = 0; i < ROWS_COUNT; i++) {
        uint8_t bytes[WIRE_BYTES_MAX];

        check_every_length(&rows[i]);
        check_tags_counted(&rows[i]);
        check_tag_parsed(bytes, unhex(rows[i].hex, bytes), 0x6123);
    }
}

/* ---- random ---------------------------------------------------------------------- */

enum { RANDOM_ROUNDS = 200000 };

/* A frame of the table with some bytes changed, most of them in its headers. */
static uint32_t
random_frame(uint64_t *random, uint8_t *bytes)
{
    static const uint8_t telling[] = {
        0, 1, 2, 6, 17, 43, 44, 51, 60, 0x45, 0x60, 0x81, 0x86, 0x88, 0xa8, 0xdd, 255};
    uint32_t size = unhex(rows[check_random(random) % ROWS_COUNT].hex, bytes);
    uint32_t reach = check_random(random) % 2 ? size : 64;

    for (uint32_t changes = check_random(random) % 8; changes > 0; changes--) {
        uint8_t *byte = &bytes[check_random(random) % (reach < size ? reach : size)];

        *byte = check_random(random) % 2
                    ? (uint8_t)check_random(random)
                    : telling[check_random(random) % sizeof(telling)];
    }
    return size;
}

static void
check_random_frames(uint64_t random)
{
    for (uint32_t round = 0; round < RANDOM_ROUNDS; round++) {
        uint8_t bytes[WIRE_BYTES_MAX];
        uint32_t size = random_frame(&random, bytes);
        uint32_t cut = check_random(&random) % (size + 1);
        struct flow flow, cut_flow;

        check_about("random", round);
        CHECK(parse_exactly(bytes, size, &flow));
        CHECK(parse_exactly(bytes, cut, &cut_flow) == (cut >= ETHER_BYTES));
        CHECK(sound(&flow) && sound(&cut_flow));
        CHECK(within(&cut_flow, &flow));
        if (cut >= ETHER_BYTES) {
            check_tag_parsed(bytes, cut, (uint16_t)check_random(&random));
        }
    }
}

/* Whatever passes can be filled in without leaving the frame. */
static void
check_random_offloads(uint64_t random)
{
    for (uint32_t round = 0; round < RANDOM_ROUNDS; round++) {
        uint32_t size = check_random(&random) % 65550;
        struct virtio_net_hdr header = {
            .flags = (uint8_t)(check_random(&random) % 4),
            .gso_type = (uint8_t)(check_random(&random) % 6),
            .hdr_len = (uint16_t)(check_random(&random) % 128),
            .gso_size = (uint16_t)(check_random(&random) % 4),
            .csum_start = (uint16_t)check_random(&random),
            .csum_offset = (uint16_t)check_random(&random),
        };
        uint64_t end = (uint64_t)header.csum_start + header.csum_offset + 2;
        bool fits = (header.flags & 1) == 0 || (header.csum_start >= 14 && end <= size);
        bool cuts = header.gso_type == 0 || header.gso_size != 0;

        check_about("random offload", round);
        CHECK(offload_valid(&header, size) ==
              (fits && cuts && gso_known(header.gso_type) && header.hdr_len <= size));
    }
}

int
main(int argc, char **argv)
{
    uint64_t seed = check_seed(argc, argv);

    check_rows();
    check_offload_rows();
    check_offload_values();
    check_tags();
    check_random_frames(seed);
    check_random_offloads(seed);
    return check_report();
}
