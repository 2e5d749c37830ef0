/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The AF_XDP sender on rings in plain memory, with a kernel that stops wherever it is
 * told to: each frame is gone exactly once or still ours, in order, whichever way the
 * kernel keeps its counts.
 */
#define _GNU_SOURCE
#include "port.h"

#include "check.h"

#include <errno.h>
#include <linux/if_xdp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { CHUNK_BYTES = 2048, FD = 4711, ROUNDS = 3000, NEVER = UINT32_MAX };

/* How a kernel keeps its books.  The counts it publishes lag behind its own. */
struct manners {
    const char *name;
    bool publishes;       /* its consumer count after a stop (Linux 6.17) */
    bool skips_one;       /* invalid entry a call, not all (Linux 6.6) */
    bool lags_on_skip;    /* and does not publish that it did */
    bool returns_invalid; /* among what has left */
};

static const struct manners manners[] = {
    {"6.18.44", true, true, true, true},
    {"6.17", true, true, true, false},
    {"6.6", false, true, true, false},
    {"5.x", false, false, false, false},
};

static struct {
    const struct manners *manners;
    struct xdp *xdp;
    uint32_t taken;   /* consumer count of its own */
    uint32_t seen;    /* producer count as it read it last */
    uint64_t invalid; /* entries passed over */
    uint32_t sent;    /* frames on the wire, numbered from 0 */
    uint32_t stop_at; /* frames of a call it takes before it says */
    int stop_error;   /* this: -EBUSY drops one more, others leave it */
    int refuse_error; /* before it looks at the ring */
    uint32_t holds;   /* completions it keeps back */
    uint64_t held[2 * XDP_CHUNKS];
    uint32_t held_count;
} kernel;

static struct xdp_desc entries[BURST_MAX];
static uint64_t done_entries[XDP_CHUNKS];
static _Atomic uint32_t counts[4];
static uint32_t next_number; /* of the frame that must come next */
static uint32_t dropped[8], dropped_count;

static void
kernel_complete(uint64_t address)
{
    kernel.held[kernel.held_count++] = address;
    while (kernel.held_count > kernel.holds) {
        uint32_t producer = atomic_load(kernel.xdp->done.producer);

        CHECK(producer - atomic_load(kernel.xdp->done.consumer) < XDP_CHUNKS);
        done_entries[producer % XDP_CHUNKS] = kernel.held[0];
        atomic_store(kernel.xdp->done.producer, producer + 1);
        memmove(kernel.held, kernel.held + 1, --kernel.held_count * sizeof(uint64_t));
    }
}

/* False when all that it knows of is taken; then it looks again, and publishes. */
static bool
kernel_peek(void)
{
    if (kernel.seen == kernel.taken) {
        atomic_store(kernel.xdp->waiting.consumer, kernel.taken);
        kernel.seen = atomic_load(kernel.xdp->waiting.producer);
    }
    return kernel.seen != kernel.taken;
}

static bool
entry_valid(const struct xdp_desc *entry)
{
    return entry->options == 0 && entry->len > 0 && entry->len <= XDP_FRAME_BYTES_MAX &&
           entry->addr % CHUNK_BYTES == 0 && entry->addr / CHUNK_BYTES < XDP_CHUNKS;
}

static uint32_t
entry_number(const struct xdp_desc *entry)
{
    uint32_t number;

    memcpy(&number, kernel.xdp->chunks + entry->addr + ETHER_BYTES, sizeof number);
    return number;
}

static void
kernel_take(const struct xdp_desc *entry, bool drop)
{
    uint32_t number = entry_number(entry);

    kernel.taken++;
    kernel_complete(entry->addr);
    if (drop) {
        dropped[dropped_count++ % 8] = number;
        return;
    }
    CHECK_EQ_U32(number, next_number);
    next_number = number + 1;
    kernel.sent++;
}

/* As __xsk_generic_xmit() of the kernel that 'manners' describes. */
static int
kernel_send(void)
{
    uint32_t count = 0;
    bool skipped = false;

    for (; kernel_peek(); count++) {
        const struct xdp_desc *entry = &entries[kernel.taken % BURST_MAX];

        if (!entry_valid(entry)) {
            kernel.invalid++;
            kernel.taken++;
            skipped = true;
            if (kernel.manners->returns_invalid) {
                kernel_complete(entry->addr);
            }
            if (kernel.manners->skips_one) {
                break;
            }
            continue;
        }
        if (count == kernel.stop_at) {
            int error = kernel.stop_error;

            if (error == -EBUSY) {
                kernel_take(entry, true);
            }
            if (kernel.manners->publishes && count > 0) {
                atomic_store(kernel.xdp->waiting.consumer, kernel.taken);
            }
            kernel.stop_at = NEVER;
            return error;
        }
        kernel_take(entry, false);
    }
    if (!(skipped && kernel.manners->lags_on_skip)) {
        atomic_store(kernel.xdp->waiting.consumer, kernel.taken);
    }
    return 0;
}

