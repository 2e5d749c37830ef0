/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * When the forwarder ends by itself: nobody is there and nothing is carried for ten
 * seconds, or it was asked to.
 */
#include "forwarder.h"

#include "check.h"

#define T0 1000000000u

static struct forwarder forwarder; /* too large for a stack */
static struct outbox outbox;

static void
greet(int client, uint64_t now_ns)
{
    const struct lagg_request request = {.what = LAGG_HELLO,
        .argument = LAGG_PROTOCOL_MAJOR << 16 | LAGG_PROTOCOL_MINOR};
    const struct parcel parcel = {
        .client = client, .bytes = &request, .bytes_count = sizeof request};

    outbox.count = 0;
    forwarder_handle(&forwarder, &parcel, now_ns, &outbox);
    CHECK(outbox.count == 1 && outbox.letters[0].reply.error == 0);
}

static void
tick(uint64_t now_ns, bool ended, uint64_t due_ns)
{
    outbox.count = 0;
    forwarder_tick(&forwarder, now_ns, &outbox);
    CHECK(forwarder.ended == ended);
    CHECK(ended || forwarder_due_ns(&forwarder) == due_ns);
}

static void
begin(const char *row)
{
    check_about(row, 0);
    memset(&forwarder, 0, sizeof forwarder);
    forwarder_init(&forwarder, "1.2.3");
}

static void
it_ends_ten_seconds_after_its_begin_if_nobody_comes(void)
{
    begin("nobody");
    tick(T0, false, T0 + IDLE_NS_MAX);
    tick(T0 + IDLE_NS_MAX - 1, false, T0 + IDLE_NS_MAX);
    tick(T0 + IDLE_NS_MAX, true, 0);
}

static void
it_ends_ten_seconds_after_the_last_client_has_gone(void)
{
    const uint64_t gone_ns = T0 + 5 * (uint64_t)IDLE_NS_MAX;

    begin("gone");
    greet(1, T0);
    greet(2, T0);
    tick(gone_ns, false, NEVER_NS);
    forwarder_gone(&forwarder, 1, gone_ns, &outbox);
    tick(gone_ns, false, NEVER_NS);
    forwarder_gone(&forwarder, 2, gone_ns, &outbox);
    tick(gone_ns, false, gone_ns + IDLE_NS_MAX);
    tick(gone_ns + IDLE_NS_MAX, true, 0);
}

static void
whoever_comes_meanwhile_keeps_it(void)
{
    begin("meanwhile");
    tick(T0, false, T0 + IDLE_NS_MAX);
    greet(1, T0 + IDLE_NS_MAX - 1);
    tick(T0 + IDLE_NS_MAX, false, NEVER_NS);
}

static void
asked_to_end_it_ends_at_once_while_nothing_is_carried(void)
{
    begin("asked");
    greet(1, T0);
    forwarder.leaving = true;
    CHECK(forwarder_due_ns(&forwarder) == 0);
    tick(T0, true, 0);
}

int
main(void)
{
    it_ends_ten_seconds_after_its_begin_if_nobody_comes();
    it_ends_ten_seconds_after_the_last_client_has_gone();
    whoever_comes_meanwhile_keeps_it();
    asked_to_end_it_ends_at_once_while_nothing_is_carried();
    return check_report();
}
