/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The words of the protocol: what each takes, who may say it, and what it does.
 *
 * Owns the rules of a request.  What breaks one is refused before anything is done.
 */
#include "forwarder.h"

#include <stdio.h>
#include <string.h>

void
say_why(struct letter *letter, int error, const char *why)
{
    letter->reply.error = error;
    snprintf(letter->reply.text, sizeof letter->reply.text, "%s", why);
}

/* ---- words for every client -------------------------------------------------------
 */

static int
hello(struct call *call)
{
    struct lagg_reply *reply = &call->answer->reply;

    reply->argument = lagg_layout();
    if (call->request->argument >> 16 != LAGG_PROTOCOL_MAJOR) {
        say_why(call->answer, -EPROTO, "another protocol: stop laggd, then start it");
        return -EPROTO;
    }
    snprintf(reply->text, sizeof reply->text, "%s", call->forwarder->version);
    call->forwarder->greeted[call->client] = true;
    return 0;
}

static int
list(struct call *call)
{
    const struct store *store = &call->forwarder->store;
    struct lagg_reply *reply = &call->answer->reply;
    uint32_t first = call->request->argument;

    if (first > store->count) {
        return -EINVAL;
    }
    reply->argument = store->count;
    while (reply->count < LAGG_PAGE_NAMES && first + reply->count < store->count) {
        const struct stored *entry = &store->entries[first + reply->count];

        memcpy(reply->names[reply->count], entry->name, LAGG_NAME_BYTES);
        call->answer->fds[reply->count++] = entry->fd;
    }
    return 0;
}

static int
claim(struct call *call)
{
    int error = ownership_claim(
        &call->forwarder->ownership, call->client, call->now_ns, &call->notices);

    call->unanswered = error == 0;
    if (error == -ETIMEDOUT) {
        say_why(call->answer, error, WHY_SILENT);
    }
    return error;
}

static int
commit(struct call *call)
{
    return ownership_commit(&call->forwarder->ownership, call->client, &call->notices);
}

static int
go(struct call *call)
{
    return ownership_go(
        &call->forwarder->ownership, call->client, call->now_ns, &call->notices);
}

static int
refuse(struct call *call)
{
    return ownership_refuse(&call->forwarder->ownership, call->client, &call->notices);
}

/* ---- the owner's words ------------------------------------------------------------
 */

static int
put(struct call *call)
{
    int error = store_put(&call->forwarder->store, call->request->name, call->fd);

    call->kept = error == 0;
    return error;
}

static int
del(struct call *call)
{
    return store_del(&call->forwarder->store, call->request->name);
}

static int
open_lagg(struct call *call)
{
    struct forwarder *forwarder = call->forwarder;
    uint32_t id = call->request->lagg;
    int error = carried_open(
        call->carried, id, call->request->argument == LAGG_AGAIN, &forwarder->store);

    if (error == 0 && id > forwarder->ids_end) {
        forwarder->ids_end = id;
    }
    return error;
}

static int
map(struct call *call)
{
    return carried_map(call->carried, call->request->lagg, call->request->slot,
        call->request->argument == LAGG_AGAIN, &call->forwarder->store);
}

static int
map_rings(struct call *call)
{
    return carried_map_rings(call->carried, call->request->lagg, call->request->slot,
        call->request->argument, &call->forwarder->store);
}

static int
unmap_rings(struct call *call)
{
    return carried_unmap_rings(
        call->carried, call->request->slot, call->request->argument);
}

static int
unmap(struct call *call)
{
    return carried_unmap(call->carried, call->request->slot);
}

static int
drain(struct call *call)
{
    return carried_drain(call->carried, call->request->slot, call->request->argument);
}

static int
run(struct call *call)
{
    return carried_run(call->carried, call->request->argument);
}

static int
stop(struct call *call)
{
    return carried_stop(call->carried);
}

static int
close_lagg(struct call *call)
{
    return carried_close(call->carried);
}

static int
lease(struct call *call)
{
    return lease_set(call->carried->leases, call->request);
}

static int
leave(struct call *call)
{
    ownership_gone(
        &call->forwarder->ownership, call->client, call->now_ns, &call->notices);
    return 0;
}

static int
end(struct call *call)
{
    forwarder_end(call->forwarder);
    return 0;
}

/* ---- what each word takes ---------------------------------------------------------
 */

enum {
    TAKES_LAGG = 1,
    TAKES_SLOT = 2,
    TAKES_NAME = 4,
    TAKES_BYTES = 8,
    TAKES_FD = 16,
    FOR_ALL = 32,     /* and not for the owner alone */
    FOR_NEW = 64,     /* before HELLO, too */
    MAKES_LAGG = 128, /* which needs not be open */
};

