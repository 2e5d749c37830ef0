/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames that are longer than their port's MTU by VLAN tags alone: a port takes them
 * from its packet sockets as it does from the kernel, whatever the tags are; and no
 * longer one.
 */
#include "namespace.h"
#include "store.h"

#include "numbers.h"
#include "shipments.h"

#include <linux/sockios.h>
#include <pthread.h>

enum { MTU = 1500, JUMBO = 9000, S_TAG = 0x88a8, C_TAG = 0x8100 };

struct road {
    struct lagg_port port;
    struct port_work *work;
    int far_fd;
};

static struct frame_buffer buffers[BURST_MAX];
static struct frame frames[BURST_MAX];
static uint8_t order[BURST_MAX];

static struct road *
road_make(uint32_t workers, int mtu)
{
    struct road *road = malloc(sizeof *road);

    memset(road, 0, sizeof *road);
    road->far_fd = tap_make("port0", false);
    link_set_mtu("port0", mtu);
    link_up("port0");
    CHECK(port_open(&road->port, (int)if_nametoindex("port0"), workers, false) == 0);
    road->work = port_settle(&road->port);
    return road;
}

static void
road_end(struct road *road)
{
    port_close(&road->port);
    free(road->work);
    close(road->far_fd);
    free(road);
}

struct tags {
    const char *name;
    uint16_t tpids[3]; /* the outermost first; 0 after the last */
};

/* A frame with 'payload' bytes behind its tags and EtherType. */
static void
frame_put(uint32_t index, uint8_t number, const struct tags *tags, uint32_t payload)
{
    uint8_t *ether = buffers[index].bytes + VNET_BYTES;
    uint32_t at = 12;

    memset(buffers[index].bytes, 0, VNET_BYTES + ETHER_BYTES);
    ether[0] = ether[6] = 2;
    for (uint32_t i = 0; i < 3 && tags->tpids[i] != 0; i++) {
        ether[at] = (uint8_t)(tags->tpids[i] >> 8);
        ether[at + 1] = (uint8_t)tags->tpids[i];
        ether[at + 2] = 0;
        ether[at + 3] = (uint8_t)(i + 1);
        at += TAG_BYTES;
    }
    ether[at] = TEST_TYPE >> 8;
    ether[at + 1] = TEST_TYPE & 0xff;
    memset(ether + at + 2, number, payload);
    frames[index] = buffer_frame(&buffers[index], VNET_BYTES + at + 2 + payload);
    order[index] = (uint8_t)index;
}

static uint32_t
road_send(struct road *road, uint32_t worker, uint32_t count, int *error)
{
    return ship_by_port(&road->port, worker, frames, order, count, error);
}

/* The far end gets frame 'index', as it is. */
static void
road_expect(struct road *road, uint32_t index)
{
    uint8_t bytes[JUMBO + 64], *sent = buffers[index].bytes + VNET_BYTES;
    ssize_t size = read(road->far_fd, bytes, sizeof bytes);

    CHECK_EQ_U32((uint32_t)size, frame_bytes(&frames[index]));
    CHECK(size > 0 && memcmp(bytes, sent, (size_t)size) == 0);
}

static const struct tags tags_cases[] = {
    {"none", {0}},
    {"802.1Q", {C_TAG}},
    {"802.1ad", {S_TAG}},
    {"QinQ", {S_TAG, C_TAG}},
    {"two of 802.1Q", {C_TAG, C_TAG}},
};

static void
a_full_frame_passes_whatever_its_tags(uint32_t workers, int mtu)
{
    struct road *road = road_make(workers, mtu);

    for (size_t i = 0; i < sizeof tags_cases / sizeof tags_cases[0]; i++) {
        int error;

        check_about(tags_cases[i].name, (uint32_t)mtu);
        frame_put(0, 7, &tags_cases[i], (uint32_t)mtu);
        for (uint32_t worker = 0; worker < workers; worker++) {
            CHECK_EQ_U32(road_send(road, worker, 1, &error), 1);
            CHECK(error == 0);
            road_expect(road, 0);
        }
        frame_put(0, 7, &tags_cases[i], (uint32_t)mtu + 5);
        CHECK_EQ_U32(road_send(road, 0, 1, &error), 0);
        CHECK(error == -EMSGSIZE);
    }
    CHECK(read(road->far_fd, buffers[1].bytes, JUMBO) < 0);
    road_end(road);
}

/* What is longer than an entry, and what has more tags than anybody counts. */
static void
what_no_way_takes_is_refused(void)
{
    struct road *road = road_make(1, 30000);
    int error;

    check_about("too long", 0);
    frame_put(0, 1, &tags_cases[3], 30000);
    CHECK_EQ_U32(road_send(road, 0, 1, &error), 0);
    CHECK(error == -EMSGSIZE);
    link_set_mtu("port0", MTU);
    frame_put(0, 1, &(struct tags){"three", {S_TAG, C_TAG, C_TAG}}, MTU);
    CHECK_EQ_U32(road_send(road, 0, 1, &error), 0);
    CHECK(error == -EMSGSIZE);
    road_end(road);
}

