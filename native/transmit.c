/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Transmit: the frames of one TAP queue to the ports that the plan names.
 *
 * Owns the burst from TAP to ports.  Every frame leaves, waits in the hold, or is
 * counted by its reason.
 *
 * Three passes.  Each frame gets an index into the plan's table, unless a copy goes to
 * all; the table says the slot, and the frame is queued for it.  Then each slot's queue
 * is sent in one go.  Last, frames whose flow waits for a marker are put into the hold.
 * What was read, where it is queued and what has left is written where it outlives this
 * process: journal.c says what comes of it.
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
#include "station.h"
#include "worker.h"

#include <errno.h>
#include <string.h>

enum { SEND_TRIES = 15 /* of a full port's first frame, after it was refused once */ };

static struct queue *
queue_of(struct worker *worker, uint32_t slot)
{
    return &worker->work->burst.queues[slot];
}

/* A part of who calls it: a call costs each frame as much as it does. */
static inline __attribute__((always_inline)) void
queue_frame(struct worker *worker, uint32_t slot, uint32_t frame)
{
    struct queue *queue = queue_of(worker, slot);
    uint32_t count = queue->count;

    assert(count < BURST_MAX);
    queue->order[count] = (uint8_t)frame;
    queue->count = count + 1;
    worker->queues_used |= 1u << slot;
}

/* The first frame that is left in a queue is given up. */
static void
queue_drop(struct worker *worker, uint32_t slot, uint32_t reason)
{
    struct queue *queue = queue_of(worker, slot);

    count_port_drop(worker, slot, reason, 1);
    queue->dropped[queue->done] = (uint8_t)(1 + reason);
    in_order();
    queue->done++;
}

/* A copy to each that has had none; each of these is a frame that comes in. */
static uint32_t
distribute_all(struct worker *worker, const struct lagg_plan *plan, uint32_t frame)
{
    const struct burst *burst = &worker->work->burst;
    uint32_t had = burst->again ? burst->had[frame] : 0, copies = 0;

    for (uint32_t i = 0; i < plan->tx_slots_count; i++) {
        if (!(had >> plan->tx_slots[i] & 1)) {
            queue_frame(worker, plan->tx_slots[i], frame);
            copies++;
        }
    }
    return copies;
}

/* Flat: whether the parser is called or is part of this, the compiler decides by sizes
 * that have nothing to do with it, and a call costs each frame a twentieth. */
__attribute__((flatten)) static uint32_t
frame_hash(const struct lagg_plan *plan, const struct frame *frame)
{
    const struct hash_policy policy = {
        .kind = plan->hash_kind,
        .layers = plan->hash_layers,
        .seed = plan->hash_seed,
    };
    struct flow flow;

    frame_parse(frame->head + VNET_BYTES, frame->head_bytes - VNET_BYTES, &flow);
    return hash_flow(&flow, &policy);
}

/* Its frame waits, if its flow is on the move.  How many came in with it. */
static inline uint32_t
queue_by_index(
    struct worker *worker, const struct lagg_plan *plan, uint32_t frame, uint32_t index)
{
    if (plan->held[index / 8] >> index % 8 & 1) {
        worker->waiting.order[worker->waiting.count++] = (uint8_t)frame;
        return 0;
    }
    worker->indices[frame] = (uint16_t)index;
    queue_frame(worker, plan->tx_slots[index], frame);
    return 1;
}

static uint32_t
distribute_one(struct worker *worker, const struct lagg_plan *plan, uint32_t frame)
{
    uint32_t hash = 0;

    if (plan->spread == LAGG_SPREAD_FLOW) {
        hash = plan->hash_layers <= LAYERS_PLAIN
                   ? frame_hash(plan, &worker->frames[frame])
                   : hash_frame(plan, &worker->frames[frame]);
    }
    return queue_by_index(
        worker, plan, frame, distribute_index(plan, &worker->work->turn, hash));
}

/* Why a frame does not leave at all, as frame_refusal(). */
static inline uint32_t
refusal_of(const struct worker *worker, const struct lagg_plan *plan, uint32_t frame)
{
    uint32_t refusal = frame_refusal(&worker->frames[frame]);

    return plan->tx_slots_count == 0 ? plan->tx_drop : refusal;
}

/* How many came in with it: copies, and none while it waits. */
static uint32_t
distribute_frame(struct worker *worker, const struct lagg_plan *plan, uint32_t frame)
{
    uint32_t refusal = refusal_of(worker, plan, frame);

    if (refusal != LAGG_DROP_COUNT) {
        count_drop(worker, refusal, 1);
        return 1;
    }
    return plan->spread == LAGG_SPREAD_ALL ? distribute_all(worker, plan, frame)
                                           : distribute_one(worker, plan, frame);
}

