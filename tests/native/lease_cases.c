/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What partners hear while nobody speaks for a lagg, by LACP and by BFD, and for how
 * long.
 */
#include "says.h"

#include <sys/socket.h>

/* A lagg that is open, as far as leases are concerned. */
static void
pretend_open(uint32_t id)
{
    static struct datapath none;

    forwarder.laggs[id - 1].datapath = &none;
    forwarder.ids_end = id;
}

static int
lease_of(int client, uint32_t number, uint32_t period_ms, uint32_t bytes_count)
{
    struct lagg_request request = {.what = LAGG_LEASE,
        .lagg = 2,
        .slot = 31,
        .argument = number << LAGG_LEASE_SHIFT | period_ms,
        .bytes_count = bytes_count};

    memset(request.bytes, "LBT"[number % 3], bytes_count < 124 ? bytes_count : 124);
    return say(client, request);
}

static int
lease(uint32_t period_ms, uint32_t bytes_count)
{
    return lease_of(OWNER, LAGG_LEASE_LACP, period_ms, bytes_count);
}

/* How many frames of so many bytes came to the partner, each whole. */
static uint32_t
heard_of(int partner, char letter, ssize_t bytes_count)
{
    uint8_t bytes[200];
    ssize_t size;
    uint32_t count = 0;

    while ((size = recv(partner, bytes, sizeof bytes, MSG_DONTWAIT)) > 0) {
        CHECK(size == bytes_count && bytes[0] == letter && bytes[size - 1] == letter);
        count++;
    }
    return count;
}

static uint32_t
heard(int partner)
{
    return heard_of(partner, 'L', LAGG_LEASE_BYTES_MAX);
}

static void
a_lease_speaks_while_there_is_no_owner_and_ten_seconds_at_most(void)
{
    uint32_t sent = 0, times = 0;
    uint64_t now_ns = T0;
    int pair[2];

    begin("lease");
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
    CHECK(put("2/slow.31", pair[0]) == 0);
    CHECK(lease(1000, LAGG_LEASE_BYTES_MAX) == -ENXIO);
    pretend_open(2);
    CHECK(lease(1000, 0) == -EINVAL && lease(0, LAGG_LEASE_BYTES_MAX) == -EINVAL);
    CHECK(lease(1000, LAGG_LEASE_BYTES_MAX + 1) == -EINVAL);
    CHECK(lease(1000, LAGG_LEASE_BYTES_MAX) == 0);
    outbox.count = 0;
    forwarder_tick(&forwarder, T0 + 3000u * (uint64_t)MS, &outbox);
    CHECK_EQ_U32(heard(pair[1]), 0);
    CHECK(forwarder_due_ns(&forwarder) == T0 + SILENCE_NS);

    forwarder_gone(&forwarder, OWNER, T0, &outbox);
    while (times++ < 2 * LEASE_NS_MAX / LOOK_NS) {
        now_ns = forwarder_due_ns(&forwarder);
        check_about("lease", times);
        forwarder_tick(&forwarder, now_ns, &outbox);
        sent += heard(pair[1]);
    }
    CHECK_EQ_U32(sent, 10);
    forwarder_tick(&forwarder, now_ns + 3000u * (uint64_t)MS, &outbox);
    CHECK_EQ_U32(heard(pair[1]), 0);
    forwarder.laggs[1].datapath = NULL;
    close(pair[1]);
}

/* Ticks as often as is due until 'end_ns', of which it returns the first after. */
static uint64_t
tick_until(uint64_t end_ns)
{
    uint64_t now_ns;

    while ((now_ns = forwarder_due_ns(&forwarder)) < end_ns) {
        outbox.count = 0;
        forwarder_tick(&forwarder, now_ns, &outbox);
    }
    return now_ns;
}

enum { SESSION_BYTES = 66, SESSION_MS = 100 };

/* A forwarder whose owner has ordered leases of LACP and of a session; the partner's
 * end of the session's socket. */
static int
begin_session(const char *name)
{
    int pair[2];

    begin(name);
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) == 0);
    CHECK(put("2/probe.31", pair[0]) == 0);
    pretend_open(2);
    CHECK(lease_of(OWNER, LAGG_LEASE_BFD, SESSION_MS, SESSION_BYTES) == 0);
    outbox.count = 0;
    return pair[1];
}

static void
end_session(int partner)
{
    forwarder.laggs[1].datapath = NULL;
    close(partner);
}