ssize_t
sendto(int fd, const void *bytes, size_t size, int flags,
    const struct sockaddr *address, socklen_t address_bytes)
{
    int error;

    CHECK(fd == FD && bytes == NULL && size == 0 && flags == MSG_DONTWAIT &&
          address == NULL && address_bytes == 0);
    error = kernel.refuse_error != 0 ? kernel.refuse_error : kernel_send();
    errno = -error;
    return error == 0 ? 0 : -1;
}

static uint32_t polls, polls_until_complete;

/* A pause, in which a driver may complete what it holds. */
int
poll(struct pollfd *fds, nfds_t count, int milliseconds)
{
    CHECK(fds == NULL && count == 0 && milliseconds == 1);
    if (++polls == polls_until_complete) {
        kernel.holds = 0;
        kernel_complete(NEVER * (uint64_t)CHUNK_BYTES);
    }
    return 0;
}

int
getsockopt(int fd, int level, int option, void *value, socklen_t *size)
{
    CHECK(fd == FD && level == SOL_XDP && option == XDP_STATISTICS);
    CHECK(*size == sizeof(struct xdp_statistics));
    ((struct xdp_statistics *)value)->tx_invalid_descs = kernel.invalid;
    return 0;
}

/* ---- the sender's side ------------------------------------------------------------
 */

static struct xdp *
sender_make(const struct manners *how)
{
    struct xdp *xdp = calloc(1, sizeof *xdp);

    memset(&kernel, 0, sizeof kernel);
    memset(entries, 0, sizeof entries);
    memset(counts, 0, sizeof counts);
    kernel.manners = how;
    kernel.xdp = xdp;
    kernel.stop_at = NEVER;
    next_number = dropped_count = 0;
    xdp->fd = FD;
    xdp->place = calloc(1, sizeof *xdp->place);
    xdp->chunks = calloc(XDP_CHUNKS, CHUNK_BYTES);
    xdp->waiting = (struct xdp_ring){NULL, 0, &counts[0], &counts[1], (void *)entries};
    xdp->done = (struct xdp_ring){NULL, 0, &counts[2], &counts[3], done_entries};
    xdp_begin(xdp);
    return xdp;
}

static void
sender_free(struct xdp *xdp)
{
    free(xdp->chunks);
    free(xdp->place);
    free(xdp);
}

/* 1 when the chunk there was seen before; an address that is none counts for nothing.
 */
static uint32_t
count_address(uint8_t seen[XDP_CHUNKS], uint64_t address)
{
    return address / CHUNK_BYTES < XDP_CHUNKS ? seen[address / CHUNK_BYTES]++ : 0;
}

/* No chunk is lost, and none is there twice. */
static void
check_chunks(struct xdp *xdp)
{
    uint8_t seen[XDP_CHUNKS] = {0};
    uint32_t begin = atomic_load(xdp->done.consumer);
    uint32_t end = atomic_load(xdp->done.producer), twice = 0, missing = 0;

    for (uint32_t i = 0; i < xdp->place->free_count; i++) {
        twice += seen[xdp->place->free[i]]++;
    }
    for (; begin != end; begin++) {
        twice += count_address(seen, done_entries[begin % XDP_CHUNKS]);
    }
    for (uint32_t i = 0; i < kernel.held_count; i++) {
        twice += count_address(seen, kernel.held[i]);
    }
    for (uint32_t chunk = 0; chunk < XDP_CHUNKS; chunk++) {
        missing += seen[chunk] == 0;
    }
    CHECK_EQ_U32(twice, 0);
    CHECK_EQ_U32(missing, 0);
}

static uint8_t heads[BURST_MAX][HEAD_BYTES];
static const uint8_t order[BURST_MAX] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13,
    14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};

static void
burst_make(struct frame frames[BURST_MAX], uint32_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t number = first + i;

        memset(heads[i], 0, VNET_BYTES);
        memcpy(heads[i] + VNET_BYTES + ETHER_BYTES, &number, sizeof number);
        frames[i] = (struct frame){.head = heads[i], .head_bytes = VNET_BYTES + 60};
    }
}

/* Sends 'count' frames from number 'first' on; returns how many are gone. */
static uint32_t
burst_send(struct xdp *xdp, uint32_t first, uint32_t count)
{
    struct frame frames[BURST_MAX];
    uint32_t gone;

    burst_make(frames, first, count);
    gone = xdp_send(xdp, frames, order, count);
    CHECK(gone <= count);
    CHECK(atomic_load(xdp->waiting.producer) == kernel.taken);
    check_chunks(xdp);
    return gone;
}

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
    CHECK_EQ_U32(xdp_send(xdp, frames, order, 8), 8);
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
        CHECK_EQ_U32(xdp_send(xdp, frames, order, 8), kind == 3 ? 8 : 5);
        CHECK(kind == 3 || xdp_send(xdp, frames, order + 5, 1) == 0);
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
