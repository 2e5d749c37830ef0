/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A pace: when a worker looks at its rings again, and whether it looks or sleeps.
 *
 * Owns the intervals, and what tells load from silence.  Pure: the clock is its
 * caller's.
 *
 * A ring's entries are filled on one CPU and emptied on another; who empties each as it
 * is filled makes both wait for the same lines of memory.  So after a fair burst the
 * rings are left to fill for a little while.  And to be woken takes longer than to
 * carry a frame, and he who sends it pays a part; so a worker looks on for a while when
 * the last silence was one that this would have bridged.
 */
#include "internal.h"

enum {
    BURST_FAIR = 8,      /* frames; a full burst leaves others behind, so goes on */
    FILL_NS = 20000,     /* that the rings are left alone */
    SILENCE_NS = 100000, /* the longest, with the wake that ends it, worth bridging */
    VAIN_SILENCES = 10,  /* slept through after one that was not bridged */
    TAKEN_NS = 1000000,  /* who keeps the CPU so long has more to do than to answer, */
    SHUN_NS = 100000000, /* and so long it is left to him */
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

/* Between two looks the worker gives its CPU away; whoever keeps it for long needs it
 * more than we, and would be given it again at every look. */
static void
notice_company(struct pace *pace, uint64_t now_ns)
{
    if (pace->looked_ns != 0 && now_ns - pace->looked_ns >= TAKEN_NS) {
        pace->alone_from_ns = now_ns + SHUN_NS;
    }
    pace->looked_ns = 0;
}

static bool
worth_looking_on(const struct pace *pace, uint64_t now_ns)
{
    return pace->short_silence && pace->vain_silences == 0 &&
           now_ns >= pace->alone_from_ns &&
           now_ns - pace->silent_from_ns < pace->look_on_ns;
}

bool
pace_looks_on(struct pace *pace, uint64_t now_ns)
{
    bool looked_on = pace->looked_ns != 0;

    notice_company(pace, now_ns);
    if (pace->silent_from_ns == 0) {
        pace->silent_from_ns = now_ns;
    }
    if (!worth_looking_on(pace, now_ns)) {
        pace->vain_silences += looked_on ? VAIN_SILENCES : 0;
        return false;
    }
    pace->looked_ns = now_ns;
    return true;
}

void
pace_moved(struct pace *pace, uint64_t now_ns)
{
    notice_company(pace, now_ns);
    if (pace->silent_from_ns != 0) {
        pace->short_silence = now_ns - pace->silent_from_ns <= SILENCE_NS;
        pace->vain_silences -= pace->vain_silences > 0;
        pace->silent_from_ns = 0;
    }
}
