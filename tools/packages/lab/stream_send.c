/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The sender of a stream.  Owns its pace: an absolute schedule, in bursts small enough
 * to be smooth.  Knows no receiver.
 */
#define _GNU_SOURCE /* sendmmsg */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "stream.h"

enum {
    BURST_MAX = 16,   /* frames in a row; more would be no pace but a flood */
    TICK_NS = 200000, /* a sender's sleep, when the rate allows */
    ENDS = 5,         /* records that say a flow has ended */
    ENDS_PAUSE_NS = 10000000,
};

struct source {
    int fd;            /* its own port: a flow to every hash */
    uint32_t sequence; /* of the next frame */
};

struct sender {
    const struct settings *settings;
    struct source *sources;
    uint8_t *payloads; /* BURST_MAX of settings->bytes */
    uint64_t sent;
    uint64_t errors; /* frames the kernel refused; they count as sent */
    uint64_t late_ns_max;
    int last_error;
};

static struct sockaddr_storage
parse_address(const char *text, uint16_t port, socklen_t *size)
{
    struct sockaddr_storage address = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address;

    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        *size = sizeof *v4;
    } else if (inet_pton(AF_INET6, text, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        *size = sizeof *v6;
    } else {
        fprintf(stderr, "stream: %s: not an IP address\n", text);
        exit(2);
    }
    return address;
}

static int
source_open(const struct sockaddr_storage *to, socklen_t size)
{
    int fd = socket(to->ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int yes = 1;

    if (fd < 0) {
        err(EXIT_FAILURE, "socket");
    }
    set_buffer(fd, SO_SNDBUFFORCE, SO_SNDBUF);
    setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &yes, sizeof yes);
    if (connect(fd, (const struct sockaddr *)to, size) != 0) {
        err(EXIT_FAILURE, "connect");
    }
    return fd;
}

static void
sources_open(struct sender *sender)
{
    const struct settings *settings = sender->settings;
    socklen_t size = 0;
    struct sockaddr_storage to = parse_address(settings->to, settings->port, &size);

    sender->sources = allocate(settings->flows, sizeof *sender->sources);
    for (uint32_t i = 0; i < settings->flows; i++) {
        sender->sources[i].fd = source_open(&to, size);
    }
}

static void
payload_fill(
    uint8_t *payload, const struct settings *settings, uint32_t flow, uint32_t sequence)
{
    struct record record = {
        .id = htonl(settings->id),
        .sequence = htonl(sequence),
        .sent_ns = htobe64(now_ns(CLOCK_REALTIME)),
        .flow = htons((uint16_t)flow),
    };

    memcpy(payload, &record, sizeof record);
    for (size_t i = sizeof record; i < settings->bytes; i++) {
        payload[i] = fill_byte(sequence, i);
    }
}

/* Sends all of 'messages'.  What the kernel refuses is counted and passed over; a
 * refused connection is news of an earlier frame, and says nothing of this one. */
static void
messages_send(struct sender *sender, int fd, struct mmsghdr *messages, uint32_t count)
{
    uint32_t done = 0;

    while (done < count) {
        int taken = sendmmsg(fd, messages + done, count - done, 0);

        if (taken > 0) {
            done += (uint32_t)taken;
        } else if (errno != EINTR && errno != ECONNREFUSED) {
            sender->last_error = errno;
            sender->errors++;
            done++;
        }
    }
}

/* The frames of one flow among the next 'burst', which go round the flows in turn. */
static void
flow_send(struct sender *sender, uint32_t first, uint32_t burst)
{
    const struct settings *settings = sender->settings;
    uint32_t flow = (uint32_t)((sender->sent + first) % settings->flows);
    struct source *source = &sender->sources[flow];
    struct mmsghdr messages[BURST_MAX] = {0};
    struct iovec parts[BURST_MAX];
    uint32_t count = 0;

    for (uint32_t i = first; i < burst; i += settings->flows) {
        uint8_t *payload = sender->payloads + (size_t)count * settings->bytes;

        payload_fill(payload, settings, flow, source->sequence++);
        parts[count] = (struct iovec){payload, settings->bytes};
        messages[count].msg_hdr.msg_iov = &parts[count];
        messages[count++].msg_hdr.msg_iovlen = 1;
    }
    messages_send(sender, source->fd, messages, count);
}

