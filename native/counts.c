/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counts: from a worker's tally, which is private, to readings of all that is counted.
 *
 * Owns the sequence lock between the two, both ends of it.  The worker never waits; a
 * reader tries again while counts move.
 */
#include "worker.h"

static void
bank_add(struct counter_bank *bank, uint64_t deltas[COUNTERS_COUNT])
{
    for (uint32_t i = 0; i < COUNTERS_COUNT; i++) {
        uint64_t value = atomic_load_explicit(&bank->values[i], memory_order_relaxed);

        /* Release: pairs with the reader's acquire, see counts_read(). */
        atomic_store_explicit(
            &bank->values[i], value + deltas[i], memory_order_release);
        deltas[i] = 0;
    }
}

void
counts_publish(struct worker *worker)
{
    struct tally *tally = &worker->tally;
    struct worker_work *work = worker->work;
    uint32_t sequence = atomic_load_explicit(&work->sequence, memory_order_relaxed);

    if (!tally->touched) {
        return;
    }
    atomic_store_explicit(&work->sequence, sequence + 1, memory_order_relaxed);
    bank_add(&work->counts, tally->total);
    for (uint32_t left = tally->ports_touched; left != 0; left &= left - 1) {
        uint32_t slot = (uint32_t)__builtin_ctz(left);

        bank_add(&worker->ports[slot]->work->counts[worker->index], tally->ports[slot]);
    }
    atomic_store_explicit(&work->sequence, sequence + 2, memory_order_release);
    tally->ports_touched = 0;
    tally->touched = false;
}

static void
bank_sum(struct counter_bank *bank, uint64_t sums[COUNTERS_COUNT])
{
    for (uint32_t i = 0; i < COUNTERS_COUNT; i++) {
        sums[i] += atomic_load_explicit(&bank->values[i], memory_order_acquire);
    }
}

/* A count that has moved on was stored with release after the sequence turned odd, and
 * is loaded with acquire: so then the second look at the sequence differs too. */
void
counts_read(struct worker_work *work, uint32_t index, struct lagg_port *const ports[],
    struct lagg_reading *out)
{
    const struct lagg_reading before = *out;
    uint32_t sequence;

    do {
        *out = before;
        sequence = atomic_load_explicit(&work->sequence, memory_order_acquire);
        bank_sum(&work->counts, (uint64_t *)&out->total);
        for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
            if (ports[slot] != NULL) {
                bank_sum(
                    &ports[slot]->work->counts[index], (uint64_t *)&out->ports[slot]);
            }
        }
    } while ((sequence & 1) ||
             sequence != atomic_load_explicit(&work->sequence, memory_order_relaxed));
}
