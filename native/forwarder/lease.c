/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A lease: the LACPDU that a port's partner hears while laggd is away.
 *
 * Owns when it is due.  A partner on short timeouts gives up after 3 s (802.1AX-2020
 * 6.4.13), which a laggd that begins anew on a busy machine may take.  The time is
 * bounded by whoever asks: one that does not come back must not look alive.  Pure.
 */
#include "forwarder.h"

#include <errno.h>
#include <string.h>

int
lease_set(struct lease *lease, const struct lagg_request *request)
{
    if (request->bytes_count > LAGG_LEASE_BYTES_MAX ||
        (request->bytes_count == 0) != (request->argument == 0)) {
        return -EINVAL;
    }
    lease->bytes_count = request->bytes_count;
    lease->period_ms = request->argument;
    memcpy(lease->bytes, request->bytes, sizeof lease->bytes);
    return 0;
}

void
leases_begin(struct lease leases[LAGG_PORTS_MAX], uint64_t now_ns)
{
    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        leases[slot].due_ns = now_ns;
    }
}

bool
lease_due(struct lease *lease, uint64_t now_ns)
{
    if (lease->bytes_count == 0 || now_ns < lease->due_ns) {
        return false;
    }
    lease->due_ns = now_ns + (uint64_t)lease->period_ms * 1000000u;
    return true;
}

uint64_t
leases_due_ns(const struct lease leases[LAGG_PORTS_MAX], uint64_t due_ns)
{
    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        if (leases[slot].bytes_count != 0 && leases[slot].due_ns < due_ns) {
            due_ns = leases[slot].due_ns;
        }
    }
    return due_ns;
}
