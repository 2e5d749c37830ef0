/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The Internet checksum against RFC 1071's own words and example, and the filling in of
 * one that the sender left open.  tests/netns/test_transmit.py holds it to scapy's.
 */
#include "port.h"

#include "check.h"

#include <linux/virtio_net.h>

enum { BYTES_MAX = 2100, REPEATS = 20 };

/* RFC 1071 section 1, in 16-bit words as they are on the wire. */
static uint16_t
reference(const uint8_t *bytes, uint32_t size)
{
    uint32_t sum = 0;

    for (uint32_t i = 0; i < size; i += 2) {
        sum += (uint32_t)bytes[i] << 8 | (i + 1 < size ? bytes[i + 1] : 0u);
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t)~sum;
}

static uint16_t
on_the_wire(uint16_t sum)
{
    uint8_t bytes[2];

    memcpy(bytes, &sum, sizeof bytes);
    return (uint16_t)(bytes[0] << 8 | bytes[1]);
}

static void
the_rfc_s_example(void)
{
    const uint8_t bytes[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};

    check_about("RFC 1071 section 3", 0);
    CHECK_EQ_U32(on_the_wire(frame_checksum(bytes, sizeof bytes)), 0x220d);
    CHECK_EQ_U32(on_the_wire(frame_checksum(bytes, 0)), 0xffff);
}

/* Every size, odd ones too, from every alignment; bytes at random, all 0 and all 1. */
static void
every_size_sums_as_the_reference(uint64_t *seed)
{
    static uint8_t bytes[BYTES_MAX + 8];

    for (uint32_t size = 0; size <= BYTES_MAX; size++) {
        check_about("size", size);
        for (uint32_t i = 0; i < sizeof bytes; i++) {
            uint32_t fill = size % 7;

            bytes[i] = fill == 0 ? 0xff : fill == 1 ? 0 : (uint8_t)check_random(seed);
        }
        for (uint32_t from = 0; from < 8; from++) {
            CHECK_EQ_U32(on_the_wire(frame_checksum(bytes + from, size)),
                reference(bytes + from, size));
        }
    }
}

static void
no_carry_is_lost_in_the_largest(void)
{
    static uint8_t bytes[HEAD_BYTES + REST_BYTES];

    check_about("largest", sizeof bytes);
    memset(bytes, 0xff, sizeof bytes);
    CHECK_EQ_U32(on_the_wire(frame_checksum(bytes, sizeof bytes)), 0);
    bytes[0] = 0xfe;
    CHECK_EQ_U32(on_the_wire(frame_checksum(bytes, sizeof bytes)), 0x100);
}

/* A frame of 'size' bytes with an offload header; its bytes are in 'bytes', too. */
static struct frame
frame_with(struct virtio_net_hdr offload, uint8_t *head, uint32_t size, uint64_t *seed)
{
    memcpy(head, &offload, sizeof offload);
    for (uint32_t i = 0; i < size; i++) {
        head[VNET_BYTES + i] = (uint8_t)check_random(seed);
    }
    return (struct frame){.head = head, .head_bytes = VNET_BYTES + size};
}

/* The field held a pseudo-header's sum, which counts; nothing else has changed. */
static void
an_open_checksum_is_filled_in(uint32_t size, uint16_t start, uint64_t *seed)
{
    const struct virtio_net_hdr offload = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .csum_start = start,
        .csum_offset = (uint16_t)(2 * (check_random(seed) % ((size - start) / 2)))};
    uint32_t field = (uint32_t)offload.csum_start + offload.csum_offset;
    uint16_t sum;
    uint8_t head[HEAD_BYTES], bytes[HEAD_BYTES];
    struct frame frame = frame_with(offload, head, size, seed);

    check_about("fill in", size);
    memcpy(bytes, head + VNET_BYTES, size);
    frame_finish_checksum(&frame, bytes);
    CHECK(frame_offload_valid(&frame));
    sum = reference(head + VNET_BYTES + start, size - start);
    CHECK_EQ_U32(
        (uint32_t)bytes[field] << 8 | bytes[field + 1], sum == 0 ? 0xffff : sum);
    memcpy(bytes + field, head + VNET_BYTES + field, 2);
    CHECK_EQ_BYTES(bytes, head + VNET_BYTES, size);
}

static void
an_open_checksum_of_0_is_sent_as_ffff(void)
{
    const struct virtio_net_hdr offload = {
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 6};
    uint8_t head[VNET_BYTES + 60] = {0}, bytes[60] = {0};
    struct frame frame = {.head = head, .head_bytes = sizeof head};

    check_about("sum 0", 0);
    memcpy(head, &offload, sizeof offload);
    bytes[44] = bytes[45] = 0xff;
    frame_finish_checksum(&frame, bytes);
    CHECK_EQ_U32((uint32_t)bytes[40] << 8 | bytes[41], 0xffff);
}

static void
a_checksum_that_is_not_open_stays(uint8_t flags, uint64_t *seed)
{
    const struct virtio_net_hdr offload = {
        .flags = flags, .csum_start = 34, .csum_offset = 16};
    uint8_t head[HEAD_BYTES], bytes[HEAD_BYTES];
    struct frame frame = frame_with(offload, head, 100, seed);

    check_about("not open", flags);
    memcpy(bytes, head + VNET_BYTES, 100);
    frame_finish_checksum(&frame, bytes);
    CHECK_EQ_BYTES(bytes, head + VNET_BYTES, 100);
}

int
main(int argc, char **argv)
{
    uint64_t seed = check_seed(argc, argv);

    the_rfc_s_example();
    every_size_sums_as_the_reference(&seed);
    no_carry_is_lost_in_the_largest();
    for (uint32_t size = 60; size <= XDP_FRAME_BYTES_MAX; size++) {
        an_open_checksum_is_filled_in(size, 34, &seed);
        an_open_checksum_is_filled_in(size, (uint16_t)(14 + size % 37), &seed);
    }
    an_open_checksum_of_0_is_sent_as_ffff();
    a_checksum_that_is_not_open_stays(0, &seed);
    a_checksum_that_is_not_open_stays(VIRTIO_NET_HDR_F_DATA_VALID, &seed);
    return check_report();
}
