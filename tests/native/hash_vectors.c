/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * hash.c against numbers that others computed: published vectors, and golden ones.
 *
 * Owns the numbers, and the claims which field moves the hash and which does not.  The
 * golden ones are from a few lines of Python that share nothing with hash.c:
 *
 *   fnv1 = lambda b: reduce(lambda h, c: h * 16777619 % 2**32 ^ c, b, 2166136261)
 *   FNV1 = fnv1(seed.to_bytes(4, "little") + fields)   # fields as flow_fields() does
 *   CRC32C = mix(crc32c(fields) ^ seed)                # bit by bit; mix is murmur3's
 */
#include "check.h"
#include "frame_rows.h"

#include <pthread.h>

enum { LAYERS_ALL = LAGG_LAYER_L2 | LAGG_LAYER_L3 | LAGG_LAYER_L4 };

static uint32_t
hash_of(const struct flow *flow, uint32_t kind, uint32_t layers, uint32_t seed)
{
    struct hash_policy policy = {.kind = kind, .layers = layers, .seed = seed};

    return hash_flow(flow, &policy);
}

static const struct row *
row_named(const char *name)
{
    uint32_t i = 0;

    while (strcmp(rows[i].name, name) != 0) {
        i++;
        assert(i < ROWS_COUNT);
    }
    return &rows[i];
}

/* ---- FNV-1, published: test_fnv.c of Landon Curt Noll's fnv-5.0 --------------------
 */

/* A text as lagg(4) would hash it: the seed's 4 bytes, then fields of that size. */
static void
check_fnv1_texts(void)
{
    struct flow mac = {.ether_src = {'f', 'a', 'c', 'e', 'd', 'a'},
        .ether_dst = {'f', 'f', 'd', 'e', 'e', 'd'}};
    struct flow ipv4 = {.addr_src = "1.78", .addr_dst = ".68", .addr_bytes = 4};
    struct flow ports = {
        .port_src = {'f', 'a'}, .port_dst = {'c', 'e'}, .port_bytes = 2};
    uint32_t feed = 'f' | 'e' << 8 | 'e' << 16 | 'd' << 24;
    uint32_t foob = 'f' | 'o' << 8 | 'o' << 16 | 'b' << 24;
    uint32_t digits = '6' | '4' << 8 | '.' << 16 | '8' << 24;

    check_about("published FNV-1", 0);
    CHECK_EQ_U32(hash_of(&mac, LAGG_HASH_FNV1, LAGG_LAYER_L4, foob), 0xb4b1178b);
    CHECK_EQ_U32(hash_of(&mac, LAGG_HASH_FNV1, LAGG_LAYER_L2, feed), 0xc2732f95);
    CHECK_EQ_U32(hash_of(&ports, LAGG_HASH_FNV1, LAGG_LAYER_L4, feed), 0x7662e0d6);
    CHECK_EQ_U32(hash_of(&ipv4, LAGG_HASH_FNV1, LAGG_LAYER_L3, digits), 0xc9867775);
}

/* ---- CRC-32C, published: RFC 3720 B.4, and the check value of every CRC catalogue --
 */

typedef uint32_t crc32c_function(uint32_t crc, const uint8_t *bytes, size_t size);

static void
check_crc32c_published(crc32c_function *crc32c)
{
    uint8_t zeros[32] = {0}, ones[32], up[32], down[32], read_pdu[48];

    memset(ones, 0xff, sizeof(ones));
    for (uint8_t i = 0; i < 32; i++) {
        up[i] = i;
        down[i] = (uint8_t)(31 - i);
    }
    unhex("01c00000000000000000000000000000"
          "14000000000004000000001400000018"
          "28000000000000000200000000000000",
        read_pdu);
    CHECK_EQ_U32(~crc32c(UINT32_MAX, zeros, sizeof(zeros)), 0x8a9136aa);
    CHECK_EQ_U32(~crc32c(UINT32_MAX, ones, sizeof(ones)), 0x62a8ab43);
    CHECK_EQ_U32(~crc32c(UINT32_MAX, up, sizeof(up)), 0x46dd794e);
    CHECK_EQ_U32(~crc32c(UINT32_MAX, down, sizeof(down)), 0x113fdb5c);
    CHECK_EQ_U32(~crc32c(UINT32_MAX, read_pdu, sizeof(read_pdu)), 0xd9963a56);
    CHECK_EQ_U32(~crc32c(UINT32_MAX, (const uint8_t *)"123456789", 9), 0xe3069283);
    CHECK_EQ_U32(crc32c(0x12345678, zeros, 0), 0x12345678);
}

