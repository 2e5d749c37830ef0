/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A device and its ports made anew of descriptors, as a process does it whose
 * predecessor has died: what goes on, and what is refused.  Here both are one process,
 * and what the second gets are duplicates.
 */
#include "namespace.h"

#include "device.h"

#include <fcntl.h>
#include <sys/mman.h>

enum { LO = 1, FRAMES = 50, FDS = sizeof(struct lagg_device_fds) / sizeof(int) };

static struct lagg_plan
plan_of_lo(uint32_t slots)
{
    return (struct lagg_plan){
        .tx_drop = LAGG_DROP_NO_ACTIVE_PORT,
        .rx_drop = LAGG_DROP_NOT_ACCEPTED,
        .stride = 1,
        .hash_layers = LAGG_LAYER_L2,
        .rx_bytes_max = UINT32_MAX,
        .ports = slots,
        .rx_accept = slots,
    };
}

static uint64_t
publish(struct lagg_device *device, uint32_t slots)
{
    const struct lagg_plan plan = plan_of_lo(slots);
    uint64_t ticket = 0;

    CHECK(lagg_device_publish(device, &plan, &ticket) == 0);
    return ticket;
}

static struct lagg_device *
device_make(uint32_t workers, uint32_t where)
{
    struct lagg_device *device = NULL;

    CHECK(lagg_device_create("lagg0", workers, where, &device) == 0);
    link_up("lagg0");
    return device;
}

/* Duplicates of 'count' descriptors; of -1, -1. */
static void
fds_dup(int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fds[i] = fds[i] < 0 ? -1 : fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
    }
}

static void
fds_close(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
}

static struct lagg_device_fds
device_fds_dup(const struct lagg_device *device)
{
    struct lagg_device_fds fds;

    lagg_device_fds(device, &fds);
    fds_dup((int *)&fds, FDS);
    return fds;
}

static struct lagg_port_fds
port_fds_dup(const struct lagg_port *port)
{
    struct lagg_port_fds fds;

    lagg_port_fds(port, &fds);
    fds_dup(&fds.tx, 3);
    fds_dup(&fds.rings[0][0], 2 * LAGG_WORKERS_MAX);
    fds_dup(fds.txrings, LAGG_WORKERS_MAX);
    return fds;
}

static void
port_fds_close(const struct lagg_port_fds *fds)
{
    fds_close(&fds->tx, 3);
    fds_close(&fds->rings[0][0], 2 * LAGG_WORKERS_MAX);
    fds_close(fds->txrings, LAGG_WORKERS_MAX);
}

/* ---- a device ---------------------------------------------------------------------
 */

/* The worker runs on under the first device, and sees what the second publishes. */
static void
whoever_adopts_goes_on_where_the_other_was(void)
{
    struct lagg_device *old = device_make(1, LAGG_INSIDE), *fresh = NULL;
    struct carrier carrier;
    struct lagg_device_fds fds;
    struct lagg_reading reading;
    uint64_t last, ticket;
    char name[IFNAMSIZ];
    uint32_t worker;

    check_about("device", 0);
    carrier_start(&carrier, old, 0);
    publish(old, 0);
    last = publish(old, 0);
    fds = device_fds_dup(old);
    CHECK(lagg_device_adopt(&fds, LAGG_APART, &fresh) == 0);
    CHECK(lagg_device_name(fresh, name) == 0 && strcmp(name, "lagg0") == 0);
    lagg_device_read(fresh, &reading);
    CHECK(reading.generation == 2);
    ticket = publish(fresh, 0);
    CHECK(ticket > last);
    WAIT_UNTIL(lagg_device_passed(fresh, ticket, &worker));
    CHECK(lagg_device_reclaim(fresh) == 0);
    lagg_device_read(fresh, &reading);
    CHECK(reading.generation == 3);
    CHECK(lagg_worker_run(fresh, 0, 0) == -EINVAL); /* its workers are elsewhere */
    CHECK(lagg_device_destroy(fresh) == 0);
    CHECK(if_nametoindex("lagg0") != 0); /* the other one has it, too */
    lagg_device_stop(old);
    carrier_join(&carrier);
    CHECK(lagg_device_destroy(old) == 0);
    CHECK(if_nametoindex("lagg0") == 0);
}

