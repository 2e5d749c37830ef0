/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A receive ring: how frames enter by one port, for one worker.
 *
 * Owns a packet(7) socket with its TPACKET_V2 ring (offload headers, large frames
 * beside the ring) and puts back what the kernel strips from a frame: the outer VLAN
 * tag. Knows no plan, no protocol and no other ring.
 */
#include "port.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* Since Linux 4.20. */
#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

enum {
    RING_FRAME_BYTES = 2048,
    RING_BLOCK_BYTES = 1 << 16,
    RING_BYTES = RING_FRAME_BYTES * RING_FRAMES,
    COMPARED_BYTES = 128, /* the headers of a frame, which tell it from others */
    RECEIVE_TRIES = 8,    /* errors and strays in front of a copy */
    STRAYS_MAX = 32,      /* discarded at a time; who has more is woken again */
};

static int
ring_set_options(int fd)
{
    struct tpacket_req request = {
        .tp_block_size = RING_BLOCK_BYTES,
        .tp_block_nr = RING_BYTES / RING_BLOCK_BYTES,
        .tp_frame_size = RING_FRAME_BYTES,
        .tp_frame_nr = RING_FRAMES,
    };
    int error;

    /* A frame larger than an entry would be cut silently; so it comes by recv(2). */
    if ((error = packet_set(fd, PACKET_COPY_THRESH, 1)) != 0 ||
        (error = packet_set(fd, PACKET_VERSION, TPACKET_V2)) != 0 ||
        /* Room in front of the offload header for the VLAN tag. */
        (error = packet_set(fd, PACKET_RESERVE, TPACKET_ALIGNMENT)) != 0 ||
        (error = packet_set(fd, PACKET_IGNORE_OUTGOING, 1)) != 0) {
        return error;
    }
    if (setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &request, sizeof request) != 0) {
        return -errno;
    }
    return 0;
}

static int
ring_map(struct ring *ring)
{
    void *map = mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE,
        MAP_SHARED | MAP_POPULATE, ring->fd, 0);

    if (map == MAP_FAILED) {
        return -errno;
    }
    ring->map = map;
    return 0;
}

int
ring_join_fanout(struct ring *ring, int *group)
{
    uint32_t value = (uint32_t)PACKET_FANOUT_HASH << 16;
    socklen_t size = sizeof value;

    if (*group >= 0) {
        return packet_set(ring->fd, PACKET_FANOUT, (int)(value | (uint32_t)*group));
    }
    value |= (uint32_t)PACKET_FANOUT_FLAG_UNIQUEID << 16;
    if (setsockopt(ring->fd, SOL_PACKET, PACKET_FANOUT, &value, sizeof value) != 0 ||
        getsockopt(ring->fd, SOL_PACKET, PACKET_FANOUT, &value, &size) != 0) {
        return -errno;
    }
    *group = (int)(value & 0xffff);
    return 0;
}

int
ring_open(struct ring *ring, int ifindex)
{
    int error;

    if ((error = packet_open(&ring->fd)) != 0 ||
        (error = ring_set_options(ring->fd)) != 0 || (error = ring_map(ring)) != 0 ||
        (error = filter_shut(ring->fd)) != 0) {
        return error;
    }
    ring->empty = true;
    packet_set_buffer(ring->fd, SO_RCVBUFFORCE, SO_RCVBUF);
    return packet_bind(ring->fd, ifindex, ETH_P_ALL);
}

int
ring_adopt(struct ring *ring, int fd, int ifindex)
{
    int error;

    if (!packet_is_of(fd, ifindex)) {
        return -EPROTO;
    }
    ring->fd = fd;
    error = ring_map(ring);
    ring->fd = error == 0 ? fd : -1;
    return error;
}

void
ring_close(struct ring *ring)
{
    if (ring->map != NULL) {
        munmap(ring->map, RING_BYTES);
    }
    if (ring->fd >= 0) {
        close(ring->fd);
    }
}

