/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who may write: at most one client at any time, whatever anybody thinks.
 *
 * Owns the way from one owner to the next, which goes forward or back to where it was:
 *
 *   owned --CLAIM--> asked --GO--> granted --COMMIT--> owned, by the newcomer
 *                    asked --REFUSE, 2 s, newcomer gone--> owned, as before (RESUME)
 *                                  granted --2 s, newcomer gone--> the same
 *
 * An owner that is gone needs not be asked; one that does not answer keeps what it has,
 * for it may be about to write.  Pure: clients are numbers, and time is an argument.
 */
#include "forwarder.h"

#include <errno.h>

void
ownership_init(struct ownership *ownership)
{
    *ownership = (struct ownership){
        .owner = NOBODY,
        .newcomer = NOBODY,
        .deadline_ns = NEVER_NS,
    };
}

static void
say(struct notices *notices, int client, uint32_t what, int error)
{
    if (client != NOBODY) {
        assert(notices->count < NOTICES_MAX);
        notices->each[notices->count++] = (struct notice){client, what, error};
    }
}

static void
settle(struct ownership *ownership, int owner)
{
    ownership->phase = PHASE_OWNED;
    ownership->owner = owner;
    ownership->newcomer = NOBODY;
    ownership->deadline_ns = NEVER_NS;
}

/* The claim is over, and all is as before. */
static void
give_back(struct ownership *ownership, struct notices *notices)
{
    say(notices, ownership->owner, LAGG_RESUME, 0);
    settle(ownership, ownership->owner);
}

static void
grant(struct ownership *ownership, uint64_t now_ns, struct notices *notices)
{
    ownership->phase = PHASE_GRANTED;
    ownership->deadline_ns = now_ns + ANSWER_NS_MAX;
    say(notices, ownership->newcomer, LAGG_CLAIM, 0);
}

bool
ownership_may_write(const struct ownership *ownership, int client)
{
    return client == ownership->owner && ownership->phase != PHASE_GRANTED;
}

int
ownership_claim(
    struct ownership *ownership, int client, uint64_t now_ns, struct notices *notices)
{
    if (client == ownership->owner) {
        return -EALREADY;
    }
    if (ownership->phase != PHASE_OWNED) {
        return -EBUSY;
    }
    if (ownership->silent) {
        return -ETIMEDOUT; /* what waits for it is bounded, and so is not added to */
    }
    ownership->newcomer = client;
    if (ownership->owner == NOBODY) {
        grant(ownership, now_ns, notices);
        return 0;
    }
    ownership->phase = PHASE_ASKED;
    ownership->deadline_ns = now_ns + ANSWER_NS_MAX;
    say(notices, ownership->owner, LAGG_YIELD, 0);
    return 0;
}

static bool
was_asked(const struct ownership *ownership, int client)
{
    return ownership->phase == PHASE_ASKED && client == ownership->owner;
}

int
ownership_go(
    struct ownership *ownership, int client, uint64_t now_ns, struct notices *notices)
{
    if (!was_asked(ownership, client)) {
        return -ENOMSG;
    }
    grant(ownership, now_ns, notices);
    return 0;
}

int
ownership_refuse(struct ownership *ownership, int client, struct notices *notices)
{
    if (!was_asked(ownership, client)) {
        return -ENOMSG;
    }
    say(notices, ownership->newcomer, LAGG_CLAIM, -ECANCELED);
    settle(ownership, client);
    return 0;
}

int
ownership_commit(struct ownership *ownership, int client, struct notices *notices)
{
    if (ownership->phase != PHASE_GRANTED || client != ownership->newcomer) {
        return -ENOMSG;
    }
    say(notices, ownership->owner, LAGG_DONE, 0);
    settle(ownership, client);
    return 0;
}

void
ownership_heard(struct ownership *ownership, int client)
{
    if (client == ownership->owner) {
        ownership->silent = false;
    }
}

void
ownership_gone(
    struct ownership *ownership, int client, uint64_t now_ns, struct notices *notices)
{
    if (client == ownership->newcomer) {
        give_back(ownership, notices);
    } else if (client == ownership->owner) {
        ownership->owner = NOBODY;
        ownership->silent = false;
        if (ownership->phase == PHASE_ASKED) {
            grant(ownership, now_ns, notices);
        }
    }
}

void
ownership_tick(struct ownership *ownership, uint64_t now_ns, struct notices *notices)
{
    if (now_ns < ownership->deadline_ns) {
        return;
    }
    if (ownership->phase == PHASE_ASKED) {
        ownership->silent = true;
        say(notices, ownership->newcomer, LAGG_CLAIM, -ETIMEDOUT);
    }
    give_back(ownership, notices);
}
