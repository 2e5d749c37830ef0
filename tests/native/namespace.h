/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A network namespace of the test's own, and the few things a test does to it: links
 * up, down and deleted, frames sent raw, threads that carry a lagg.
 *
 * Owns the decision to skip: exit 77 with the reason, where the machine does not allow
 * it.  Include it first.
 */
#ifndef NAMESPACE_H
#define NAMESPACE_H

#define _GNU_SOURCE /* unshare, pthread_timedjoin_np */
#include "worker.h"

#include "check.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    WAIT_MS_MAX = 30000, /* for what should come within a millisecond */
    TEST_TYPE = 0x88b5,  /* EtherType for local experiments: nobody answers */
    TEST_FRAME_BYTES = 60,
    SKIP = 77,
};

static inline void
namespace_enter(void)
{
    if (unshare(CLONE_NEWNET) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
        printf("skip: no network namespace: %s\n", strerror(errno));
        exit(SKIP);
    }
    if (access("/dev/net/tun", R_OK | W_OK) != 0) {
        printf("skip: /dev/net/tun: %s\n", strerror(errno));
        exit(SKIP);
    }
}

static inline uint64_t
clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Waits until 'condition' holds, and checks that it came to. */
#define WAIT_UNTIL(condition)                                                          \
    do {                                                                               \
        uint64_t deadline_ms = clock_ms() + WAIT_MS_MAX;                               \
        bool held = (condition);                                                       \
        while (!held && clock_ms() < deadline_ms) {                                    \
            poll(NULL, 0, 1);                                                          \
            held = (condition);                                                        \
        }                                                                              \
        check_true(held, #condition, __FILE__, __LINE__);                              \
    } while (0)

static inline uint32_t
fds_count(void)
{
    DIR *directory = opendir("/proc/self/fd");
    uint32_t count = 0;

    while (readdir(directory) != NULL) {
        count++;
    }
    closedir(directory);
    return count;
}

/* The packet rings that are mapped. */
static inline uint32_t
rings_count(void)
{
    FILE *maps = fopen("/proc/self/maps", "re");
    uint32_t count = 0;
    char line[512];

    while (fgets(line, sizeof line, maps) != NULL) {
        count += strstr(line, "socket:[") != NULL;
    }
    fclose(maps);
    return count;
}

static inline uint32_t
links_count(void)
{
    struct if_nameindex *links = if_nameindex();
    uint32_t count = 0;

    while (links[count].if_index != 0) {
        count++;
    }
    if_freenameindex(links);
    return count;
}

/* ---- links ------------------------------------------------------------------------
 */

static inline short
link_flags(const char *name, short set, short clear)
{
    struct ifreq request = {0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    strncpy(request.ifr_name, name, sizeof request.ifr_name - 1);
    CHECK(ioctl(fd, SIOCGIFFLAGS, &request) == 0);
    if (set != 0 || clear != 0) {
        request.ifr_flags = (short)((request.ifr_flags | set) & ~clear);
        CHECK(ioctl(fd, SIOCSIFFLAGS, &request) == 0);
    }
    close(fd);
    return request.ifr_flags;
}

static inline void
link_up(const char *name)
{
    char path[64];
    int fd;

    /* No router solicitations and the like: the test counts frames. */
    snprintf(path, sizeof path, "/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0) {
        CHECK(write(fd, "1", 1) == 1);
        close(fd);
    }
    link_flags(name, IFF_UP, 0);
}

static inline void
link_down(const char *name)
{
    link_flags(name, 0, IFF_UP);
}

static inline void
link_set_mtu(const char *name, int mtu)
{
    struct ifreq request = {.ifr_mtu = mtu};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    strncpy(request.ifr_name, name, sizeof request.ifr_name - 1);
    CHECK(ioctl(fd, SIOCSIFMTU, &request) == 0);
    close(fd);
}

static inline void
link_delete(const char *name)
{
    struct {
        struct nlmsghdr header;
        struct ifinfomsg link;
    } message = {
        .header = {.nlmsg_len = sizeof message,
            .nlmsg_type = RTM_DELLINK,
            .nlmsg_flags = NLM_F_REQUEST},
        .link = {.ifi_index = (int)if_nametoindex(name)},
    };
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

    CHECK(send(fd, &message, sizeof message, 0) == (ssize_t)sizeof message);
    close(fd);
    CHECK(if_nametoindex(name) == 0);
}

/* A TAP of the test's own, with IFF_VNET_HDR or with nothing. */
static inline int
tap_make_by(const char *name, int flags)
{
    struct ifreq request = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | flags)};
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);

    strncpy(request.ifr_name, name, sizeof request.ifr_name - 1);
    CHECK(ioctl(fd, TUNSETIFF, &request) == 0);
    return fd;
}

/* It goes with the descriptor, unless it is persistent. */
static inline int
tap_make(const char *name, bool persistent)
{
    int fd = tap_make_by(name, 0);

    CHECK(ioctl(fd, TUNSETPERSIST, (unsigned long)persistent) == 0);
    return fd;
}

/* ---- raw frames -------------------------------------------------------------------
 */

static inline int
raw_open(const char *name)
{
    struct sockaddr_ll address = {
        .sll_family = AF_PACKET,
        .sll_protocol = htons(TEST_TYPE),
        .sll_ifindex = (int)if_nametoindex(name),
    };
    int fd =
        socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(TEST_TYPE));

    CHECK(bind(fd, (struct sockaddr *)&address, sizeof address) == 0);
    return fd;
}

