/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A worker's journal: what its process was at when it died, and how another goes on.
 *
 * Owns the record of the burst under way, and what recovery makes of it and of the
 * rings' entries.  Knows plans by nothing but the slots that frames were queued for.
 *
 * The theory.  An iteration changes three things that others see: frames leave, frames
 * come in, and counts are published.  The last is its commit: with the sequence's step
 * to an even number all of it is done, and the records of it, which bear the number
 * before (+ 1, for 0 says nothing), are void.  Until then nothing is given up of which
 * the counts can be made again: the burst's buffers and queues stay, and so do the
 * entries of the rings.  So recovery has three cases.  The sequence is odd: the tally
 * is complete, and is published once more, which changes nothing that it changed
 * before. It is even and a record bears it: the tally is thrown away and counted anew,
 * from the records.  Else there is nothing to do.  In each case it ends in a
 * publication, whatever it did before can be done again, and a death within it is one
 * before it.
 *
 * What has left: 'done' of each queue is stored after a call, and what a call that was
 * under way did, the kernel tells: sendmmsg(2) wrote the length of each message that it
 * sent, and is never cut short by a signal; AF_XDP says how many of its entries it met
 * once they are spoiled; an entry of a transmit ring changed its state.  What has come
 * in is marked in its entry after the write(2); that of the frame under way is not
 * known, and so this one may come twice.  A frame that read(2) gave and of which the
 * size was not stored yet is lost, and known by its buffer.
 *
 * What has not left goes into the hold, in its order, behind what the hold kept before
 * and in front of what the TAP still has; there the next worker looks first, under
 * whatever plan is live by then.  Broadcast's frames go with the slots that had their
 * copy.  What the burst itself took from the hold or put there is undone before, by the
 * place that it found.
 *
 * The records were written by another process, which may have been anything: each index
 * is looked at before it is used.
 */
#include "worker.h"

#include <string.h>

/* ---- while it lives ---------------------------------------------------------------
 */

static void
queues_clear(struct worker *worker)
{
    for (uint32_t left = worker->queues_begun; left != 0; left &= left - 1) {
        struct queue *queue = &worker->work->burst.queues[__builtin_ctz(left)];

        queue->count = queue->done = 0;
        memset(queue->dropped, 0, sizeof queue->dropped);
    }
    worker->queues_begun = 0;
}

void
journal_clear(struct worker *worker)
{
    struct burst *burst = &worker->work->burst;

    burst->stamp = 0;
    in_order();
    atomic_store_explicit(&burst->call.what, CALL_NONE, memory_order_relaxed);
    queues_clear(worker);
    burst->oversize = 0;
    memset(burst->sizes, 0, sizeof burst->sizes);
}

void
journal_open(struct worker *worker, bool again, uint32_t next)
{
    struct worker_work *work = worker->work;

    if (!again) {
        buffer_clear(&work->buffers[0]);
    }
    work->burst.again = again;
    work->burst.hold = work->hold.place;
    work->burst.hold.next = next;
    in_order();
    work->burst.stamp = journal_stamp(worker);
    in_order();
    work->hold.place.next = next;
}

/* ---- what left --------------------------------------------------------------------
 */

/* What the records come to. */
struct found {
    uint32_t frames;
    uint32_t had[BURST_MAX]; /* by frame: slots that have had it, or never will */
    bool pending[BURST_MAX]; /* a queue still has it */
};

static uint32_t
frames_read(const struct burst *burst)
{
    uint32_t frames = 0;

    while (frames < BURST_MAX && burst->sizes[frames] > 0 &&
           burst->sizes[frames] < HEAD_BYTES + REST_BYTES) {
        frames++;
    }
    return frames;
}

static void
queues_mend(struct burst *burst)
{
    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        struct queue *queue = &burst->queues[slot];

        queue->count = queue->count < BURST_MAX ? queue->count : BURST_MAX;
        queue->done = queue->done < queue->count ? queue->done : queue->count;
    }
}

/* Of those that nobody can tell of none may leave twice. */
static uint32_t
xdp_sent(struct xdp *xdp, struct queue *queue)
{
    uint32_t put;
    int taken = xdp_settle(xdp, &put);

    for (uint32_t i = 0; taken < 0 && i < put && queue->done + i < queue->count; i++) {
        queue->dropped[queue->done + i] = 1 + LAGG_DROP_TX_DOWN;
    }
    in_order();
    return taken < 0 ? put : (uint32_t)taken;
}

static bool
txring_sent(const struct worker *worker, struct lagg_port *port, uint32_t entry)
{
    return worker->index < port->rings_count &&
           port->txrings[worker->index].map != NULL &&
           txring_settle(&port->txrings[worker->index], entry);
}

/* Settles a call that ended as soon as 'done' moved.  Returns how many it sent. */
static uint32_t
call_sent(const struct worker *worker, struct lagg_port *port, uint32_t what,
    struct queue *queue)
{
    switch (what & 0xff) {
    case CALL_XDP:
        return port->xdp.chunks != NULL ? xdp_sent(&port->xdp, queue) : 0;
    case CALL_LONG:
        return txring_sent(worker, port, what >> 24);
    default:
        return 0;
    }
}

static void
call_settle(const struct worker *worker)
{
    struct burst *burst = &worker->work->burst;
    uint32_t what = atomic_load(&burst->call.what);
    uint32_t slot = what >> 8 & 0xff, from = what >> 16 & 0xff, end = from;
    struct queue *queue;

    if (slot >= LAGG_PORTS_MAX) {
        return;
    }
    queue = &burst->queues[slot];
    if ((what & 0xff) == CALL_MESSAGES) {
        end += packet_sent(&burst->call);
    } else if (queue->done == from && worker->ports[slot] != NULL) {
        end += call_sent(worker, worker->ports[slot], what, queue);
    }
    if (end > queue->done) {
        queue->done = end < queue->count ? end : queue->count;
    }
}

