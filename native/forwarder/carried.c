/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A lagg whose frames this process carries: its memories, ports and worker threads.
 *
 * Owns the order in which they come and go, and refuses what would pull a port from
 * under a worker.  Makes each of descriptors that the store has by name, of duplicates:
 * what happens to the store happens to no worker.  Knows no client.
 */
#include "forwarder.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* ---- descriptors ------------------------------------------------------------------
 */

__attribute__((format(printf, 2, 3))) static int
copy_of(const struct store *store, const char *format, ...)
{
    char name[LAGG_NAME_BYTES];
    va_list words;

    va_start(words, format);
    vsnprintf(name, sizeof name, format, words);
    va_end(words);
    return store_copy(store, name);
}

static void
close_each(const int *fds, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
}

/* ---- memories ---------------------------------------------------------------------
 */

/* Maps what the store has by a name, which may go once it is mapped. */
static int
map_copy(int fd, size_t bytes, bool writable, void **out)
{
    int error = fd < 0 ? -ENOENT : memory_is_sound(fd, bytes) ? 0 : -EPROTO;

    if (error == 0) {
        *out = memory_map(fd, bytes, writable);
        error = *out != NULL ? 0 : -ENOMEM;
    }
    close_each(&fd, 1);
    return error;
}

static int
open_memories(struct carried *carried, uint32_t id, const struct store *store)
{
    void *plans, *work;
    int error = map_copy(copy_of(store, "%u/plans", id), plans_bytes(), false, &plans);

    if (error != 0) {
        return error;
    }
    carried->plans = plans;
    carried->workers_count = carried->plans->layout.workers;
    if (carried->workers_count < 1 || carried->workers_count > LAGG_WORKERS_MAX) {
        return -EPROTO;
    }
    error = map_copy(
        copy_of(store, "%u/work", id), work_bytes(carried->workers_count), true, &work);
    carried->work = error == 0 ? work : NULL;
    return error;
}

static int
open_fds(struct carried *carried, uint32_t id, const struct store *store)
{
    bool all = true;

    for (uint32_t i = 0; i < carried->workers_count; i++) {
        carried->fds.tap[i] = copy_of(store, "%u/tap.%u", id, i);
        carried->fds.wake[i] = copy_of(store, "%u/wake.%u", id, i);
        all &= carried->fds.tap[i] >= 0 && carried->fds.wake[i] >= 0;
    }
    carried->alert_fd = copy_of(store, "%u/alert", id);
    return all ? 0 : -ENOENT;
}

static void
forget(struct carried *carried)
{
    if (carried->work != NULL) {
        memory_unmap(carried->work, work_bytes(carried->workers_count));
    }
    memory_unmap(carried->plans, plans_bytes());
    close_each(carried->fds.tap, LAGG_WORKERS_MAX);
    close_each(carried->fds.wake, LAGG_WORKERS_MAX);
    close_each(&carried->alert_fd, 1);
    memset(carried, 0, sizeof *carried);
}

int
carried_open(
    struct carried *carried, uint32_t id, bool again, const struct store *store)
{
    int error;

    if (carried->datapath != NULL) {
        return -EEXIST;
    }
    carried->alert_fd = -1;
    carried->again = again;
    memset(&carried->fds, -1, sizeof carried->fds);
    if ((error = open_memories(carried, id, store)) != 0 ||
        (error = open_fds(carried, id, store)) != 0 ||
        (error = datapath_open(
             carried->plans, carried->work, &carried->fds, &carried->datapath)) != 0) {
        forget(carried);
        return error;
    }
    atomic_store(&carried->datapath->alert_fd, carried->alert_fd);
    return 0;
}

int
carried_close(struct carried *carried)
{
    struct datapath *datapath = carried->datapath;

    if (carried->running) {
        return -EBUSY;
    }
    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        struct lagg_port *port = datapath->ports[slot];

        if (port != NULL) {
            datapath_remove(datapath, slot);
            lagg_port_close(port);
        }
    }
    datapath_close(datapath);
    forget(carried);
    return 0;
}

