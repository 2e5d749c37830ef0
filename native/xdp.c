/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An AF_XDP socket that only sends: the cheapest way out of a port for a short frame.
 *
 * Owns its memory, from which the kernel copies frames, the two rings, and the exact
 * count of what the kernel took.  In copy mode the kernel looks at the rings during
 * sendto(2) alone, and sends in the order of the entries; so the ring is empty between
 * two calls, and a frame is either the kernel's or still ours.  No XDP program, nothing
 * received.  Knows no plan.
 */
#include "port.h"

#include <errno.h>
#include <linux/if_xdp.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef AF_XDP
#define AF_XDP 44
#endif
#ifndef SOL_XDP
#define SOL_XDP 283
#endif

enum {
    CHUNK_BYTES = 2048, /* the least the kernel allows */
    ENTRIES = BURST_MAX,
    CHUNKS_BYTES = XDP_CHUNKS * CHUNK_BYTES,
    NO_ADDRESS = CHUNKS_BYTES, /* behind the last chunk: never valid */
    TAKE_TRIES = 50,
    TAKE_WAIT_MS = 2,
    DRAIN_TRIES = 5,
    DRAIN_WAIT_MS = 1,
    SEND_BUFFER_BYTES = 8 << 20, /* as the packet sockets have */
};

static_assert(
    ((ENTRIES & (ENTRIES - 1)) | (XDP_CHUNKS & (XDP_CHUNKS - 1))) == 0, "masks index");
static_assert((int)XDP_FRAME_BYTES_MAX <= (int)CHUNK_BYTES, "a frame is one chunk");

/* ---- opening ----------------------------------------------------------------------
 */

static int
option_set(int fd, int option, const void *value, socklen_t size)
{
    return setsockopt(fd, SOL_XDP, option, value, size) == 0 ? 0 : -errno;
}

static int
chunks_map(struct xdp *xdp)
{
    xdp->chunks = memory_map(xdp->chunks_fd, CHUNKS_BYTES, true);
    return xdp->chunks == NULL ? -errno : 0;
}

static int
memory_register(struct xdp *xdp)
{
    struct xdp_umem_reg request = {.len = CHUNKS_BYTES, .chunk_size = CHUNK_BYTES};
    int error;

    xdp->chunks_fd = memory_make("lagg-chunks", CHUNKS_BYTES);
    if (xdp->chunks_fd < 0) {
        return xdp->chunks_fd;
    }
    if ((error = chunks_map(xdp)) != 0) {
        return error;
    }
    request.addr = (uint64_t)(uintptr_t)xdp->chunks;
    return option_set(xdp->fd, XDP_UMEM_REG, &request, sizeof request);
}

static int
rings_make(int fd)
{
    const int unused = 1, done = XDP_CHUNKS, entries = ENTRIES;
    int size = SEND_BUFFER_BYTES, error;

    /* The kernel binds no socket without a fill ring, which only receivers need. */
    if ((error = option_set(fd, XDP_UMEM_FILL_RING, &unused, sizeof unused)) != 0 ||
        (error = option_set(fd, XDP_UMEM_COMPLETION_RING, &done, sizeof done)) != 0 ||
        (error = option_set(fd, XDP_TX_RING, &entries, sizeof entries)) != 0) {
        return error;
    }
    /* Best effort: without CAP_NET_ADMIN the system's limit holds. */
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) != 0) {
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    }
    return 0;
}

static int
entries_map(struct xdp_ring *ring, int fd, off_t page,
    const struct xdp_ring_offset *offsets, size_t entries_bytes)
{
    size_t bytes = offsets->desc + entries_bytes;
    uint8_t *map =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, page);

    if (map == MAP_FAILED) {
        return -errno;
    }
    ring->map = map;
    ring->map_bytes = bytes;
    ring->producer = (_Atomic uint32_t *)(void *)(map + offsets->producer);
    ring->consumer = (_Atomic uint32_t *)(void *)(map + offsets->consumer);
    ring->entries = map + offsets->desc;
    return 0;
}

