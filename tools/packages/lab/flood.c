/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A flood: minimal frames as fast as one CPU sends them, or at a pace, for SECONDS.
 *
 *   flood KIND ADDRESS IFNAME MAC FLOWS CPU SECONDS RATE
 *
 *   host    by UDP sockets, through the host's stack
 *   gso     so, datagrams of 48000 bytes, to be cut into 40 (UDP_SEGMENT)
 *   wire    by packet sockets, past stack and queueing discipline
 *   queue   by packet sockets, past the stack alone
 *
 * ADDRESS is for host and gso.  IFNAME and MAC are for wire and queue: where frames
 * leave (several, with commas between: in turn) and whom they are for.  FLOWS differ in
 * address and port; CPU is where it runs, -1 for anywhere; RATE is in frames a second,
 * 0 for any.
 *
 * Prints how many the kernel took and the seconds that this took.  Counts no arrivals:
 * who receives does.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <netinet/udp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "lab.h"

enum {
    BURST = 32,
    SOCKETS_MAX = 64,
    PAYLOAD_BYTES = 18, /* makes a frame of 60 bytes, 64 with its check sequence */
    FRAME_BYTES = 60,
    SEGMENT_BYTES = 1200, /* what QUIC sends */
    SUPER_BYTES = 40 * SEGMENT_BYTES,
    ETHER_BYTES = 14,
    IP_BYTES = 20,
    ADDRESS_AT = ETHER_BYTES + 12, /* the source's */
    PORT_AT = ETHER_BYTES + IP_BYTES,
    PORT = 9, /* discard */
    PORT_BASE = 20000,
    FLOW_PORTS = 16384, /* flows of one address */
    SEND_BUFFER_BYTES = 8 << 20,
};

static const double DEBT_MAX_S = 0.001; /* a pace makes up for no longer a pause */

struct flood {
    int fds[SOCKETS_MAX];
    uint32_t fds_count;
    uint32_t flows;
    uint32_t flow;   /* the next frame's */
    bool raw;        /* frames are built here */
    uint32_t burst;  /* messages a call at most */
    uint32_t socket; /* the next call's */
    struct mmsghdr messages[BURST];
    struct iovec parts[BURST];
    uint8_t frames[BURST][FRAME_BYTES];
};

static uint8_t payload[SUPER_BYTES];

static double
now_s(void)
{
    return (double)now_ns(CLOCK_MONOTONIC) / NS_PER_S;
}

static void
set_option(int fd, int level, int option, int value, const char *name)
{
    if (setsockopt(fd, level, option, &value, sizeof value) != 0) {
        err(EXIT_FAILURE, "%s", name);
    }
}

static int
open_host(const char *address, uint32_t flow, bool gso)
{
    struct sockaddr_in here = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)(PORT_BASE + flow)),
    };
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    if (inet_pton(AF_INET, address, &there.sin_addr) != 1) {
        errx(EXIT_FAILURE, "no address: %s", address);
    }
    if (fd < 0 || bind(fd, (struct sockaddr *)&here, sizeof here) != 0 ||
        connect(fd, (struct sockaddr *)&there, sizeof there) != 0) {
        err(EXIT_FAILURE, "udp socket");
    }
    if (gso) {
        set_option(fd, SOL_UDP, UDP_SEGMENT, SEGMENT_BYTES, "UDP_SEGMENT");
    }
    return fd;
}

static int
open_wire(const char *name, bool bypass)
{
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET,
        .sll_ifindex = (int)if_nametoindex(name),
    };
    int fd = socket(AF_PACKET, SOCK_RAW, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        err(EXIT_FAILURE, "%s", name);
    }
    set_option(fd, SOL_PACKET, PACKET_QDISC_BYPASS, bypass, "PACKET_QDISC_BYPASS");
    return fd;
}

/* An IPv4 UDP datagram without checksums: it is dropped before anyone looks. */
static void
frame_fill(uint8_t frame[FRAME_BYTES], const char *mac)
{
    static const uint8_t ip[IP_BYTES] = {0x45, 0, 0, FRAME_BYTES - ETHER_BYTES, 0, 0, 0,
        0, 64, 17, 0, 0, 198, 18, 0, 2, 198, 19, 0, 1};
    static const uint8_t udp[] = {0, 0, 0, PORT, 0, 8 + PAYLOAD_BYTES, 0, 0};
    const struct ether_addr *there = ether_aton(mac);

    if (there == NULL) {
        errx(EXIT_FAILURE, "no MAC: %s", mac);
    }
    memcpy(frame, there, 6);
    memcpy(frame + 6, "\x02\0\0\0\0\x02\x08\x00", 8);
    memcpy(frame + ETHER_BYTES, ip, sizeof ip);
    memcpy(frame + ETHER_BYTES + IP_BYTES, udp, sizeof udp);
}

