/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A worker: carries frames between one TAP queue and the ports of the live snapshot.
 *
 * Owns one iteration and the loop around it, and the rule that every frame is delivered
 * or counted.  The epoch is entered per iteration and left before the worker sleeps, so
 * a sleeping worker delays nobody.  Allocates nothing, takes no lock, reads no clock.
 */
#include "internal.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { POLL_WAKE, POLL_TAP, POLL_PORTS };

static void
count(struct worker *worker, uint32_t counter, uint64_t value)
{
    worker->tally.total[counter] += value;
    worker->tally.touched = true;
}

static void
count_port(struct worker *worker, uint32_t slot, uint32_t counter, uint64_t value)
{
    worker->tally.ports[slot][counter] += value;
    worker->tally.ports_touched |= 1u << slot;
}

static void
count_drop(struct worker *worker, uint32_t reason, uint64_t frames)
{
    count(worker, COUNTER_DROPS + reason, frames);
}

static void
count_port_drop(struct worker *worker, uint32_t slot, uint32_t reason, uint64_t frames)
{
    count_drop(worker, reason, frames);
    count_port(worker, slot, COUNTER_DROPS + reason, frames);
}

/* ---- publication of the counts ----------------------------------------------------
 */

static void
bank_add(struct counter_bank *bank, uint64_t deltas[COUNTERS_COUNT])
{
    for (uint32_t i = 0; i < COUNTERS_COUNT; i++) {
        uint64_t value = atomic_load_explicit(&bank->values[i], memory_order_relaxed);

        /* Release: pairs with the reader's acquire, see lagg_device_read(). */
        atomic_store_explicit(
            &bank->values[i], value + deltas[i], memory_order_release);
        deltas[i] = 0;
    }
}

void
worker_publish_counts(struct worker *worker, struct lagg_port *const ports[])
{
    struct tally *tally = &worker->tally;
    uint32_t sequence = atomic_load_explicit(&worker->sequence, memory_order_relaxed);

    if (!tally->touched) {
        return;
    }
    atomic_store_explicit(&worker->sequence, sequence + 1, memory_order_relaxed);
    bank_add(&worker->counts, tally->total);
    for (uint32_t left = tally->ports_touched; left != 0; left &= left - 1) {
        uint32_t slot = (uint32_t)__builtin_ctz(left);

        bank_add(&ports[slot]->counts[worker->index], tally->ports[slot]);
    }
    atomic_store_explicit(&worker->sequence, sequence + 2, memory_order_release);
    tally->ports_touched = 0;
    tally->touched = false;
}

/* ---- transmit: TAP to ports -------------------------------------------------------
 */

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
flow_hash(const struct lagg_plan *plan, const struct frame *frame)
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

static void
distribute_one(struct worker *worker, const struct lagg_plan *plan, uint32_t frame)
{
    uint32_t hash = 0;
    uint32_t index;

    if (plan->spread == LAGG_SPREAD_FLOW) {
        hash = flow_hash(plan, &worker->frames[frame]);
    }
    index = distribute_index(plan, &worker->turn, hash);
    worker->indices[frame] = (uint16_t)index;
    count(worker, COUNTER_TX_IN, 1);
    queue_frame(worker, plan->tx_slots[index], frame);
}

