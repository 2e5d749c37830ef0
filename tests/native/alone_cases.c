/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The forwarder while it has no owner: for how long, who is told of it, and when it
 * looks at its ports in the owner's place.  Leases are in forwarder_cases.c.
 */
#include "forwarder.h"

#include "check.h"

enum { OWNER = 1, NEW = 2 };

#define T0 1000000000u
#define MS ((uint64_t)1000000)
#define FAR (T0 + 60000 * MS)

static struct forwarder forwarder; /* too large for a stack */
static struct outbox outbox;
static struct datapath none; /* a lagg without a port */

static void
say(int client, uint32_t what, uint64_t now_ns)
{
    const struct lagg_request request = {
        .what = what,
        .argument =
            what == LAGG_HELLO ? LAGG_PROTOCOL_MAJOR << 16 | LAGG_PROTOCOL_MINOR : 0,
    };
    const struct parcel parcel = {
        .client = client, .bytes = &request, .bytes_count = sizeof request};

    outbox.count = 0;
    CHECK(forwarder_handle(&forwarder, &parcel, now_ns, &outbox) == 0);
}

/* The owner is there since T0, and has one lagg. */
static void
begin(const char *row)
{
    check_about(row, 0);
    memset(&forwarder, 0, sizeof forwarder);
    forwarder_init(&forwarder, "1.2.3");
    say(OWNER, LAGG_HELLO, T0);
    say(NEW, LAGG_HELLO, T0);
    say(OWNER, LAGG_CLAIM, T0);
    say(OWNER, LAGG_COMMIT, T0);
    outbox.count = 0;
    forwarder_tick(
        &forwarder, T0 + LOOK_ON_NS, &outbox); /* nobody was there at first */
    forwarder.laggs[1].datapath = &none;
}

static void
tick(uint64_t now_ns)
{
    outbox.count = 0;
    none.dark = 1;
    forwarder_tick(&forwarder, now_ns, &outbox);
}

static void
check_claim(uint32_t number, uint32_t alone_ms)
{
    CHECK(number < outbox.count);
    CHECK(outbox.letters[number].client == NEW);
    CHECK_EQ_U32(outbox.letters[number].reply.what, LAGG_CLAIM);
    CHECK(outbox.letters[number].reply.error == 0);
    CHECK_EQ_U32(outbox.letters[number].reply.argument, alone_ms);
}

static void
who_claims_is_told_for_how_long_there_was_no_owner(void)
{
    begin("away");
    outbox.count = 0;
    forwarder_gone(&forwarder, OWNER, FAR, &outbox);
    say(NEW, LAGG_CLAIM, FAR + 1500 * MS);
    check_claim(0, 1500);
}

static void
who_claims_from_one_that_lives_is_told_that_nobody_was_away(void)
{
    begin("not away");
    say(NEW, LAGG_CLAIM, FAR);
    say(OWNER, LAGG_GO, FAR + 5 * MS);
    check_claim(1, 0);
}

static void
ports_are_looked_at_while_there_is_no_owner(void)
{
    begin("look");
    tick(FAR - MS);
    CHECK_EQ_U32(none.dark, 1);
    outbox.count = 0;
    forwarder_gone(&forwarder, OWNER, FAR, &outbox);
    CHECK(forwarder_due_ns(&forwarder) == FAR);
    tick(FAR);
    CHECK_EQ_U32(none.dark, 0);
    tick(FAR + LOOK_NS - 1);
    CHECK_EQ_U32(none.dark, 1);
    CHECK(forwarder_due_ns(&forwarder) == FAR + LOOK_NS);
    tick(2 * FAR);
    CHECK(none.dark == 0 && forwarder_due_ns(&forwarder) == 2 * FAR + LOOK_NS);
}

static void
a_new_owner_has_2_s_to_plan_by_what_he_finds(void)
{
    begin("trust");
    outbox.count = 0;
    forwarder_gone(&forwarder, OWNER, FAR, &outbox);
    tick(FAR);
    say(NEW, LAGG_CLAIM, FAR + MS);
    say(NEW, LAGG_COMMIT, FAR + MS);
    CHECK(forwarder_due_ns(&forwarder) == FAR + LOOK_NS);
    tick(FAR + MS + LOOK_ON_NS - 1);
    CHECK(forwarder_due_ns(&forwarder) == FAR + MS + LOOK_ON_NS - 1 + LOOK_NS);
    tick(FAR + MS + LOOK_ON_NS + LOOK_NS);
    CHECK(none.dark == 0 && forwarder_due_ns(&forwarder) == NEVER_NS);
    tick(2 * FAR);
    CHECK_EQ_U32(none.dark, 1);
}

int
main(void)
{
    who_claims_is_told_for_how_long_there_was_no_owner();
    who_claims_from_one_that_lives_is_told_that_nobody_was_away();
    ports_are_looked_at_while_there_is_no_owner();
    a_new_owner_has_2_s_to_plan_by_what_he_finds();
    return check_report();
}
