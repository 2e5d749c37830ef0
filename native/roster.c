/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The roster of a device: the ports it has, by slot.
 *
 * Owns the life of each port, the order of taking one away (unpublished, ticket passed,
 * drained, closed), and that of giving one other receive rings while it works.  The
 * public functions of lagg.h that name a slot or a port.
 */
#include "device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct lagg_port *
slot_port(const struct lagg_device *device, uint32_t slot)
{
    return slot < LAGG_PORTS_MAX ? device->ports[slot] : NULL;
}

int
lagg_port_open(const struct lagg_device *device, int ifindex, uint32_t transmit,
    struct lagg_port **out)
{
    struct lagg_port *port;
    int error;

    if (ifindex <= 0 || transmit >= LAGG_TRANSMIT_COUNT) {
        return -EINVAL;
    }
    port = memory_allocate(sizeof *port, sizeof *port);
    if (port == NULL) {
        return -ENOMEM;
    }
    port->apart = device->datapath == NULL;
    error =
        port_open(port, ifindex, device->workers_count, transmit == LAGG_TRANSMIT_XDP);
    if (error != 0) {
        free(port);
        return error;
    }
    *out = port;
    return 0;
}

int
lagg_port_adopt(const struct lagg_port_fds *fds, uint32_t where, struct lagg_port **out)
{
    struct lagg_port *port = memory_allocate(sizeof *port, sizeof *port);
    int error;

    if (port == NULL) {
        return -ENOMEM;
    }
    port->apart = where == LAGG_APART;
    error = port_adopt(port, fds);
    if (error != 0) {
        free(port);
        return error;
    }
    *out = port;
    return 0;
}

void
lagg_port_fds(const struct lagg_port *port, struct lagg_port_fds *fds)
{
    *fds = (struct lagg_port_fds){
        .ifindex = port->ifindex,
        .rings_count = port->rings_count,
        .tx = port->tx_fd,
        .xdp = port->xdp.fd,
        .chunks = port->xdp.chunks_fd,
    };
    for (uint32_t i = 0; i < LAGG_WORKERS_MAX; i++) {
        fds->rings[0][i] = port->rings[0][i].fd;
        fds->rings[1][i] = port->rings[1][i].fd;
        fds->txrings[i] = port->txrings[i].fd;
    }
}

void
lagg_port_close(struct lagg_port *port)
{
    port_close(port);
    free(port);
}

static int
slot_fill(struct lagg_device *device, uint32_t slot, struct lagg_port *port, bool fresh)
{
    struct port_wish *wish;

    if (slot >= LAGG_PORTS_MAX) {
        return -EINVAL;
    }
    if (device->ports[slot] != NULL) {
        return -EEXIST;
    }
    wish = &device->plans->wishes[slot];
    if (fresh) {
        port_give_wish(port, wish);
    } else {
        port->wish = wish;
    }
    device->ports[slot] = port;
    if (device->datapath != NULL) {
        datapath_add(device->datapath, slot, port, fresh);
    } else {
        port_place(port, &device->work->ports[slot]);
    }
    return 0;
}

int
lagg_device_add_port(struct lagg_device *device, uint32_t slot, struct lagg_port *port)
{
    return slot_fill(device, slot, port, true);
}

int
lagg_device_add_adopted(
    struct lagg_device *device, uint32_t slot, struct lagg_port *port)
{
    return slot_fill(device, slot, port, false);
}

int
lagg_device_bind_port(const struct lagg_device *device, uint32_t slot)
{
    const struct lagg_port *port = slot_port(device, slot);

    if (port == NULL) {
        return -ENOENT;
    }
    port_bind_xdp(port);
    return 0;
}

/* ---- what is wanted of one --------------------------------------------------------
 */

int
lagg_device_set_transmit(struct lagg_device *device, uint32_t slot, uint32_t transmit)
{
    if (transmit >= LAGG_TRANSMIT_COUNT) {
        return -EINVAL;
    }
    if (slot_port(device, slot) == NULL) {
        return -ENOENT;
    }
    atomic_store(&device->ports[slot]->wish->xdp, transmit == LAGG_TRANSMIT_XDP);
    return 0;
}

