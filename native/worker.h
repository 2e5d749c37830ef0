/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a worker is made of: shared by worker.c, counts.c, transmit.c, receive.c,
 * journal.c and datapath.c.
 *
 * Who may touch a member: as in internal.h.
 */
#ifndef LAGG_WORKER_H
#define LAGG_WORKER_H

#include "dedup.h"
#include "port.h"

#include <time.h>

/* ---- worker.c ---------------------------------------------------------------------
 */

/* Whether somebody waits for frames: when this is not the number of who was told last.
 */
struct alert {
    _Atomic uint32_t wanted; /* (a) grows with each request; by the control thread */
};

enum { QUEUE_MOVED = 255 }; /* 'dropped' of a frame that another queue has since */

/* What an iteration took to send, and what became of it: see journal.c.  Another
 * process may have left any value in it, and few are those that a bool may have. */
struct burst {
    uint32_t stamp; /* (w) the sequence it is counted under, + 1; 0 while it is made */
    uint8_t again;  /* (w) not 0: its frames are from the hold, not from the TAP */
    uint32_t oversize;         /* (w) frames that were too long for a buffer */
    uint32_t sizes[BURST_MAX]; /* (w) of buffers[i]; 0 from the first that is none */
    uint32_t had[BURST_MAX];   /* (w) by frame, of the hold: slots that have had it */
    struct hold_place hold;    /* (w) without what it took from the hold, or put */
    struct queue queues[LAGG_PORTS_MAX]; /* by slot */
    struct sending call;
};

/* What outlives the process that runs it, and what others read: of the shared memory
 * that the workers write. */
struct worker_work {
    _Atomic uint32_t sequence; /* (a) odd while counts move; see counter_bank */
    struct counter_bank counts;
    struct tally tally; /* (w) */
    struct turn turn;   /* (w) */
    struct buckets buckets;
    struct burst burst;
    struct dedup dedup;
    struct hold hold;
    /* (w) The burst's; then two for what came in and is larger than a ring's entry: the
     * one in hand, and one that was in the hand of a process that died. */
    struct frame_buffer buffers[BURST_MAX + 2];
};

/* Frames of a burst, by index. */
struct frames_waiting {
    uint32_t count;
    uint8_t order[BURST_MAX];
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
    const uint64_t *dedup_key;          /* (c) */
    struct dedup *dedup;                /* (w) of the rings that are read */
    uint32_t window;                    /* (w) that now is in, while it has the turn */
    _Atomic bool running;               /* (a) a thread is inside lagg_worker_run() */
    struct pace pace;                   /* (w) */
    uint32_t ports_touched;             /* (w) bit s: its counts are not published */
    bool touched;                       /* (w) any are */
    uint64_t poll_generation; /* (w) the snapshot that 'poll_fds' was made from */
    uint32_t poll_count;      /* (w) */
    bool errors_pending;      /* (w) poll(2) saw POLLERR: look at every port */
    bool tap_gone;            /* (w) */
    int poll_fds[2 + LAGG_PORTS_MAX]; /* (w) */
    uint32_t queues_used;             /* (w) bit s: frames wait in queue s */
    uint32_t queues_begun;            /* (w) bit s: queue s is not as new */
    struct frames_waiting waiting;    /* (w) frames of the burst that the plan holds */
    uint16_t indices[BURST_MAX];      /* (w) of frames[i] into tx_slots */
    struct frame frames[BURST_MAX];
    uint32_t read_count;               /* (w) */
    struct ring *read[LAGG_PORTS_MAX]; /* (w) in this iteration, and not given back */
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

/* Around receive_ring() under 'plan'.  False: not now, for somebody else has the turn
 * to look what came before. */
bool receive_begin(struct worker *worker, const struct lagg_plan *plan);
void receive_end(struct worker *worker, const struct lagg_plan *plan);

/* Delivers what a ring of the port at 'slot' holds, up to a burst; returns how many. */
uint32_t receive_ring(struct worker *worker, const struct lagg_plan *plan,
    uint32_t slot, struct ring *ring);

/* Gives back to the kernel what was received, once it is counted. */
void receive_release(struct worker *worker);

/* What paces the worker: see pace.c. */
static inline uint64_t
clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- journal.c --------------------------------------------------------------------
 */

/* A worker's process has died, wherever that was: all that it did is counted, and what
 * it had taken to send and had not sent is the first thing to be sent.  The rings are
 * to be recovered after it.  'worker' is the next one, which has not run yet. */
void journal_recover(struct worker *worker);

/* What bears it is counted with the next publication. */
static inline uint32_t
journal_stamp(const struct worker *worker)
{
    return atomic_load_explicit(&worker->work->sequence, memory_order_relaxed) + 1;
}

/* The burst's record is an empty one, and not to be looked at. */
void journal_clear(struct worker *worker);

/* From here on what it says holds.  'next': as far as frames were taken from the hold;
 * 'again': they are the burst. */
void journal_open(struct worker *worker, bool again, uint32_t next);

/* ---- counts.c ---------------------------------------------------------------------
 */

/* Publishes what was counted, if there is anything new. */
void counts_publish(struct worker *worker);

/* The tally is what was published last, of the ports there are; and all of it is to be
 * published again. */
void counts_rewind(struct worker *worker);
void counts_touch(struct worker *worker);

/* Adds what the worker 'index' published to '*out', all of it at one instant; for the
 * control thread.  'ports': by slot, NULL where there is none.  False when its process
 * seems to have died, and counts have to be mended first. */
bool counts_read(struct worker_work *work, uint32_t index,
    struct lagg_port *const ports[], struct lagg_reading *out);

/* Into the tally. */

static inline void
count(struct worker *worker, uint32_t counter, uint64_t value)
{
    worker->work->tally.total[counter] += value;
    worker->touched = true;
}

static inline void
count_port(struct worker *worker, uint32_t slot, uint32_t counter, uint64_t value)
{
    worker->work->tally.ports[slot][counter] += value;
    worker->ports_touched |= 1u << slot;
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