static int
rings_map(struct xdp *xdp)
{
    struct xdp_mmap_offsets offsets;
    socklen_t size = sizeof offsets;
    int error;

    if (getsockopt(xdp->fd, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &size) != 0) {
        return -errno;
    }
    if (size != sizeof offsets) {
        return -EOPNOTSUPP; /* before Linux 5.4 */
    }
    error = entries_map(&xdp->waiting, xdp->fd, XDP_PGOFF_TX_RING, &offsets.tx,
        ENTRIES * sizeof(struct xdp_desc));
    if (error == 0) {
        error = entries_map(&xdp->done, xdp->fd, (off_t)XDP_UMEM_PGOFF_COMPLETION_RING,
            &offsets.cr, XDP_CHUNKS * sizeof(uint64_t));
    }
    return error;
}

static void
ring_unmap(struct xdp_ring *ring)
{
    if (ring->map != NULL) {
        munmap(ring->map, ring->map_bytes);
    }
    memset(ring, 0, sizeof *ring);
}

void
xdp_unmap(struct xdp *xdp)
{
    ring_unmap(&xdp->waiting);
    ring_unmap(&xdp->done);
    memory_unmap(xdp->chunks, CHUNKS_BYTES);
    xdp->chunks = NULL;
}

/* An interface's first queue.  It is free again a moment after the socket that had it
 * was closed. */
int
xdp_bind(const struct xdp *xdp, int ifindex)
{
    const struct sockaddr_xdp address = {
        .sxdp_family = AF_XDP,
        .sxdp_flags = XDP_COPY,
        .sxdp_ifindex = (uint32_t)ifindex,
        .sxdp_queue_id = 0,
    };

    for (int tries = 0; tries < TAKE_TRIES; tries++) {
        if (bind(xdp->fd, (const struct sockaddr *)&address, sizeof address) == 0) {
            return 0;
        }
        if (errno != EBUSY) {
            break;
        }
        poll(NULL, 0, TAKE_WAIT_MS);
    }
    return -errno;
}

int
xdp_open(struct xdp *xdp)
{
    int error;

    xdp->fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (xdp->fd < 0) {
        return -errno;
    }
    if ((error = memory_register(xdp)) != 0 || (error = rings_make(xdp->fd)) != 0) {
        xdp_close(xdp);
    }
    return error;
}

static bool
socket_is_xdp(int fd)
{
    int domain = 0;
    socklen_t size = sizeof domain;

    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
           domain == AF_XDP;
}

int
xdp_adopt(struct xdp *xdp, int fd, int chunks_fd)
{
    if (!socket_is_xdp(fd) || !memory_is_sound(chunks_fd, CHUNKS_BYTES)) {
        return -EPROTO;
    }
    xdp->fd = fd;
    xdp->chunks_fd = chunks_fd;
    return 0;
}

int
xdp_map(struct xdp *xdp)
{
    int error = xdp->chunks != NULL ? 0 : chunks_map(xdp);

    if (error != 0 || (error = rings_map(xdp)) != 0) {
        xdp_unmap(xdp);
    }
    return error;
}

static void
chunks_reset(struct xdp_place *place)
{
    place->free_count = 0;
    for (uint32_t chunk = 0; chunk < XDP_CHUNKS; chunk++) {
        place->free[place->free_count++] = (uint16_t)chunk;
    }
}

void
xdp_begin(struct xdp *xdp)
{
    struct xdp_place *place = xdp->place;

    chunks_reset(place);
    place->spoiled = place->spoiled_before = 0;
    atomic_store(&place->open, xdp->chunks != NULL);
}

void
xdp_close(struct xdp *xdp)
{
    xdp_unmap(xdp);
    if (xdp->fd >= 0) {
        close(xdp->fd);
    }
    if (xdp->chunks_fd >= 0) {
        close(xdp->chunks_fd);
    }
    memset(xdp, 0, sizeof *xdp);
    xdp->fd = xdp->chunks_fd = -1;
}

/* ---- sending ----------------------------------------------------------------------
 */

/* A ring's counts run on and wrap; only their differences mean anything. */
static uint32_t
ring_count(const struct xdp_ring *ring)
{
    /* Acquire: pairs with the kernel's release of what the counts cover. */
    return atomic_load_explicit(ring->producer, memory_order_acquire) -
           atomic_load_explicit(ring->consumer, memory_order_acquire);
}

