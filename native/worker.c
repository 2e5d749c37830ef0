/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A worker: carries frames between one TAP queue and the ports of the live snapshot.
 *
 * Owns one iteration and the loop around it.  Allocates nothing, takes no lock.
 *
 * An iteration enters the epoch, loads the snapshot once, sends one burst from the TAP,
 * receives one burst from each port's ring, publishes the counts and leaves.  All that
 * it decides comes from that one snapshot, so a change of ports or protocol takes
 * effect between two bursts and never within one.  A grace period is therefore as long
 * as the longest iteration: every part of it has a bound and none waits for a peer.
 *
 * Only an iteration that moved nothing lets the worker sleep, and it sleeps outside the
 * epoch: a sleeping worker delays no grace period.  The descriptors that it sleeps on
 * are those of the snapshot it saw last; each publication writes to the wake eventfd,
 * so that a worker asleep under an old snapshot sees the new one at once.
 */
#include "worker.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { POLL_WAKE, POLL_TAP, POLL_PORTS };

/* Descriptors, not ports, outlive the section: a stale one costs a wake-up, no more,
 * because every publication wakes the worker before anything is closed. */
static void
poll_prepare(struct worker *worker, const struct snapshot *snap)
{
    if (worker->poll_count != 0 && worker->poll_generation == snap->generation) {
        return;
    }
    worker->poll_generation = snap->generation;
    worker->poll_fds[POLL_WAKE] = worker->wake_fd;
    worker->poll_fds[POLL_TAP] = worker->tap_fd;
    worker->poll_count = POLL_PORTS;
    for (uint32_t left = snap->plan.ports; left != 0; left &= left - 1) {
        uint32_t slot = (uint32_t)__builtin_ctz(left);

        worker->poll_fds[worker->poll_count++] =
            port_ring(worker->ports[slot], worker->index)->fd;
    }
}

uint32_t
worker_poll(struct worker *worker)
{
    const struct snapshot *snap = snapshot_enter(worker->store, worker->index);
    uint32_t frames = transmit_burst(worker, snap);

    frames += receive_burst(worker, snap, frames > 0);

    counts_publish(worker);
    receive_release(worker);
    poll_prepare(worker, snap);
    snapshot_leave(worker->store, worker->index);
    return frames;
}

static void
worker_wait(struct worker *worker)
{
    struct pollfd fds[2 + LAGG_PORTS_MAX];
    uint64_t wakes;

    for (uint32_t i = 0; i < worker->poll_count; i++) {
        fds[i] = (struct pollfd){.fd = worker->poll_fds[i], .events = POLLIN};
    }
    if (worker->tap_gone) {
        fds[POLL_TAP].fd = -1; /* poll(2) skips it; it would report POLLERR for ever */
    }
    if (poll(fds, worker->poll_count, -1) <= 0) {
        return;
    }
    if (fds[POLL_WAKE].revents != 0 &&
        read(worker->wake_fd, &wakes, sizeof wakes) < 0) {
        return; /* another wake took it */
    }
    for (uint32_t i = POLL_PORTS; i < worker->poll_count; i++) {
        worker->errors_pending |= fds[i].revents & POLLERR;
    }
}

static bool
worker_stopped(const struct worker *worker)
{
    return atomic_load_explicit(worker->stop, memory_order_acquire);
}

/* Frames have come: whoever waits for that is told, by one of the workers. */
static void
worker_alert(const struct worker *worker)
{
    const uint64_t once = 1;
    /* Relaxed: most bursts find that nobody waits, and the next one finds who does. */
    uint32_t wanted =
        atomic_load_explicit(&worker->alert->wanted, memory_order_relaxed);
    uint32_t told = atomic_load_explicit(worker->alerted, memory_order_relaxed);

    if (told == wanted ||
        !atomic_compare_exchange_strong(worker->alerted, &told, wanted)) {
        return;
    }
    if (write(atomic_load(worker->alert_fd), &once, sizeof once) < 0) {
        return; /* it was told before, and has not looked yet */
    }
}

/* The loop behind lagg_worker_run(), which device.c finds the worker for. */
void
worker_loop(struct worker *worker)
{
    while (!worker_stopped(worker)) {
        if (worker_poll(worker) > 0) {
            pace_moved(&worker->pace, clock_ns());
            worker_alert(worker);
        } else if (pace_busy_polls(&worker->pace, clock_ns())) {
            sched_yield(); /* whoever is to answer may be waiting for this CPU */
        } else if (!worker_stopped(worker)) {
            worker_wait(worker);
        }
    }
}