static void
frame_set_flow(uint8_t frame[FRAME_BYTES], uint32_t flow)
{
    uint16_t port = htons((uint16_t)(PORT_BASE + flow % FLOW_PORTS));
    uint16_t address = htons((uint16_t)(2 + flow / FLOW_PORTS));

    memcpy(frame + ADDRESS_AT + 2, &address, sizeof address);
    memcpy(frame + PORT_AT, &port, sizeof port);
}

static void
flood_open_wires(struct flood *flood, char *names, const char *mac, bool bypass)
{
    flood->raw = true;
    for (char *rest = names, *name; (name = strsep(&rest, ",")) != NULL;) {
        if (flood->fds_count == SOCKETS_MAX) {
            errx(EXIT_FAILURE, "too many interfaces");
        }
        flood->fds[flood->fds_count++] = open_wire(name, bypass);
    }
    for (uint32_t i = 0; i < BURST; i++) {
        frame_fill(flood->frames[i], mac);
        flood->parts[i] = (struct iovec){flood->frames[i], FRAME_BYTES};
    }
}

static void
flood_open_hosts(struct flood *flood, const char *address, bool gso)
{
    flood->fds_count = flood->flows < SOCKETS_MAX ? flood->flows : SOCKETS_MAX;
    flood->burst = gso ? 1 : BURST;
    for (uint32_t i = 0; i < flood->fds_count; i++) {
        flood->fds[i] = open_host(address, i, gso);
    }
    for (uint32_t i = 0; i < BURST; i++) {
        flood->parts[i] = (struct iovec){payload, gso ? SUPER_BYTES : PAYLOAD_BYTES};
    }
}

/* Returns how many of 'count' the kernel took. */
static uint32_t
flood_send(struct flood *flood, uint32_t count)
{
    int taken;

    for (uint32_t i = 0; flood->raw && i < count; i++) {
        frame_set_flow(flood->frames[i], flood->flow);
        flood->flow = flood->flow + 1 < flood->flows ? flood->flow + 1 : 0;
    }
    taken = sendmmsg(flood->fds[flood->socket], flood->messages, count, 0);
    flood->socket = (flood->socket + 1) % flood->fds_count;
    return taken > 0 ? (uint32_t)taken : 0;
}

/* How many frames are due; 'start' moves on for those that will not be made up for. */
static uint32_t
frames_due(double *start, double rate, uint64_t done, uint32_t burst)
{
    double late = now_s() - *start - (double)done / rate;

    if (late > DEBT_MAX_S) {
        *start += late - DEBT_MAX_S;
        late = DEBT_MAX_S;
    }
    return late * rate < burst ? (uint32_t)(late > 0 ? late * rate : 0) : burst;
}

static uint64_t
flood_run(struct flood *flood, double seconds, double rate)
{
    double start = now_s(), end = start + seconds;
    uint64_t sent = 0, done = 0;

    while (now_s() < end) {
        uint32_t count =
            rate > 0 ? frames_due(&start, rate, done, flood->burst) : flood->burst;

        if (count > 0) {
            sent += flood_send(flood, count);
            done += count;
        }
    }
    return sent;
}

int
main(int argc, char **argv)
{
    static struct flood flood = {.burst = BURST};
    const char *kind = argc == 9 ? argv[1] : "";
    double start;
    uint64_t sent;

    flood.flows = argc == 9 ? (uint32_t)strtoul(argv[5], NULL, 10) : 0;
    if (flood.flows == 0) {
        fprintf(stderr, "usage: see the head of flood.c\n");
        return 2;
    }
    if (strcmp(kind, "wire") == 0 || strcmp(kind, "queue") == 0) {
        flood_open_wires(&flood, argv[3], argv[4], strcmp(kind, "wire") == 0);
    } else {
        flood_open_hosts(&flood, argv[2], strcmp(kind, "gso") == 0);
    }
    for (uint32_t i = 0; i < flood.fds_count; i++) {
        set_option(
            flood.fds[i], SOL_SOCKET, SO_SNDBUFFORCE, SEND_BUFFER_BYTES, "buffer");
    }
    for (uint32_t i = 0; i < BURST; i++) {
        flood.messages[i].msg_hdr.msg_iov = &flood.parts[i];
        flood.messages[i].msg_hdr.msg_iovlen = 1;
    }
    pin(atoi(argv[6]));
    start = now_s();
    sent = flood_run(&flood, strtod(argv[7], NULL), strtod(argv[8], NULL));
    printf("%llu %.6f\n", (unsigned long long)sent, now_s() - start);
    return 0;
}