/* ---- ports ------------------------------------------------------------------------
 */

/* Whether a worker may look at the port: the live snapshot names it, or one before that
 * some worker may still read.  Each look at the readers pairs with a worker's leaving,
 * so what a worker did to the port is over when the answer is no. */
static bool
slot_named(const struct carried *carried, uint32_t slot)
{
    const struct snapshot_store *store = &carried->datapath->store;
    const struct snapshot *live = snapshot_live(store);
    bool named = false;
    uint32_t reader;

    for (uint32_t i = 0; i < LAGG_SNAPSHOTS_MAX; i++) {
        const struct snapshot *snap = &store->pool->snapshots[i];
        bool passed = epoch_passed(&store->epoch, snap->ticket, &reader);

        named |= (snap->plan.ports >> slot & 1) && (snap == live || !passed);
    }
    return named;
}

static void
rings_copy(struct lagg_port_fds *fds, uint32_t id, uint32_t slot, uint32_t set,
    const struct store *store)
{
    for (uint32_t i = 0; i < fds->rings_count; i++) {
        fds->rings[set][i] = copy_of(store, "%u/%u/ring.%u.%u", id, slot, set, i);
    }
}

static bool
rings_complete(const struct lagg_port_fds *fds, uint32_t set)
{
    bool complete = true;

    for (uint32_t i = 0; i < fds->rings_count; i++) {
        complete &= fds->rings[set][i] >= 0;
    }
    return complete;
}

static struct lagg_port_fds
port_fds_none(uint32_t workers)
{
    struct lagg_port_fds fds;

    memset(&fds, -1, sizeof fds);
    fds.rings_count = workers;
    return fds;
}

static void
port_fds_close(const struct lagg_port_fds *fds)
{
    close_each(&fds->tx, 1);
    close_each(&fds->xdp, 1);
    close_each(&fds->chunks, 1);
    close_each(fds->rings[0], LAGG_WORKERS_MAX);
    close_each(fds->rings[1], LAGG_WORKERS_MAX);
    close_each(fds->txrings, LAGG_WORKERS_MAX);
}

/* The set that workers read, unless they are told of another one. */
static uint32_t
rings_live(const struct carried *carried, uint32_t slot)
{
    return atomic_load(&carried->plans->wishes[slot].live) & 1;
}

/* Duplicates of all that the store has of a port. */
static struct lagg_port_fds
port_copy(uint32_t workers, uint32_t id, uint32_t slot, const struct store *store)
{
    struct lagg_port_fds fds = port_fds_none(workers);

    fds.tx = copy_of(store, "%u/%u/tx", id, slot);
    fds.xdp = copy_of(store, "%u/%u/xdp", id, slot);
    fds.chunks = copy_of(store, "%u/%u/chunks", id, slot);
    rings_copy(&fds, id, slot, 0, store);
    rings_copy(&fds, id, slot, 1, store);
    for (uint32_t i = 0; i < workers; i++) {
        fds.txrings[i] = copy_of(store, "%u/%u/txring.%u", id, slot, i);
    }
    fds.ifindex = packet_ifindex(fds.tx);
    return fds;
}

int
carried_map(struct carried *carried, uint32_t id, uint32_t slot, bool again,
    const struct store *store)
{
    struct lagg_port_fds fds;
    struct lagg_port *port;
    int error = -ENOENT;

    if (carried->datapath->ports[slot] != NULL) {
        return -EEXIST;
    }
    fds = port_copy(carried->workers_count, id, slot, store);
    if (fds.tx >= 0 && rings_complete(&fds, rings_live(carried, slot))) {
        error = fds.ifindex == 0 ? -EPROTO : lagg_port_adopt(&fds, LAGG_INSIDE, &port);
    }
    if (error != 0) {
        port_fds_close(&fds);
        return error;
    }
    port->wish = &carried->plans->wishes[slot];
    datapath_add(carried->datapath, slot, port, !again);
    return 0;
}