static void
burst_send(struct sender *sender, uint32_t burst)
{
    for (uint32_t i = 0; i < burst && i < sender->settings->flows; i++) {
        flow_send(sender, i, burst);
    }
    sender->sent += burst;
}

/* When frame 'number' is due, from the start; exact for as long as a test may last. */
static uint64_t
due_ns(const struct sender *sender, uint64_t number)
{
    uint64_t rate = sender->settings->rate;

    return number / rate * NS_PER_S + number % rate * NS_PER_S / rate;
}

static uint32_t
burst_wanted(const struct sender *sender)
{
    uint64_t wanted = (uint64_t)sender->settings->rate * TICK_NS / NS_PER_S;

    return wanted < 1 ? 1 : wanted > BURST_MAX ? BURST_MAX : (uint32_t)wanted;
}

/* An absolute schedule.  Who falls behind it catches up at twice the rate, not at once:
 * a burst of all that was missed would overrun queues that the rate itself does not. */
static void
pace(struct sender *sender, uint64_t frames)
{
    uint64_t start_ns = now_ns(CLOCK_MONOTONIC);
    uint32_t burst = burst_wanted(sender);
    uint64_t half_ns = due_ns(sender, burst) / 2;

    while (!stopped && (frames == 0 || sender->sent < frames)) {
        uint64_t due = start_ns + due_ns(sender, sender->sent + burst - 1);
        uint64_t now = now_ns(CLOCK_MONOTONIC);

        if (now < due) {
            sleep_until(due);
            now = now_ns(CLOCK_MONOTONIC);
        } else {
            sleep_until(now + half_ns);
        }
        if (now > due && now - due > sender->late_ns_max) {
            sender->late_ns_max = now - due;
        }
        burst_send(sender, burst);
    }
}

static void
ends_send(struct sender *sender)
{
    const struct settings *settings = sender->settings;

    for (int round = 0; round < ENDS; round++) {
        for (uint32_t i = 0; i < settings->flows; i++) {
            struct source *source = &sender->sources[i];
            uint8_t *payload = sender->payloads;

            payload_fill(payload, settings, i | KIND_END, source->sequence);
            send(source->fd, payload, settings->bytes, 0);
        }
        sleep_until(now_ns(CLOCK_MONOTONIC) + ENDS_PAUSE_NS);
    }
}

static void
sender_print(const struct sender *sender, double seconds)
{
    printf("{\"seconds\": %.6f, \"late_ms_max\": %.3f, \"errors\": %" PRIu64
           ", \"last_error\": \"%s\", \"sent\": [",
        seconds, (double)sender->late_ns_max / NS_PER_MS, sender->errors,
        sender->errors > 0 ? strerror(sender->last_error) : "");
    for (uint32_t i = 0; i < sender->settings->flows; i++) {
        printf("%s%" PRIu32, i > 0 ? ", " : "", sender->sources[i].sequence);
    }
    printf("]}\n");
}

void
send_stream(const struct settings *settings)
{
    struct sender sender = {.settings = settings};
    uint64_t frames = (uint64_t)(settings->seconds * settings->rate);
    uint64_t start_ns;
    double seconds;

    sender.payloads = allocate(BURST_MAX, settings->bytes);
    sources_open(&sender);
    start_ns = now_ns(CLOCK_MONOTONIC);
    pace(&sender, frames);
    seconds = (double)(now_ns(CLOCK_MONOTONIC) - start_ns) / (double)NS_PER_S;
    ends_send(&sender);
    sender_print(&sender, seconds);
}
