/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A device: the half of a lagg that decides.
 *
 * Owns the life of its TAP, its memories and its snapshots, and what is read of them.
 * The public functions of lagg.h; all but lagg_worker_run() are for the control thread
 * alone.
 */
#include "device.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

/* ---- creation ---------------------------------------------------------------------
 */

static void
close_open(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

static void
device_close_fds(const struct lagg_device *device)
{
    for (uint32_t i = 0; i < LAGG_WORKERS_MAX; i++) {
        close_open(device->fds.tap[i]);
        close_open(device->fds.wake[i]);
    }
    close_open(device->fds.plans);
    close_open(device->fds.work);
}

static void
device_free(struct lagg_device *device)
{
    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        if (device->ports[slot] != NULL) {
            lagg_port_close(device->ports[slot]);
        }
    }
    memory_unmap(device->plans, plans_bytes());
    memory_unmap(device->work, work_bytes(device->workers_count));
    free(device);
}

static struct lagg_device *
device_make(void)
{
    struct lagg_device *device = memory_allocate(sizeof *device, sizeof *device);

    if (device != NULL) {
        memset(&device->fds, -1, sizeof device->fds);
    }
    return device;
}

static int
device_map(struct lagg_device *device, uint32_t where)
{
    size_t bytes = work_bytes(device->workers_count);

    device->plans = memory_map(device->fds.plans, plans_bytes(), true);
    device->work = memory_map(device->fds.work, bytes, where == LAGG_INSIDE);
    if (device->plans == NULL || device->work == NULL) {
        return -ENOMEM;
    }
    device->store = snapshot_store_of(&device->plans->pool, device->work->readers);
    return 0;
}

/* The memory that another process writes need not be writable for us, so its beginning
 * is written as to a file; all else of it begins as 0. */
static int
device_make_work(struct lagg_device *device, const struct layout *layout)
{
    device->fds.work = memory_make("lagg-work", work_bytes(device->workers_count));
    if (device->fds.work < 0) {
        return device->fds.work;
    }
    return pwrite(device->fds.work, layout, sizeof *layout, 0) == sizeof *layout
               ? 0
               : -ENOMEM;
}

/* Nobody who sends frames may know which are taken for alike. */
static int
draw_key(uint64_t key[DEDUP_KEY_WORDS])
{
    const size_t bytes = DEDUP_KEY_WORDS * sizeof key[0];

    return getrandom(key, bytes, 0) == (ssize_t)bytes ? 0 : -EIO;
}

static int
device_make_memory(struct lagg_device *device, uint32_t where)
{
    struct layout layout;
    int error;

    device->fds.plans = memory_make("lagg-plans", plans_bytes());
    if (device->fds.plans < 0) {
        return device->fds.plans;
    }
    layout_write(&layout, device->workers_count);
    error = device_make_work(device, &layout);
    if (error == 0) {
        error = device_map(device, where);
    }
    if (error == 0) {
        device->plans->layout = layout;
        snapshot_store_init(&device->store);
        error = draw_key(device->plans->dedup_key);
    }
    return error;
}

/* One for each worker. */
static int
device_open_fds(struct lagg_device *device, const char *name)
{
    for (uint32_t i = 0; i < device->workers_count; i++) {
        int *tap = &device->fds.tap[i], *wake = &device->fds.wake[i];

        *wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (*wake < 0) {
            return -errno;
        }
        *tap = tap_open(name, device->workers_count > 1, i == 0);
        if (*tap < 0) {
            return *tap;
        }
    }
    return tap_set_carrier(device->fds.tap[0], false);
}

static int
device_carry(struct lagg_device *device, uint32_t where)
{
    return where == LAGG_APART ? 0
                               : datapath_open(device->plans, device->work,
                                     &device->fds, &device->datapath);
}

/* The rest of what a name must be, the kernel checks.  '%' is a pattern to it, by which
 * it would choose a name of its own. */
static bool
name_sound(const char *name)
{
    return name[0] != '\0' && strlen(name) < IFNAMSIZ && strchr(name, '%') == NULL;
}

