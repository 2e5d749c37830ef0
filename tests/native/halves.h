/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A lagg whose halves map each other's memory as two processes would, with loopback as
 * its port; and duplicates of what the one gives to the other.  Include it first.
 */
#ifndef HALVES_H
#define HALVES_H

#include "namespace.h"

#include "device.h"

#include <fcntl.h>

enum { LO = 1, FRAMES = 50, FDS = sizeof(struct lagg_device_fds) / sizeof(int) };

static inline uint64_t
publish(struct lagg_device *device, uint32_t slots)
{
    const struct lagg_plan plan = plan_with(slots, slots);
    uint64_t ticket = 0;

    CHECK(lagg_device_publish(device, &plan, &ticket) == 0);
    return ticket;
}

static inline struct lagg_device *
device_make(uint32_t workers, uint32_t where)
{
    struct lagg_device *device = NULL;

    CHECK(lagg_device_create("lagg0", workers, where, &device) == 0);
    link_up("lagg0");
    return device;
}

/* Duplicates of 'count' descriptors; of -1, -1. */
static inline void
fds_dup(int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fds[i] = fds[i] < 0 ? -1 : fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
    }
}

static inline void
fds_close(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
}

static inline struct lagg_device_fds
device_fds_dup(const struct lagg_device *device)
{
    struct lagg_device_fds fds;

    lagg_device_fds(device, &fds);
    fds_dup((int *)&fds, FDS);
    return fds;
}

static inline struct lagg_port_fds
port_fds_dup(const struct lagg_port *port)
{
    struct lagg_port_fds fds;

    lagg_port_fds(port, &fds);
    fds_dup(&fds.tx, 3);
    fds_dup(&fds.rings[0][0], 2 * LAGG_WORKERS_MAX);
    fds_dup(fds.txrings, LAGG_WORKERS_MAX);
    return fds;
}

static inline void
port_fds_close(const struct lagg_port_fds *fds)
{
    fds_close(&fds->tx, 3);
    fds_close(&fds->rings[0][0], 2 * LAGG_WORKERS_MAX);
    fds_close(fds->txrings, LAGG_WORKERS_MAX);
}

/* A device that another process's datapath carries, and the two halves of one port. */
struct halves {
    struct lagg_device *device;
    struct plans *plans;
    struct work *work;
    struct lagg_device_fds fds;
    struct datapath *datapath;
    struct lagg_port *port;
    pthread_t worker;
    int result;
};

static inline void *
halves_run(void *argument)
{
    struct halves *halves = argument;

    halves->result = datapath_run(halves->datapath, 0, 0);
    return NULL;
}

static inline void
halves_start(struct halves *halves)
{
    struct lagg_port *port;
    struct lagg_port_fds fds;

    halves->device = device_make(1, LAGG_APART);
    halves->fds = device_fds_dup(halves->device);
    halves->plans = memory_map(halves->fds.plans, plans_bytes(), false);
    halves->work = memory_map(halves->fds.work, work_bytes(1), true);
    CHECK(datapath_open(halves->plans, halves->work, &halves->fds, &halves->datapath) ==
          0);
    CHECK(lagg_port_open(halves->device, LO, LAGG_TRANSMIT_PACKET, &port) == 0);
    fds = port_fds_dup(port);
    CHECK(lagg_device_add_port(halves->device, 3, port) == 0);
    CHECK(lagg_port_adopt(&fds, LAGG_INSIDE, &halves->port) == 0);
    CHECK(lagg_device_bind_port(halves->device, 3) == 0);
    CHECK(lagg_device_bind_port(halves->device, 4) == -ENOENT);
    halves->port->wish = &halves->plans->wishes[3];
    datapath_add(halves->datapath, 3, halves->port, true);
    CHECK(pthread_create(&halves->worker, NULL, halves_run, halves) == 0);
}

/* Its workers stop, and frames wait. */
static inline void
halves_halt(struct halves *halves)
{
    const uint64_t one = 1;

    datapath_stop(halves->datapath);
    CHECK(write(halves->fds.wake[0], &one, sizeof one) == sizeof one);
    CHECK(pthread_join(halves->worker, NULL) == 0);
    CHECK(halves->result == 0);
}

static inline void
halves_end(struct halves *halves)
{
    halves_halt(halves);
    datapath_drain(halves->datapath, 3, 0);
    datapath_remove(halves->datapath, 3);
    lagg_port_close(halves->port);
    CHECK(datapath_close(halves->datapath) == 0);
    memory_unmap(halves->plans, plans_bytes());
    memory_unmap(halves->work, work_bytes(1));
    fds_close((const int *)&halves->fds, FDS);
    CHECK(lagg_device_destroy(halves->device) == 0);
}

static inline void
lo_send(uint32_t count)
{
    int sender = raw_open("lo");

    for (uint32_t i = 0; i < count; i++) {
        WAIT_UNTIL(raw_send(sender));
    }
    close(sender);
}

#endif
