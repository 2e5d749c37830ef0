/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who may write: every way from one owner to the next and back, what is said to whom,
 * and that there never are two, whatever is said in whatever order.
 */
#include "forwarder.h"

#include "check.h"

enum { OLD = 3, NEW = 5, THIRD = 7, STEPS = 200000, RANDOM_CLIENTS = 4 };

#define T0 1000000000u
#define LATE (T0 + ANSWER_NS_MAX)

static struct ownership ownership;
static struct notices said;

static void
check_said(uint32_t number, int client, uint32_t what, int error)
{
    CHECK(number < said.count);
    CHECK(said.each[number].client == client);
    CHECK_EQ_U32(said.each[number].what, what);
    CHECK(said.each[number].error == error);
}

/* What has been said is looked at; the next step says its own. */
static void
quiet(uint32_t count)
{
    CHECK_EQ_U32(said.count, count);
    said.count = 0;
}

static void
begin(const char *row, bool owned)
{
    check_about(row, 0);
    ownership_init(&ownership);
    said.count = 0;
    if (owned) {
        CHECK(ownership_claim(&ownership, OLD, T0, &said) == 0);
        CHECK(ownership_commit(&ownership, OLD, &said) == 0);
        said.count = 0;
    }
}

static void
claim_of_the_owned(void)
{
    CHECK(ownership_claim(&ownership, NEW, T0, &said) == 0);
    check_said(0, OLD, LAGG_YIELD, 0);
    quiet(1);
    CHECK(ownership_may_write(&ownership, OLD));
    CHECK(!ownership_may_write(&ownership, NEW));
}

static void
go(void)
{
    CHECK(ownership_go(&ownership, OLD, T0, &said) == 0);
    check_said(0, NEW, LAGG_CLAIM, 0);
    quiet(1);
    CHECK(!ownership_may_write(&ownership, OLD));
    CHECK(!ownership_may_write(&ownership, NEW));
}

static void
check_owner(int owner)
{
    CHECK(ownership.phase == PHASE_OWNED);
    CHECK(ownership.owner == owner);
    CHECK(ownership.newcomer == NOBODY);
    CHECK(ownership.deadline_ns == NEVER_NS);
}

static void
the_first_needs_ask_nobody(void)
{
    begin("first", false);
    CHECK(!ownership_may_write(&ownership, NEW));
    CHECK(ownership_claim(&ownership, NEW, T0, &said) == 0);
    check_said(0, NEW, LAGG_CLAIM, 0);
    quiet(1);
    CHECK(!ownership_may_write(&ownership, NEW));
    CHECK(ownership_commit(&ownership, NEW, &said) == 0);
    quiet(0);
    check_owner(NEW);
    CHECK(ownership_may_write(&ownership, NEW));
    CHECK(ownership_claim(&ownership, NEW, T0, &said) == -EALREADY);
}

static void
an_owner_that_goes_is_told_when_it_is_done(void)
{
    begin("go", true);
    claim_of_the_owned();
    go();
    CHECK(ownership_commit(&ownership, NEW, &said) == 0);
    check_said(0, OLD, LAGG_DONE, 0);
    quiet(1);
    check_owner(NEW);
    CHECK(!ownership_may_write(&ownership, OLD));
}

static void
an_owner_may_refuse(void)
{
    begin("refuse", true);
    CHECK(ownership_refuse(&ownership, OLD, &said) == -ENOMSG);
    claim_of_the_owned();
    CHECK(ownership_refuse(&ownership, NEW, &said) == -ENOMSG);
    CHECK(ownership_refuse(&ownership, OLD, &said) == 0);
    check_said(0, NEW, LAGG_CLAIM, -ECANCELED);
    quiet(1);
    check_owner(OLD);
    CHECK(ownership_commit(&ownership, NEW, &said) == -ENOMSG);
}

static void
an_owner_that_is_gone_needs_not_be_asked(void)
{
    begin("gone before", true);
    ownership_gone(&ownership, OLD, T0, &said);
    quiet(0);
    check_owner(NOBODY);

    begin("gone while asked", true);
    claim_of_the_owned();
    ownership_gone(&ownership, OLD, T0, &said);
    check_said(0, NEW, LAGG_CLAIM, 0);
    quiet(1);
    CHECK(ownership_commit(&ownership, NEW, &said) == 0);
    quiet(0);
    check_owner(NEW);

    begin("gone after it went", true);
    claim_of_the_owned();
    go();
    ownership_gone(&ownership, OLD, T0, &said);
    quiet(0);
    CHECK(ownership_commit(&ownership, NEW, &said) == 0);
    quiet(0);
    check_owner(NEW);
}

