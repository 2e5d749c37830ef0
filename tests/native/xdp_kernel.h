/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The AF_XDP sender on rings in plain memory, with a kernel that stops wherever it is
 * told to, keeps its counts in whichever way, and may be the last that a process calls.
 *
 * Include it first.
 */
#ifndef XDP_KERNEL_H
#define XDP_KERNEL_H

#define _GNU_SOURCE
#include "port.h"

#include "check.h"
#include "shipments.h"

#include <errno.h>
#include <linux/if_xdp.h>
#include <poll.h>
#include <setjmp.h>
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

/* The process dies at a system call, which the kernel has made, or has not. */
static jmp_buf death;
static uint32_t calls_to_death; /* 0: never */
static bool dies_before;

static void
may_die(bool before)
{
    if (calls_to_death != 0 && before == dies_before && --calls_to_death == 0) {
        longjmp(death, 1);
    }
}

ssize_t
sendto(int fd, const void *bytes, size_t size, int flags,
    const struct sockaddr *address, socklen_t address_bytes)
{
    int error;

    CHECK(fd == FD && bytes == NULL && size == 0 && flags == MSG_DONTWAIT &&
          address == NULL && address_bytes == 0);
    may_die(true);
    error = kernel.refuse_error != 0 ? kernel.refuse_error : kernel_send();
    may_die(false);
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
    may_die(dies_before);
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
    gone = ship_by_xdp(xdp, frames, order, count);
    CHECK(gone <= count);
    CHECK(atomic_load(xdp->waiting.producer) == kernel.taken);
    check_chunks(xdp);
    return gone;
}

#endif