/* The same where ports are stations: apart, for other plans are not to pay for it. */
static uint32_t
distribute_station(struct worker *worker, const struct lagg_plan *plan, uint32_t frame)
{
    const struct frame *taken = &worker->frames[frame];
    uint32_t refusal = refusal_of(worker, plan, frame), slot;

    if (refusal != LAGG_DROP_COUNT) {
        count_drop(worker, refusal, 1);
        return 1;
    }
    slot = station_of(plan, taken);
    if (slot == NO_SLOT) {
        return queue_by_index(worker, plan, frame,
            distribute_index(plan, &worker->work->turn, hash_frame(plan, taken)));
    }
    worker->indices[frame] = INDEX_NONE;
    queue_frame(worker, slot, frame);
    return 1;
}

static __attribute__((noinline)) uint32_t
distribute_stations(
    struct worker *worker, const struct lagg_plan *plan, uint32_t frames)
{
    uint32_t came_in = 0;

    for (uint32_t i = 0; i < frames; i++) {
        came_in += distribute_station(worker, plan, i);
    }
    return came_in;
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
        bytes += worker->work->burst.sizes[order[i]];
    }
    bytes -= (uint64_t)sent * VNET_BYTES;
    count(worker, COUNTER_TX_OUT, sent);
    count_port(worker, slot, PORT_TX_FRAMES, sent);
    count_port(worker, slot, PORT_TX_BYTES, bytes);
}

/* The port died under the burst: what it still held goes to the next usable slot of
 * each frame's plan entry.  Broadcast has sent its other copies already. */
static void
queue_divert(
    struct worker *worker, const struct lagg_plan *plan, uint32_t slot, uint32_t dead)
{
    struct queue *queue = queue_of(worker, slot);

    while (queue->done < queue->count) {
        uint32_t frame = queue->order[queue->done];
        uint32_t other = NO_SLOT;

        if (plan->spread != LAGG_SPREAD_ALL) {
            other = distribute_stand_in(plan, worker->indices[frame], dead);
        }
        if (other == NO_SLOT) {
            queue_drop(worker, slot, LAGG_DROP_TX_DOWN);
        } else {
            queue_frame(worker, other, frame);
            queue->dropped[queue->done] = QUEUE_MOVED;
            in_order();
            queue->done++;
        }
    }
}

/* What became of a queue. */
enum sent { SENT_ALL, SENT_TO_FULL, SENT_TO_DEAD };

static __attribute__((noinline)) void
queue_sign(struct worker *worker, const struct lagg_plan *plan, uint32_t slot)
{
    const struct queue *queue = queue_of(worker, slot);

    for (uint32_t i = queue->done; i < queue->count; i++) {
        station_sign(plan, slot, &worker->frames[queue->order[i]]);
    }
}

/* Sends what is left of a queue up to what is refused, and counts it.  'tries': of a
 * port that was full; 0 of any other.  0, or what refused it. */
static int
queue_send_some(
    struct worker *worker, const struct snapshot *snap, uint32_t slot, uint32_t tries)
{
    struct queue *queue = queue_of(worker, slot);
    const struct shipment shipment = {
        .worker = worker->index,
        .slot = slot,
        .frames = worker->frames,
        .queue = queue,
        .call = &worker->work->burst.call,
    };
    const uint8_t *order = queue->order + queue->done;
    uint32_t before = queue->done, sent;
    struct lagg_port *port = worker->ports[slot];
    int error;

    if (snap->plan.stations) {
        queue_sign(worker, &snap->plan, slot);
    }
    error =
        tries == 0 ? port_send(port, &shipment) : port_insist(port, &shipment, tries);
    sent = queue->done - before;
    count_sent(worker, slot, order, sent);
    if (snap->plan.spread == LAGG_SPREAD_FLOW) {
        buckets_count(&worker->work->buckets, worker->indices,
            worker->work->burst.sizes, order, sent);
    }
    return error;
}

/* Sends what waits for 'slot'; what a full port does not take at once waits on. */
static enum sent
queue_send(
    struct worker *worker, const struct snapshot *snap, uint32_t slot, uint32_t dead)
{
    const struct queue *queue = queue_of(worker, slot);

