/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Grace periods: when nobody can still see what was unpublished.
 *
 * Owns a clock of 64 bits and what each reader last saw of it.  Knows no snapshot,
 * frees nothing, makes no system call.
 *
 * Why it holds.  A reader stores the epoch it saw (E) and then loads the root; the
 * writer exchanges the root and then scans the readers' stores.  All four are seq_cst,
 * so they have one order, and in it either the reader's load comes after the exchange,
 * and it has the new root; or its store comes before the scan, and the writer sees it:
 * E, which is older than the ticket, because the clock advanced after the exchange.  So
 * a ticket passes only when each reader is outside, or entered with the clock already
 * advanced and therefore (acquire of the clock, which the exchange precedes) with the
 * new root. Leaving is a release: all a reader did with the old value is over before
 * its 0 is seen.
 *
 * Reader and writer may be two processes: the clock and the root then lie in memory
 * that the writer alone writes, the readers' stores in memory that they alone write.
 * What is lock-free is address-free, so that nothing above depends on where either is
 * mapped.
 *
 * No stand-alone fence: TSan does not model them, and none is needed.
 */
#include "internal.h"

static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2,
    "what is lock-free is so between processes, too");

void
epoch_init(const struct epoch *epoch)
{
    /* 0 means "outside a section", so the clock starts at 1. */
    atomic_init(&epoch->clock->now, 1);
}

uint32_t
epoch_enter(const struct epoch *epoch, uint32_t reader, const _Atomic uint32_t *root)
{
    uint64_t now = atomic_load_explicit(&epoch->clock->now, EPOCH_ENTER_LOAD);

    atomic_store_explicit(&epoch->readers[reader].seen, now, EPOCH_ENTER_STORE);
    return atomic_load_explicit(root, EPOCH_ROOT_LOAD);
}

void
epoch_leave(const struct epoch *epoch, uint32_t reader)
{
    atomic_store_explicit(&epoch->readers[reader].seen, 0, EPOCH_LEAVE_STORE);
}

void
epoch_advance(const struct epoch *epoch, uint64_t *ticket)
{
    *ticket = atomic_fetch_add_explicit(&epoch->clock->now, 1, EPOCH_ADVANCE) + 1;
}

uint32_t
epoch_replace(
    const struct epoch *epoch, _Atomic uint32_t *root, uint32_t fresh, uint64_t *ticket)
{
    uint32_t old = atomic_exchange_explicit(root, fresh, EPOCH_ROOT_EXCHANGE);

    epoch_advance(epoch, ticket);
    return old;
}

bool
epoch_passed(const struct epoch *epoch, uint64_t ticket, uint32_t *reader)
{
    for (uint32_t i = 0; i < LAGG_WORKERS_MAX; i++) {
        uint64_t seen = atomic_load_explicit(&epoch->readers[i].seen, EPOCH_SCAN_LOAD);

        if (seen != 0 && seen < ticket) {
            *reader = i;
            return false;
        }
    }
    return true;
}