static void
an_owner_that_is_silent_stays(void)
{
    begin("silent", true);
    claim_of_the_owned();
    ownership_tick(&ownership, LATE - 1, &said);
    quiet(0);
    ownership_tick(&ownership, LATE, &said);
    check_said(0, NEW, LAGG_CLAIM, -ETIMEDOUT);
    check_said(1, OLD, LAGG_RESUME, 0);
    quiet(2);
    check_owner(OLD);
    CHECK(ownership_go(&ownership, OLD, LATE, &said) == -ENOMSG);

    /* Nothing more is sent to it before it has said something. */
    CHECK(ownership_claim(&ownership, NEW, LATE, &said) == -ETIMEDOUT);
    quiet(0);
    ownership_heard(&ownership, NEW);
    CHECK(ownership_claim(&ownership, NEW, LATE, &said) == -ETIMEDOUT);
    ownership_heard(&ownership, OLD);
    claim_of_the_owned();
}

static void
a_newcomer_that_does_not_commit_was_never_there(void)
{
    begin("newcomer gone while the owner is asked", true);
    claim_of_the_owned();
    ownership_gone(&ownership, NEW, T0, &said);
    check_said(0, OLD, LAGG_RESUME, 0);
    quiet(1);
    check_owner(OLD);

    begin("newcomer gone before it commits", true);
    claim_of_the_owned();
    go();
    ownership_gone(&ownership, NEW, T0, &said);
    check_said(0, OLD, LAGG_RESUME, 0);
    quiet(1);
    check_owner(OLD);
    CHECK(ownership_may_write(&ownership, OLD));

    begin("newcomer late", true);
    claim_of_the_owned();
    go();
    ownership_tick(&ownership, LATE, &said);
    check_said(0, OLD, LAGG_RESUME, 0);
    quiet(1);
    check_owner(OLD);
    CHECK(ownership_commit(&ownership, NEW, &said) == -ENOMSG);

    begin("newcomer late, and nobody before it", false);
    CHECK(ownership_claim(&ownership, NEW, T0, &said) == 0);
    said.count = 0;
    ownership_tick(&ownership, LATE, &said);
    quiet(0);
    check_owner(NOBODY);
}

static void
one_claims_at_a_time(void)
{
    begin("third", true);
    claim_of_the_owned();
    CHECK(ownership_claim(&ownership, THIRD, T0, &said) == -EBUSY);
    go();
    CHECK(ownership_claim(&ownership, THIRD, T0, &said) == -EBUSY);
    CHECK(ownership_commit(&ownership, THIRD, &said) == -ENOMSG);
    ownership_gone(&ownership, THIRD, T0, &said);
    quiet(0);
    CHECK(ownership.phase == PHASE_GRANTED);
}

/* ---- any order --------------------------------------------------------------------
 */

static void
random_step(uint64_t *state, uint64_t *now_ns)
{
    int client = (int)(check_random(state) % RANDOM_CLIENTS);

    switch (check_random(state) % 7) {
    case 0:
        ownership_claim(&ownership, client, *now_ns, &said);
        break;
    case 1:
        ownership_go(&ownership, client, *now_ns, &said);
        break;
    case 2:
        ownership_refuse(&ownership, client, &said);
        break;
    case 3:
        ownership_commit(&ownership, client, &said);
        break;
    case 4:
        ownership_gone(&ownership, client, *now_ns, &said);
        break;
    case 5:
        ownership_heard(&ownership, client);
        break;
    default:
        *now_ns += check_random(state) % ANSWER_NS_MAX;
        ownership_tick(&ownership, *now_ns, &said);
    }
}

/* What each client believes, of what it was told alone: two that believe to be the
 * owner would be two writers. */
static void
whoever_is_told_what_there_is_one_writer(uint64_t seed)
{
    uint64_t state = seed, now_ns = T0;

    begin("random", false);
    for (uint32_t step = 0; step < STEPS; step++) {
        int before = ownership.owner, writers = 0;

        check_about("random", step);
        said.count = 0;
        random_step(&state, &now_ns);
        for (int client = 0; client < RANDOM_CLIENTS; client++) {
            writers += ownership_may_write(&ownership, client);
        }
        CHECK(writers <= 1);
        CHECK((ownership.newcomer == NOBODY) == (ownership.phase == PHASE_OWNED));
        CHECK((ownership.deadline_ns == NEVER_NS) == (ownership.phase == PHASE_OWNED));
        CHECK(ownership.newcomer == NOBODY || ownership.newcomer != ownership.owner);
        CHECK(ownership.phase != PHASE_ASKED || ownership.owner != NOBODY);
        /* One that lost what it had and is still there was told so. */
        CHECK(before == ownership.owner || before == NOBODY ||
              ownership.owner == NOBODY ||
              (said.each[0].client == before && said.each[0].what == LAGG_DONE));
    }
}

int
main(int argc, char **argv)
{
    uint64_t seed = check_seed(argc, argv);

    the_first_needs_ask_nobody();
    an_owner_that_goes_is_told_when_it_is_done();
    an_owner_may_refuse();
    an_owner_that_is_gone_needs_not_be_asked();
    an_owner_that_is_silent_stays();
    a_newcomer_that_does_not_commit_was_never_there();
    one_claims_at_a_time();
    whoever_is_told_what_there_is_one_writer(seed);
    return check_report();
}
