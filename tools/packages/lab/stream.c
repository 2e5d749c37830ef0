/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sequence-numbered UDP streams: what was sent, what arrived, and when nothing did.
 *
 * Owns the command line; stream_send.c has the pace, stream_receive.c the counts, and
 * both print one JSON object at the end.  Knows no lagg: whatever lies between the two
 * is judged by sequence numbers alone.
 *
 *     stream receive --port 5000 --flows 8 --id 7
 *     stream send --to 10.0.0.2 --port 5000 --flows 8 --id 7 --rate 20000 --seconds 5
 *
 * A receiver says "ready" on stderr once it is bound.  It ends when every flow has
 * ended, or by SIGTERM; a sender ends by itself, or by SIGTERM in good order.
 */
#define _GNU_SOURCE /* lab.h */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>

#include "stream.h"

enum { BUFFER_BYTES = 64 << 20 };

volatile sig_atomic_t stopped;

static void
stop(int number)
{
    (void)number;
    stopped = 1;
}

void *
allocate(size_t count, size_t size)
{
    void *found = calloc(count, size);

    if (found == NULL) {
        err(EXIT_FAILURE, "memory");
    }
    return found;
}

void
sleep_until(uint64_t when_ns)
{
    struct timespec time = {
        .tv_sec = (time_t)(when_ns / NS_PER_S),
        .tv_nsec = (long)(when_ns % NS_PER_S),
    };

    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL);
}

/* Without CAP_NET_ADMIN the system's limit holds. */
void
set_buffer(int fd, int forced, int limited)
{
    int size = BUFFER_BYTES;

    if (setsockopt(fd, SOL_SOCKET, forced, &size, sizeof size) != 0) {
        setsockopt(fd, SOL_SOCKET, limited, &size, sizeof size);
    }
}

/* ---- the command line ------------------------------------------------------------ */

static void
usage(void)
{
    fputs("usage: stream send --to A --port P [--flows N] [--id N] --rate PPS\n"
          "                   [--seconds S] [--bytes B]\n"
          "       stream receive --port P [--flows N] [--id N] [--linger-ms MS]\n",
        stderr);
    exit(2);
}

static uint32_t
number(const char *text, uint32_t min, uint32_t max)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (*end != '\0' || end == text || value < min || value > max) {
        fprintf(stderr, "stream: %s: not in %u ... %u\n", text, min, max);
        exit(2);
    }
    return (uint32_t)value;
}

static void
settings_take(struct settings *settings, const char *option, const char *value)
{
    if (strcmp(option, "--to") == 0) {
        settings->to = value;
    } else if (strcmp(option, "--port") == 0) {
        settings->port = (uint16_t)number(value, 1, UINT16_MAX);
    } else if (strcmp(option, "--flows") == 0) {
        settings->flows = number(value, 1, FLOWS_MAX);
    } else if (strcmp(option, "--id") == 0) {
        settings->id = number(value, 0, UINT32_MAX);
    } else if (strcmp(option, "--rate") == 0) {
        settings->rate = number(value, 1, 100000000);
    } else if (strcmp(option, "--seconds") == 0) {
        settings->seconds = strtod(value, NULL);
    } else if (strcmp(option, "--bytes") == 0) {
        settings->bytes = number(value, sizeof(struct record), PAYLOAD_MAX);
    } else if (strcmp(option, "--linger-ms") == 0) {
        settings->linger_ms = number(value, 0, 60000);
    } else {
        usage();
    }
}

int
main(int argc, char *argv[])
{
    struct settings settings = {.flows = 1, .bytes = 64, .linger_ms = 100};
    struct sigaction action = {.sa_handler = stop};

    if (argc < 2 || argc % 2 != 0) {
        usage();
    }
    for (int i = 2; i < argc; i += 2) {
        settings_take(&settings, argv[i], argv[i + 1]);
    }
    prctl(PR_SET_TIMERSLACK, 1UL); /* or each sleep is 50 us too long */
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    if (strcmp(argv[1], "send") == 0 && settings.to != NULL && settings.rate > 0) {
        send_stream(&settings);
    } else if (strcmp(argv[1], "receive") == 0 && settings.port > 0) {
        receive_stream(&settings);
    } else {
        usage();
    }
    return 0;
}