/* It died with a snapshot filled and not published, or with one swapped out and its
 * ticket not drawn: both are free again, but not before whoever is inside has left. */
static void
what_a_dead_writer_left_is_reusable_once_nobody_can_see_it(void)
{
    struct lagg_device *old = device_make(1, LAGG_INSIDE), *fresh = NULL;
    struct lagg_device_fds fds;
    uint32_t root, other;

    check_about("dead", 0);
    publish(old, 0);
    root = atomic_load(&old->plans->pool.root);
    other = (root + 5) % LAGG_SNAPSHOTS_MAX;
    old->plans->pool.snapshots[other].ticket = 1; /* LIVE */
    snapshot_enter(&old->store, 0);
    fds = device_fds_dup(old);
    CHECK(lagg_device_adopt(&fds, LAGG_APART, &fresh) == 0);
    CHECK(lagg_device_reclaim(fresh) >= 1);
    CHECK(old->plans->pool.snapshots[other].ticket > 1);
    snapshot_leave(&old->store, 0);
    CHECK(lagg_device_reclaim(fresh) == 0);
    CHECK(old->plans->pool.snapshots[other].ticket == 0);
    CHECK(atomic_load(&old->plans->pool.root) == root);
    CHECK(lagg_device_destroy(fresh) == 0);
    CHECK(lagg_device_destroy(old) == 0);
}

static void
expect_refused(const struct lagg_device_fds *fds, const char *what)
{
    struct lagg_device *fresh = NULL;
    uint32_t open = fds_count();

    check_about(what, 0);
    CHECK(lagg_device_adopt(fds, LAGG_APART, &fresh) == -EPROTO);
    CHECK(fresh == NULL);
    CHECK_EQ_U32(fds_count(), open); /* the caller has them still */
}

static int
memory_of(size_t bytes, bool sealed)
{
    int fd = memfd_create("forged", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    CHECK(ftruncate(fd, (off_t)bytes) == 0);
    if (sealed) {
        CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) == 0);
    }
    return fd;
}

static void
no_descriptor_but_the_right_one_is_taken(void)
{
    struct lagg_device *old = device_make(2, LAGG_INSIDE);
    const struct lagg_device_fds right = device_fds_dup(old);
    const int forged[] = {open("/dev/null", O_RDWR | O_CLOEXEC), raw_open("lo"),
        memory_of(plans_bytes() - 1, true), memory_of(1 << 26, false),
        memory_of(1 << 26, true), -1};

    for (size_t i = 0; i < sizeof forged / sizeof forged[0]; i++) {
        struct lagg_device_fds fds = right;

        fds.plans = forged[i];
        expect_refused(&fds, "plans");
        fds = right;
        fds.work = forged[i];
        expect_refused(&fds, "work");
        fds = right;
        fds.tap[1] = forged[i];
        expect_refused(&fds, "tap");
    }
    {
        struct lagg_device_fds fds = right;

        fds.plans = right.work;
        fds.work = right.plans;
        expect_refused(&fds, "mixed up");
        fds = right;
        fds.wake[0] = -1;
        expect_refused(&fds, "no eventfd");
    }
    fds_close(forged, sizeof forged / sizeof forged[0] - 1);
    fds_close((const int *)&right, FDS);
    CHECK(lagg_device_destroy(old) == 0);
}

static void
no_memory_of_another_layout_is_taken(void)
{
    struct lagg_device *old = device_make(1, LAGG_INSIDE);
    const struct lagg_device_fds fds = device_fds_dup(old);
    struct plans *plans = old->plans;

    for (uint32_t byte = 0; byte < sizeof plans->layout; byte++) {
        uint8_t *at = (uint8_t *)&plans->layout + byte;

        if (byte == offsetof(struct layout, minor) ||
            byte == offsetof(struct layout, minor) + 1) {
            continue; /* what a minor adds, nobody has to know */
        }
        *at ^= 1;
        expect_refused(&fds, "layout");
        *at ^= 1;
    }
    atomic_store(&plans->pool.root, LAGG_SNAPSHOTS_MAX);
    expect_refused(&fds, "root");
    atomic_store(&plans->pool.root, 0);
    plans->pool.snapshots[0].plan.tx_slots_count = LAGG_BUCKETS + 1;
    expect_refused(&fds, "plan");
    fds_close((const int *)&fds, FDS);
    CHECK(lagg_device_destroy(old) == 0);
}