static void
chunk_free(struct xdp_place *place, uint16_t chunk)
{
    assert(place->free_count < XDP_CHUNKS);
    place->free[place->free_count++] = chunk;
}

/* Takes back the chunks of frames that have left.  Some kernels return invalid entries
 * here, too. */
static void
chunks_reclaim(struct xdp *xdp)
{
    const uint64_t *entries = xdp->done.entries;
    struct xdp_place *place = xdp->place;
    uint32_t count = ring_count(&xdp->done);
    uint32_t next = atomic_load_explicit(xdp->done.consumer, memory_order_relaxed);

    for (uint32_t i = 0; i < count; i++) {
        uint64_t address = entries[(next + i) & (XDP_CHUNKS - 1)];

        if (address < NO_ADDRESS) {
            chunk_free(place, (uint16_t)(address / CHUNK_BYTES));
        }
    }
    /* Release: the kernel may write over the entries after this. */
    atomic_store_explicit(xdp->done.consumer, next + count, memory_order_release);
}

bool
xdp_fits(const struct frame *frame)
{
    return frame->rest_bytes == 0 && frame_bytes(frame) <= XDP_FRAME_BYTES_MAX &&
           !frame_is_gso(frame);
}

static struct xdp_desc *
entry_at(const struct xdp *xdp, uint32_t index)
{
    return (struct xdp_desc *)xdp->waiting.entries + (index & (ENTRIES - 1));
}

static void
entry_fill(struct xdp *xdp, uint32_t index, const struct frame *frame)
{
    struct xdp_place *place = xdp->place;
    uint16_t chunk = place->free[--place->free_count];
    uint32_t address = chunk * (uint32_t)CHUNK_BYTES;

    place->chunk_of[index & (ENTRIES - 1)] = chunk;
    memcpy(xdp->chunks + address, frame->head + VNET_BYTES, frame_bytes(frame));
    frame_finish_checksum(frame, xdp->chunks + address);
    *entry_at(xdp, index) =
        (struct xdp_desc){.addr = address, .len = frame_bytes(frame)};
}

/* Puts the first frames, as many as fit, into the ring, which is empty. */
static uint32_t
entries_put(struct xdp *xdp, const struct shipment *shipment)
{
    const uint8_t *order = shipment->queue->order + shipment->queue->done;
    const struct frame *frames = shipment->frames;
    uint32_t first = xdp->place->first, count = shipment_left(shipment), put = 0;

    while (put < count && xdp->place->free_count > 0 && xdp_fits(&frames[order[put]])) {
        entry_fill(xdp, first + put, &frames[order[put]]);
        put++;
    }
    /* Release: the kernel reads the entries after this. */
    atomic_store_explicit(xdp->waiting.producer, first + put, memory_order_release);
    return put;
}

void
xdp_drain(struct xdp *xdp)
{
    chunks_reclaim(xdp);
    for (int tries = 0; xdp->place->free_count < XDP_CHUNKS && tries < DRAIN_TRIES;
        tries++) {
        poll(NULL, 0, DRAIN_WAIT_MS);
        chunks_reclaim(xdp);
    }
}