    worker->queues_used &= ~(1u << slot);
    while (queue->done < queue->count) {
        /* Of what goes by a dark port the kernel would take all, and say nothing. */
        int error =
            dead >> slot & 1 ? -ENETDOWN : queue_send_some(worker, snap, slot, 0);

        if (error_is_port_down(error)) {
            queue_divert(worker, &snap->plan, slot, dead | 1u << slot);
            return SENT_TO_DEAD;
        }
        if (error_is_full(error)) {
            worker->queues_used |= 1u << slot;
            return SENT_TO_FULL;
        }
        if (queue->done < queue->count) {
            /* One frame is refused; those behind it may pass. */
            queue_drop(worker, slot, LAGG_DROP_TX_ERROR);
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
    const struct queue *queue = queue_of(worker, slot);
    struct lagg_port *port = worker->ports[slot];
    uint32_t tries = SEND_TRIES;
    bool carrier = false; /* that is not known yet */

    if (atomic_load_explicit(&port->wish->filtered, memory_order_relaxed)) {
        tries = 1;
    }
    worker->queues_used &= ~(1u << slot);
    while (queue->done < queue->count) {
        int error = queue_send_some(worker, snap, slot, tries);

        if (error_is_full(error)) {
            carrier = carrier || port_has_carrier(port);
            error = carrier ? error : -ENETDOWN;
            tries = 1;
        }
        if (error_is_port_down(error)) {
            queue_divert(worker, &snap->plan, slot, dead | 1u << slot);
            return SENT_TO_DEAD;
        }
        if (queue->done < queue->count) {
            queue_drop(worker, slot, send_drop_reason(port, error));
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
        enum sent sent;

        worker->queues_begun |= worker->queues_used;
        sent = ready != 0 ? queue_send(worker, snap, slot, dead)
                          : queue_insist(worker, snap, slot, dead);

        full = sent == SENT_TO_FULL ? full | 1u << slot : full & ~(1u << slot);
        dead |= (uint32_t)(sent == SENT_TO_DEAD) << slot;
    }
}

/* A frame that waits is counted when it leaves. */
static void
hold_waiting(struct worker *worker)
{
    for (uint32_t i = 0; i < worker->waiting.count; i++) {
        const struct frame *frame = &worker->frames[worker->waiting.order[i]];

        if (!hold_put(&worker->work->hold, frame, 0, HOLD_BYTES)) {
            count(worker, COUNTER_TX_IN, 1);
            count_drop(worker, LAGG_DROP_HOLD_FULL, 1);
        }
    }
    worker->waiting.count = 0;
}

/* A copy in the burst's own memory: what is kept again overwrites what it came from. */
static struct frame
frame_copy(struct frame_buffer *buffer, const struct frame *frame)
{
    memcpy(buffer->bytes, frame->head, frame->head_bytes);
    memcpy(buffer->bytes + frame->head_bytes, frame->rest, frame->rest_bytes);
    return buffer_frame(buffer, frame->head_bytes + frame->rest_bytes);
}

static uint32_t
read_hold(struct worker *worker, const struct lagg_plan *plan)
{
    struct worker_work *work = worker->work;
    uint32_t frames = 0, next = work->hold.place.next;
    struct frame frame;

    journal_clear(worker);
    while (frames < BURST_MAX &&
           hold_take(&work->hold, &next, &frame, &work->burst.had[frames])) {
        /* Of one that has left by some ports, only broadcast owes others a copy. */
        if (work->burst.had[frames] == 0 || plan->spread == LAGG_SPREAD_ALL) {
            worker->frames[frames] = frame_copy(&work->buffers[frames], &frame);
            work->burst.sizes[frames++] = frame.head_bytes + frame.rest_bytes;
        }
    }
    journal_open(worker, true, next);
    return frames;
}

static uint32_t
read_tap(struct worker *worker)
{
    struct worker_work *work = worker->work;
    uint32_t frames = 0;

    journal_clear(worker);
    journal_open(worker, false, work->hold.place.next);
    for (uint32_t reads = worker->tap_gone ? BURST_MAX : 0; reads < BURST_MAX;
        reads++) {
        struct frame_buffer *buffer = &work->buffers[frames];
        int result = tap_read(worker->tap_fd, buffer, &worker->frames[frames]);

        if (result > 0) {
            buffer_clear(buffer + 1);
            in_order();
            work->burst.sizes[frames++] = (uint32_t)result;
        } else if (result == -EMSGSIZE) {
            count(worker, COUNTER_TX_IN, 1);
            count_drop(worker, LAGG_DROP_OVERSIZE, 1);
            buffer_clear(buffer);
            work->burst.oversize++;
        } else {
            worker->tap_gone = result == -EBADFD;
            break;
        }
    }
    return frames;
}

uint32_t
transmit_burst(struct worker *worker, const struct snapshot *snap)
{
    struct hold *hold = &worker->work->hold;
    uint32_t frames, came_in = 0;

    if (hold->generation != snap->generation) {
        hold_rewind(hold, snap->generation);
    }
    /* What waited came before anything that the TAP still holds. */
    frames = hold_pending(hold) ? read_hold(worker, &snap->plan) : read_tap(worker);
    if (snap->plan.stations) {
        came_in = distribute_stations(worker, &snap->plan, frames);
    } else {
        for (uint32_t i = 0; i < frames; i++) {
            came_in += distribute_frame(worker, &snap->plan, i);
        }
    }
    if (came_in > 0) {
        count(worker, COUNTER_TX_IN, came_in);
    }
    queues_send(worker, snap);
    hold_waiting(worker);
    return frames;
}
