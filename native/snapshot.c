/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Snapshots: what workers read, from validation to reuse.
 *
 * Owns the one root pointer, a fixed pool of snapshots, and the rule that a published
 * one is never written before its ticket has passed.  Count, table, protocol and hash
 * policy cannot disagree, because they are one value (FreeBSD D56942, PR 289017). Knows
 * no socket; to it a port is an address.
 */
#include "internal.h"

#include <errno.h>
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
plan_sound(const struct lagg_plan *plan)
{
    const uint32_t layers = LAGG_LAYER_L2 | LAGG_LAYER_L3 | LAGG_LAYER_L4;

    return plan->spread < LAGG_SPREAD_COUNT && plan->tx_drop < LAGG_DROP_COUNT &&
           plan->rx_drop < LAGG_DROP_COUNT && plan->stride >= 1 &&
           (plan->rx_accept & ~plan->ports) == 0 && plan->hash_kind < LAGG_HASH_COUNT &&
           plan->hash_layers != 0 && (plan->hash_layers & ~layers) == 0 &&
           plan->rx_bytes_max >= ETHER_BYTES && plan->tx_slots_count <= LAGG_BUCKETS &&
           slots_sound(plan) && held_sound(plan);
}

static struct snapshot *
snapshot_take(struct snapshot_store *store)
{
    snapshot_reclaim(store);
    for (uint32_t i = 0; i < LAGG_SNAPSHOTS_MAX; i++) {
        if (store->pool[i].ticket == TICKET_FREE) {
            return &store->pool[i];
        }
    }
    return NULL;
}

static void
snapshot_fill(struct snapshot *snap, const struct lagg_plan *plan,
    struct lagg_port *const ports[], uint64_t generation)
{
    snap->generation = generation;
    snap->plan = *plan;
    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        snap->ports[slot] = (plan->ports >> slot & 1) ? ports[slot] : NULL;
    }
}

void
snapshot_store_init(struct snapshot_store *store)
{
    static const struct lagg_plan empty = {
        .tx_drop = LAGG_DROP_NO_PORT,
        .rx_drop = LAGG_DROP_NOT_ACCEPTED,
        .stride = 1,
        .hash_layers = LAGG_LAYER_L2,
        .rx_bytes_max = ETHER_BYTES,
    };

    memset(store, 0, sizeof *store);
    epoch_init(&store->epoch);
    snapshot_fill(&store->pool[0], &empty, NULL, 0);
    store->pool[0].ticket = TICKET_LIVE;
    atomic_init(&store->root, &store->pool[0]);
}

int
snapshot_publish(struct snapshot_store *store, const struct lagg_plan *plan,
    struct lagg_port *const ports[], uint64_t *ticket)
{
    struct snapshot *fresh, *old;

    if (!plan_sound(plan)) {
        return -EINVAL;
    }
    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        if ((plan->ports >> slot & 1) && ports[slot] == NULL) {
            return -EINVAL;
        }
    }
    fresh = snapshot_take(store);
    if (fresh == NULL) {
        return -EAGAIN;
    }
    snapshot_fill(fresh, plan, ports, ++store->generation);
    fresh->ticket = TICKET_LIVE;
    old = epoch_replace(&store->epoch, &store->root, fresh, ticket);
    old->ticket = *ticket;
    return 0;
}

int
snapshot_reclaim(struct snapshot_store *store)
{
    int limbo = 0;
    uint32_t reader;

    for (uint32_t i = 0; i < LAGG_SNAPSHOTS_MAX; i++) {
        struct snapshot *snap = &store->pool[i];

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
    return atomic_load_explicit(&store->root, memory_order_relaxed);
}

bool
snapshot_names(struct snapshot_store *store, uint32_t slot)
{
    snapshot_reclaim(store);
    for (uint32_t i = 0; i < LAGG_SNAPSHOTS_MAX; i++) {
        const struct snapshot *snap = &store->pool[i];

        if (snap->ticket != TICKET_FREE && snap->ports[slot] != NULL) {
            return true;
        }
    }
    return false;
}
