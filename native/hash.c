/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The flow hash, of two kinds: FNV-1 as in lagg(4), and CRC32C.
 *
 * Owns which fields count under which layers, and in which order; which may be that of
 * their values, so that both directions have one hash.  Pure; knows no port.  Not a
 * defence: who may choose addresses and ports can find flows that share a port,
 * whatever the seed.
 */
#include "internal.h"

#include <errno.h>
#include <string.h>

/* The instruction, where there is one.  On x86 the question is a load and a test:
 * libgcc asks the processor before main(), so that no thread can race for it. */
#if defined(__x86_64__)
#include <nmmintrin.h>
#define CRC32C_TARGET __attribute__((target("sse4.2,crc32")))
#define CRC32C_SUPPORTED __builtin_cpu_supports("sse4.2")
#define CRC32C_U8(crc, word) _mm_crc32_u8(crc, word)
#define CRC32C_U16(crc, word) _mm_crc32_u16(crc, word)
#define CRC32C_U32(crc, word) _mm_crc32_u32(crc, word)
#define CRC32C_U64(crc, word) ((uint32_t)_mm_crc32_u64(crc, word))
#elif defined(__AARCH64EL__) && defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#define CRC32C_TARGET
#define CRC32C_SUPPORTED true
#define CRC32C_U8(crc, word) __crc32cb(crc, word)
#define CRC32C_U16(crc, word) __crc32ch(crc, word)
#define CRC32C_U32(crc, word) __crc32cw(crc, word)
#define CRC32C_U64(crc, word) __crc32cd(crc, word)
#endif

/* ---- FNV-1: FreeBSD's m_ether_tcpip_hash() ------------------------------------------
 *
 * The same number as there for frames without a tag, or with one of priority 0 that the
 * hardware took off; but on purpose a tag's priority does not count, a second tag does,
 * fragments have no ports, and IPv6 has ports where FreeBSD takes the flow label.
 *
 * Its lowest bit is no more than the parity of all bytes hashed.  So of two ports, the
 * seed can only swap them, and the connections of a Linux client to one service, which
 * prefers even ports, stay on one. */

static const uint32_t FNV1_BASIS = 2166136261;
static const uint32_t FNV1_PRIME = 16777619;

static inline uint32_t
fnv1(uint32_t hash, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        hash = (hash * FNV1_PRIME) ^ bytes[i];
    }
    return hash;
}

/* FreeBSD hashes the seed and a tag in host byte order; little-endian, as on its amd64
 * and arm64, is fixed here so that the hash is the same on every machine. */
static uint32_t
fnv1_seed(uint32_t seed)
{
    const uint8_t bytes[4] = {
        (uint8_t)seed,
        (uint8_t)(seed >> 8),
        (uint8_t)(seed >> 16),
        (uint8_t)(seed >> 24),
    };

    return fnv1(FNV1_BASIS, bytes, sizeof(bytes));
}

static uint32_t
fnv1_vlan(uint32_t hash, const uint8_t vlan[2])
{
    const uint8_t bytes[2] = {vlan[1], vlan[0]};

    return fnv1(hash, bytes, sizeof(bytes));
}

static uint32_t
flow_fnv1(const struct flow *flow, const struct hash_policy *policy)
{
    uint32_t hash = fnv1_seed(policy->seed);

    if ((policy->layers & LAGG_LAYER_L2) != 0) {
        hash = fnv1(hash, flow->ether_src, sizeof(flow->ether_src));
        hash = fnv1(hash, flow->ether_dst, sizeof(flow->ether_dst));
        for (uint32_t i = 0; i < flow->vlan_count; i++) {
            hash = fnv1_vlan(hash, flow->vlan[i]);
        }
    }
    if ((policy->layers & LAGG_LAYER_L3) != 0) {
        hash = fnv1(hash, flow->addr_src, flow->addr_bytes);
        hash = fnv1(hash, flow->addr_dst, flow->addr_bytes);
    }
    if ((policy->layers & LAGG_LAYER_L4) != 0) {
        hash = fnv1(hash, flow->port_src, flow->port_bytes);
        hash = fnv1(hash, flow->port_dst, flow->port_bytes);
    }
    return hash;
}

/* ---- CRC32C -------------------------------------------------------------------------
 *
 * 'crc' is the register itself, inverted neither before nor after, so that calls chain:
 * the CRC-32C of RFC 3720 is ~hash_crc32c(UINT32_MAX, ...). */