/* Both variants, over blocks that end at their last byte and begin anywhere. */
static void
check_crc32c_variants(uint64_t random)
{
    for (uint32_t round = 0; round < 20000; round++) {
        uint32_t size = check_random(&random) % 300, shift = check_random(&random) % 16;
        uint32_t half = check_random(&random) % (size + 1);
        uint32_t before = check_random(&random), portable;
        uint8_t *block = malloc(shift + size + 1), *bytes = block + shift + 1;

        assert(block != NULL);
        for (uint32_t i = 0; i < size; i++) {
            bytes[i] = (uint8_t)check_random(&random);
        }
        check_about("variants", round);
        portable = hash_crc32c_portable(before, bytes, size);
        CHECK_EQ_U32(hash_crc32c(before, bytes, size), portable);
        CHECK_EQ_U32(
            hash_crc32c(hash_crc32c(before, bytes, half), bytes + half, size - half),
            portable);
        free(block);
    }
}

/* ---- golden ------------------------------------------------------------------------
 */

enum { COLUMNS = 5 };

static const uint32_t column_layers[COLUMNS] = {LAGG_LAYER_L2, LAGG_LAYER_L3,
    LAGG_LAYER_L4, LAGG_LAYER_L3 | LAGG_LAYER_L4, LAYERS_ALL};

