/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How frames leave a port.
 *
 * Owns by which of its sockets each leaves, and that what goes by one does not pass
 * what went by another before.  Opens none.  Knows no plan, and no protocol.
 */
#include "port.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>

bool
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

bool
port_uses_xdp(const struct lagg_port *port)
{
    /* Relaxed: a choice, not a right; the sockets live as long as the snapshot. */
    return atomic_load_explicit(&port->work->xdp.open, memory_order_relaxed) &&
           atomic_load_explicit(&port->wish->xdp, memory_order_relaxed);
}

static bool
socket_holds_frames(int fd)
{
    int bytes;

    return ioctl(fd, SIOCOUTQ, &bytes) != 0 || bytes > 0;
}

/* Nor may a packet socket pass what AF_XDP sent before, when it takes over because the
 * port has more transmit queues now. */
static void
port_drain_xdp(struct lagg_port *port)
{
    if (port->xdp_queued && !port_uses_xdp(port)) {
        xdp_drain(&port->xdp);
        port->xdp_queued = false;
    }
}

/* AF_XDP passes the port's queueing discipline by.  So it may only send while nothing
 * that went before waits there: what the packet sockets sent has left it. */
static bool
port_is_drained(struct lagg_port *port)
{
    port->queued = port->queued && socket_holds_frames(port->tx_fd);
    port->long_queued = port->long_queued && socket_holds_frames(port->txrings[0].fd);
    return !port->queued && !port->long_queued;
}

/* Whether the port takes what it carries, though the frame is longer than its MTU: what
 * stands above MTU and Ethernet header is VLAN tags, two of them at most. */
static bool
frame_is_long_by_tags(const struct lagg_port *port, const struct frame *frame)
{
    struct ifreq request = {.ifr_ifindex = port->ifindex};

    if (ioctl(port->tx_fd, SIOCGIFNAME, &request) != 0 ||
        ioctl(port->tx_fd, SIOCGIFMTU, &request) != 0) {
        return false;
    }
    return frame_bytes(frame) <=
           (uint32_t)request.ifr_mtu + ETHER_BYTES + frame_tags_bytes(frame);
}

/* Sends a frame that the packet socket holds to be too long.  0 or -errno. */
static int
send_long(struct lagg_port *port, const struct shipment *shipment)
{
    struct txring *ring = &port->txrings[shipment->worker];

    if (ring->map == NULL || !frame_is_long_by_tags(port, shipment_frame(shipment))) {
        return -EMSGSIZE;
    }
    if (port_has_xdp(port)) {
        port->long_queued = true;
    }
    return txring_send(ring, shipment);
}

int
port_insist(struct lagg_port *port, const struct shipment *shipment, uint32_t tries)
{
    int error = 0;

    port_drain_xdp(port);
    if (port_has_xdp(port)) {
        port->queued = true;
    }
    while (error == 0 && shipment_left(shipment) > 0) {
        error = packet_send(port->tx_fd, shipment, tries);
        if (error == -EMSGSIZE) {
            error = send_long(port, shipment);
        }
    }
    return error;
}

int
port_send(struct lagg_port *port, const struct shipment *shipment)
{
    if (port_uses_xdp(port) && xdp_fits(shipment_frame(shipment)) &&
        port_is_drained(port)) {
        xdp_send(&port->xdp, shipment);
        port->xdp_queued = true;
    }
    /* Whatever was not taken, the packet socket sends or says why it cannot. */
    return shipment_left(shipment) > 0 ? port_insist(port, shipment, 1) : 0;
}
