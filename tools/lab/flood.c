/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A flood: minimal frames as fast as one CPU sends them, for SECONDS.
 *
 *   flood host ADDRESS SECONDS FLOWS CPU      by UDP sockets, through the host's stack
 *   flood wire IFNAME MAC SECONDS FLOWS CPU   by a packet socket, past the stack
 *
 * Prints the number of frames that the kernel took.  Counts no arrivals: the
 * interfaces' own counters do.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
    BURST = 32,
    FLOWS_MAX = 64,
    PAYLOAD_BYTES = 18, /* makes a frame of 60 bytes, 64 with its check sequence */
    FRAME_BYTES = 60,
    ETHER_BYTES = 14,
    IP_BYTES = 20,
    PORT = 9, /* discard */
    PORT_BASE = 20000,
    SEND_BUFFER_BYTES = 8 << 20,
};

static _Noreturn void
die(const char *what)
{
    perror(what);
    exit(1);
}

static double
now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void
pin(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (cpu >= 0 && sched_setaffinity(0, sizeof set, &set) != 0) {
        die("sched_setaffinity");
    }
}

static void
set_send_buffer(int fd)
{
    int bytes = SEND_BUFFER_BYTES;

    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) != 0) {
        die("SO_SNDBUFFORCE");
    }
}

static int
open_host(const char *address, int flow)
{
    struct sockaddr_in here = {
        .sin_family = AF_INET,
        .sin_port = htons((uint16_t)(PORT_BASE + flow)),
    };
    struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    if (inet_pton(AF_INET, address, &there.sin_addr) != 1) {
        die("inet_pton");
    }
    if (fd < 0 || bind(fd, (struct sockaddr *)&here, sizeof here) != 0 ||
        connect(fd, (struct sockaddr *)&there, sizeof there) != 0) {
        die("udp socket");
    }
    set_send_buffer(fd);
    return fd;
}

static int
open_wire(const char *name)
{
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET,
        .sll_ifindex = (int)if_nametoindex(name),
    };
    int fd = socket(AF_PACKET, SOCK_RAW, 0);
    int bypass = 1;

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &bypass, sizeof bypass) != 0) {
        die("packet socket");
    }
    set_send_buffer(fd);
    return fd;
}

/* An IPv4 UDP datagram without checksums: it is dropped before anyone looks. */
static void
fill_frame(uint8_t frame[FRAME_BYTES], const char *mac, int flow)
{
    static const uint8_t ip[IP_BYTES] = {0x45, 0, 0, FRAME_BYTES - ETHER_BYTES, 0, 0, 0,
        0, 64, 17, 0, 0, 198, 18, 0, 2, 198, 18, 0, 1};
    const struct ether_addr *there = ether_aton(mac);
    uint16_t port = htons((uint16_t)(PORT_BASE + flow));

    if (there == NULL) {
        die("ether_aton");
    }
    memcpy(frame, there, 6);
    memcpy(frame + 6, "\x02\0\0\0\0\x02\x08\x00", 8);
    memcpy(frame + ETHER_BYTES, ip, IP_BYTES);
    memcpy(frame + ETHER_BYTES + IP_BYTES, &port, sizeof port);
}

static uint64_t
flood(const int fds[], int flows, uint8_t frames[][FRAME_BYTES], size_t bytes, double s)
{
    struct mmsghdr messages[BURST] = {0};
    struct iovec parts[BURST];
    double end = now_s() + s;
    uint64_t sent = 0;

    for (int flow = 0; now_s() < end; flow = (flow + 1) % flows) {
        int taken;

        for (int i = 0; i < BURST; i++) {
            parts[i] = (struct iovec){.iov_base = frames[flow], .iov_len = bytes};
            messages[i].msg_hdr.msg_iov = &parts[i];
            messages[i].msg_hdr.msg_iovlen = 1;
        }
        taken = sendmmsg(fds[flow], messages, BURST, 0);
        sent += taken > 0 ? (uint64_t)taken : 0;
    }
    return sent;
}

int
main(int argc, char **argv)
{
    static uint8_t frames[FLOWS_MAX][FRAME_BYTES];
    int fds[FLOWS_MAX];
    int wire = argc == 7 && strcmp(argv[1], "wire") == 0;
    int flows = argc > 5 ? atoi(argv[argc - 2]) : 0;

    if ((!wire && argc != 6) || flows < 1 || flows > FLOWS_MAX) {
        fprintf(stderr, "usage: see the head of flood.c\n");
        return 2;
    }
    pin(atoi(argv[argc - 1]));
    for (int flow = 0; flow < flows; flow++) {
        fds[flow] = wire ? open_wire(argv[2]) : open_host(argv[2], flow);
        fill_frame(frames[flow], wire ? argv[3] : "0:0:0:0:0:0", flow);
    }
    printf("%llu\n", (unsigned long long)flood(fds, flows, frames,
                         wire ? FRAME_BYTES : PAYLOAD_BYTES, atof(argv[argc - 3])));
    return 0;
}