/* ---- a port -----------------------------------------------------------------------
 */

static void
no_socket_but_the_right_one_is_taken(void)
{
    struct lagg_device *device = device_make(1, LAGG_INSIDE);
    const int forged[] = {open("/dev/null", O_RDWR | O_CLOEXEC), raw_open("lagg0"),
        memory_of(1 << 20, true)};
    struct lagg_port *port = NULL, *fresh = NULL;
    struct lagg_port_fds right;

    check_about("port", 0);
    CHECK(lagg_port_open(device, LO, LAGG_TRANSMIT_XDP, &port) == 0);
    right = port_fds_dup(port);
    for (uint32_t i = 0; i < 3; i++) {
        struct lagg_port_fds fds[5] = {right, right, right, right, right};
        uint32_t open = fds_count();

        fds[0].tx = fds[1].rings[0][0] = fds[2].txrings[0] = fds[3].xdp = forged[i];
        fds[4].ifindex = 4711;
        for (uint32_t which = 0; which < 5; which++) {
            check_about("forged", which);
            CHECK(lagg_port_adopt(&fds[which], &fresh) == -EPROTO);
            CHECK(fresh == NULL);
            CHECK_EQ_U32(fds_count(), open);
        }
    }
    right.rings_count = LAGG_WORKERS_MAX + 1;
    CHECK(lagg_port_adopt(&right, &fresh) == -EPROTO);
    port_fds_close(&right);
    fds_close(forged, 3);
    lagg_port_close(port);
    CHECK(lagg_device_destroy(device) == 0);
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

static void *
halves_run(void *argument)
{
    struct halves *halves = argument;

    halves->result = datapath_run(halves->datapath, 0, 0);
    return NULL;
}

static void
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
    CHECK(lagg_port_adopt(&fds, &halves->port) == 0);
    halves->port->wish = &halves->plans->wishes[3];
    datapath_add(halves->datapath, 3, halves->port, true);
    CHECK(pthread_create(&halves->worker, NULL, halves_run, halves) == 0);
}

/* Its workers stop, and frames wait. */
static void
halves_halt(struct halves *halves)
{
    const uint64_t one = 1;

    datapath_stop(halves->datapath);
    CHECK(write(halves->fds.wake[0], &one, sizeof one) == sizeof one);
    CHECK(pthread_join(halves->worker, NULL) == 0);
    CHECK(halves->result == 0);
}

static void
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

static void
lo_send(uint32_t count)
{
    int sender = raw_open("lo");

    for (uint32_t i = 0; i < count; i++) {
        WAIT_UNTIL(raw_send(sender));
    }
    close(sender);
}

/* One half maps the plans to read and the other the work to read: a store to either by
 * the wrong one would end this program. */
static void
two_halves_are_one_lagg(void)
{
    struct halves halves;
    struct lagg_reading reading;
    uint64_t ticket;
    uint32_t worker;

    check_about("halves", 0);
    halves_start(&halves);
    publish(halves.device, 1u << 3);
    lo_send(FRAMES);
    WAIT_UNTIL((lagg_device_read(halves.device, &reading),
        reading.ports[3].rx_frames == FRAMES));
    CHECK(reading.total.rx_in == FRAMES && reading.total.rx_out == FRAMES);
    CHECK(lagg_device_names(halves.device, 3) == 1);
    ticket = publish(halves.device, 0);
    WAIT_UNTIL(lagg_device_passed(halves.device, ticket, &worker));
    CHECK(lagg_device_names(halves.device, 3) == 0);
    CHECK(lagg_device_names(halves.device, 4) == -ENOENT);
    halves_end(&halves);
}

