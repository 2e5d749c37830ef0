/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The AF_XDP sender: each frame is gone exactly once or still ours, in order, wherever
 * the kernel stops, whichever way it keeps its counts, and whenever the process dies.
 */
#include "xdp_kernel.h"

/* ---- cases ------------------------------------------------------------------------
 */

/* Any mix of stops: what is not gone is sent again, as the packet socket would, and on
 * the wire each frame is there once, in order.  A drop is the first that is not gone.
 */
static void
every_stop_leaves_each_frame_gone_or_ours(const struct manners *how, uint64_t *seed)
{
    static const int errors[] = {0, -EAGAIN, -EBUSY, -EBUSY, -ENOMEM};
    struct xdp *xdp = sender_make(how);
    uint32_t number = 0, drops = 0;

    check_about(how->name, 0);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t count = 1 + check_random(seed) % BURST_MAX, gone,
                 before = dropped_count;

        check_state.step = round;
        kernel.holds = check_random(seed) % (XDP_CHUNKS - BURST_MAX);
        kernel.stop_at = check_random(seed) % (2 * BURST_MAX);
        kernel.stop_error = errors[check_random(seed) % 5];
        kernel.refuse_error = check_random(seed) % 8 == 0 ? -ENETDOWN : 0;
        gone = burst_send(xdp, number, count);
        kernel.refuse_error = 0;
        if (dropped_count > before) {
            CHECK_EQ_U32(dropped[before % 8], number + gone);
            drops++;
        }
        CHECK_EQ_U32(kernel.sent, number + gone);
        number += gone;
        next_number = number;
    }
    CHECK(drops > 100);
    CHECK(atomic_load(&xdp->place->open));
    CHECK_EQ_U32(kernel.sent, number);
    sender_free(xdp);
}

/* A driver that keeps what it got: frames are left over, none is written over. */
static void
without_a_free_chunk_nothing_is_sent(const struct manners *how)
{
    struct xdp *xdp = sender_make(how);
    uint32_t number = 0;

    check_about(how->name, 0);
    kernel.holds = XDP_CHUNKS;
    while (number < XDP_CHUNKS) {
        number += burst_send(xdp, number, 24);
    }
    CHECK_EQ_U32(number, XDP_CHUNKS);
    CHECK_EQ_U32(burst_send(xdp, number, 24), 0);
    kernel.holds = XDP_CHUNKS - 1;
    kernel_complete(kernel.held[--kernel.held_count]);
    CHECK_EQ_U32(burst_send(xdp, number, 24), 1);
    sender_free(xdp);
}

/* A packet socket may send after it: nothing is on its way, or it was waited for long.
 */
static void
whoever_drains_it_waits_for_what_left(const struct manners *how)
{
    struct xdp *xdp = sender_make(how);

    check_about(how->name, 0);
    kernel.holds = 8;
    CHECK_EQ_U32(burst_send(xdp, 0, 24), 24);
    polls = 0;
    polls_until_complete = 3;
    xdp_drain(xdp);
    CHECK_EQ_U32(polls, 3);
    CHECK_EQ_U32(xdp->place->free_count, XDP_CHUNKS);
    xdp_drain(xdp);
    CHECK_EQ_U32(polls, 3);
    sender_free(xdp);
}

static void
whoever_drains_a_stuck_port_goes_on(const struct manners *how)
{
    struct xdp *xdp = sender_make(how);

    check_about(how->name, 0);
    kernel.holds = 8;
    CHECK_EQ_U32(burst_send(xdp, 0, 24), 24);
    polls = 0;
    polls_until_complete = NEVER;
    xdp_drain(xdp);
    CHECK_EQ_U32(polls, 5);
    CHECK_EQ_U32(xdp->place->free_count, XDP_CHUNKS - 8);
    sender_free(xdp);
}

/* It was killed between filling entries and handing them over: those are forgotten, and
 * no chunk is lost, unless the port keeps some. */
static void
whoever_goes_on_after_its_death_has_all_chunks(
    const struct manners *how, uint32_t held, uint32_t completes_at)
{
    struct xdp *xdp = sender_make(how);
    bool all = held == 0 || completes_at != NEVER;

    check_about(how->name, held);
    kernel.holds = held;
    CHECK_EQ_U32(burst_send(xdp, 0, 24), 24);
    xdp->place->free_count -= 5;
    atomic_fetch_add(xdp->waiting.producer, 3);
    polls = 0;
    polls_until_complete = completes_at;
    xdp_recover(xdp);
    CHECK(atomic_load(&xdp->place->open) == all);
    CHECK(atomic_load(xdp->waiting.producer) == atomic_load(xdp->waiting.consumer));
    if (all) {
        CHECK_EQ_U32(xdp->place->free_count, XDP_CHUNKS);
        kernel.holds = 0;
        CHECK_EQ_U32(burst_send(xdp, 24, 24), 24);
        check_chunks(xdp);
    }
    sender_free(xdp);
}

/* Whichever of its system calls it died at: what the kernel took is known, however
 * often it is asked, and the others are sent by the next one.  One that the kernel
 * dropped may count as taken. */
