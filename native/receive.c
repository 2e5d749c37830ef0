/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Receive: the frames of the ports' rings to one TAP queue.
 *
 * Owns which frames the plan lets in, and what is counted when the TAP does not take
 * one.  Every frame is delivered or counted by its reason.
 *
 * Each port that the plan names is read, also one whose frames are not accepted: else
 * its ring would fill, and the frames of a standby port would be delivered, old as they
 * are, when it begins to carry.  A refused frame is counted as received and then as
 * dropped, and so is one that the kernel had no room for, so that what came in is
 * always what went up and what was dropped.  The frames of one port go up in the order
 * of its ring; between ports there is none.
 *
 * Frame by frame: delivered, or refused, and that is written into its entry before the
 * next is looked at; so a process that dies has one in hand.  Entries go back to the
 * kernel when they are counted, for all that is not counted yet must be found in them.
 *
 * Where the plan lets frames in once, the first copy goes up and those that other ports
 * bring are dropped (dedup.c).
 *
 * After a fair burst the rings are left to fill (pace.c).  Until they are due the
 * worker goes on to send, or waits when there is nothing to send.
 */
#include "station.h"
#include "worker.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <string.h>

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

/* What a burst of one ring comes to. */
struct received {
    uint32_t frames, delivered;
    uint64_t bytes;
};

static uint32_t
drop(struct worker *worker, uint32_t slot, uint32_t reason)
{
    count_port_drop(worker, slot, reason, 1);
    return RING_DROPPED + reason;
}

static uint32_t
deliver(struct worker *worker, uint32_t slot, const struct frame *frame)
{
    int error = tap_write(worker->tap_fd, frame);

    return error == 0 ? RING_DELIVERED : drop(worker, slot, tap_drop_reason(error));
}

/* As NICs have it: only what was one frame on the wire is judged by its length. */
static bool
is_too_long(const struct lagg_plan *plan, const struct frame *frame)
{
    return frame_bytes(frame) > plan->rx_bytes_max && !frame_is_gso(frame);
}

/* Whether the one port by which the lagg is reached is dark, and what it would send
 * goes by this one: then it also comes in by it. */
static bool
stands_in(const struct worker *worker, const struct lagg_plan *plan, uint32_t slot)
{
    /* Relaxed: as in transmit.c. */
    uint32_t dark = atomic_load_explicit(worker->dark, memory_order_relaxed);

    if (dark == 0 || plan->tx_slots_count == 0) {
        return false;
    }
    if (plan->stations) {
        return (dark >> plan->home & 1) != 0 &&
               distribute_stand_in(plan, INDEX_NONE, dark) == slot;
    }
    return plan->spread == LAGG_SPREAD_FIRST &&
           distribute_stand_in(plan, 0, dark) == slot;
}

