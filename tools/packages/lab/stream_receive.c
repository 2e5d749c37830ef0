/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The receiver of a stream.  Owns the counts: every sequence number is remembered, so
 * that lost, late and doubled frames are told apart for certain.  Knows no sender but
 * by its records.
 */
#define _GNU_SOURCE /* recvmmsg */
#include <arpa/inet.h>
#include <endian.h>
#include <inttypes.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "stream.h"

enum {
    RECEIVE_MAX = 64,     /* frames by one call */
    SLOT_BYTES = 1 << 16, /* holds any payload */
    /* Sleeping, not waiting: a wake-up for each frame would cost the machine more than
     * the frames do.  The kernel notes when they came. */
    POLL_NS = 500000,
};

struct flow {
    uint8_t *seen; /* a bit for each sequence number */
    uint64_t seen_bits;
    uint64_t received; /* distinct frames */
    uint64_t duplicated;
    uint64_t reordered; /* came after one with a higher number (RFC 4737) */
    uint64_t corrupt;
    uint64_t highest; /* sequence number + 1; 0: nothing yet */
    uint64_t total;   /* as the sender said, if 'ended' */
    bool ended;
    uint64_t first_ns, last_ns; /* arrivals, CLOCK_REALTIME */
    uint64_t gap_ns_max;        /* between two arrivals */
    uint64_t delay_ns_max;      /* from sendmmsg() to the socket */
};

struct receiver {
    const struct settings *settings;
    int fd;
    struct flow *flows;
    uint32_t ended;   /* flows that have */
    uint64_t foreign; /* frames of no flow of ours */
    uint64_t last_ns; /* CLOCK_MONOTONIC, of the last call that received */
};

static int
receiver_socket(uint16_t port)
{
    struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int no = 0;

    /* Both families by one socket, where there is IPv6. */
    if (fd >= 0 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no) == 0 &&
        bind(fd, (struct sockaddr *)&any6, sizeof any6) == 0) {
        return fd;
    }
    if (fd >= 0) {
        close(fd);
    }
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&any4, sizeof any4) != 0) {
        err(EXIT_FAILURE, "bind");
    }
    return fd;
}

static void
receiver_open(struct receiver *receiver)
{
    int yes = 1;

    receiver->flows = allocate(receiver->settings->flows, sizeof *receiver->flows);
    receiver->fd = receiver_socket(receiver->settings->port);
    set_buffer(receiver->fd, SO_RCVBUFFORCE, SO_RCVBUF);
    /* The kernel's time of arrival, whenever we come to read. */
    setsockopt(receiver->fd, SOL_SOCKET, SO_TIMESTAMPNS, &yes, sizeof yes);
}

/* Marks 'sequence' as seen; false when it was. */
static bool
flow_mark(struct flow *flow, uint32_t sequence)
{
    uint8_t bit = (uint8_t)(1u << sequence % 8);
    bool fresh;

    if (sequence >= flow->seen_bits) {
        uint64_t bits = ((uint64_t)sequence / 65536 + 1) * 65536 * 2;
        uint8_t *seen = realloc(flow->seen, bits / 8);

        if (seen == NULL) {
            err(EXIT_FAILURE, "memory");
        }
        memset(seen + flow->seen_bits / 8, 0, (bits - flow->seen_bits) / 8);
        flow->seen = seen;
        flow->seen_bits = bits;
    }
    fresh = !(flow->seen[sequence / 8] & bit);
    flow->seen[sequence / 8] |= bit;
    return fresh;
}

static void
flow_clock(struct flow *flow, uint64_t sent_ns, uint64_t arrived_ns)
{
    if (flow->first_ns == 0) {
        flow->first_ns = flow->last_ns = arrived_ns;
    }
    if (arrived_ns > flow->last_ns && arrived_ns - flow->last_ns > flow->gap_ns_max) {
        flow->gap_ns_max = arrived_ns - flow->last_ns;
    }
    if (arrived_ns > sent_ns && arrived_ns - sent_ns > flow->delay_ns_max) {
        flow->delay_ns_max = arrived_ns - sent_ns;
    }
    flow->last_ns = arrived_ns;
}

static void
flow_count(struct flow *flow, uint32_t sequence)
{
    if (!flow_mark(flow, sequence)) {
        flow->duplicated++;
        return;
    }
    flow->received++;
    if (sequence < flow->highest) {
        flow->reordered++;
    } else {
        flow->highest = (uint64_t)sequence + 1;
    }
}

static bool
payload_intact(const uint8_t *payload, size_t size, uint32_t sequence)
{
    for (size_t i = sizeof(struct record); i < size; i++) {
        if (payload[i] != fill_byte(sequence, i)) {
            return false;
        }
    }
    return true;
}

static void
flow_end(struct receiver *receiver, struct flow *flow, uint32_t total)
{
    receiver->ended += !flow->ended;
    flow->ended = true;
    flow->total = total;
}

static void
receive_one(
    struct receiver *receiver, const uint8_t *payload, size_t size, uint64_t arrived_ns)
{
    struct record record;
    uint32_t sequence, index;

