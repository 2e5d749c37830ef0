/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A port: the sockets by which frames of one interface come and go.
 *
 * Owns which there are (a ring for each worker, the packet socket that sends, AF_XDP
 * where it can be had) and by which of them a frame leaves.  Knows no plan, and no
 * protocol.
 */
#include "port.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

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
    const int mark = LAGG_MARK;
    int error = packet_open(&port->tx_fd);

    if (error != 0) {
        return error;
    }
    if (setsockopt(port->tx_fd, SOL_SOCKET, SO_MARK, &mark, sizeof mark) != 0) {
        return -errno;
    }
    packet_set_buffer(port->tx_fd, SO_SNDBUFFORCE, SO_SNDBUF);
    return packet_bind(port->tx_fd, port->ifindex, 0);
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
        ring_close(&port->rings[i]);
    }
    if (port->tx_fd >= 0) {
        close(port->tx_fd);
    }
    xdp_close(&port->xdp);
}

uint32_t
port_take_overruns(struct lagg_port *port)
{
    uint32_t overruns = 0;

    for (uint32_t i = 0; i < port->rings_count; i++) {
        overruns += ring_take_overruns(&port->rings[i]);
    }
    return overruns;
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

/* By the packet socket.  A veth without carrier says that it is full. */
static uint32_t
send_packets(const struct lagg_port *port, const struct frame *frames,
    const uint8_t *order, uint32_t count, int *error)
{
    uint32_t sent = packet_send(port->tx_fd, frames, order, count, error);

    if ((*error == -EAGAIN || *error == -ENOBUFS) && !port_has_carrier(port)) {
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
        sent += send_packets(port, frames, order + sent, count - sent, error);
    }
    return sent;
}
