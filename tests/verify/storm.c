/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Runs a rendering as fast as it goes: four workers, and a control thread that changes
 * the lagg without a pause.
 *
 *     storm            for a fixed number of changes, for the sanitizers
 *     storm MS         also for so many milliseconds, to count and to measure
 *
 * tests/native/readers.h has the start barrier and the proof that every worker ran.
 */
#include "readers.h"

#include "rendering.h"

#include <stdarg.h>

enum {
    CHANGES = 4000,
    CHANGES_LEAST = 500,
    STEPS_TURN = 61, /* then others may have the CPU, in the middle of anything */
    GRACES_MAX = 1 << 16,
};

static _Thread_local uint64_t sent, steps;
static uint64_t lost[READERS];

static uint64_t grace_from_ns, graces_count;
static uint64_t graces_ns[GRACES_MAX];

/* ---- what a rendering calls --------------------------------------------------------
 */

void
step(const char *text, ...)
{
    (void)text;
    if (++steps % STEPS_TURN == 0) {
        sched_yield();
    }
}

void
step_access(bool is_load)
{
    (void)is_load;
}

void
step_blocked(void)
{
    sched_yield();
}

void
fault(const char *text)
{
    fprintf(stderr, "fault: %s\n", text);
    _Exit(1);
}

void
frame_sent(int port)
{
    sent += port != 0;
}

static uint64_t
now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void
grace_begin(void)
{
    grace_from_ns = now_ns();
}

void
grace_end(void)
{
    if (graces_count < GRACES_MAX) {
        graces_ns[graces_count++] = now_ns() - grace_from_ns;
    }
}

/* ---- the storm ---------------------------------------------------------------------
 */

static uint64_t
frame(struct reader *reader, void *unused)
{
    uint64_t before = sent, version = worker_frame(reader->index);

    (void)unused;
    lost[reader->index] += sent == before;
    return version;
}

static int
compare(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

    return (a > b) - (a < b);
}

static void
report(const struct readers *readers, uint64_t changes)
{
    uint64_t frames = 0, frames_lost = 0;

    for (uint32_t i = 0; i < READERS; i++) {
        frames += readers->each[i].sections;
        frames_lost += lost[i];
    }
    printf("%" PRIu64 " frames, %" PRIu64 " lost, %" PRIu64 " changes\n", frames,
        frames_lost, changes);
    if (graces_count != 0) {
        qsort(graces_ns, graces_count, sizeof graces_ns[0], compare);
        printf("grace period %" PRIu64 " ns median, %" PRIu64 " ns longest\n",
            graces_ns[graces_count / 2], graces_ns[graces_count - 1]);
    }
}

int
main(int argc, char **argv)
{
    struct readers readers = {.section = frame};
    uint64_t end_ms = argc > 1 ? now_ms() + strtoull(argv[1], NULL, 10) : 0;
    uint64_t changes = 0;

    check_about("under load", 0);
    world_begin();
    readers_start(&readers);
    while (readers_need_more(&readers, changes, CHANGES_LEAST, CHANGES) ||
           now_ms() < end_ms) {
        control_change();
        changes++;
    }
    readers_end(&readers);
    world_end();
    report(&readers, changes);
    return check_report();
}
