/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pace of a worker, on a clock that is a number.
 */
#include "internal.h"

#include "check.h"

enum { US = 1000, MS = 1000 * US };

static const uint64_t START_NS = 5000ull * MS;

/* A pace whose last silence took 'silence_ns', and whose worker has just moved frames.
 */
static struct pace
after_silence(uint64_t silence_ns, uint64_t *now_ns)
{
    struct pace pace = {.busy_poll_ns = 50 * US};

    *now_ns = START_NS;
    pace_busy_polls(&pace, *now_ns);
    *now_ns += silence_ns;
    pace_moved(&pace, *now_ns);
    return pace;
}

/* ---- how long the rings fill ------------------------------------------------------
 */

static void
the_rings_fill_for_20_us_after_a_fair_burst_only(void)
{
    for (uint32_t burst = 0; burst <= BURST_MAX; burst++) {
        bool fair = burst >= 8 && burst < BURST_MAX;
        struct pace pace = {.rings_due_ns = 0};

        check_about("burst", burst);
        CHECK(pace_rings_due(&pace, START_NS));
        pace_rings_read(&pace, burst, START_NS);
        CHECK_EQ_U32(pace_rings_due(&pace, START_NS), !fair);
        CHECK_EQ_U32(pace_rings_due(&pace, START_NS + 20 * US - 1), !fair);
        CHECK(pace_rings_due(&pace, START_NS + 20 * US));
    }
}

static void
what_the_next_look_finds_decides_anew(void)
{
    struct pace pace = {.rings_due_ns = 0};

    pace_rings_read(&pace, 8, START_NS);
    pace_rings_read(&pace, 7, START_NS + 20 * US);
    CHECK(pace_rings_due(&pace, START_NS + 20 * US));
}

/* ---- whether a worker looks on ----------------------------------------------------
 */

static void
a_worker_that_never_moved_a_frame_sleeps_at_once(void)
{
    struct pace pace = {.busy_poll_ns = 50 * US};

    CHECK(!pace_busy_polls(&pace, START_NS));
}

static void
after_a_short_silence_it_looks_on_for_50_us_at_most(void)
{
    uint64_t now_ns;
    struct pace pace = after_silence(100 * US, &now_ns);

    for (uint32_t us = 0; us < 50; us++) {
        check_about("us of silence", us);
        CHECK(pace_busy_polls(&pace, now_ns + us * US));
    }
    CHECK(!pace_busy_polls(&pace, now_ns + 50 * US));
    CHECK(!pace_busy_polls(&pace, now_ns + 51 * US));
}

static void
after_a_long_silence_it_sleeps_at_once(void)
{
    uint64_t now_ns;
    struct pace pace = after_silence(100 * US + 1, &now_ns);

    CHECK(!pace_busy_polls(&pace, now_ns));
}

static void
a_silence_that_it_slept_through_counts_whole(void)
{
    uint64_t now_ns;
    struct pace pace = after_silence(30 * US, &now_ns);

    CHECK(pace_busy_polls(&pace, now_ns));
    CHECK(!pace_busy_polls(&pace, now_ns + 60 * US)); /* so it sleeps, and is woken */
    pace_moved(&pace, now_ns + 900 * US);
    CHECK(!pace_busy_polls(&pace, now_ns + 900 * US));
}

static void
after_one_in_vain_it_sleeps_through_10_silences(void)
{
    uint64_t now_ns;
    struct pace pace = after_silence(30 * US, &now_ns);

    CHECK(pace_busy_polls(&pace, now_ns));
    for (uint32_t silence = 0; silence < 10; silence++) {
        check_about("silence", silence);
        CHECK(!pace_busy_polls(&pace, now_ns + 60 * US));
        CHECK(!pace_busy_polls(&pace, now_ns + 60 * US));
        pace_moved(&pace, now_ns += 90 * US);
    }
    CHECK(pace_busy_polls(&pace, now_ns));
}

static void
without_busy_polling_it_sleeps_at_once(void)
{
    uint64_t now_ns;
    struct pace pace = after_silence(30 * US, &now_ns);

    pace.busy_poll_ns = 0;
    CHECK(!pace_busy_polls(&pace, now_ns));
    pace_moved(&pace, now_ns + 30 * US);
    CHECK(!pace_busy_polls(&pace, now_ns + 30 * US));
}

static void
frames_that_keep_coming_are_no_silence(void)
{
    uint64_t now_ns;
    struct pace pace = after_silence(30 * US, &now_ns);

    for (uint32_t i = 0; i < 10; i++) {
        pace_moved(&pace, now_ns += 400 * US);
    }
    CHECK(pace_busy_polls(&pace, now_ns));
}

/* ---- whom it leaves the CPU to ----------------------------------------------------
 */

static void
who_keeps_the_cpu_for_1_ms_is_left_alone_for_100_ms(void)
{
    uint64_t now_ns;
    struct pace pace = after_silence(30 * US, &now_ns);

    CHECK(pace_busy_polls(&pace, now_ns));
    now_ns += MS;
    pace_moved(&pace, now_ns);
    for (uint32_t ms = 0; ms < 100; ms++) {
        check_about("ms alone", ms);
        CHECK(!pace_busy_polls(&pace, now_ns + ms * MS));
        pace_moved(&pace, now_ns + ms * MS + 30 * US);
    }
    CHECK(pace_busy_polls(&pace, now_ns + 100 * MS));
}

static void
who_answers_sooner_is_no_company(void)
{
    uint64_t now_ns;
    struct pace pace = after_silence(30 * US, &now_ns);

    CHECK(pace_busy_polls(&pace, now_ns));
    pace_moved(&pace, now_ns += MS - 1); /* too late all the same: a long silence, */
    pace_busy_polls(&pace, now_ns);
    pace_moved(&pace, now_ns += 10 * US); /* and a short one */
    CHECK(pace_busy_polls(&pace, now_ns));
}

int
main(void)
{
    the_rings_fill_for_20_us_after_a_fair_burst_only();
    what_the_next_look_finds_decides_anew();
    a_worker_that_never_moved_a_frame_sleeps_at_once();
    after_a_short_silence_it_looks_on_for_50_us_at_most();
    after_a_long_silence_it_sleeps_at_once();
    a_silence_that_it_slept_through_counts_whole();
    after_one_in_vain_it_sleeps_through_10_silences();
    without_busy_polling_it_sleeps_at_once();
    frames_that_keep_coming_are_no_silence();
    who_keeps_the_cpu_for_1_ms_is_left_alone_for_100_ms();
    who_answers_sooner_is_no_company();
    return check_report();
}
