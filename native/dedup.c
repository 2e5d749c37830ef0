/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Duplicates: of the copies of a frame that come in by several ports, which was first.
 *
 * Owns what frames are alike, how long that matters, and how much of it is remembered.
 * Pure; knows no plan, ring or clock.
 *
 * The theory.  Frames that are alike to the byte are one kind, told from others by a
 * keyed hash of 64 bits and the length.  Who sends by all ports sends each frame of a
 * kind once by each, and a port keeps the order; so the n-th that a port brings is the
 * n-th that went up, whichever port brought that.  Therefore a port that has had fewer
 * than went up brings a duplicate, and any other the first copy of the next one.  What
 * is sent twice is delivered twice, and two that one port brings are two.
 *
 * What a port has lost it would owe for ever, and its next honest frame of that kind
 * would be taken for it.  So time is cut into windows, and what went up before the last
 * window began is owed by nobody: a copy is known for at least a window, and at most
 * two.
 *
 * Memory is a row of places that are used in turn, so that what is forgotten, be it for
 * age or for want of room, is always the kind that was met first.  A number says a
 * place and when it was used: of a chain, links to what is gone need no mending, for
 * their numbers say so.  One kind that goes on is written down anew before its place is
 * due.  Links may lead into other chains, and a dead process may have left anything:
 * they are followed in one direction of time and for a few steps, and what is found is
 * compared in full.
 *
 * One worker has the table, and whoever empties a ring for it takes turns with it.  All
 * copies come to the same worker: the kernel shares out the frames of each port by the
 * same hash of their headers (PACKET_FANOUT_HASH).
 */
#include "dedup.h"

#include "port.h"

#include <endian.h>
#include <string.h>

enum { STEPS_MAX = 32 }; /* chains hold one on average, and their ends are keyed */

/* ---- SipHash-1-3: Aumasson and Bernstein, 2012 --------------------------------------
 */

struct sip {
    uint64_t v[4];
    uint64_t word;  /* the bytes that make no full one yet, the first is the lowest */
    uint32_t bytes; /* of the whole text so far */
};

static inline uint64_t
rotate(uint64_t word, int bits)
{
    return word << bits | word >> (64 - bits);
}

static inline void
sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] = rotate(v[0], 32) + v[3];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] = rotate(v[2], 32);
}

static inline void
sip_word(struct sip *sip, uint64_t word)
{
    sip->v[3] ^= word;
    sip_round(sip->v);
    sip->v[0] ^= word;
}

static inline void
sip_byte(struct sip *sip, uint8_t byte)
{
    sip->word |= (uint64_t)byte << 8 * (sip->bytes % 8);
    if (++sip->bytes % 8 == 0) {
        sip_word(sip, sip->word);
        sip->word = 0;
    }
}

static inline void
sip_add(struct sip *sip, const uint8_t *bytes, uint32_t size)
{
    uint64_t word;

    for (; size > 0 && sip->bytes % 8 != 0; size--) {
        sip_byte(sip, *bytes++);
    }
    for (; size >= sizeof word; size -= (uint32_t)sizeof word, bytes += sizeof word) {
        memcpy(&word, bytes, sizeof word);
        sip_word(sip, le64toh(word));
        sip->bytes += (uint32_t)sizeof word;
    }
    for (; size > 0; size--) {
        sip_byte(sip, *bytes++);
    }
}

static inline struct sip
sip_begin(const uint64_t key[DEDUP_KEY_WORDS])
{
    return (struct sip){.v = {
                            key[0] ^ 0x736f6d6570736575,
                            key[1] ^ 0x646f72616e646f6d,
                            key[0] ^ 0x6c7967656e657261,
                            key[1] ^ 0x7465646279746573,
                        }};
}

static inline uint64_t
sip_end(struct sip *sip)
{
    sip_word(sip, sip->word | (uint64_t)sip->bytes << 56);
    sip->v[2] ^= 0xff;
    sip_round(sip->v);
    sip_round(sip->v);
    sip_round(sip->v);
    return sip->v[0] ^ sip->v[1] ^ sip->v[2] ^ sip->v[3];
}

/* A port that is a cable of this host may leave a checksum open that another delivers
 * whole; the bytes are left as they are, for a process may die in here. */
uint64_t
dedup_hash(const struct frame *frame, const uint64_t key[DEDUP_KEY_WORDS])
{
    const uint8_t *bytes = frame->head + VNET_BYTES;
    uint32_t size = frame_bytes(frame);
    struct sip sip = sip_begin(key);
    uint16_t sum;
    uint32_t field = frame_open_checksum(frame, &sum);
    uint32_t after = field == 0 ? 0 : field + (uint32_t)sizeof sum;

    assert(frame->rest_bytes == 0 || frame->rest == frame->head + frame->head_bytes);
    sip_add(&sip, bytes, field);
    if (field != 0) {
        sip_add(&sip, (const uint8_t *)&sum, sizeof sum);
    }
    sip_add(&sip, bytes + after, size - after);
    return sip_end(&sip);
}

