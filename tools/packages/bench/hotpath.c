/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A worker that carries a known number of frames, for who counts its instructions.
 *
 *   hotpath out FRAMES     lagg0's stack to the port p0
 *   hotpath in FRAMES      the port's wire, whose other end is q0, to lagg0
 *
 * Frames of 60 bytes, each of another flow, wait where the worker finds them before it
 * begins; it ends when they are through, in carry().  Nothing is lost, or it
 * fails.  Knows of the hot path what lagg.h says.
 */
#include "lagg.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FRAME_BYTES = 60, PORT_AT = 34, FLOW_BYTES = 2, ROUNDS_MAX = 10000 };

static const uint8_t frame[FRAME_BYTES] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0,
    0x45, 0, 0, FRAME_BYTES - 14, 0, 0, 0, 0, 64, 17, 0, 0, 198, 18, 0, 2, 198, 19, 0,
    1, 0, 0, 0, 9, 0, FRAME_BYTES - 34};

static struct lagg_device *device;
static uint64_t wanted;

static void
must(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static void
link_up(const char *name)
{
    struct ifreq request = {.ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    strncpy(request.ifr_name, name, sizeof request.ifr_name - 1);
    must(ioctl(fd, SIOCSIFFLAGS, &request) == 0, name);
    close(fd);
}

static void
device_make(void)
{
    struct lagg_plan plan = {
        .spread = LAGG_SPREAD_FLOW,
        .hash_kind = LAGG_HASH_CRC32C, /* what laggs have by default */
        .stride = 1,
        .ports = 1,
        .rx_accept = 1,
        .hash_layers = LAGG_LAYER_L2 | LAGG_LAYER_L3 | LAGG_LAYER_L4,
        .rx_bytes_max = 1522,
        .tx_slots_count = LAGG_BUCKETS,
        .own_count = 1,
        .own = {{2, 0, 0, 0, 0, 3}},
    };
    struct lagg_port *port;
    uint64_t ticket;
    int ifindex = (int)if_nametoindex("p0");

    must(lagg_device_create("lagg0", 1, LAGG_INSIDE, &device) == 0, "lagg0");
    must(lagg_device_set_carrier(device, 1) == 0, "carrier");
    must(lagg_port_open(device, ifindex, LAGG_TRANSMIT_XDP, &port) == 0, "p0");
    must(lagg_device_add_port(device, 0, port) == 0, "slot");
    must(lagg_device_publish(device, &plan, &ticket) == 0, "plan");
    link_up("lagg0");
}

static void
feed(const char *name)
{
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET,
        .sll_ifindex = (int)if_nametoindex(name),
    };
    int fd = socket(AF_PACKET, SOCK_RAW, 0);
    uint8_t bytes[FRAME_BYTES];

    must(bind(fd, (struct sockaddr *)&address, sizeof address) == 0, name);
    memcpy(bytes, frame, sizeof bytes);
    for (uint64_t number = 0; number < wanted; number++) {
        uint16_t flow = htons((uint16_t)(20000 + number));

        memcpy(bytes + PORT_AT, &flow, FLOW_BYTES);
        must(send(fd, bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes, "send");
    }
    close(fd);
}

/* Ends the worker once all are through, or when they do not come. */
static void *
watch(void *unused)
{
    const struct timespec pause = {.tv_nsec = 1000000};

    (void)unused;
    for (int round = 0; round < ROUNDS_MAX; round++) {
        if (lagg_device_frames(device) >= wanted) {
            break;
        }
        nanosleep(&pause, NULL);
    }
    lagg_device_stop(device);
    return NULL;
}

/* What is counted: a call that the compiler must not dissolve, as it may any other. */
__attribute__((noipa)) static int
carry(void)
{
    return lagg_worker_run(device, 0, 0);
}

int
main(int argc, char **argv)
{
    struct lagg_reading reading;
    pthread_t watcher;
    int out = argc == 3 && strcmp(argv[1], "out") == 0;

    if (argc != 3) {
        fprintf(stderr, "usage: see the head of hotpath.c\n");
        return 2;
    }
    wanted = strtoull(argv[2], NULL, 10);
    device_make();
    feed(out ? "lagg0" : "q0");
    must(pthread_create(&watcher, NULL, watch, NULL) == 0, "thread");
    must(carry() == 0, "worker");
    pthread_join(watcher, NULL);
    lagg_device_read(device, &reading);
    if ((out ? reading.total.tx_out : reading.total.rx_out) != wanted) {
        fprintf(stderr, "frames were lost, or others came\n");
        return 1;
    }
    return lagg_device_destroy(device) != 0;
}