int
carried_map_rings(struct carried *carried, uint32_t id, uint32_t slot, uint32_t set,
    const struct store *store)
{
    struct lagg_port_fds fds = port_fds_none(carried->workers_count);
    int error;

    if (carried->datapath->ports[slot] == NULL) {
        return -ENOENT;
    }
    if (set == rings_live(carried, slot)) {
        return -EBUSY;
    }
    rings_copy(&fds, id, slot, set, store);
    error = rings_complete(&fds, set)
                ? port_adopt_rings(carried->datapath->ports[slot], &fds)
                : -ENOENT;
    if (error != 0) {
        port_fds_close(&fds);
    }
    return error;
}

int
carried_unmap_rings(struct carried *carried, uint32_t slot, uint32_t set)
{
    struct lagg_port *port = carried->datapath->ports[slot];

    if (port == NULL || port->rings[set][0].fd < 0) {
        return -ENOENT;
    }
    if (set == rings_live(carried, slot)) {
        return -EBUSY;
    }
    port_close_rings(port);
    return 0;
}

int
carried_unmap(struct carried *carried, uint32_t slot)
{
    struct lagg_port *port = carried->datapath->ports[slot];

    if (port == NULL) {
        return -ENOENT;
    }
    if (slot_named(carried, slot)) {
        return -EBUSY;
    }
    datapath_remove(carried->datapath, slot);
    lagg_port_close(port);
    memset(&carried->leases[slot], 0, sizeof carried->leases[slot]);
    return 0;
}

int
carried_drain(struct carried *carried, uint32_t slot, uint32_t set)
{
    const struct lagg_port *port = carried->datapath->ports[slot];

    if (port == NULL || port->rings[set][0].fd < 0) {
        return -ENOENT;
    }
    if (slot_named(carried, slot) && set == rings_live(carried, slot)) {
        return -EBUSY;
    }
    datapath_drain(carried->datapath, slot, set);
    return 0;
}

/* ---- workers ----------------------------------------------------------------------
 */

static void *
carry(void *argument)
{
    const struct worker_thread *thread = argument;
    int error = datapath_run(
        thread->carried->datapath, thread->worker, thread->carried->busy_poll_us);

    assert(error == 0);
    return NULL;
}

static void
wake(const struct carried *carried)
{
    const uint64_t one = 1;

    for (uint32_t i = 0; i < carried->workers_count; i++) {
        /* Can only fail when it is already due to wake. */
        ssize_t written = write(carried->fds.wake[i], &one, sizeof one);

        (void)written;
    }
}

static void
join(struct carried *carried, uint32_t workers)
{
    datapath_stop(carried->datapath);
    wake(carried);
    for (uint32_t i = 0; i < workers; i++) {
        pthread_join(carried->threads[i].id, NULL);
    }
}

/* Whether each port is there that the workers would look for at once. */
static bool
plan_is_mapped(const struct carried *carried)
{
    uint32_t missing = snapshot_live(&carried->datapath->store)->plan.ports;

    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        if (carried->datapath->ports[slot] != NULL) {
            missing &= ~(1u << slot);
        }
    }
    return missing == 0;
}

int
carried_run(struct carried *carried, uint32_t busy_poll_us)
{
    if (carried->running) {
        return -EALREADY;
    }
    if (!plan_is_mapped(carried)) {
        return -ENOENT;
    }
    if (carried->again) {
        datapath_recover(carried->datapath);
        carried->again = false;
    }
    carried->busy_poll_us = busy_poll_us;
    atomic_store(&carried->datapath->stop, false);
    for (uint32_t i = 0; i < carried->workers_count; i++) {
        struct worker_thread *thread = &carried->threads[i];

        thread->carried = carried;
        thread->worker = i;
        if (pthread_create(&thread->id, NULL, carry, thread) != 0) {
            join(carried, i);
            return -EAGAIN;
        }
    }
    carried->running = true;
    return 0;
}

int
carried_stop(struct carried *carried)
{
    if (!carried->running) {
        return -EALREADY;
    }
    join(carried, carried->workers_count);
    carried->running = false;
    return 0;
}
