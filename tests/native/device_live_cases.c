/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a device is told and asked beside its plans while a worker carries frames: which
 * PDUs come up, how a port sends, how many frames there were, and who waits for one.
 */
#include "namespace.h"

#include "device.h"

#include <sys/eventfd.h>

enum { PORT = 5, FRAMES = 100, LACP = 1, MARKER = 2, OAM = 3 };

struct lagg {
    struct lagg_device *device;
    struct carrier carrier;
    struct lagg_plan plan;
    int wire; /* the port's other end */
    int host; /* lagg0's */
};

/* By way of every entry of the table the one port sends, and it is heard. */
static void
publish(struct lagg *lagg)
{
    uint64_t ticket;

    lagg->plan = (struct lagg_plan){
        .tx_drop = LAGG_DROP_NO_PORT,
        .rx_drop = LAGG_DROP_NOT_ACCEPTED,
        .spread = LAGG_SPREAD_FLOW,
        .stride = 1,
        .hash_layers = LAGG_LAYER_L2,
        .rx_bytes_max = UINT32_MAX,
        .ports = 1u << PORT,
        .rx_accept = 1u << PORT,
        .tx_slots_count = LAGG_BUCKETS,
    };
    memset(lagg->plan.tx_slots, PORT, sizeof lagg->plan.tx_slots);
    CHECK(lagg_device_publish(lagg->device, &lagg->plan, &ticket) == 0);
}

static void
lagg_start(struct lagg *lagg)
{
    CHECK(lagg_device_create("lagg0", 1, LAGG_INSIDE, &lagg->device) == 0);
    CHECK(lagg_device_set_carrier(lagg->device, 1) == 0);
    link_up("lagg0");
    lagg->host = raw_open("lagg0");
    lagg->wire = tap_make("port0", false);
    link_up("port0");
    CHECK(attach_port_by(lagg->device, PORT, (int)if_nametoindex("port0"),
              LAGG_TRANSMIT_XDP) == 0);
    publish(lagg);
    carrier_start(&lagg->carrier, lagg->device, 0);
}

static void
lagg_end(struct lagg *lagg)
{
    lagg_device_stop(lagg->device);
    carrier_join(&lagg->carrier);
    CHECK(lagg_device_destroy(lagg->device) == 0);
    close(lagg->wire);
    close(lagg->host);
}

static struct lagg_reading
lagg_read(struct lagg *lagg)
{
    struct lagg_reading reading;

    lagg_device_read(lagg->device, &reading);
    return reading;
}

/* ---- frames -----------------------------------------------------------------------
 */

/* A frame comes in by the port. */
static void
wire_put_to(struct lagg *lagg, const uint8_t to[6], uint16_t type, uint8_t first)
{
    uint8_t bytes[TEST_FRAME_BYTES] = {
        [6] = 2, [11] = 2, [12] = (uint8_t)(type >> 8), (uint8_t)type, first};

    memcpy(bytes, to, 6);
    CHECK(write(lagg->wire, bytes, sizeof bytes) == (ssize_t)sizeof bytes);
}

static void
wire_put(struct lagg *lagg, uint16_t type, uint8_t first)
{
    const uint8_t group[] = {0x01, 0x80, 0xc2, 0, 0, 2};

    wire_put_to(lagg, group, type, first);
}

/* What has come in by the port, when all of it has been looked at. */
static uint64_t
received(struct lagg *lagg)
{
    WAIT_UNTIL(carrier_asleep(&lagg->carrier));
    return lagg_read(lagg).ports[PORT].rx_frames;
}

/* ---- what is asked ----------------------------------------------------------------
 */

/* raw_send()'s frames are one flow. */
static uint32_t
bucket(const struct lagg *lagg)
{
    const uint8_t bytes[TEST_FRAME_BYTES] = {
        2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, TEST_TYPE >> 8, TEST_TYPE & 0xff};
    struct lagg_hashed hashed;

    CHECK(lagg_flow_hash(&lagg->plan, bytes, sizeof bytes, &hashed) == 0);
    return hashed.hash % LAGG_BUCKETS;
}