/* The remainders of all bytes by the polynomial 0x82f63b78 (bits reversed). */
static const uint32_t crc32c_remainders[256] = {0x00000000, 0xf26b8303, 0xe13b70f7,
    0x1350f3f4, 0xc79a971f, 0x35f1141c, 0x26a1e7e8, 0xd4ca64eb, 0x8ad958cf, 0x78b2dbcc,
    0x6be22838, 0x9989ab3b, 0x4d43cfd0, 0xbf284cd3, 0xac78bf27, 0x5e133c24, 0x105ec76f,
    0xe235446c, 0xf165b798, 0x030e349b, 0xd7c45070, 0x25afd373, 0x36ff2087, 0xc494a384,
    0x9a879fa0, 0x68ec1ca3, 0x7bbcef57, 0x89d76c54, 0x5d1d08bf, 0xaf768bbc, 0xbc267848,
    0x4e4dfb4b, 0x20bd8ede, 0xd2d60ddd, 0xc186fe29, 0x33ed7d2a, 0xe72719c1, 0x154c9ac2,
    0x061c6936, 0xf477ea35, 0xaa64d611, 0x580f5512, 0x4b5fa6e6, 0xb93425e5, 0x6dfe410e,
    0x9f95c20d, 0x8cc531f9, 0x7eaeb2fa, 0x30e349b1, 0xc288cab2, 0xd1d83946, 0x23b3ba45,
    0xf779deae, 0x05125dad, 0x1642ae59, 0xe4292d5a, 0xba3a117e, 0x4851927d, 0x5b016189,
    0xa96ae28a, 0x7da08661, 0x8fcb0562, 0x9c9bf696, 0x6ef07595, 0x417b1dbc, 0xb3109ebf,
    0xa0406d4b, 0x522bee48, 0x86e18aa3, 0x748a09a0, 0x67dafa54, 0x95b17957, 0xcba24573,
    0x39c9c670, 0x2a993584, 0xd8f2b687, 0x0c38d26c, 0xfe53516f, 0xed03a29b, 0x1f682198,
    0x5125dad3, 0xa34e59d0, 0xb01eaa24, 0x42752927, 0x96bf4dcc, 0x64d4cecf, 0x77843d3b,
    0x85efbe38, 0xdbfc821c, 0x2997011f, 0x3ac7f2eb, 0xc8ac71e8, 0x1c661503, 0xee0d9600,
    0xfd5d65f4, 0x0f36e6f7, 0x61c69362, 0x93ad1061, 0x80fde395, 0x72966096, 0xa65c047d,
    0x5437877e, 0x4767748a, 0xb50cf789, 0xeb1fcbad, 0x197448ae, 0x0a24bb5a, 0xf84f3859,
    0x2c855cb2, 0xdeeedfb1, 0xcdbe2c45, 0x3fd5af46, 0x7198540d, 0x83f3d70e, 0x90a324fa,
    0x62c8a7f9, 0xb602c312, 0x44694011, 0x5739b3e5, 0xa55230e6, 0xfb410cc2, 0x092a8fc1,
    0x1a7a7c35, 0xe811ff36, 0x3cdb9bdd, 0xceb018de, 0xdde0eb2a, 0x2f8b6829, 0x82f63b78,
    0x709db87b, 0x63cd4b8f, 0x91a6c88c, 0x456cac67, 0xb7072f64, 0xa457dc90, 0x563c5f93,
    0x082f63b7, 0xfa44e0b4, 0xe9141340, 0x1b7f9043, 0xcfb5f4a8, 0x3dde77ab, 0x2e8e845f,
    0xdce5075c, 0x92a8fc17, 0x60c37f14, 0x73938ce0, 0x81f80fe3, 0x55326b08, 0xa759e80b,
    0xb4091bff, 0x466298fc, 0x1871a4d8, 0xea1a27db, 0xf94ad42f, 0x0b21572c, 0xdfeb33c7,
    0x2d80b0c4, 0x3ed04330, 0xccbbc033, 0xa24bb5a6, 0x502036a5, 0x4370c551, 0xb11b4652,
    0x65d122b9, 0x97baa1ba, 0x84ea524e, 0x7681d14d, 0x2892ed69, 0xdaf96e6a, 0xc9a99d9e,
    0x3bc21e9d, 0xef087a76, 0x1d63f975, 0x0e330a81, 0xfc588982, 0xb21572c9, 0x407ef1ca,
    0x532e023e, 0xa145813d, 0x758fe5d6, 0x87e466d5, 0x94b49521, 0x66df1622, 0x38cc2a06,
    0xcaa7a905, 0xd9f75af1, 0x2b9cd9f2, 0xff56bd19, 0x0d3d3e1a, 0x1e6dcdee, 0xec064eed,
    0xc38d26c4, 0x31e6a5c7, 0x22b65633, 0xd0ddd530, 0x0417b1db, 0xf67c32d8, 0xe52cc12c,
    0x1747422f, 0x49547e0b, 0xbb3ffd08, 0xa86f0efc, 0x5a048dff, 0x8ecee914, 0x7ca56a17,
    0x6ff599e3, 0x9d9e1ae0, 0xd3d3e1ab, 0x21b862a8, 0x32e8915c, 0xc083125f, 0x144976b4,
    0xe622f5b7, 0xf5720643, 0x07198540, 0x590ab964, 0xab613a67, 0xb831c993, 0x4a5a4a90,
    0x9e902e7b, 0x6cfbad78, 0x7fab5e8c, 0x8dc0dd8f, 0xe330a81a, 0x115b2b19, 0x020bd8ed,
    0xf0605bee, 0x24aa3f05, 0xd6c1bc06, 0xc5914ff2, 0x37faccf1, 0x69e9f0d5, 0x9b8273d6,
    0x88d28022, 0x7ab90321, 0xae7367ca, 0x5c18e4c9, 0x4f48173d, 0xbd23943e, 0xf36e6f75,
    0x0105ec76, 0x12551f82, 0xe03e9c81, 0x34f4f86a, 0xc69f7b69, 0xd5cf889d, 0x27a40b9e,
    0x79b737ba, 0x8bdcb4b9, 0x988c474d, 0x6ae7c44e, 0xbe2da0a5, 0x4c4623a6, 0x5f16d052,
    0xad7d5351};