int
lagg_device_create(
    const char *name, uint32_t workers, uint32_t where, struct lagg_device **out)
{
    struct lagg_device *device;
    int error;

    if (workers < 1 || workers > LAGG_WORKERS_MAX || where >= LAGG_WHERE_COUNT ||
        !name_sound(name)) {
        return -EINVAL;
    }
    device = device_make();
    if (device == NULL) {
        return -ENOMEM;
    }
    device->workers_count = workers;
    if ((error = device_make_memory(device, where)) != 0 ||
        (error = device_open_fds(device, name)) != 0 ||
        (error = device_carry(device, where)) != 0) {
        device_close_fds(device);
        device_free(device);
        return error;
    }
    *out = device;
    return 0;
}

/* ---- of another process -----------------------------------------------------------
 */

/* How many workers the memories are for; 0 when they are none of ours. */
static uint32_t
memories_workers(const struct lagg_device_fds *fds)
{
    struct layout layout;

    if (!memory_is_sound(fds->plans, plans_bytes()) ||
        pread(fds->work, &layout, sizeof layout, 0) != sizeof layout ||
        layout.workers < 1 || layout.workers > LAGG_WORKERS_MAX ||
        !memory_is_sound(fds->work, work_bytes(layout.workers))) {
        return 0;
    }
    return layout.workers;
}

/* All of one TAP, or of one that somebody has deleted: it has no name. */
static bool
queues_are_there(const struct lagg_device_fds *fds, uint32_t workers)
{
    char name[IFNAMSIZ] = "", other[IFNAMSIZ] = "";
    int first = tap_name(fds->tap[0], name);
    bool there = first == 0 || first == -EBADFD;

    for (uint32_t i = 0; i < workers; i++) {
        there = there && tap_name(fds->tap[i], other) == first &&
                strcmp(name, other) == 0 && fds->wake[i] >= 0;
    }
    return there;
}

static int
device_take(struct lagg_device *device, uint32_t where)
{
    int error = device_map(device, where);

    if (error != 0) {
        return error;
    }
    if (layout_check(device->plans, device->work) != 0 ||
        device->plans->layout.workers != device->workers_count) {
        return -EPROTO;
    }
    error = snapshot_store_adopt(&device->store);
    return error != 0 ? error : device_carry(device, where);
}

int
lagg_device_adopt(
    const struct lagg_device_fds *fds, uint32_t where, struct lagg_device **out)
{
    uint32_t workers = memories_workers(fds);
    struct lagg_device *device;
    int error;

    if (where >= LAGG_WHERE_COUNT) {
        return -EINVAL;
    }
    if (workers == 0 || !queues_are_there(fds, workers)) {
        return -EPROTO;
    }
    device = device_make();
    if (device == NULL) {
        return -ENOMEM;
    }
    device->workers_count = workers;
    device->fds = *fds;
    error = device_take(device, where);
    if (error != 0) {
        device_free(device);
        return error;
    }
    *out = device;
    return 0;
}

void
lagg_device_fds(const struct lagg_device *device, struct lagg_device_fds *fds)
{
    *fds = device->fds;
}

int
lagg_device_destroy(struct lagg_device *device)
{
    int error = device->datapath == NULL ? 0 : datapath_close(device->datapath);

    if (error == 0) {
        device_close_fds(device);
        device_free(device);
    }
    return error;
}

int
lagg_device_set_carrier(struct lagg_device *device, int up)
{
    return tap_set_carrier(device->fds.tap[0], up != 0);
}

/* ---- snapshots --------------------------------------------------------------------
 */

static void
device_wake(struct lagg_device *device)
{
    const uint64_t one = 1;

    for (uint32_t i = 0; i < device->workers_count; i++) {
        /* Can only fail when it is already due to wake. */
        ssize_t written = write(device->fds.wake[i], &one, sizeof one);

        (void)written;
    }
}

/* A bit for each slot that has a port. */
static uint32_t
device_open_slots(const struct lagg_device *device)
{
    uint32_t slots = 0;

    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        slots |= (uint32_t)(device->ports[slot] != NULL) << slot;
    }
    return slots;
}

int
lagg_device_publish(
    struct lagg_device *device, const struct lagg_plan *plan, uint64_t *ticket)
{
    int error =
        snapshot_publish(&device->store, plan, device_open_slots(device), ticket);

