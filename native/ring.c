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
#include <poll.h>
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

/* Bytes of an entry's header that the kernel writes 0 with each frame. */
enum { ENTRY_FATE, ENTRY_TAGGING };

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

int
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
        (error = ring_set_options(ring->fd)) != 0 ||
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
    if (!packet_is_of(fd, ifindex)) {
        return -EPROTO;
    }
    ring->fd = fd;
    return 0;
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

/* The process that died had received it. */
static bool
entry_rescued(struct ring *ring, const struct tpacket2_hdr *entry,
    struct frame_buffer *buffer, struct frame *frame)
{
    size_t size = (size_t)entry->tp_len + VNET_BYTES;

    if (!ring->place->rescued) {
        return false;
    }
    ring->place->rescued = false;
    if (size > sizeof buffer->bytes || !copy_is_of(entry, buffer->bytes, size)) {
        return false;
    }
    *frame = buffer_frame(buffer, (uint32_t)size);
    return true;
}

/* The frame of an entry too small for it: the kernel queued a copy of it, in the order
 * of the entries.  Yet what recv(2) gives need not be that copy.  A link that goes down
 * leaves an error that is told first, and once; an entry that was given up has left its
 * copy; and a copy may be lost on its way here.  So each is held against its entry, and
 * none is taken for another's. */
static uint32_t
entry_receive(struct ring *ring, const struct tpacket2_hdr *entry,
    struct frame_buffer *buffers, struct frame *frame)
{
    uint8_t *bytes = buffers[0].bytes;

    if (entry_rescued(ring, entry, &buffers[1], frame)) {
        return LAGG_DROP_COUNT;
    }
    buffer_clear(&buffers[0]);
    for (int tries = 0; tries < RECEIVE_TRIES; tries++) {
        ssize_t size =
            recv(ring->fd, bytes, sizeof buffers[0].bytes, MSG_DONTWAIT | MSG_TRUNC);

        if (size < 0 && errno == EAGAIN) {
            break;
        }
        if (size < 0 || !copy_is_of(entry, bytes, (size_t)size)) {
            continue;
        }
        if (size > (ssize_t)sizeof buffers[0].bytes) {
            return LAGG_DROP_OVERSIZE;
        }
        *frame = buffer_frame(&buffers[0], (uint32_t)size);
        return LAGG_DROP_COUNT;
    }
    ring->place->strays = true;
    return LAGG_DROP_RING_OVERRUN;
}

/* Puts the tag back, where the frame lies.  What that moves is kept: should this
 * process die, the next one finds the frame as it was. */
static void
entry_tag(
    struct ring *ring, struct tpacket2_hdr *entry, uint32_t status, struct frame *frame)
{
    bool named = status & TP_STATUS_VLAN_TPID_VALID;

    memcpy(ring->place->untagged, frame->head, UNTAGGED_BYTES);
    in_order();
    entry->tp_padding[ENTRY_TAGGING] = 1;
    in_order();
    frame_insert_tag(
        frame, named ? entry->tp_vlan_tpid : ETH_P_8021Q, entry->tp_vlan_tci);
}

/* Why the frame of an entry cannot be had, as frame_refusal(). */
static uint32_t
entry_read(struct ring *ring, struct tpacket2_hdr *entry, uint32_t status,
    struct frame_buffer *buffers, struct frame *frame)
{
    uint32_t refusal = LAGG_DROP_COUNT;

