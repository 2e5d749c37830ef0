/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A port: the sockets by which frames of one interface come and go.
 *
 * Owns which there are (a ring for each worker, the packet socket that sends, AF_XDP
 * where it can be had), in which process which of them is mapped, and when it is bound.
 * Knows no plan, and no protocol.
 */
#include "port.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- receive rings ----------------------------------------------------------------
 */

static uint32_t
rings_live(const struct lagg_port *port)
{
    return atomic_load_explicit(&port->wish->live, memory_order_relaxed) & 1;
}

static int
rings_admit(const struct lagg_port *port, uint32_t set)
{
    int error = 0;

    for (uint32_t i = 0; i < port->rings_count && error == 0; i++) {
        error = filter_admit(port->rings[set][i].fd, &port->wish->admission);
    }
    return error;
}

int
port_admit(struct lagg_port *port, const struct admission *admission)
{
    struct admission before = port->wish->admission;
    int error;

    port->wish->admission = *admission;
    error = rings_admit(port, rings_live(port));
    if (error != 0) {
        port->wish->admission = before;
        rings_admit(port, rings_live(port)); /* what was so is not refused now */
    }
    return error;
}

static void
rings_close(struct lagg_port *port, uint32_t set)
{
    for (uint32_t i = 0; i < port->rings_count; i++) {
        struct ring *ring = &port->rings[set][i];

        ring_close(ring);
        *ring = (struct ring){.fd = -1, .place = ring->place};
    }
}

/* To see an end of 4 MiB a ring is to build page tables for them, and to tear them down
 * takes as long; who only decides has no use for that. */
static int
rings_map(struct lagg_port *port, uint32_t set)
{
    int error = 0;

    for (uint32_t i = 0; i < port->rings_count && error == 0 && !port->apart; i++) {
        struct ring *ring = &port->rings[set][i];

        error = ring->fd >= 0 ? ring_map(ring) : 0;
    }
    return error;
}

static int
rings_open(struct lagg_port *port, uint32_t set)
{
    int error = 0, group = -1;

    for (uint32_t i = 0; i < port->rings_count && error == 0; i++) {
        error = ring_open(&port->rings[set][i], port->ifindex);
        if (error == 0 && port->rings_count > 1) {
            error = ring_join_fanout(&port->rings[set][i], &group);
        }
    }
    if (error == 0) {
        error = rings_map(port, set);
    }
    if (error != 0) {
        rings_close(port, set);
    }
    return error;
}

int
port_open_rings(struct lagg_port *port)
{
    uint32_t other = 1 - rings_live(port);

    return port->rings[other][0].fd >= 0 ? -EBUSY : rings_open(port, other);
}

void
port_shut_rings(struct lagg_port *port)
{
    for (uint32_t i = 0; i < port->rings_count; i++) {
        filter_shut(port->rings[rings_live(port)][i].fd);
    }
}

int
port_change_rings(struct lagg_port *port)
{
    uint32_t live = rings_live(port), other = 1 - live;
    int error = rings_admit(port, other);

    if (error != 0) {
        rings_admit(port, live);
        return error;
    }
    atomic_store_explicit(&port->wish->live, other, memory_order_release);
    port->wish->changed++;
    return 0;
}

void
port_close_rings(struct lagg_port *port)
{
    rings_close(port, 1 - rings_live(port));
}

uint32_t
port_take_overruns(struct lagg_port *port)
{
    uint32_t overruns = 0;

    for (uint32_t i = 0; i < port->rings_count; i++) {
        overruns += ring_take_overruns(&port->rings[rings_live(port)][i]);
    }
    return overruns;
}

bool
port_is_stuck(struct lagg_port *port)
{
    bool stuck = false;

    for (uint32_t i = 0; i < port->rings_count; i++) {
        stuck |= port->rings[rings_live(port)][i].stuck;
    }
    return stuck;
}

