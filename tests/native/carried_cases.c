/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A lagg carried by the forwarder's half, of nothing but descriptors by name: frames
 * pass both ways and are all accounted for, workers stop and run again, and nothing
 * goes from under them.
 */
#include "namespace.h"

#include "forwarder.h"

enum { ID = 3, PORT = 5, FRAMES = 50 };

struct lagg {
    struct lagg_device *device; /* the half that decides; in truth of another process */
    struct lagg_port *port;
    struct store store;
    struct carried carried; /* the half that is tested */
    int wire;               /* the port's other end */
    int host;               /* lagg0's */
};

/* ---- the deciding half ------------------------------------------------------------
 */

static void
keep(struct lagg *lagg, int fd, const char *format, uint32_t first, uint32_t second)
{
    char name[LAGG_NAME_BYTES];

    if (fd >= 0) {
        snprintf(name, sizeof name, format, first, second);
        CHECK(store_put(&lagg->store, name, fcntl(fd, F_DUPFD_CLOEXEC, 0)) == 0);
    }
}

static void
keep_device(struct lagg *lagg, uint32_t workers)
{
    struct lagg_device_fds fds;

    lagg_device_fds(lagg->device, &fds);
    keep(lagg, fds.plans, "3/plans", 0, 0);
    keep(lagg, fds.work, "3/work", 0, 0);
    for (uint32_t i = 0; i < workers; i++) {
        keep(lagg, fds.tap[i], "3/tap.%u", i, 0);
        keep(lagg, fds.wake[i], "3/wake.%u", i, 0);
    }
}

static void
keep_port(struct lagg *lagg, uint32_t workers)
{
    struct lagg_port_fds fds;

    lagg_port_fds(lagg->port, &fds);
    keep(lagg, fds.tx, "3/5/tx", 0, 0);
    keep(lagg, fds.xdp, "3/5/xdp", 0, 0);
    keep(lagg, fds.chunks, "3/5/chunks", 0, 0);
    for (uint32_t i = 0; i < workers; i++) {
        keep(lagg, fds.rings[0][i], "3/5/ring.%u.%u", 0, i);
        keep(lagg, fds.txrings[i], "3/5/txring.%u", i, 0);
    }
}

static uint64_t
publish(struct lagg *lagg, bool port)
{
    uint64_t ticket = 0;
    struct lagg_plan plan = {
        .tx_drop = LAGG_DROP_NO_PORT,
        .rx_drop = LAGG_DROP_NOT_ACCEPTED,
        .spread = LAGG_SPREAD_FIRST,
        .stride = 1,
        .hash_layers = LAGG_LAYER_L2,
        .rx_bytes_max = UINT32_MAX,
        .ports = port ? 1u << PORT : 0,
        .rx_accept = port ? 1u << PORT : 0,
        .tx_slots_count = port,
        .tx_slots = {PORT},
    };

    CHECK(lagg_device_publish(lagg->device, &plan, &ticket) == 0);
    return ticket;
}

static struct lagg *
lagg_make(uint32_t workers)
{
    struct lagg *lagg = calloc(1, sizeof *lagg);

    CHECK(lagg_device_create("lagg0", workers, LAGG_APART, &lagg->device) == 0);
    CHECK(lagg_device_set_carrier(lagg->device, 1) == 0);
    link_up("lagg0");
    lagg->host = raw_open("lagg0");
    lagg->wire = tap_make("port0", false);
    link_up("port0");
    CHECK(lagg_port_open(lagg->device, (int)if_nametoindex("port0"),
              LAGG_TRANSMIT_PACKET, &lagg->port) == 0);
    CHECK(lagg_device_add_port(lagg->device, PORT, lagg->port) == 0);
    keep_device(lagg, workers);
    keep_port(lagg, workers);
    return lagg;
}

static void
lagg_free(struct lagg *lagg)
{
    store_clear(&lagg->store);
    CHECK(lagg_device_destroy(lagg->device) == 0);
    close(lagg->wire);
    close(lagg->host);
    free(lagg);
}

static struct lagg_counters
total(struct lagg *lagg)
{
    struct lagg_reading reading;

    lagg_device_read(lagg->device, &reading);
    return reading.total;
}

/* ---- frames -----------------------------------------------------------------------
 */

static uint32_t
came(int fd)
{
    uint8_t bytes[2048];
    uint32_t count = 0;

    while (read(fd, bytes, sizeof bytes) > 0) {
        count++;
    }
    return count;
}

