/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The forwarder between its sockets: a message comes in, or time passes, and letters
 * go out.
 *
 * Owns that each message is answered once, that those whom it concerns hear of it, and
 * what runs while there is no owner.  Knows no socket but those that the store keeps.
 */
#include "forwarder.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define NS_PER_MS 1000000u

/* ---- letters ----------------------------------------------------------------------
 */

static struct letter *
letter_to(struct forwarder *forwarder, struct outbox *outbox, int client, uint32_t what)
{
    struct letter *letter;

    assert(outbox->count < LETTERS_MAX);
    letter = &outbox->letters[outbox->count++];
    letter->client = client;
    letter->reply = (struct lagg_reply){
        .what = what,
        .generation = forwarder->store.generation,
        .major = LAGG_PROTOCOL_MAJOR,
        .minor = LAGG_PROTOCOL_MINOR,
    };
    return letter;
}

/* For how long there has been no owner; 0 while there is. */
static uint32_t
alone_ms(const struct forwarder *forwarder, uint64_t now_ns)
{
    uint64_t ms = forwarder->alone_ns == NEVER_NS
                      ? 0
                      : (now_ns - forwarder->alone_ns) / NS_PER_MS;

    return ms < UINT32_MAX ? (uint32_t)ms : UINT32_MAX;
}

/* 'why' is what the owner said, if it refused. */
static void
post_notices(struct forwarder *forwarder, const struct notices *notices,
    const char *why, uint64_t now_ns, struct outbox *outbox)
{
    for (uint32_t i = 0; i < notices->count; i++) {
        const struct notice *notice = &notices->each[i];
        struct letter *letter =
            letter_to(forwarder, outbox, notice->client, notice->what);

        if (notice->what == LAGG_CLAIM) {
            letter->reply.argument = alone_ms(forwarder, now_ns);
        }
        say_why(letter, notice->error,
            notice->error == -ECANCELED   ? why
            : notice->error == -ETIMEDOUT ? WHY_SILENT
                                          : "");
    }
}

/* ---- steps ------------------------------------------------------------------------
 */

static uint64_t
first_of(uint64_t one_ns, uint64_t other_ns)
{
    return one_ns < other_ns ? one_ns : other_ns;
}

static void
look_for_owner(struct forwarder *forwarder, uint64_t now_ns)
{
    if (forwarder->ownership.owner != NOBODY) {
        forwarder->alone_ns = NEVER_NS;
    } else if (forwarder->alone_ns == NEVER_NS) {
        forwarder->alone_ns = now_ns;
    }
}

/* Leases begin with the last owner's end, or when it has let go.  Who comes then may
 * take a while before he speaks for each session, and they have none. */
static void
look_for_speaker(struct forwarder *forwarder, uint64_t now_ns)
{
    const struct ownership *ownership = &forwarder->ownership;
    bool spoken_for = ownership->owner != NOBODY && ownership->phase != PHASE_GRANTED;

    if (spoken_for == forwarder->spoken_for) {
        return;
    }
    forwarder->spoken_for = spoken_for;
    forwarder->leases_end_ns =
        spoken_for ? first_of(forwarder->leases_end_ns, now_ns + LEASE_BESIDE_NS)
                   : now_ns + LEASE_NS_MAX;
    for (uint32_t id = forwarder_next(forwarder, 1); id != 0;
        id = forwarder_next(forwarder, id + 1)) {
        if (spoken_for) {
            leases_yield(forwarder->laggs[id - 1].leases);
        } else {
            leases_begin(forwarder->laggs[id - 1].leases, now_ns);
        }
    }
}

/* The owner asks by a connection of its own whether we live, which shows that he does.
 */
static void
hear_owner(struct forwarder *forwarder, const struct parcel *parcel, uint64_t now_ns)
{
    int owner = forwarder->ownership.owner;

    if (parcel->client == owner) {
        forwarder->owner_pid = parcel->pid;
    }
    if (owner != NOBODY && parcel->pid == forwarder->owner_pid) {
        forwarder->heard_ns = now_ns;
    }
}

/* When an owner that says nothing more counts as one that is not there; NEVER_NS. */
static uint64_t
silence_due_ns(const struct forwarder *forwarder)
{
    return forwarder->ownership.owner == NOBODY ? NEVER_NS
                                                : forwarder->heard_ns + SILENCE_NS;
}

