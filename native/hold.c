/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames that wait while their flow moves to another port (802.1AX 6.5, Marker).
 *
 * Owns their bytes and their order.  A frame is kept under one snapshot and looked at
 * again, first come first, under each later one: it leaves, or is kept again at the
 * front.  Bounded: without room a frame is refused, and the caller counts it.  Knows
 * no plan, makes no system call, allocates nothing.
 *
 * What is kept outlives the process.  So each change is one that can be found half done
 * and be mended: bytes are written where nothing is kept, and then a place moves.
 */
#include "internal.h"

#include <string.h>

/* In front of each frame's bytes; a multiple of what an offload header is aligned to.
 */
struct held {
    uint32_t head_bytes; /* 0: there is no frame, but a hole */
    uint32_t rest_bytes; /* of a hole, all of its bytes */
    uint32_t had;
    uint32_t reserved;
};

static uint32_t
held_size(uint32_t head_bytes, uint32_t rest_bytes)
{
    const uint32_t align = sizeof(struct held);

    return (uint32_t)sizeof(struct held) +
           (head_bytes + rest_bytes + align - 1) / align * align;
}

/* A place is written when what it says is there: the compiler is told.  Who looks is
 * another process, when this one has ended, and then all its stores are to be seen. */
static void
place_order(void)
{
    atomic_signal_fence(memory_order_seq_cst);
}

static void
hole_make(uint8_t *bytes, uint32_t size)
{
    const struct held header = {.rest_bytes = size};

    if (size > 0) {
        memcpy(bytes, &header, sizeof header);
    }
}

bool
hold_pending(const struct hold *hold)
{
    return hold->place.next != hold->place.end;
}

void
hold_rewind(struct hold *hold, uint64_t generation)
{
    struct hold_place *place = &hold->place;

    /* What a pass did not come to is younger than what it kept: between the two is a
     * hole, which the next pass closes. */
    if (hold_pending(hold)) {
        hole_make(hold->store + place->kept, place->next - place->kept);
    } else {
        place->next = place->end = place->kept;
    }
    place_order();
    place->next = 0;
    place_order();
    place->kept = 0;
    hold->generation = generation;
}

bool
hold_put(struct hold *hold, const struct frame *frame, uint32_t had, uint32_t limit)
{
    struct hold_place *place = &hold->place;
    const struct held header = {
        .head_bytes = frame->head_bytes,
        .rest_bytes = frame->rest_bytes,
        .had = had,
    };
    uint32_t size = held_size(frame->head_bytes, frame->rest_bytes);
    uint32_t room = hold_pending(hold) ? place->next : limit;
    uint8_t *bytes = hold->store + place->kept + sizeof header;

    if (room < place->kept + size) {
        return false;
    }
    memcpy(bytes, frame->head, frame->head_bytes);
    if (frame->rest_bytes > 0) {
        memcpy(bytes + frame->head_bytes, frame->rest, frame->rest_bytes);
    }
    memcpy(hold->store + place->kept, &header, sizeof header);
    place_order();
    place->kept += size;
    if (!hold_pending(hold)) {
        place->next = place->end = place->kept;
    }
    return true;
}

/* The header at 'next', of a frame; false when there is none before 'end'.  Another
 * process may have written it: what cannot be is the end. */
static bool
header_at(const struct hold *hold, uint32_t *next, struct held *header)
{
    const uint32_t end = hold->place.end;

    while (end - *next >= sizeof *header) {
        memcpy(header, hold->store + *next, sizeof *header);
        if (header->head_bytes != 0) {
            return header->head_bytes >= VNET_BYTES &&
                   header->head_bytes <= HEAD_BYTES &&
                   header->rest_bytes <= REST_BYTES &&
                   held_size(header->head_bytes, header->rest_bytes) <= end - *next;
        }
        if (header->rest_bytes < sizeof *header || header->rest_bytes > end - *next) {
            return false;
        }
        *next += header->rest_bytes;
    }
    return false;
}

bool
hold_take(const struct hold *hold, uint32_t *next, struct frame *frame, uint32_t *had)
{
    uint8_t *store = (uint8_t *)(uintptr_t)hold->store;
    struct held header;

    if (!header_at(hold, next, &header)) {
        *next = hold->place.end;
        return false;
    }
    frame->head = store + *next + sizeof header;
    frame->head_bytes = header.head_bytes;
    frame->rest = frame->head + header.head_bytes;
    frame->rest_bytes = header.rest_bytes;
    *had = header.had;
    *next += held_size(header.head_bytes, header.rest_bytes);
    return true;
}

void
hold_mend(struct hold *hold)
{
    struct hold_place *place = &hold->place;

    if (place->end > sizeof hold->store) {
        place->kept = place->next = place->end = 0;
    }
    if (place->next > place->end) {
        place->next = place->end;
    }
    if (place->kept > place->next) {
        place->kept = 0; /* a pass was just being begun */
    }
}
