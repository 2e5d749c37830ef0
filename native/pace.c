/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pace: how long rings are left to fill, and whether an idle worker polls or sleeps.
 *
 * Owns the intervals, and what tells load from silence.  Pure: the clock is its
 * caller's.
 *
 * A ring's entries are written by the kernel on one CPU and read by a worker on
 * another.  A worker that reads each entry as soon as it is written makes both wait for
 * the same cache lines.  So after a burst of a fair size the rings are left alone for a
 * little while.
 *
 * To wake a sleeping worker takes longer than to carry a frame, and the sender's CPU
 * pays a part of it.  So a worker busy-polls for a while when the last silence was so
 * short that polling would have bridged it.  It does not after polling was wasted, for
 * a number of silences; nor while another thread wants its CPU, for a time.
 */
#include "internal.h"

enum {
    BURST_FAIR = 8,          /* frames; a full burst leaves others behind, so goes on */
    FILL_NS = 20000,         /* that the rings are left alone */
    SILENCE_NS = 100000,     /* the longest worth polling through, with its wake-up */
    SLEEPS_AFTER_WASTE = 10, /* silences without polling after one polled in vain */
    CPU_TAKEN_NS = 1000000,  /* a yield that takes so long: another thread has work */
    BACKOFF_NS = 100000000,  /* without polling, after that */
};

bool
pace_rings_due(const struct pace *pace, uint64_t now_ns)
{
    return now_ns >= pace->rings_due_ns;
}

void
pace_rings_read(struct pace *pace, uint32_t burst, uint64_t now_ns)
{
    bool fair = burst >= BURST_FAIR && burst < BURST_MAX;

    pace->rings_due_ns = fair ? now_ns + FILL_NS : 0;
}

/* Between two polls the worker yields its CPU.  A thread that keeps it for long needs
 * it more than we do, and would get it again at each poll; so polling stops for a time.
 */
static void
note_cpu_contention(struct pace *pace, uint64_t now_ns)
{
    if (pace->polled_ns != 0 && now_ns - pace->polled_ns >= CPU_TAKEN_NS) {
        pace->backoff_until_ns = now_ns + BACKOFF_NS;
    }
    pace->polled_ns = 0;
}

static bool
worth_polling(const struct pace *pace, uint64_t now_ns)
{
    return pace->short_silence && pace->silences_to_sleep == 0 &&
           now_ns >= pace->backoff_until_ns &&
           now_ns - pace->silent_from_ns < pace->busy_poll_ns;
}

bool
pace_busy_polls(struct pace *pace, uint64_t now_ns)
{
    bool polled = pace->polled_ns != 0;

    note_cpu_contention(pace, now_ns);
    if (pace->silent_from_ns == 0) {
        pace->silent_from_ns = now_ns;
    }
    if (!worth_polling(pace, now_ns)) {
        pace->silences_to_sleep += polled ? SLEEPS_AFTER_WASTE : 0;
        return false;
    }
    pace->polled_ns = now_ns;
    return true;
}

void
pace_moved(struct pace *pace, uint64_t now_ns)
{
    note_cpu_contention(pace, now_ns);
    if (pace->silent_from_ns != 0) {
        pace->short_silence = now_ns - pace->silent_from_ns <= SILENCE_NS;
        pace->silences_to_sleep -= pace->silences_to_sleep > 0;
        pace->silent_from_ns = 0;
    }
}
