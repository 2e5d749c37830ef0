/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Numbered frames: in memory as the worker holds them, put into a descriptor and taken
 * from one.
 *
 * Owns what tells one from another and from a cut one.
 */
#ifndef NUMBERS_H
#define NUMBERS_H

#include "internal.h"

#include "check.h"

#include <errno.h>
#include <sys/socket.h>

enum {
    WIRE_BYTES_MAX = 80000,
    FRAME_BYTES_MIN = 18, /* with its number */
};

/* A frame as it lies in memory: an empty offload header, then 'size' bytes of Ethernet.
 * Every byte follows from number and size, so that a cut shows; each number is a flow.
 */
static inline void
frame_make(uint8_t *bytes, uint32_t number, uint32_t size)
{
    uint8_t *ether = bytes + VNET_BYTES;
    const uint8_t begin[] = {2, 0, 0, 0, 0, 1, 2, 0, (uint8_t)(number >> 24),
        (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number, 0x88, 0xb5,
        (uint8_t)(number >> 24), (uint8_t)(number >> 16), (uint8_t)(number >> 8),
        (uint8_t)number};

    memset(bytes, 0, VNET_BYTES);
    for (uint32_t i = 0; i < size; i++) {
        ether[i] =
            i < sizeof begin ? begin[i] : (uint8_t)(number + i * 7 + i / 256 + size);
    }
}

static inline uint32_t
frame_number(const uint8_t *bytes)
{
    const uint8_t *number = bytes + VNET_BYTES + ETHER_BYTES;

    return (uint32_t)number[0] << 24 | (uint32_t)number[1] << 16 |
           (uint32_t)number[2] << 8 | number[3];
}

static inline void
fd_put(int fd, const uint8_t *bytes, uint32_t size)
{
    if (send(fd, bytes, size, 0) != (ssize_t)size) {
        abort();
    }
}

/* Takes one numbered frame, whole as frame_make() made it; UINT32_MAX when there is
 * none. */
static inline uint32_t
fd_take_number(int fd)
{
    static uint8_t bytes[WIRE_BYTES_MAX], expected[WIRE_BYTES_MAX];
    ssize_t size = recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    uint32_t number;

    if (size < VNET_BYTES + FRAME_BYTES_MIN) {
        return UINT32_MAX;
    }
    number = frame_number(bytes);
    frame_make(expected, number, (uint32_t)size - VNET_BYTES);
    CHECK(memcmp(bytes, expected, (size_t)size) == 0);
    return number;
}

/* Holds 'fd' to give exactly the frames first, first + step, ... below 'end'. */
static inline void
fd_expect(int fd, uint32_t first, uint32_t step, uint32_t end)
{
    for (uint32_t number = first; number < end; number += step) {
        CHECK_EQ_U32(fd_take_number(fd), number);
    }
}

static inline void
fd_expect_empty(int fd)
{
    uint8_t byte;

    CHECK(recv(fd, &byte, 1, MSG_DONTWAIT) < 0 && errno == EAGAIN);
}

#endif