/* Why 'frame' may not be sent at all, or LAGG_DROP_COUNT when it may. */
static uint32_t
frame_refusal(const struct frame *frame)
{
    if (frame->head_bytes < VNET_BYTES + ETHER_BYTES) {
        return LAGG_DROP_RUNT;
    }
    return frame_offload_valid(frame) ? LAGG_DROP_COUNT : LAGG_DROP_BAD_OFFLOAD;
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

static uint32_t
send_drop_reason(int error)
{
    return error == -EAGAIN || error == -ENOBUFS ? LAGG_DROP_TX_FULL
                                                 : LAGG_DROP_TX_ERROR;
}

/* Sends what waits for 'slot'.  Returns its bit when the port turned out dead. */
static uint32_t
queue_send(
    struct worker *worker, const struct snapshot *snap, uint32_t slot, uint32_t dead)
{
    const struct queue queue = worker->queues[slot];
    uint32_t done = 0;

    worker->queues[slot].count = 0;
    worker->queues_used &= ~(1u << slot);
    while (done < queue.count) {
        const uint8_t *order = queue.order + done;
        int error = 0;
        uint32_t sent = port_send(
            snap->ports[slot], worker->frames, order, queue.count - done, &error);

        count_sent(worker, slot, order, sent);
        done += sent;
        if (error_is_port_down(error)) {
            dead |= 1u << slot;
            queue_divert(worker, &snap->plan, slot, &queue, done, dead);
            return 1u << slot;
        }
        if (done < queue.count) {
            /* One frame is refused; those behind it may pass. */
            count_port_drop(worker, slot, send_drop_reason(error), 1);
            done++;
        }
    }
    return 0;
}

static void
queues_send(struct worker *worker, const struct snapshot *snap)
{
    uint32_t dead = 0;

    /* Ends: a diverted frame goes to a slot not in 'dead', which only grows. */
    while (worker->queues_used != 0) {
        uint32_t slot = (uint32_t)__builtin_ctz(worker->queues_used);

        dead |= queue_send(worker, snap, slot, dead);
    }
}

static uint32_t
read_tap(struct worker *worker)
{
    uint32_t frames = 0;

    for (uint32_t reads = 0; reads < BURST_MAX && !worker->tap_gone; reads++) {
        int result =
            tap_read(worker->tap_fd, &worker->buffers[frames], &worker->frames[frames]);

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

static uint32_t
transmit(struct worker *worker, const struct snapshot *snap)
{
    uint32_t frames = read_tap(worker);

    for (uint32_t i = 0; i < frames; i++) {
        distribute_frame(worker, &snap->plan, i);
    }
    queues_send(worker, snap);
    return frames;
}

/* ---- receive: ports to TAP --------------------------------------------------------
 */

static uint32_t
tap_drop_reason(int error)
{
    switch (error) {
    case -EIO:
    case -EBADFD:
        return LAGG_DROP_TAP_DOWN;
    case -EAGAIN:
    case -ENOBUFS:
    case -ENOMEM:
        return LAGG_DROP_TAP_FULL;
    default:
        return LAGG_DROP_TAP_ERROR;
    }
}

static void
deliver(struct worker *worker, uint32_t slot, const struct frame *frame)
{
    int error = tap_write(worker->tap_fd, frame);

    if (error != 0) {
        count_port_drop(worker, slot, tap_drop_reason(error), 1);
        return;
    }
    count(worker, COUNTER_RX_OUT, 1);
}

static void
collect(struct worker *worker, const struct lagg_plan *plan, uint32_t slot,
    const struct frame *frame)
{
    uint32_t refusal = frame_refusal(frame);

    count(worker, COUNTER_RX_IN, 1);
    count_port(worker, slot, PORT_RX_FRAMES, 1);
    count_port(worker, slot, PORT_RX_BYTES, frame_bytes(frame));
    if (!(plan->rx_accept >> slot & 1)) {
        refusal = plan->rx_drop;
    }
    if (refusal == LAGG_DROP_COUNT) {
        deliver(worker, slot, frame);
    } else {
        count_port_drop(worker, slot, refusal, 1);
    }
}

uint32_t
worker_receive(struct worker *worker, const struct lagg_plan *plan, uint32_t slot,
    struct lagg_port *port, uint32_t ring)
{
    uint32_t oversize = 0;
    uint32_t frames = ring_read(
        &port->rings[ring], worker->buffers, worker->frames, BURST_MAX, &oversize);

    for (uint32_t i = 0; i < frames; i++) {
        collect(worker, plan, slot, &worker->frames[i]);
    }
    if (oversize > 0) {
        count(worker, COUNTER_RX_IN, oversize);
        count_port(worker, slot, PORT_RX_FRAMES, oversize);
        count_port_drop(worker, slot, LAGG_DROP_OVERSIZE, oversize);
    }
    ring_release(&port->rings[ring]);
    return frames + oversize;
}

static uint32_t
receive(struct worker *worker, const struct snapshot *snap)
{
    uint32_t frames = 0;

    for (uint32_t left = snap->plan.ports; left != 0; left &= left - 1) {
        uint32_t slot = (uint32_t)__builtin_ctz(left);

        if (worker->errors_pending) {
            port_clear_error(snap->ports[slot], worker->index);
        }
        frames +=
            worker_receive(worker, &snap->plan, slot, snap->ports[slot], worker->index);
    }
    worker->errors_pending = false;
    return frames;
}

/* ---- the loop ---------------------------------------------------------------------
 */

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
            snap->ports[slot]->rings[worker->index].fd;
    }
}

uint32_t
worker_poll(struct worker *worker)
{
    const struct snapshot *snap =
        epoch_enter(&worker->store->epoch, worker->index, &worker->store->root);
    uint32_t frames = transmit(worker, snap) + receive(worker, snap);

    worker_publish_counts(worker, snap->ports);
    poll_prepare(worker, snap);
    epoch_leave(&worker->store->epoch, worker->index);
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

/* The loop behind lagg_worker_run(), which device.c finds the worker for. */
void
worker_loop(struct worker *worker)
{
    while (!worker_stopped(worker)) {
        if (worker_poll(worker) == 0 && !worker_stopped(worker)) {
            worker_wait(worker);
        }
    }
}