int
lagg_device_set_filtered(struct lagg_device *device, uint32_t slot, int filtered)
{
    struct lagg_port *port = slot_port(device, slot);

    if (port == NULL) {
        return -ENOENT;
    }
    atomic_store(&port->wish->filtered, filtered != 0);
    return 0;
}

int
lagg_device_admit_lacp(struct lagg_device *device, uint32_t slot, int admit)
{
    struct lagg_port *port = slot_port(device, slot);
    struct admission admission;

    if (port == NULL) {
        return -ENOENT;
    }
    admission = port->wish->admission;
    admission.lacp = admit != 0;
    return port_admit(port, &admission);
}

int
lagg_device_keep_out(
    struct lagg_device *device, uint32_t slot, const uint8_t *macs, uint32_t count)
{
    struct lagg_port *port = slot_port(device, slot);
    struct admission admission;

    if (count > LAGG_KEPT_OUT_MAX) {
        return -E2BIG;
    }
    if (port == NULL) {
        return -ENOENT;
    }
    admission = port->wish->admission;
    admission.kept_out.count = count;
    memcpy(admission.kept_out.macs, macs, count * sizeof admission.kept_out.macs[0]);
    return port_admit(port, &admission);
}

void
roster_take_overruns(struct lagg_device *device, struct lagg_port *port)
{
    uint32_t overruns = port_take_overruns(port);

    port->wish->overruns += overruns;
    device->plans->overruns += overruns;
}

int
lagg_device_names(const struct lagg_device *device, uint32_t slot)
{
    return slot_port(device, slot) == NULL ? -ENOENT
                                           : snapshot_names(&device->store, slot);
}

int
lagg_device_remove_port(
    struct lagg_device *device, uint32_t slot, struct lagg_port **out)
{
    struct lagg_port *port = slot_port(device, slot);

    if (port == NULL) {
        return -ENOENT;
    }
    if (snapshot_names(&device->store, slot)) {
        return -EBUSY;
    }
    if (device->datapath != NULL) {
        datapath_drain(device->datapath, slot, port->wish->live);
        datapath_remove(device->datapath, slot);
    }
    roster_take_overruns(device, port);
    device->ports[slot] = NULL;
    *out = port;
    return 0;
}

/* ---- receive rings opened anew ----------------------------------------------------
 */

uint32_t
lagg_device_stuck(struct lagg_device *device)
{
    uint32_t stuck = 0;

    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        struct lagg_port *port = device->ports[slot];

        if (port != NULL) {
            roster_take_overruns(device, port);
            stuck |= (uint32_t)port_is_stuck(port) << slot;
        }
    }
    return stuck;
}

int
lagg_device_open_rings(struct lagg_device *device, uint32_t slot)
{
    struct lagg_port *port = slot_port(device, slot);

    return port == NULL ? -ENOENT : port_open_rings(port);
}

int
lagg_device_change_rings(struct lagg_device *device, uint32_t slot)
{
    struct lagg_port *port = slot_port(device, slot);

    if (port == NULL) {
        return -ENOENT;
    }
    port_shut_rings(port);
    roster_take_overruns(device, port);
    if (device->datapath != NULL) {
        port_begin_rings(port);
    }
    return port_change_rings(port);
}

int
lagg_device_drain_rings(struct lagg_device *device, uint32_t slot)
{
    struct lagg_port *port = slot_port(device, slot);

    if (port == NULL) {
        return -ENOENT;
    }
    /* None are open when the port was attached anew since they were changed. */
    if (device->datapath != NULL && port->rings[1 - port->wish->live][0].fd >= 0) {
        datapath_drain(device->datapath, slot, 1 - port->wish->live);
    }
    return 0;
}

int
lagg_device_close_rings(struct lagg_device *device, uint32_t slot)
{
    struct lagg_port *port = slot_port(device, slot);

    if (port == NULL) {
        return -ENOENT;
    }
    port_close_rings(port);
    return 0;
}
