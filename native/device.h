/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a lagg is made of: shared by layout.c, datapath.c, device.c and roster.c.
 *
 * A lagg has two halves, of one process or of two.  The device decides: it publishes
 * plans and reads counts.  The datapath carries frames: it has the workers.  Each half
 * writes one memory and reads the other's.  There a port is a slot and a snapshot an
 * index: no address and no descriptor is in either.
 *
 * Who may touch a member: as in internal.h.
 */
#ifndef LAGG_DEVICE_H
#define LAGG_DEVICE_H

#include "worker.h"

/* ---- layout.c ---------------------------------------------------------------------
 */

/* In front of each memory: whoever maps it must have the same layout in mind. */
struct layout {
    uint32_t magic;
    uint16_t major, minor;
    uint32_t hash;    /* of what lies where */
    uint32_t workers; /* 1 ... LAGG_WORKERS_MAX */
};

/* The device writes it, and the datapath reads it. */
struct plans {
    struct layout layout;
    struct alert alert;
    struct snapshot_pool pool;
    struct port_wish wishes[LAGG_PORTS_MAX]; /* by slot */
    uint64_t overruns;                       /* (x) of closed ports, too */
    uint64_t dedup_key[DEDUP_KEY_WORDS];     /* (c) drawn when the memory was made */
};

/* The datapath writes it, and the device reads it. */
struct work {
    struct layout layout;
    _Atomic uint32_t alerted; /* (a) what plans.alert wanted when it was told last */
    struct epoch_reader readers[LAGG_WORKERS_MAX];
    struct port_work ports[LAGG_PORTS_MAX]; /* by slot */
    struct worker_work workers[]; /* one more than there are: last, the drainer's */
};

size_t plans_bytes(void);
size_t work_bytes(uint32_t workers);

/* Writes what a memory begins with. */
void layout_write(struct layout *layout, uint32_t workers);

/* Whether both memories are of our layout, and of one lagg.  0 or -EPROTO. */
int layout_check(const struct plans *plans, const struct work *work);

/* ---- datapath.c -------------------------------------------------------------------
 */

struct datapath {
    struct snapshot_store store;             /* (c) */
    const struct plans *plans;               /* (c) */
    struct work *work;                       /* (c) */
    uint32_t workers_count;                  /* (c) */
    _Atomic bool stop;                       /* (a) workers return when set */
    _Atomic int alert_fd;                    /* (a) -1: there is nobody to be told */
    _Atomic uint32_t dark;                   /* (a) slots by which nothing can leave */
    struct lagg_port *ports[LAGG_PORTS_MAX]; /* (x) NULL when there is none */
    struct worker *workers[LAGG_WORKERS_MAX + 1]; /* (c) last the drainer, which
                                                     delivers what closing rings hold */
};

/* Makes one of mapped memory, which stays, and of TAP queues and eventfds, which stay
 * open.  0, -EPROTO when a memory is not of our layout, -ENOMEM. */
int datapath_open(struct plans *plans, struct work *work,
    const struct lagg_device_fds *fds, struct datapath **out);

/* -EBUSY while a worker runs. */
int datapath_close(struct datapath *datapath);

/* The port that the plans of now on may name as 'slot', which is free.  'fresh': it was
 * no other process's before. */
void datapath_add(
    struct datapath *datapath, uint32_t slot, struct lagg_port *port, bool fresh);

/* Goes on where a process was that ran this datapath and has died, wherever that was,
 * and be it in here: its workers are outside of the epoch, all that it did is counted,
 * and what it had not done is done first.  Of each worker, one frame at most is lost,
 * which counts as LAGG_DROP_WORKER_DIED, or comes twice: see journal.c.  After
 * datapath_open() and datapath_add(), before a worker runs. */
void datapath_recover(struct datapath *datapath);

/* Looks which ports have no carrier: what the plan sends by one goes by the next usable
 * slot, as under a burst.  To be called now and then while nobody makes another plan.
 */
void datapath_look(struct datapath *datapath);

/* The plan alone says which ports can be used. */
void datapath_trust_plan(struct datapath *datapath);

/* Nobody names it any more. */
void datapath_remove(struct datapath *datapath, uint32_t slot);

/* Delivers what rings hold that no worker sees. */
void datapath_drain(struct datapath *datapath, uint32_t slot, uint32_t set);

/* As lagg_worker_run(). */
int datapath_run(struct datapath *datapath, uint32_t worker, uint32_t busy_poll_us);

/* As lagg_device_stop(); the caller wakes the workers. */
void datapath_stop(struct datapath *datapath);

/* ---- device.c ---------------------------------------------------------------------
 */

struct lagg_device {
    struct snapshot_store store;             /* (c) */
    uint32_t workers_count;                  /* (c) */
    struct lagg_device_fds fds;              /* (c) */
    struct plans *plans;                     /* (c) */
    struct work *work;                       /* (c) not writable with LAGG_APART */
    struct datapath *datapath;               /* (c) NULL with LAGG_APART */
    struct lagg_port *ports[LAGG_PORTS_MAX]; /* (x) NULL when the slot is free */
    struct lagg_reading last;                /* (x) counts that were read last */
};

/* ---- roster.c ---------------------------------------------------------------------
 */

/* Adds what the kernel dropped for want of ring entries to what it did so far. */
void roster_take_overruns(struct lagg_device *device, struct lagg_port *port);

#endif