static const struct golden {
    const char *row; /* of frame_rows.h */
    uint32_t seed;
    uint32_t fnv1[COLUMNS], crc32c[COLUMNS];
} goldens[] = {
    {"TCP", 0x00000000, {0xf8bc75f4, 0xea700211, 0x0cc28ceb, 0xf54454bf, 0x26ef682e},
        {0x08033c82, 0x7542a65e, 0xd129a5b5, 0x6e29eedf, 0xde721e5a}},
    {"TCP", 0xdeadbeef, {0x81a69f7a, 0x16e03967, 0x0efbbdc5, 0x9714f1d9, 0xf1955a60},
        {0x85e123cd, 0x3bb3044e, 0x65dd4920, 0x48e1c477, 0xcc30081d}},
    {"802.1Q", 0x00000000, {0xf66aa45b, 0xea700211, 0x0cc28ceb, 0xf54454bf, 0x3b303ad9},
        {0x7cfd5479, 0x7542a65e, 0xd129a5b5, 0x6e29eedf, 0xb5ca5a0e}},
    {"802.1Q", 0xdeadbeef, {0xed4b8851, 0x16e03967, 0x0efbbdc5, 0x9714f1d9, 0x66191d03},
        {0x9c7f8b7c, 0x3bb3044e, 0x65dd4920, 0x48e1c477, 0xbb09bc7d}},
    {"802.1ad", 0x00000000,
        {0x0b635807, 0x1787cb66, 0x0cc28ceb, 0x6233e920, 0x17dd342a},
        {0x3a1dcb48, 0x0803958e, 0xd129a5b5, 0xc757a16f, 0xc12aaae9}},
    {"802.1ad", 0xdeadbeef,
        {0xc63013ed, 0x8c3cb7a8, 0x0efbbdc5, 0xbb6e7406, 0xb3170618},
        {0xe9c2a658, 0xb733d395, 0x65dd4920, 0x3d00a085, 0xb7c0093e}},
    {"priority tag", 0x00000000,
        {0xf96aa914, 0xea700211, 0x0cc28ceb, 0xf54454bf, 0x3c50f4ce},
        {0x320475dc, 0x7542a65e, 0xd129a5b5, 0x6e29eedf, 0x0c9d700a}},
    {"priority tag", 0xdeadbeef,
        {0xf04b8d0a, 0x16e03967, 0x0efbbdc5, 0x9714f1d9, 0xbce077d0},
        {0x556729ce, 0x3bb3044e, 0x65dd4920, 0x48e1c477, 0x024d083a}},
    {"first fragment", 0x00000000,
        {0xf8bc75f4, 0xea700211, 0x4b95f515, 0xea700211, 0x43ed3950},
        {0x08033c82, 0x7542a65e, 0x81f16f39, 0x7542a65e, 0xd2defef1}},
    {"first fragment", 0xdeadbeef,
        {0x81a69f7a, 0x16e03967, 0x75fc0b5b, 0x16e03967, 0x607a9ca6},
        {0x85e123cd, 0x3bb3044e, 0xfb58c23c, 0x3bb3044e, 0xc8d849a2}},
    {"ARP", 0x00000000, {0xf8bc75f4, 0x4b95f515, 0x4b95f515, 0x4b95f515, 0xf8bc75f4},
        {0x08033c82, 0x81f16f39, 0x81f16f39, 0x81f16f39, 0x08033c82}},
    {"ARP", 0xdeadbeef, {0x81a69f7a, 0x75fc0b5b, 0x75fc0b5b, 0x75fc0b5b, 0x81a69f7a},
        {0x85e123cd, 0xfb58c23c, 0xfb58c23c, 0xfb58c23c, 0x85e123cd}},
    {"UDP v6", 0x00000000, {0xf8bc75f4, 0x1787cb66, 0x0cc28ceb, 0x6233e920, 0x01f17269},
        {0x08033c82, 0x0803958e, 0xd129a5b5, 0xc757a16f, 0x4789ce12}},
    {"UDP v6", 0xdeadbeef, {0x81a69f7a, 0x8c3cb7a8, 0x0efbbdc5, 0xbb6e7406, 0xa46dc857},
        {0x85e123cd, 0xb733d395, 0x65dd4920, 0x3d00a085, 0x6f831071}},
    {"two 802.1Q", 0x00000000,
        {0xdf6054e1, 0x1787cb66, 0x0cc28ceb, 0x6233e920, 0x9d5f2f54},
        {0xeecbbc5d, 0x0803958e, 0xd129a5b5, 0xc757a16f, 0x241792ca}},
    {"two 802.1Q", 0xdeadbeef,
        {0x162f6707, 0x8c3cb7a8, 0x0efbbdc5, 0xbb6e7406, 0x9606b32a},
        {0x8a46e022, 0xb733d395, 0x65dd4920, 0x3d00a085, 0x43b51699}},
};

static void
check_golden(const struct golden *golden)
{
    const struct row *row = row_named(golden->row);
    uint8_t bytes[WIRE_BYTES_MAX];
    struct flow flow;

    CHECK(frame_parse(bytes, unhex(row->hex, bytes), &flow));
    for (uint32_t i = 0; i < COLUMNS; i++) {
        uint32_t layers = column_layers[i], seed = golden->seed;

        check_about(golden->row, i);
        CHECK_EQ_U32(hash_of(&flow, LAGG_HASH_FNV1, layers, seed), golden->fnv1[i]);
        CHECK_EQ_U32(hash_of(&flow, LAGG_HASH_CRC32C, layers, seed), golden->crc32c[i]);
    }
}

/* Where the processor has the instruction, the portable path of hash_flow() does not
 * run; so its fields are spelled out here, and must give what the instruction gave. */
