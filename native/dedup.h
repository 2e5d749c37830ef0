/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which frames came in before, by another port: shared by dedup.c, receive.c and
 * datapath.c.
 *
 * Who may touch a member: as in internal.h.
 */
#ifndef LAGG_DEDUP_H
#define LAGG_DEDUP_H

#include "internal.h"

enum {
    DEDUP_WINDOW_NS = 100000000, /* a copy may be as much later than the first */
    SEEN_MAX = 1 << 15,          /* kinds of frames; at 100 kpps those of 330 ms */
    SEEN_CHAINS = SEEN_MAX,
    DEDUP_KEY_WORDS = 2,
};

static_assert((SEEN_MAX & (SEEN_MAX - 1)) == 0, "a place is a mask");

/* Frames that are alike to the byte, and how many of them each port has brought.  Of
 * counts only differences matter. */
struct seen {
    uint64_t hash;       /* (w) keyed, of all bytes */
    uint32_t bytes;      /* (w) each */
    uint32_t before;     /* (w) the one before it in its chain */
    uint32_t window;     /* (w) that it was settled in last */
    uint32_t up;         /* (w) that went up */
    uint32_t settled[2]; /* (w) 'up' as that window, and the one before, began */
    uint32_t had[LAGG_PORTS_MAX]; /* (w) by slot: of those that went up */
};

/* What one worker has seen.  All zero is empty.  A process may have died in it, so that
 * it may hold anything; then frames come twice, or one that has an equal is lost. */
struct dedup {
    _Alignas(
        CACHE_LINE_BYTES) _Atomic uint32_t taken; /* (a) not 0: somebody has the turn */
    uint32_t next;                /* (w) the number of what is seen next */
    uint32_t chains[SEEN_CHAINS]; /* (w) the latest of each: a number */
    struct seen seen[SEEN_MAX];   /* (w) number n at n % SEEN_MAX */
};

/* The window that the monotonic time 'now_ns' is in, to be given to dedup_first(). */
uint32_t dedup_window(uint64_t now_ns);

/* Takes the turn, which all that follows needs; false: somebody else has it. */
bool dedup_take(struct dedup *dedup);
void dedup_give(struct dedup *dedup);

/* Whether a frame that came in by 'slot' is the first of its copies; it is remembered.
 * 'hash' and 'bytes' as dedup_hash() and frame_bytes() say. */
bool dedup_first(
    struct dedup *dedup, uint64_t hash, uint32_t bytes, uint32_t slot, uint32_t window);

/* Another port is behind 'slot', which has brought nothing yet. */
void dedup_forget(struct dedup *dedup, uint32_t slot);

/* SipHash-1-3 of all bytes of the frame from the Ethernet destination on, with its
 * checksum as it leaves the offload header's hands.  The frame is as rings have it: its
 * offload header is valid, and 'rest' follows 'head'. */
uint64_t dedup_hash(const struct frame *frame, const uint64_t key[DEDUP_KEY_WORDS]);

#endif