/* ---- opening and closing ----------------------------------------------------------
 */

static int
sender_open(struct lagg_port *port)
{
    int error = packet_open(&port->tx_fd);

    return error != 0 ? error : packet_bind_sender(port->tx_fd, port->ifindex);
}

/* Best effort: without it a port refuses frames that are long by their tags. */
static void
port_open_txrings(struct lagg_port *port)
{
    for (uint32_t i = 0; i < port->rings_count; i++) {
        struct txring *ring = &port->txrings[i];

        if (txring_open(ring, port->ifindex) != 0 ||
            (!port->apart && txring_map(ring) != 0)) {
            txring_close(ring);
            *ring = (struct txring){.fd = -1};
        }
    }
}

/* Best effort: a port without it sends all by the packet socket.  With several workers
 * there is one transmit queue to share, and one ring cannot be. */
static void
port_open_xdp(struct lagg_port *port)
{
    if (port->rings_count > 1 || xdp_open(&port->xdp) != 0) {
        return;
    }
    if (port->apart) {
        xdp_unmap(&port->xdp);
    } else if (xdp_map(&port->xdp) != 0 || xdp_bind(&port->xdp, port->ifindex) != 0) {
        xdp_close(&port->xdp);
        return;
    }
    atomic_store(&port->wish->xdp, true);
}

static void
port_init(struct lagg_port *port, int ifindex, uint32_t rings_count)
{
    port->ifindex = ifindex;
    port->tx_fd = port->xdp.fd = port->xdp.chunks_fd = -1;
    port->rings_count = rings_count;
    port->wish = &port->own;
    for (uint32_t i = 0; i < LAGG_WORKERS_MAX; i++) {
        port->rings[0][i].fd = port->rings[1][i].fd = port->txrings[i].fd = -1;
    }
}

int
port_open(struct lagg_port *port, int ifindex, uint32_t rings_count, bool xdp)
{
    int error;

    port_init(port, ifindex, rings_count);
    port->own.admission = (struct admission){.shared = rings_count > 1, .lacp = true};
    if ((error = sender_open(port)) != 0 || (error = rings_open(port, 0)) != 0 ||
        (error = rings_admit(port, 0)) != 0) {
        port_close(port);
        return error;
    }
    port_open_txrings(port);
    if (xdp) {
        port_open_xdp(port);
    }
    return 0;
}

void
port_close(struct lagg_port *port)
{
    rings_close(port, 0);
    rings_close(port, 1);
    for (uint32_t i = 0; i < port->rings_count; i++) {
        txring_close(&port->txrings[i]);
    }
    if (port->tx_fd >= 0) {
        close(port->tx_fd);
    }
    xdp_close(&port->xdp);
}

/* ---- of another process -----------------------------------------------------------
 */

static int
rings_adopt(struct lagg_port *port, const struct lagg_port_fds *fds)
{
    int error = 0;

    for (uint32_t i = 0; i < port->rings_count && error == 0; i++) {
        for (uint32_t set = 0; set < 2 && error == 0; set++) {
            if (fds->rings[set][i] >= 0) {
                error =
                    ring_adopt(&port->rings[set][i], fds->rings[set][i], port->ifindex);
            }
        }
        if (error == 0 && fds->txrings[i] >= 0) {
            error = txring_adopt(&port->txrings[i], fds->txrings[i], port->ifindex);
        }
    }
    return error;
}

static int
sockets_adopt(struct lagg_port *port, const struct lagg_port_fds *fds)
{
    int error = rings_adopt(port, fds);

    return error == 0 && fds->xdp >= 0 ? xdp_adopt(&port->xdp, fds->xdp, fds->chunks)
                                       : error;
}