    if (error != 0) {
        return error;
    }
    for (uint32_t left = plan->ports; left != 0; left &= left - 1) {
        uint32_t slot = (uint32_t)__builtin_ctz(left);

        device->ports[slot]->wish->accepted =
            (plan->rx_accept | plan->rx_once) >> slot & 1;
        device->ports[slot]->wish->once = plan->rx_once >> slot & 1;
    }
    device_wake(device);
    return 0;
}

int
lagg_device_reclaim(struct lagg_device *device)
{
    return snapshot_reclaim(&device->store);
}

int
lagg_device_passed(struct lagg_device *device, uint64_t ticket, uint32_t *worker)
{
    return epoch_passed(&device->store.epoch, ticket, worker);
}

/* ---- counters ---------------------------------------------------------------------
 */

/* What the kernel dropped for want of a ring entry was meant for us: in, and dropped.
 */
static void
device_add_overruns(struct lagg_device *device, struct lagg_reading *out)
{
    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        struct lagg_port *port = device->ports[slot];

        if (port != NULL) {
            roster_take_overruns(device, port);
            out->reopened[slot] = port->wish->changed;
            out->ports[slot].rx_frames += port->wish->overruns;
            out->ports[slot].drops[LAGG_DROP_RING_OVERRUN] += port->wish->overruns;
        }
    }
    out->total.rx_in += device->plans->overruns;
    out->total.drops[LAGG_DROP_RING_OVERRUN] += device->plans->overruns;
}

/* While a worker's are between two states, because its process has died, all are as
 * they were before. */
static void
device_read_counts(struct lagg_device *device, struct lagg_reading *out)
{
    bool whole = true;

    for (uint32_t i = 0; i <= device->workers_count; i++) { /* and the drainer */
        whole = whole && counts_read(&device->work->workers[i], i, device->ports, out);
    }
    if (whole) {
        device->last = *out;
        return;
    }
    out->total = device->last.total;
    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        out->ports[slot] = device->ports[slot] == NULL ? (struct lagg_port_counters){0}
                                                       : device->last.ports[slot];
    }
}

static uint32_t
device_xdp_ports(const struct lagg_device *device)
{
    uint32_t ports = 0;

    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        const struct lagg_port *port = device->ports[slot];

        ports |= (uint32_t)(port != NULL && port_uses_xdp(port)) << slot;
    }
    return ports;
}

void
lagg_device_read(struct lagg_device *device, struct lagg_reading *out)
{
    memset(out, 0, sizeof *out);
    out->generation = device->store.pool->generation;
    out->xdp = device_xdp_ports(device);
    device_read_counts(device, out);
    device_add_overruns(device, out);
}

uint64_t
lagg_device_frames(struct lagg_device *device)
{
    uint64_t frames = 0;

    for (uint32_t i = 0; i < device->workers_count; i++) {
        struct counter_bank *counts = &device->work->workers[i].counts;

        frames +=
            atomic_load_explicit(&counts->values[COUNTER_TX_IN], memory_order_relaxed);
        frames +=
            atomic_load_explicit(&counts->values[COUNTER_RX_IN], memory_order_relaxed);
    }
    return frames;
}

void
lagg_device_alert(struct lagg_device *device, int fd)
{
    struct alert *alert = &device->plans->alert;
    uint32_t told = atomic_load(&device->work->alerted);

    if (device->datapath != NULL) {
        atomic_store(&device->datapath->alert_fd, fd);
    }
    atomic_store(&alert->wanted, fd >= 0 ? told + 1 : told);
}

void
lagg_device_buckets(
    struct lagg_device *device, struct lagg_bucket buckets[LAGG_BUCKETS])
{
    memset(buckets, 0, LAGG_BUCKETS * sizeof buckets[0]);
    for (uint32_t i = 0; i < device->workers_count; i++) {
        buckets_sum(&device->work->workers[i].buckets, buckets);
    }
}

/* ---- workers ----------------------------------------------------------------------
 */

int
lagg_worker_run(struct lagg_device *device, uint32_t index, uint32_t busy_poll_us)
{
    return device->datapath == NULL
               ? -EINVAL
               : datapath_run(device->datapath, index, busy_poll_us);
}

void
lagg_device_stop(struct lagg_device *device)
{
    if (device->datapath != NULL) {
        datapath_stop(device->datapath);
        device_wake(device);
    }
}