uint32_t
hash_crc32c_portable(uint32_t crc, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        crc = crc32c_remainders[(crc ^ bytes[i]) & 0xff] ^ (crc >> 8);
    }
    return crc;
}

#ifdef CRC32C_TARGET

CRC32C_TARGET static inline uint32_t
crc32c_hardware(uint32_t crc, const uint8_t *bytes, size_t size)
{
    uint64_t word_64;
    uint32_t word_32;
    uint16_t word_16;

    for (; size >= sizeof(word_64); size -= sizeof(word_64), bytes += sizeof(word_64)) {
        memcpy(&word_64, bytes, sizeof(word_64));
        crc = CRC32C_U64(crc, word_64);
    }
    if ((size & sizeof(word_32)) != 0) {
        memcpy(&word_32, bytes, sizeof(word_32));
        crc = CRC32C_U32(crc, word_32);
        bytes += sizeof(word_32);
    }
    if ((size & sizeof(word_16)) != 0) {
        memcpy(&word_16, bytes, sizeof(word_16));
        crc = CRC32C_U16(crc, word_16);
        bytes += sizeof(word_16);
    }
    if ((size & 1) != 0) {
        crc = CRC32C_U8(crc, *bytes);
    }
    return crc;
}

#endif

uint32_t
hash_crc32c(uint32_t crc, const uint8_t *bytes, size_t size)
{
#ifdef CRC32C_TARGET
    if (CRC32C_SUPPORTED) {
        return crc32c_hardware(crc, bytes, size);
    }
#endif
    return hash_crc32c_portable(crc, bytes, size);
}

/* The fields in FreeBSD's order.  Inlined into both variants, with every size constant
 * and as the parser wrote it, so that each field is one instruction (measured: less
 * than half the time of one call over the fields side by side). */
static inline __attribute__((always_inline)) uint32_t
fold_flow(const struct flow *flow, uint32_t layers,
    uint32_t (*crc32c)(uint32_t crc, const uint8_t *bytes, size_t size))
{
    uint32_t crc = UINT32_MAX;

    if ((layers & LAGG_LAYER_L2) != 0) {
        crc = crc32c(crc, flow->ether_src, sizeof(flow->ether_src));
        crc = crc32c(crc, flow->ether_dst, sizeof(flow->ether_dst));
        for (uint32_t i = 0; i < flow->vlan_count; i++) {
            crc = crc32c(crc, flow->vlan[i], sizeof(flow->vlan[i]));
        }
    }
    if ((layers & LAGG_LAYER_L3) != 0 && flow->addr_bytes == 4) {
        crc = crc32c(crc, flow->addr_src, 4);
        crc = crc32c(crc, flow->addr_dst, 4);
    } else if ((layers & LAGG_LAYER_L3) != 0 && flow->addr_bytes == 16) {
        crc = crc32c(crc, flow->addr_src, 16);
        crc = crc32c(crc, flow->addr_dst, 16);
    }
    if ((layers & LAGG_LAYER_L4) != 0 && flow->port_bytes == 2) {
        crc = crc32c(crc, flow->port_src, 2);
        crc = crc32c(crc, flow->port_dst, 2);
    }
    return crc;
}

#ifdef CRC32C_TARGET

CRC32C_TARGET static uint32_t
fold_flow_hardware(const struct flow *flow, uint32_t layers)
{
    return fold_flow(flow, layers, crc32c_hardware);
}

