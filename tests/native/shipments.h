/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames sent as a worker sends them: from a queue, with a record of the call.
 */
#ifndef SHIPMENTS_H
#define SHIPMENTS_H

#include "port.h"

#include <string.h>

struct sent_from {
    struct queue queue;
    struct sending call;
};

/* frames[order[0 ... count-1]], none of them sent yet. */
static inline struct shipment
shipment_make(struct sent_from *from, const struct frame *frames, const uint8_t *order,
    uint32_t count)
{
    memset(&from->queue, 0, sizeof from->queue);
    from->queue.count = count;
    memcpy(from->queue.order, order, count);
    return (struct shipment){
        .frames = frames, .queue = &from->queue, .call = &from->call};
}

/* The two ways; each returns how many are gone. */
static inline uint32_t
ship_by_port(struct lagg_port *port, uint32_t worker, const struct frame *frames,
    const uint8_t *order, uint32_t count, int *error)
{
    struct sent_from from;
    struct shipment shipment = shipment_make(&from, frames, order, count);

    shipment.worker = worker;
    *error = port_send(port, &shipment);
    return from.queue.done;
}

static inline uint32_t
ship_by_xdp(
    struct xdp *xdp, const struct frame *frames, const uint8_t *order, uint32_t count)
{
    struct sent_from from;
    const struct shipment shipment = shipment_make(&from, frames, order, count);

    xdp_send(xdp, &shipment);
    return from.queue.done;
}

#endif