/* ---- what was seen ----------------------------------------------------------------
 */

static struct seen *
seen_at(struct dedup *dedup, uint32_t number)
{
    return &dedup->seen[number % SEEN_MAX];
}

static uint32_t *
chain_of(struct dedup *dedup, uint64_t hash)
{
    return &dedup->chains[hash % SEEN_CHAINS];
}

/* How long ago a number was given, in numbers; 0 for one that is still to come. */
static uint32_t
age(const struct dedup *dedup, uint32_t number)
{
    return dedup->next - number;
}

/* That of the place which is written next is none any more. */
static bool
is_there(const struct dedup *dedup, uint32_t number)
{
    return age(dedup, number) - 1 < SEEN_MAX - 1;
}

/* Its number; one that is not there when there is none. */
static uint32_t
seen_find(struct dedup *dedup, uint64_t hash, uint32_t bytes)
{
    uint32_t number = *chain_of(dedup, hash);

    for (uint32_t i = 0; i < STEPS_MAX && is_there(dedup, number); i++) {
        const struct seen *seen = seen_at(dedup, number);

        if (seen->hash == hash && seen->bytes == bytes) {
            return number;
        }
        if (age(dedup, seen->before) <= age(dedup, number)) {
            break;
        }
        number = seen->before;
    }
    return dedup->next;
}

/* A death within leaves the chain as it was, or whole. */
static struct seen *
seen_add(struct dedup *dedup, const struct seen *fresh)
{
    uint32_t number = dedup->next, *chain = chain_of(dedup, fresh->hash);
    struct seen *seen = seen_at(dedup, number);

    *seen = *fresh;
    seen->before = *chain;
    in_order();
    dedup->next = number + 1;
    in_order();
    *chain = number;
    return seen;
}

/* What went up before the window before this one began is owed by nobody. */
static void
seen_settle(struct seen *seen, uint32_t window)
{
    bool follows = window - seen->window == 1;
    uint32_t since;

    if (seen->window == window) {
        return;
    }
    seen->settled[1] = follows ? seen->settled[0] : seen->up;
    seen->settled[0] = seen->up;
    seen->window = window;
    since = seen->up - seen->settled[1];
    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        if (seen->up - seen->had[slot] > since) {
            seen->had[slot] = seen->settled[1];
        }
    }
}

static struct seen *
seen_take(struct dedup *dedup, uint64_t hash, uint32_t bytes, uint32_t window)
{
    uint32_t number = seen_find(dedup, hash, bytes);

    if (!is_there(dedup, number)) {
        return seen_add(
            dedup, &(struct seen){.hash = hash, .bytes = bytes, .window = window});
    }
    if (age(dedup, number) > SEEN_MAX / 2) {
        return seen_add(dedup, seen_at(dedup, number));
    }
    return seen_at(dedup, number);
}

/* ---- turns and windows --------------------------------------------------------------
 */

uint32_t
dedup_window(uint64_t now_ns)
{
    return (uint32_t)(now_ns / DEDUP_WINDOW_NS);
}

bool
dedup_take(struct dedup *dedup)
{
    /* Acquire: pairs with dedup_give(), before which the other one wrote. */
    return atomic_exchange_explicit(&dedup->taken, 1, memory_order_acquire) == 0;
}

void
dedup_give(struct dedup *dedup)
{
    atomic_store_explicit(&dedup->taken, 0, memory_order_release);
}

/* A death between the two counts has the frame, which is read again, be the first once
 * more. */
bool
dedup_first(
    struct dedup *dedup, uint64_t hash, uint32_t bytes, uint32_t slot, uint32_t window)
{
    struct seen *seen = seen_take(dedup, hash, bytes, window);

    seen_settle(seen, window);
    if ((int32_t)(seen->up - seen->had[slot]) > 0) {
        seen->had[slot]++;
        return false;
    }
    seen->had[slot] = seen->up + 1;
    in_order();
    seen->up++;
    return true;
}

void
dedup_forget(struct dedup *dedup, uint32_t slot)
{
    uint32_t count = dedup->next < SEEN_MAX ? dedup->next : SEEN_MAX;

    for (uint32_t i = 0; i < count; i++) {
        dedup->seen[i].had[slot] = dedup->seen[i].settled[1];
    }
}
