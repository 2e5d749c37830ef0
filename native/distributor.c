/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frame distributor (802.1AX 6.2.4): which entry of the plan's table carries a frame.
 *
 * Owns the arithmetic of the four spreads, and how many frames went out by each entry.
 * The control plane has already resolved the protocol into tx_slots[]; this file knows
 * no protocol, descriptor, lock or clock.
 */
#include "internal.h"

/* splitmix64 (Steele, Lea and Flood, 2014), whose state counts up and cannot get
 * stuck. */
static uint64_t
chance_draw(struct turn *turn, uint32_t seed)
{
    uint64_t drawn = (turn->chance += 0x9e3779b97f4a7c15) ^ seed;

    drawn = (drawn ^ drawn >> 30) * 0xbf58476d1ce4e5b9;
    drawn = (drawn ^ drawn >> 27) * 0x94d049bb133111eb;
    return drawn ^ drawn >> 31;
}

/* The upper half of a product in place of a remainder: no division, and an entry is at
 * most one in 2^24 likelier than another. */
static uint32_t
chance_take(struct turn *turn, const struct lagg_plan *plan)
{
    uint64_t drawn = chance_draw(turn, plan->hash_seed) >> 32;

    return (uint32_t)(drawn * plan->tx_slots_count >> 32);
}

/* A turn is counted, not divided: no modulus of a count that could be 0, and no unfair
 * step when a sequence number wraps, as lagg(4)'s round robin has at 2^32. */
static uint32_t
turn_take(struct turn *turn, const struct lagg_plan *plan)
{
    if (turn->used >= plan->stride) {
        if (plan->stride == 0) {
            return chance_take(turn, plan);
        }
        turn->used = 0;
        turn->index++;
    }
    if (turn->index >= plan->tx_slots_count) {
        turn->index = 0;
    }
    turn->used++;
    return turn->index;
}

void
turn_seed(struct turn *turn, uint32_t index)
{
    turn->chance += index * 0xd1342543de82ef95;
}

uint32_t
distribute_index(const struct lagg_plan *plan, struct turn *turn, uint32_t flow_hash)
{
    assert(plan->tx_slots_count > 0);
    assert(plan->spread != LAGG_SPREAD_ALL);

    if (plan->spread == LAGG_SPREAD_TURN) {
        return turn_take(turn, plan);
    }
    if (plan->spread == LAGG_SPREAD_FLOW) {
        /* The count is of this very plan, and was just checked: never 0 here. */
        return flow_hash % plan->tx_slots_count;
    }
    return 0;
}

uint32_t
distribute_stand_in(const struct lagg_plan *plan, uint32_t index, uint32_t dead)
{
    for (uint32_t step = 0; step < plan->tx_slots_count; step++) {
        uint32_t slot = plan->tx_slots[(index + step) % plan->tx_slots_count];

        if (!(dead >> slot & 1)) {
            return slot;
        }
    }
    return NO_SLOT;
}

/* Relaxed, with buckets_sum(): a count of its own that orders nothing. */
static void
count_up(_Atomic uint64_t *count, uint64_t by)
{
    uint64_t value = atomic_load_explicit(count, memory_order_relaxed);

    atomic_store_explicit(count, value + by, memory_order_relaxed);
}

void
buckets_count(struct buckets *buckets, const uint16_t indices[], const uint32_t sizes[],
    const uint8_t order[], uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t frame = order[i], index = indices[frame];

        count_up(&buckets->entries[index].frames, 1);
        count_up(&buckets->entries[index].bytes, sizes[frame]);
    }
}

void
buckets_sum(const struct buckets *buckets, struct lagg_bucket sums[LAGG_BUCKETS])
{
    for (uint32_t i = 0; i < LAGG_BUCKETS; i++) {
        uint64_t frames =
            atomic_load_explicit(&buckets->entries[i].frames, memory_order_relaxed);
        uint64_t bytes =
            atomic_load_explicit(&buckets->entries[i].bytes, memory_order_relaxed);
        uint64_t headers = frames * VNET_BYTES;

        /* Of a frame that is counted meanwhile one of the two may be there alone. */
        sums[i].frames += frames;
        sums[i].bytes += bytes > headers ? bytes - headers : 0;
    }
}
