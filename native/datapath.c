/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A datapath: the half of a lagg that carries frames.
 *
 * Owns its workers, and which port is behind each slot that a plan may name.  Writes
 * one of the two shared memories and reads the other; opens nothing.  Whoever adds and
 * removes ports is one thread, the control thread or the forwarder's.
 */
#include "device.h"

#include <stdlib.h>
#include <string.h>

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

void
datapath_add(
    struct datapath *datapath, uint32_t slot, struct lagg_port *port, bool fresh)
{
    port_place(port, &datapath->work->ports[slot]);
    if (fresh) {
        port_begin(port);
        for (uint32_t i = 0; i <= datapath->workers_count; i++) {
            struct tally *tally = &datapath->work->workers[i].tally;

            memset(tally->ports[slot], 0, sizeof tally->ports[slot]);
        }
    }
    datapath->ports[slot] = port;
}

void
datapath_recover(struct datapath *datapath)
{
    for (uint32_t i = 0; i <= datapath->workers_count; i++) {
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

/* Bounded: a ring that is refilled while it is drained ends after one round. */
void
datapath_drain(struct datapath *datapath, uint32_t slot, uint32_t set)
{
    struct worker *drainer = datapath->workers[datapath->workers_count];
    struct lagg_port *port = datapath->ports[slot];
    struct lagg_plan plan = snapshot_live(&datapath->store)->plan;

    plan.rx_accept = port->wish->accepted ? 1u << slot : 0;
    plan.tx_slots_count = 0; /* so that it stands in for nobody */
    for (uint32_t ring = 0; ring < port->rings_count; ring++) {
        uint32_t frames = 0, burst;

        do {
            burst = receive_ring(drainer, &plan, slot, &port->rings[set][ring]);
            counts_publish(drainer);
            receive_release(drainer);
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
