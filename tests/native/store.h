/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The memories of a snapshot store, and a port's place in them, for tests that have no
 * device.
 */
#ifndef STORE_H
#define STORE_H

#include "port.h"

#include "check.h"

#include <stdlib.h>
#include <string.h>

struct memories {
    struct snapshot_pool pool;
    struct epoch_reader readers[LAGG_WORKERS_MAX];
};

/* A store with the empty plan, in these memories. */
static inline struct snapshot_store
store_make(struct memories *memories)
{
    struct snapshot_store store = snapshot_store_of(&memories->pool, memories->readers);

    snapshot_store_init(&store);
    return store;
}

/* Gives an open port a place of its own, which the caller frees. */
static inline struct port_work *
port_settle(struct lagg_port *port)
{
    struct port_work *work =
        (struct port_work *)aligned_alloc(CACHE_LINE_BYTES, sizeof *work);

    if (work == NULL) {
        abort();
    }
    port_place(port, work);
    port_begin(port);
    return work;
}

#endif
