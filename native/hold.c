/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames that wait while their flow moves to another port (802.1AX 6.5, Marker).
 *
 * Owns their bytes and their order.  A frame is kept under one snapshot and looked at
 * again, first come first, under each later one: it leaves, or is kept again at the
 * front.  Bounded: without room a frame is refused, and the caller counts it.  Knows
 * no plan, makes no system call, allocates nothing.
 */
#include "internal.h"

#include <string.h>

/* In front of each frame's bytes; a multiple of what an offload header is aligned to.
 */
struct held {
    uint32_t head_bytes, rest_bytes;
    uint32_t reserved[2];
};

static uint32_t
held_size(uint32_t head_bytes, uint32_t rest_bytes)
{
    const uint32_t align = sizeof(struct held);

    return (uint32_t)sizeof(struct held) +
           (head_bytes + rest_bytes + align - 1) / align * align;
}

bool
hold_pending(const struct hold *hold)
{
    return hold->next != hold->end;
}

void
hold_rewind(struct hold *hold, uint64_t generation)
{
    uint32_t unseen = hold->end - hold->next;

    /* What a pass did not come to is younger than what it kept. */
    memmove(hold->store + hold->kept, hold->store + hold->next, unseen);
    hold->end = hold->kept + unseen;
    hold->kept = 0;
    hold->next = 0;
    hold->generation = generation;
}

bool
hold_put(struct hold *hold, const struct frame *frame)
{
    const struct held header = {
        .head_bytes = frame->head_bytes,
        .rest_bytes = frame->rest_bytes,
    };
    uint32_t size = held_size(frame->head_bytes, frame->rest_bytes);
    uint32_t room = hold_pending(hold) ? hold->next : HOLD_BYTES;
    uint8_t *bytes = hold->store + hold->kept + sizeof header;

    if (room - hold->kept < size) {
        return false;
    }
    /* Frames that are kept again lie behind, perhaps overlapping: the header last. */
    memmove(bytes, frame->head, frame->head_bytes);
    if (frame->rest_bytes > 0) {
        memmove(bytes + frame->head_bytes, frame->rest, frame->rest_bytes);
    }
    memcpy(hold->store + hold->kept, &header, sizeof header);
    hold->kept += size;
    if (!hold_pending(hold)) {
        hold->next = hold->end = hold->kept;
    }
    return true;
}

bool
hold_take(struct hold *hold, struct frame *frame)
{
    struct held header;

    if (!hold_pending(hold)) {
        return false;
    }
    memcpy(&header, hold->store + hold->next, sizeof header);
    frame->head = hold->store + hold->next + sizeof header;
    frame->head_bytes = header.head_bytes;
    frame->rest = frame->head + header.head_bytes;
    frame->rest_bytes = header.rest_bytes;
    hold->next += held_size(header.head_bytes, header.rest_bytes);
    return true;
}
