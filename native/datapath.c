/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A datapath: the half of a lagg that carries frames.
 *
 * Owns its workers, and which port is behind each slot that a plan may name.  Writes
 * one of the two shared memories and reads the other; opens nothing.  Whoever adds and
 * removes ports is one thread, the control thread or the forwarder's.
 */
#include "device.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

enum { TURN_TRIES = 10000 }; /* some 10 ms; a worker has it for a burst */

static struct worker *
worker_make(
    struct datapath *datapath, uint32_t index, const struct lagg_device_fds *fds)
{
    struct worker *worker = memory_allocate(sizeof *worker, sizeof *worker);
    bool drains = index == datapath->workers_count;

    if (worker != NULL) {
        worker->index = index;
        worker->store = &datapath->store;
        worker->ports = datapath->ports;
        worker->work = &datapath->work->workers[index];
        worker->stop = &datapath->stop;
        worker->dark = &datapath->dark;
        worker->dedup_key = datapath->plans->dedup_key;
        worker->dedup = &worker->work->dedup;
        worker->alert = &datapath->plans->alert;
        worker->alerted = &datapath->work->alerted;
        worker->alert_fd = &datapath->alert_fd;
        worker->tap_fd = fds->tap[drains ? 0 : index];
        worker->wake_fd = drains ? -1 : fds->wake[index];
        worker->queues_begun = UINT32_MAX; /* for all that is known */
        turn_seed(&worker->work->turn, index);
    }
    return worker;
}

static void
datapath_free(struct datapath *datapath)
{
    for (uint32_t i = 0; i <= datapath->workers_count; i++) {
        free(datapath->workers[i]);
    }
    free(datapath);
}

int
datapath_open(struct plans *plans, struct work *work, const struct lagg_device_fds *fds,
    struct datapath **out)
{
    struct datapath *datapath;

    if (layout_check(plans, work) != 0) {
        return -EPROTO;
    }
    datapath = memory_allocate(sizeof *datapath, sizeof *datapath);
    if (datapath == NULL) {
        return -ENOMEM;
    }
    datapath->store = snapshot_store_of(&plans->pool, work->readers);
    datapath->plans = plans;
    datapath->work = work;
    datapath->workers_count = work->layout.workers;
    datapath->alert_fd = -1;
    for (uint32_t i = 0; i <= datapath->workers_count; i++) {
        datapath->workers[i] = worker_make(datapath, i, fds);
        if (datapath->workers[i] == NULL) {
            datapath_free(datapath);
            return -ENOMEM;
        }
    }
    *out = datapath;
    return 0;
}

int
datapath_close(struct datapath *datapath)
{
    for (uint32_t i = 0; i < datapath->workers_count; i++) {
        if (atomic_load(&datapath->workers[i]->running)) {
            return -EBUSY;
        }
    }
    datapath_free(datapath);
    return 0;
}

/* Of a port that was here before, what it brought is not the next one's. */
static void
forget_slot(struct dedup *dedup, uint32_t slot)
{
    for (uint32_t i = 0; i < TURN_TRIES; i++) {
        if (dedup_take(dedup)) {
            dedup_forget(dedup, slot);
            dedup_give(dedup);
            return;
        }
        sched_yield();
    }
}

void
datapath_add(
    struct datapath *datapath, uint32_t slot, struct lagg_port *port, bool fresh)
{
    port_place(port, &datapath->work->ports[slot]);
    if (fresh) {
        port_begin(port);
        for (uint32_t i = 0; i <= datapath->workers_count; i++) {
            struct worker_work *work = &datapath->work->workers[i];

            memset(work->tally.ports[slot], 0, sizeof work->tally.ports[slot]);
            forget_slot(&work->dedup, slot);
        }
    }
    datapath->ports[slot] = port;
}

void
datapath_recover(struct datapath *datapath)
{
    for (uint32_t i = 0; i <= datapath->workers_count; i++) {
        dedup_give(&datapath->work->workers[i].dedup);
        journal_recover(datapath->workers[i]);
    }
    for (uint32_t i = 0; i < datapath->workers_count; i++) {
        epoch_leave(&datapath->store.epoch, i);
    }
    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        if (datapath->ports[slot] != NULL) {
            port_recover(datapath->ports[slot]);
        }
    }
}

void
datapath_look(struct datapath *datapath)
{
    uint32_t dark = 0;

    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        const struct lagg_port *port = datapath->ports[slot];

        dark |= (uint32_t)(port != NULL && !port_has_carrier(port)) << slot;
    }
    atomic_store(&datapath->dark, dark);
}

void
datapath_trust_plan(struct datapath *datapath)
{
    atomic_store(&datapath->dark, 0);
}

void
datapath_remove(struct datapath *datapath, uint32_t slot)
{
    atomic_fetch_and(&datapath->dark, ~(1u << slot));
    datapath->ports[slot] = NULL;
}

/* What became of the port's frames while a plan named it. */
static struct lagg_plan
drained_plan(const struct datapath *datapath, uint32_t slot, bool once)
{
    const uint32_t accepted = datapath->ports[slot]->wish->accepted ? 1u << slot : 0;
    struct lagg_plan plan = snapshot_live(&datapath->store)->plan;

    plan.rx_accept = once ? 0 : accepted;
    plan.rx_once = once ? accepted : 0;
    plan.tx_slots_count = 0; /* so that it stands in for nobody */
    return plan;
}

static bool
receive_begins_soon(struct worker *drainer, const struct lagg_plan *plan)
{
    for (uint32_t i = 0; i < TURN_TRIES; i++) {
        if (receive_begin(drainer, plan)) {
            return true;
        }
        sched_yield();
    }
    return false;
}

static uint32_t
drain_burst(struct worker *drainer, const struct lagg_plan *plan, uint32_t slot,
    struct ring *ring)
{
    uint32_t frames = receive_ring(drainer, plan, slot, ring);

    receive_end(drainer, plan);
    counts_publish(drainer);
    receive_release(drainer);
    return frames;
}

/* Bounded: a ring that is refilled while it is drained ends after one round; and where
 * a worker does not let go of what came before, copies come in rather than none. */
void
datapath_drain(struct datapath *datapath, uint32_t slot, uint32_t set)
{
    struct worker *drainer = datapath->workers[datapath->workers_count];
    struct lagg_port *port = datapath->ports[slot];
    const struct lagg_plan all = drained_plan(datapath, slot, false);
    const struct lagg_plan plan = drained_plan(datapath, slot, port->wish->once);

    for (uint32_t ring = 0; ring < port->rings_count; ring++) {
        uint32_t frames = 0, burst;

        drainer->dedup = &datapath->work->workers[ring].dedup;
        do {
            bool begun = receive_begins_soon(drainer, &plan);

            burst = drain_burst(
                drainer, begun ? &plan : &all, slot, &port->rings[set][ring]);
            frames += burst;
        } while (burst > 0 && frames < RING_FRAMES);
    }
}

int
datapath_run(struct datapath *datapath, uint32_t index, uint32_t busy_poll_us)
{
    struct worker *worker;

    if (index >= datapath->workers_count || busy_poll_us > LAGG_BUSY_POLL_US_MAX) {
        return -EINVAL;
    }
    worker = datapath->workers[index];
    if (atomic_exchange(&worker->running, true)) {
        return -EBUSY;
    }
    worker->pace.busy_poll_ns = busy_poll_us * 1000u;
    worker_loop(worker);
    atomic_store(&worker->running, false);
    return 0;
}

void
datapath_stop(struct datapath *datapath)
{
    atomic_store(&datapath->stop, true);
}