/* All that frames pass by; without AF_XDP, where that cannot be had. */
static int
sockets_map(struct lagg_port *port)
{
    int error = 0;

    for (uint32_t set = 0; set < 2 && error == 0; set++) {
        error = rings_map(port, set);
    }
    for (uint32_t i = 0; i < port->rings_count && error == 0; i++) {
        error = port->txrings[i].fd >= 0 ? txring_map(&port->txrings[i]) : 0;
    }
    if (error == 0 && port->xdp.fd >= 0) {
        xdp_map(&port->xdp);
    }
    return error;
}

int
port_adopt_rings(struct lagg_port *port, const struct lagg_port_fds *fds)
{
    uint32_t other = 1 - rings_live(port);
    struct ring *rings = port->rings[other];
    int error = rings[0].fd >= 0 ? -EBUSY : 0;

    if (error != 0) {
        return error;
    }
    for (uint32_t i = 0; i < port->rings_count && error == 0; i++) {
        error = ring_adopt(&rings[i], fds->rings[other][i], port->ifindex);
    }
    if (error == 0) {
        error = rings_map(port, other);
    }
    if (error != 0) {
        for (uint32_t i = 0; i < port->rings_count; i++) {
            rings[i].fd = -1;
        }
        rings_close(port, other);
        return error;
    }
    port_begin_rings(port);
    return 0;
}

int
port_adopt(struct lagg_port *port, const struct lagg_port_fds *fds)
{
    int error = -EPROTO;

    if (fds->rings_count < 1 || fds->rings_count > LAGG_WORKERS_MAX ||
        !packet_is_of(fds->tx, fds->ifindex)) {
        return error;
    }
    port_init(port, fds->ifindex, fds->rings_count);
    port->tx_fd = fds->tx;
    error = sockets_adopt(port, fds);
    if (error == 0 && !port->apart) {
        error = sockets_map(port);
    }
    if (error != 0) {
        port_disown(port);
        port_close(port);
    }
    /* What its sockets may still hold, nobody knows. */
    port->queued = port->xdp_queued = port->long_queued = port_has_xdp(port);
    return error;
}

void
port_disown(struct lagg_port *port)
{
    port->tx_fd = port->xdp.fd = port->xdp.chunks_fd = -1;
    for (uint32_t i = 0; i < LAGG_WORKERS_MAX; i++) {
        port->rings[0][i].fd = port->rings[1][i].fd = port->txrings[i].fd = -1;
    }
}

void
port_bind_xdp(const struct lagg_port *port)
{
    if (port->apart && port->xdp.fd >= 0) {
        /* One of no queue takes no frame, which its worker sees with the first. */
        xdp_bind(&port->xdp, port->ifindex);
    }
}

/* ---- its place --------------------------------------------------------------------
 */

void
port_give_wish(struct lagg_port *port, struct port_wish *wish)
{
    *wish = port->own;
    port->wish = wish;
}

void
port_place(struct lagg_port *port, struct port_work *work)
{
    port->work = work;
    for (uint32_t i = 0; i < port->rings_count; i++) {
        port->rings[0][i].place = &work->rings[0][i];
        port->rings[1][i].place = &work->rings[1][i];
        port->txrings[i].next = &work->txrings_next[i];
    }
    port->xdp.place = &work->xdp;
}

void
port_begin(struct lagg_port *port)
{
    memset(port->work, 0, sizeof *port->work);
    xdp_begin(&port->xdp);
}

void
port_recover(struct lagg_port *port)
{
    for (uint32_t i = 0; i < port->rings_count; i++) {
        for (uint32_t set = 0; set < 2; set++) {
            ring_recover(&port->rings[set][i]);
        }
    }
    if (port_has_xdp(port)) {
        xdp_recover(&port->xdp);
    } else {
        /* Not any more: its interface has gone. */
        atomic_store(&port->work->xdp.open, false);
    }
}

void
port_begin_rings(struct lagg_port *port)
{
    for (uint32_t i = 0; i < port->rings_count; i++) {
        memset(
            port->rings[1 - rings_live(port)][i].place, 0, sizeof(struct ring_place));
    }
}