static void
frames_and_buckets_are_what_was_counted(struct lagg *lagg)
{
    struct lagg_bucket buckets[LAGG_BUCKETS];
    uint64_t sum = 0, bytes = 0;
    struct lagg_reading reading;

    check_about("frames", 0);
    WAIT_UNTIL(raw_send(lagg->host) && lagg_read(lagg).total.tx_out >= FRAMES);
    wire_put(lagg, TEST_TYPE, 0);
    WAIT_UNTIL(received(lagg) > 0);
    reading = lagg_read(lagg);
    CHECK(
        lagg_device_frames(lagg->device) == reading.total.tx_in + reading.total.rx_in);
    lagg_device_buckets(lagg->device, buckets);
    for (uint32_t i = 0; i < LAGG_BUCKETS; i++) {
        sum += buckets[i].frames;
        bytes += buckets[i].bytes;
    }
    CHECK(sum == reading.total.tx_out);
    CHECK(buckets[bucket(lagg)].frames == sum);
    CHECK(buckets[bucket(lagg)].bytes == bytes);
    CHECK(bytes >= sum * ETHER_BYTES);
}

static bool
told(int fd)
{
    uint64_t times = 0;
    bool any = read(fd, &times, sizeof times) == (ssize_t)sizeof times;

    CHECK(times <= 1);
    return any;
}

static void
who_waits_is_told_of_the_next_frame_and_of_no_other(struct lagg *lagg)
{
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    uint64_t before = received(lagg);

    check_about("alert", 0);
    lagg_device_alert(lagg->device, fd);
    CHECK(!told(fd));
    wire_put(lagg, TEST_TYPE, 0);
    WAIT_UNTIL(told(fd));
    wire_put(lagg, TEST_TYPE, 0);
    WAIT_UNTIL(received(lagg) == before + 2);
    CHECK(!told(fd));
    lagg_device_alert(lagg->device, fd);
    lagg_device_alert(lagg->device, -1);
    wire_put(lagg, TEST_TYPE, 0);
    WAIT_UNTIL(received(lagg) == before + 3);
    CHECK(!told(fd));
    close(fd);
}

/* ---- what is told -----------------------------------------------------------------
 */

/* One PDU of each, and a frame behind them.  Returns how many came up. */
static uint64_t
pdus_received(struct lagg *lagg)
{
    uint64_t before = received(lagg);
    const uint8_t subtypes[] = {LACP, MARKER, OAM};

    for (uint32_t i = 0; i < sizeof subtypes; i++) {
        wire_put(lagg, ETH_P_SLOW, subtypes[i]);
    }
    wire_put(lagg, TEST_TYPE, 0);
    WAIT_UNTIL(received(lagg) >= before + 2);
    return received(lagg) - before - 1;
}

static void
lacp_and_markers_come_up_as_long_as_they_are_admitted(struct lagg *lagg)
{
    for (uint32_t round = 0; round < 3; round++) {
        check_about("LACP", round);
        CHECK(pdus_received(lagg) == 3);
        CHECK(lagg_device_admit_lacp(lagg->device, PORT, 0) == 0);
        CHECK(pdus_received(lagg) == 1);
        CHECK(lagg_device_admit_lacp(lagg->device, PORT, 1) == 0);
    }
}

/* One frame to each of these MACs, and one behind them to another.  How many came up.
 */
static uint64_t
received_to(struct lagg *lagg, const uint8_t macs[][6], uint32_t count)
{
    const uint8_t other[] = {2, 0, 0, 0, 0, 1};
    uint64_t before = received(lagg);

    for (uint32_t i = 0; i < count; i++) {
        wire_put_to(lagg, macs[i], TEST_TYPE, 0);
    }
    wire_put_to(lagg, other, TEST_TYPE, 0);
    WAIT_UNTIL(received(lagg) > before);
    return received(lagg) - before - 1;
}