/* Has the kernel send what is in the ring.  -EBUSY: it dropped the last one it took. */
static int
ring_kick(const struct xdp *xdp)
{
    return sendto(xdp->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 ? -errno : 0;
}

/* The last 'count' entries' chunks are ours again. */
static void
chunks_take_back(struct xdp *xdp, uint32_t count)
{
    uint32_t end = atomic_load_explicit(xdp->waiting.producer, memory_order_relaxed);

    for (uint32_t i = 1; i <= count; i++) {
        chunk_free(xdp->place, xdp->place->chunk_of[(end - i) & (ENTRIES - 1)]);
    }
}

/* Makes the last 'count' entries ones that the kernel passes over, and counts. */
static void
entries_spoil(struct xdp *xdp, uint32_t count)
{
    uint32_t end = atomic_load_explicit(xdp->waiting.producer, memory_order_relaxed);

    for (uint32_t i = 1; i <= count; i++) {
        entry_at(xdp, end - i)->addr = NO_ADDRESS;
    }
}

/* Entries that the kernel passed over since the call began; -errno. */
static int
spoiled_passed(struct xdp *xdp)
{
    struct xdp_statistics statistics = {0};
    socklen_t size = sizeof statistics;

    if (getsockopt(xdp->fd, SOL_XDP, XDP_STATISTICS, &statistics, &size) != 0) {
        return -EIO;
    }
    xdp->place->spoiled = statistics.tx_invalid_descs;
    return (int)(xdp->place->spoiled - xdp->place->spoiled_before);
}

/* The kernel stopped on the way.  How far it came, its consumer count does not tell
 * (before Linux 6.17 it is not brought up to date then).  So all entries are spoiled,
 * and it says how many of those it met, which it had not taken; or -EIO. */
static int
ring_left(struct xdp *xdp, uint32_t put)
{
    int left;

    entries_spoil(xdp, put);
    for (uint32_t kicks = 0; kicks <= put && ring_count(&xdp->waiting) > 0; kicks++) {
        ring_kick(xdp);
    }
    left = ring_count(&xdp->waiting) == 0 ? spoiled_passed(xdp) : -EIO;
    return left <= (int)put ? left : -EIO;
}

/* How many the kernel took, when a call has stopped on the way. */
static uint32_t
ring_settle(struct xdp *xdp, uint32_t put, int error)
{
    int left = ring_left(xdp, put);

    if (left < 0) {
        /* The port went away meanwhile.  No frame may leave twice, so they count as
         * gone, and this socket is out of use. */
        atomic_store(&xdp->place->open, false);
        return put;
    }
    chunks_take_back(xdp, (uint32_t)left);
    put -= (uint32_t)left;
    return error == -EBUSY && put > 0 ? put - 1 : put;
}

/* The kernel did not look at the ring: nothing of it ever was. */
static void
ring_recall(struct xdp *xdp, uint32_t put)
{
    uint32_t end = atomic_load_explicit(xdp->waiting.producer, memory_order_relaxed);

    chunks_take_back(xdp, put);
    atomic_store_explicit(xdp->waiting.producer, end - put, memory_order_release);
}

void
xdp_send(struct xdp *xdp, const struct shipment *shipment)
{
    struct xdp_place *place = xdp->place;
    uint32_t put;
    int error;

    chunks_reclaim(xdp);
    /* What is needed to settle the call, should this process die in it. */
    place->first = atomic_load_explicit(xdp->waiting.producer, memory_order_relaxed);
    place->spoiled_before = place->spoiled;
    call_begin(shipment, CALL_XDP, 0);
    put = entries_put(xdp, shipment);
    if (put == 0) {
        return;
    }
    error = ring_kick(xdp);
    if (error == -ENETDOWN || error == -ENXIO) {
        /* Without an interface, yet or any more, it is of no use. */
        atomic_store(&place->open, error == -ENETDOWN);
        ring_recall(xdp, put);
        return;
    }
    if (error != 0 || ring_count(&xdp->waiting) > 0) {
        put = ring_settle(xdp, put, error);
    }
    shipment->queue->done += put;
}

int
xdp_settle(struct xdp *xdp, uint32_t *put)
{
    int left;

    *put = (atomic_load(xdp->waiting.producer) - xdp->place->first) % (ENTRIES + 1);
    left = ring_left(xdp, *put);
    return left < 0 ? left : (int)*put - left;
}

/* Entries the kernel has and does not give back: both of its counts began at 0.  Some
 * kernels keep those that they passed over. */
static int32_t
entries_away(const struct xdp *xdp)
{
    return (
        int32_t)(atomic_load(xdp->waiting.consumer) - atomic_load(xdp->done.producer));
}

void
xdp_recover(struct xdp *xdp)
{
    atomic_store(xdp->waiting.producer, atomic_load(xdp->waiting.consumer));
    for (int tries = 0; entries_away(xdp) > 0 && tries < DRAIN_TRIES; tries++) {
        poll(NULL, 0, DRAIN_WAIT_MS);
    }
    atomic_store(&xdp->place->open, entries_away(xdp) <= (int32_t)xdp->place->spoiled);
    if (atomic_load(&xdp->place->open)) {
        atomic_store(xdp->done.consumer, atomic_load(xdp->done.producer));
        chunks_reset(xdp->place);
    }
}
