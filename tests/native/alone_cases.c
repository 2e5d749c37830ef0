/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The forwarder while it has no owner, or one that stands still: for how long, who is
 * told of it, and when it looks at its ports in the owner's place.  Leases are in
 * forwarder_cases.c.
 */
#include "forwarder.h"

#include "check.h"

enum { OWNER = 1, NEW = 2, ASKING = 3 /* the owner's, by which it asks */ };

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
    const struct parcel parcel = {.client = client,
        .pid = client == NEW ? 200 : 100,
        .bytes = &request,
        .bytes_count = sizeof request};

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
    forwarder.ids_end = 2;
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
    say(OWNER, LAGG_HELLO, FAR - 2 * MS);
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
    CHECK(none.dark == 0 && forwarder_due_ns(&forwarder) == FAR + MS + SILENCE_NS);
    tick(FAR + MS + SILENCE_NS - 1);
    CHECK_EQ_U32(none.dark, 1);
}

static void
ports_are_looked_at_while_the_owner_stands_still(void)
{
    begin("silence");
    CHECK(forwarder_due_ns(&forwarder) == T0 + SILENCE_NS);
    tick(T0 + SILENCE_NS - 1);
    CHECK_EQ_U32(none.dark, 1);
    say(NEW, LAGG_HELLO, T0 + SILENCE_NS - 1); /* somebody else */
    tick(T0 + SILENCE_NS);
    CHECK(none.dark == 0 && forwarder_due_ns(&forwarder) == T0 + SILENCE_NS + LOOK_NS);
    tick(FAR);
    CHECK(none.dark == 0 && forwarder_due_ns(&forwarder) == FAR + LOOK_NS);
    CHECK(forwarder.alone_ns == NEVER_NS); /* so no lease speaks */
}

static void
an_owner_that_goes_on_has_2_s_to_plan_by_what_he_finds(void)
{
    begin("heard");
    tick(FAR);
    say(ASKING, LAGG_HELLO, FAR + MS);
    tick(FAR + MS + LOOK_ON_NS - 1);
    CHECK_EQ_U32(none.dark, 0);
    tick(FAR + MS + LOOK_ON_NS + LOOK_NS);
    CHECK(none.dark == 0 && forwarder_due_ns(&forwarder) == FAR + MS + SILENCE_NS);
    tick(FAR + MS + LOOK_ON_NS + 2 * LOOK_NS);
    CHECK_EQ_U32(none.dark, 1);
}

static void
an_owner_that_asks_whether_we_live_is_never_silent(void)
{
    begin("asks");
    for (uint64_t now_ns = T0; now_ns < FAR; now_ns += SILENCE_NS - 1) {
        say(ASKING, LAGG_HELLO, now_ns);
        tick(now_ns);
        CHECK_EQ_U32(none.dark, 1);
        CHECK(forwarder_due_ns(&forwarder) == now_ns + SILENCE_NS);
    }
}

int
main(void)
{
    who_claims_is_told_for_how_long_there_was_no_owner();
    who_claims_from_one_that_lives_is_told_that_nobody_was_away();
    ports_are_looked_at_while_there_is_no_owner();
    a_new_owner_has_2_s_to_plan_by_what_he_finds();
    ports_are_looked_at_while_the_owner_stands_still();
    an_owner_that_goes_on_has_2_s_to_plan_by_what_he_finds();
    an_owner_that_asks_whether_we_live_is_never_silent();
    return check_report();
}
