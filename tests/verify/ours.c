/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ours, under the same two programs: native/epoch.c and native/snapshot.c as they are.
 *
 * Round robin over two ports; the control thread detaches the second and attaches it
 * again.  Owns the ports' memory and frees it when the store names it no more, which is
 * what native/device.c does with the ports' sockets.  variants.py edits copies of this
 * file and of those two to make the faults V4 to V9.
 */
#include "internal.h"

#include "rendering.h"

#include <errno.h>
#include <stdlib.h>

/* Stands for an open port, which a snapshot names by its slot. */
struct wire {
    int number;
};

static struct snapshot_pool pool;
static struct epoch_reader readers[LAGG_WORKERS_MAX];
static struct snapshot_store store; /* of these two */
static struct wire *wires[2];
static _Atomic uint32_t sequence;
static _Atomic bool control_done;

/* Publishes the plan of the ports in 'slots'; all of them follow from that word. */
static void
publish(uint32_t slots)
{
    struct lagg_plan plan = {.stride = 1,
        .ports = slots,
        .rx_accept = slots,
        .rx_bytes_max = UINT32_MAX,
        .hash_layers = LAGG_LAYER_L2,
        .hash_seed = slots};
    uint32_t open_slots = (wires[0] != NULL) | (uint32_t)(wires[1] != NULL) << 1;
    uint64_t ticket;
    int error;

    for (uint8_t slot = 0; slot < 2; slot++) {
        if (slots >> slot & 1) {
            plan.tx_slots[plan.tx_slots_count++] = slot;
        }
    }
    while ((error = snapshot_publish(&store, &plan, open_slots, &ticket)) != 0) {
        if (error != -EAGAIN) { /* a plan that is not sound would be refused for ever */
            abort();
        }
        step_blocked();
    }
    step("publishes a snapshot; its ports: %u", plan.tx_slots_count);
}

static void
wire_open(uint32_t slot)
{
    wires[slot] = malloc(sizeof *wires[slot]);
    if (wires[slot] == NULL) {
        abort();
    }
    wires[slot]->number = (int)slot + 1;
}

static void
wire_close(uint32_t slot)
{
    grace_begin();
    while (snapshot_names(&store, slot)) {
        step_blocked();
    }
    grace_end();
    free(wires[slot]);
    wires[slot] = NULL;
    step("closes the port");
}

void
world_begin(void)
{
    store = snapshot_store_of(&pool, readers);
    snapshot_store_init(&store);
    wire_open(0);
    wire_open(1);
    publish(3);
    snapshot_reclaim(&store);
    atomic_store(&sequence, 1); /* its first frame goes to the second port */
    atomic_store(&control_done, false);
}

void
world_end(void)
{
    if (snapshot_reclaim(&store) != 0) {
        fault("something is in limbo and nobody is inside");
    }
    free(wires[0]);
    free(wires[1]);
}

/* Whether all of it is still of one publication. */
static bool
is_whole(const struct snapshot *snap, uint64_t generation)
{
    uint32_t word = snap->plan.hash_seed;

    return snap->generation == generation && snap->plan.ports == word &&
           snap->plan.tx_slots_count == (uint32_t)__builtin_popcount(word);
}

uint64_t
worker_frame(uint32_t reader)
{
    const struct snapshot *snap = snapshot_enter(&store, reader);
    uint64_t generation = snap->generation;
    uint32_t ports_count = snap->plan.tx_slots_count;
    const struct wire *wire;

    step("enters a section; its snapshot's ports: %u", ports_count);
    if (ports_count != 0) {
        uint32_t turn = atomic_fetch_add(&sequence, 1) % ports_count;

        wire = wires[snap->plan.tx_slots[turn]];
        step("takes entry %u of that snapshot", turn + 1);
        frame_sent(wire->number);
    }
    if (!is_whole(snap, generation)) {
        fault("a snapshot changed under its reader");
    }
    snapshot_leave(&store, reader);
    step("leaves the section");
    return generation;
}

void
control_change(void)
{
    publish(1);
    wire_close(1);
    wire_open(1);
    publish(3);
    atomic_store(&control_done, true);
}