static bool
looks_for_good(const struct forwarder *forwarder)
{
    return forwarder->look_ns != NEVER_NS && forwarder->trust_ns == NEVER_NS;
}

/* Looks at the ports begin when nobody plans by them any more. */
static void
look_for_planner(struct forwarder *forwarder, uint64_t now_ns)
{
    bool planned =
        forwarder->ownership.owner != NOBODY && now_ns < silence_due_ns(forwarder);

    if (planned && looks_for_good(forwarder)) {
        forwarder->trust_ns = now_ns + LOOK_ON_NS;
    } else if (!planned && !looks_for_good(forwarder)) {
        forwarder->look_ns = now_ns;
        forwarder->trust_ns = NEVER_NS;
    }
}

static bool
has_laggs(const struct forwarder *forwarder)
{
    return forwarder_next(forwarder, 1) != 0;
}

static bool
has_clients(const struct forwarder *forwarder)
{
    bool any = false;

    for (uint32_t client = 0; client < CLIENTS_MAX; client++) {
        any |= forwarder->greeted[client];
    }
    return any;
}

/* Whoever started it may have died before he could say what it is for. */
static void
look_for_idleness(struct forwarder *forwarder, uint64_t now_ns)
{
    if (has_clients(forwarder) || has_laggs(forwarder)) {
        forwarder->idle_ns = NEVER_NS;
    } else if (forwarder->idle_ns == NEVER_NS) {
        forwarder->idle_ns = now_ns;
    }
}

uint32_t
forwarder_next(const struct forwarder *forwarder, uint32_t id)
{
    while (id <= forwarder->ids_end && forwarder->laggs[id - 1].datapath == NULL) {
        id++;
    }
    return id <= forwarder->ids_end ? id : 0;
}

void
forwarder_init(struct forwarder *forwarder, const char *version)
{
    forwarder->version = version;
    forwarder->alone_ns = forwarder->look_ns = forwarder->trust_ns = NEVER_NS;
    forwarder->idle_ns = NEVER_NS;
    ownership_init(&forwarder->ownership);
}

uint32_t
forwarder_handle(struct forwarder *forwarder, const struct parcel *parcel,
    uint64_t now_ns, struct outbox *outbox)
{
    struct lagg_request request = {0};
    struct call call = {
        .forwarder = forwarder,
        .client = parcel->client,
        .request = &request,
        .fd = parcel->fds_count == 1 ? parcel->fds[0] : -1,
        .now_ns = now_ns,
        .answer = letter_to(forwarder, outbox, parcel->client, LAGG_WORDS_COUNT),
    };

    ownership_heard(&forwarder->ownership, parcel->client);
    if (parcel->bytes_count == sizeof request) {
        memcpy(&request, parcel->bytes, sizeof request);
    }
    call.answer->reply.error = words_act(&call, parcel);
    call.answer->reply.generation = forwarder->store.generation;
    outbox->count = call.unanswered ? 0 : 1;
    post_notices(forwarder, &call.notices, request.name, now_ns, outbox);
    hear_owner(forwarder, parcel, now_ns);
    look_for_owner(forwarder, now_ns);
    look_for_speaker(forwarder, now_ns);
    look_for_planner(forwarder, now_ns);
    return call.kept;
}

void
forwarder_gone(
    struct forwarder *forwarder, int client, uint64_t now_ns, struct outbox *outbox)
{
    struct notices notices = {0};

    forwarder->greeted[client] = false;
    ownership_gone(&forwarder->ownership, client, now_ns, &notices);
    post_notices(forwarder, &notices, "", now_ns, outbox);
    look_for_owner(forwarder, now_ns);
    look_for_speaker(forwarder, now_ns);
    look_for_planner(forwarder, now_ns);
}

/* By the socket by which laggd does. */
static void
send_lease(const struct forwarder *forwarder, uint32_t id, uint32_t slot,
    uint32_t number, const struct lease *lease)
{
    char name[LAGG_NAME_BYTES];
    ssize_t sent;

    snprintf(name, sizeof name, "%u/%s.%u", id,
        number == LAGG_LEASE_LACP ? "slow" : "probe", slot);
    sent = send(store_get(&forwarder->store, name), lease->bytes, lease->bytes_count,
        MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)sent; /* lost like any frame; the next one is a period later */
}