static void
recount_copy(
    struct worker *worker, uint32_t slot, const struct queue *queue, uint32_t place)
{
    uint32_t why = queue->dropped[place];

    count(worker, COUNTER_TX_IN, 1);
    if (why == 0) {
        count(worker, COUNTER_TX_OUT, 1);
        count_port(worker, slot, PORT_TX_FRAMES, 1);
        count_port(worker, slot, PORT_TX_BYTES,
            worker->work->burst.sizes[queue->order[place]] - VNET_BYTES);
    } else {
        count_port_drop(worker, slot, why <= LAGG_DROP_COUNT ? why - 1 : 0, 1);
    }
}

static void
recount_queue(struct worker *worker, uint32_t slot, struct found *found)
{
    const struct queue *queue = &worker->work->burst.queues[slot];

    for (uint32_t i = 0; i < queue->count; i++) {
        uint32_t frame = queue->order[i];

        if (frame >= found->frames || queue->dropped[i] == QUEUE_MOVED) {
            continue;
        }
        if (i < queue->done) {
            recount_copy(worker, slot, queue, i);
            found->had[frame] |= 1u << slot;
        } else {
            found->pending[frame] = true;
        }
    }
}

/* What was read and is in no queue. */
static void
recount_reads(struct worker *worker, uint32_t frames)
{
    const struct burst *burst = &worker->work->burst;
    bool one_more = !burst->again && frames < BURST_MAX &&
                    !buffer_is_clear(&worker->work->buffers[frames]);

    count(worker, COUNTER_TX_IN, burst->oversize + one_more);
    count_drop(worker, LAGG_DROP_OVERSIZE, burst->oversize);
    count_drop(worker, LAGG_DROP_WORKER_DIED, one_more);
}

/* Under another number than any plan's, so that the next worker looks at all of it. */
static void
hold_again(struct worker *worker, const struct found *found)
{
    struct worker_work *work = worker->work;
    const struct burst *burst = &work->burst;

    work->hold.place = burst->hold;
    hold_mend(&work->hold);
    for (uint32_t i = 0; i < found->frames; i++) {
        struct frame frame = buffer_frame(&work->buffers[i], burst->sizes[i]);
        uint32_t before = burst->again ? burst->had[i] : 0;

        if (found->had[i] != 0 && !found->pending[i]) {
            continue; /* all is over with it */
        }
        if (burst->sizes[i] < VNET_BYTES) {
            count(worker, COUNTER_TX_IN, 1);
            count_drop(worker, LAGG_DROP_RUNT, 1);
        } else if (!hold_put(&work->hold, &frame, before | found->had[i],
                       sizeof work->hold.store)) {
            count(worker, COUNTER_TX_IN, 1);
            count_drop(worker, LAGG_DROP_HOLD_FULL, 1);
        }
    }
    hold_rewind(&work->hold, 0);
}

static void
recount_burst(struct worker *worker)
{
    struct burst *burst = &worker->work->burst;
    struct found found = {.frames = frames_read(burst)};

    queues_mend(burst);
    call_settle(worker);
    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        recount_queue(worker, slot, &found);
    }
    recount_reads(worker, found.frames);
    hold_again(worker, &found);
}

/* ---- what came in -----------------------------------------------------------------
 */

static void
recount_entry(struct worker *worker, uint32_t slot, uint32_t fate, uint32_t bytes)
{
    bool lost = fate >= RING_LOST;
    uint32_t reason = fate - (lost ? RING_LOST : RING_DROPPED);

    count(worker, COUNTER_RX_IN, 1);
    count_port(worker, slot, PORT_RX_FRAMES, 1);
    count_port(worker, slot, PORT_RX_BYTES, lost ? 0 : bytes);
    if (fate == RING_DELIVERED) {
        count(worker, COUNTER_RX_OUT, 1);
    } else {
        count_port_drop(worker, slot, reason < LAGG_DROP_COUNT ? reason : 0, 1);
    }
}

static void
recount_ring(struct worker *worker, uint32_t slot, struct ring *ring)
{
    uint32_t fate, bytes;

    if (ring->map == NULL || ring->place->reader != worker->index ||
        ring->place->stamp != journal_stamp(worker)) {
        return;
    }
    for (uint32_t i = 0; i < BURST_MAX; i++) {
        fate = ring_fate(ring, i, &bytes);
        if (fate != RING_UNDECIDED) {
            recount_entry(worker, slot, fate, bytes);
        }
    }
    ring_rescue(ring, &worker->work->buffers[BURST_MAX]);
}

static void
recount_rings(struct worker *worker)
{
    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        struct lagg_port *port = worker->ports[slot];

        for (uint32_t i = 0; port != NULL && i < 2 * port->rings_count; i++) {
            recount_ring(worker, slot, &port->rings[i % 2][i / 2]);
        }
    }
}

/* ---- all of it --------------------------------------------------------------------
 */

void
journal_recover(struct worker *worker)
{
    struct worker_work *work = worker->work;
    bool publishing = atomic_load(&work->sequence) & 1;

    if (!publishing) {
        counts_rewind(worker);
        recount_rings(worker);
        if (work->burst.stamp == journal_stamp(worker)) {
            recount_burst(worker);
        } else {
            hold_mend(&work->hold);
        }
    }
    counts_touch(worker);
    counts_publish(worker);
}
