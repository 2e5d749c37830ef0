/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Leases: what a port's partner hears while laggd is away, by LACP and by BFD.
 *
 * Owns when each is due.  A LACP partner on short timeouts gives up after 3 s
 * (802.1AX-2020 6.4.13), that of a BFD session after a few of its intervals; a laggd
 * that begins anew on a busy machine may take longer.  The time is bounded by whoever
 * asks: one that does not come back must not look alive.  Pure.
 */
#include "forwarder.h"

#include <errno.h>
#include <string.h>

#define NS_PER_MS 1000000u
#define GOLDEN 0x9E3779B9u /* 2^32 by the golden ratio: its multiples fill a range */

int
lease_set(struct lease leases[LAGG_PORTS_MAX][LAGG_LEASES_MAX],
    const struct lagg_request *request)
{
    uint32_t number = request->argument >> LAGG_LEASE_SHIFT;
    uint32_t period_ms = request->argument & ((1u << LAGG_LEASE_SHIFT) - 1);
    struct lease *lease;

    if (number >= LAGG_LEASES_MAX || period_ms > LAGG_LEASE_MS_MAX ||
        request->bytes_count > LAGG_LEASE_BYTES_MAX ||
        (request->bytes_count == 0) != (period_ms == 0)) {
        return -EINVAL;
    }
    lease = &leases[request->slot][number];
    lease->bytes_count = request->bytes_count;
    lease->period_ms = period_ms;
    lease->due_ns = NEVER_NS; /* who orders it speaks himself */
    memcpy(lease->bytes, request->bytes, sizeof lease->bytes);
    return 0;
}

void
leases_begin(struct lease leases[LAGG_PORTS_MAX][LAGG_LEASES_MAX], uint64_t now_ns)
{
    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        for (uint32_t number = 0; number < LAGG_LEASES_MAX; number++) {
            leases[slot][number].due_ns = now_ns;
        }
    }
}

void
leases_yield(struct lease leases[LAGG_PORTS_MAX][LAGG_LEASES_MAX])
{
    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        leases[slot][LAGG_LEASE_LACP].due_ns = NEVER_NS;
    }
}

/* LACP's after its period; BFD's after 5/6 to the whole of it, at random (RFC 5880
 * 6.8.7: 75 to 100 % of what was agreed on, or to 90 %, where that is ordered). */
static uint64_t
lease_next_ns(const struct lease *lease, uint32_t number, uint64_t now_ns)
{
    uint64_t period_ns = (uint64_t)lease->period_ms * NS_PER_MS;
    uint64_t jitter_ns = number == LAGG_LEASE_LACP ? 0 : period_ns / 6;

    return now_ns + period_ns - (jitter_ns >> 16) * (lease->turn >> 16);
}

bool
lease_due(struct lease *lease, uint32_t number, uint64_t now_ns)
{
    if (lease->bytes_count == 0 || now_ns < lease->due_ns) {
        return false;
    }
    lease->turn += GOLDEN;
    lease->due_ns = lease_next_ns(lease, number, now_ns);
    return true;
}

uint64_t
leases_due_ns(
    const struct lease leases[LAGG_PORTS_MAX][LAGG_LEASES_MAX], uint64_t due_ns)
{
    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        for (uint32_t number = 0; number < LAGG_LEASES_MAX; number++) {
            const struct lease *lease = &leases[slot][number];

            if (lease->bytes_count != 0 && lease->due_ns < due_ns) {
                due_ns = lease->due_ns;
            }
        }
    }
    return due_ns;
}
