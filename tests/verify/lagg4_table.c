/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Load balancing: the table of ports is cleared and refilled in place while workers
 * read it.  Our rendering of FreeBSD's PR 289017, not its code.
 */
#include "rendering.h"

#include <stdatomic.h>
#include <stddef.h>

struct lagg_port {
    int number;
};

static struct lagg_port ports[2] = {{1}, {2}};
static struct lagg_port *table[2];
static uint32_t count;
static _Atomic uint64_t frames;

static void
table_rebuild(uint32_t ports_count)
{
    count = ports_count;
    step("sets the count: %u", ports_count);
    for (uint32_t i = 0; i < 2; i++) {
        table[i] = NULL;
    }
    step("clears the table in place");
    for (uint32_t i = 0; i < ports_count; i++) {
        table[i] = &ports[i];
    }
    step("refills the table with %u", ports_count);
}

void
world_begin(void)
{
    table_rebuild(2);
}

void
world_end(void)
{
}

uint64_t
worker_frame(uint32_t reader)
{
    const uint32_t flow_hash =
        7; /* of every frame: one flow, the last port of any table */
    const struct lagg_port *port;
    uint32_t ports_count = count;

    (void)reader;
    step("reads the count: %u", ports_count);
    if (ports_count != 0) {
        port = table[flow_hash % ports_count];
        step("looks its flow up: %s", port == NULL ? "no port" : "a port");
        frame_sent(port->number);
    }
    return ++frames;
}

void
control_change(void)
{
    table_rebuild(1);
    table_rebuild(2);
}