    if (size < sizeof record) {
        receiver->foreign++;
        return;
    }
    memcpy(&record, payload, sizeof record);
    sequence = ntohl(record.sequence);
    index = ntohs(record.flow);
    if (ntohl(record.id) != receiver->settings->id ||
        (index & ~(uint32_t)KIND_END) >= receiver->settings->flows) {
        receiver->foreign++;
    } else if (index & KIND_END) {
        flow_end(receiver, &receiver->flows[index & ~(uint32_t)KIND_END], sequence);
    } else {
        struct flow *flow = &receiver->flows[index];

        flow->corrupt += !payload_intact(payload, size, sequence);
        flow_clock(flow, be64toh(record.sent_ns), arrived_ns);
        flow_count(flow, sequence);
    }
}

static uint64_t
arrival_ns(struct msghdr *message)
{
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part != NULL;
        part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SO_TIMESTAMPNS) {
            struct timespec time;

            memcpy(&time, CMSG_DATA(part), sizeof time);
            return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
        }
    }
    return now_ns(CLOCK_REALTIME);
}

struct inbox {
    struct mmsghdr messages[RECEIVE_MAX];
    struct iovec parts[RECEIVE_MAX];
    uint8_t controls[RECEIVE_MAX][CMSG_SPACE(sizeof(struct timespec))];
    uint8_t payloads[RECEIVE_MAX][SLOT_BYTES];
};

static void
inbox_prepare(struct inbox *inbox, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        inbox->parts[i] = (struct iovec){inbox->payloads[i], SLOT_BYTES};
        inbox->messages[i].msg_hdr = (struct msghdr){
            .msg_iov = &inbox->parts[i],
            .msg_iovlen = 1,
            .msg_control = inbox->controls[i],
            .msg_controllen = sizeof inbox->controls[i],
        };
    }
}

/* False, a moment later, when nothing waits. */
static bool
receive_some(struct receiver *receiver, struct inbox *inbox)
{
    int count =
        recvmmsg(receiver->fd, inbox->messages, RECEIVE_MAX, MSG_DONTWAIT, NULL);

    if (count <= 0) {
        sleep_until(now_ns(CLOCK_MONOTONIC) + POLL_NS);
        return false;
    }
    receiver->last_ns = now_ns(CLOCK_MONOTONIC);
    for (int i = 0; i < count; i++) {
        struct mmsghdr *message = &inbox->messages[i];

        receive_one(receiver, inbox->payloads[i], message->msg_len,
            arrival_ns(&message->msg_hdr));
    }
    inbox_prepare(inbox, (uint32_t)count);
    return true;
}

static bool
receiver_finished(const struct receiver *receiver)
{
    uint64_t linger_ns = (uint64_t)receiver->settings->linger_ms * NS_PER_MS;

    return receiver->ended == receiver->settings->flows &&
           now_ns(CLOCK_MONOTONIC) - receiver->last_ns >= linger_ns;
}

/* What this socket threw away: no room, or a bad checksum.  No lagg is to blame for the
 * first; /proc/net/snmp tells the two apart. */
static uint32_t
receiver_overflows(const struct receiver *receiver)
{
    uint32_t values[SK_MEMINFO_VARS] = {0};
    socklen_t size = sizeof values;

    getsockopt(receiver->fd, SOL_SOCKET, SO_MEMINFO, values, &size);
    return values[SK_MEMINFO_DROPS];
}

/* The most frames lost in a row, before 'total'. */
static uint64_t
flow_longest_loss(const struct flow *flow, uint64_t total)
{
    uint64_t longest = 0, run = 0;

    for (uint64_t i = 0; i < total; i++) {
        bool seen = i < flow->seen_bits && (flow->seen[i / 8] >> i % 8 & 1);

        run = seen ? 0 : run + 1;
        longest = run > longest ? run : longest;
    }
    return longest;
}

static void
flow_print(const struct flow *flow)
{
    uint64_t total = flow->ended ? flow->total : flow->highest;

    printf("{\"total\": %" PRIu64 ", \"ended\": %s, \"received\": %" PRIu64
           ", \"duplicated\": %" PRIu64 ", \"reordered\": %" PRIu64
           ", \"corrupt\": %" PRIu64 ", \"longest_loss\": %" PRIu64
           ", \"gap_ms_max\": %.3f, \"delay_ms_max\": %.3f, \"seconds\": %.6f}",
        total, flow->ended ? "true" : "false", flow->received, flow->duplicated,
        flow->reordered, flow->corrupt, flow_longest_loss(flow, total),
        (double)flow->gap_ns_max / NS_PER_MS, (double)flow->delay_ns_max / NS_PER_MS,
        (double)(flow->last_ns - flow->first_ns) / (double)NS_PER_S);
}

static void
receiver_print(const struct receiver *receiver)
{
    printf("{\"overflows\": %" PRIu32 ", \"foreign\": %" PRIu64 ", \"flows\": [",
        receiver_overflows(receiver), receiver->foreign);
    for (uint32_t i = 0; i < receiver->settings->flows; i++) {
        printf("%s", i > 0 ? ",\n" : "\n");
        flow_print(&receiver->flows[i]);
    }
    printf("]}\n");
}

void
receive_stream(const struct settings *settings)
{
    struct receiver receiver = {.settings = settings};
    struct inbox *inbox = allocate(1, sizeof *inbox);

    inbox_prepare(inbox, RECEIVE_MAX);
    receiver_open(&receiver);
    fprintf(stderr, "ready\n");
    while (!stopped && !receiver_finished(&receiver)) {
        receive_some(&receiver, inbox);
    }
    while (receive_some(&receiver, inbox)) {
        /* Told to end before it had a CPU, it has not lost what waits. */
    }
    receiver_print(&receiver);
}
