/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Transmit: the frames of one TAP queue to the ports that the plan names.
 *
 * Owns the burst from TAP to ports.  Every frame leaves, waits in the hold, or is
 * counted by its reason.
 *
 * Three passes.  Each frame gets an index into the plan's table, unless a copy goes to
 * all; the table says the slot, and the frame is queued for it.  Then each slot's queue
 * is sent in one go.  Last, frames whose flow waits for a marker are put into the hold:
 * they may overwrite the memory that the burst's other frames were read into.
 *
 * What can go wrong with a queue has three answers.  A port that is down passes what is
 * left of its queue on to the next usable slot of each frame's entry: those queues are
 * sent again, and a slot found dead is not tried twice, so that this ends.  A port that
 * is full is left until no other queue waits, and then tried a bounded number of times:
 * a slow port does not delay the others.  A frame that alone is refused is counted, and
 * those behind it go on.
 *
 * The order within a flow is kept: a flow has one slot under one plan, and a queue is
 * sent from its front.
 */
#include "worker.h"

#include <errno.h>

enum { SEND_TRIES = 15 /* of a full port's first frame, after it was refused once */ };

static void
queue_frame(struct worker *worker, uint32_t slot, uint32_t frame)
{
    struct queue *queue = &worker->queues[slot];

    assert(queue->count < BURST_MAX);
    queue->order[queue->count++] = (uint8_t)frame;
    worker->queues_used |= 1u << slot;
}

static void
distribute_all(struct worker *worker, const struct lagg_plan *plan, uint32_t frame)
{
    count(worker, COUNTER_TX_IN, plan->tx_slots_count);
    for (uint32_t i = 0; i < plan->tx_slots_count; i++) {
        queue_frame(worker, plan->tx_slots[i], frame);
    }
}

static uint32_t
flow_hash(const struct lagg_plan *plan, const struct flow *flow)
{
    const struct hash_policy policy = {
        .kind = plan->hash_kind,
        .layers = plan->hash_layers,
        .seed = plan->hash_seed,
    };

    return hash_flow(flow, &policy);
}

int
lagg_flow_hash(
    const struct lagg_plan *plan, const uint8_t *bytes, uint32_t size, uint32_t *hash)
{
    struct flow flow;

    if (plan->hash_kind >= LAGG_HASH_COUNT || !frame_parse(bytes, size, &flow)) {
        return -EINVAL;
    }
    *hash = flow_hash(plan, &flow);
    return 0;
}

/* Flat: whether the parser is called or is part of this, the compiler decides by sizes
 * that have nothing to do with it, and a call costs each frame a twentieth. */
__attribute__((flatten)) static uint32_t
frame_hash(const struct lagg_plan *plan, const struct frame *frame)
{
    struct flow flow;

    frame_parse(frame->head + VNET_BYTES, frame->head_bytes - VNET_BYTES, &flow);
    return flow_hash(plan, &flow);
}

static void
distribute_one(struct worker *worker, const struct lagg_plan *plan, uint32_t frame)
{
    uint32_t hash = 0;
    uint32_t index;

    if (plan->spread == LAGG_SPREAD_FLOW) {
        hash = frame_hash(plan, &worker->frames[frame]);
    }
    index = distribute_index(plan, &worker->work->turn, hash);
    if (plan->held[index / 8] >> index % 8 & 1) {
        worker->waiting.order[worker->waiting.count++] = (uint8_t)frame;
        return;
    }
    worker->indices[frame] = (uint16_t)index;
    count(worker, COUNTER_TX_IN, 1);
    queue_frame(worker, plan->tx_slots[index], frame);
}

static void
distribute_frame(struct worker *worker, const struct lagg_plan *plan, uint32_t frame)
{
    uint32_t refusal = frame_refusal(&worker->frames[frame]);

    if (plan->tx_slots_count == 0) {
        refusal = plan->tx_drop;
    }
    if (refusal != LAGG_DROP_COUNT) {
        count(worker, COUNTER_TX_IN, 1);
        count_drop(worker, refusal, 1);
    } else if (plan->spread == LAGG_SPREAD_ALL) {
        distribute_all(worker, plan, frame);
    } else {
        distribute_one(worker, plan, frame);
    }
}

