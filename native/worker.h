/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a worker is made of: shared by worker.c, transmit.c, receive.c and datapath.c.
 *
 * Who may touch a member: as in internal.h.
 */
#ifndef LAGG_WORKER_H
#define LAGG_WORKER_H

#include "port.h"

#include <time.h>

/* Frames of one burst that wait for one port. */
struct queue {
    uint32_t count;
    uint8_t order[BURST_MAX]; /* indices into worker->frames */
};

/* ---- worker.c ---------------------------------------------------------------------
 */

/* Whether somebody waits for frames: when this is not the number of who was told last.
 */
struct alert {
    _Atomic uint32_t wanted; /* (a) grows with each request; by the control thread */
};

/* What outlives the process that runs it, and what others read: of the shared memory
 * that the workers write. */
struct worker_work {
    _Atomic uint32_t sequence; /* (a) odd while counts move; see counter_bank */
    struct counter_bank counts;
    struct turn turn; /* (w) */
    struct buckets buckets;
    struct hold hold;
    struct frame_buffer buffers[BURST_MAX]; /* (w) */
};

struct worker {
    uint32_t index;                     /* (c) also its epoch reader and ring */
    int tap_fd;                         /* (c) */
    int wake_fd;                        /* (c) eventfd */
    const struct snapshot_store *store; /* (c) */
    struct lagg_port *const *ports;     /* (c) by slot; of those that a plan names */
    struct worker_work *work;           /* (c) */
    const struct alert *alert;          /* (c) */
    _Atomic uint32_t *alerted;          /* (c) shared by all workers of a lagg */
    const _Atomic int *alert_fd;        /* (c) -1: there is nobody to be told */
    const _Atomic bool *stop;           /* (c) set by the control thread */
    const _Atomic uint32_t *dark;       /* (c) slots by which nothing can leave */
    _Atomic bool running;               /* (a) a thread is inside lagg_worker_run() */
    struct pace pace;                   /* (w) */
    struct tally tally;                 /* (w) */
    uint64_t poll_generation; /* (w) the snapshot that 'poll_fds' was made from */
    uint32_t poll_count;      /* (w) */
    bool errors_pending;      /* (w) poll(2) saw POLLERR: look at every port */
    bool tap_gone;            /* (w) */
    int poll_fds[2 + LAGG_PORTS_MAX]; /* (w) */
    struct queue queues[LAGG_PORTS_MAX];
    uint32_t queues_used;        /* (w) bit s: queues[s] is not empty */
    struct queue waiting;        /* (w) frames of the burst that the plan holds */
    uint16_t indices[BURST_MAX]; /* (w) of frames[i] into tx_slots */
    struct frame frames[BURST_MAX];
};

/* One iteration: a burst from the TAP, a burst from every port.  Never blocks.  Returns
 * the number of frames moved.  C tests call it once and look. */
uint32_t worker_poll(struct worker *worker);

/* Iterates until '*worker->stop', sleeping in poll(2) while there is nothing to do. */
void worker_loop(struct worker *worker);

/* A burst from the TAP to the ports.  Inside a section of the epoch, as the next. */
uint32_t transmit_burst(struct worker *worker, const struct snapshot *snap);

/* A burst from this worker's ring of every port to the TAP.  None, while they are left
 * to fill and the worker is 'busy' with other frames. */
uint32_t receive_burst(struct worker *worker, const struct snapshot *snap, bool busy);

/* Delivers what a ring of the port at 'slot' holds, up to a burst; returns how many. */
uint32_t receive_ring(struct worker *worker, const struct lagg_plan *plan,
    uint32_t slot, struct ring *ring);

/* What paces the worker: see pace.c. */
static inline uint64_t
clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- counts.c ---------------------------------------------------------------------
 */

/* Adds what was counted since the last call to the published counters. */
void counts_publish(struct worker *worker);

/* Adds what the worker 'index' published to '*out', all of it at one instant; for the
 * control thread.  'ports': by slot, NULL where there is none. */
void counts_read(struct worker_work *work, uint32_t index,
    struct lagg_port *const ports[], struct lagg_reading *out);

/* Into the tally, which is private until published. */

static inline void
count(struct worker *worker, uint32_t counter, uint64_t value)
{
    worker->tally.total[counter] += value;
    worker->tally.touched = true;
}

static inline void
count_port(struct worker *worker, uint32_t slot, uint32_t counter, uint64_t value)
{
    worker->tally.ports[slot][counter] += value;
    worker->tally.ports_touched |= 1u << slot;
}

static inline void
count_drop(struct worker *worker, uint32_t reason, uint64_t frames)
{
    count(worker, COUNTER_DROPS + reason, frames);
}

static inline void
count_port_drop(struct worker *worker, uint32_t slot, uint32_t reason, uint64_t frames)
{
    count_drop(worker, reason, frames);
    count_port(worker, slot, COUNTER_DROPS + reason, frames);
}

#endif
