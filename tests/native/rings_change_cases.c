/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Receive rings opened anew while their port works: one that cannot move moves again,
 * the others do not notice, and what is refused changes nothing.
 */
#include "namespace.h"

enum { STUCK, SOUND, PORTS, FRAMES = 100 };

static const char *const port_names[PORTS] = {"port0", "port1"};

struct lagg {
    struct lagg_device *device;
    uint32_t workers;
    struct carrier carriers[LAGG_WORKERS_MAX];
    int wires[PORTS]; /* the ports' other ends */
    int host;         /* what comes up */
};

static uint64_t
publish(struct lagg *lagg)
{
    const struct lagg_plan plan = {
        .rx_drop = LAGG_DROP_NOT_ACCEPTED,
        .stride = 1,
        .hash_layers = LAGG_LAYER_L2,
        .rx_bytes_max = UINT32_MAX,
        .ports = (1u << PORTS) - 1,
        .rx_accept = (1u << PORTS) - 1,
        .tx_slots_count = 1,
    };
    uint64_t ticket = 0;

    CHECK(lagg_device_publish(lagg->device, &plan, &ticket) == 0);
    return ticket;
}

static void
lagg_start(struct lagg *lagg, uint32_t workers)
{
    *lagg = (struct lagg){.workers = workers};
    CHECK(lagg_device_create("lagg0", workers, LAGG_INSIDE, &lagg->device) == 0);
    link_up("lagg0");
    lagg->host = raw_open("lagg0");
    for (uint32_t i = 0; i < PORTS; i++) {
        lagg->wires[i] = tap_make_by(port_names[i], IFF_VNET_HDR);
        link_up(port_names[i]);
        CHECK(attach_port(lagg->device, i, (int)if_nametoindex(port_names[i])) == 0);
    }
    publish(lagg);
    for (uint32_t i = 0; i < workers; i++) {
        carrier_start(&lagg->carriers[i], lagg->device, i);
    }
    CHECK(lagg_device_stuck(lagg->device) == 0);
}

static void
lagg_end(struct lagg *lagg)
{
    lagg_device_stop(lagg->device);
    for (uint32_t i = 0; i < lagg->workers; i++) {
        carrier_join(&lagg->carriers[i]);
    }
    CHECK(lagg_device_destroy(lagg->device) == 0);
    for (uint32_t i = 0; i < PORTS; i++) {
        close(lagg->wires[i]);
    }
    close(lagg->host);
}

static void
wire_put(struct lagg *lagg, uint32_t port)
{
    const uint8_t bytes[VNET_BYTES + TEST_FRAME_BYTES] = {[VNET_BYTES] = 2,
        0,
        0,
        0,
        0,
        1,
        2,
        0,
        0,
        0,
        0,
        2,
        TEST_TYPE >> 8,
        TEST_TYPE & 0xff};

    CHECK(write(lagg->wires[port], bytes, sizeof bytes) == (ssize_t)sizeof bytes);
}

static struct lagg_reading
lagg_read(struct lagg *lagg)
{
    struct lagg_reading reading;

    lagg_device_read(lagg->device, &reading);
    return reading;
}

static uint64_t
received(struct lagg *lagg, uint32_t port)
{
    return lagg_read(lagg).ports[port].rx_frames;
}

/* All that the control plane does. */
static void
rings_change(struct lagg *lagg, uint32_t slot)
{
    uint64_t ticket;
    uint32_t worker;

    CHECK(lagg_device_open_rings(lagg->device, slot) == 0);
    CHECK(lagg_device_open_rings(lagg->device, slot) == -EBUSY);
    CHECK(lagg_device_change_rings(lagg->device, slot) == 0);
    ticket = publish(lagg);
    WAIT_UNTIL(lagg_device_passed(lagg->device, ticket, &worker));
    CHECK(lagg_device_drain_rings(lagg->device, slot) == 0);
    CHECK(lagg_device_close_rings(lagg->device, slot) == 0);
}

/* Every frame of it is counted, and none of the other port's is lost. */
static void
a_stuck_port_hears_again(uint32_t workers)
{
    struct lagg lagg;
    struct lagg_reading reading;
    uint32_t fds, rings;

    check_about("stuck", workers);
    lagg_start(&lagg, workers);
    fds = fds_count();
    rings = rings_count();
    for (uint32_t round = 1; round <= 3; round++) {
        uint64_t before = received(&lagg, STUCK), sound = received(&lagg, SOUND);

        tap_put_indescribable(lagg.wires[STUCK]);
        wire_put(&lagg, STUCK); /* of another flow, it may take another ring */
        for (uint32_t i = 0; i < FRAMES; i++) {
            wire_put(&lagg, SOUND);
        }
        WAIT_UNTIL(received(&lagg, SOUND) == sound + FRAMES);
        CHECK_EQ_U32(lagg_device_stuck(lagg.device), 1u << STUCK);
        rings_change(&lagg, STUCK);
        CHECK_EQ_U32(lagg_device_stuck(lagg.device), 0);
        wire_put(&lagg, STUCK);
        WAIT_UNTIL(received(&lagg, STUCK) == before + 3);
        CHECK(lagg_read(&lagg).reopened[STUCK] == round);
        CHECK(lagg_read(&lagg).reopened[SOUND] == 0);
    }
    reading = lagg_read(&lagg);
    CHECK(reading.total.rx_in ==
          reading.total.rx_out + reading.total.drops[LAGG_DROP_RING_OVERRUN]);
    CHECK_EQ_U32(fds_count(), fds);
    CHECK_EQ_U32(rings_count(), rings);
    lagg_end(&lagg);
}

/* The rings of a port that works are changed as well: it loses nothing that was in
 * them.
 */
static void
what_the_rings_before_still_hold_is_delivered(void)
{
    struct lagg lagg;

    check_about("drained", 0);
    lagg_start(&lagg, 1);
    lagg_device_stop(lagg.device);
    carrier_join(&lagg.carriers[0]);
    lagg.workers = 0;
    for (uint32_t i = 0; i < FRAMES; i++) {
        wire_put(&lagg, SOUND);
    }
    rings_change(&lagg, SOUND);
    CHECK(received(&lagg, SOUND) == FRAMES);
    CHECK(lagg_read(&lagg).total.rx_out == FRAMES);
    lagg_end(&lagg);
}

static void
a_slot_without_a_port_is_refused(void)
{
    struct lagg lagg;

    check_about("no port", 0);
    lagg_start(&lagg, 1);
    for (uint32_t slot = PORTS; slot < LAGG_PORTS_MAX + 2; slot++) {
        CHECK(lagg_device_open_rings(lagg.device, slot) == -ENOENT);
        CHECK(lagg_device_change_rings(lagg.device, slot) == -ENOENT);
        CHECK(lagg_device_drain_rings(lagg.device, slot) == -ENOENT);
        CHECK(lagg_device_close_rings(lagg.device, slot) == -ENOENT);
    }
    lagg_end(&lagg);
}

int
main(void)
{
    namespace_enter();
    a_stuck_port_hears_again(1);
    a_stuck_port_hears_again(2);
    what_the_rings_before_still_hold_is_delivered();
    a_slot_without_a_port_is_refused();
    return check_report();
}
