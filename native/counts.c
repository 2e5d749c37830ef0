/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counts: from a worker's tally, which none reads, to readings of all that is counted.
 *
 * Owns the sequence lock between the two, both ends of it.  The worker never waits; a
 * reader tries again while counts move, but not for ever: the worker's process may have
 * died as it moved them.
 */
#include "worker.h"

enum { READ_TRIES = 10000 }; /* some milliseconds: 10,000 times as long as it takes */

static void
bank_store(struct counter_bank *bank, const uint64_t values[COUNTERS_COUNT])
{
    for (uint32_t i = 0; i < COUNTERS_COUNT; i++) {
        /* Release: pairs with the reader's acquire, see counts_read(). */
        atomic_store_explicit(&bank->values[i], values[i], memory_order_release);
    }
}

static void
bank_load(struct counter_bank *bank, uint64_t values[COUNTERS_COUNT])
{
    for (uint32_t i = 0; i < COUNTERS_COUNT; i++) {
        values[i] = atomic_load_explicit(&bank->values[i], memory_order_relaxed);
    }
}

static struct counter_bank *
port_bank(const struct worker *worker, uint32_t slot)
{
    return &worker->ports[slot]->work->counts[worker->index];
}

/* Were the worker to die in the midst, its tally is whole, and is published again. */
void
counts_publish(struct worker *worker)
{
    const struct tally *tally = &worker->work->tally;
    struct worker_work *work = worker->work;
    uint32_t sequence = atomic_load_explicit(&work->sequence, memory_order_relaxed) | 1;

    if (!worker->touched) {
        return;
    }
    in_order();
    atomic_store_explicit(&work->sequence, sequence, memory_order_relaxed);
    bank_store(&work->counts, tally->total);
    for (uint32_t left = worker->ports_touched; left != 0; left &= left - 1) {
        uint32_t slot = (uint32_t)__builtin_ctz(left);

        bank_store(port_bank(worker, slot), tally->ports[slot]);
    }
    atomic_store_explicit(&work->sequence, sequence + 1, memory_order_release);
    worker->ports_touched = 0;
    worker->touched = false;
}

void
counts_rewind(struct worker *worker)
{
    struct tally *tally = &worker->work->tally;

    bank_load(&worker->work->counts, tally->total);
    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        if (worker->ports[slot] != NULL) {
            bank_load(port_bank(worker, slot), tally->ports[slot]);
        }
    }
}

void
counts_touch(struct worker *worker)
{
    worker->touched = true;
    worker->ports_touched = 0;
    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        worker->ports_touched |= (uint32_t)(worker->ports[slot] != NULL) << slot;
    }
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
bool
counts_read(struct worker_work *work, uint32_t index, struct lagg_port *const ports[],
    struct lagg_reading *out)
{
    const struct lagg_reading before = *out;
    uint32_t sequence, tries = 0;

    do {
        if (tries++ == READ_TRIES) {
            return false;
        }
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
    return true;
}
