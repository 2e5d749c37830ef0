/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Round robin beside a reconfiguration: the port count and the port list are two
 * things.
 *
 * Our rendering of what FreeBSD's PR 289017 and review D56942 describe, not its code.
 * As it is, everything is plain and the count is loaded twice.  With
 * REVIEWED, as the review proposes: the count is loaded once with acquire and stored
 * with release, and a port's memory outlives every reader.  The list may still be
 * shorter than the count says.
 */
#include "rendering.h"

#include <stdatomic.h>
#include <stddef.h>

#ifdef REVIEWED
#define SHARED _Atomic
#define LOAD(where) atomic_load_explicit(&(where), memory_order_acquire)
#define STORE(where, value) atomic_store_explicit(&(where), value, memory_order_release)
#else
#define SHARED
#define LOAD(where) (where)
#define STORE(where, value) ((where) = (value))
#endif

struct lagg_port {
    struct lagg_port *SHARED next;
    int number;
};

/* Never freed: this fault needs no early free. */
static struct lagg_port ports[2];

static struct lagg_port *SHARED first;
static SHARED uint32_t count;
static _Atomic uint32_t sequence;
static _Atomic uint64_t frames;

void
world_begin(void)
{
    ports[0].number = 1;
    ports[1].number = 2;
    STORE(ports[0].next, &ports[1]);
    STORE(ports[1].next, NULL);
    STORE(first, &ports[0]);
    STORE(count, 2);
    sequence = 1; /* its first frame goes to the second port */
}

void
world_end(void)
{
}

static struct lagg_port *
port_at(uint32_t index)
{
    struct lagg_port *port = LOAD(first);

    step("takes the first port of the list");
    for (; index > 0; index--) {
        port = LOAD(port->next);
        step(port == NULL ? "takes the next port: there is none"
                          : "takes the next port of the list");
    }
    return port;
}

uint64_t
worker_frame(uint32_t reader)
{
    uint32_t ports_count = LOAD(count), turn;

    (void)reader;
    step("reads the count: %u", ports_count);
    if (ports_count != 0) {
#ifndef REVIEWED
        ports_count = LOAD(count);
        step("reads the count again, to divide by it: %u", ports_count);
#endif
        turn = atomic_fetch_add(&sequence, 1) % ports_count;
        frame_sent(port_at(turn)->number);
    }
    return ++frames;
}

/* Removal: list, then count.  Addition: list, then count. */
static void port_remove(struct lagg_port * SHARED * link)
{
    STORE(*link, NULL);
    step("unlinks a port from the list");
    STORE(count, LOAD(count) - 1);
    step("lowers the count to %u", LOAD(count));
}

static void
port_add(struct lagg_port * SHARED * link, struct lagg_port *port)
{
    STORE(*link, port);
    step("links a port into the list");
    STORE(count, LOAD(count) + 1);
    step("raises the count to %u", LOAD(count));
}

void
control_change(void)
{
    port_remove(&ports[0].next);
    port_remove(&first);
    port_add(&first, &ports[0]);
    port_add(&ports[0].next, &ports[1]);
}