/* More than the transmit ring has entries, between frames that need it not. */
static void
frames_of_a_burst_keep_their_order(void)
{
    struct road *road = road_make(1, MTU);
    int error;

    check_about("order", 0);
    for (uint32_t round = 0; round < 10; round++) {
        for (uint32_t i = 0; i < BURST_MAX; i++) {
            frame_put(i, (uint8_t)i, &tags_cases[i % 5], i % 3 == 0 ? 60 : MTU);
        }
        CHECK_EQ_U32(road_send(road, 0, BURST_MAX, &error), BURST_MAX);
        for (uint32_t i = 0; i < BURST_MAX; i++) {
            road_expect(road, i);
        }
    }
    road_end(road);
}

/* The frame is refused, and does not leave later by itself. */
static void
a_port_that_is_down_says_so(void)
{
    struct road *road = road_make(1, MTU);
    struct sent_from from;
    const struct shipment shipment = shipment_make(&from, frames, order, 1);
    int error;

    check_about("down", 0);
    link_down("port0");
    frame_put(0, 1, &tags_cases[3], MTU);
    CHECK(txring_send(&road->port.txrings[0], &shipment) == -ENETDOWN);
    CHECK_EQ_U32(road_send(road, 0, 1, &error), 0);
    CHECK(error == -ENETDOWN);
    link_up("port0");
    frame_put(0, 2, &tags_cases[3], MTU);
    CHECK_EQ_U32(road_send(road, 0, 1, &error), 1);
    road_expect(road, 0);
    CHECK(read(road->far_fd, buffers[1].bytes, JUMBO) < 0);
    road_end(road);
}

/* An entry that the driver has not given back is room that is not there. */
static void
a_ring_without_room_is_full(void)
{
    struct road *road = road_make(1, MTU);
    struct tpacket2_hdr *entry =
        (struct tpacket2_hdr *)(void *)road->port.txrings[0].map;
    int error;

    check_about("full", 0);
    entry->tp_status = TP_STATUS_SENDING;
    frame_put(0, 1, &tags_cases[3], MTU);
    CHECK_EQ_U32(road_send(road, 0, 1, &error), 0);
    CHECK(error_is_full(error));
    entry->tp_status = TP_STATUS_AVAILABLE;
    CHECK_EQ_U32(road_send(road, 0, 1, &error), 1);
    road_expect(road, 0);
    road_end(road);
}

/* ---- several workers --------------------------------------------------------------
 */

enum { THREADS = 2, SENT_EACH = 400 };

struct sender {
    struct road *road;
    uint32_t worker;
    pthread_t thread;
    uint32_t sent;
};

/* Frames 2 * worker, which is full with two tags, and the next, which is short. */
static void *
sender_run(void *argument)
{
    struct sender *sender = argument;
    const uint8_t own[] = {
        (uint8_t)(2 * sender->worker), (uint8_t)(2 * sender->worker + 1)};
    for (uint32_t i = 0; i < SENT_EACH; i++) {
        int error;

        sender->sent +=
            ship_by_port(&sender->road->port, sender->worker, frames, own, 2, &error);
    }
    return NULL;
}

/* None of it but what belongs to all of them is touched by two. */
static void
workers_share_a_port(void)
{
    struct road *road = road_make(THREADS, MTU);
    struct sender senders[THREADS];
    uint32_t sent = 0, came = 0;

    check_about("workers", THREADS);
    for (uint32_t i = 0; i < THREADS; i++) {
        senders[i] = (struct sender){.road = road, .worker = i};
        frame_put(2 * i, (uint8_t)i, &tags_cases[3], MTU);
        frame_put(2 * i + 1, (uint8_t)i, &tags_cases[0], 60);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&senders[i].thread, NULL, sender_run, &senders[i]) == 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        CHECK(pthread_join(senders[i].thread, NULL) == 0);
        sent += senders[i].sent;
    }
    while (read(road->far_fd, buffers[BURST_MAX - 1].bytes, JUMBO) > 0) {
        came++;
    }
    /* A TAP that is not read holds so many, and no more. */
    CHECK(sent > 0 && came > 0 && came <= sent);
    road_end(road);
}

int
main(void)
{
    namespace_enter();
    a_full_frame_passes_whatever_its_tags(1, MTU);
    a_full_frame_passes_whatever_its_tags(1, JUMBO);
    a_full_frame_passes_whatever_its_tags(3, MTU);
    what_no_way_takes_is_refused();
    frames_of_a_burst_keep_their_order();
    a_port_that_is_down_says_so();
    a_ring_without_room_is_full();
    workers_share_a_port();
    return check_report();
}
