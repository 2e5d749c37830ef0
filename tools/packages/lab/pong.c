/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Latency: one datagram of 22 bytes goes, is answered, and only then goes the next.
 *
 *   pong answer ADDRESS CPU            until it is killed
 *   pong ask ADDRESS CPU SECONDS       prints answers, losses, and nanoseconds: p50 p99
 *
 * Frames are of 64 bytes.  CPU is where it runs, -1 for anywhere.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

#include "lab.h"

enum {
    PORT = 7777,
    PAYLOAD_BYTES = 22,
    WARM_UP = 200, /* round trips that do not count */
    ASKED_MAX = 4 << 20,
    LOST_MAX = 20,
    WAIT_US = 200000,
};

static void
answer(int fd)
{
    uint8_t bytes[PAYLOAD_BYTES];

    for (;;) {
        struct sockaddr_in from;
        socklen_t from_bytes = sizeof from;
        ssize_t got =
            recvfrom(fd, bytes, sizeof bytes, 0, (struct sockaddr *)&from, &from_bytes);

        if (got > 0) {
            sendto(fd, bytes, (size_t)got, 0, (struct sockaddr *)&from, from_bytes);
        }
    }
}

static int
compare(const void *one, const void *other)
{
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;

    return (a > b) - (a < b);
}

/* Nanoseconds of one round trip; 0 when no answer came. */
static uint32_t
round_trip(int fd, uint32_t number)
{
    uint8_t bytes[PAYLOAD_BYTES] = {0};
    uint64_t start = now_ns(CLOCK_MONOTONIC);
    uint32_t answered;

    memcpy(bytes, &number, sizeof number);
    if (send(fd, bytes, sizeof bytes, 0) < 0) {
        return 0;
    }
    do { /* an answer that came too late is not this one's */
        if (recv(fd, bytes, sizeof bytes, 0) <= 0) {
            return 0;
        }
        memcpy(&answered, bytes, sizeof answered);
    } while (answered != number);
    return (uint32_t)(now_ns(CLOCK_MONOTONIC) - start);
}

static void
ask(int fd, double seconds)
{
    static uint32_t took_ns[ASKED_MAX];
    uint64_t end = now_ns(CLOCK_MONOTONIC) + (uint64_t)(seconds * NS_PER_S);
    uint32_t count = 0, lost = 0;

    for (uint32_t number = 0; count < ASKED_MAX && lost < LOST_MAX; number++) {
        uint32_t took = round_trip(fd, number);

        if (now_ns(CLOCK_MONOTONIC) >= end && count > 0) {
            break;
        }
        lost += took == 0;
        if (took != 0 && number >= WARM_UP) {
            took_ns[count++] = took;
        }
    }
    if (count == 0) {
        fprintf(stderr, "no answer\n");
        exit(1);
    }
    qsort(took_ns, count, sizeof took_ns[0], compare);
    printf("%u %u %u %u\n", count, lost, took_ns[count / 2],
        took_ns[(uint64_t)count * 99 / 100]);
}

int
main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    struct timeval wait = {.tv_usec = WAIT_US};
    int asks = argc == 5 && strcmp(argv[1], "ask") == 0;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    if ((!asks && argc != 4) || inet_pton(AF_INET, argv[2], &address.sin_addr) != 1) {
        fprintf(stderr, "usage: see the head of pong.c\n");
        return 2;
    }
    pin(atoi(argv[3]));
    if (asks) {
        if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
            setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) != 0) {
            err(EXIT_FAILURE, "connect");
        }
        ask(fd, strtod(argv[4], NULL));
        return 0;
    }
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0) {
        err(EXIT_FAILURE, "bind");
    }
    answer(fd);
}