static const struct rule {
    int (*act)(struct call *call);
    uint32_t takes;
    uint32_t argument_max;
} RULES[LAGG_WORDS_COUNT] = {
    [LAGG_HELLO] = {hello, FOR_ALL | FOR_NEW, UINT32_MAX},
    [LAGG_LIST] = {list, FOR_ALL, LAGG_NAMES_MAX},
    [LAGG_CLAIM] = {claim, FOR_ALL, 0},
    [LAGG_COMMIT] = {commit, FOR_ALL, 0},
    [LAGG_GO] = {go, FOR_ALL, 0},
    [LAGG_REFUSE] = {refuse, FOR_ALL | TAKES_NAME, 0},
    [LAGG_PUT] = {put, TAKES_NAME | TAKES_FD, 0},
    [LAGG_DEL] = {del, TAKES_NAME, 0},
    [LAGG_OPEN] = {open_lagg, TAKES_LAGG | MAKES_LAGG, LAGG_AGAIN},
    [LAGG_MAP] = {map, TAKES_LAGG | TAKES_SLOT, LAGG_AGAIN},
    [LAGG_MAP_RINGS] = {map_rings, TAKES_LAGG | TAKES_SLOT, 1},
    [LAGG_UNMAP_RINGS] = {unmap_rings, TAKES_LAGG | TAKES_SLOT, 1},
    [LAGG_UNMAP] = {unmap, TAKES_LAGG | TAKES_SLOT, 0},
    [LAGG_DRAIN] = {drain, TAKES_LAGG | TAKES_SLOT, 1},
    [LAGG_RUN] = {run, TAKES_LAGG, LAGG_BUSY_POLL_US_MAX},
    [LAGG_STOP] = {stop, TAKES_LAGG, 0},
    [LAGG_CLOSE] = {close_lagg, TAKES_LAGG, 0},
    [LAGG_LEASE] = {lease, TAKES_LAGG | TAKES_SLOT | TAKES_BYTES, UINT32_MAX},
    [LAGG_END] = {end, 0, 0},
    [LAGG_LEAVE] = {leave, 0, 0},
};

/* Whether a field that the word does not take is 0, and one that it takes in range. */
static bool
number_sound(uint32_t number, uint32_t first, uint32_t last, bool taken)
{
    return taken ? number >= first && number <= last : number == 0;
}

static bool
bytes_sound(const struct lagg_request *request, bool taken)
{
    static const uint8_t none[sizeof request->bytes];
    uint32_t used = taken ? request->bytes_count : 0;

    return request->bytes_count <= (taken ? sizeof none : 0) &&
           memcmp(request->bytes + used, none, sizeof none - used) == 0;
}

/* A reason is for people: any text that ends. */
static bool
name_sound(const struct lagg_request *request, bool taken)
{
    static const char none[LAGG_NAME_BYTES];

    if (request->what == LAGG_REFUSE) {
        return request->name[LAGG_NAME_BYTES - 1] == '\0';
    }
    return taken ? store_name_sound(request->name)
                 : memcmp(request->name, none, sizeof none) == 0;
}

static bool
request_sound(const struct lagg_request *request, uint32_t fds_count)
{
    const struct rule *rule = &RULES[request->what];
    uint32_t takes = rule->takes;

    return number_sound(request->lagg, 1, LAGG_IDS_MAX, takes & TAKES_LAGG) &&
           number_sound(request->slot, 0, LAGG_PORTS_MAX - 1, takes & TAKES_SLOT) &&
           number_sound(request->argument, 0, rule->argument_max, true) &&
           bytes_sound(request, takes & TAKES_BYTES) &&
           name_sound(request, takes & TAKES_NAME) &&
           fds_count == (takes & TAKES_FD ? 1 : 0);
}

/* Whether the client may say it now, and of which lagg. */
static int
call_permit(struct call *call)
{
    struct forwarder *forwarder = call->forwarder;
    uint32_t takes = RULES[call->request->what].takes;

    if (!forwarder->greeted[call->client] && !(takes & FOR_NEW)) {
        say_why(call->answer, -EPROTO, "HELLO comes first");
        return -EPROTO;
    }
    if (!(takes & FOR_ALL) &&
        !ownership_may_write(&forwarder->ownership, call->client)) {
        say_why(call->answer, -EPERM, "not the owner: CLAIM and COMMIT come first");
        return -EPERM;
    }
    if (takes & TAKES_LAGG) {
        call->carried = &forwarder->laggs[call->request->lagg - 1];
        if (call->carried->datapath == NULL && !(takes & MAKES_LAGG)) {
            say_why(call->answer, -ENXIO, "no such lagg: OPEN comes first");
            return -ENXIO;
        }
    }
    return 0;
}

static int
call_judge(struct call *call, const struct parcel *parcel)
{
    if (parcel->bytes_count != sizeof *call->request) {
        say_why(call->answer, -EBADMSG, "not the size of a request");
        return -EBADMSG;
    }
    call->answer->reply.what = call->request->what;
    if (call->request->what >= LAGG_WORDS_COUNT ||
        RULES[call->request->what].act == NULL) {
        say_why(call->answer, -ENOSYS, "no such word");
        return -ENOSYS;
    }
    if (!request_sound(call->request, parcel->fds_count)) {
        say_why(call->answer, -EINVAL, "a field that is out of range, or not used");
        return -EINVAL;
    }
    return call_permit(call);
}

int
words_act(struct call *call, const struct parcel *parcel)
{
    int error = call_judge(call, parcel);

    return error != 0 ? error : RULES[call->request->what].act(call);
}