/* To the partners of one lagg's ports, what is due. */
static void
send_leases(struct forwarder *forwarder, uint32_t id, uint64_t now_ns)
{
    for (uint32_t slot = 0; slot < LAGG_PORTS_MAX; slot++) {
        struct lease *leases = forwarder->laggs[id - 1].leases[slot];

        for (uint32_t number = 0; number < LAGG_LEASES_MAX; number++) {
            if (lease_due(&leases[number], number, now_ns)) {
                send_lease(forwarder, id, slot, number, &leases[number]);
            }
        }
    }
}

/* When it ends by itself.  An owner has all that its laggs are made of, and so goes on
 * with them; without one they would be lost, so it is waited for. */
static uint64_t
end_due_ns(const struct forwarder *forwarder)
{
    if (forwarder->leaving && forwarder->alone_ns != NEVER_NS && has_laggs(forwarder)) {
        return forwarder->alone_ns + LEASE_NS_MAX;
    }
    if (forwarder->leaving) {
        return 0;
    }
    return forwarder->idle_ns == NEVER_NS ? NEVER_NS : forwarder->idle_ns + IDLE_NS_MAX;
}

void
forwarder_end(struct forwarder *forwarder)
{
    for (uint32_t id = forwarder_next(forwarder, 1); id != 0;
        id = forwarder_next(forwarder, id + 1)) {
        carried_stop(&forwarder->laggs[id - 1]);
        carried_close(&forwarder->laggs[id - 1]);
    }
    store_clear(&forwarder->store);
    forwarder->ended = true;
}

/* Whoever plans has gone or stands still, so a port that dies must not keep its share.
 */
static void
look_at_ports(struct forwarder *forwarder, uint64_t now_ns)
{
    bool trusts = now_ns >= forwarder->trust_ns;

    if (now_ns < forwarder->look_ns) {
        return;
    }
    for (uint32_t id = forwarder_next(forwarder, 1); id != 0;
        id = forwarder_next(forwarder, id + 1)) {
        struct datapath *datapath = forwarder->laggs[id - 1].datapath;

        (trusts ? datapath_trust_plan : datapath_look)(datapath);
    }
    forwarder->look_ns = trusts ? NEVER_NS : now_ns + LOOK_NS;
}

void
forwarder_tick(struct forwarder *forwarder, uint64_t now_ns, struct outbox *outbox)
{
    struct notices notices = {0};

    look_for_planner(forwarder, now_ns);
    look_at_ports(forwarder, now_ns);
    ownership_tick(&forwarder->ownership, now_ns, &notices);
    post_notices(forwarder, &notices, "", now_ns, outbox);
    look_for_speaker(forwarder, now_ns);
    look_for_idleness(forwarder, now_ns);
    if (end_due_ns(forwarder) <= now_ns) {
        forwarder_end(forwarder);
    }
    if (now_ns >= forwarder->leases_end_ns) {
        forwarder->leases_end_ns = 0;
        return;
    }
    for (uint32_t id = forwarder_next(forwarder, 1); id != 0;
        id = forwarder_next(forwarder, id + 1)) {
        send_leases(forwarder, id, now_ns);
    }
}

/* When the next lease is due; NEVER_NS once the last of them was sent. */
static uint64_t
lease_due_ns(const struct forwarder *forwarder)
{
    uint64_t due_ns = NEVER_NS;

    if (forwarder->leases_end_ns == 0) {
        return NEVER_NS;
    }
    for (uint32_t id = forwarder_next(forwarder, 1); id != 0;
        id = forwarder_next(forwarder, id + 1)) {
        due_ns = leases_due_ns(forwarder->laggs[id - 1].leases, due_ns);
    }
    return due_ns < forwarder->leases_end_ns ? due_ns : NEVER_NS;
}

/* When the ports are looked at, or would be if the owner says nothing more. */
static uint64_t
look_due_ns(const struct forwarder *forwarder)
{
    if (!has_laggs(forwarder)) {
        return NEVER_NS;
    }
    return looks_for_good(forwarder)
               ? forwarder->look_ns
               : first_of(forwarder->look_ns, silence_due_ns(forwarder));
}

uint64_t
forwarder_due_ns(const struct forwarder *forwarder)
{
    return first_of(first_of(lease_due_ns(forwarder), look_due_ns(forwarder)),
        first_of(end_due_ns(forwarder), forwarder->ownership.deadline_ns));
}
