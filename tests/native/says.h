/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A forwarder, and clients that say something to it: an owner, and two more.
 */
#ifndef LAGG_SAYS_H
#define LAGG_SAYS_H

#include "forwarder.h"

#include "check.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { OWNER = 1, NEW = 2 };

#define T0 1000000000u
#define MS 1000000u

static struct forwarder forwarder; /* too large for a stack */
static struct outbox outbox;

/* Says it with the descriptor, if it is one; returns whether that was kept. */
static bool
say_with(int client, const struct lagg_request *request, int fd, uint64_t now_ns)
{
    const struct parcel parcel = {
        .client = client,
        .bytes = request,
        .bytes_count = sizeof *request,
        .fds = &fd,
        .fds_count = fd >= 0,
    };

    outbox.count = 0;
    return forwarder_handle(&forwarder, &parcel, now_ns, &outbox) == 1;
}

/* The error of the answer, which is the first letter. */
static int
say(int client, struct lagg_request request)
{
    CHECK(!say_with(client, &request, -1, T0));
    CHECK(outbox.count >= 1);
    CHECK(outbox.letters[0].client == client);
    CHECK_EQ_U32(outbox.letters[0].reply.what, request.what);
    return outbox.letters[0].reply.error;
}

static int
hello(int client)
{
    return say(
        client, (struct lagg_request){.what = LAGG_HELLO,
                    .argument = LAGG_PROTOCOL_MAJOR << 16 | LAGG_PROTOCOL_MINOR});
}

static int
put(const char *name, int fd)
{
    struct lagg_request request = {.what = LAGG_PUT};

    snprintf(request.name, sizeof request.name, "%s", name);
    if (!say_with(OWNER, &request, fd, T0)) {
        close(fd);
    }
    return outbox.letters[0].reply.error;
}

static void
begin(const char *row)
{
    check_about(row, 0);
    store_clear(&forwarder.store);
    memset(&forwarder, 0, sizeof forwarder);
    forwarder_init(&forwarder, "1.2.3");
    CHECK(hello(OWNER) == 0 && hello(NEW) == 0);
    CHECK(say(OWNER, (struct lagg_request){.what = LAGG_CLAIM}) == 0);
    CHECK(say(OWNER, (struct lagg_request){.what = LAGG_COMMIT}) == 0);
}

#endif
