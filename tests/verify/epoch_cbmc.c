/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The epoch and the snapshots for CBMC: READERS sections beside UPDATES publications.
 *
 * The orders EPOCH_* come from native/internal.h by the command line.  variants.py
 * edits copies of this file to make its faults.
 */
#include "cbmc.h"

enum { SNAPSHOTS = UPDATES + 1, OUTSIDE = 0 };

int root, now = 1, seen[2];
int ports[SNAPSHOTS], protocol[SNAPSHOTS], state[SNAPSHOTS];
bool alive[SNAPSHOTS];

static void
section(int reader)
{
    int epoch, snap, count;

    LOAD(epoch, now, EPOCH_ENTER_LOAD);
    STORE(seen[reader], epoch, EPOCH_ENTER_STORE);
    LOAD(snap, root, EPOCH_ROOT_LOAD);
    assert(alive[snap]);
    count = ports[snap];
    assert(count == 0 || count - 1 < ports[snap]);
    assert(state[snap] == protocol[snap]);
    assert(alive[snap]);
    STORE(seen[reader], OUTSIDE, EPOCH_LEAVE_STORE);
}

static bool
passed(int ticket)
{
    int value;

    for (int reader = 0; reader < READERS; reader++) {
        LOAD(value, seen[reader], EPOCH_SCAN_LOAD);
        if (value != OUTSIDE && value < ticket) {
            return false;
        }
    }
    return true;
}

static void
publish(int fresh)
{
    int old, ticket;

    ports[fresh] = (fresh + 2) % 3;
    state[fresh] = protocol[fresh] = fresh;
    alive[fresh] = true;
    EXCHANGE(old, root, fresh, EPOCH_ROOT_EXCHANGE);
    EXCHANGE(ticket, now, ticket + 1, EPOCH_ADVANCE);
    if (passed(ticket + 1)) {
        alive[old] = false;
    }
}

static void
control(void)
{
    for (int fresh = 1; fresh <= UPDATES; fresh++) {
        publish(fresh);
    }
}

int
main(void)
{
    alive[0] = true;
    ports[0] = 2;
#if READERS > 1
__CPROVER_ASYNC_1:
    section(1);
#endif
__CPROVER_ASYNC_2:
    section(0);
__CPROVER_ASYNC_3:
    control();
    return 0;
}