/* False when the link did not take it. */
static inline bool
raw_send(int fd)
{
    const uint8_t bytes[TEST_FRAME_BYTES] = {
        2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, TEST_TYPE >> 8, TEST_TYPE & 0xff};

    return send(fd, bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes;
}

/* UDP to be fragmented, as guests of old send it: a TAP
 * with IFF_VNET_HDR takes it, and packet(7) has no
 * words for it.  Newer kernels have words for more kinds, and for this none. */
static inline void
tap_put_indescribable(int fd)
{
    enum { BYTES = 14 + 20 + 8 + 3000, UFO = 3, NEEDS_CHECKSUM = 1 };
    const uint16_t offload[] = {
        42, 1000, 34, 6}; /* lengths, and where the checksum is */
    uint8_t bytes[VNET_BYTES + BYTES] = {NEEDS_CHECKSUM, UFO, [VNET_BYTES] = 2,
        [VNET_BYTES + 6] = 2, [VNET_BYTES + 12] = ETH_P_IP >> 8,
        [VNET_BYTES + 14] = 0x45, [VNET_BYTES + 16] = (BYTES - 14) >> 8,
        (BYTES - 14) & 0xff, [VNET_BYTES + 22] = 64, IPPROTO_UDP,
        [VNET_BYTES + 38] = (BYTES - 34) >> 8, (BYTES - 34) & 0xff};

    memcpy(bytes + 2, offload, sizeof offload);
    CHECK(write(fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes);
}

/* ---- threads that carry a lagg ----------------------------------------------------
 */

struct carrier {
    struct lagg_device *device;
    uint32_t index;
    int result;
    _Atomic pid_t tid;
    pthread_t thread;
};

static inline void *
carrier_run(void *argument)
{
    struct carrier *carrier = argument;

    atomic_store(&carrier->tid, (pid_t)syscall(SYS_gettid));
    carrier->result = lagg_worker_run(carrier->device, carrier->index, 50);
    return NULL;
}

/* Whether it sleeps in poll(2), as the kernel sees it. */
static inline bool
carrier_asleep(struct carrier *carrier)
{
    char path[64], text[32] = "";
    FILE *file;
    long number = -1;

    snprintf(
        path, sizeof path, "/proc/self/task/%d/syscall", atomic_load(&carrier->tid));
    file = fopen(path, "re");
    if (file != NULL) {
        if (fgets(text, sizeof text, file) != NULL && text[0] != 'r') {
            number = strtol(text, NULL, 10);
        }
        fclose(file);
    }
#ifdef SYS_poll
    return number == SYS_poll;
#else
    return number == SYS_ppoll;
#endif
}

/* Returns when it runs, and has nothing to do. */
static inline void
carrier_start(struct carrier *carrier, struct lagg_device *device, uint32_t index)
{
    *carrier = (struct carrier){.device = device, .index = index, .result = 1};
    CHECK(pthread_create(&carrier->thread, NULL, carrier_run, carrier) == 0);
    WAIT_UNTIL(carrier_asleep(carrier));
}

static inline uint64_t
carrier_cpu_us(struct carrier *carrier)
{
    struct timespec used;
    clockid_t clock;

    CHECK(pthread_getcpuclockid(carrier->thread, &clock) == 0);
    clock_gettime(clock, &used);
    return (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
}

/* A worker that never returns is the end of the test: nothing may be freed under it. */
static inline void
carrier_join(struct carrier *carrier)
{
    struct timespec deadline;

    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += WAIT_MS_MAX / 1000;
    if (pthread_timedjoin_np(carrier->thread, NULL, &deadline) != 0) {
        fprintf(stderr, "a worker does not return\n");
        abort();
    }
    CHECK(carrier->result == 0);
}

/* A port in one step each way, as the control plane does it in two. */
static inline int
attach_port_by(
    struct lagg_device *device, uint32_t slot, int ifindex, uint32_t transmit)
{
    struct lagg_port *port;
    int error = lagg_port_open(device, ifindex, transmit, &port);

    if (error == 0) {
        error = lagg_device_add_port(device, slot, port);
        if (error != 0) {
            lagg_port_close(port);
        }
    }
    return error;
}

static inline int
attach_port(struct lagg_device *device, uint32_t slot, int ifindex)
{
    return attach_port_by(device, slot, ifindex, LAGG_TRANSMIT_PACKET);
}

static inline int
detach_port(struct lagg_device *device, uint32_t slot)
{
    struct lagg_port *port;
    int error = lagg_device_remove_port(device, slot, &port);

    if (error == 0) {
        lagg_port_close(port);
    }
    return error;
}

/* Reads the ports in 'slots', and lets in what comes by those in 'accept'. */
static inline struct lagg_plan
plan_with(uint32_t slots, uint32_t accept)
{
    return (struct lagg_plan){
        .tx_drop = LAGG_DROP_NO_ACTIVE_PORT,
        .rx_drop = LAGG_DROP_NOT_ACCEPTED,
        .stride = 1,
        .hash_layers = LAGG_LAYER_L2,
        .rx_bytes_max = UINT32_MAX,
        .ports = slots,
        .rx_accept = accept,
    };
}

#endif
