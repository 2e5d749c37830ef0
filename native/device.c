/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A device: one lagg, with all it owns.
 *
 * Owns the life of its TAP, its workers and its snapshots, and what is read of them.
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
#include <unistd.h>

/* ---- creation ---------------------------------------------------------------------
 */

void *
device_allocate(size_t size, size_t zeroed)
{
    size_t rounded = (size + CACHE_LINE_BYTES - 1) & ~(size_t)(CACHE_LINE_BYTES - 1);
    void *memory = aligned_alloc(CACHE_LINE_BYTES, rounded);

    if (memory != NULL) {
        memset(memory, 0, zeroed);
    }
    return memory;
}

static struct worker *
worker_make(struct lagg_device *device, uint32_t index)
{
    struct worker *worker =
        device_allocate(sizeof *worker, offsetof(struct worker, hold.store));

    if (worker != NULL) {
        worker->index = index;
        worker->store = &device->store;
        worker->stop = &device->stop;
        worker->alert_fd = &device->alert_fd;
        worker->tap_fd = -1;
        worker->wake_fd = -1;
    }
    return worker;
}

static int
worker_open(struct worker *worker, const char *name, uint32_t workers)
{
    worker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (worker->wake_fd < 0) {
        return -errno;
    }
    worker->tap_fd = tap_open(name, workers > 1, worker->index == 0);
    return worker->tap_fd < 0 ? worker->tap_fd : 0;
}

static void
worker_free(struct worker *worker)
{
    if (worker == NULL) {
        return;
    }
    if (worker->tap_fd >= 0) {
        close(worker->tap_fd);
    }
    if (worker->wake_fd >= 0) {
        close(worker->wake_fd);
    }
    free(worker);
}

static void
device_free(struct lagg_device *device)
{
    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        if (device->ports[slot] != NULL) {
            lagg_port_close(device->ports[slot]);
        }
    }
    for (uint32_t i = 0; i < device->workers_count; i++) {
        worker_free(device->workers[i]);
    }
    free(device->drainer);
    free(device);
}

static int
device_open(struct lagg_device *device, const char *name)
{
    for (uint32_t i = 0; i < device->workers_count; i++) {
        int error;

        device->workers[i] = worker_make(device, i);
        if (device->workers[i] == NULL) {
            return -ENOMEM;
        }
        error = worker_open(device->workers[i], name, device->workers_count);
        if (error != 0) {
            return error;
        }
    }
    device->drainer = worker_make(device, device->workers_count);
    if (device->drainer == NULL) {
        return -ENOMEM;
    }
    device->drainer->tap_fd = device->workers[0]->tap_fd;
    return tap_set_carrier(device->workers[0]->tap_fd, false);
}

/* The rest of what a name must be, the kernel checks.  '%' is a pattern to it, by which
 * it would choose a name of its own. */
static bool
name_sound(const char *name)
{
    return name[0] != '\0' && strlen(name) < IFNAMSIZ && strchr(name, '%') == NULL;
}

int
lagg_device_create(const char *name, uint32_t workers, struct lagg_device **out)
{
    struct lagg_device *device;
    int error;

    if (workers < 1 || workers > LAGG_WORKERS_MAX || !name_sound(name)) {
        return -EINVAL;
    }
    device = device_allocate(sizeof *device, sizeof *device);
    if (device == NULL) {
        return -ENOMEM;
    }
    snapshot_store_init(&device->store);
    device->alert_fd = -1;
    device->workers_count = workers;
    error = device_open(device, name);
    if (error != 0) {
        device_free(device);
        return error;
    }
    *out = device;
    return 0;
}

int
lagg_device_destroy(struct lagg_device *device)
{
    for (uint32_t i = 0; i < device->workers_count; i++) {
        if (atomic_load(&device->workers[i]->running)) {
            return -EBUSY;
        }
    }
    device_free(device);
    return 0;
}

int
lagg_device_set_carrier(struct lagg_device *device, int up)
{
    return tap_set_carrier(device->workers[0]->tap_fd, up != 0);
}

/* ---- snapshots --------------------------------------------------------------------
 */

static void
device_wake(struct lagg_device *device)
{
    const uint64_t one = 1;

    for (uint32_t i = 0; i < device->workers_count; i++) {
        /* Can only fail when it is already due to wake. */
        ssize_t written = write(device->workers[i]->wake_fd, &one, sizeof one);

        (void)written;
    }
}

int
lagg_device_publish(
    struct lagg_device *device, const struct lagg_plan *plan, uint64_t *ticket)
{
    int error = snapshot_publish(&device->store, plan, device->ports, ticket);

    if (error != 0) {
        return error;
    }
    for (uint32_t left = plan->ports; left != 0; left &= left - 1) {
        uint32_t slot = (uint32_t)__builtin_ctz(left);

        device->ports[slot]->accepted = plan->rx_accept >> slot & 1;
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
            out->reopened[slot] = port->rings_changed;
            out->ports[slot].rx_frames += port->overruns;
            out->ports[slot].drops[LAGG_DROP_RING_OVERRUN] += port->overruns;
        }
    }
    out->total.rx_in += device->overruns;
    out->total.drops[LAGG_DROP_RING_OVERRUN] += device->overruns;
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
    out->generation = device->store.generation;
    out->xdp = device_xdp_ports(device);
    for (uint32_t i = 0; i < device->workers_count; i++) {
        counts_read(device->workers[i], device->ports, out);
    }
    counts_read(device->drainer, device->ports, out);
    device_add_overruns(device, out);
}

uint64_t
lagg_device_frames(struct lagg_device *device)
{
    uint64_t frames = 0;

    for (uint32_t i = 0; i < device->workers_count; i++) {
        struct counter_bank *counts = &device->workers[i]->counts;

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
    atomic_store(&device->alert_fd, fd);
}

void
lagg_device_buckets(struct lagg_device *device, uint64_t frames[LAGG_BUCKETS])
{
    memset(frames, 0, LAGG_BUCKETS * sizeof frames[0]);
    for (uint32_t i = 0; i < device->workers_count; i++) {
        buckets_sum(&device->workers[i]->buckets, frames);
    }
}

/* ---- workers ----------------------------------------------------------------------
 */

int
lagg_worker_run(struct lagg_device *device, uint32_t index, uint32_t busy_poll_us)
{
    struct worker *worker;

    if (index >= device->workers_count || busy_poll_us > LAGG_BUSY_POLL_US_MAX) {
        return -EINVAL;
    }
    worker = device->workers[index];
    if (atomic_exchange(&worker->running, true)) {
        return -EBUSY;
    }
    worker->pace.busy_poll_ns = busy_poll_us * 1000u;
    worker_loop(worker);
    atomic_store(&worker->running, false);
    return 0;
}

void
lagg_device_stop(struct lagg_device *device)
{
    atomic_store(&device->stop, true);
    device_wake(device);
}