static void
what_is_kept_out_comes_up_no_more_and_all_else_does(struct lagg *lagg)
{
    const uint8_t macs[][6] = {{0x62, 1, 2, 3, 4, 5}, {1, 0, 0x5e, 0x90, 0, 1}};
    const uint8_t near[][6] = {{0x62, 1, 2, 3, 4, 4}, {1, 0, 0x5e, 0x91, 0, 1}};

    for (int lacp = 0; lacp < 2; lacp++) {
        check_about("kept out", (uint32_t)lacp);
        CHECK(lagg_device_admit_lacp(lagg->device, PORT, lacp) == 0);
        CHECK(received_to(lagg, macs, 2) == 2);
        CHECK(lagg_device_keep_out(lagg->device, PORT, macs[0], 2) == 0);
        CHECK(received_to(lagg, macs, 2) == 0);
        CHECK(received_to(lagg, near, 2) == 2);
        CHECK(pdus_received(lagg) == (lacp == 1 ? 3 : 1));
        CHECK(lagg_device_keep_out(
                  lagg->device, PORT, macs[0], LAGG_KEPT_OUT_MAX + 1) == -E2BIG);
        CHECK(received_to(lagg, macs, 2) == 0);
        CHECK(lagg_device_keep_out(lagg->device, PORT, macs[0], 0) == 0);
    }
    CHECK(received_to(lagg, macs, 2) == 2);
}

/* Where there is no AF_XDP it is no way, however often it is wished for. */
static void
a_port_sends_as_it_is_told_where_it_can(struct lagg *lagg)
{
    uint32_t possible = lagg_read(lagg).xdp;

    check_about("transmit", possible);
    for (uint32_t round = 0; round < 3; round++) {
        CHECK(lagg_device_set_transmit(lagg->device, PORT, LAGG_TRANSMIT_PACKET) == 0);
        CHECK_EQ_U32(lagg_read(lagg).xdp, 0);
        CHECK(lagg_device_set_transmit(lagg->device, PORT, LAGG_TRANSMIT_XDP) == 0);
        CHECK_EQ_U32(lagg_read(lagg).xdp, possible);
    }
    CHECK(lagg_device_set_transmit(lagg->device, PORT, LAGG_TRANSMIT_COUNT) == -EINVAL);
    CHECK_EQ_U32(lagg_read(lagg).xdp, possible);
}

/* What comes of it: worker_refusal_cases.c. */
static void
a_port_knows_whether_it_is_filtered(struct lagg *lagg)
{
    const struct lagg_port *port = lagg->device->ports[PORT];

    check_about("filtered", 0);
    CHECK(!atomic_load(&port->wish->filtered));
    CHECK(lagg_device_set_filtered(lagg->device, PORT, 4711) == 0);
    CHECK(atomic_load(&port->wish->filtered));
    CHECK(lagg_device_set_filtered(lagg->device, PORT, 0) == 0);
    CHECK(!atomic_load(&port->wish->filtered));
}

static void
a_slot_without_a_port_is_told_nothing(struct lagg *lagg)
{
    for (uint32_t slot = PORT + 1; slot < LAGG_PORTS_MAX + 2; slot++) {
        check_about("no port", slot);
        CHECK(lagg_device_admit_lacp(lagg->device, slot, 0) == -ENOENT);
        CHECK(lagg_device_keep_out(lagg->device, slot, NULL, 0) == -ENOENT);
        CHECK(lagg_device_set_filtered(lagg->device, slot, 1) == -ENOENT);
        CHECK(
            lagg_device_set_transmit(lagg->device, slot, LAGG_TRANSMIT_XDP) == -ENOENT);
    }
}

int
main(void)
{
    struct lagg lagg;

    namespace_enter();
    lagg_start(&lagg);
    frames_and_buckets_are_what_was_counted(&lagg);
    who_waits_is_told_of_the_next_frame_and_of_no_other(&lagg);
    lacp_and_markers_come_up_as_long_as_they_are_admitted(&lagg);
    what_is_kept_out_comes_up_no_more_and_all_else_does(&lagg);
    a_port_sends_as_it_is_told_where_it_can(&lagg);
    a_port_knows_whether_it_is_filtered(&lagg);
    a_slot_without_a_port_is_told_nothing(&lagg);
    lagg_end(&lagg);
    return check_report();
}
