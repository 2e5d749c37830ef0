/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The packet(7) sockets of one port: how frames enter and leave the wire's side.
 *
 * Owns the receive rings (TPACKET_V2, offload headers, large frames beside the ring),
 * the transmit socket (sendmmsg with offload headers: 2 times faster than
 * PACKET_TX_RING), and what the kernel strips from a frame: the outer VLAN tag.  Knows
 * no plan, and no protocol.
 */
#define _GNU_SOURCE /* sendmmsg */
#include "internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
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
    SOCKET_BUFFER_BYTES = 8 << 20, /* large frames wait here, not in the ring */
    SEND_TRIES = 16, /* on a full queue, before the frame is counted as dropped */
};

static int
socket_set(int fd, int option, int value)
{
    return setsockopt(fd, SOL_PACKET, option, &value, sizeof value) == 0 ? 0 : -errno;
}

/* A socket that sees nothing yet: protocol 0, so no other interface's frame slips in.
 */
static int
socket_make(int *fd)
{
    *fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return *fd < 0 ? -errno : socket_set(*fd, PACKET_VNET_HDR, 1);
}

static int
socket_bind(int fd, int ifindex, int protocol)
{
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET,
        .sll_protocol = htons((uint16_t)protocol),
        .sll_ifindex = ifindex,
    };

    return bind(fd, (struct sockaddr *)&address, sizeof address) == 0 ? 0 : -errno;
}