static bool
is_one_of_own(const struct lagg_plan *plan, const uint8_t *source)
{
    for (uint32_t i = 0; i < plan->own_count; i++) {
        if (memcmp(plan->own[i], source, ETH_ALEN) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether the lagg sent it, and a loop in the network has brought it back; or a switch
 * that does not know that its ports are one lagg's.  No runt; tags come behind. */
static bool
is_own(const struct lagg_plan *plan, const struct frame *frame)
{
    const uint8_t *source = frame->head + VNET_BYTES + ETH_ALEN;
    uint64_t word;

    memcpy(&word, source + ETH_ALEN - sizeof word, sizeof word);
    return ((word ^ plan->own_bits) & plan->own_mask) == 0 &&
           is_one_of_own(plan, source);
}

/* Whether it is for the port and not for the lagg: no bridge forwards it (802.1Q,
 * 8.6.3), so it speaks of the one cable.  Slow protocols are LACP's to let in. */
static bool
is_link_local(const struct lagg_plan *plan, const struct frame *frame)
{
    enum { PAUSE = 1, SLOW = 2, LAST = 15 };
    static const uint8_t group[] = {0x01, 0x80, 0xc2, 0x00};
    const uint8_t *to = frame->head + VNET_BYTES;

    if (memcmp(to, group, sizeof group) != 0 || to[4] != 0 || to[5] > LAST ||
        frame_bytes(frame) < ETHER_BYTES) {
        return false;
    }
    return to[5] == PAUSE || (to[5] != SLOW && !plan->passes_local);
}

/* Why a frame may not come in, as frame_refusal(), where all is accepted. */
static inline uint32_t
refusal_of_any(const struct lagg_plan *plan, const struct frame *frame)
{
    uint32_t refusal;

    if (is_too_long(plan, frame)) {
        return LAGG_DROP_OVERSIZE;
    }
    refusal = frame_refusal(frame);
    return refusal == LAGG_DROP_COUNT && is_own(plan, frame) ? LAGG_DROP_OWN_SOURCE
                                                             : refusal;
}

/* By a port of which not all is accepted as it is. */
static bool
is_let_in(const struct worker *worker, const struct lagg_plan *plan, uint32_t slot,
    const struct frame *frame)
{
    return (plan->teaches && station_admit(plan, slot, frame)) ||
           stands_in(worker, plan, slot);
}

/* The same where not all is; apart, or who accepts all pays for it. */
static __attribute__((noinline)) uint32_t
refusal_of_some(const struct worker *worker, const struct lagg_plan *plan,
    uint32_t slot, const struct frame *frame)
{
    bool once = plan->rx_once >> slot & 1;
    uint32_t refusal;

    if (!once && !is_let_in(worker, plan, slot, frame)) {
        return plan->rx_drop;
    }
    refusal = refusal_of_any(plan, frame);
    if (once && refusal == LAGG_DROP_COUNT &&
        !dedup_first(worker->dedup, dedup_hash(frame, worker->dedup_key),
            frame_bytes(frame), slot, worker->window)) {
        return LAGG_DROP_DUPLICATE;
    }
    return refusal;
}

/* Returns its fate.  'all': whether all that comes by the port is accepted as it is. */
static uint32_t
collect(struct worker *worker, const struct lagg_plan *plan, uint32_t slot, bool all,
    const struct frame *frame)
{
    uint32_t refusal;

    if (is_link_local(plan, frame)) {
        return drop(worker, slot, LAGG_DROP_LINK_LOCAL);
    }
    refusal =
        all ? refusal_of_any(plan, frame) : refusal_of_some(worker, plan, slot, frame);
    return refusal == LAGG_DROP_COUNT ? deliver(worker, slot, frame)
                                      : drop(worker, slot, refusal);
}

/* A frame that had an entry, and that cannot be had all the same. */
static uint32_t
lose(struct worker *worker, uint32_t slot, uint32_t reason)
{
    count_port_drop(worker, slot, reason, 1);
    return RING_LOST + reason;
}

static void
count_received(struct worker *worker, uint32_t slot, const struct received *received)
{
    if (received->frames > 0) {
        count(worker, COUNTER_RX_IN, received->frames);
        count(worker, COUNTER_RX_OUT, received->delivered);
        count_port(worker, slot, PORT_RX_FRAMES, received->frames);
        count_port(worker, slot, PORT_RX_BYTES, received->bytes);
    }
}

uint32_t
receive_ring(struct worker *worker, const struct lagg_plan *plan, uint32_t slot,
    struct ring *ring)
{
    const bool all = (plan->rx_accept >> slot & 1) && !plan->teaches;
    struct received received = {0};
    struct frame frame;
    uint32_t refusal, fate;

    ring_begin(ring, worker->index, journal_stamp(worker));
    for (; received.frames < BURST_MAX &&
           ring_read(ring, &worker->work->buffers[BURST_MAX], &frame, &refusal);
        received.frames++) {
        if (refusal == LAGG_DROP_COUNT) {
            received.bytes += frame_bytes(&frame);
            fate = collect(worker, plan, slot, all, &frame);
        } else {
            fate = lose(worker, slot, refusal);
        }
        received.delivered += fate == RING_DELIVERED;
        ring_decide(ring, fate);
    }
    ring_end(ring);
    count_received(worker, slot, &received);
    worker->read[worker->read_count++] = ring;
    return received.frames;
}

bool
receive_begin(struct worker *worker, const struct lagg_plan *plan)
{
    if (plan->rx_once == 0) {
        return true;
    }
    if (!dedup_take(worker->dedup)) {
        return false;
    }
    worker->window = dedup_window(clock_ns()); /* in its turn: it never goes back */
    return true;
}

void
receive_end(struct worker *worker, const struct lagg_plan *plan)
{
    if (plan->rx_once != 0) {
        dedup_give(worker->dedup);
    }
}

void
receive_release(struct worker *worker)
{
    for (uint32_t i = 0; i < worker->read_count; i++) {
        ring_release(worker->read[i]);
    }
    worker->read_count = 0;
}

static void
relax(void)
{
#if defined __x86_64__ || defined __i386__
    __builtin_ia32_pause();
#elif defined __aarch64__
    __asm__ volatile("yield");
#endif
}

/* Waits only when there is nothing else to do. */
static bool
rings_due(const struct worker *worker, bool busy)
{
    while (!pace_rings_due(&worker->pace, clock_ns())) {
        if (busy) {
            return false;
        }
        relax();
    }
    return true;
}

uint32_t
receive_burst(struct worker *worker, const struct snapshot *snap, bool busy)
{
    uint32_t frames = 0, most = 0;

    if (!rings_due(worker, busy) || !receive_begin(worker, &snap->plan)) {
        return 0;
    }
    for (uint32_t left = snap->plan.ports; left != 0; left &= left - 1) {
        uint32_t slot = (uint32_t)__builtin_ctz(left);
        struct ring *ring = port_ring(worker->ports[slot], worker->index);
        uint32_t burst;

        if (worker->errors_pending) {
            ring_clear_error(ring);
        }
        burst = receive_ring(worker, &snap->plan, slot, ring);
        most = burst > most ? burst : most;
        frames += burst;
    }
    receive_end(worker, &snap->plan);
    worker->errors_pending = false;
    pace_rings_read(&worker->pace, most, clock_ns());
    return frames;
}