static bool
error_is_port_down(int error)
{
    return error == -ENETDOWN || error == -ENXIO || error == -ENODEV;
}

static void
count_sent(struct worker *worker, uint32_t slot, const uint8_t *order, uint32_t sent)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < sent; i++) {
        bytes += frame_bytes(&worker->frames[order[i]]);
    }
    count(worker, COUNTER_TX_OUT, sent);
    count_port(worker, slot, PORT_TX_FRAMES, sent);
    count_port(worker, slot, PORT_TX_BYTES, bytes);
}

/* The port died under the burst: what it still held goes to the next usable slot of
 * each frame's plan entry.  Broadcast has sent its other copies already. */
static void
queue_divert(struct worker *worker, const struct lagg_plan *plan, uint32_t slot,
    const struct queue *queue, uint32_t from, uint32_t dead)
{
    for (uint32_t i = from; i < queue->count; i++) {
        uint32_t frame = queue->order[i];
        uint32_t other = NO_SLOT;

        if (plan->spread != LAGG_SPREAD_ALL) {
            other = distribute_stand_in(plan, worker->indices[frame], dead);
        }
        if (other == NO_SLOT) {
            count_port_drop(worker, slot, LAGG_DROP_TX_DOWN, 1);
        } else {
            queue_frame(worker, other, frame);
        }
    }
}

/* What became of a queue. */
enum sent { SENT_ALL, SENT_TO_FULL, SENT_TO_DEAD };

/* Sends what is left of a queue up to what is refused, and counts it.  'tries': of a
 * port that was full; 0 of any other.  0, or what refused it. */
static int
queue_send_some(struct worker *worker, const struct snapshot *snap, uint32_t slot,
    const struct queue *queue, uint32_t *done, uint32_t tries)
{
    const struct shipment shipment = {
        .worker = worker->index,
        .frames = worker->frames,
        .order = queue->order + *done,
        .count = queue->count - *done,
    };
    struct lagg_port *port = worker->ports[slot];
    int error = 0;
    uint32_t sent = tries == 0 ? port_send(port, &shipment, &error)
                               : port_insist(port, &shipment, tries, &error);

    count_sent(worker, slot, shipment.order, sent);
    if (snap->plan.spread == LAGG_SPREAD_FLOW) {
        buckets_count(&worker->work->buckets, worker->indices, shipment.order, sent);
    }
    *done += sent;
    return error;
}

static struct queue
queue_take(struct worker *worker, uint32_t slot)
{
    const struct queue queue = worker->queues[slot];

    worker->queues[slot].count = 0;
    worker->queues_used &= ~(1u << slot);
    return queue;
}

/* Sends what waits for 'slot'; what a full port does not take at once waits on. */
static enum sent
queue_send(
    struct worker *worker, const struct snapshot *snap, uint32_t slot, uint32_t dead)
{
    const struct queue queue = queue_take(worker, slot);
    uint32_t done = 0;

    while (done < queue.count) {
        /* Of what goes by a dark port the kernel would take all, and say nothing. */
        int error = dead >> slot & 1
                        ? -ENETDOWN
                        : queue_send_some(worker, snap, slot, &queue, &done, 0);

        if (error_is_port_down(error)) {
            queue_divert(worker, &snap->plan, slot, &queue, done, dead | 1u << slot);
            return SENT_TO_DEAD;
        }
        if (error_is_full(error)) {
            while (done < queue.count) {
                queue_frame(worker, slot, queue.order[done++]);
            }
            return SENT_TO_FULL;
        }
        if (done < queue.count) {
            /* One frame is refused; those behind it may pass. */
            count_port_drop(worker, slot, LAGG_DROP_TX_ERROR, 1);
            done++;
        }
    }
    return SENT_ALL;
}

/* Why a frame is given up, by what refused it. */
static uint32_t
send_drop_reason(const struct lagg_port *port, int error)
{
    if (!error_is_full(error)) {
        return LAGG_DROP_TX_ERROR;
    }
    /* Relaxed: a word for it, no more. */
    return error == -ENOBUFS &&
                   atomic_load_explicit(&port->wish->filtered, memory_order_relaxed)
               ? LAGG_DROP_TX_FILTERED
               : LAGG_DROP_TX_FULL;
}