/* Best effort: without CAP_NET_ADMIN the system's limit holds. */
static void
socket_set_buffer(int fd, int forced, int limited)
{
    int size = SOCKET_BUFFER_BYTES;

    if (setsockopt(fd, SOL_SOCKET, forced, &size, sizeof size) != 0) {
        setsockopt(fd, SOL_SOCKET, limited, &size, sizeof size);
    }
}

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
    if ((error = socket_set(fd, PACKET_COPY_THRESH, 1)) != 0 ||
        (error = socket_set(fd, PACKET_VERSION, TPACKET_V2)) != 0 ||
        /* Room in front of the offload header for the VLAN tag. */
        (error = socket_set(fd, PACKET_RESERVE, TPACKET_ALIGNMENT)) != 0 ||
        (error = socket_set(fd, PACKET_IGNORE_OUTGOING, 1)) != 0) {
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

/* The first ring draws a number no other program uses; the others join it. */
static int
ring_join_fanout(struct ring *ring, int *group)
{
    uint32_t value = (uint32_t)PACKET_FANOUT_HASH << 16;
    socklen_t size = sizeof value;

    if (*group >= 0) {
        return socket_set(ring->fd, PACKET_FANOUT, (int)(value | (uint32_t)*group));
    }
    value |= (uint32_t)PACKET_FANOUT_FLAG_UNIQUEID << 16;
    if (setsockopt(ring->fd, SOL_PACKET, PACKET_FANOUT, &value, sizeof value) != 0 ||
        getsockopt(ring->fd, SOL_PACKET, PACKET_FANOUT, &value, &size) != 0) {
        return -errno;
    }
    *group = (int)(value & 0xffff);
    return 0;
}

static int
ring_open(struct ring *ring, int ifindex)
{
    int error;

    if ((error = socket_make(&ring->fd)) != 0 ||
        (error = ring_set_options(ring->fd)) != 0 || (error = ring_map(ring)) != 0 ||
        (error = filter_shut(ring->fd)) != 0) {
        return error;
    }
    socket_set_buffer(ring->fd, SO_RCVBUFFORCE, SO_RCVBUF);
    return socket_bind(ring->fd, ifindex, ETH_P_ALL);
}

static int
ring_admit(const struct lagg_port *port, int fd, bool lacp)
{
    if (!lacp) {
        return filter_admit_without_lacp(fd);
    }
    /* A fanout does not heed its members' PACKET_IGNORE_OUTGOING. */
    return port->rings_count == 1 ? filter_remove(fd) : filter_admit(fd);
}

int
port_admit(const struct lagg_port *port, bool lacp)
{
    int error = 0;

    for (uint32_t i = 0; i < port->rings_count && error == 0; i++) {
        error = ring_admit(port, port->rings[i].fd, lacp);
    }
    return error;
}

static int
rings_open(struct lagg_port *port)
{
    int error = 0, group = -1;

    for (uint32_t i = 0; i < port->rings_count && error == 0; i++) {
        error = ring_open(&port->rings[i], port->ifindex);
        if (error == 0 && port->rings_count > 1) {
            error = ring_join_fanout(&port->rings[i], &group);
        }
    }
    return error == 0 ? port_admit(port, true) : error;
}

static int
sender_open(struct lagg_port *port)
{
    int error = socket_make(&port->tx_fd);

    if (error != 0) {
        return error;
    }
    socket_set_buffer(port->tx_fd, SO_SNDBUFFORCE, SO_SNDBUF);
    return socket_bind(port->tx_fd, port->ifindex, 0);
}

/* Best effort: a port without it sends all by the packet socket.  With several workers
 * there is one transmit queue to share, and one ring cannot be. */
static void
port_open_xdp(struct lagg_port *port)
{
    if (port->rings_count == 1 && xdp_open(&port->xdp, port->ifindex) == 0) {
        atomic_store(&port->xdp_wanted, true);
    }
}

int
port_open(struct lagg_port *port, int ifindex, uint32_t rings_count, bool xdp)
{
    int error;

    port->ifindex = ifindex;
    port->tx_fd = -1;
    port->rings_count = rings_count;
    for (uint32_t i = 0; i < rings_count; i++) {
        port->rings[i].fd = -1;
    }
    if ((error = sender_open(port)) != 0 || (error = rings_open(port)) != 0) {
        port_close(port);
    } else if (xdp) {
        port_open_xdp(port);
    }
    return error;
}

void
port_close(struct lagg_port *port)
{
    for (uint32_t i = 0; i < port->rings_count; i++) {
        if (port->rings[i].map != NULL) {
            munmap(port->rings[i].map, RING_BYTES);
        }
        if (port->rings[i].fd >= 0) {
            close(port->rings[i].fd);
        }
    }
    if (port->tx_fd >= 0) {
        close(port->tx_fd);
    }
    xdp_close(&port->xdp);
}

static struct tpacket2_hdr *
ring_entry(const struct ring *ring, uint32_t index)
{
    return (
        struct tpacket2_hdr *)(void *)(ring->map + (size_t)index * RING_FRAME_BYTES);
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

/* The frame of an entry too small for it: the kernel queued it on the socket, in the
 * order of the entries. */
static bool
entry_receive(int fd, struct frame_buffer *buffer, struct frame *frame)
{
    ssize_t size =
        recv(fd, buffer->bytes, sizeof buffer->bytes, MSG_DONTWAIT | MSG_TRUNC);

    if (size < VNET_BYTES || size > (ssize_t)sizeof buffer->bytes) {
        return false;
    }
    *frame = buffer_frame(buffer, (uint32_t)size);
    return true;
}

static bool
entry_read(struct ring *ring, struct tpacket2_hdr *entry, uint32_t status,
    struct frame_buffer *buffer, struct frame *frame)
{
    if (status & TP_STATUS_COPY) {
        if (!entry_receive(ring->fd, buffer, frame)) {
            return false;
        }
    } else if (entry->tp_snaplen < entry->tp_len) {
        return false;
    } else {
        entry_frame(entry, frame);
    }
    if ((status & TP_STATUS_VLAN_VALID) && frame_bytes(frame) >= ETHER_BYTES) {
        bool named = status & TP_STATUS_VLAN_TPID_VALID;

        frame_insert_tag(
            frame, named ? entry->tp_vlan_tpid : ETH_P_8021Q, entry->tp_vlan_tci);
    }
    return true;
}

uint32_t
ring_read(struct ring *ring, struct frame_buffer *buffers, struct frame *frames,
    uint32_t max, uint32_t *oversize)
{
    uint32_t count = 0;

    ring->release_from = ring->next;
    for (ring->release_count = 0; ring->release_count < max; ring->release_count++) {
        struct tpacket2_hdr *entry = ring_entry(ring, ring->next);
        uint32_t status = __atomic_load_n(&entry->tp_status, __ATOMIC_ACQUIRE);

        if (!(status & TP_STATUS_USER)) {
            break;
        }
        if (entry_read(ring, entry, status, &buffers[count], &frames[count])) {
            count++;
        } else {
            (*oversize)++;
        }
        ring->next = (ring->next + 1) % RING_FRAMES;
    }
    return count;
}

void
ring_release(struct ring *ring)
{
    uint32_t index = ring->release_from;

    for (uint32_t i = 0; i < ring->release_count; i++) {
        struct tpacket2_hdr *entry = ring_entry(ring, index);

        __atomic_store_n(&entry->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
        index = (index + 1) % RING_FRAMES;
    }
    ring->release_count = 0;
}

void
port_clear_error(struct lagg_port *port, uint32_t ring)
{
    int error;
    socklen_t size = sizeof error;

    getsockopt(port->rings[ring].fd, SOL_SOCKET, SO_ERROR, &error, &size);
}

uint32_t
port_take_overruns(struct lagg_port *port)
{
    uint32_t overruns = 0;

    for (uint32_t i = 0; i < port->rings_count; i++) {
        struct tpacket_stats stats;
        socklen_t size = sizeof stats;
        int fd = port->rings[i].fd;

        /* Reading resets them in the kernel. */
        if (getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size) == 0) {
            overruns += stats.tp_drops;
        }
    }
    return overruns;
}

static void
message_fill(struct mmsghdr *message, struct iovec parts[2], const struct frame *frame)
{
    parts[0] = (struct iovec){.iov_base = frame->head, .iov_len = frame->head_bytes};
    parts[1] = (struct iovec){.iov_base = frame->rest, .iov_len = frame->rest_bytes};
    *message = (struct mmsghdr){
        .msg_hdr = {.msg_iov = parts, .msg_iovlen = frame->rest_bytes > 0 ? 2 : 1},
    };
}

/* Whether the port has carrier.  To ask makes the kernel tell a loss that it may hold
 * back for a second (net/core/link_watch.c), so the control plane learns of it, too. */
static bool
port_has_carrier(const struct lagg_port *port)
{
    struct ethtool_value link = {.cmd = ETHTOOL_GLINK, .data = 1};
    struct ifreq request = {.ifr_ifindex = port->ifindex};

    if (ioctl(port->tx_fd, SIOCGIFNAME, &request) != 0) {
        return true; /* unknown; sendmmsg() itself tells a port that is gone */
    }
    request.ifr_data = (void *)&link;
    return ioctl(port->tx_fd, SIOCETHTOOL, &request) != 0 || link.data != 0;
}

static bool
error_is_full(int error)
{
    return error == EAGAIN || error == ENOBUFS;
}

/* By the packet socket: any frame, in as few calls as can be. */
static uint32_t
send_messages(const struct lagg_port *port, const struct frame *frames,
    const uint8_t *order, uint32_t count, int *error)
{
    struct mmsghdr messages[BURST_MAX];
    struct iovec parts[BURST_MAX][2];
    uint32_t sent = 0;
    int tries = 0;

    for (uint32_t i = 0; i < count; i++) {
        message_fill(&messages[i], parts[i], &frames[order[i]]);
    }
    while (sent < count) {
        int taken = sendmmsg(port->tx_fd, messages + sent, count - sent, MSG_DONTWAIT);

        if (taken > 0) {
            sent += (uint32_t)taken;
            continue;
        }
        if (!error_is_full(errno) || ++tries >= SEND_TRIES) {
            *error = -errno;
            break;
        }
    }
    /* A veth without carrier says that it is full. */
    if (error_is_full(-*error) && !port_has_carrier(port)) {
        *error = -ENETDOWN;
    }
    return sent;
}

bool
port_uses_xdp(const struct lagg_port *port)
{
    /* Relaxed: a choice, not a right; the sockets live as long as the snapshot. */
    return atomic_load_explicit(&port->xdp.open, memory_order_relaxed) &&
           atomic_load_explicit(&port->xdp_wanted, memory_order_relaxed);
}

/* AF_XDP passes the port's queueing discipline by.  So it may only send while nothing
 * that went before waits there: what the packet socket sent has left it. */
static bool
port_is_drained(struct lagg_port *port)
{
    int bytes;

    if (port->queued && ioctl(port->tx_fd, SIOCOUTQ, &bytes) == 0) {
        port->queued = bytes > 0;
    }
    return !port->queued;
}

uint32_t
port_send(struct lagg_port *port, const struct frame *frames, const uint8_t *order,
    uint32_t count, int *error)
{
    uint32_t sent = 0;

    if (port_uses_xdp(port) && xdp_fits(&frames[order[0]]) && port_is_drained(port)) {
        sent = xdp_send(&port->xdp, frames, order, count);
    }
    if (sent < count) {
        /* Whatever was not taken, the packet socket sends or says why it cannot. */
        port->queued = port->xdp.chunks != NULL;
        sent += send_messages(port, frames, order + sent, count - sent, error);
    }
    return sent;
}