static uint32_t
flow_fields(const struct flow *flow, uint32_t layers, uint8_t *bytes)
{
    uint8_t *end = bytes;

    if (layers & LAGG_LAYER_L2) {
        memcpy(end, flow->ether_src, 6);
        memcpy(end + 6, flow->ether_dst, 6);
        memcpy(end + 12, flow->vlan, 2 * flow->vlan_count);
        end += 12 + 2 * flow->vlan_count;
    }
    if (layers & LAGG_LAYER_L3) {
        memcpy(end, flow->addr_src, flow->addr_bytes);
        memcpy(end + flow->addr_bytes, flow->addr_dst, flow->addr_bytes);
        end += 2 * flow->addr_bytes;
    }
    if (layers & LAGG_LAYER_L4) {
        memcpy(end, flow->port_src, flow->port_bytes);
        memcpy(end + flow->port_bytes, flow->port_dst, flow->port_bytes);
        end += 2 * flow->port_bytes;
    }
    return (uint32_t)(end - bytes);
}

static uint32_t
mix(uint32_t value)
{
    value = (value ^ value >> 16) * 0x85ebca6b;
    value = (value ^ value >> 13) * 0xc2b2ae35;
    return value ^ value >> 16;
}

static void
check_portable_flows(uint64_t random)
{
    for (uint32_t i = 0; i < ROWS_COUNT; i++) {
        for (uint32_t layers = 1; layers <= LAYERS_ALL; layers++) {
            struct flow flow = row_flow(&rows[i]);
            uint8_t fields[sizeof(flow)];
            uint32_t size = flow_fields(&flow, layers, fields);
            uint32_t seed = check_random(&random);

            check_about(rows[i].name, layers);
            CHECK_EQ_U32(hash_of(&flow, LAGG_HASH_CRC32C, layers, seed),
                mix(hash_crc32c_portable(UINT32_MAX, fields, size) ^ seed));
        }
    }
}

/* ---- which bit moves the hash ------------------------------------------------------
 */

/* Bytes of a frame that belong to one layer, or to none: those may change within a
 * flow. What is not named decides what is parsed, and is frame_cases.c's to test. */
struct span {
    uint32_t offset, size;
    uint8_t mask;
    uint32_t layer; /* LAGG_LAYER_*, or 0 */
};

/* Of the row "802.1Q". */
static const struct span ipv4_spans[] = {
    {0, 12, 0xff, LAGG_LAYER_L2},
    {14, 1, 0xf0, 0}, /* PCP, DEI */
    {14, 1, 0x0f, LAGG_LAYER_L2},
    {15, 1, 0xff, LAGG_LAYER_L2},
    {19, 1, 0xff, 0}, /* TOS */
    {22, 2, 0xff, 0}, /* id */
    {24, 1, 0xc0, 0}, /* reserved, DF */
    {26, 1, 0xff, 0}, /* TTL */
    {28, 2, 0xff, 0}, /* checksum */
    {30, 8, 0xff, LAGG_LAYER_L3},
    {38, 4, 0xff, LAGG_LAYER_L4},
    {42, 16, 0xff, 0}, /* sequence and acknowledgment, flags, window, checksum */
    {0},
};

/* Of the row "UDP v6". */
static const struct span ipv6_spans[] = {
    {0, 12, 0xff, LAGG_LAYER_L2},
    {14, 1, 0x0f, 0}, /* traffic class */
    {15, 3, 0xff, 0}, /* and flow label */
    {21, 1, 0xff, 0}, /* hop limit */
    {22, 32, 0xff, LAGG_LAYER_L3},
    {54, 4, 0xff, LAGG_LAYER_L4},
    {58, 4, 0xff, 0}, /* length, checksum */
    {0},
};

/* The hashes of a frame by every kind and layers. */
struct hashes {
    uint32_t by[LAGG_HASH_COUNT][LAYERS_ALL + 1];
};

static struct hashes
hashes_of(const uint8_t *bytes, uint32_t size)
{
    struct hashes hashes = {0};
    struct flow flow;

    CHECK(frame_parse(bytes, size, &flow));
    for (uint32_t kind = 0; kind < LAGG_HASH_COUNT; kind++) {
        for (uint32_t layers = 1; layers <= LAYERS_ALL; layers++) {
            hashes.by[kind][layers] = hash_of(&flow, kind, layers, 0x5eed);
        }
    }
    return hashes;
}

