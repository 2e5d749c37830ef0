/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a sender and a receiver of a stream have in common: the format of a record, the
 * settings, and small change.
 */
#ifndef STREAM_H
#define STREAM_H

#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "lab.h"

enum {
    FLOWS_MAX = 4096,
    PAYLOAD_MAX = 65507, /* of UDP over IPv4 */
    KIND_END = 0x8000,   /* in 'flow': 'sequence' is the count of the flow's frames */
};

/* The head of every payload, in network byte order; 18 bytes make a frame of 60 over
 * IPv4.  Behind it, each byte repeats the sequence number's bytes (see fill_byte). */
struct record {
    uint32_t id; /* of the stream: what carries another is not ours */
    uint32_t sequence;
    uint64_t sent_ns; /* CLOCK_REALTIME */
    uint16_t flow;    /* and KIND_END */
} __attribute__((packed));

_Static_assert(sizeof(struct record) == 18, "a minimal frame holds it");

struct settings {
    const char *to; /* NULL: a receiver */
    uint16_t port;
    uint32_t id;
    uint32_t flows;
    uint32_t rate;  /* frames per second, all flows together */
    double seconds; /* 0: until SIGTERM */
    uint32_t bytes; /* of UDP payload */
    uint32_t linger_ms;
};

/* Set by SIGTERM and SIGINT. */
extern volatile sig_atomic_t stopped;

/* Zeroed memory; never NULL. */
void *allocate(size_t count, size_t size);

/* 'when_ns' of CLOCK_MONOTONIC; a signal ends it early. */
void sleep_until(uint64_t when_ns);

/* SO_RCVBUF or SO_SNDBUF as large as we may, and its forced twin. */
void set_buffer(int fd, int forced, int limited);

static inline uint8_t
fill_byte(uint32_t sequence, size_t offset)
{
    return (uint8_t)(sequence >> 8 * (offset % 4) ^ offset);
}

/* Sends as the settings say, then prints what was sent. */
void send_stream(const struct settings *settings);

/* Receives until every flow has ended, then prints what was received. */
void receive_stream(const struct settings *settings);

#endif