#endif

/* murmur3's finaliser: each bit of 'value' flips each of the result half of the time.
 */
static inline uint32_t
mix(uint32_t value)
{
    value ^= value >> 16;
    value *= 0x85ebca6b;
    value ^= value >> 13;
    value *= 0xc2b2ae35;
    value ^= value >> 16;
    return value;
}

/* CRC is linear: a seed in its register is a constant xor-ed to the result, which only
 * renames the ports, and of two laggs in a row the second would put on one port all
 * that the first did.  So the seed goes in before a step that is not linear. */
static uint32_t
flow_crc32c(const struct flow *flow, const struct hash_policy *policy)
{
#ifdef CRC32C_TARGET
    if (CRC32C_SUPPORTED) {
        return mix(fold_flow_hardware(flow, policy->layers) ^ policy->seed);
    }
#endif
    return mix(fold_flow(flow, policy->layers, hash_crc32c_portable) ^ policy->seed);
}

static void
order(uint8_t *first, uint8_t *second, size_t size)
{
    uint8_t larger[sizeof(((struct flow *)NULL)->addr_src)];

    if (memcmp(first, second, size) > 0) {
        memcpy(larger, first, size);
        memcpy(first, second, size);
        memcpy(second, larger, size);
    }
}

/* Each pair by itself: a router on the way back may have other MACs, and then they
 * still say nothing of the direction. */
void
hash_order(struct flow *flow)
{
    order(flow->ether_src, flow->ether_dst, sizeof(flow->ether_src));
    order(flow->addr_src, flow->addr_dst, sizeof(flow->addr_src));
    order(flow->port_src, flow->port_dst, sizeof(flow->port_src));
}

uint32_t
hash_flow(const struct flow *flow, const struct hash_policy *policy)
{
    assert(policy->kind < LAGG_HASH_COUNT);

    if (policy->kind == LAGG_HASH_FNV1) {
        return flow_fnv1(flow, policy);
    }
    return flow_crc32c(flow, policy);
}

/* ---- of a frame, under a plan -----------------------------------------------------
 */

static uint32_t
flow_hash(const struct lagg_plan *plan, const struct flow *flow)
{
    const struct hash_policy policy = {
        .kind = plan->hash_kind,
        .layers = plan->hash_layers,
        .seed = plan->hash_seed,
    };

    return hash_flow(flow, &policy);
}

/* The fields of a frame that count; false for a runt. */
static bool
parse_counted(const struct lagg_plan *plan, const uint8_t *bytes, uint32_t size,
    struct flow *flow, struct tunnels *tunnels)
{
    bool whole = (plan->hash_layers & LAGG_LAYER_INNER) != 0
                     ? frame_parse_inner(bytes, size, flow, tunnels)
                     : frame_parse(bytes, size, flow);

    if ((plan->hash_layers & LAGG_LAYER_EITHER_WAY) != 0) {
        hash_order(flow);
    }
    return whole;
}

int
lagg_flow_hash(const struct lagg_plan *plan, const uint8_t *bytes, uint32_t size,
    struct lagg_hashed *hashed)
{
    struct tunnels tunnels = {0};
    struct flow flow;

    if (plan->hash_kind >= LAGG_HASH_COUNT ||
        !parse_counted(plan, bytes, size, &flow, &tunnels)) {
        return -EINVAL;
    }
    *hashed = (struct lagg_hashed){
        .hash = flow_hash(plan, &flow),
        .addr_bytes = flow.addr_bytes,
        .port_bytes = flow.port_bytes,
        .tunnels_count = (uint8_t)tunnels.count,
    };
    memcpy(hashed->ether_src, flow.ether_src, sizeof flow.ether_src);
    memcpy(hashed->ether_dst, flow.ether_dst, sizeof flow.ether_dst);
    memcpy(hashed->addr_src, flow.addr_src, sizeof flow.addr_src);
    memcpy(hashed->addr_dst, flow.addr_dst, sizeof flow.addr_dst);
    memcpy(hashed->port_src, flow.port_src, sizeof flow.port_src);
    memcpy(hashed->port_dst, flow.port_dst, sizeof flow.port_dst);
    memcpy(hashed->tunnels, tunnels.kinds, sizeof tunnels.kinds);
    return 0;
}

/* Apart: what asks for plain layers alone is not to pay for it. */
uint32_t __attribute__((cold, noinline))
hash_frame(const struct lagg_plan *plan, const struct frame *frame)
{
    struct tunnels tunnels;
    struct flow flow;

    parse_counted(plan, frame->head + VNET_BYTES, frame->head_bytes - VNET_BYTES, &flow,
        &tunnels);
    return flow_hash(plan, &flow);
}
