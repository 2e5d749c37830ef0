/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * No reader ever sees parts of two snapshots, or one that changes; and what a stuck
 * reader keeps in limbo is bounded.
 *
 * Every member of a test snapshot follows from its generation, so a reader can tell.
 */
#include "readers.h"
#include "store.h"

#include <errno.h>

enum {
    PUBLICATIONS = 200000,
    PUBLICATIONS_LEAST = 10000,
    LIMBO_MAX = LAGG_SNAPSHOTS_MAX - 1, /* one is live */
};

static void
plan_make(struct lagg_plan *plan, uint64_t generation)
{
    uint32_t word = (uint32_t)generation;
    uint32_t slot = word % LAGG_PORTS_MAX;

    *plan = (struct lagg_plan){
        .spread = word % LAGG_SPREAD_ALL,
        .tx_drop = word % LAGG_DROP_COUNT,
        .rx_drop = (word + 1) % LAGG_DROP_COUNT,
        .stride = word,
        .ports = 1u << slot,
        .rx_accept = (word & 1) << slot,
        .hash_kind = word % LAGG_HASH_COUNT,
        .hash_layers = LAGG_LAYER_L2,
        .hash_seed = ~word,
        .rx_bytes_max = ETHER_BYTES + (word >> 1),
        .tx_slots_count = word % (LAGG_BUCKETS + 1),
    };
    memset(plan->tx_slots, (int)slot, plan->tx_slots_count);
}

static uint32_t
snapshot_faults(const struct snapshot *snap)
{
    struct lagg_plan plan;

    plan_make(&plan, snap->generation);
    return memcmp(&plan, &snap->plan, sizeof plan) != 0;
}

static uint64_t
snapshot_section(struct reader *reader, void *world)
{
    struct snapshot_store *store = world;
    const struct snapshot *snap = snapshot_enter(store, reader->index);
    uint64_t generation = snap->generation;

    reader->faults += snapshot_faults(snap);
    reader_dawdle(reader);
    reader->faults += snapshot_faults(snap) + (snap->generation != generation);
    snapshot_leave(store, reader->index);
    return generation;
}

static int
publish(struct snapshot_store *store, uint64_t generation, uint64_t *ticket)
{
    struct lagg_plan plan;

    plan_make(&plan, generation);
    return snapshot_publish(store, &plan, UINT32_MAX, ticket);
}

static void
no_reader_sees_a_mixture(struct snapshot_store *store)
{
    struct readers readers = {.section = snapshot_section, .world = store};
    uint64_t generation = 1, refused = 0, ticket;

    check_about("under load", 0);
    snapshot_store_init(store);
    CHECK(publish(store, generation, &ticket) == 0);
    readers_start(&readers);
    while (readers_need_more(&readers, generation, PUBLICATIONS_LEAST, PUBLICATIONS)) {
        int error = publish(store, generation + 1, &ticket);

        CHECK(error == 0 || error == -EAGAIN);
        generation += error == 0;
        CHECK(snapshot_live(store)->generation == generation);
        if (error != 0) {
            refused++;
            sched_yield();
        }
    }
    readers_end(&readers);
    CHECK(generation >= PUBLICATIONS_LEAST);
    CHECK(snapshot_reclaim(store) == 0);
    printf("%" PRIu64 " publications, %" PRIu64 " refused\n", generation, refused);
}

/* ---- one reader, parked -----------------------------------------------------------
 */

/* Publishes 2, 3, ... until all snapshots are in use.  Returns the last ticket. */
static uint64_t
fill_limbo(struct snapshot_store *store)
{
    uint64_t ticket = 0;

    for (int generation = 2; generation <= LAGG_SNAPSHOTS_MAX; generation++) {
        CHECK(publish(store, (uint64_t)generation, &ticket) == 0);
        CHECK(snapshot_reclaim(store) == generation - 1);
    }
    return ticket;
}

static void
one_too_many_is_refused(struct snapshot_store *store)
{
    const struct snapshot_pool before = *store->pool;
    uint64_t ticket = 4711;

    CHECK(publish(store, LAGG_SNAPSHOTS_MAX + 1, &ticket) == -EAGAIN);
    CHECK(ticket == 4711);
    CHECK(memcmp(store->pool, &before, sizeof before) == 0);
}

static void
a_parked_reader_bounds_what_is_in_limbo(struct snapshot_store *store)
{
    const struct snapshot *held;
    uint64_t ticket, last;
    uint32_t reader = 0;

    check_about("a parked reader", 0);
    snapshot_store_init(store);
    CHECK(publish(store, 1, &ticket) == 0);
    held = snapshot_enter(store, 3);
    last = fill_limbo(store);
    for (uint32_t i = 0; i < 1000; i++) {
        one_too_many_is_refused(store);
    }
    CHECK(held->generation == 1);
    CHECK(snapshot_faults(held) == 0);
    CHECK(snapshot_reclaim(store) == LIMBO_MAX);
    CHECK(!epoch_passed(&store->epoch, last, &reader) && reader == 3);

    snapshot_leave(store, 3);
    CHECK(publish(store, LAGG_SNAPSHOTS_MAX + 1, &ticket) == 0);
    CHECK(ticket == last + 1);
    CHECK(snapshot_live(store)->generation == LAGG_SNAPSHOTS_MAX + 1);
    CHECK(snapshot_faults(snapshot_live(store)) == 0);
    CHECK(snapshot_reclaim(store) == 0);
}

int
main(void)
{
    static struct memories memories;
    struct snapshot_store store = store_make(&memories);

    a_parked_reader_bounds_what_is_in_limbo(&store);
    no_reader_sees_a_mixture(&store);
    return check_report();
}