/* Sends what a full port did not take, when no other port's frames wait.  The first of
 * them has the patience of all: once it was in vain, and the port has carrier, each of
 * the others is tried once, for it may be shorter.  A filter changes its mind for no
 * patience. */
static enum sent
queue_insist(
    struct worker *worker, const struct snapshot *snap, uint32_t slot, uint32_t dead)
{
    const struct queue queue = queue_take(worker, slot);
    struct lagg_port *port = worker->ports[slot];
    uint32_t done = 0, tries = SEND_TRIES;
    bool carrier = false; /* that is not known yet */

    if (atomic_load_explicit(&port->wish->filtered, memory_order_relaxed)) {
        tries = 1;
    }
    while (done < queue.count) {
        int error = queue_send_some(worker, snap, slot, &queue, &done, tries);

        if (error_is_full(error)) {
            carrier = carrier || port_has_carrier(port);
            error = carrier ? error : -ENETDOWN;
            tries = 1;
        }
        if (error_is_port_down(error)) {
            queue_divert(worker, &snap->plan, slot, &queue, done, dead | 1u << slot);
            return SENT_TO_DEAD;
        }
        if (done < queue.count) {
            count_port_drop(worker, slot, send_drop_reason(port, error), 1);
            done++;
        }
    }
    return SENT_ALL;
}

static void
queues_send(struct worker *worker, const struct snapshot *snap)
{
    /* Relaxed: somebody looks now and then; a burst more by a dead port is one more. */
    uint32_t dead = atomic_load_explicit(worker->dark, memory_order_relaxed), full = 0;

    /* Ends: a slot that was found full is emptied by its next turn, and only a slot
     * that dies gives frames to others, which are not in 'dead'. */
    while (worker->queues_used != 0) {
        uint32_t ready = worker->queues_used & ~full;
        uint32_t slot = (uint32_t)__builtin_ctz(ready != 0 ? ready : full);
        enum sent sent = ready != 0 ? queue_send(worker, snap, slot, dead)
                                    : queue_insist(worker, snap, slot, dead);

        full = sent == SENT_TO_FULL ? full | 1u << slot : full & ~(1u << slot);
        dead |= (uint32_t)(sent == SENT_TO_DEAD) << slot;
    }
}

/* Only when all others of the burst have left: it overwrites what they came from.  A
 * frame that waits is counted when it leaves. */
static void
hold_waiting(struct worker *worker)
{
    for (uint32_t i = 0; i < worker->waiting.count; i++) {
        if (!hold_put(&worker->work->hold, &worker->frames[worker->waiting.order[i]])) {
            count(worker, COUNTER_TX_IN, 1);
            count_drop(worker, LAGG_DROP_HOLD_FULL, 1);
        }
    }
    worker->waiting.count = 0;
}

static uint32_t
read_hold(struct worker *worker)
{
    uint32_t frames = 0;

    while (
        frames < BURST_MAX && hold_take(&worker->work->hold, &worker->frames[frames])) {
        frames++;
    }
    return frames;
}

static uint32_t
read_tap(struct worker *worker)
{
    uint32_t frames = 0;

    for (uint32_t reads = 0; reads < BURST_MAX && !worker->tap_gone; reads++) {
        int result = tap_read(
            worker->tap_fd, &worker->work->buffers[frames], &worker->frames[frames]);

        if (result == -EMSGSIZE) {
            count(worker, COUNTER_TX_IN, 1);
            count_drop(worker, LAGG_DROP_OVERSIZE, 1);
            continue;
        }
        worker->tap_gone = result == -EBADFD;
        if (result <= 0) {
            break;
        }
        frames++;
    }
    return frames;
}

uint32_t
transmit_burst(struct worker *worker, const struct snapshot *snap)
{
    uint32_t frames;

    if (worker->work->hold.generation != snap->generation) {
        hold_rewind(&worker->work->hold, snap->generation);
    }
    /* What waited came before anything that the TAP still holds. */
    frames = hold_pending(&worker->work->hold) ? read_hold(worker) : read_tap(worker);
    for (uint32_t i = 0; i < frames; i++) {
        distribute_frame(worker, &snap->plan, i);
    }
    queues_send(worker, snap);
    hold_waiting(worker);
    return frames;
}
