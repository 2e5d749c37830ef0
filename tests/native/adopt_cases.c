/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A device and its ports made anew of descriptors, as a process does it whose
 * predecessor has died: what goes on, and what is refused.  Here both are one process,
 * and what the second gets are duplicates.
 */
#include "halves.h"

#include <sys/mman.h>

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
    CHECK(tap_name(fresh->fds.tap[0], name) == 0 && strcmp(name, "lagg0") == 0);
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

/* Whoever adopts it sees by netlink that it is to be destroyed. */
static void
a_device_whose_tap_was_deleted_is_adopted(void)
{
    struct lagg_device *old = device_make(2, LAGG_INSIDE), *fresh = NULL;
    struct lagg_device_fds fds = device_fds_dup(old);
    char name[IFNAMSIZ];

    check_about("deleted", 0);
    link_delete("lagg0");
    CHECK(lagg_device_adopt(&fds, LAGG_APART, &fresh) == 0);
    CHECK(tap_name(fresh->fds.tap[0], name) == -EBADFD);
    publish(fresh, 0);
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
            CHECK(lagg_port_adopt(&fds[which], LAGG_INSIDE, &fresh) == -EPROTO);
            CHECK(fresh == NULL);
            CHECK_EQ_U32(fds_count(), open);
        }
    }
    right.rings_count = LAGG_WORKERS_MAX + 1;
    CHECK(lagg_port_adopt(&right, LAGG_INSIDE, &fresh) == -EPROTO);
    port_fds_close(&right);
    fds_close(forged, 3);
    lagg_port_close(port);
    CHECK(lagg_device_destroy(device) == 0);
}

/* Its AF_XDP socket cannot be mapped any more; with packet sockets alone it departs as
 * any other. */
static void
a_port_whose_interface_was_deleted_is_adopted_without_xdp(void)
{
    struct lagg_device *device = device_make(1, LAGG_INSIDE);
    int tap = tap_make("port0", false);
    struct lagg_port *old = NULL, *fresh = NULL, *port = NULL;
    struct lagg_port_fds fds;
    uint32_t open;

    check_about("deleted", 1);
    CHECK(lagg_port_open(
              device, (int)if_nametoindex("port0"), LAGG_TRANSMIT_XDP, &old) == 0);
    link_delete("port0");
    close(tap);
    open = fds_count();
    fds = port_fds_dup(old);
    CHECK(lagg_port_adopt(&fds, LAGG_INSIDE, &fresh) == 0);
    CHECK(fresh->xdp.chunks == NULL);
    CHECK(lagg_device_add_adopted(device, 3, fresh) == 0);
    atomic_store(&device->work->ports[3].xdp.open, true); /* as the dead one left it */
    port_recover(fresh);
    CHECK(!port_uses_xdp(fresh));
    CHECK(lagg_device_remove_port(device, 3, &port) == 0 && port == fresh);
    lagg_port_close(fresh);
    CHECK_EQ_U32(fds_count(), open);
    lagg_port_close(old);
    CHECK(lagg_device_destroy(device) == 0);
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
    CHECK(lagg_port_adopt(&port_fds, LAGG_APART, &port) == 0);
    CHECK(lagg_device_add_adopted(fresh, LAGG_PORTS_MAX, port) == -EINVAL);
    CHECK(lagg_device_add_adopted(fresh, 3, port) == 0);
    CHECK(lagg_device_add_adopted(fresh, 3, port) == -EEXIST);
    lo_send(FRAMES);
    WAIT_UNTIL(
        (lagg_device_read(fresh, &reading), reading.ports[3].rx_frames == 2 * FRAMES));
    CHECK(port->rings[0][0].map == NULL);
    CHECK(lagg_device_stuck(fresh) == 0);
    publish(fresh, 1u << 3);
    CHECK(lagg_device_destroy(fresh) == 0);
    halves_end(&halves);
}

/* ---- garbage ----------------------------------------------------------------------
 */

enum { ROUNDS = 400, ALTERED_MAX = 32, NEAR = 4096 };

/* Bytes of a memory are others behind its head, by half of the times close to it. */
static void
memory_alter(uint8_t *memory, size_t bytes, uint64_t *seed)
{
    size_t first = sizeof(struct layout);
    uint64_t count = 1 + check_random(seed) % ALTERED_MAX;

    if (check_random(seed) % 2 == 0 && bytes - first > NEAR) {
        bytes = first + NEAR;
    }
    for (uint64_t i = 0; i < count; i++) {
        memory[first + check_random(seed) % (bytes - first)] =
            (uint8_t)check_random(seed);
    }
}

/* Whatever is there is refused, or only wrong. */
static bool
garbage_is_adopted(struct lagg_device *old)
{
    const struct lagg_plan plan = plan_with(0, 0);
    const struct lagg_device_fds fds = device_fds_dup(old);
    struct lagg_device *fresh = NULL;
    struct lagg_reading reading;
    uint64_t ticket = 0;
    uint32_t worker = 0;
    int error = lagg_device_adopt(&fds, LAGG_APART, &fresh);

    CHECK(error == 0 || error == -EPROTO);
    if (error != 0) {
        fds_close((const int *)&fds, FDS);
        return false;
    }
    lagg_device_read(fresh, &reading);
    (void)lagg_device_publish(fresh, &plan, &ticket);
    (void)lagg_device_passed(fresh, ticket, &worker);
    (void)lagg_device_reclaim(fresh);
    CHECK(lagg_device_destroy(fresh) == 0);
    return true;
}

static void
garbage_in_a_memory_harms_nobody(uint64_t seed)
{
    struct lagg_device *old = device_make(1, LAGG_INSIDE);
    uint8_t *const memories[] = {(uint8_t *)old->plans, (uint8_t *)old->work};
    const size_t bytes[] = {plans_bytes(), work_bytes(1)};
    uint8_t *copies[] = {malloc(bytes[0]), malloc(bytes[1])};
    uint32_t adopted = 0;

    check_about("garbage", 0);
    publish(old, 0);
    for (uint32_t i = 0; i < 2; i++) {
        memcpy(copies[i], memories[i], bytes[i]);
    }
    for (uint32_t round = 0; round < ROUNDS; round++) {
        memory_alter(memories[round % 2], bytes[round % 2], &seed);
        adopted += garbage_is_adopted(old);
        for (uint32_t i = 0; i < 2; i++) {
            memcpy(memories[i], copies[i], bytes[i]);
        }
    }
    CHECK(adopted > 0 && adopted < ROUNDS);
    free(copies[0]);
    free(copies[1]);
    CHECK(lagg_device_destroy(old) == 0);
}

int
main(int argc, char **argv)
{
    uint64_t seed = check_seed(argc, argv);

    namespace_enter();
    link_up("lo");
    whoever_adopts_goes_on_where_the_other_was();
    what_a_dead_writer_left_is_reusable_once_nobody_can_see_it();
    no_descriptor_but_the_right_one_is_taken();
    no_memory_of_another_layout_is_taken();
    garbage_in_a_memory_harms_nobody(seed);
    a_device_whose_tap_was_deleted_is_adopted();
    a_port_whose_interface_was_deleted_is_adopted_without_xdp();
    no_socket_but_the_right_one_is_taken();
    two_halves_are_one_lagg();
    an_adopted_port_keeps_its_slot_and_counts();
    return check_report();
}