    if (status & TP_STATUS_COPY) {
        refusal = entry_receive(ring, entry, buffers, frame);
    } else if (entry->tp_snaplen < entry->tp_len) {
        refusal = LAGG_DROP_RING_OVERRUN; /* there was no room for a copy */
    } else {
        entry_frame(entry, frame);
    }
    if (refusal == LAGG_DROP_COUNT && (status & TP_STATUS_VLAN_VALID) &&
        frame_bytes(frame) >= ETHER_BYTES) {
        entry_tag(ring, entry, status, frame);
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

/* ---- a burst ----------------------------------------------------------------------
 * What was decided about an entry is written into it, where the kernel writes 0 with
 * each frame: so whoever finds it tells an entry that was decided and not given back
 * from one that was, and holds another frame by now.
 */

static uint32_t
entry_fate(const struct tpacket2_hdr *entry)
{
    return entry->tp_padding[ENTRY_FATE];
}

void
ring_begin(struct ring *ring, uint32_t reader, uint32_t stamp)
{
    struct ring_place *place = ring->place;

    ring->at = atomic_load_explicit(&place->next, memory_order_relaxed) % RING_FRAMES;
    place->release_from = ring->at;
    place->reader = reader;
    place->stamp = stamp;
}

bool
ring_read(struct ring *ring, struct frame_buffer *buffers, struct frame *frame,
    uint32_t *refusal)
{
    struct tpacket2_hdr *entry = ring_entry(ring, ring->at);
    uint32_t status = __atomic_load_n(&entry->tp_status, __ATOMIC_ACQUIRE);

    if (!(status & TP_STATUS_USER)) {
        if (ring->place->strays) {
            strays_discard(ring);
        }
        return false;
    }
    *refusal = entry_read(ring, entry, status, buffers, frame);
    return true;
}

void
ring_decide(struct ring *ring, uint32_t fate)
{
    struct tpacket2_hdr *entry = ring_entry(ring, ring->at);

    in_order();
    entry->tp_padding[ENTRY_FATE] = (uint8_t)fate;
    in_order();
    ring->at = (ring->at + 1) % RING_FRAMES;
}

void
ring_end(struct ring *ring)
{
    /* Relaxed: who else looks has no use for the entries before it. */
    atomic_store_explicit(&ring->place->next, ring->at, memory_order_relaxed);
}

static void
entry_release(struct tpacket2_hdr *entry)
{
    __atomic_store_n(&entry->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
}

void
ring_release(struct ring *ring)
{
    for (uint32_t index = ring->place->release_from; index != ring->at;
        index = (index + 1) % RING_FRAMES) {
        entry_release(ring_entry(ring, index));
    }
}

/* ---- of a process that died -------------------------------------------------------
 */

uint32_t
ring_fate(const struct ring *ring, uint32_t index, uint32_t *bytes)
{
    const struct tpacket2_hdr *entry =
        ring_entry(ring, (ring->place->release_from + index) % RING_FRAMES);

    if (!entry_is_ours(entry)) {
        return RING_UNDECIDED;
    }
    *bytes = entry->tp_len;
    if ((entry->tp_status & TP_STATUS_VLAN_VALID) && entry->tp_len >= ETHER_BYTES) {
        *bytes += TAG_BYTES;
    }
    return entry_fate(entry);
}

/* A tag may have been put back in part.  'head': where the entry's frame begins. */
static void
entry_untag(const struct ring *ring, const struct tpacket2_hdr *entry, uint8_t *head)
{
    if (entry->tp_padding[ENTRY_TAGGING] != 0) {
        memcpy(head, ring->place->untagged, UNTAGGED_BYTES);
    }
}

static bool
entry_has_copy(const struct tpacket2_hdr *entry)
{
    return entry_is_ours(entry) && (entry->tp_status & TP_STATUS_COPY);
}

void
ring_rescue(struct ring *ring, struct frame_buffer *buffers)
{
    const struct tpacket2_hdr *entry;
    uint32_t decided = 0, bytes;
    size_t size;

    while (decided < BURST_MAX && ring_fate(ring, decided, &bytes) != RING_UNDECIDED) {
        decided++;
    }
    entry = ring_entry(ring, (ring->place->release_from + decided) % RING_FRAMES);
    size = (size_t)entry->tp_len + VNET_BYTES;
    if (!entry_has_copy(entry) || entry_fate(entry) != RING_UNDECIDED ||
        buffer_is_clear(&buffers[0]) || size > sizeof buffers[0].bytes) {
        return;
    }
    entry_untag(ring, entry, buffers[0].bytes);
    if (copy_is_of(entry, buffers[0].bytes, size)) {
        memcpy(buffers[1].bytes, buffers[0].bytes, size);
        in_order();
        ring->place->rescued = true;
    }
}

void
ring_recover(struct ring *ring)
{
    struct ring_place *place = ring->place;
    uint32_t from = place->release_from % RING_FRAMES;
    uint32_t next = atomic_load(&place->next) % RING_FRAMES;
    struct tpacket2_hdr *entry;
    uint32_t bytes;

    if (ring->map == NULL) {
        return;
    }
    atomic_store(&place->next, next);
    for (uint32_t i = 0; i < BURST_MAX; i++) {
        if (ring_fate(ring, i, &bytes) != RING_UNDECIDED) {
            entry_release(ring_entry(ring, (from + i) % RING_FRAMES));
            if (next == (from + i) % RING_FRAMES) {
                /* It died before it came to the end of its burst. */
                next = (next + 1) % RING_FRAMES;
                atomic_store(&place->next, next);
            }
        }
    }
    entry = ring_entry(ring, next);
    if (entry_is_ours(entry) && !entry_has_copy(entry)) {
        entry_untag(ring, entry, (uint8_t *)entry + entry->tp_mac - VNET_BYTES);
    }
    /* Of one that is larger than an entry, the copy may have been taken. */
    place->strays = true;
}

void
ring_clear_error(struct ring *ring)
{
    int error;
    socklen_t size = sizeof error;

    getsockopt(ring->fd, SOL_SOCKET, SO_ERROR, &error, &size);
}

/* Whether the kernel has back the entry that it filled last; so it needs no map. */
static bool
ring_is_empty(const struct ring *ring)
{
    struct pollfd asked = {.fd = ring->fd, .events = POLLIN};

    return poll(&asked, 1, 0) == 0 || !(asked.revents & POLLIN);
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