/* FRAMES each way; all come, and all are counted. */
static void
frames_pass(struct lagg *lagg)
{
    struct lagg_counters before = total(lagg), after;
    const uint8_t frame[TEST_FRAME_BYTES] = {
        2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, TEST_TYPE >> 8, TEST_TYPE & 0xff};
    uint32_t out = 0, in = 0;

    came(lagg->wire);
    came(lagg->host);
    for (uint32_t i = 0; i < FRAMES; i++) {
        CHECK(raw_send(lagg->host));
        CHECK(write(lagg->wire, frame, sizeof frame) == (ssize_t)sizeof frame);
        WAIT_UNTIL((out += came(lagg->wire)) == i + 1);
        WAIT_UNTIL((in += came(lagg->host)) == i + 1);
    }
    after = total(lagg);
    CHECK(after.tx_out - before.tx_out == FRAMES);
    CHECK(after.rx_out - before.rx_out == FRAMES);
    CHECK(after.tx_in + after.rx_in == after.tx_out + after.rx_out);
}

/* ---- cases ------------------------------------------------------------------------
 */

static void
frames_pass_stop_and_pass_again(uint32_t workers)
{
    struct lagg *lagg = lagg_make(workers);
    struct carried *carried = &lagg->carried;

    check_about("workers", workers);
    CHECK(carried_open(carried, ID, false, &lagg->store) == 0);
    CHECK(carried_open(carried, ID, false, &lagg->store) == -EEXIST);
    CHECK(carried_map(carried, ID, PORT, false, &lagg->store) == 0);
    CHECK(carried_map(carried, ID, PORT, false, &lagg->store) == -EEXIST);
    publish(lagg, true);
    CHECK(carried_run(carried, 50) == 0);
    CHECK(carried_run(carried, 50) == -EALREADY);
    frames_pass(lagg);
    CHECK(carried_close(carried) == -EBUSY);
    CHECK(carried_stop(carried) == 0);
    CHECK(carried_stop(carried) == -EALREADY);
    CHECK(carried_run(carried, 0) == 0);
    frames_pass(lagg);
    /* What happens to the store happens to no worker. */
    store_clear(&lagg->store);
    frames_pass(lagg);
    CHECK(carried_stop(carried) == 0);
    CHECK(carried_close(carried) == 0);
    lagg_free(lagg);
}

/* It closes and opens anew, as if by another process: counts go on. */
static void
another_goes_on_where_one_ended(void)
{
    struct lagg *lagg = lagg_make(1);
    struct carried *carried = &lagg->carried;

    check_about("again", 0);
    for (uint32_t life = 0; life < 3; life++) {
        CHECK(carried_open(carried, ID, life > 0, &lagg->store) == 0);
        CHECK(carried_map(carried, ID, PORT, life > 0, &lagg->store) == 0);
        publish(lagg, true);
        CHECK(carried_run(carried, 0) == 0);
        frames_pass(lagg);
        CHECK(total(lagg).tx_out == (life + 1) * FRAMES);
        CHECK(carried_stop(carried) == 0);
        CHECK(carried_close(carried) == 0);
    }
    lagg_free(lagg);
}

static void
a_port_that_a_plan_names_stays(void)
{
    struct lagg *lagg = lagg_make(1);
    struct carried *carried = &lagg->carried;
    uint64_t ticket;
    uint32_t worker;

    check_about("named", 0);
    CHECK(carried_open(carried, ID, false, &lagg->store) == 0);
    publish(lagg, true);
    CHECK(carried_run(carried, 0) == -ENOENT); /* it is not mapped */
    CHECK(carried_unmap(carried, PORT) == -ENOENT);
    CHECK(carried_drain(carried, PORT, 0) == -ENOENT);
    CHECK(carried_map(carried, ID, PORT, false, &lagg->store) == 0);
    CHECK(carried_run(carried, 0) == 0);
    CHECK(carried_unmap(carried, PORT) == -EBUSY);
    CHECK(carried_drain(carried, PORT, 0) == -EBUSY);
    CHECK(carried_drain(carried, PORT, 1) == -ENOENT);
    frames_pass(lagg);

    check_about("named no more", 0);
    ticket = publish(lagg, false);
    WAIT_UNTIL(lagg_device_passed(lagg->device, ticket, &worker));
    lagg_device_reclaim(lagg->device);
    CHECK(carried_drain(carried, PORT, 0) == 0);
    CHECK(carried_unmap(carried, PORT) == 0);
    CHECK(carried_unmap(carried, PORT) == -ENOENT);
    CHECK(carried_stop(carried) == 0);
    CHECK(carried_close(carried) == 0);
    lagg_free(lagg);
}

/* TSan knows memory by its address, and the two halves map it at two: it cannot see
 * that a worker that is told of other rings by one finds what was made before by the
 * other. With it, no worker runs meanwhile. */
#ifdef __SANITIZE_THREAD__
enum { PAUSES = true };
#else
enum { PAUSES = false };
#endif

