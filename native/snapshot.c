/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Snapshots: what workers read, from validation to reuse.
 *
 * Owns the one root pointer, a fixed pool of snapshots, and the rule that a published
 * one is never written before its ticket has passed.  Count, table, protocol and hash
 * policy cannot disagree, because they are one value (FreeBSD D56942, PR 289017). Knows
 * no socket; to it a port is a slot that is open or not.
 */
#include "internal.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <string.h>

/* Tickets start at 2, see epoch_init(). */
enum { TICKET_FREE = 0, TICKET_LIVE = 1 };

static bool
slots_sound(const struct lagg_plan *plan)
{
    uint32_t seen = 0;

    for (uint32_t i = 0; i < plan->tx_slots_count; i++) {
        uint32_t slot = plan->tx_slots[i];

        if (slot >= LAGG_PORTS_MAX || !(plan->ports >> slot & 1)) {
            return false;
        }
        /* A slot twice in an ALL table would send two copies out of one port. */
        if (plan->spread == LAGG_SPREAD_ALL && (seen >> slot & 1)) {
            return false;
        }
        seen |= 1u << slot;
    }
    return true;
}

static bool
held_sound(const struct lagg_plan *plan)
{
    static const uint8_t none[sizeof plan->held];

    return plan->spread == LAGG_SPREAD_FLOW ||
           memcmp(plan->held, none, sizeof none) == 0;
}

static bool
stations_sound(const struct lagg_plan *plan)
{
    return plan->stations == 0 ||
           (plan->spread == LAGG_SPREAD_FLOW && plan->home < LAGG_PORTS_MAX &&
               (plan->ports >> plan->home & 1) != 0);
}

static bool
lessons_sound(const struct lagg_plan *plan)
{
    if (plan->teaches == 0) {
        return true;
    }
    for (uint32_t i = 0; i < sizeof plan->rx_slots; i++) {
        uint32_t slot = plan->rx_slots[i];

        if (slot >= LAGG_PORTS_MAX || !(plan->ports >> slot & 1)) {
            return false;
        }
    }
    return plan->stations != 0;
}

static bool
plan_sound(const struct lagg_plan *plan)
{
    const uint32_t layers = LAYERS_PLAIN | LAGG_LAYER_EITHER_WAY | LAGG_LAYER_INNER;

    return plan->spread < LAGG_SPREAD_COUNT && plan->tx_drop < LAGG_DROP_COUNT &&
           plan->rx_drop < LAGG_DROP_COUNT && (plan->rx_accept & ~plan->ports) == 0 &&
           (plan->rx_once & (~plan->ports | plan->rx_accept)) == 0 &&
           plan->hash_kind < LAGG_HASH_COUNT &&
           (plan->hash_layers & LAYERS_PLAIN) != 0 &&
           (plan->hash_layers & ~layers) == 0 && plan->rx_bytes_max >= ETHER_BYTES &&
           plan->tx_slots_count <= LAGG_BUCKETS && plan->own_count <= LAGG_OWN_MAX &&
           slots_sound(plan) && held_sound(plan) && stations_sound(plan) &&
           lessons_sound(plan);
}