static void
what_a_dead_call_sent_is_known(
    const struct manners *how, uint32_t stop_at, int stop_error, uint32_t call)
{
    struct xdp *xdp = sender_make(how);
    struct frame frames[BURST_MAX];
    static struct sent_from from;
    const struct shipment shipment = shipment_make(&from, frames, order, 20);
    uint32_t put;
    int taken;

    check_about(how->name, 100 * stop_at + call);
    CHECK_EQ_U32(burst_send(xdp, 0, 10), 10);
    burst_make(frames, 10, 20);
    kernel.stop_at = stop_at;
    kernel.stop_error = stop_error;
    calls_to_death = call;
    if (setjmp(death) == 0) {
        xdp_send(xdp, &shipment);
    } else {
        CHECK_EQ_U32(from.queue.done, 0);
        taken = xdp_settle(xdp, &put);
        CHECK_EQ_U32((uint32_t)xdp_settle(xdp, &put), (uint32_t)taken);
        xdp_recover(xdp);
        CHECK_EQ_U32((uint32_t)xdp_settle(xdp, &put), (uint32_t)taken);
        xdp_recover(xdp);
        CHECK_EQ_U32((uint32_t)taken, kernel.sent - 10 + dropped_count);
        from.queue.done = (uint32_t)taken;
        next_number = 10 + from.queue.done;
    }
    calls_to_death = 0;
    CHECK(atomic_load(&xdp->place->open));
    next_number += next_number < 10 + from.queue.done; /* it was dropped */
    burst_send(xdp, 10 + from.queue.done, 20 - from.queue.done);
    CHECK_EQ_U32(next_number, 30);
    sender_free(xdp);
}

static void
each_death_in_a_call(const struct manners *how)
{
    for (uint32_t call = 1; call <= 30; call++) {
        for (uint32_t stop = 0; stop < 24; stop += 3) {
            dies_before = call % 2 == 0;
            what_a_dead_call_sent_is_known(how, stop, -EAGAIN, call / 2 + 1);
            what_a_dead_call_sent_is_known(how, stop, -EBUSY, call / 2 + 1);
        }
    }
}

/* Gone in the middle of it: nobody can tell how far it came.  No frame may leave twice,
 * so none is given back, and the socket is not asked again. */
static void
a_port_that_goes_away_under_a_burst_ends_it(const struct manners *how, int error)
{
    struct xdp *xdp = sender_make(how);
    struct frame frames[BURST_MAX];

    check_about(how->name, (uint32_t)-error);
    CHECK_EQ_U32(burst_send(xdp, 0, 8), 8);
    burst_make(frames, 8, 8);
    kernel.refuse_error = -EIO; /* the kernel says no to the question, too */
    CHECK_EQ_U32(ship_by_xdp(xdp, frames, order, 8), 8);
    CHECK(!atomic_load(&xdp->place->open));
    sender_free(xdp);
}

/* What does not fit ends the run, and what is in front of it is sent. */
static void
only_short_plain_frames_fit(void)
{
    struct xdp *xdp = sender_make(&manners[0]);
    struct frame frames[BURST_MAX];

    for (uint32_t kind = 0; kind < 4; kind++) {
        uint32_t first = next_number;

        check_about("fits", kind);
        burst_make(frames, first, 8);
        switch (kind) {
        case 0:
            heads[5][1] = 1; /* VIRTIO_NET_HDR_GSO_TCPV4 */
            break;
        case 1:
            frames[5].head_bytes = VNET_BYTES + XDP_FRAME_BYTES_MAX + 1;
            break;
        case 2:
            frames[5].rest_bytes = 1;
            break;
        default:
            frames[5].head_bytes = VNET_BYTES + XDP_FRAME_BYTES_MAX;
            break;
        }
        CHECK(xdp_fits(&frames[5]) == (kind == 3));
        CHECK_EQ_U32(ship_by_xdp(xdp, frames, order, 8), kind == 3 ? 8 : 5);
        CHECK(kind == 3 || ship_by_xdp(xdp, frames, order + 5, 1) == 0);
        next_number = first + 8;
    }
    sender_free(xdp);
}

int
main(int argc, char **argv)
{
    uint64_t seed = check_seed(argc, argv);

    for (size_t i = 0; i < sizeof manners / sizeof manners[0]; i++) {
        every_stop_leaves_each_frame_gone_or_ours(&manners[i], &seed);
        each_death_in_a_call(&manners[i]);
        without_a_free_chunk_nothing_is_sent(&manners[i]);
        whoever_drains_it_waits_for_what_left(&manners[i]);
        whoever_drains_a_stuck_port_goes_on(&manners[i]);
        whoever_goes_on_after_its_death_has_all_chunks(&manners[i], 0, NEVER);
        whoever_goes_on_after_its_death_has_all_chunks(&manners[i], 8, 3);
        whoever_goes_on_after_its_death_has_all_chunks(&manners[i], 8, NEVER);
        a_port_that_goes_away_under_a_burst_ends_it(&manners[i], -EIO);
    }
    only_short_plain_frames_fit();
    return check_report();
}
