/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A transmit ring: how a frame leaves that sendmmsg(2) holds to be too long.
 *
 * Owns a packet(7) socket with a PACKET_TX_RING.  Of frames longer than the port's MTU
 * that socket's other way out takes those with one tag of 802.1Q, and none with a tag
 * of 802.1ad or with two, which the port itself would take.  With offload headers this
 * way out asks for no length at all; so its caller must.  Slower than the other by far.
 */
#include "port.h"

#include <errno.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    ENTRIES = 16,          /* a port's driver gives them back within microseconds */
    ENTRY_BYTES = 1 << 14, /* jumbo frames, with tags and the headers below */
    BLOCK_BYTES = 1 << 16,
    DATA_OFFSET = 32, /* behind the header, as the kernel reads it */
};

static_assert(
    DATA_OFFSET == sizeof(struct tpacket2_hdr) && DATA_OFFSET % TPACKET_ALIGNMENT == 0,
    "data begins where the header ends");

static int
entries_make(int fd)
{
    struct tpacket_req request = {
        .tp_block_size = BLOCK_BYTES,
        .tp_block_nr = ENTRIES * ENTRY_BYTES / BLOCK_BYTES,
        .tp_frame_size = ENTRY_BYTES,
        .tp_frame_nr = ENTRIES,
    };

    return setsockopt(fd, SOL_PACKET, PACKET_TX_RING, &request, sizeof request) == 0
               ? 0
               : -errno;
}

int
txring_map(struct txring *ring)
{
    void *map = mmap(NULL, (size_t)ENTRIES * ENTRY_BYTES, PROT_READ | PROT_WRITE,
        MAP_SHARED, ring->fd, 0);

    if (map == MAP_FAILED) {
        return -errno;
    }
    ring->map = map;
    return 0;
}

int
txring_open(struct txring *ring, int ifindex)
{
    int error;

    if ((error = packet_open(&ring->fd)) != 0 ||
        (error = packet_set(ring->fd, PACKET_VERSION, TPACKET_V2)) != 0 ||
        (error = entries_make(ring->fd)) != 0) {
        return error;
    }
    return packet_bind_sender(ring->fd, ifindex);
}

int
txring_adopt(struct txring *ring, int fd, int ifindex)
{
    if (!packet_is_of(fd, ifindex)) {
        return -EPROTO;
    }
    ring->fd = fd;
    return 0;
}

void
txring_close(struct txring *ring)
{
    if (ring->map != NULL) {
        munmap(ring->map, (size_t)ENTRIES * ENTRY_BYTES);
    }
    if (ring->fd >= 0) {
        close(ring->fd);
    }
}

/* The whole frame is to be copied: the kernel would refer to the entry for the rest. */
static void
entry_fill(struct tpacket2_hdr *entry, const struct frame *frame)
{
    uint8_t *bytes = (uint8_t *)entry + DATA_OFFSET;
    struct virtio_net_hdr offload;

    memcpy(bytes, frame->head, frame->head_bytes);
    memcpy(bytes + frame->head_bytes, frame->rest, frame->rest_bytes);
    memcpy(&offload, bytes, VNET_BYTES);
    offload.hdr_len = (uint16_t)frame_bytes(frame);
    memcpy(bytes, &offload, VNET_BYTES);
    entry->tp_len = frame_bytes(frame) + VNET_BYTES;
}

static struct tpacket2_hdr *
entry_at(const struct txring *ring, uint32_t index)
{
    return (struct tpacket2_hdr *)(void *)(ring->map + (size_t)index * ENTRY_BYTES);
}

static uint32_t
entry_status(const struct tpacket2_hdr *entry)
{
    return __atomic_load_n(&entry->tp_status, __ATOMIC_ACQUIRE);
}

static void
entry_mark(struct tpacket2_hdr *entry, uint32_t status)
{
    __atomic_store_n(&entry->tp_status, status, __ATOMIC_RELEASE);
}

/* An entry that is being filled is one of a wrong format, which the kernel passes over:
 * so one that is available was sent, if it is the call's under way.  And so is what the
 * kernel refused: else it would leave by the next call. */
int
txring_send(struct txring *ring, const struct shipment *shipment)
{
    const struct frame *frame = shipment_frame(shipment);
    uint32_t index = *ring->next % ENTRIES, status;
    struct tpacket2_hdr *entry = entry_at(ring, index);

    if (DATA_OFFSET + VNET_BYTES + frame_bytes(frame) > ENTRY_BYTES) {
        return -EMSGSIZE;
    }
    status = entry_status(entry);
    if (status != TP_STATUS_AVAILABLE && status != TP_STATUS_WRONG_FORMAT) {
        return -EAGAIN;
    }
    entry_mark(entry, TP_STATUS_WRONG_FORMAT);
    call_begin(shipment, CALL_LONG, index);
    entry_fill(entry, frame);
    entry_mark(entry, TP_STATUS_SEND_REQUEST);
    if (send(ring->fd, NULL, 0, MSG_DONTWAIT) < 0) {
        int error = -errno;

        entry_mark(entry, TP_STATUS_WRONG_FORMAT);
        return error;
    }
    *ring->next = (index + 1) % ENTRIES;
    in_order();
    shipment->queue->done++;
    return 0;
}

bool
txring_settle(struct txring *ring, uint32_t index)
{
    struct tpacket2_hdr *entry = entry_at(ring, index % ENTRIES);
    uint32_t status = entry_status(entry);
    bool taken = status != TP_STATUS_SEND_REQUEST && status != TP_STATUS_WRONG_FORMAT;

    if (!taken) {
        entry_mark(entry, TP_STATUS_WRONG_FORMAT);
    }
    *ring->next = (index + taken) % ENTRIES;
    return taken;
}