static void
check_moved(const struct hashes *before, const struct hashes *after, uint32_t layer)
{
    for (uint32_t kind = 0; kind < LAGG_HASH_COUNT; kind++) {
        for (uint32_t layers = 1; layers <= LAYERS_ALL; layers++) {
            bool moved = before->by[kind][layers] != after->by[kind][layers];

            CHECK(moved == ((layers & layer) != 0));
        }
    }
}

static void
check_each_bit(const char *name, const struct span *spans)
{
    uint8_t bytes[WIRE_BYTES_MAX];
    uint32_t size = unhex(row_named(name)->hex, bytes);
    struct hashes before = hashes_of(bytes, size);

    for (const struct span *span = spans; span->size != 0; span++) {
        for (uint32_t bit = 0; bit < span->size * 8; bit++) {
            uint8_t *byte = &bytes[span->offset + bit / 8];
            uint8_t flip = (uint8_t)(1u << bit % 8 & span->mask);
            struct hashes after;

            *byte ^= flip;
            after = hashes_of(bytes, size);
            *byte ^= flip;
            check_about(name, span->offset + bit / 8);
            check_moved(&before, &after, flip != 0 ? span->layer : 0);
        }
    }
}

/* Both directions are one flow once ordered, and what was one stays as it is. */
static void
check_order(const struct row *row)
{
    struct flow there = row_flow(row), back = there, again;

    memcpy(back.ether_src, there.ether_dst, sizeof(back.ether_src));
    memcpy(back.ether_dst, there.ether_src, sizeof(back.ether_dst));
    memcpy(back.addr_src, there.addr_dst, sizeof(back.addr_src));
    memcpy(back.addr_dst, there.addr_src, sizeof(back.addr_dst));
    memcpy(back.port_src, there.port_dst, sizeof(back.port_src));
    memcpy(back.port_dst, there.port_src, sizeof(back.port_dst));
    hash_order(&there);
    hash_order(&back);
    again = there;
    hash_order(&again);
    check_about(row->name, 0);
    CHECK_EQ_BYTES(&there, &back, sizeof(there));
    CHECK_EQ_BYTES(&again, &there, sizeof(there));
    CHECK(memcmp(there.ether_src, there.ether_dst, sizeof(there.ether_src)) <= 0);
    CHECK(memcmp(there.addr_src, there.addr_dst, sizeof(there.addr_src)) <= 0);
    CHECK(memcmp(there.port_src, there.port_dst, sizeof(there.port_src)) <= 0);
}

/* H-32: a tag in the frame, and one that the kernel delivered beside it. */
static void
check_tag_put_back(const char *tagged_name, const char *bare_name, uint16_t tci)
{
    uint8_t tagged[WIRE_BYTES_MAX], room[TAG_BYTES + VNET_BYTES + WIRE_BYTES_MAX] = {0};
    uint32_t tagged_size = unhex(row_named(tagged_name)->hex, tagged);
    struct frame frame = {.head = room + TAG_BYTES, .head_bytes = VNET_BYTES};
    struct hashes in_band = hashes_of(tagged, tagged_size), put_back;

    frame.head_bytes += unhex(row_named(bare_name)->hex, frame.head + VNET_BYTES);
    frame_insert_tag(&frame, 0x8100, tci);
    put_back = hashes_of(frame.head + VNET_BYTES, frame_bytes(&frame));
    check_about(tagged_name, 0);
    CHECK_EQ_BYTES(&put_back, &in_band, sizeof(in_band));
}

/* ---- spreading ---------------------------------------------------------------------
 */

enum { FLOWS = 4096, SPREAD_PORTS = 4 };

