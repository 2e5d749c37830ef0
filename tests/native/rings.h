/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the kernel puts into the rings of a worker's world.
 */
#ifndef RINGS_H
#define RINGS_H

#include "world.h"

enum { ENTRY_ROOM = ENTRY_BYTES - ENTRY_MAC };

/* The ring entry that the kernel would fill next. */
static inline struct tpacket2_hdr *
entry_next(struct world *world, uint32_t slot)
{
    uint32_t index = world->wires[slot].put++ % RING_FRAMES;
    uint8_t *map = world->ports[slot]->rings[0][0].map;

    return (struct tpacket2_hdr *)(void *)(map + (size_t)index * ENTRY_BYTES);
}

/* As the kernel does: 'bytes' with their offload header into the ring, as much of them
 * as fit.  Returns the entry, which the case may still change before the poll. */
static inline struct tpacket2_hdr *
ring_put(struct world *world, uint32_t slot, const uint8_t *bytes, uint32_t size)
{
    struct tpacket2_hdr *entry = entry_next(world, slot);
    uint32_t length = size - VNET_BYTES;
    uint32_t kept = length < ENTRY_ROOM ? length : ENTRY_ROOM;

    CHECK(entry->tp_status == TP_STATUS_KERNEL); /* given back, if it was used before */
    *entry = (struct tpacket2_hdr){
        .tp_status = TP_STATUS_USER,
        .tp_len = length,
        .tp_snaplen = kept,
        .tp_mac = ENTRY_MAC,
    };
    memcpy((uint8_t *)entry + ENTRY_MAC - VNET_BYTES, bytes, VNET_BYTES + kept);
    return entry;
}

static inline struct tpacket2_hdr *
ring_put_number(struct world *world, uint32_t slot, uint32_t number, uint32_t size)
{
    static uint8_t bytes[WIRE_BYTES_MAX];
    struct tpacket2_hdr *entry;

    frame_make(bytes, number, size);
    entry = ring_put(world, slot, bytes, VNET_BYTES + size);
    if (entry->tp_snaplen < entry->tp_len) {
        fd_put(world->wires[slot].large_fd, bytes, VNET_BYTES + size);
        entry->tp_status |= TP_STATUS_COPY;
    }
    return entry;
}

static inline void
ring_put_numbers(struct world *world, uint32_t slot, uint32_t first, uint32_t count)
{
    for (uint32_t number = first; number < first + count; number++) {
        ring_put_number(world, slot, number, FRAME_BYTES_MIN + number % 200);
    }
}

#endif