/* Counts and overruns of a port go on under the next device. */
static void
an_adopted_port_keeps_its_slot_and_counts(void)
{
    struct halves halves;
    struct lagg_device *fresh = NULL;
    struct lagg_device_fds fds;
    struct lagg_port_fds port_fds;
    struct lagg_port *port = NULL;
    struct lagg_reading reading;

    check_about("counts", 0);
    halves_start(&halves);
    publish(halves.device, 1u << 3);
    lo_send(FRAMES);
    fds = device_fds_dup(halves.device);
    port_fds = port_fds_dup(halves.device->ports[3]);
    CHECK(lagg_device_adopt(&fds, LAGG_APART, &fresh) == 0);
    CHECK(lagg_port_adopt(&port_fds, &port) == 0);
    CHECK(lagg_device_add_adopted(fresh, LAGG_PORTS_MAX, port) == -EINVAL);
    CHECK(lagg_device_add_adopted(fresh, 3, port) == 0);
    CHECK(lagg_device_add_adopted(fresh, 3, port) == -EEXIST);
    lo_send(FRAMES);
    WAIT_UNTIL(
        (lagg_device_read(fresh, &reading), reading.ports[3].rx_frames == 2 * FRAMES));
    CHECK(lagg_device_stuck(fresh) == 0);
    publish(fresh, 1u << 3);
    CHECK(lagg_device_destroy(fresh) == 0);
    halves_end(&halves);
}

/* ---- a datapath after another's death ---------------------------------------------
 */

/* As a worker that was killed within a burst: inside of a section, its counts moving,
 * and frames read that it did not give back; 'given' of them it did. */
static void
halves_die(struct halves *halves, uint32_t given)
{
    static struct frame_buffer buffers[BURST_MAX];
    static struct frame frames[BURST_MAX];
    struct ring *ring = &halves->port->rings[0][0];
    struct ring_losses losses = {0};
    uint32_t sequence = atomic_load(&halves->work->workers[0].sequence);

    snapshot_enter(&halves->datapath->store, 0);
    atomic_store(&halves->work->workers[0].sequence, sequence | 1);
    CHECK_EQ_U32(ring_read(ring, buffers, frames, BURST_MAX, &losses), BURST_MAX);
    ring->place->release_count = given;
    ring_release(ring);
    ring->place->release_count = BURST_MAX;
}

/* Another process makes it anew of the same descriptors, and carries on. */
static void
halves_recover(struct halves *halves)
{
    struct lagg_port_fds fds = port_fds_dup(halves->port);

    lagg_port_close(halves->port);
    datapath_remove(halves->datapath, 3);
    CHECK(datapath_close(halves->datapath) == 0);
    CHECK(datapath_open(halves->plans, halves->work, &halves->fds, &halves->datapath) ==
          0);
    CHECK(lagg_port_adopt(&fds, &halves->port) == 0);
    halves->port->wish = &halves->plans->wishes[3];
    datapath_add(halves->datapath, 3, halves->port, false);
    datapath_recover(halves->datapath);
    CHECK(pthread_create(&halves->worker, NULL, halves_run, halves) == 0);
}

static void
what_was_not_given_back_is_read_again(uint32_t given)
{
    struct halves halves;
    struct lagg_reading reading;
    uint64_t ticket;
    uint32_t worker;

    check_about("recovered", given);
    halves_start(&halves);
    publish(halves.device, 1u << 3);
    lo_send(FRAMES);
    WAIT_UNTIL((lagg_device_read(halves.device, &reading),
        reading.ports[3].rx_frames == FRAMES));
    halves_halt(&halves);
    lo_send(FRAMES);
    halves_die(&halves, given);
    ticket = publish(halves.device, 1u << 3);
    CHECK(!lagg_device_passed(halves.device, ticket, &worker));
    halves_recover(&halves);
    WAIT_UNTIL(lagg_device_passed(halves.device, ticket, &worker));
    WAIT_UNTIL((lagg_device_read(halves.device, &reading),
        reading.ports[3].rx_frames == 2 * FRAMES - given));
    lo_send(FRAMES);
    WAIT_UNTIL((lagg_device_read(halves.device, &reading),
        reading.ports[3].rx_frames == 3 * FRAMES - given));
    CHECK(reading.total.rx_out == reading.total.rx_in);
    halves_end(&halves);
}

int
main(void)
{
    namespace_enter();
    link_up("lo");
    whoever_adopts_goes_on_where_the_other_was();
    what_a_dead_writer_left_is_reusable_once_nobody_can_see_it();
    no_descriptor_but_the_right_one_is_taken();
    no_memory_of_another_layout_is_taken();
    no_socket_but_the_right_one_is_taken();
    two_halves_are_one_lagg();
    an_adopted_port_keeps_its_slot_and_counts();
    what_was_not_given_back_is_read_again(0);
    what_was_not_given_back_is_read_again(5);
    what_was_not_given_back_is_read_again(BURST_MAX);
    return check_report();
}