static struct tpacket2_hdr *
ring_entry(const struct ring *ring, uint32_t index)
{
    return (
        struct tpacket2_hdr *)(void *)(ring->map + (size_t)index * RING_FRAME_BYTES);
}

/* Whether there is a frame in it, and not room for one. */
static bool
entry_is_ours(const struct tpacket2_hdr *entry)
{
    return __atomic_load_n(&entry->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER;
}

/* The frame of an entry that holds it whole. */
static void
entry_frame(struct tpacket2_hdr *entry, struct frame *frame)
{
    frame->head = (uint8_t *)entry + entry->tp_mac - VNET_BYTES;
    frame->head_bytes = entry->tp_snaplen + VNET_BYTES;
    frame->rest = NULL;
    frame->rest_bytes = 0;
}

/* Whether what was received, from 'copy' on, is the frame of which the entry has the
 * first part. */
static bool
copy_is_of(const struct tpacket2_hdr *entry, const uint8_t *copy, size_t size)
{
    uint32_t seen =
        entry->tp_snaplen < COMPARED_BYTES ? entry->tp_snaplen : COMPARED_BYTES;

    return size == entry->tp_len + VNET_BYTES &&
           memcmp(copy + VNET_BYTES, (const uint8_t *)entry + entry->tp_mac, seen) == 0;
}

/* The frame of an entry too small for it: the kernel queued a copy of it, in the order
 * of the entries.  Yet what recv(2) gives need not be that copy.  A link that goes down
 * leaves an error that is told first, and once; an entry that was given up has left its
 * copy; and a copy may be lost on its way here.  So each is held against its entry, and
 * none is taken for another's. */
static uint32_t
entry_receive(struct ring *ring, const struct tpacket2_hdr *entry,
    struct frame_buffer *buffer, struct frame *frame)
{
    for (int tries = 0; tries < RECEIVE_TRIES; tries++) {
        ssize_t size = recv(
            ring->fd, buffer->bytes, sizeof buffer->bytes, MSG_DONTWAIT | MSG_TRUNC);

        if (size < 0 && errno == EAGAIN) {
            break;
        }
        if (size < 0 || !copy_is_of(entry, buffer->bytes, (size_t)size)) {
            continue;
        }
        if (size > (ssize_t)sizeof buffer->bytes) {
            return LAGG_DROP_OVERSIZE;
        }
        *frame = buffer_frame(buffer, (uint32_t)size);
        return LAGG_DROP_COUNT;
    }
    ring->place->strays = true;
    return LAGG_DROP_RING_OVERRUN;
}

/* Why the frame of an entry cannot be had, as frame_refusal(). */
static uint32_t
entry_read(struct ring *ring, struct tpacket2_hdr *entry, uint32_t status,
    struct frame_buffer *buffer, struct frame *frame)
{
    uint32_t refusal = LAGG_DROP_COUNT;

    if (status & TP_STATUS_COPY) {
        refusal = entry_receive(ring, entry, buffer, frame);
    } else if (entry->tp_snaplen < entry->tp_len) {
        refusal = LAGG_DROP_RING_OVERRUN; /* there was no room for a copy */
    } else {
        entry_frame(entry, frame);
    }
    if (refusal == LAGG_DROP_COUNT && (status & TP_STATUS_VLAN_VALID) &&
        frame_bytes(frame) >= ETHER_BYTES) {
        bool named = status & TP_STATUS_VLAN_TPID_VALID;

        frame_insert_tag(
            frame, named ? entry->tp_vlan_tpid : ETH_P_8021Q, entry->tp_vlan_tci);
    }
    return refusal;
}

/* Copies whose entries were given up: they would wake the worker for ever.  If one is
 * of an entry that is just being filled, that frame is counted when its entry comes. */
static void
strays_discard(struct ring *ring)
{
    uint8_t bytes[VNET_BYTES];

    for (int i = 0; i < STRAYS_MAX && ring->place->strays; i++) {
        ssize_t size = recv(ring->fd, bytes, sizeof bytes, MSG_DONTWAIT);

        ring->place->strays = size >= 0 || errno != EAGAIN;
    }
}

uint32_t
ring_read(struct ring *ring, struct frame_buffer *buffers, struct frame *frames,
    uint32_t max, struct ring_losses *losses)
{
    struct ring_place *place = ring->place;
    uint32_t count = 0;
    uint32_t next = atomic_load_explicit(&place->next, memory_order_relaxed);

    place->release_from = next;
    for (place->release_count = 0; place->release_count < max; place->release_count++) {
        struct tpacket2_hdr *entry = ring_entry(ring, next);
        uint32_t status = __atomic_load_n(&entry->tp_status, __ATOMIC_ACQUIRE);
        uint32_t refusal;

        if (!(status & TP_STATUS_USER)) {
            if (place->strays) {
                strays_discard(ring);
            }
            break;
        }
        refusal = entry_read(ring, entry, status, &buffers[count], &frames[count]);
        count += refusal == LAGG_DROP_COUNT;
        losses->oversize += refusal == LAGG_DROP_OVERSIZE;
        losses->overrun += refusal == LAGG_DROP_RING_OVERRUN;
        next = (next + 1) % RING_FRAMES;
    }
    /* Relaxed: who else looks has no use for the entries before it. */
    atomic_store_explicit(&place->next, next, memory_order_relaxed);
    return count;
}

void
ring_release(struct ring *ring)
{
    struct ring_place *place = ring->place;
    uint32_t index = place->release_from;

    for (uint32_t i = 0; i < place->release_count; i++) {
        struct tpacket2_hdr *entry = ring_entry(ring, index);

        __atomic_store_n(&entry->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
        index = (index + 1) % RING_FRAMES;
    }
    place->release_count = 0;
}

void
ring_rewind(struct ring *ring)
{
    struct ring_place *place = ring->place;
    uint32_t next = place->release_from;

    if (place->release_count == 0) {
        return;
    }
    /* It may have died while it gave them back, the first of them first. */
    while (place->release_count > 0 && !entry_is_ours(ring_entry(ring, next))) {
        next = (next + 1) % RING_FRAMES;
        place->release_count--;
    }
    atomic_store(&place->next, next);
    place->release_count = 0;
    /* Of those that are larger than an entry, the copies may have been taken. */
    place->strays = true;
}

void
ring_clear_error(struct ring *ring)
{
    int error;
    socklen_t size = sizeof error;

    getsockopt(ring->fd, SOL_SOCKET, SO_ERROR, &error, &size);
}

static bool
ring_is_empty(const struct ring *ring)
{
    uint32_t next = atomic_load_explicit(&ring->place->next, memory_order_relaxed);

    /* Another process may have written it. */
    return !entry_is_ours(ring_entry(ring, next % RING_FRAMES));
}

/* The kernel takes an entry for a frame before it describes the frame's offload, and
 * when it has no words for that (a kind of segments that virtio_net_hdr lacks) it drops
 * the frame and keeps the entry as taken, for good: net/packet/af_packet.c,
 * tpacket_rcv(), rx_owner_map.  From then on it drops all.  No other drop is in a ring
 * that was empty and to which nothing came since. */
uint32_t
ring_take_overruns(struct ring *ring)
{
    struct tpacket_stats stats;
    socklen_t size = sizeof stats;
    bool was_empty = ring->empty;

    ring->empty = ring_is_empty(ring);
    /* Reading resets them in the kernel. */
    if (getsockopt(ring->fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size) != 0) {
        return 0;
    }
    /* tp_packets counts the dropped ones, too. */
    ring->stuck = stats.tp_packets == stats.tp_drops &&
                  (ring->stuck || (was_empty && stats.tp_drops > 0));
    return stats.tp_drops;
}