/* Rings that are opened beside those at work, and take over. */
static void
rings_are_changed_while_frames_pass(void)
{
    struct lagg *lagg = lagg_make(1);
    struct carried *carried = &lagg->carried;
    struct lagg_port_fds fds;
    uint64_t ticket;
    uint32_t worker;

    check_about("rings", 0);
    CHECK(carried_open(carried, ID, false, &lagg->store) == 0);
    CHECK(carried_map_rings(carried, ID, PORT, 1, &lagg->store) == -ENOENT);
    CHECK(carried_map(carried, ID, PORT, false, &lagg->store) == 0);
    publish(lagg, true);
    CHECK(carried_run(carried, 0) == 0);
    frames_pass(lagg);
    CHECK(lagg_device_open_rings(lagg->device, PORT) == 0);
    lagg_port_fds(lagg->port, &fds);
    keep(lagg, fds.rings[1][0], "3/5/ring.%u.%u", 1, 0);
    CHECK(carried_map_rings(carried, ID, PORT, 0, &lagg->store) == -EBUSY);
    CHECK(!PAUSES || carried_stop(carried) == 0);
    CHECK(carried_map_rings(carried, ID, PORT, 1, &lagg->store) == 0);
    CHECK(!PAUSES || carried_run(carried, 0) == 0);
    CHECK(carried_map_rings(carried, ID, PORT, 1, &lagg->store) == -EBUSY);
    CHECK(carried_unmap_rings(carried, PORT, 0) == -EBUSY);
    CHECK(lagg_device_change_rings(lagg->device, PORT) == 0);
    ticket = publish(lagg, true);
    WAIT_UNTIL(lagg_device_passed(lagg->device, ticket, &worker));
    CHECK(carried_drain(carried, PORT, 1) == -EBUSY);
    CHECK(carried_drain(carried, PORT, 0) == 0);
    CHECK(carried_unmap_rings(carried, PORT, 0) == 0);
    CHECK(carried_unmap_rings(carried, PORT, 0) == -ENOENT);
    CHECK(lagg_device_close_rings(lagg->device, PORT) == 0);
    frames_pass(lagg);
    CHECK(carried_stop(carried) == 0);
    CHECK(carried_close(carried) == 0);
    lagg_free(lagg);
}

static void
what_is_missing_or_another_thing_changes_nothing(void)
{
    static const char *const needed[] = {"3/plans", "3/work", "3/tap.0", "3/wake.0"};
    struct lagg *lagg = lagg_make(1);
    struct carried *carried = &lagg->carried;
    uint32_t before = fds_count() - lagg->store.count;

    for (uint32_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        check_about(needed[i], 0);
        CHECK(store_del(&lagg->store, needed[i]) == 0);
        CHECK(carried_open(carried, ID, false, &lagg->store) == -ENOENT);
        CHECK(carried->datapath == NULL);
        keep_device(lagg, 1);
        CHECK_EQ_U32(fds_count() - lagg->store.count, before);
    }
    for (uint32_t i = 0; i < 2; i++) {
        check_about(needed[i], 1);
        keep(lagg, lagg->wire, needed[i], 0, 0);
        CHECK(carried_open(carried, ID, false, &lagg->store) == -EPROTO);
        keep_device(lagg, 1);
        CHECK_EQ_U32(fds_count() - lagg->store.count, before);
    }
    check_about("3/5/tx", 0);
    CHECK(carried_open(carried, ID, false, &lagg->store) == 0);
    before = fds_count() - lagg->store.count;
    keep(lagg, lagg->wire, "3/5/tx", 0, 0);
    CHECK(carried_map(carried, ID, PORT, false, &lagg->store) == -EPROTO);
    CHECK_EQ_U32(fds_count() - lagg->store.count, before);
    CHECK(store_del(&lagg->store, "3/5/tx") == 0);
    CHECK(carried_map(carried, ID, PORT, false, &lagg->store) == -ENOENT);
    keep_port(lagg, 1);
    keep(lagg, lagg->wire, "3/5/ring.0.0", 0, 0);
    CHECK(carried_map(carried, ID, PORT, false, &lagg->store) == -EPROTO);
    CHECK_EQ_U32(fds_count() - lagg->store.count, before);
    CHECK(carried_close(carried) == 0);
    lagg_free(lagg);
}

int
main(void)
{
    uint32_t fds;

    namespace_enter();
    link_up("lo");
    fds = fds_count();
    frames_pass_stop_and_pass_again(1);
    frames_pass_stop_and_pass_again(3);
    another_goes_on_where_one_ended();
    a_port_that_a_plan_names_stays();
    rings_are_changed_while_frames_pass();
    what_is_missing_or_another_thing_changes_nothing();
    CHECK_EQ_U32(fds_count(), fds);
    CHECK_EQ_U32(rings_count(), 0);
    return check_report();
}