/* A source as it lies in the 8 bytes of a frame that end with it; of the others, 0. */
static uint64_t
source_word(const uint8_t mac[ETH_ALEN])
{
    uint8_t bytes[sizeof(uint64_t)] = {0};
    uint64_t word;

    memcpy(bytes + sizeof bytes - ETH_ALEN, mac, ETH_ALEN);
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* What tells, at one look, most frames from those that have one of these sources. */
static void
fill_in_own(struct lagg_plan *plan)
{
    static const uint8_t all[ETH_ALEN] = {255, 255, 255, 255, 255, 255};

    plan->own_bits = source_word(plan->own[0]);
    plan->own_mask = plan->own_count > 0 ? source_word(all) : 0;
    for (uint32_t i = 1; i < plan->own_count; i++) {
        plan->own_mask &= ~(source_word(plan->own[i]) ^ plan->own_bits);
    }
}

/* The control thread's own word, unless another process wrote into its memory. */
static struct snapshot *
snapshot_at(const struct snapshot_store *store, uint32_t index)
{
    return &store->pool->snapshots[index % LAGG_SNAPSHOTS_MAX];
}

static struct snapshot *
snapshot_take(const struct snapshot_store *store, uint32_t *index)
{
    snapshot_reclaim(store);
    for (*index = 0; *index < LAGG_SNAPSHOTS_MAX; ++*index) {
        if (snapshot_at(store, *index)->ticket == TICKET_FREE) {
            return snapshot_at(store, *index);
        }
    }
    return NULL;
}

struct snapshot_store
snapshot_store_of(struct snapshot_pool *pool, struct epoch_reader *readers)
{
    return (struct snapshot_store){
        .pool = pool,
        .epoch = {.clock = &pool->clock, .readers = readers},
    };
}

void
snapshot_store_init(const struct snapshot_store *store)
{
    static const struct lagg_plan empty = {
        .tx_drop = LAGG_DROP_NO_PORT,
        .rx_drop = LAGG_DROP_NOT_ACCEPTED,
        .stride = 1,
        .hash_layers = LAGG_LAYER_L2,
        .rx_bytes_max = ETHER_BYTES,
    };
    struct snapshot_pool *pool = store->pool;

    memset(pool, 0, sizeof *pool);
    epoch_init(&store->epoch);
    pool->snapshots[0].plan = empty;
    pool->snapshots[0].ticket = TICKET_LIVE;
    atomic_init(&pool->root, 0);
}

int
snapshot_store_adopt(const struct snapshot_store *store)
{
    struct snapshot_pool *pool = store->pool;
    uint32_t root = atomic_load(&pool->root);
    uint64_t ticket;

    if (root >= LAGG_SNAPSHOTS_MAX || !plan_sound(&pool->snapshots[root].plan)) {
        return -EPROTO;
    }
    /* Whether the clock had advanced since the last swap, nobody knows: so it does. */
    epoch_advance(&store->epoch, &ticket);
    for (uint32_t i = 0; i < LAGG_SNAPSHOTS_MAX; i++) {
        if (i != root && pool->snapshots[i].ticket != TICKET_FREE) {
            pool->snapshots[i].ticket = ticket;
        }
    }
    pool->snapshots[root].ticket = TICKET_LIVE;
    return 0;
}

int
snapshot_publish(const struct snapshot_store *store, const struct lagg_plan *plan,
    uint32_t open, uint64_t *ticket)
{
    struct snapshot *fresh;
    uint32_t index, old;

    if (!plan_sound(plan) || (plan->ports & ~open) != 0) {
        return -EINVAL;
    }
    fresh = snapshot_take(store, &index);
    if (fresh == NULL) {
        return -EAGAIN;
    }
    fresh->generation = ++store->pool->generation;
    fresh->plan = *plan;
    fill_in_own(&fresh->plan);
    fresh->ticket = TICKET_LIVE;
    old = epoch_replace(&store->epoch, &store->pool->root, index, ticket);
    snapshot_at(store, old)->ticket = *ticket;
    return 0;
}

int
snapshot_reclaim(const struct snapshot_store *store)
{
    int limbo = 0;
    uint32_t reader;

    for (uint32_t i = 0; i < LAGG_SNAPSHOTS_MAX; i++) {
        struct snapshot *snap = snapshot_at(store, i);

        if (snap->ticket <= TICKET_LIVE) {
            continue;
        }
        if (epoch_passed(&store->epoch, snap->ticket, &reader)) {
            snap->ticket = TICKET_FREE;
        } else {
            limbo++;
        }
    }
    return limbo;
}

const struct snapshot *
snapshot_live(const struct snapshot_store *store)
{
    /* Relaxed: only the caller's own thread ever stores it. */
    return snapshot_at(
        store, atomic_load_explicit(&store->pool->root, memory_order_relaxed));
}

bool
snapshot_names(const struct snapshot_store *store, uint32_t slot)
{
    snapshot_reclaim(store);
    for (uint32_t i = 0; i < LAGG_SNAPSHOTS_MAX; i++) {
        const struct snapshot *snap = snapshot_at(store, i);

        if (snap->ticket != TICKET_FREE && (snap->plan.ports >> slot & 1)) {
            return true;
        }
    }
    return false;
}