/* Neighbours: one client address, one port up. */
static struct flow
flow_number(uint32_t number)
{
    struct flow flow = row_flow(row_named("TCP"));

    flow.addr_src[3] = (uint8_t)(number % 16);
    flow.port_src[0] = (uint8_t)(0x80 | number >> 8);
    flow.port_src[1] = (uint8_t)number;
    return flow;
}

/* Flows that one lagg put on one port must spread over all ports of the next one.  Each
 * pair of ports expects 256 of the flows, with a deviation of 15.5: 6 of those allowed.
 */
static void
check_two_in_a_row(uint32_t seed, uint32_t next_seed)
{
    uint32_t flows[SPREAD_PORTS][SPREAD_PORTS] = {{0}};

    for (uint32_t i = 0; i < FLOWS; i++) {
        struct flow flow = flow_number(i);
        uint32_t hash = hash_of(&flow, LAGG_HASH_CRC32C, LAYERS_ALL, seed);
        uint32_t next = hash_of(&flow, LAGG_HASH_CRC32C, LAYERS_ALL, next_seed);

        flows[hash % SPREAD_PORTS][next % SPREAD_PORTS]++;
    }
    for (uint32_t i = 0; i < SPREAD_PORTS * SPREAD_PORTS; i++) {
        check_about("two in a row", next_seed);
        CHECK(flows[i / SPREAD_PORTS][i % SPREAD_PORTS] >= 256 - 93);
        CHECK(flows[i / SPREAD_PORTS][i % SPREAD_PORTS] <= 256 + 93);
    }
}

static void
check_seeds(void)
{
    static const uint32_t seeds[] = {0, 1, 2, 3, 0x80000000, 0xdeadbeef, UINT32_MAX};
    struct flow flow = flow_number(0);

    for (uint32_t i = 1; i < sizeof(seeds) / sizeof(seeds[0]); i++) {
        check_about("seed", seeds[i]);
        for (uint32_t kind = 0; kind < LAGG_HASH_COUNT; kind++) {
            CHECK_NE_U32(hash_of(&flow, kind, LAYERS_ALL, seeds[i - 1]),
                hash_of(&flow, kind, LAYERS_ALL, seeds[i]));
        }
        check_two_in_a_row(seeds[i - 1], seeds[i]);
    }
}

/* ---- threads -----------------------------------------------------------------------
 */

enum { THREADS = 4 };

/* Workers hash at once; how the variant is chosen must not race (ThreadSanitizer
 * looks). */
static void *
hash_all(void *sums)
{
    for (uint32_t i = 0; i < FLOWS; i++) {
        struct flow flow = flow_number(i);

        *(uint32_t *)sums += hash_of(&flow, i % LAGG_HASH_COUNT, LAYERS_ALL, i);
    }
    return NULL;
}

static void
check_threads(void)
{
    pthread_t threads[THREADS];
    uint32_t sums[THREADS] = {0}, sum = 0;

    check_about("threads", 0);
    for (uint32_t i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, hash_all, &sums[i]) == 0);
    }
    hash_all(&sum);
    for (uint32_t i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK_EQ_U32(sums[i], sum);
    }
}

int
main(int argc, char **argv)
{
    uint64_t seed = check_seed(argc, argv);

    check_fnv1_texts();
    check_crc32c_published(hash_crc32c);
    check_crc32c_published(hash_crc32c_portable);
    check_crc32c_variants(seed);
    for (uint32_t i = 0; i < sizeof(goldens) / sizeof(goldens[0]); i++) {
        check_golden(&goldens[i]);
    }
    check_portable_flows(seed);
    for (uint32_t i = 0; i < ROWS_COUNT; i++) {
        check_order(&rows[i]);
    }
    check_each_bit("802.1Q", ipv4_spans);
    check_each_bit("UDP v6", ipv6_spans);
    check_tag_put_back("802.1Q", "TCP", 5);
    check_tag_put_back("PCP and DEI", "TCP", 0xf005);
    check_seeds();
    check_threads();
    return check_report();
}