static void
a_session_is_kept_up_at_75_to_100_percent_of_its_pace(void)
{
    uint64_t at_ns, before_ns = T0;
    int partner = begin_session("session");

    forwarder_gone(&forwarder, OWNER, T0, &outbox);
    forwarder_tick(&forwarder, T0, &outbox);
    CHECK_EQ_U32(heard_of(partner, 'B', SESSION_BYTES), 1);
    while ((at_ns = forwarder_due_ns(&forwarder)) < T0 + LEASE_NS_MAX) {
        forwarder_tick(&forwarder, at_ns, &outbox);
        if (heard_of(partner, 'B', SESSION_BYTES) > 0) {
            CHECK(at_ns - before_ns >= SESSION_MS * (uint64_t)MS * 3 / 4);
            CHECK(at_ns - before_ns <= SESSION_MS * (uint64_t)MS);
            before_ns = at_ns;
        }
    }
    CHECK(before_ns > T0 + LEASE_NS_MAX - SESSION_MS * (uint64_t)MS);
    forwarder_tick(&forwarder, T0 + LEASE_NS_MAX, &outbox);
    CHECK_EQ_U32(heard_of(partner, 'B', SESSION_BYTES), 0);
    end_session(partner);
}

static void
there_are_two_sessions_and_no_third(void)
{
    int partner = begin_session("sessions");

    CHECK(lease_of(OWNER, LAGG_LEASES_MAX, SESSION_MS, SESSION_BYTES) == -EINVAL);
    CHECK(lease_of(OWNER, LAGG_LEASE_BFD, LAGG_LEASE_MS_MAX + 1, 1) == -EINVAL);
    CHECK(lease_of(OWNER, LAGG_LEASE_BFD, 0, 0) == 0);
    CHECK(lease_of(OWNER, LAGG_LEASE_BFD_TOO, SESSION_MS, SESSION_BYTES) == 0);
    outbox.count = 0;
    forwarder_gone(&forwarder, OWNER, T0, &outbox);
    tick_until(T0 + 500u * (uint64_t)MS);
    CHECK(heard_of(partner, 'T', SESSION_BYTES) >= 5);
    end_session(partner);
}

/* From GO on the owner says nothing; the newcomer needs a while until it does. */
static void
a_session_is_kept_up_until_a_newcomer_speaks_for_it(void)
{
    const struct lagg_request claim = {.what = LAGG_CLAIM};
    int partner = begin_session("newcomer");

    CHECK(!say_with(NEW, &claim, -1, T0)); /* the owner is asked first */
    CHECK_EQ_U32(heard_of(partner, 'B', SESSION_BYTES), 0);
    CHECK(say(OWNER, (struct lagg_request){.what = LAGG_GO}) == 0);
    outbox.count = 0;
    forwarder_tick(&forwarder, T0, &outbox);
    CHECK_EQ_U32(heard_of(partner, 'B', SESSION_BYTES), 1);
    CHECK(say(NEW, (struct lagg_request){.what = LAGG_COMMIT}) == 0);
    tick_until(T0 + 1000u * (uint64_t)MS);
    CHECK(heard_of(partner, 'B', SESSION_BYTES) >= 10);
    CHECK(lease_of(NEW, LAGG_LEASE_BFD, SESSION_MS, SESSION_BYTES) == 0);
    tick_until(T0 + LEASE_BESIDE_NS);
    CHECK_EQ_U32(heard_of(partner, 'B', SESSION_BYTES), 0);
    end_session(partner);
}

static void
a_newcomer_that_says_nothing_is_spoken_for_two_seconds(void)
{
    int partner = begin_session("mute");

    forwarder_gone(&forwarder, OWNER, T0, &outbox);
    CHECK(say(NEW, (struct lagg_request){.what = LAGG_CLAIM}) == 0);
    CHECK(say(NEW, (struct lagg_request){.what = LAGG_COMMIT}) == 0);
    tick_until(T0 + LEASE_BESIDE_NS);
    CHECK(heard_of(partner, 'B', SESSION_BYTES) >= 20);
    tick_until(T0 + LEASE_NS_MAX);
    CHECK_EQ_U32(heard_of(partner, 'B', SESSION_BYTES), 0);
    end_session(partner);
}

int
main(void)
{
    a_lease_speaks_while_there_is_no_owner_and_ten_seconds_at_most();
    a_session_is_kept_up_at_75_to_100_percent_of_its_pace();
    there_are_two_sessions_and_no_third();
    a_session_is_kept_up_until_a_newcomer_speaks_for_it();
    a_newcomer_that_says_nothing_is_spoken_for_two_seconds();
    store_clear(&forwarder.store);
    return check_report();
}
