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
 * No stand-alone fence: TSan does not model them, and none is needed.
 */
#include "internal.h"

void
epoch_init(struct epoch *epoch)
{
    /* 0 means "outside a section", so the clock starts at 1. */
    atomic_init(&epoch->now, 1);
    for (uint32_t i = 0; i < LAGG_WORKERS_MAX; i++) {
        atomic_init(&epoch->readers[i].seen, 0);
    }
}

void *
epoch_enter(struct epoch *epoch, uint32_t reader, void *_Atomic *root)
{
    uint64_t now = atomic_load_explicit(&epoch->now, EPOCH_ENTER_LOAD);

    atomic_store_explicit(&epoch->readers[reader].seen, now, EPOCH_ENTER_STORE);
    return atomic_load_explicit(root, EPOCH_ROOT_LOAD);
}

void
epoch_leave(struct epoch *epoch, uint32_t reader)
{
    atomic_store_explicit(&epoch->readers[reader].seen, 0, EPOCH_LEAVE_STORE);
}

void *
epoch_replace(struct epoch *epoch, void *_Atomic *root, void *fresh, uint64_t *ticket)
{
    void *old = atomic_exchange_explicit(root, fresh, EPOCH_ROOT_EXCHANGE);

    *ticket = atomic_fetch_add_explicit(&epoch->now, 1, EPOCH_ADVANCE) + 1;
    return old;
}

bool
epoch_passed(struct epoch *epoch, uint64_t ticket, uint32_t *reader)
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
