/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a device is made of: shared by device.c and roster.c.
 *
 * Who may touch a member: as in internal.h.
 */
#ifndef LAGG_DEVICE_H
#define LAGG_DEVICE_H

#include "worker.h"

struct lagg_device {
    struct snapshot_store store;
    uint32_t workers_count;                  /* (c) */
    _Atomic bool stop;                       /* (a) workers return when set */
    _Atomic int alert_fd;                    /* (a) -1: see lagg_device_alert() */
    struct lagg_port *ports[LAGG_PORTS_MAX]; /* (x) NULL when the slot is free */
    uint64_t overruns;                       /* (x) of closed ports too */
    struct worker *drainer; /* (x) delivers what a closing ring holds */
    struct worker *workers[LAGG_WORKERS_MAX]; /* (c) */
};

/* ---- device.c ---------------------------------------------------------------------
 */

/* Memory of which only the first 'zeroed' bytes are written: buffers take none before
 * use.  NULL when there is none. */
void *device_allocate(size_t size, size_t zeroed);

/* ---- roster.c ---------------------------------------------------------------------
 */

/* Adds what the kernel dropped for want of ring entries to what it did so far. */
void roster_take_overruns(struct lagg_device *device, struct lagg_port *port);

#endif
